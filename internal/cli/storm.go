package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/sasl"

	"ottla/internal/storm"
)

// exitStopped is storm's exit code for a broker that stopped answering: what it is made to show.
const exitStopped = 3

// stormFlags are what the options of a storm are made of beside themselves.
type stormFlags struct {
	connectionFlags
	o       storm.Options
	mode    string
	configs []string
	output  string
	quiet   bool
}

func newStorm(env *Env) *cobra.Command {
	f := &stormFlags{o: storm.Defaults()}
	cmd := &cobra.Command{
		Use: "storm", Short: "Make a producer storm: the load that kills brokers which forget nothing", Args: noArgs,
		Long: `Makes many short-lived idempotent producers, on any Kafka cluster: to prove a diagnosis, or to compare brokers.

It writes to a topic of its own, named ` + storm.TopicPrefix + `..., and deletes it at the end, also after Ctrl-C. It refuses clusters that are not on this machine's
loopback interface, unless --cluster-id names them. It is always bounded: by producers, bytes, seconds and connections.

How to connect is taken from where "ottla investigate" takes it: the environment, --config, -X and --bootstrap.

Modes:
  fast               many producers over few pipelined connections (default)
  faithful           for each push what a client does: connect, ask for an id, produce, close (default with --ab)
  wide               each producer writes to all partitions, in one request
  future-timestamps  records dated ahead, so that their producers never grow idle
  txn-churn          a transaction with a new transactional id for each push
  control            one producer writes the same data: the healthy client

Exit codes: 0 done; 1 failed; 2 the command line makes no sense; 3 the broker stopped answering.`,
		Example: `  ottla storm --mode wide --partitions 1000
  ottla storm --ab --rate 200 --max-seconds 60
  ottla storm -n 1000000 --retry-sample 10000 --sample-out sample --keep
  ottla storm --retry sample --require-exact`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStorm(cmd, env, f) },
	}
	f.addLoad(cmd)
	f.addRest(cmd)
	return cmd
}

func (f *stormFlags) addLoad(cmd *cobra.Command) {
	p, o := cmd.Flags(), &f.o
	p.SortFlags = false
	f.connectionFlags.add(cmd)
	p.StringVarP(&f.mode, "mode", "m", "", "form of the storm, see above")
	p.BoolVar(&o.AB, "ab", false, "make the control load beside it, at the same rate, and draw both curves")
	p.Int64VarP(&o.MaxProducers, "max-producers", "n", o.MaxProducers, "end after so many pushes; 0: none, for --probe alone")
	p.Int64Var(&o.MaxBytes, "max-bytes", o.MaxBytes, "end after so many bytes of produce requests")
	p.Var((*secondsValue)(&o.MaxDuration), "max-seconds", "end after so many seconds")
	p.IntVar(&o.MaxConnections, "max-connections", o.MaxConnections, "never have more connections open")
	p.Float64Var(&o.Rate, "rate", o.Rate, "pushes a second, at most; 0: as many as the broker takes")
	p.IntVarP(&o.Partitions, "partitions", "p", o.Partitions, "partitions of the topic")
	p.IntVar(&o.Replication, "replication-factor", o.Replication, "replicas of each partition; -1: the broker's default")
	p.StringArrayVar(&f.configs, "topic-config", nil, "configuration of the topic, key=value; repeatable")
	p.IntVar(&o.Batches, "batches-per-producer", o.Batches, fmt.Sprintf("batches of each push, 1 to %d", storm.BatchesMax))
	p.IntVar(&o.RecordBytes, "record-bytes", o.RecordBytes, "size of the value of the one record in each batch")
	p.IntVar(&o.Acks, "acks", o.Acks, "-1 (all) or 1")
	p.IntVar(&o.Connections, "connections", o.Connections, "connections at work at the same time")
	p.IntVar(&o.Pipeline, "pipeline", o.Pipeline, "producers in flight on each connection (fast)")
	p.DurationVar(&o.Ahead, "ahead", o.Ahead, "added to the time of each record, for example -48h (future-timestamps: ten years)")
	p.BoolVar(&o.NoClose, "no-close", false, "leave connections open, up to --max-connections (faithful)")
	p.DurationVar(&o.Probe, "probe", 0, "also run one steady producer that writes at this interval, and print its latency")
}

func (f *stormFlags) addRest(cmd *cobra.Command) {
	p, o := cmd.Flags(), &f.o
	p.IntVar(&o.RetrySample, "retry-sample", 0, "at the end, send the batches of so many random producers again")
	p.StringVar(&o.SampleOut, "sample-out", "", "save that sample to a file (needs --keep)")
	p.StringVar(&o.Retry, "retry", "", "make no storm: send the batches of a saved sample again")
	p.IntVar(&o.RetryRounds, "retry-rounds", o.RetryRounds, "how often the sample is sent")
	p.BoolVar(&o.RequireExact, "require-exact", false, "fail if a retry was not recognised")
	p.StringVar(&o.Topic, "topic", "", "name of the topic; it must begin with "+storm.TopicPrefix)
	p.BoolVar(&o.ReuseTopic, "reuse-topic", false, "write to --topic also if it exists; it is then not deleted")
	p.BoolVar(&o.Keep, "keep", false, "do not delete the topic")
	p.StringVar(&o.ClusterID, "cluster-id", "", "the cluster that is meant, by its id; needed where it is not on loopback")
	p.DurationVar(&o.Stall, "stall", o.Stall, "a broker that owes answers and gives none for so long has stopped")
	p.IntVar(&o.BrokerPID, "broker-pid", 0, "process of the broker, for its memory and CPU; 0: found by its port")
	p.StringVarP(&f.output, "output", "o", outputText, "output: text or json")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	var modes []string
	for _, m := range storm.Modes() {
		modes = append(modes, string(m))
	}
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(modes, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

// secondsValue is a flag that takes seconds, with or without a unit.
type secondsValue time.Duration

// Set implements pflag.Value.
func (v *secondsValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		if d, err = time.ParseDuration(text + "s"); err != nil {
			return errors.New("want a number of seconds, or a duration like 5m")
		}
	}
	*v = secondsValue(d)
	return nil
}

// String implements pflag.Value.
func (v *secondsValue) String() string { return fmt.Sprint(time.Duration(*v).Seconds()) }

// Type implements pflag.Value.
func (v *secondsValue) Type() string { return "seconds" }

// options completes and checks the options.
func (f *stormFlags) options(env *Env) (storm.Options, error) {
	o := f.o
	o.Mode = storm.Mode(f.mode)
	settings, err := f.settings(env.Environ)
	if err != nil {
		return o, err
	}
	o.Bootstrap = settings.Brokers
	var guard func(network, address string, c syscall.RawConn) error
	if o.ClusterID == "" {
		guard = storm.LoopbackOnly
	}
	if o.Dial, err = settings.Dialer(guard); err != nil {
		return o, err
	}
	mechanism, err := settings.SASL()
	if err != nil {
		return o, err
	}
	if mechanism != nil {
		o.SASL = []sasl.Mechanism{mechanism}
	}
	if !slices.Contains([]string{outputText, outputJSON}, f.output) {
		return o, fmt.Errorf("--output %q: allowed: %s, %s", f.output, outputText, outputJSON)
	}
	o.TopicConfig = map[string]string{}
	for _, s := range f.configs {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return o, fmt.Errorf("--topic-config %q: want key=value", s)
		}
		o.TopicConfig[key] = value
	}
	return o, o.Check()
}

func runStorm(cmd *cobra.Command, env *Env, f *stormFlags) error {
	o, err := f.options(env)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	progress := newStormProgress(cmd.ErrOrStderr(), f.quiet)
	type outcome struct {
		summary storm.Summary
		err     error
	}
	ended := make(chan outcome, 1)
	go func() {
		s, err := storm.Run(ctx, o, progress.show)
		ended <- outcome{s, err}
	}()
	var (
		first os.Signal
		asked time.Time
	)
	for {
		select {
		case s := <-env.Signals:
			if first != nil && (s != first || time.Since(asked) >= sameSignalWindow) {
				return errors.New("interrupted while cleaning up: topics named " + storm.TopicPrefix + "... may be left")
			}
			if first == nil {
				first, asked = s, time.Now()
			}
			cancel()
		case out := <-ended:
			progress.end()
			return f.finish(cmd, out.summary, out.err)
		}
	}
}

// finish prints the summary and turns the error into an exit code.
func (f *stormFlags) finish(cmd *cobra.Command, s storm.Summary, err error) error {
	if f.output == outputJSON {
		if printErr := printJSON(cmd.OutOrStdout(), s); printErr != nil {
			return errors.Join(err, printErr)
		}
	} else {
		printStorm(cmd.OutOrStdout(), &s)
	}
	switch {
	case errors.Is(err, storm.ErrStopped):
		fmt.Fprintf(cmd.ErrOrStderr(), "ottla: %v\n", closedWords(err))
		return exitError(exitStopped)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	}
	return closedWords(err)
}

// closedWords says of a connection that ended that it was closed, where readers say EOF.
func closedWords(err error) error {
	if err == nil {
		return nil
	}
	for _, end := range []string{io.ErrUnexpectedEOF.Error(), io.EOF.Error()} {
		if text, ok := strings.CutSuffix(err.Error(), end); ok {
			return errors.New(text + "the connection was closed")
		}
	}
	return err
}
