package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientFlags are those of every command that talks to a broker.
type clientFlags struct {
	bootstrap string
	timeout   time.Duration
	output    string
	env       *Env
}

const (
	defaultBootstrap = "127.0.0.1:9092"
	// completionTimeout bounds how long the Tab key may wait for a broker.
	completionTimeout = time.Second
)

func (f *clientFlags) add(cmd *cobra.Command, env *Env) {
	f.env = env
	p := cmd.PersistentFlags()
	p.StringVarP(&f.bootstrap, "bootstrap", "b", defaultBootstrap, "broker to ask first, HOST:PORT, several separated by commas")
	p.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	p.StringVarP(&f.output, "output", "o", outputText, "output: text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *clientFlags) check() error {
	if f.output != outputText && f.output != outputJSON {
		return usageError{fmt.Errorf("--output %q: allowed: %s, %s", f.output, outputText, outputJSON)}
	}
	for seed := range strings.SplitSeq(f.bootstrap, ",") {
		if _, _, err := net.SplitHostPort(strings.TrimSpace(seed)); err != nil {
			return usageError{fmt.Errorf("--bootstrap %q: want HOST:PORT", seed)}
		}
	}
	return nil
}

// dial makes a client. It connects when it is first used.
func (f *clientFlags) dial(opts ...kgo.Opt) (*kgo.Client, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var seeds []string
	for seed := range strings.SplitSeq(f.bootstrap, ",") {
		seeds = append(seeds, strings.TrimSpace(seed))
	}
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("ottla-cli"),
		kgo.SoftwareNameAndVersion("ottla-cli", "1"),
		kgo.DialTimeout(min(f.timeout, 5*time.Second)),
		kgo.RetryTimeout(f.timeout),
		kgo.RequestRetries(2),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
}

// admin runs fn with an admin client and a deadline.
func (f *clientFlags) admin(ctx context.Context, fn func(context.Context, *kadm.Client) error) error {
	client, err := f.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(f.timeout.Milliseconds()))
	return f.explain(fn(ctx, admin))
}

// interruptible ends the context at the first SIGINT or SIGTERM.
func (f *clientFlags) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-f.env.Signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// explain adds to an error what the user can do about it.
func (f *clientFlags) explain(err error) error {
	var op *net.OpError
	switch {
	case err == nil, errors.Is(err, errFailed):
		return err
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s: %w\nIs a broker running there? Start one with `ottla`, or name another with --bootstrap HOST:PORT", f.bootstrap, err)
	}
	return err
}

// brokerError puts a broker's refusal into words: the message it sent, else what the code means.
func brokerError(what string, err error, message string) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("%s: no such topic (`ottla topic list` shows what there is)", what)
	case errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("%s: already exists", what)
	case message != "":
		return fmt.Errorf("%s: %s", what, message)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// completeTopics offers the names of topics to the shell.
func (f *clientFlags) completeTopics(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	f.timeout = completionTimeout
	var names []string
	err := f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx)
		for _, name := range topics.Names() {
			if strings.HasPrefix(name, prefix) && !slices.Contains(args, name) {
				names = append(names, name)
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeOneTopic is completeTopics for commands that take a single topic.
func (f *clientFlags) completeOneTopic(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.completeTopics(cmd, args, prefix)
}
