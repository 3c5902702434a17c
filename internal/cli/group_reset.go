package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// resetFlags say what to reset and to where: exactly one target.
type resetFlags struct {
	topics            []string
	allTopics         bool
	execute, dryRun   bool
	earliest, latest  bool
	offset, shift     int64
	datetime          string
	duration          string
	target            string // the flag that was given
	at                time.Time
	partitionsByTopic map[string][]int32 // nil list: all partitions
}

var resetTargets = []string{"to-earliest", "to-latest", "to-offset", "shift-by", "to-datetime", "by-duration"}

func newGroupReset(f *clientFlags) *cobra.Command {
	r := &resetFlags{}
	cmd := &cobra.Command{
		Use: "reset-offsets GROUP", Short: "Move the committed offsets of a group that has no members", Args: wantArgs(1, 1, "one group"),
		Long: `Move the committed offsets of a group that has no members.

Without --execute it only shows what would be committed. An offset that a partition does not have is moved
to the nearest one it has.`,
		Example: `  ottla group reset-offsets billing --topic orders --to-earliest
  ottla group reset-offsets billing --topic orders:0,1 --shift-by -100 --execute
  ottla group reset-offsets billing --all-topics --to-datetime 2026-01-31T12:00:00Z --execute
  ottla group reset-offsets billing --all-topics --by-duration 24h --execute`,
		ValidArgsFunction: f.completeOneGroup,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.check(cmd.Flags()); err != nil {
				return usageError{err}
			}
			return f.groups(cmd.Context(), func(ctx context.Context, c groupClient) error { return f.resetOffsets(ctx, cmd, c, args[0], r) })
		},
	}
	p := cmd.Flags()
	p.StringArrayVar(&r.topics, "topic", nil, "topic to reset, NAME or NAME:PARTITION,...; repeatable")
	p.BoolVar(&r.allTopics, "all-topics", false, "reset all partitions that have a committed offset")
	p.BoolVar(&r.execute, "execute", false, "commit the new offsets")
	p.BoolVar(&r.dryRun, "dry-run", false, "only show the new offsets (the default)")
	p.BoolVar(&r.earliest, "to-earliest", false, "to the first offset there is")
	p.BoolVar(&r.latest, "to-latest", false, "to the end: only what is written from now on")
	p.Int64Var(&r.offset, "to-offset", 0, "to this offset")
	p.Int64Var(&r.shift, "shift-by", 0, "by this many records, back if negative")
	p.StringVar(&r.datetime, "to-datetime", "", "to the first record at or after a time: 2026-01-31T12:00:00Z, UTC without a zone")
	p.StringVar(&r.duration, "by-duration", "", "to the first record of the last 90m, 36h, or as Kafka writes it: P1DT12H")
	return cmd
}

func (r *resetFlags) check(p *pflag.FlagSet) error {
	var targets []string
	for _, name := range resetTargets {
		if p.Changed(name) {
			targets = append(targets, name)
		}
	}
	switch {
	case len(targets) != 1:
		return errors.New("say where to, with one of --" + strings.Join(resetTargets, ", --"))
	case r.allTopics == (len(r.topics) > 0):
		return errors.New("say what to reset: --topic NAME[:PARTITION,...] or --all-topics")
	case r.execute && r.dryRun:
		return errors.New("--execute and --dry-run exclude each other")
	}
	r.target = targets[0]
	var err error
	switch r.target {
	case "to-datetime":
		r.at, err = parseDatetime(r.datetime)
	case "by-duration":
		var ago time.Duration
		ago, err = parseDuration(r.duration)
		r.at = time.Now().Add(-ago)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", r.target, err)
	}
	return r.parseTopics()
}

func (r *resetFlags) parseTopics() error {
	r.partitionsByTopic = map[string][]int32{}
	for _, t := range r.topics {
		name, list, some := strings.Cut(t, ":")
		before, seen := r.partitionsByTopic[name]
		if !some || seen && before == nil {
			r.partitionsByTopic[name] = nil
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil || n < 0 {
				return fmt.Errorf("--topic %q: want NAME or NAME:PARTITION,...", t)
			}
			if !slices.Contains(before, int32(n)) {
				before = append(before, int32(n))
			}
		}
		r.partitionsByTopic[name] = before
	}
	return nil
}

// parseDatetime reads ISO 8601 as kafka-consumer-groups does: UTC where no zone is given.
func parseDatetime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z", s)
}

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// parseDuration reads 36h as Go does and P1DT12H as Java does.
func parseDuration(s string) (time.Duration, error) {
	fail := fmt.Errorf("%q is not a duration such as 36h or P1DT12H", s)
	if d, err := time.ParseDuration(s); err == nil {
		if d < 0 {
			return 0, fail
		}
		return d, nil
	}
	m := isoDuration.FindStringSubmatch(s)
	if m == nil || strings.Join(m[1:], "") == "" {
		return 0, fail
	}
	total := 0.0
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseFloat(m[i+1], 64)
		if err != nil {
			return 0, fail
		}
		total += n * float64(unit)
	}
	if total > float64(100*365*24*time.Hour) {
		return 0, fail
	}
	return time.Duration(total), nil
}

type resetDocument struct {
	Group    string        `json:"group"`
	Executed bool          `json:"executed"`
	Offsets  []resetOffset `json:"offsets"`
}

type resetOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      *int64 `json:"from"` // null: nothing was committed
	To        int64  `json:"to"`
	Error     string `json:"error,omitempty"`
}

// resetOffsets checks, plans, shows, and commits if told to.
func (f *clientFlags) resetOffsets(ctx context.Context, cmd *cobra.Command, c groupClient, name string, r *resetFlags) error {
	isNew, err := c.checkInactive(ctx, name)
	if err != nil {
		return err
	}
	committed, err := c.FetchOffsets(ctx, name)
	if err != nil {
		return groupError(name, err, "")
	}
	plan, err := c.planReset(ctx, r, committed)
	if err != nil {
		return err
	}
	doc := resetDocument{Group: name, Executed: r.execute, Offsets: plan}
	var errs []error
	if r.execute {
		errs, err = c.commitReset(ctx, name, plan)
		if err != nil {
			return groupError(name, err, "")
		}
	}
	if f.output == outputText {
		var rows [][]string
		for _, o := range plan {
			rows = append(rows, []string{o.Topic, strconv.Itoa(int(o.Partition)), known(o.From), strconv.FormatInt(o.To, 10), o.Error})
		}
		if err := table(cmd.OutOrStdout(), []string{"TOPIC", "PARTITION", "FROM", "TO", ""}, rows); err != nil {
			return err
		}
		if !r.execute {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing was changed; --execute commits these offsets")
		}
	}
	switch {
	case isNew && r.execute:
		fmt.Fprintf(cmd.ErrOrStderr(), "group %s did not exist: it is new, with these offsets\n", name)
	case isNew:
		fmt.Fprintf(cmd.ErrOrStderr(), "group %s does not exist: --execute makes it (`ottla group list` shows what there is)\n", name)
	}
	return f.finish(cmd, doc, errs)
}

// checkInactive refuses a group that consumes: its members would commit over it. A group that does not exist is made by the commit.
func (c groupClient) checkInactive(ctx context.Context, name string) (isNew bool, err error) {
	described, err := c.describeState(ctx, name)
	if err != nil {
		return false, err
	}
	if described != "Empty" && described != "Dead" {
		return false, fmt.Errorf("group %s: it is %s; offsets can only be reset while a group has no members", name, described)
	}
	return described == "Dead", nil
}

func (c groupClient) describeState(ctx context.Context, name string) (string, error) {
	consumers, _ := c.DescribeConsumerGroups(ctx, name) // see describe
	if g := consumers[name]; g.Group == name && g.Err == nil {
		return g.State, nil
	}
	described, err := c.DescribeGroups(ctx, name)
	if err != nil {
		return "", groupError(name, err, "")
	}
	g := described[name]
	if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		return "", groupError(name, g.Err, g.ErrMessage)
	}
	return g.State, nil
}

// planReset finds the new offset of every partition that is to be reset, in order.
func (c groupClient) planReset(ctx context.Context, r *resetFlags, committed kadm.OffsetResponses) ([]resetOffset, error) {
	if r.allTopics {
		committed.Each(func(o kadm.OffsetResponse) {
			if o.At >= 0 {
				r.partitionsByTopic[o.Topic] = append(r.partitionsByTopic[o.Topic], o.Partition)
			}
		})
		if len(r.partitionsByTopic) == 0 {
			return nil, errors.New("the group has no committed offsets: name topics with --topic")
		}
	}
	topics := slices.Sorted(maps.Keys(r.partitionsByTopic))
	details, err := c.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, err
	}
	starts, ends, times, err := c.bounds(ctx, r, topics)
	if err != nil {
		return nil, err
	}
	var plan []resetOffset
	for _, topic := range topics {
		if d := details[topic]; d.Err != nil {
			return nil, brokerError("topic "+topic, d.Err, "")
		}
		partitions := r.partitionsByTopic[topic]
		if partitions == nil {
			partitions = slices.Sorted(maps.Keys(details[topic].Partitions))
		}
		slices.Sort(partitions)
		for _, n := range partitions {
			one := resetOffset{Topic: topic, Partition: n}
			if o, ok := committed.Lookup(topic, n); ok && o.At >= 0 {
				one.From = &o.At
			}
			if one.To, err = r.newOffset(&one, starts, ends, times); err != nil {
				return nil, err
			}
			plan = append(plan, one)
		}
	}
	return plan, nil
}

func (c groupClient) bounds(ctx context.Context, r *resetFlags, topics []string) (starts, ends, times kadm.ListedOffsets, err error) {
	if starts, err = c.ListStartOffsets(ctx, topics...); err != nil {
		return
	}
	if ends, err = c.ListEndOffsets(ctx, topics...); err != nil {
		return
	}
	if !r.at.IsZero() {
		times, err = c.ListOffsetsAfterMilli(ctx, r.at.UnixMilli(), topics...)
	}
	return
}

func (r *resetFlags) newOffset(o *resetOffset, starts, ends, times kadm.ListedOffsets) (int64, error) {
	start, ok := starts.Lookup(o.Topic, o.Partition)
	end, ok2 := ends.Lookup(o.Topic, o.Partition)
	what := fmt.Sprintf("topic %s partition %d", o.Topic, o.Partition)
	if !ok || !ok2 {
		return 0, fmt.Errorf("%s: no such partition", what)
	}
	if err := errors.Join(start.Err, end.Err); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	to := end.Offset
	switch r.target {
	case "to-earliest":
		to = start.Offset
	case "to-offset":
		to = r.offset
	case "shift-by":
		if o.From == nil {
			return 0, fmt.Errorf("%s: nothing is committed, so there is nothing to shift", what)
		}
		to = *o.From + r.shift
	case "to-datetime", "by-duration":
		at, ok := times.Lookup(o.Topic, o.Partition)
		if !ok || at.Err != nil {
			return 0, fmt.Errorf("%s: finding the offset at %s: %w", what, r.at.Format(time.RFC3339), at.Err)
		}
		if at.Offset >= 0 {
			to = at.Offset
		}
	}
	return min(max(to, start.Offset), end.Offset), nil
}

func (c groupClient) commitReset(ctx context.Context, name string, plan []resetOffset) (errs []error, err error) {
	offsets := kadm.Offsets{}
	for _, o := range plan {
		offsets.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.To, LeaderEpoch: -1})
	}
	responses, err := c.CommitOffsets(ctx, name, offsets)
	if err != nil {
		return nil, err
	}
	for i := range plan {
		o := &plan[i]
		if r, ok := responses.Lookup(o.Topic, o.Partition); ok && r.Err != nil {
			o.Error = r.Err.Error()
			errs = append(errs, fmt.Errorf("group %s: topic %s partition %d: %w", name, o.Topic, o.Partition, r.Err))
		}
	}
	return errs, nil
}
