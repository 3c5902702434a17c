package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are 1/16 of their size wide, from a microsecond on.
type histogram struct {
	buckets [64 * 16]int64
	count   int64
	max     time.Duration
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

func (h *histogram) record(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.max = max(h.max, d)
}

func (h *histogram) add(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.count += other.count
	h.max = max(h.max, other.max)
}

// quantile is right to one bucket.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if rank -= n; rank < 0 {
			return min(upperBound(i), h.max)
		}
	}
	return h.max
}
