package pidstore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"ottla/internal/producer"
)

// ref is an index plus one into a slab; 0 is none. Zeroed memory is therefore an
// empty table, and tables that are never filled never become resident.
type ref uint32

// node is the overlay's entry of one (partition, producer id) that is in use: a pin
// holds it, or an append of it is not in the cold store yet.
//
// pid, part and hash do not change while the node is allocated. base, baseKnown
// and inBatch belong to the applier while pending > 0 and to nobody otherwise.
// Everything else is guarded by the lock of the key's shard.
type node struct {
	ahead     producer.Entry // fold of everything appended, valid if state is known
	base      producer.Entry // fold of what the applier has written or is writing
	pid       int64
	hash      uint64
	part      uint32 // index of the partition
	next      ref    // in the bucket's chain; in the free list
	pins      uint32
	pending   uint32 // appends that the applier has not finished with
	state     nodeState
	heat      uint8 // carried from and to the hot table
	forgotten bool  // deleted from the cold store while pinned: must not become hot
	baseKnown bool
	inBatch   bool
}

type nodeState uint8

const (
	loading nodeState = iota // a cold read is under way; nobody can append yet
	absent                   // the producer is unknown here
	known
)

// slot is room for one append in flight. A pin takes it, the append keeps it until
// the applier has finished. Its content belongs to the pin's holder, then to the
// partition's queue (under the partition's lock), then to the applier.
type slot struct {
	stored producer.Stored
	node   ref
	next   ref // in the partition's queue; in the free list
	bytes  int32
	age    uint32
	epoch  int16
}

// slab owns the nodes and slots of the overlay. There are as many nodes as slots,
// and every allocated node has at least one slot with it (its pin's or its
// append's), so that a node is always there for whoever has a slot.
type slab struct {
	nodes []node
	slots []slot
	used  atomic.Int64 // slots
	// drained is called, without a lock, when the last slot is taken.
	full func()

	mu struct {
		sync.Mutex
		freeSlot, freeNode ref
		slotsTouched       int // slots ever used: those behind are free and untouched
		nodesTouched       int
		waiters            []chan ref // in order of arrival; each with room for its slot
		failed             error
	}
}

func newSlab(units int, full func()) *slab {
	return &slab{nodes: make([]node, units), slots: make([]slot, units), full: full}
}

func (b *slab) node(r ref) *node { return &b.nodes[r-1] }
func (b *slab) slot(r ref) *slot { return &b.slots[r-1] }

// aboveHalf says whether the overlay should be drained soon.
func (b *slab) aboveHalf() bool { return b.used.Load()*2 >= int64(len(b.slots)) }

// acquire takes a slot. It waits while there is none, first come first served.
func (b *slab) acquire(ctx context.Context) (ref, error) {
	b.mu.Lock()
	if err := b.mu.failed; err != nil {
		b.mu.Unlock()
		return 0, err
	}
	if r := b.takeSlotLocked(); r != 0 {
		b.mu.Unlock()
		return r, nil
	}
	ch := make(chan ref, 1)
	b.mu.waiters = append(b.mu.waiters, ch)
	b.mu.Unlock()
	b.full()
	select {
	case r := <-ch:
		return b.granted(r)
	case <-ctx.Done():
	}
	b.mu.Lock()
	i := slices.Index(b.mu.waiters, ch)
	if i >= 0 {
		b.mu.waiters = slices.Delete(b.mu.waiters, i, i+1)
	}
	b.mu.Unlock()
	if i < 0 { // granted at the same moment
		if r := <-ch; r != 0 {
			b.releaseSlots(r)
		}
	}
	return 0, ctx.Err()
}

func (b *slab) granted(r ref) (ref, error) {
	if r != 0 {
		return r, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return 0, b.mu.failed
}

func (b *slab) takeSlotLocked() ref {
	r := b.mu.freeSlot
	switch {
	case r != 0:
		b.mu.freeSlot = b.slot(r).next
	case b.mu.slotsTouched < len(b.slots):
		b.mu.slotsTouched++
		r = ref(b.mu.slotsTouched)
	default:
		return 0
	}
	b.used.Add(1)
	*b.slot(r) = slot{}
	return r
}

// releaseSlots gives slots back, to those who wait first.
func (b *slab) releaseSlots(slots ...ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	freed := int64(0)
	for _, r := range slots {
		if len(b.mu.waiters) > 0 {
			ch := b.mu.waiters[0]
			b.mu.waiters = slices.Delete(b.mu.waiters, 0, 1)
			*b.slot(r) = slot{}
			ch <- r
			continue
		}
		b.slot(r).next = b.mu.freeSlot
		b.mu.freeSlot = r
		freed++
	}
	b.used.Add(-freed)
}

// newNode takes a node. The caller has a slot.
func (b *slab) newNode() ref {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.mu.freeNode; r != 0 {
		b.mu.freeNode = b.node(r).next
		return r
	}
	if b.mu.nodesTouched == len(b.nodes) {
		panic("BUG: more nodes than slots in the overlay")
	}
	b.mu.nodesTouched++
	return ref(b.mu.nodesTouched)
}

// releaseNodes gives nodes back that no bucket refers to.
func (b *slab) releaseNodes(nodes ...ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range nodes {
		b.node(r).next = b.mu.freeNode
		b.mu.freeNode = r
	}
}

// fail makes everybody who waits or will wait return err. The first error stays.
func (b *slab) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.failed == nil {
		b.mu.failed = err
	}
	for _, ch := range b.mu.waiters {
		ch <- 0
	}
	b.mu.waiters = nil
}
