package pidstore

import (
	"sync"

	"ottla/internal/producer"
)

// hotSlot is one entry of the hot table.
type hotSlot struct {
	entry producer.Entry
	pid   int64
	part  uint32
	next  ref // in the bucket's chain; in the free list
	heat  uint8
	used  bool
}

// heatMax is how many passes of the clock hand an entry survives without a hit.
// New entries start cold, so that a storm of single-use producers evicts itself
// and not those who return.
const heatMax = 3

// handStepsMax bounds the search for a victim while a lock is held.
const handStepsMax = 64

// shard holds the overlay's nodes and the hot entries of the keys that hash to it.
// A key is in at most one of the two: a look-up moves a hot entry to the overlay, and
// an entry that nobody uses any more moves back. So the overlay is where entries
// change and are pinned, and the hot table is only ever a copy of what the cold
// store holds.
type shard struct {
	mu struct {
		sync.Mutex
		overlay []ref // buckets of nodes
		index   []ref // buckets of hot slots
		hot     []hotSlot
		free    ref // hot slots that were used before
		touched int // hot slots ever used
		count   int // hot entries
		hand    int
	}
	_ [64]byte // the next shard's lock is on another cache line
}

func (sh *shard) init(l layout) {
	sh.mu.overlay = make([]ref, l.overlayBuckets)
	sh.mu.index = make([]ref, l.hotBuckets)
	sh.mu.hot = make([]hotSlot, l.hotSlots)
}

// findNodeLocked returns the overlay's node of a key.
func (sh *shard) findNodeLocked(b *slab, part uint32, pid int64, hash uint64) ref {
	for r := sh.mu.overlay[hash&uint64(len(sh.mu.overlay)-1)]; r != 0; r = b.node(r).next {
		if n := b.node(r); n.pid == pid && n.part == part {
			return r
		}
	}
	return 0
}

func (sh *shard) linkNodeLocked(b *slab, r ref) {
	n := b.node(r)
	bucket := &sh.mu.overlay[n.hash&uint64(len(sh.mu.overlay)-1)]
	n.next, *bucket = *bucket, r
}

func (sh *shard) unlinkNodeLocked(b *slab, r ref) {
	n := b.node(r)
	at := &sh.mu.overlay[n.hash&uint64(len(sh.mu.overlay)-1)]
	for *at != r {
		if *at == 0 {
			panic("BUG: overlay node is not in its bucket")
		}
		at = &b.node(*at).next
	}
	*at = n.next
}

// findHotLocked returns the place that refers to the key's hot slot, or to none.
func (sh *shard) findHotLocked(part uint32, pid int64, hash uint64) *ref {
	at := &sh.mu.index[hash&uint64(len(sh.mu.index)-1)]
	for *at != 0 {
		h := &sh.mu.hot[*at-1]
		if h.pid == pid && h.part == part {
			break
		}
		at = &h.next
	}
	return at
}

// takeHotLocked moves a hot entry to where the caller says.
func (sh *shard) takeHotLocked(part uint32, pid int64, hash uint64, e *producer.Entry) (heat uint8, ok bool) {
	at := sh.findHotLocked(part, pid, hash)
	if *at == 0 {
		return 0, false
	}
	h := &sh.mu.hot[*at-1]
	*e, heat = h.entry, h.heat
	sh.freeHotLocked(at)
	return heat, true
}

func (sh *shard) freeHotLocked(at *ref) {
	r := *at
	h := &sh.mu.hot[r-1]
	*at = h.next
	h.used, h.next = false, sh.mu.free
	sh.mu.free = r
	sh.mu.count--
}

// putHotLocked makes an entry hot that is not. evicted is called for the entry that
// leaves for it, which may be the new one, before it has left.
func (s *Store) putHotLocked(sh *shard, n *node) {
	r := sh.freeSlotLocked()
	if r == 0 {
		if r = s.evictLocked(sh); r == 0 {
			s.left(n.part, n.pid)
			return
		}
	}
	h := &sh.mu.hot[r-1]
	bucket := &sh.mu.index[n.hash&uint64(len(sh.mu.index)-1)]
	*h = hotSlot{entry: n.ahead, pid: n.pid, part: n.part, heat: n.heat, used: true, next: *bucket}
	*bucket = r
	sh.mu.count++
}

func (sh *shard) freeSlotLocked() ref {
	if r := sh.mu.free; r != 0 {
		sh.mu.free = sh.mu.hot[r-1].next
		return r
	}
	if sh.mu.touched == len(sh.mu.hot) {
		return 0
	}
	sh.mu.touched++
	return ref(sh.mu.touched)
}

// evictLocked frees the first slot under the clock hand that is not hot, and takes it.
// All slots are used. It returns none if the shard has no slots.
func (s *Store) evictLocked(sh *shard) ref {
	if len(sh.mu.hot) == 0 {
		return 0
	}
	for step := 0; ; step++ {
		h := &sh.mu.hot[sh.mu.hand]
		sh.mu.hand = (sh.mu.hand + 1) % len(sh.mu.hot)
		if h.heat > 0 && step < handStepsMax {
			h.heat--
			continue
		}
		s.left(h.part, h.pid)
		sh.freeHotLocked(sh.findHotLocked(h.part, h.pid, s.hash(h.part, h.pid)))
		return sh.freeSlotLocked()
	}
}
