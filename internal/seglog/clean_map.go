package seglog

import (
	"hash/maphash"
	"math/bits"
)

const (
	// OffsetMapBytesMin is the least memory of an OffsetMap: some 39,000 keys.
	OffsetMapBytesMin = 1 << 20

	mapSlotBytes = 24
	// mapLoadNumerator of mapLoadDenominator slots are used at most, as Kafka's log.cleaner.io.buffer.load.factor says.
	mapLoadNumerator, mapLoadDenominator = 9, 10
	// mapGrowth is how much larger a map gets when its first slots are used up. It begins with one share and has the other
	// shares then, so that both together, while it grows, are the memory that it was given.
	mapGrowth = 15
)

// OffsetMap remembers the last offset of each key, as Kafka's SkimpyOffsetMap does: instead of a key it keeps 128 bits of a
// hash that nobody outside of the process can know, so that two keys that a client chose do not collide. It is for one
// cleaning at a time.
type OffsetMap struct {
	slots    []mapSlot
	full     int // slots of the full size
	used     int
	seedA    maphash.Seed
	seedB    maphash.Seed
	latest   int64 // every record up to it is in the map; -1: none
	overflow bool  // a key did not fit
}

// mapSlot is one key; next is the offset behind its last record, zero in an empty slot.
type mapSlot struct {
	a, b uint64
	next int64
}

// NewOffsetMap makes a map that takes at most memoryBytes, or OffsetMapBytesMin if that is more.
func NewOffsetMap(memoryBytes int64) *OffsetMap {
	all := int(max(memoryBytes, OffsetMapBytesMin) / mapSlotBytes)
	m := &OffsetMap{seedA: maphash.MakeSeed(), seedB: maphash.MakeSeed()}
	first := all / (mapGrowth + 1)
	m.full = first * mapGrowth
	m.slots = make([]mapSlot, first)
	m.latest = -1
	return m
}

// Bytes is the memory that the map has taken.
func (m *OffsetMap) Bytes() int64 { return int64(len(m.slots)) * mapSlotBytes }

// Utilization is the share of the slots in use that a map of the full size has, 0 to 1.
func (m *OffsetMap) Utilization() float64 { return float64(m.used) / float64(m.full) }

// clear empties the map, which keeps its memory.
func (m *OffsetMap) clear() {
	clear(m.slots)
	m.used, m.latest, m.overflow = 0, -1, false
}

// put notes a record. It is refused, with false, where there is no room for another key.
func (m *OffsetMap) put(key []byte, offset int64) bool {
	a, b := maphash.Bytes(m.seedA, key), maphash.Bytes(m.seedB, key)
	s := m.find(a, b)
	if s.next == 0 && m.used >= len(m.slots)*mapLoadNumerator/mapLoadDenominator {
		if len(m.slots) == m.full {
			m.overflow = true
			return false
		}
		m.grow()
		s = m.find(a, b)
	}
	if s.next == 0 {
		m.used++
	}
	*s = mapSlot{a, b, offset + 1}
	return true
}

// get returns the offset of the last record of a key.
func (m *OffsetMap) get(key []byte) (offset int64, found bool) {
	s := m.find(maphash.Bytes(m.seedA, key), maphash.Bytes(m.seedB, key))
	return s.next - 1, s.next != 0
}

// find returns the slot of a key, or the empty one where it belongs. There always is one.
func (m *OffsetMap) find(a, b uint64) *mapSlot {
	i, _ := bits.Mul64(a, uint64(len(m.slots)))
	for {
		s := &m.slots[i]
		if s.next == 0 || s.a == a && s.b == b {
			return s
		}
		if i++; i == uint64(len(m.slots)) {
			i = 0
		}
	}
}

func (m *OffsetMap) grow() {
	old := m.slots
	m.slots = make([]mapSlot, m.full)
	for i := range old {
		if old[i].next != 0 {
			*m.find(old[i].a, old[i].b) = old[i]
		}
	}
}
