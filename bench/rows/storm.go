package rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/bench/bed"
	"ottla/bench/results"
	"ottla/internal/storm"
)

const (
	mebibyte = 1 << 20
	// unlimited is a cap of the storm's that another one is to reach first.
	unlimited = "1000000000000"
	// writableMax bounds how long a broker that answers may refuse a partition.
	writableMax = 90 * time.Second
	// writableEvery is the pause between two attempts on a partition that is not ready.
	writableEvery = 5 * time.Millisecond
)

// stormTable is one section of several that are measured of storms; each begins with what all its samples share.
type stormTable struct {
	section string
	bed     *bed.Bed
	plan    Plan
	record  func(results.Sample)
}

// scaled is how many of n things a plan wants, at least least.
func (p Plan) scaled(n, least int64) int64 { return max(int64(float64(n)*p.Scale), least) }

// fail records why a row has no values.
func (t *stormTable) fail(row string, kind results.Broker, round int, x float64, err error) {
	t.record(results.Sample{Section: t.section, Row: row, Broker: kind, Round: round, X: x, Note: err.Error()})
}

// storm makes a storm against a broker and returns what it says of itself. The summary counts also after an error: a
// broker that stops answering is one.
func (t *stormTable) storm(ctx context.Context, k *bed.Broker, args ...string) (storm.Summary, error) {
	var s storm.Summary
	all := append([]string{"storm", "-b", k.Addr, "--broker-pid", strconv.Itoa(k.PID), "-o", "json", "-q", "--max-bytes", unlimited}, args...)
	tool, err := t.bed.Ottla(ctx, all...)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(tool.Stdout), &s); err != nil {
		return s, errors.Join(tool.Err(), fmt.Errorf("summary of the storm: %w", err))
	}
	return s, tool.Err()
}

// load is the storm's own load, which is the last of a summary.
func load(s storm.Summary) storm.Load {
	if len(s.Loads) == 0 {
		return storm.Load{}
	}
	return s.Loads[len(s.Loads)-1]
}

// cpuMicros is the broker's processor time for each of n things, in microseconds.
func cpuMicros(s storm.Summary, n int64) float64 {
	var sum float64
	for _, p := range s.Processes {
		sum += p.CPUSeconds
	}
	return sum * 1e6 / float64(max(n, 1))
}

// writable returns when a partition has acknowledged a record.
func writable(ctx context.Context, addr, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, writableMax)
	defer cancel()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryBackoffFn(func(int) time.Duration { return writableEvery }), kgo.MetadataMinAge(2*writableEvery),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, &kgo.Record{Value: []byte("writable?")}).FirstErr()
}

// again starts a broker anew on its data and returns when a partition of the topic takes a record: the time until the
// broker answered, and until then, in seconds since the process began.
func (t *stormTable) again(ctx context.Context, k *bed.Broker, topic string) (_ *bed.Broker, answers, writes float64, err error) {
	o := k.Opts
	o.Data = k.Data
	n, err := t.bed.Start(ctx, k.Kind, o)
	if err != nil {
		return k, 0, 0, err
	}
	began := time.Now()
	if err := writable(ctx, n.Addr, topic); err != nil {
		return n, 0, 0, fmt.Errorf("after the restart: %w", err)
	}
	return n, n.ReadyAfter.Seconds(), (n.ReadyAfter + time.Since(began)).Seconds(), nil
}

// diskBytes adds up the blocks of a directory's files, which Kafka makes larger than they are: all, and those that hold producer state.
func diskBytes(k *bed.Broker) (all, state int64) {
	_ = filepath.WalkDir(k.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go while the broker runs
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		size := info.Size()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			const block = 512
			size = stat.Blocks * block
		}
		all += size
		name := strings.TrimPrefix(path, k.Data+string(os.PathSeparator))
		if k.Kind == results.Ottla && strings.HasPrefix(name, "producers") || k.Kind == results.Kafka && strings.HasSuffix(name, ".snapshot") && !strings.Contains(name, "__cluster_metadata") {
			state += size
		}
		return nil
	})
	return all, state
}

// rounded is a number of things as readers write it.
func rounded(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func metric(name, title, unit string, better results.Better) results.Metric {
	return results.Metric{Name: name, Title: title, Unit: unit, Better: better}
}

// producersReach is the goal: single-use producers a second, as a multiple of Kafka's.
const producersReach = 10

// Storm is how many single-use producers a broker bears.
func Storm() Section {
	rate := metric("producers", "single-use producers", "1/s", results.Higher)
	rate.Reach = producersReach
	return Section{
		Section: results.Section{
			Name: "storm", Title: "Single-use producers", Row: "each producer writes",
			About: "`ottla storm`: InitProducerId, then one batch with one record of 100 bytes and acks=all, then never again; 16 pipelined connections. " +
				"Where a producer writes to 100 partitions it is one request, on 4 connections that wait for their answers. Both brokers run, one at a time has work; " +
				"Ottla answers after its fsync, Kafka without one.",
			Metrics: []results.Metric{
				rate,
				metric("entries", "(producer, partition) entries", "1/s", results.Higher),
				metric("cpu", "broker CPU per producer", "µs", results.Lower),
				metric("p50", "push p50", "ms", results.Lower),
				metric("p99", "push p99", "ms", results.Lower),
			},
			Chart: results.Chart{Kind: "bars", Metric: []string{"producers"}},
		},
		Measure: measureStorm,
	}
}

var stormRows = []struct {
	title string
	args  []string
}{
	{"to the only partition", []string{"-p", "1"}},
	{"to one of 100 partitions", []string{"-p", "100"}},
	{"to each of 100 partitions", []string{"-p", "100", "--mode", "wide", "--connections", "4"}},
}

// stormSeconds is how long one storm takes at full scale.
const stormSeconds = 4

func measureStorm(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	t := &stormTable{"storm", b, p, record}
	brokers, err := t.startBoth(ctx, bed.Options{})
	if err != nil {
		return err
	}
	defer stopAll(brokers)
	seconds := strconv.FormatFloat(max(stormSeconds*p.Scale, 1), 'f', 2, 64)
	for round := range p.Rounds + 1 {
		for _, row := range stormRows {
			for _, k := range inTurn(round, brokers...) {
				if err := b.Settle(ctx); err != nil { // what the other one has left to write
					return err
				}
				const topic = storm.TopicPrefix + "once"
				s, err := t.storm(ctx, k, append([]string{"-n", unlimited, "--max-seconds", seconds, "--topic", topic, "--keep"}, row.args...)...)
				if deleted := k.DeleteTopic(ctx, topic); err == nil { // waited for: else its files go while the next is measured
					err = deleted
				}
				if err != nil {
					t.fail(row.title, k.Kind, round, 0, err)
					continue
				}
				l := load(s)
				record(results.Sample{Section: t.section, Row: row.title, Broker: k.Kind, Round: round, Values: map[string]float64{
					"producers": l.PushesPerSecond, "entries": float64(l.Entries) / s.Seconds, "cpu": cpuMicros(s, l.Producers), "p50": l.Latency.P50, "p99": l.Latency.P99,
				}})
			}
		}
	}
	return ctx.Err()
}

// startBoth starts Kafka and Ottla.
func (t *stormTable) startBoth(ctx context.Context, o bed.Options) ([]*bed.Broker, error) {
	var out []*bed.Broker
	for _, kind := range []results.Broker{results.Kafka, results.Ottla} {
		k, err := t.bed.Start(ctx, kind, o)
		if err != nil {
			stopAll(out)
			return nil, fmt.Errorf("start %s: %w", kind, err)
		}
		out = append(out, k)
	}
	return out, nil
}

// stopAll ends brokers and removes what they stored.
func stopAll(brokers []*bed.Broker) {
	for _, k := range brokers {
		remove(k)
	}
}

// remove ends a broker, if it runs, and removes what it stored: the disk is small.
func remove(k *bed.Broker) {
	if k.Alive() {
		_ = k.Kill()
	}
	_ = os.RemoveAll(k.Data)
}

var entriesMetrics = []results.Metric{
	{Name: "rss", Title: "RSS", Unit: "MiB", Better: results.Lower, Most: 128},
	metric("heap", "heap", "MiB", results.Lower),
	metric("producers", "single-use producers", "1/s", results.Fact), // compared where brokers are warm: Storm
	metric("cpu", "broker CPU per producer", "µs", results.Fact),
	metric("disk", "disk, log included", "MiB", results.Lower),
	metric("state", "disk of producer state, per entry", "B", results.Lower),
	metric("answers", "restart: answers", "s", results.Lower),
	metric("writes", "restart: writable", "s", results.Lower),
	metric("killed-answers", "after kill -9: answers", "s", results.Lower),
	metric("killed-writes", "after kill -9: writable", "s", results.Lower),
}

const entriesAbout = "RSS and heap then (Kafka: what is alive, and its RSS is that of a heap of 1 GiB, whatever is in it; Ottla: what Go has allocated, garbage included, without 8 MiB of tables beside it), the rate and the broker's CPU of the last nine tenths: " +
	"each step begins with a broker that was just started, whose compiler is cold if it is Kafka's. " +
	"Then a clean stop: disk of all and of producer state, start until the broker answers and until the partition takes a record. Then a hundredth more producers, kill -9, and the same start again. Most of Kafka's time after kill -9 does not depend on the entries: its controller waits for the session of the broker that was killed, 9 s."

// StormEntries is what producers that are gone cost a broker.
func StormEntries() Section {
	return Section{
		Section: results.Section{
			Name: "entries", Title: "What single-use producers leave behind", Row: "entries",
			About:   "`ottla storm` on one partition, one batch with an empty record for each producer, until the number of entries is there: " + entriesAbout + " Kafka goes as far as 1 million: ten would be some 3 GB of a heap of 1 GiB.",
			Metrics: entriesMetrics,
			Chart:   results.Chart{Kind: "lines", Metric: []string{"rss", "heap", "writes"}, XTitle: "entries", LogX: true},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			t := &stormTable{"entries", b, p, record}
			f := fill{seconds: stepSecondsMax}
			errs := []error{t.entries(ctx, results.Kafka, steps(p.scaled(kafkaEntries, 0)), f), t.entries(ctx, results.Ottla, steps(p.scaled(ottlaEntries, 0)), f)}
			if errs[0] != nil && errs[1] != nil {
				return errors.Join(errs...)
			}
			return ctx.Err()
		},
	}
}

// Storm100M is the same for Ottla alone, up to 100 million: no part of All. It takes ten minutes and 5 GB of disk: the entries stay,
// of the log only the last gigabyte does.
func Storm100M() Section {
	return Section{
		Section: results.Section{
			Name: "entries-100m", Title: "100 million single-use producers", Row: "entries",
			About:   "As the table of entries, with retention.bytes=1073741824 on the topic: what is behind in the log goes, who wrote it stays known. " + entriesAbout,
			Metrics: entriesMetrics,
			Chart:   results.Chart{Kind: "lines", Metric: []string{"rss"}, XTitle: "entries", LogX: true},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			t := &stormTable{"entries-100m", b, p, record}
			return t.entries(ctx, results.Ottla, steps(p.scaled(100_000_000, 0)), fill{
				seconds: hundredMillionSecondsMax, config: map[string]string{"log.retention.check.interval.ms": "5000"},
				args: []string{"--topic-config", "retention.bytes=1073741824", "--topic-config", "segment.bytes=134217728"},
			})
		},
	}
}

// How far each broker is filled at full scale. A million are 300 MB of Kafka's heap and a minute.
const (
	kafkaEntries = 1_000_000
	ottlaEntries = 10_000_000
)

// steps are powers of ten from 10,000 to most, at least the first two.
func steps(most int64) []int64 {
	out := []int64{10_000, 100_000}
	for n := int64(1_000_000); n <= most; n *= 10 {
		out = append(out, n)
	}
	return out
}

const (
	// stepSecondsMax bounds one step: Ottla fills 9 million in about two minutes.
	stepSecondsMax = 240
	// hundredMillionSecondsMax is the same for 90 million.
	hundredMillionSecondsMax = 3600
)

// fill says how a broker is filled.
type fill struct {
	seconds int               // that one step may take
	config  map[string]string // of the broker
	args    []string          // of the first storm, which makes the topic
}

// filled is a broker that is filled step by step.
type filled struct {
	*stormTable
	fill
	k       *bed.Broker
	topic   string
	entries int64
}

func (t *stormTable) entries(ctx context.Context, kind results.Broker, to []int64, how fill) error {
	k, err := t.bed.Start(ctx, kind, bed.Options{Config: how.config})
	if err != nil {
		t.fail(rounded(to[0]), kind, 1, float64(to[0]), err)
		return err
	}
	f := &filled{stormTable: t, fill: how, k: k, topic: storm.TopicPrefix + "entries"}
	defer func() { remove(f.k) }()
	for _, n := range to {
		if err := f.step(ctx, n); err != nil {
			t.fail(rounded(n), kind, 1, float64(n), err)
			return nil // the next step needs this one
		}
	}
	return nil
}

// grow has more producers come until there are so many entries.
func (f *filled) grow(ctx context.Context, to int64) (storm.Summary, error) {
	args := []string{"-n", strconv.FormatInt(to-f.entries, 10), "--max-seconds", strconv.Itoa(f.seconds), "--record-bytes", "0", "--topic", f.topic, "--keep"}
	if f.entries > 0 {
		args = append(args, "--reuse-topic")
	} else {
		args = append(args, f.args...)
	}
	s, err := f.storm(ctx, f.k, args...)
	f.entries += load(s).Entries
	if err == nil && f.entries < to {
		err = fmt.Errorf("%s of %s entries in %d s: %s", rounded(f.entries), rounded(to), f.seconds, s.Ended)
	}
	return s, err
}

func (f *filled) step(ctx context.Context, to int64) error {
	s, err := f.grow(ctx, to)
	if err != nil {
		return err
	}
	l := load(s)
	values := map[string]float64{"producers": l.PushesPerSecond, "cpu": cpuMicros(s, l.Producers)}
	f.memory(ctx, values)
	if _, err := f.k.Stop(); err != nil {
		return err
	}
	all, state := diskBytes(f.k)
	values["disk"], values["state"] = float64(all)/mebibyte, float64(state)/float64(f.entries)
	if f.k, values["answers"], values["writes"], err = f.again(ctx, f.k, f.topic); err != nil {
		return err
	}
	if _, err := f.grow(ctx, f.entries+to/100); err != nil {
		return err
	}
	if err := f.k.Kill(); err != nil {
		return err
	}
	if f.k, values["killed-answers"], values["killed-writes"], err = f.again(ctx, f.k, f.topic); err != nil {
		return err
	}
	for name, v := range values {
		if math.IsNaN(v) {
			delete(values, name)
		}
	}
	f.record(results.Sample{Section: f.section, Row: rounded(to), Broker: f.k.Kind, Round: 1, X: float64(to), Values: values})
	return nil
}

// memory reads RSS and heap, in MiB; what cannot be read is NaN.
func (f *filled) memory(ctx context.Context, values map[string]float64) {
	values["rss"], values["heap"] = math.NaN(), math.NaN()
	if rss, err := f.k.RSS(); err == nil {
		values["rss"] = float64(rss) / mebibyte
	}
	if heap, err := heapBytes(ctx, f.k); err == nil {
		values["heap"] = float64(heap) / mebibyte
	}
}
