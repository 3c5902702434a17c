package pidstore

import (
	"unsafe"

	"ottla/internal/coldstate"
)

// BudgetBytesMin is the smallest budget of producer state that works.
const BudgetBytesMin = 1 << 20

// Shares are how a budget is divided.
type Shares struct {
	HotBytes     int64 // entries kept to spare reads
	OverlayBytes int64 // entries of appends that are not in the cold store yet
	ColdBytes    int64 // everything the cold store allocates
}

// overlayBytesMax is enough for about 36,000 appends in flight. More would only
// make more of the log wait for one pass of the applier.
const overlayBytesMax = 16 << 20

// Split divides a budget: half for the cold store, whose cache and tables every
// look-up of a returning producer uses, or what that needs at least; half of the rest
// for what is in flight, and what then is left for hot entries.
func Split(budgetBytes int64) Shares {
	s := Shares{ColdBytes: max(budgetBytes/2, min(coldstate.MemoryBytesMin, budgetBytes))}
	rest := budgetBytes - s.ColdBytes
	s.OverlayBytes = min(rest/2, overlayBytesMax)
	s.HotBytes = rest - s.OverlayBytes
	return s
}

// layout is how many of everything a share of memory holds.
type layout struct {
	shards         int // a power of two
	hotSets        int // of one shard
	units          int // appends in flight, all shards together
	overlayBuckets int // of one shard, a power of two
}

const (
	shardsMax       = 16
	unitsPerShard   = 32 // fewer shards rather than fewer units a shard
	unitBytes       = int64(unsafe.Sizeof(node{}) + unsafe.Sizeof(slot{}))
	hotSetBytes     = int64(unsafe.Sizeof(hotSet{}))
	bucketBytes     = int64(unsafe.Sizeof(ref(0)))
	applierBytesMax = 48 << 10 // its batch and its lists
)

// newLayout never exceeds the two shares.
func newLayout(hotBytes, overlayBytes int64) layout {
	var l layout
	overlayBytes -= applierBytesMax
	// A power of two of buckets at or below the units needs at most one bucket a unit.
	l.units = int(max(overlayBytes/(unitBytes+bucketBytes), 8))
	l.shards = 1
	for l.shards < shardsMax && l.units/(l.shards*2) >= unitsPerShard {
		l.shards *= 2
	}
	l.overlayBuckets = powerOfTwoAtMost(l.units / l.shards)
	l.hotSets = int(hotBytes/hotSetBytes) / l.shards
	return l
}

func powerOfTwoAtMost(n int) int {
	p := 1
	for p*2 <= n {
		p *= 2
	}
	return p
}

// bytes is what the layout allocates.
func (l layout) hotBytes() int64 {
	return int64(l.shards) * int64(l.hotSets) * hotSetBytes
}

func (l layout) overlayBytes() int64 {
	return int64(l.units)*unitBytes + int64(l.shards)*int64(l.overlayBuckets)*bucketBytes + applierBytesMax
}
