package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupCommitMax is how long the last commit and the farewell to the group may take.
const groupCommitMax = 5 * time.Second

// runGroup prints what the group has not read yet, and commits what was printed. Another member may be reading the rest.
func (f *consumeFlags) runGroup(cmd *cobra.Command, topic string, from origin) error {
	reset := kgo.NewOffset().AtStart()
	switch {
	case len(f.partitions) > 0:
		return usageError{errors.New("--partition and --group: the group decides who reads which partition")}
	case from.kind == 'e':
		reset = kgo.NewOffset().AtEnd()
	case from.kind != 's':
		return usageError{fmt.Errorf("--from %q with --group: allowed: start, end, for partitions that the group has not read yet (`ottla group reset-offsets` moves a group)", f.from)}
	}
	// A group waits for a topic that does not exist, in case it comes; whoever types a name wants to hear of it.
	err := f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx, topic)
		if err == nil {
			err = topics[topic].Err
		}
		if err != nil {
			return brokerError("topic "+topic, err, "")
		}
		return nil
	})
	if err != nil {
		return err
	}
	client, err := f.dial(kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(reset),
		kgo.DisableAutoCommit(), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := f.interruptible(cmd.Context())
	defer cancel()
	c := consumption{flags: f, cmd: cmd, topic: topic}
	err = c.pollGroup(ctx, client)
	// Interrupted or not, the group goes on at once where this member stopped.
	farewell, cancelFarewell := context.WithTimeout(context.WithoutCancel(ctx), groupCommitMax)
	defer cancelFarewell()
	return f.explain(errors.Join(err, client.LeaveGroupContext(farewell)))
}

func (c *consumption) pollGroup(ctx context.Context, client *kgo.Client) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			return brokerError("topic "+c.topic, e.Err, "")
		}
		var printed []*kgo.Record
		done := false
		for it := fetches.RecordIter(); !it.Done() && !done; {
			r := it.Next()
			if err := c.printRecord(r); err != nil {
				return err
			}
			printed = append(printed, r)
			c.printed++
			done = c.printed == c.flags.count
		}
		commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupCommitMax)
		err := client.CommitRecords(commit, printed...)
		cancel()
		if err != nil {
			return fmt.Errorf("group %s: what was printed last may be read again: %w", c.flags.group, err)
		}
		if done {
			return nil
		}
	}
}
