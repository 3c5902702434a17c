package rows

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"ottla/bench/bed"
	"ottla/bench/results"
)

// Fetch are the tables of how fast each client reads what has been written before: from the page cache, and from disk.
func Fetch() []Section {
	const about = "`rdkafka_performance -C`, which reads all partitions, and `org.apache.kafka.tools.ConsumerPerformance`, a member of a group (its time without the group's forming). " +
		"The records are written once for each row and broker by rdkafka_performance and read in each round. CPU is that of the broker's process during the whole run, per 10^9 bytes of records."
	const reachOfCPU = 0.8
	measure := func(cold bool) func(context.Context, *bed.Bed, Plan, func(results.Sample)) error {
		return func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			return (&throughput{bed: b, plan: p, client: librdkafka, record: record}).fetchAll(ctx, cold)
		}
	}
	return []Section{
		{
			Section: results.Section{
				Name: "fetch", Title: "Fetch from the page cache", Row: "Workload",
				About:   about + " The null server answers each fetch with the same prepared batch.",
				Metrics: throughputMetrics("out", 1.1, reachOfCPU),
				Chart:   results.Chart{Kind: "bars", Metric: []string{"throughput", "cpu"}},
			},
			Measure: measure(false),
		},
		{
			Section: results.Section{
				Name: "fetch-cold", Title: "Catching up from a cold cache", Row: "Workload",
				About:   about + " Before each read all is synced and the kernel drops its page cache; what lies below a virtual machine's disk may still hold it.",
				Metrics: throughputMetrics("out", 1, reachOfCPU),
				Chart:   results.Chart{Kind: "bars", Metric: []string{"throughput"}},
			},
			Measure: measure(true),
		},
	}
}

func (t *throughput) fetchAll(ctx context.Context, cold bool) (err error) {
	if cold {
		if err := t.bed.DropCache(ctx); err != nil {
			t.record(results.Sample{Row: "all", Broker: results.Kafka, Round: 1, Note: "left out, as the page cache cannot be dropped: " + err.Error()})
			return ctx.Err()
		}
	}
	end, err := t.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	var all []workload
	for _, size := range []int{1024, 100} {
		for _, partitions := range []int{1, 12, 100} {
			all = append(all, workload{size, partitions, "none"})
			if partitions == 12 && !cold {
				all = append(all, workload{size, partitions, "lz4"})
			}
		}
	}
	if err := t.warmFetch(ctx); err != nil {
		return err
	}
	for _, w := range all {
		t.fetchRow(ctx, w, cold)
	}
	return ctx.Err()
}

// fetched is how many records a row has: 1 GB of them, or of the small ones as many as take a few seconds.
func (t *throughput) fetched(w workload) int64 {
	if w.recordBytes < 1024 {
		return t.plan.scaled(5_000_000, 400_000)
	}
	return t.plan.scaled(1_000_000, 400_000)
}

// warmFetch reads once with each client before anything counts.
func (t *throughput) warmFetch(ctx context.Context) error {
	w := workload{1024, 12, "none"}
	topic, failed := t.fill(ctx, w)
	for kind, err := range failed {
		return fmt.Errorf("warm-up of %s: %w", kind, err)
	}
	for range 3 { // what Kafka's compiler needs
		for _, k := range t.brokers {
			for _, c := range []client{librdkafka, javaClient} {
				if _, err := t.fetch(ctx, k, c, topic, w, t.fetched(w)); err != nil {
					return fmt.Errorf("warm-up of %s with %s: %w", k.Kind, c, err)
				}
			}
		}
	}
	return t.empty(ctx, topic)
}

// fill writes a row's records to a topic of both brokers, and says where that failed.
func (t *throughput) fill(ctx context.Context, w workload) (topic string, failed map[results.Broker]error) {
	topic, failed = t.topic(), map[results.Broker]error{}
	for kind, k := range t.brokers {
		if err := k.CreateTopic(ctx, topic, w.partitions, nil); err != nil {
			failed[kind] = err
			continue
		}
		m, err := t.produce(ctx, k, topic, w, t.fetched(w))
		if m.records < t.fetched(w) || m.failed > 0 { // that it may be too fast to measure does not matter here
			failed[kind] = errors.Join(fmt.Errorf("fill: %d of %d records, %d failed", m.records, t.fetched(w), m.failed), err)
		}
	}
	return topic, failed
}

func (t *throughput) empty(ctx context.Context, topic string) (err error) {
	for _, k := range t.brokers {
		err = errors.Join(err, k.DeleteTopic(ctx, topic))
	}
	return err
}

func (t *throughput) fetchRow(ctx context.Context, w workload, cold bool) {
	topic, failed := t.fill(ctx, w)
	defer func() {
		if err := t.empty(ctx, topic); err != nil && len(failed) == 0 {
			fmt.Fprintf(t.bed.Log, "%s: %v\n", w, err) // what was measured stands
		}
	}()
	kinds := []results.Broker{results.Kafka, results.Ottla}
	if !cold && w.codec == "none" { // the null server's one batch is not compressed
		kinds = append(kinds, results.Null)
	}
	for _, c := range []client{librdkafka, javaClient} {
		for round := 1; round <= t.plan.Rounds; round++ {
			for _, kind := range inTurn(round, kinds...) {
				if ctx.Err() != nil {
					return
				}
				sample := results.Sample{Row: w.String() + ", " + string(c), Broker: kind, Round: round}
				err := failed[kind]
				if err == nil {
					sample.Values, err = t.fetchOnce(ctx, kind, c, topic, w, cold)
				}
				if err != nil {
					sample.Note = err.Error()
				}
				t.record(sample)
			}
		}
	}
}

func (t *throughput) fetchOnce(ctx context.Context, kind results.Broker, c client, topic string, w workload, cold bool) (values map[string]float64, err error) {
	err = t.with(ctx, kind, w, func(k *bed.Broker) (err error) {
		if cold {
			if err := t.bed.DropCache(ctx); err != nil {
				return err
			}
		}
		values, err = t.cost(ctx, k, w, t.fetched(w), func() (moved, error) { return t.fetch(ctx, k, c, topic, w, t.fetched(w)) })
		return err
	})
	return values, err
}

// fetch reads a whole topic. Its errors are those of the tool and of what it printed.
func (t *throughput) fetch(ctx context.Context, k *bed.Broker, c client, topic string, w workload, count int64) (moved, error) {
	ctx, cancel := context.WithTimeout(ctx, perfMax)
	defer cancel()
	n := strconv.FormatInt(count, 10)
	if c == javaClient {
		t.topics++ // for a group that has read nothing
		out, err := t.bed.Java(ctx, "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", k.Addr, "--topic", topic,
			"--num-records", n, "--group", fmt.Sprintf("perf-%d", t.topics), "--hide-header")
		if err = errors.Join(err, out.Err()); err != nil {
			return moved{}, err
		}
		return readJavaConsumer(out.Stdout)
	}
	args := append([]string{"-C", "-b", k.Addr, "-t", topic, "-c", n}, rdkafkaConsumerArgs...)
	for p := range w.partitions {
		args = append(args, "-p", strconv.Itoa(p))
	}
	out, err := t.bed.Rdkafka(ctx, args...)
	if err = errors.Join(err, out.Err()); err != nil {
		return moved{}, err
	}
	return readRdkafkaConsumer(out.Stdout)
}
