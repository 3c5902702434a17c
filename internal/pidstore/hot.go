package pidstore

import (
	"bytes"

	"ottla/internal/producer"
)

// The hot table of a shard is sets of cells. A key's hash says in which set it is, if it is hot, and what has to leave
// leaves from there too: so a look-up of a key that is not hot, which every new producer makes, touches one line of
// the processor's cache, and an entry comes and another goes without a chain or a list that would be touched as well.
// An entry with one batch, as single-use producers leave them by the million, takes one cell; with five, three.
//
// A set can be full while others are not: with hashed keys that costs a few hundredths of the cells.

const (
	cellsPerSet = 15
	// entryCellsMax is how many cells an entry takes at most: the first holds one batch, the others two each.
	entryCellsMax = 1 + producer.WindowBatches/2
	// heatMax is how many passes of the clock hand an entry survives without a hit.
	// New entries start cold, so that a storm of single-use producers evicts itself
	// and not those who return.
	heatMax = 3
)

// cell is a line of the processor's cache. Of every cell, words 0 to 3 are a batch. Words 4 to 7 are another one, but
// of an entry's first cell its head:
//
//	4  producer id
//	5  partition (32 bits), last seen (32)
//	6  run length (32), epoch (16), batches (8), second cell of the entry (4), third (4): plus one, 0 for none
type cell [8]uint64

// What a cell is used for. Heads are counted on from cellHead by their heat.
const (
	cellFree = iota
	cellMore // has batches of an entry whose head is elsewhere
	cellHead
)

// hotSet is 16 lines: what a look-up reads comes first.
type hotSet struct {
	tags  [cellsPerSet]uint16 // of the hash, of the cells that are heads
	use   [cellsPerSet]uint8
	hand  uint8 // where the search for a victim goes on
	_     [18]byte
	cells [cellsPerSet]cell
}

func (c *cell) setBatch(word int, b *producer.Stored) {
	w := (*[4]uint64)(c[word : word+4])
	w[0] = uint64(uint32(b.BaseSequence)) | uint64(uint32(b.LastSequence))<<32
	w[1], w[2], w[3] = uint64(b.BaseOffset), uint64(b.LastOffset), uint64(b.Timestamp)
}

func (c *cell) batch(word int, b *producer.Stored) {
	w := (*[4]uint64)(c[word : word+4])
	b.BaseSequence, b.LastSequence = int32(uint32(w[0])), int32(uint32(w[0]>>32))
	b.BaseOffset, b.LastOffset, b.Timestamp = int64(w[1]), int64(w[2]), int64(w[3])
}

func (c *cell) key() (part uint32, pid int64) { return uint32(c[5]), int64(c[4]) }

// more returns the entry's other cells, plus one; 0 for none.
func (c *cell) more() (second, third int) { return int(c[6] >> 56 & 0xf), int(c[6] >> 60) }

// find returns the index of a key's head; -1 if the key is not here.
func (t *hotSet) find(tag uint16, part uint32, pid int64) int {
	for i, have := range &t.tags {
		if have == tag && t.use[i] >= cellHead && int64(t.cells[i][4]) == pid && uint32(t.cells[i][5]) == part {
			return i
		}
	}
	return -1
}

// read returns the entry whose head is at i.
func (t *hotSet) read(i int, e *producer.Entry) (heat uint8) {
	c := &t.cells[i]
	*e = producer.Entry{
		Epoch: int16(uint16(c[6] >> 32)), Count: uint8(c[6] >> 48), RunLength: uint32(c[6]), LastSeen: uint32(c[5] >> 32),
	}
	if e.Count > 0 {
		c.batch(0, &e.Batches[0])
	}
	second, third := c.more()
	for at, next := range [...]int{second, third} {
		if next == 0 {
			break
		}
		for k, from := 0, 1+2*at; k < 2 && from+k < int(e.Count); k++ {
			t.cells[next-1].batch(4*k, &e.Batches[from+k])
		}
	}
	return t.use[i] - cellHead
}

// free gives the cells of the entry back whose head is at i.
func (t *hotSet) free(i int) {
	second, third := t.cells[i].more()
	t.use[i] = cellFree
	if second > 0 {
		t.use[second-1] = cellFree
	}
	if third > 0 {
		t.use[third-1] = cellFree
	}
}

// write makes cells that were taken the entry of a node.
func (t *hotSet) write(cells []int, tag uint16, n *node) {
	e, i := &n.ahead, cells[0]
	head := &t.cells[i]
	head[4], head[5] = uint64(n.pid), uint64(n.part)|uint64(e.LastSeen)<<32
	head[6] = uint64(e.RunLength) | uint64(uint16(e.Epoch))<<32 | uint64(e.Count)<<48
	if e.Count > 0 {
		head.setBatch(0, &e.Batches[0])
	}
	for at, next := range cells[1:] {
		head[6] |= uint64(next+1) << (56 + 4*at)
		for k, from := 0, 1+2*at; k < 2 && from+k < int(e.Count); k++ {
			t.cells[next].setBatch(4*k, &e.Batches[from+k])
		}
	}
	t.tags[i], t.use[i] = tag, cellHead+n.heat
}

// victim returns the head of the first entry under the clock hand that is not hot. There is one: an entry that is
// being written takes fewer cells than there are.
func (t *hotSet) victim() int {
	for {
		i := int(t.hand)
		if t.hand++; t.hand == cellsPerSet {
			t.hand = 0
		}
		switch {
		case t.use[i] == cellHead:
			return i
		case t.use[i] > cellHead:
			t.use[i]--
		}
	}
}

// hotSet returns the set of a hash, nil if the shard has none, and the tag of keys there. Shards and overlay buckets
// are picked by other bits.
func (sh *shard) hotSet(hash uint64) (*hotSet, uint16) {
	if len(sh.mu.hot) == 0 {
		return nil, 0
	}
	return &sh.mu.hot[uint64(uint32(hash))*uint64(len(sh.mu.hot))>>32], uint16(hash >> 40)
}

// readHotLocked reads a hot entry.
func (sh *shard) readHotLocked(part uint32, pid int64, hash uint64, e *producer.Entry) bool {
	t, tag := sh.hotSet(hash)
	if t == nil {
		return false
	}
	i := t.find(tag, part, pid)
	if i >= 0 {
		t.read(i, e)
	}
	return i >= 0
}

// takeHotLocked moves a hot entry to where the caller says.
func (sh *shard) takeHotLocked(part uint32, pid int64, hash uint64, e *producer.Entry) (heat uint8, ok bool) {
	t, tag := sh.hotSet(hash)
	if t == nil {
		return 0, false
	}
	i := t.find(tag, part, pid)
	if i < 0 {
		return 0, false
	}
	heat = t.read(i, e)
	t.free(i)
	return heat, true
}

// dropHotLocked removes an entry that is gone from the cold store.
func (sh *shard) dropHotLocked(part uint32, pid int64, hash uint64) bool {
	t, tag := sh.hotSet(hash)
	if t == nil {
		return false
	}
	i := t.find(tag, part, pid)
	if i >= 0 {
		t.free(i)
	}
	return i >= 0
}

// putHotLocked makes an entry hot that is not. left is called for those that leave for it, before they have left; it
// may be the entry itself, where there is no room for any.
func (s *Store) putHotLocked(sh *shard, n *node) {
	t, tag := sh.hotSet(n.hash)
	if t == nil {
		s.left(n.part, n.pid)
		return
	}
	var taken [entryCellsMax]int
	cells := taken[:1+n.ahead.Count/2]
	evicted := int64(0)
	for k := range cells {
		i := bytes.IndexByte(t.use[:], cellFree)
		for i < 0 {
			v := t.victim()
			s.left(t.cells[v].key())
			t.free(v)
			evicted++
			i = bytes.IndexByte(t.use[:], cellFree)
		}
		t.use[i], cells[k] = cellMore, i
	}
	t.write(cells, tag, n)
	if evicted != 1 {
		s.hot.Add(1 - evicted)
	}
}
