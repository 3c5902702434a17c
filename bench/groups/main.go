// Command groups is load for the coordinator of consumer groups: members that heartbeat, groups that rebalance, offsets that are
// committed, and groups that are used once and never again. It speaks plain Kafka over connections of its own, so it runs against any
// broker and measures the broker rather than a client library.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"ottla/internal/measure"
)

type options struct {
	mode    string
	addr    string
	members int
	groups  int
	n       int64
	connections,
	pipeline int
	partitions int
	topic      string
	prefix     string
	protocol   string
	duration   time.Duration
	interval   time.Duration
	brokerPID  int
}

var modes = map[string]func(context.Context, options, io.Writer) error{
	"heartbeat": heartbeat, // -members in -groups, each with a connection of its own, for -duration
	"rebalance": rebalance, // one group of -members: until all are assigned, and again when one more comes
	"commit":    commit,    // -n offsets of -groups groups, -partitions in one request, pipelined
	"storm":     storm,     // -n groups: join, sync, commit, leave, and never again
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("groups", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.mode, "mode", "heartbeat", "heartbeat, rebalance, commit or storm")
	f.StringVar(&o.addr, "addr", "127.0.0.1:9092", "broker")
	f.IntVar(&o.members, "members", 5000, "members in all")
	f.IntVar(&o.groups, "groups", 500, "groups that they are in, or that offsets are committed for")
	f.Int64Var(&o.n, "n", 100_000, "offsets to commit, or groups of the storm")
	f.IntVar(&o.connections, "conns", 16, "connections of commit and storm")
	f.IntVar(&o.pipeline, "pipeline", 32, "requests in flight on each connection of commit")
	f.IntVar(&o.partitions, "partitions", 1, "partitions in one request of commit; partitions of the topic")
	f.StringVar(&o.topic, "topic", "groups-bench", "topic; it is made if it does not exist")
	f.StringVar(&o.prefix, "prefix", "bench", "what the names of groups begin with")
	f.StringVar(&o.protocol, "protocol", "classic", "classic or consumer")
	f.DurationVar(&o.duration, "duration", 20*time.Second, "of heartbeat")
	f.DurationVar(&o.interval, "interval", 3*time.Second, "between two heartbeats of a classic member")
	f.IntVar(&o.brokerPID, "broker-pid", 0, "process id of the broker, to print its CPU time and memory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case modes[o.mode] == nil:
		return o, fmt.Errorf("-mode %q: allowed: heartbeat, rebalance, commit, storm", o.mode)
	case o.protocol != "classic" && o.protocol != "consumer":
		return o, fmt.Errorf("-protocol %q: allowed: classic, consumer", o.protocol)
	case o.members < 1 || o.groups < 1 || o.connections < 1 || o.pipeline < 1 || o.partitions < 1 || o.n < 1:
		return o, errors.New("numbers must be at least 1")
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parseFlags(os.Args[1:], os.Stderr)
	if err == nil {
		err = makeTopic(ctx, o)
	}
	if err == nil {
		err = modes[o.mode](ctx, o, os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "groups: %v\n", err)
		os.Exit(1)
	}
}

// measured runs fn and prints what it cost the broker.
func measured(o options, w io.Writer, thing string, fn func() (done int64, err error)) error {
	before, err := measure.ReadProcess(o.brokerPID)
	if err != nil {
		return err
	}
	begun := time.Now()
	done, err := fn()
	elapsed := time.Since(begun)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d %ss in %.2f s: %.0f/s\n", done, thing, elapsed.Seconds(), float64(done)/elapsed.Seconds())
	if o.brokerPID == 0 {
		return nil
	}
	after, err := measure.ReadProcess(o.brokerPID)
	if err == nil {
		measure.Print(w, before, after, done, thing)
		fmt.Fprintf(w, "broker: %.1f %% of one core\n", 100*(after.CPU-before.CPU).Seconds()/elapsed.Seconds())
	}
	return err
}
