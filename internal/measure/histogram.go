// Package measure is what load generators share: latencies, and what the kernel knows of a broker that runs on the same machine. It must not know what
// load is made, nor Kafka.
package measure

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are 1/16 of their size wide, from a microsecond on.
type Histogram struct {
	buckets [64 * 16]int64
	// Count is how many were recorded, Max the longest.
	Count int64
	Max   time.Duration
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 16 {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return shift*16 + int(us>>shift)
}

// upperBound is the largest duration in a bucket.
func upperBound(bucket int) time.Duration {
	if bucket < 32 {
		return time.Duration(bucket) * time.Microsecond
	}
	shift := bucket/16 - 1
	return time.Duration((uint64(bucket-shift*16)+1)<<shift-1) * time.Microsecond
}

// Record counts one duration.
func (h *Histogram) Record(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.Count++
	h.Max = max(h.Max, d)
}

// Add counts all that another has counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.Count += other.Count
	h.Max = max(h.Max, other.Max)
}

// Quantile returns the duration that the share q, 0 to 1, does not exceed; right to one bucket.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := int64(q * float64(h.Count))
	for i, n := range h.buckets {
		if rank -= n; rank < 0 {
			return min(upperBound(i), h.Max)
		}
	}
	return h.Max
}
