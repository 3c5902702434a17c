// Command churn is the load that the broker exists for: a new idempotent producer for every push. Each one asks for a producer
// id, writes one batch (or up to five) and is never heard of again, over a few pipelined connections.
//
// It remembers a sample of the producers. With -retry it sends every batch of the sample once more and checks that the broker
// still answers with error 0 and the original offset. It speaks plain Kafka, so it runs against any broker, and it costs little CPU: frames
// are encoded once and patched.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"ottla/internal/measure"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type options struct {
	addr        string
	producers   int64
	duration    time.Duration
	rate        int
	connections int
	pipeline    int
	topic       string
	partitions  int
	batches     int
	recordBytes int
	acks        int
	timeOffset  time.Duration
	sample      int
	sampleFile  string
	retry       bool
	retries     int
	probe       time.Duration
	brokerPID   int
	quiet       bool
}

// batchesMax is how many batches of a producer a broker has to remember.
const batchesMax = 5

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("churn", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.addr, "addr", "127.0.0.1:9092", "broker")
	f.Int64Var(&o.producers, "n", 100_000, "producers to make; 0: none, for -probe alone")
	f.DurationVar(&o.duration, "duration", 0, "stop after this time; 0: when all producers are done")
	f.IntVar(&o.rate, "rate", 0, "producers a second, at most; 0: as many as the broker takes")
	f.IntVar(&o.connections, "conns", 16, "connections")
	f.IntVar(&o.pipeline, "pipeline", 64, "producers in flight on each connection")
	f.StringVar(&o.topic, "topic", "churn", "topic; it is made if it does not exist")
	f.IntVar(&o.partitions, "partitions", 1, "partitions to write to, each producer to one of them")
	f.IntVar(&o.batches, "batches-per-producer", 1, "batches of each producer, 1 to 5")
	f.IntVar(&o.recordBytes, "record-bytes", 100, "size of the value of the one record in each batch")
	f.IntVar(&o.acks, "acks", -1, "-1 (all) or 1")
	f.DurationVar(&o.timeOffset, "record-timestamp-offset", 0, "added to the time of each record, for example -48h")
	f.IntVar(&o.sample, "sample", 10_000, "producers to remember, spread evenly over the run")
	f.StringVar(&o.sampleFile, "sample-file", "", "where the sample is written, or read with -retry")
	f.BoolVar(&o.retry, "retry", false, "retry the producers of -sample-file instead of making new ones")
	f.IntVar(&o.retries, "retry-rounds", 1, "how often -retry sends the sample")
	f.DurationVar(&o.probe, "probe", 0, "also run one steady producer that writes at this interval, and print its latency")
	f.IntVar(&o.brokerPID, "broker-pid", 0, "process id of the broker, to print its CPU time and memory")
	f.BoolVar(&o.quiet, "quiet", false, "no progress lines")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.connections < 1 || o.pipeline < 1 || o.partitions < 1:
		return errors.New("-conns, -pipeline and -partitions must be at least 1")
	case o.rate < 0:
		return fmt.Errorf("-rate %d: allowed: 0 and above", o.rate)
	case o.batches < 1 || o.batches > batchesMax:
		return fmt.Errorf("-batches-per-producer %d: allowed: 1 to %d", o.batches, batchesMax)
	case o.acks != -1 && o.acks != 1:
		return fmt.Errorf("-acks %d: allowed: -1, 1", o.acks)
	case o.retry && o.sampleFile == "":
		return errors.New("-retry needs -sample-file")
	case o.recordBytes < 0 || o.recordBytes > 512<<10:
		return fmt.Errorf("-record-bytes %d: allowed: 0 to %d", o.recordBytes, 512<<10)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "churn: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if o.retry {
		return retrySample(ctx, o, stdout)
	}
	if err := makeTopic(ctx, o); err != nil {
		return err
	}
	return churn(ctx, o, stdout, stderr)
}

func churn(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	before, err := measure.ReadProcess(o.brokerPID)
	if err != nil {
		return err
	}
	stormCtx, stormDone := context.WithCancel(ctx)
	defer stormDone()
	var probed <-chan probeResult
	if o.probe > 0 {
		probed = startProbe(stormCtx, o)
	}
	s := newStorm(o)
	if !o.quiet {
		s.reportEvery(stormCtx, time.Second, stderr)
	}
	started := time.Now()
	if o.producers > 0 {
		err = s.run(ctx)
	} else {
		<-ctx.Done()
	}
	elapsed := time.Since(started)
	stormDone()
	if o.producers > 0 && (err == nil || s.done.Load() > 0) {
		s.print(stdout, elapsed)
	}
	after, processErr := measure.ReadProcess(o.brokerPID)
	if processErr == nil && o.brokerPID != 0 {
		measure.Print(stdout, before, after, s.done.Load(), "producer")
	}
	if probed != nil {
		p := <-probed
		err = errors.Join(err, p.err)
		p.print(stdout)
	}
	// Also after an error: what was acknowledged before a broker died must be recognised when it is back.
	if o.sampleFile != "" && o.producers > 0 {
		err = errors.Join(err, s.sample.write(o))
	}
	return errors.Join(err, processErr)
}

// makeTopic makes the topic if it does not exist, and checks that it has enough partitions.
func makeTopic(ctx context.Context, o options) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.addr), kgo.RetryTimeout(10*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	responses, err := admin.CreateTopics(ctx, int32(o.partitions), 1, nil, o.topic)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", o.addr, err)
	}
	for _, r := range responses {
		if r.Err != nil && !errors.Is(r.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("topic %s: %w %s", o.topic, r.Err, r.ErrMessage)
		}
	}
	topics, err := admin.ListTopics(ctx, o.topic)
	if err != nil {
		return err
	}
	if have := len(topics[o.topic].Partitions); have < o.partitions {
		return fmt.Errorf("topic %s has %d partitions, -partitions asks for %d", o.topic, have, o.partitions)
	}
	return nil
}
