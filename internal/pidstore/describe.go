package pidstore

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"ottla/internal/producer"
)

// describeBucketsChunk bounds how much of the overlay is looked at under one lock.
const describeBucketsChunk = 256

// recent is what Describe keeps of a producer while it looks for the most recent
// ones: in a partition, the order of last offsets is the order of writes.
type recent struct{ pid, lastOffset int64 }

// recentHeap keeps the most recent producers, the least recent of them on top.
type recentHeap []recent

func (h recentHeap) Len() int           { return len(h) }
func (h recentHeap) Less(i, j int) bool { return h[i].lastOffset < h[j].lastOffset }
func (h recentHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *recentHeap) Push(x any)        { *h = append(*h, x.(recent)) }
func (h *recentHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func (h *recentHeap) offer(r recent, limit int) {
	switch {
	case len(*h) < limit:
		heap.Push(h, r)
	case r.lastOffset > (*h)[0].lastOffset:
		(*h)[0] = r
		heap.Fix(h, 0)
	}
}

// Describe calls fn for the producers of the partition, the most recently active
// first, at most limit of them. It needs 16 bytes for each of the limit, however many
// producers there are, reads all of the partition's entries, and holds no lock while it
// reads or calls. What changes meanwhile is shown as it was at some moment.
func (p *Partition) Describe(limit int, fn func(pid int64, e producer.Entry) error) error {
	if limit <= 0 {
		return nil
	}
	p.s.describing.Lock()
	defer p.s.describing.Unlock()
	// The overlay first: an entry that leaves it meanwhile is in the cold store later.
	var top recentHeap
	inUse := map[int64]struct{}{}
	p.eachInOverlay(func(pid int64, e *producer.Entry) {
		inUse[pid] = struct{}{}
		top.offer(recent{pid, lastOffset(e)}, limit)
	})
	for from, more := int64(0), true; more; {
		var err error
		from, more, err = p.s.cold.Scan(p.num, from, sweepChunk, func(pid int64, val []byte) error {
			if _, seen := inUse[pid]; seen {
				return nil
			}
			var e producer.Entry
			if err := producer.Decode(val, &e); err != nil {
				return fmt.Errorf("producer %d: %w", pid, err)
			}
			top.offer(recent{pid, lastOffset(&e)}, limit)
			return nil
		})
		if err != nil {
			return fmt.Errorf("partition %d: %w: %w", p.num, ErrColdRead, err)
		}
	}
	slices.SortFunc(top, func(a, b recent) int { return cmp.Compare(b.lastOffset, a.lastOffset) })
	for _, r := range top {
		e, found, err := p.current(r.pid)
		if err != nil {
			return err
		}
		if !found {
			continue // forgotten meanwhile
		}
		if err := fn(r.pid, e); err != nil {
			return err
		}
	}
	return nil
}

func lastOffset(e *producer.Entry) int64 {
	last, ok := e.Last()
	if !ok {
		return -1
	}
	return last.LastOffset
}

// eachInOverlay calls fn for the partition's entries in the overlay, under the lock of
// their shard.
func (p *Partition) eachInOverlay(fn func(pid int64, e *producer.Entry)) {
	s := p.s
	for i := range s.shards {
		sh := &s.shards[i]
		for from := 0; from < s.layout.overlayBuckets; from += describeBucketsChunk {
			sh.mu.Lock()
			for _, r := range sh.mu.overlay[from:min(from+describeBucketsChunk, s.layout.overlayBuckets)] {
				for ; r != 0; r = s.slab.node(r).next {
					if n := s.slab.node(r); n.part == p.index && n.state == known {
						fn(n.pid, &n.ahead)
					}
				}
			}
			sh.mu.Unlock()
		}
	}
}

// current returns a producer's entry, from memory or from the cold store.
func (p *Partition) current(pid int64) (e producer.Entry, found bool, err error) {
	s := p.s
	hash := s.hash(p.index, pid)
	sh := s.shard(hash)
	sh.mu.Lock()
	if r := sh.findNodeLocked(s.slab, p.index, pid, hash); r != 0 && s.slab.node(r).state == known {
		e, found = s.slab.node(r).ahead, true
	} else {
		found = sh.readHotLocked(p.index, pid, hash, &e)
	}
	sh.mu.Unlock()
	if found {
		return e, true, nil
	}
	found, err = getEntry(s.cold, p.num, pid, &e)
	return e, found, err
}
