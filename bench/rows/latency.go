package rows

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"ottla/bench/bed"
	"ottla/bench/results"
)

const (
	latencyPartitions = 12
	latencyWarm       = 2 * time.Second // of each measurement, at its rate, not counted
	latencyMeasured   = 6 * time.Second // at Plan.Scale 1
	latencyLeast      = 2 * time.Second
	// lateMax is how late the harness itself may send its p99 before a sample is doubted.
	lateMax = time.Millisecond
	// noFlush is Kafka's default of flush.messages: the broker never fsyncs because of what was written.
	noFlush = "9223372036854775807"
)

var latencyRates = []int{500, 2000}

// latencyVariant is one section: the same load, with brokers that fsync or not.
type latencyVariant struct {
	name, title, about string
	kinds              []results.Broker
	flush              map[results.Broker]string // the topic's flush.messages; empty: the broker's default
	reach              map[string]float64
}

// Latency measures how long single records take at a fixed rate, for three choices of fsync.
func Latency() []Section {
	const load = "Ten idempotent producers with acks=all (franz-go, one connection each, no linger) send single records of 1 KiB in turn to the 12 partitions of a topic; one consumer of the same " +
		"process tails all of them. The load is open: each record has a time at which it is due, and its latency counts from then, so that a stall is not hidden by a sender that waits with it. " +
		"Each measurement begins with 2 s that are not counted; the harness collects no garbage while it measures. The p99.9 of 500 a second is the fourth longest of 3,000 records."
	both := []results.Broker{results.Kafka, results.Ottla}
	atMost := func(reach float64) map[string]float64 {
		out := map[string]float64{}
		for _, m := range latencyMetrics(nil) {
			out[m.Name] = reach
		}
		return out
	}
	variants := []latencyVariant{
		{
			name: "latency", title: "Latency, brokers as shipped: Ottla fsyncs before each answer, Kafka does not",
			about: load + " The null server answers at once, the one with fsync when the record is durable, and nothing is consumed from either meanwhile: their rows are what producing alone costs client and kernel, and disk.",
			kinds: append(both[:2:2], results.Null, results.NullDisk), reach: atMost(1),
		},
		{
			name: "latency-fsync", title: "Latency, both fsync before each answer", about: load + " Kafka's topic has flush.messages=1; Ottla has its default. Nothing is consumed from the null server with fsync.",
			kinds: append(both[:2:2], results.NullDisk), flush: map[results.Broker]string{results.Kafka: "1"}, reach: map[string]float64{"ack-p50": 0.333, "consume-p50": 0.333},
		},
		{
			name: "latency-nofsync", title: "Latency, neither fsyncs", about: load + " Kafka has its default; Ottla's topic has flush.messages=" + noFlush + ".",
			kinds: both, flush: map[results.Broker]string{results.Ottla: noFlush}, reach: atMost(1),
		},
	}
	var out []Section
	for _, v := range variants {
		out = append(out, Section{
			Section: results.Section{
				Name: v.name, Title: v.title, About: v.about, Row: "rate", Metrics: latencyMetrics(v.reach),
				Chart: results.Chart{Kind: "bars", Metric: []string{"ack-p50", "ack-p99", "ack-p99.9", "consume-p99"}},
			},
			Measure: v.measure,
		})
	}
	return out
}

func latencyMetrics(reach map[string]float64) []results.Metric {
	var out []results.Metric
	for _, to := range []string{"ack", "consume"} {
		for _, q := range []string{"p50", "p99", "p99.9"} {
			m := metric(to+"-"+q, "produce to "+to+", "+q, "ms", results.Lower)
			m.Reach = reach[m.Name]
			out = append(out, m)
		}
	}
	return out
}

// measure keeps all brokers running, so that Kafka's compiler has seen the load, and loads one at a time. Round 0 warms up.
func (v latencyVariant) measure(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	restore := quietGC()
	defer restore()
	var brokers []*bed.Broker
	defer func() { stopAll(brokers) }()
	topic := v.name
	for _, kind := range v.kinds {
		k, err := b.Start(ctx, kind, bed.Options{})
		if err != nil {
			return fmt.Errorf("start %s: %w", kind, err)
		}
		brokers = append(brokers, k)
		configs := map[string]string{}
		if flush := v.flush[kind]; flush != "" {
			configs["flush.messages"] = flush
		}
		if err := k.CreateTopic(ctx, topic, latencyPartitions, configs); err != nil {
			return err
		}
	}
	for round := 0; round <= p.Rounds; round++ {
		for _, rate := range latencyRates {
			for _, k := range inTurn(round, brokers...) {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := b.Settle(ctx); err != nil {
					return err
				}
				record(v.one(ctx, k, topic, rate, round, p))
			}
		}
	}
	return nil
}

// one is one measurement as a sample.
func (v latencyVariant) one(ctx context.Context, k *bed.Broker, topic string, rate, round int, p Plan) results.Sample {
	s := results.Sample{Section: v.name, Row: rounded(int64(rate)) + " records/s", Broker: k.Kind, Round: round}
	o := openLoad{
		addr: k.Addr, topic: topic, partitions: latencyPartitions, rate: rate, warm: latencyWarm,
		measured: max(time.Duration(float64(latencyMeasured)*p.Scale), latencyLeast), consume: !k.Kind.Limit(),
	}
	runtime.GC()
	got, err := o.run(ctx)
	if err != nil {
		s.Note = err.Error()
		return s
	}
	s.Values = map[string]float64{}
	addQuantiles(s.Values, "ack", got.acked)
	if o.consume {
		addQuantiles(s.Values, "consume", got.consumed)
	}
	if late := quantile(got.late, 0.99); late > lateMax {
		s.Note = fmt.Sprintf("the harness sent late: p99 %v", late.Round(10*time.Microsecond))
	}
	return s
}

// addQuantiles adds three quantiles of sorted durations, in ms.
func addQuantiles(values map[string]float64, to string, sorted []time.Duration) {
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99, "p99.9": 0.999} {
		values[to+"-"+name] = float64(quantile(sorted, q)) / float64(time.Millisecond)
	}
}

// quantile is the smallest duration that the share q does not exceed; 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// quietGC keeps the collector of the harness away until what it returns is called, unless there are 4 GiB of garbage.
func quietGC() (restore func()) {
	const limit = 4 << 30
	percent, memory := debug.SetGCPercent(-1), debug.SetMemoryLimit(limit)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(memory)
	}
}
