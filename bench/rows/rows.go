// Package rows owns what is measured side by side: one file a section of the report. It must not know how brokers are
// started (bench/bed) nor how a report looks (bench/results).
package rows

import (
	"context"
	"slices"

	"ottla/bench/bed"
	"ottla/bench/results"
)

// Plan is how much is measured.
type Plan struct {
	Rounds int     // counted rounds; a warm-up round goes before them where the section says so
	Scale  float64 // 1 is the full size of each row; --quick takes less
}

// Section is one table and how its samples are taken.
type Section struct {
	results.Section
	// Measure takes all samples of the section. It starts the brokers it needs, loads one at a time, interleaves them
	// within a round and ends what it started. A row that fails is recorded as a Sample with a Note, and the section goes
	// on; an error is returned only if nothing can be measured.
	Measure func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error
}

// All are the sections in the order of the report: first what the product is for, then what every broker is asked for.
func All() []Section {
	return slices.Concat(
		Death(),
		[]Section{Exactness(), Storm(), StormEntries()},
		Produce(),
		Latency(),
		Fetch(),
		[]Section{Groups(), GroupOffsets()},
		Growth(),
		[]Section{Footprint(), Partitions()},
	)
}
