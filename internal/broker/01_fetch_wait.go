package broker

import (
	"context"
	"time"

	"ottla/internal/batch"
	"ottla/internal/partition"
)

// A fetch that has not enough waits without holding records: it counts what becomes
// readable, and reads again when that is enough. A client that asks for 50 MiB and
// an hour costs this broker no more than one that asks for a byte.

// enough says whether the answer can go out (ReplicaManager.fetchMessages).
func (f *fetch) enough() bool {
	if f.failed || !time.Now().Before(f.deadline) {
		return true
	}
	readable, live := int64(0), false
	for i := range f.parts {
		readable += f.parts[i].readable
		live = live || f.parts[i].p != nil
	}
	return !live || readable >= f.bytesMin
}

// count adds whole batches to what is readable. A partition that has more than fits
// counts as full: it can give its share of min_bytes.
func (f *fetch) count(part *fetchPart, data []byte, highWater int64) {
	part.readable += int64(len(data))
	part.next = offsetBehind(data, part.next)
	if part.next < highWater {
		part.readable = max(part.readable, int64(part.want.bytesMax), 1)
	}
}

// offsetBehind returns the offset that follows whole batches, or fallback for none.
func offsetBehind(data []byte, fallback int64) int64 {
	next := fallback
	for len(data) >= batch.HeaderSize {
		h, err := batch.DecodeHeader(data)
		if err != nil || h.Size() > int64(len(data)) {
			break
		}
		next = h.LastOffset() + 1
		data = data[h.Size():]
	}
	return next
}

// await returns when there is enough, the time is up, the server stops or ctx ends.
func (f *fetch) await(load *loadBound) {
	w := partition.NewWaiter()
	for i := range f.parts {
		if p := f.parts[i].p; p != nil {
			p.Watch(w)
		}
	}
	defer f.unwatch(w)
	f.b.o.Metrics.Partitions.Waiters.Inc()
	defer f.b.o.Metrics.Partitions.Waiters.Dec()
	timer := time.NewTimer(time.Until(f.deadline))
	defer timer.Stop()
	var draining <-chan struct{}
	if f.session != nil {
		draining = f.session.Draining
	}
	var scratch []byte
	// Watching comes first and looking second, else what is committed in between
	// would be missed.
	for !f.measure(load, &scratch) {
		select {
		case <-w.C:
		case <-timer.C:
			return
		case <-draining:
			return
		case <-load.parent.Done():
			return
		}
	}
}

func (f *fetch) unwatch(w *partition.Waiter) {
	for i := range f.parts {
		if p := f.parts[i].p; p != nil {
			p.Unwatch(w)
		}
	}
}

// measure counts what became readable since it was last counted, and says whether
// that is enough or whether something else ends the wait.
func (f *fetch) measure(load *loadBound, scratch *[]byte) bool {
	total := int64(0)
	for i := range f.parts {
		part := &f.parts[i]
		if part.p == nil {
			continue
		}
		if f.measurePart(load.of(part.p), part, scratch) {
			return true
		}
		if total += part.readable; total >= f.bytesMin {
			return true
		}
	}
	return false
}

// measurePart says whether the partition ends the wait by itself.
func (f *fetch) measurePart(ctx context.Context, part *fetchPart, scratch *[]byte) bool {
	s, err := part.p.State(ctx)
	if err != nil || part.want.offset < s.LogStart {
		return true
	}
	if s.HighWatermark <= part.next || part.readable >= int64(part.want.bytesMax) {
		return false
	}
	if f.bytesMin <= 1 {
		return true // any record is enough, its size is not needed
	}
	r, err := part.p.Read(ctx, (*scratch)[:0], part.next, int(int64(part.want.bytesMax)-part.readable), false)
	if err != nil {
		return true
	}
	f.count(part, r.Data, r.HighWatermark)
	if *scratch = r.Data; cap(r.Data) > scratchBytesMax {
		*scratch = nil
	}
	return false
}

// scratchBytesMax is the largest buffer that a waiting fetch keeps.
const scratchBytesMax = 64 << 10
