package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	clientFlags
	from         string
	group        string
	partitions   []int32
	count        int64
	follow       bool
	keySeparator string
}

func newConsume(env *Env) *cobra.Command {
	f := &consumeFlags{}
	cmd := &cobra.Command{
		Use: "consume TOPIC", Short: "Print records", Args: wantArgs(1, 1, "one topic name"),
		Long: `Print the records of a topic's partitions. Without a group nothing is committed, and it ends where the partitions ended when it
began, unless told to follow. As a member of a consumer group it prints what the group has not read yet, commits what it printed, and waits for more.`,
		Example:           "  ottla consume greetings --from start -n 10 -o json\n  ottla consume greetings --group readers",
		ValidArgsFunction: f.completeOneTopic,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.add(cmd, env)
	cmd.Flags().StringVar(&f.from, "from", "start", "start, end, an offset, -N for the last N of each partition, or a time such as 2026-01-31T12:00:00Z")
	cmd.Flags().StringVarP(&f.group, "group", "g", "", "read as a member of this consumer group; --from is for partitions it has not read yet")
	cmd.Flags().Int32SliceVar(&f.partitions, "partition", nil, "partitions to read; default: all")
	cmd.Flags().Int64VarP(&f.count, "count", "n", 0, "stop after so many records; 0: no limit")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "wait for more records at the end")
	cmd.Flags().StringVar(&f.keySeparator, "key-separator", "", "print the key and this before each value")
	return cmd
}

// origin is --from, read.
type origin struct {
	kind   byte // 's'tart, 'e'nd, 'o'ffset, 'l'ast, 't'ime
	number int64
}

func (f *consumeFlags) origin() (origin, error) {
	switch f.from {
	case "start":
		return origin{kind: 's'}, nil
	case "end":
		return origin{kind: 'e'}, nil
	}
	if n, err := strconv.ParseInt(f.from, 10, 64); err == nil {
		if n < 0 {
			return origin{'l', -n}, nil
		}
		return origin{'o', n}, nil
	}
	if at, err := time.Parse(time.RFC3339, f.from); err == nil {
		return origin{'t', at.UnixMilli()}, nil
	}
	return origin{}, usageError{fmt.Errorf("--from %q: allowed: start, end, an offset, -N, or a time such as 2026-01-31T12:00:00Z", f.from)}
}

func (f *consumeFlags) run(cmd *cobra.Command, topic string) error {
	from, err := f.origin()
	if err != nil {
		return err
	}
	if f.count < 0 {
		return usageError{fmt.Errorf("--count %d: allowed: 0 and above", f.count)}
	}
	if f.group != "" {
		return f.runGroup(cmd, topic, from)
	}
	c := consumption{flags: f, cmd: cmd, topic: topic, from: from, assigned: map[int32]kgo.Offset{}, open: map[int32]int64{}}
	if err := f.admin(cmd.Context(), c.plan); err != nil {
		return err
	}
	if !f.follow && len(c.open) == 0 {
		return nil
	}
	client, err := f.dial(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: c.assigned}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := f.interruptible(cmd.Context())
	defer cancel()
	return f.explain(c.poll(ctx, client))
}

// consumption is one run of the command.
type consumption struct {
	flags    *consumeFlags
	cmd      *cobra.Command
	topic    string
	from     origin
	assigned map[int32]kgo.Offset // where each partition begins
	open     map[int32]int64      // partitions that still have to reach an offset
	printed  int64
}

// plan finds the partitions, and where reading each of them begins and, unless it follows, ends.
func (c *consumption) plan(ctx context.Context, admin *kadm.Client) error {
	starts, err := admin.ListStartOffsets(ctx, c.topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, c.topic)
	if err != nil {
		return err
	}
	if len(ends[c.topic]) == 0 {
		return brokerError("topic "+c.topic, kerr.UnknownTopicOrPartition, "")
	}
	var times kadm.ListedOffsets
	if c.from.kind == 't' {
		if times, err = admin.ListOffsetsAfterMilli(ctx, c.from.number, c.topic); err != nil {
			return err
		}
	}
	wanted := map[int32]bool{}
	for _, p := range c.flags.partitions {
		if _, ok := ends.Lookup(c.topic, p); !ok {
			return fmt.Errorf("topic %s has no partition %d", c.topic, p)
		}
		wanted[p] = true
	}
	for p, end := range ends[c.topic] {
		start, _ := starts.Lookup(c.topic, p)
		if err := errors.Join(end.Err, start.Err); err != nil {
			return brokerError("topic "+c.topic, err, "")
		}
		if len(wanted) > 0 && !wanted[p] {
			continue
		}
		from, err := c.firstOffset(p, start.Offset, end.Offset, times)
		if err != nil {
			return err
		}
		c.assigned[p] = kgo.NewOffset().At(from)
		if from < end.Offset {
			c.open[p] = end.Offset
		}
	}
	return nil
}

// firstOffset is where reading a partition begins.
func (c *consumption) firstOffset(partition int32, start, end int64, times kadm.ListedOffsets) (int64, error) {
	switch c.from.kind {
	case 'e':
		return end, nil
	case 'l':
		return max(start, end-c.from.number), nil
	case 't':
		at, found := times.Lookup(c.topic, partition)
		if !found || at.Err != nil {
			return 0, fmt.Errorf("topic %s partition %d: the broker does not say what it has at that time: %w", c.topic, partition, at.Err)
		}
		return at.Offset, nil
	case 'o':
		if c.from.number < start || c.from.number > end {
			return 0, fmt.Errorf("topic %s partition %d does not have offset %d: it has %d to %d", c.topic, partition, c.from.number, start, end)
		}
		return c.from.number, nil
	}
	return start, nil
}

func (c *consumption) poll(ctx context.Context, client *kgo.Client) error {
	for c.flags.follow || len(c.open) > 0 {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if !c.flags.follow {
			wait, cancel = context.WithTimeout(ctx, c.flags.timeout)
		}
		fetches := client.PollFetches(wait)
		cancel()
		if ctx.Err() != nil {
			return nil // interrupted: what was printed is all there is
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, kerr.OffsetOutOfRange) {
				return fmt.Errorf("topic %s partition %d: what was to be read has been removed meanwhile (`ottla topic describe %s` shows start and end)", c.topic, e.Partition, c.topic)
			}
			return brokerError("topic "+c.topic, e.Err, "")
		}
		done, err := c.print(fetches)
		if done || err != nil {
			return err
		}
	}
	return nil
}

func (c *consumption) print(fetches kgo.Fetches) (done bool, err error) {
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		end, open := c.open[r.Partition]
		if !c.flags.follow && (!open || r.Offset >= end) {
			delete(c.open, r.Partition)
			continue
		}
		if !r.Attrs.IsControl() {
			if err := c.printRecord(r); err != nil {
				return true, err
			}
			if c.printed++; c.printed == c.flags.count {
				return true, nil
			}
		}
		if r.Offset+1 >= end {
			delete(c.open, r.Partition)
		}
	}
	return false, nil
}

type consumedRecord struct {
	Topic     string           `json:"topic"`
	Partition int32            `json:"partition"`
	Offset    int64            `json:"offset"`
	Timestamp int64            `json:"timestamp_ms"`
	Key       *string          `json:"key"`
	KeyBytes  []byte           `json:"key_base64,omitempty"`
	Value     *string          `json:"value"`
	ValBytes  []byte           `json:"value_base64,omitempty"`
	Headers   []consumedHeader `json:"headers,omitempty"`
}

type consumedHeader struct {
	Key      string  `json:"key"`
	Value    *string `json:"value"`
	ValBytes []byte  `json:"value_base64,omitempty"`
}

func (c *consumption) printRecord(r *kgo.Record) error {
	w := c.cmd.OutOrStdout()
	if c.flags.output == outputText {
		if c.flags.keySeparator != "" {
			if _, err := fmt.Fprintf(w, "%s%s", r.Key, c.flags.keySeparator); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(w, "%s\n", r.Value)
		return err
	}
	out := consumedRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli()}
	out.Key, out.KeyBytes = textOrBytes(r.Key)
	out.Value, out.ValBytes = textOrBytes(r.Value)
	for _, h := range r.Headers {
		value, raw := textOrBytes(h.Value)
		out.Headers = append(out.Headers, consumedHeader{h.Key, value, raw})
	}
	return printJSONLine(w, out)
}

// textOrBytes keeps JSON exact: what is not text goes out in base64, and nothing as null.
func textOrBytes(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
