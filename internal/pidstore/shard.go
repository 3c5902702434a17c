package pidstore

import "sync"

// shard holds the overlay's nodes and the hot entries of the keys that hash to it.
// A key is in at most one of the two: a look-up moves a hot entry to the overlay, and
// an entry that nobody uses any more moves back. So the overlay is where entries
// change and are pinned, and the hot table is only ever a copy of what the cold
// store holds.
type shard struct {
	mu struct {
		sync.Mutex
		overlay []ref // buckets of nodes
		hot     []hotSet
	}
	_ [64]byte // the next shard's lock is on another cache line
}

func (sh *shard) init(l layout) {
	sh.mu.overlay = make([]ref, l.overlayBuckets)
	sh.mu.hot = make([]hotSet, l.hotSets)
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
