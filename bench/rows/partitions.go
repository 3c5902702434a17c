package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/bench/bed"
	"ottla/bench/results"
)

const (
	manyPartitions    = 10_000 // at Plan.Scale 1
	manyLeast         = 1000
	touchedPartitions = 1000
	// manyWithin bounds each step: making the topic, writing to it, coming back.
	manyWithin = 2 * time.Minute
	// readableEvery is the pause between two questions for the ends of all partitions.
	readableEvery = 20 * time.Millisecond
)

// Partitions measures a broker with many partitions.
func Partitions() Section {
	return Section{
		Section: results.Section{
			Name: "partitions", Title: "Many partitions", Row: "topic",
			About: "One topic. Create: from the request until every partition has a leader, 5,000 with the topic and, when these have leaders, 5,000 more with a second request, as Kafka makes fewer than 10,000 in one. Write: one record of 100 bytes to each of 1,000 partitions, at once, by one idempotent producer with " +
				"acks=all (franz-go), its connection and producer id included. Memory and CPU idle: 5 s after the topic was made, CPU of 10 s. Restart: after a clean stop, from the start of " +
				"the process until the end of every partition was told to a client. Each step may take two minutes.",
			Metrics: []results.Metric{
				metric("create", "create", "s", results.Lower),
				metric("rss", "resident memory", "MiB", results.Lower),
				metric("cpu", "CPU, idle", "% of a core", results.Lower),
				metric("touch", "write to 1,000 of them", "s", results.Lower),
				metric("stop", "clean stop", "s", results.Lower),
				metric("restart", "restart until all can be read", "s", results.Lower),
				metric("rss-after", "resident memory after the restart", "MiB", results.Lower),
			},
		},
		Measure: measurePartitions,
	}
}

func measurePartitions(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	const mostRounds = 3 // a round takes a minute or two
	t := &stormTable{"partitions", b, p, record}
	n := int(p.scaled(manyPartitions, manyLeast))
	for round := 1; round <= min(max(p.Rounds, 1), mostRounds); round++ {
		for _, kind := range inTurn(round, results.Kafka, results.Ottla) {
			s := results.Sample{Section: t.section, Row: rounded(int64(n)) + " partitions", Broker: kind, Round: round, Values: map[string]float64{}}
			// What was measured before a failure is kept with it.
			if err := t.many(ctx, kind, n, s.Values); err != nil {
				s.Note = err.Error()
			}
			record(s)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// many takes a broker through all steps.
func (t *stormTable) many(ctx context.Context, kind results.Broker, n int, values map[string]float64) error {
	const topic = "many"
	k, err := t.bed.Start(ctx, kind, bed.Options{})
	if err != nil {
		return err
	}
	defer func() { remove(k) }()
	create := func(ctx context.Context) error { return k.CreateTopic(ctx, topic, n, nil) }
	if err := timed(ctx, "create", values, create); err != nil {
		return err
	}
	idle, err := t.idle(ctx, k)
	if err != nil {
		return err
	}
	values["rss"], values["cpu"] = idle["rss"], idle["cpu"]
	touch := func(ctx context.Context) error { return touchPartitions(ctx, k.Addr, topic, touchedPartitions) }
	if err := timed(ctx, "touch", values, touch); err != nil {
		return err
	}
	took, err := k.Stop()
	if err != nil {
		return err
	}
	values["stop"] = took.Seconds()
	restart := func(ctx context.Context) error {
		o := k.Opts
		o.Data = k.Data
		next, err := t.bed.Start(ctx, kind, o)
		if err != nil {
			return err
		}
		k = next
		return readable(ctx, k.Addr, topic, n)
	}
	if err := timed(ctx, "restart", values, restart); err != nil {
		return err
	}
	rss, err := k.RSS()
	if err != nil {
		return err
	}
	values["rss-after"] = float64(rss) / mebibyte
	return nil
}

// timed writes down how many seconds a step took, unless it fails.
func timed(ctx context.Context, step string, values map[string]float64, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, manyWithin)
	defer cancel()
	began := time.Now()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s, after %v: %w", step, time.Since(began).Round(time.Second), err)
	}
	values[step] = time.Since(began).Seconds()
	return nil
}

// touchPartitions writes one record to each of the first n partitions.
func touchPartitions(ctx context.Context, addr, topic string, n int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Partition: int32(i), Value: make([]byte, 100)}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// readable returns when a broker tells the end of each of the n partitions.
func readable(ctx context.Context, addr, topic string, n int) error {
	return withAdmin(addr, func(a *kadm.Client) error {
		for {
			listed, err := a.ListEndOffsets(ctx, topic)
			if err == nil {
				if err = listed.Error(); err == nil && len(listed[topic]) == n {
					return nil
				}
			}
			if waited := pause(ctx, readableEvery); waited != nil {
				return errors.Join(err, waited)
			}
		}
	})
}
