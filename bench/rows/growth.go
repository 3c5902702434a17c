package rows

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ottla/bench/bed"
	"ottla/bench/results"
)

// growthMax bounds one run of Go's benchmarks: filling ten million entries takes half a minute.
const growthMax = 5 * time.Minute

// Growth is whether the cost of an operation grows with what there is already.
func Growth() []Section {
	return []Section{{
		Section: results.Section{
			Name: "growth", Title: "Time of an operation by entries", Row: "entries",
			About: "`OTTLA_GROWTH_ENTRIES=10000000 go test -run '^$' -bench 'Growth$' -benchtime 5000x ./internal/pidstore`: the producer store of Ottla alone, one thread, with the default budget of 32 MiB, on the real file system; " +
				"what an operation puts off until later is counted. A retry of a producer of any age is a look-up in memory as long as all fit, else one read of a block from the page cache.",
			Metrics: []results.Metric{
				flat("append-new", "append of a new producer"),
				flat("append-known", "append of a known one"),
				flat("retry-recent", "look-up, recent"),
				flat("retry-any", "look-up, any age"),
			},
			Chart: results.Chart{Kind: "lines", Metric: []string{"append-new", "append-known", "retry-recent", "retry-any"}, XTitle: "entries", LogX: true},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			entries := []string{"OTTLA_GROWTH_ENTRIES=" + strconv.FormatInt(p.scaled(10_000_000, 100_000), 10)}
			return runGrowth(ctx, b, "growth", []string{"-bench", "Growth$", "-benchtime", "5000x", "ottla/internal/pidstore"}, entries, record)
		},
	}, {
		Section: results.Section{
			Name: "growth-partitions", Title: "Time of an append by partitions", Row: "partitions",
			About: "`go test -run '^$' -bench GrowthPartitions -benchtime 20000x ./internal/broker`: one batch of one record after the other through Ottla's broker, acks=1, one thread, over the disk of temporary files, " +
				"by one idempotent producer that writes to one partition after the other.",
			Metrics: []results.Metric{flat("append", "append")},
			Chart:   results.Chart{Kind: "lines", Metric: []string{"append"}, XTitle: "partitions", LogX: true},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			return runGrowth(ctx, b, "growth-partitions", []string{"-bench", "GrowthPartitions", "-benchtime", "20000x", "ottla/internal/broker"}, nil, record)
		},
	}}
}

// flatWithin is how many times its first row's time a row may take that is called flat: caches of the processor alone cost as much.
const flatWithin = 1.5

func flat(name, title string) results.Metric {
	return results.Metric{Name: name, Title: title, Unit: "µs", Better: results.Flat, Reach: flatWithin}
}

func runGrowth(ctx context.Context, b *bed.Bed, section string, args []string, environment []string, record func(results.Sample)) error {
	ctx, cancel := context.WithTimeout(ctx, growthMax)
	defer cancel()
	tool, err := b.Go(ctx, environment, append([]string{"test", "-run", "^$"}, args...)...)
	out := tool.Stdout
	if err = errors.Join(err, tool.Err()); err != nil {
		return fmt.Errorf("go test -bench: %w", err)
	}
	samples := readGrowth(section, out)
	if len(samples) == 0 {
		return fmt.Errorf("go test -bench says %.300q", out)
	}
	for _, s := range samples {
		record(s)
	}
	return nil
}

// growthLine is a result such as "BenchmarkGrowth/entries=10000/append-new/round=1-2  5000  438.6 ns/op  0 B/op"; without an
// operation there is only one.
var growthLine = regexp.MustCompile(`(?m)^Benchmark\w+/\w+=(\d+)(?:/([a-z-]+))?/round=(\d+)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// readGrowth makes one sample of each round at each size.
func readGrowth(section, out string) []results.Sample {
	var samples []results.Sample
	at := map[string]int{}
	for _, found := range growthLine.FindAllStringSubmatch(out, -1) {
		x, _ := strconv.ParseInt(found[1], 10, 64)
		round, _ := strconv.Atoi(found[3])
		ns, err := strconv.ParseFloat(found[4], 64)
		if err != nil {
			continue
		}
		key := found[1] + "/" + found[3]
		i, known := at[key]
		if !known {
			i = len(samples)
			at[key] = i
			samples = append(samples, results.Sample{Section: section, Row: rounded(x), Broker: results.Ottla, Round: round, X: float64(x), Values: map[string]float64{}})
		}
		name := found[2]
		if name == "" {
			name = "append"
		}
		samples[i].Values[strings.TrimSpace(name)] = ns / 1000
	}
	return samples
}
