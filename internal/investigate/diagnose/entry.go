package diagnose

import "math"

// entryCost is what one entry costs on the heap with one batch, and for each further one of the five that are remembered, in bytes,
// its share of the map's slots included (a table at 0.75 load that doubles has 8 B an entry in the mean).
type entryCost struct {
	from                    release // this version and later
	one, more               float64 // compressed object pointers
	wideOne, wideMore       float64 // heaps of 32 GiB and more
	compactOne, compactMore float64 // compact object headers (JDK 25)
}

// entryCosts: the first two columns were measured on JDK 17 with brokers of 2.3.1, 2.8.2, 3.3.2, 3.6.2, 3.9.1 and 4.3.1, and those of the
// newest row in all three layouts; the wide and compact columns of the older rows are computed from their classes' fields.
// 3.5 replaced kafka.log.ProducerStateEntry (Scala queues) by a Java class, 2.4 gave the old one a timestamp (KAFKA-7190).
var entryCosts = []entryCost{
	{release{3, 5}, 264, 40, 360, 40, 222, 32},
	{release{2, 4}, 216, 64, 276, 72, 176, 48},
	{release{0, 11}, 208, 64, 268, 72, 168, 48},
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
		return cost.wideOne - (cost.one - cost.compactOne) + further*(cost.wideMore-(cost.more-cost.compactMore))
	case compactHeaders:
		return cost.compactOne + further*cost.compactMore
	case heapMax >= wideHeap:
		return cost.wideOne + further*cost.wideMore
	}
	return cost.one + further*cost.more
}
