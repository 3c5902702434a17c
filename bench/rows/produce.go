package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
					"The null server answers and stores nothing: what the client reaches against it is the client's own limit. The one with fsync writes each request to one file and answers when it is durable: its limit is that of the client and the disk. " +
					"Both brokers run during the whole table, and one at a time is loaded. Speed is that of the steady state: the first quarter of each run is left out, " +
					"and each broker has had uncounted runs of three times the size before, plain and with lz4. The counted part takes about a second, and its data fits in the page cache: Kafka's is written to disk afterwards, uncounted; " +
					"Ottla's is on disk before it is answered. CPU is that of the broker's process during the whole run, in ticks of 10 ms, per 10^9 bytes of records before compression; that of the kernel's own threads, which write back, is in nobody's.",
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
		sustained(),
		section(javaClient, "produce-java", 1.5, "`org.apache.kafka.tools.ProducerPerformance`, which sends random capital letters: lz4 gains little on them, at the client's cost."),
	}
}

// sustained is one workload for so long that the kernel makes whoever writes wait for the disk.
func sustained() Section {
	return Section{
		Section: results.Section{
			Name:  "produce-sustained",
			Title: "Produce, for longer than the page cache can hold it back",
			About: "As the table before with 6 GB in each run: the kernel begins to write behind Kafka too while it is measured.",
			Row:   "Workload", Metrics: throughputMetrics("in", 2, 1.0/3),
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) (err error) {
			t := &throughput{bed: b, plan: p, client: librdkafka, record: record}
			end, err := t.start(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, end()) }()
			if err := t.warmUp(ctx, workload{1024, 12, "none"}, t.plan.scaled(2_000_000, 400_000)); err != nil {
				return err
			}
			t.produceRow(ctx, workload{1024, 12, "none"}, t.plan.scaled(sustainedRecords, 400_000))
			return ctx.Err()
		},
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

// sustainedRecords of 1 KiB are 6 GB: more than the dirty pages that a kernel holds back (a tenth of the memory here).
const sustainedRecords = 6_000_000

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

// with hands out the broker of a kind. A null server is started for each use, as its topics have one number of partitions.
func (t *throughput) with(ctx context.Context, kind results.Broker, w workload, use func(*bed.Broker) error) (err error) {
	if !kind.Limit() {
		return use(t.brokers[kind])
	}
	k, err := t.bed.Start(ctx, kind, bed.Options{Config: map[string]string{
		"partitions": strconv.Itoa(w.partitions), "record.bytes": strconv.Itoa(w.recordBytes),
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Discard()) }()
	return use(k)
}

// inTurn is what a round takes in its turn: each round begins with another, so that none always follows the same one.
func inTurn[T any](round int, all ...T) []T {
	first := max(round-1, 0) % len(all)
	return slices.Concat(all[first:], all[:first])
}

// records is how many a run has, so that it takes some seconds, and of 1 KiB at most 4 GB in three times.
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
	for _, codec := range []string{"none", "lz4"} {
		w := workload{1024, 12, codec}
		if err := t.warmUp(ctx, w, 3*t.records(w)); err != nil {
			return err
		}
	}
	for _, size := range []int{1024, 100} {
		for _, partitions := range []int{1, 12, 100} {
			for _, codec := range []string{"none", "lz4"} {
				w := workload{size, partitions, codec}
				t.produceRow(ctx, w, t.records(w))
			}
		}
	}
	return ctx.Err()
}

// warmUp gives each broker's compiler, and its disk blocks, what the first rows would else pay for.
func (t *throughput) warmUp(ctx context.Context, w workload, records int64) error {
	for _, kind := range []results.Broker{results.Kafka, results.Ottla} {
		if _, err := t.produceOnce(ctx, t.brokers[kind], w, records); err != nil {
			return fmt.Errorf("warm-up of %s: %w", kind, err)
		}
	}
	return nil
}

func (t *throughput) produceRow(ctx context.Context, w workload, records int64) {
	for round := 1; round <= t.plan.Rounds; round++ {
		for _, kind := range inTurn(round, results.Kafka, results.Ottla, results.Null, results.NullDisk) {
			if ctx.Err() != nil {
				return
			}
			sample := results.Sample{Row: w.String(), Broker: kind, Round: round}
			err := t.with(ctx, kind, w, func(k *bed.Broker) (err error) {
				sample.Values, err = t.produceOnce(ctx, k, w, records)
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

// What the tools are told beside the workload.
var (
	rdkafkaProducerArgs = []string{"-a", "-1", "-X", "enable.idempotence=true", "-X", "log_level=3", "-u", "-i", "20"}
	rdkafkaConsumerArgs = []string{"-o", "beginning", "-u", "-i", "100", "-X", "log_level=3",
		// Else it rests for a second whenever more than 64 MiB wait in it: what is well compressed is too large then.
		"-X", "queued.max.messages.kbytes=2097151", "-X", "fetch.queue.backoff.ms=10"}
)

const (
	javaProducerAcks        = "acks=all"
	javaProducerIdempotence = "enable.idempotence=true"
)

// Setup says what the perf tools are told, for the report.
func Setup() []results.Setting {
	return []results.Setting{
		{Name: "librdkafka's producer, beside the workload", Value: "rdkafka_performance -P " + strings.Join(rdkafkaProducerArgs, " ") + " (the tool itself sets linger.ms=1000)"},
		{Name: "librdkafka's consumer", Value: "rdkafka_performance -C " + strings.Join(rdkafkaConsumerArgs, " ") + " (the tool itself sets queued.min.messages=1000000)"},
		{Name: "Java's producer", Value: "ProducerPerformance --command-property " + javaProducerAcks + " " + javaProducerIdempotence},
		{Name: "Java's consumer", Value: "ConsumerPerformance, its defaults"},
	}
}

func (t *throughput) produce(ctx context.Context, k *bed.Broker, topic string, w workload, count int64) (moved, error) {
	ctx, cancel := context.WithTimeout(ctx, perfMax)
	defer cancel()
	n, size := strconv.FormatInt(count, 10), strconv.Itoa(w.recordBytes)
	if t.client == javaClient {
		warm := strconv.FormatInt(int64(float64(count)*steadyFrom), 10)
		out, err := t.bed.Java(ctx, "org.apache.kafka.tools.ProducerPerformance", "--bootstrap-server", k.Addr, "--topic", topic,
			"--num-records", n, "--warmup-records", warm, "--record-size", size, "--throughput", "-1",
			"--command-property", javaProducerAcks, javaProducerIdempotence, "compression.type="+w.codec)
		if err = errors.Join(err, out.Err()); err != nil {
			return moved{}, err
		}
		return readJavaProducer(out.Stdout)
	}
	out, err := t.bed.Rdkafka(ctx, append([]string{"-P", "-b", k.Addr, "-t", topic, "-c", n, "-s", size, "-z", w.codec}, rdkafkaProducerArgs...)...)
	if err != nil {
		return moved{}, err
	}
	m, err := readRdkafkaProducer(out.Stdout, count)
	// It compares what it sent with what was delivered while its last delivery may still count as queued, and then ends with 1
	// though all is well (rdkafka_performance.c, after its last flush): its own count of deliveries decides.
	if m.records < count || m.failed > 0 {
		err = errors.Join(out.Err(), err)
	}
	return m, err
}
