package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"ottla/bench/bed"
	"ottla/bench/results"
)

// client is one of the two perf tools.
type client string

const (
	librdkafka client = "librdkafka"
	javaClient client = "Java"
)

// workload is a row of the throughput tables.
type workload struct {
	recordBytes, partitions int
	codec                   string // none, lz4
}

func (w workload) String() string {
	size := "1 KiB"
	if w.recordBytes != 1024 {
		size = fmt.Sprintf("%d B", w.recordBytes)
	}
	name := fmt.Sprintf("%s, %d partitions, %s", size, w.partitions, w.codec)
	if w.partitions == 1 {
		name = fmt.Sprintf("%s, 1 partition, %s", size, w.codec)
	}
	return name
}

// gigabyte is what the cost is stated for: 10^9 bytes of records, before compression.
const gigabyte = 1e9

func throughputMetrics(way string, reach, cpuReach float64) []results.Metric {
	return []results.Metric{
		{Name: "throughput", Title: "Throughput", Unit: "MB/s", Better: results.Higher, Reach: reach},
		{Name: "cpu", Title: "Broker CPU per GB " + way, Unit: "s/GB", Better: results.Lower, Reach: cpuReach},
	}
}

// Produce are the tables of how fast each client produces.
func Produce() []Section {
	const reachOfCPU = 1.0 / 3
	section := func(c client, name string, reach float64, how string) Section {
		return Section{
			Section: results.Section{
				Name:  name,
				Title: "Produce, " + string(c) + " client",
				About: how + " Producers are idempotent and use acks=all. Ottla calls fsync before it answers, Kafka with its default settings does not. " +
					"The null server answers and stores nothing: what the client reaches against it is the client's own limit. " +
					"Both brokers run during the whole table, and one at a time is loaded. Speed is that of the steady state: the first quarter of each run is left out, " +
					"and each broker has had an uncounted run of three times the size before. CPU is that of the broker's process during the whole run, per 10^9 bytes of records before compression.",
				Row:     "Workload",
				Metrics: throughputMetrics("in", reach, reachOfCPU),
				Chart:   results.Chart{Kind: "bars", Metric: []string{"throughput", "cpu"}},
			},
			Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
				return (&throughput{bed: b, plan: p, client: c, record: record}).produceAll(ctx)
			},
		}
	}
	return []Section{
		section(librdkafka, "produce-librdkafka", 2, "`rdkafka_performance -P`, built from librdkafka's source. It sends the same bytes in each record, so that with lz4 a batch shrinks to almost nothing, "+
			"for both brokers: those rows measure the cost of requests, not of bytes."),
		section(javaClient, "produce-java", 1.5, "`org.apache.kafka.tools.ProducerPerformance`, which sends random capital letters: lz4 gains little on them, at the client's cost."),
	}
}

// perfMax bounds one run of a perf tool, which takes seconds: rdkafka_performance waits for records that never come.
const perfMax = 10 * time.Minute

// throughput takes the samples of one table.
type throughput struct {
	bed     *bed.Bed
	plan    Plan
	client  client
	record  func(results.Sample)
	brokers map[results.Broker]*bed.Broker // Kafka and Ottla, for the whole table
	topics  int
}

// start starts the two brokers; the function that it returns ends them and removes their data.
func (t *throughput) start(ctx context.Context) (end func() error, err error) {
	t.brokers = map[results.Broker]*bed.Broker{}
	end = func() error {
		var failed error
		for _, k := range t.brokers {
			failed = errors.Join(failed, k.Discard())
		}
		return failed
	}
	for _, kind := range []results.Broker{results.Kafka, results.Ottla} {
		if t.brokers[kind], err = t.bed.Start(ctx, kind, bed.Options{}); err != nil {
			delete(t.brokers, kind)
			return nil, errors.Join(err, end())
		}
	}
	return end, nil
}

// with hands out the broker of a kind. The null server is started for each use, as its topics have one number of partitions.
func (t *throughput) with(ctx context.Context, kind results.Broker, w workload, use func(*bed.Broker) error) (err error) {
	if kind != results.Null {
		return use(t.brokers[kind])
	}
	k, err := t.bed.Start(ctx, results.Null, bed.Options{Config: map[string]string{
		"partitions": strconv.Itoa(w.partitions), "record.bytes": strconv.Itoa(w.recordBytes),
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Discard()) }()
	return use(k)
}

// inTurn are the brokers of a round: every other round goes the other way.
func inTurn(round int, kinds ...results.Broker) []results.Broker {
	if round%2 == 0 {
		slices.Reverse(kinds)
	}
	return kinds
}

// records is how many a run has, so that it takes a few seconds, and of 1 KiB at most 4 GB in three times.
func (t *throughput) records(w workload) int64 {
	n := int64(700_000)
	if t.client == javaClient {
		n = 400_000
	}
	if w.recordBytes < 1024 {
		n *= 4
	}
	const queued = 100_000 // rdkafka_performance's, full before its first delivery: the first quarter has it
	return t.plan.scaled(n, 4*queued)
}

func (t *throughput) produceAll(ctx context.Context) (err error) {
	end, err := t.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	warm := workload{1024, 12, "none"}
	for _, kind := range []results.Broker{results.Kafka, results.Ottla} {
		if _, err := t.produceOnce(ctx, t.brokers[kind], warm, 3*t.records(warm)); err != nil {
			return fmt.Errorf("warm-up of %s: %w", kind, err)
		}
	}
	for _, size := range []int{1024, 100} {
		for _, partitions := range []int{1, 12, 100} {
			for _, codec := range []string{"none", "lz4"} {
				t.produceRow(ctx, workload{size, partitions, codec})
			}
		}
	}
	return ctx.Err()
}

func (t *throughput) produceRow(ctx context.Context, w workload) {
	for round := 1; round <= t.plan.Rounds; round++ {
		for _, kind := range inTurn(round, results.Kafka, results.Ottla, results.Null) {
			if ctx.Err() != nil {
				return
			}
			sample := results.Sample{Row: w.String(), Broker: kind, Round: round}
			err := t.with(ctx, kind, w, func(k *bed.Broker) (err error) {
				sample.Values, err = t.produceOnce(ctx, k, w, t.records(w))
				return err
			})
			if err != nil {
				sample.Note = err.Error()
			}
			t.record(sample)
		}
	}
}

// produceOnce produces to a topic of its own and deletes it.
func (t *throughput) produceOnce(ctx context.Context, k *bed.Broker, w workload, count int64) (_ map[string]float64, err error) {
	topic := t.topic()
	if err := k.CreateTopic(ctx, topic, w.partitions, nil); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.DeleteTopic(ctx, topic)) }()
	return t.cost(ctx, k, w, count, func() (moved, error) { return t.produce(ctx, k, topic, w, count) })
}

func (t *throughput) topic() string {
	t.topics++
	return fmt.Sprintf("perf-%s-%d", t.client, t.topics)
}

// cost is the speed of what a tool moves and what the broker used for it.
func (t *throughput) cost(ctx context.Context, k *bed.Broker, w workload, count int64, move func() (moved, error)) (map[string]float64, error) {
	// What the broker before has left in the page cache would be written while this one is measured, and waited for by an
	// fsync of the file system.
	if err := t.bed.Settle(ctx); err != nil {
		return nil, err
	}
	before, err := k.CPU()
	if err != nil {
		return nil, err
	}
	m, err := move()
	if err != nil {
		return nil, err
	}
	after, err := k.CPU()
	if err != nil {
		return nil, err
	}
	if m.failed > 0 || m.errors > 0 || m.records < count {
		return nil, fmt.Errorf("%d of %d records, %d failed, %d errors", m.records, count, m.failed, m.errors)
	}
	bytes := float64(m.records) * float64(w.recordBytes)
	return map[string]float64{
		"throughput": m.recordsPerSec * float64(w.recordBytes) / 1e6,
		"cpu":        (after - before).Seconds() / (bytes / gigabyte),
	}, nil
}

func (t *throughput) produce(ctx context.Context, k *bed.Broker, topic string, w workload, count int64) (moved, error) {
	ctx, cancel := context.WithTimeout(ctx, perfMax)
	defer cancel()
	n, size := strconv.FormatInt(count, 10), strconv.Itoa(w.recordBytes)
	if t.client == javaClient {
		warm := strconv.FormatInt(int64(float64(count)*steadyFrom), 10)
		out, err := t.bed.Java(ctx, "org.apache.kafka.tools.ProducerPerformance", "--bootstrap-server", k.Addr, "--topic", topic,
			"--num-records", n, "--warmup-records", warm, "--record-size", size, "--throughput", "-1",
			"--command-property", "acks=all", "enable.idempotence=true", "compression.type="+w.codec)
		if err = errors.Join(err, out.Err()); err != nil {
			return moved{}, err
		}
		return readJavaProducer(out.Stdout)
	}
	out, err := t.bed.Rdkafka(ctx, "-P", "-b", k.Addr, "-t", topic, "-c", n, "-s", size, "-a", "-1", "-z", w.codec,
		"-X", "enable.idempotence=true", "-X", "log_level=3", "-u", "-i", "20")
	if err = errors.Join(err, out.Err()); err != nil {
		return moved{}, err
	}
	return readRdkafkaProducer(out.Stdout, count)
}
