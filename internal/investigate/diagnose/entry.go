package diagnose

import "math"

// What one entry costs on the heap with one batch, and for each further one of the five that are remembered, in bytes. Measured
// on JDK 17 with each version's own classes; see docs. Compact object headers are those of JDK 25.
var entryCosts = []struct {
	from        release // this version and later
	one, more   float64 // compressed object pointers
	wideOne     float64 // heaps of 32 GiB and more
	wideMore    float64
	compactOne  float64
	compactMore float64
}{
	{release{3, 5}, 263.5, 40.4, 359, 48, 222, 32.4},
	{release{2, 0}, 236, 48, 332, 64, 195, 40},
	{release{0, 11}, 228, 48, 320, 64, 188, 40},
}

const (
	batchesRemembered = 5 // ProducerStateEntry.NUM_BATCHES_TO_RETAIN
	wideHeap          = 32 << 30
)

func entryBytes(v release, batches float64, heapMax int64, compactHeaders bool) float64 {
	if math.IsNaN(batches) || batches < 1 {
		batches = 1
	}
	further := math.Min(batches, batchesRemembered) - 1
	cost := entryCosts[0]
	for _, c := range entryCosts {
		if cost = c; !v.below(c.from.major, c.from.minor) {
			break
		}
	}
	switch {
	case compactHeaders && heapMax >= wideHeap:
		// Each of the entry's objects loses what it loses with compressed pointers.
		return cost.wideOne - (cost.one - cost.compactOne) + further*cost.wideMore
	case compactHeaders:
		return cost.compactOne + further*cost.compactMore
	case heapMax >= wideHeap:
		return cost.wideOne + further*cost.wideMore
	}
	return cost.one + further*cost.more
}
