package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopic(env *Env) *cobra.Command {
	f := &clientFlags{}
	topic := &cobra.Command{Use: "topic", Short: "List, create, describe, alter and delete topics", Args: wantSubcommand, RunE: showHelp}
	f.add(topic, env)
	topic.AddCommand(newTopicList(f), newTopicCreate(f), newTopicDescribe(f), newTopicAlter(f), newTopicDelete(f))
	return topic
}

func wantSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %s", args[0], cmd.CommandPath())}
	}
	return nil
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// topicID writes an id as Kafka's tools do.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

type topicSummary struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
}

func newTopicList(f *clientFlags) *cobra.Command {
	internal := false
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List topics", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				details, err := admin.ListTopicsWithInternal(ctx)
				if err != nil {
					return err
				}
				topics := []topicSummary{}
				for _, d := range details.Sorted() {
					if d.IsInternal && !internal {
						continue
					}
					topics = append(topics, topicSummary{d.Topic, topicID(d.ID), len(d.Partitions), d.Partitions.NumReplicas(), d.IsInternal})
				}
				if f.output == outputJSON {
					return printJSON(cmd.OutOrStdout(), topics)
				}
				var rows [][]string
				for _, t := range topics {
					rows = append(rows, []string{t.Name, strconv.Itoa(t.Partitions), strconv.Itoa(t.Replicas), t.ID})
				}
				return table(cmd.OutOrStdout(), []string{"NAME", "PARTITIONS", "REPLICAS", "ID"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&internal, "internal", false, "also list the broker's own topics")
	return cmd
}

func newTopicCreate(f *clientFlags) *cobra.Command {
	var (
		partitions  int32
		replication int16
		configs     []string
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use: "create NAME...", Short: "Create topics", Args: wantArgs(1, -1, "at least one topic name"),
		Example: "  ottla topic create orders --partitions 6 --set retention.ms=-1",
		RunE: func(cmd *cobra.Command, names []string) error {
			values := map[string]*string{}
			for _, s := range configs {
				key, value, ok := strings.Cut(s, "=")
				if !ok {
					return usageError{fmt.Errorf("--set %q: want key=value", s)}
				}
				values[key] = &value
			}
			return f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				responses, err := admin.CreateTopics(ctx, partitions, replication, values, names...)
				if err != nil {
					return err
				}
				return f.printCreated(cmd, responses, ifNotExists)
			})
		},
	}
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "number of partitions; -1: the broker's default")
	cmd.Flags().Int16Var(&replication, "replication-factor", -1, "replicas of each partition; -1: the broker's default")
	cmd.Flags().StringArrayVar(&configs, "set", nil, "topic configuration, key=value; repeatable")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "no error if a topic exists already")
	return cmd
}

type createdTopic struct {
	Name       string `json:"name"`
	ID         string `json:"id,omitempty"`
	Partitions int32  `json:"partitions,omitempty"`
	Error      string `json:"error,omitempty"`
}

func (f *clientFlags) printCreated(cmd *cobra.Command, responses kadm.CreateTopicResponses, ifNotExists bool) error {
	var errs []error
	out := []createdTopic{}
	for _, name := range slices.Sorted(maps.Keys(responses)) {
		r := responses[name]
		created := createdTopic{Name: name}
		switch {
		case r.Err == nil:
			created.ID, created.Partitions = topicID(r.ID), r.NumPartitions
		case ifNotExists && errors.Is(r.Err, kerr.TopicAlreadyExists):
		default:
			err := brokerError("topic "+r.Topic, r.Err, r.ErrMessage)
			errs, created.Error = append(errs, err), err.Error()
		}
		if created.Error == "" && f.output == outputText {
			fmt.Fprintln(cmd.OutOrStdout(), created.Name)
		}
		out = append(out, created)
	}
	return f.finish(cmd, out, errs)
}

// finish prints a JSON document if asked to, and joins what went wrong into one error.
func (f *clientFlags) finish(cmd *cobra.Command, document any, errs []error) error {
	if f.output == outputJSON {
		if err := printJSON(cmd.OutOrStdout(), document); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func newTopicDelete(f *clientFlags) *cobra.Command {
	ifExists, internal := false, false
	cmd := &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete topics and their data", Args: wantArgs(1, -1, "at least one topic name"),
		ValidArgsFunction: f.completeTopics,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				if !internal {
					if err := refuseInternal(ctx, admin, names); err != nil {
						return err
					}
				}
				responses, err := admin.DeleteTopics(ctx, names...)
				if err != nil {
					return err
				}
				var errs []error
				out := []outcome{}
				for _, name := range slices.Sorted(maps.Keys(responses)) {
					r := responses[name]
					if r.Err != nil && !(ifExists && errors.Is(r.Err, kerr.UnknownTopicOrPartition)) {
						errs = append(errs, brokerError("topic "+r.Topic, r.Err, r.ErrMessage))
						out = append(out, outcome{r.Topic, errs[len(errs)-1].Error()})
						continue
					}
					out = append(out, outcome{Name: r.Topic})
					if f.output == outputText {
						fmt.Fprintln(cmd.OutOrStdout(), r.Topic)
					}
				}
				return f.finish(cmd, out, errs)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "no error if a topic does not exist")
	cmd.Flags().BoolVar(&internal, "internal", false, "also delete topics of the broker's own, with all committed offsets for example")
	return cmd
}

// refuseInternal says no to topics that the broker keeps for itself: one wrong name would make all groups begin anew.
func refuseInternal(ctx context.Context, admin *kadm.Client, names []string) error {
	topics, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		if topics[name].IsInternal {
			return usageError{fmt.Errorf("topic %s is the broker's own: to delete it nevertheless, and what it keeps, give --internal", name)}
		}
	}
	return nil
}

type outcome struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

func newTopicAlter(f *clientFlags) *cobra.Command {
	var (
		partitions int
		set, unset []string
	)
	cmd := &cobra.Command{
		Use: "alter NAME", Short: "Add partitions to a topic or change its configuration", Args: wantArgs(1, 1, "one topic name"),
		Example:           "  ottla topic alter orders --partitions 12 --set retention.ms=86400000 --unset segment.bytes",
		ValidArgsFunction: f.completeOneTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := configChanges(set, unset)
			if err != nil {
				return err
			}
			if len(changes) == 0 && partitions == 0 {
				return usageError{errors.New("nothing to change: give --partitions, --set or --unset")}
			}
			return f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				return f.alterTopic(ctx, cmd, admin, args[0], partitions, changes)
			})
		},
	}
	cmd.Flags().IntVarP(&partitions, "partitions", "p", 0, "new number of partitions; it can only grow")
	cmd.Flags().StringArrayVar(&set, "set", nil, "topic configuration to set, key=value; repeatable")
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "topic configuration to return to its default; repeatable")
	return cmd
}

func configChanges(set, unset []string) ([]kadm.AlterConfig, error) {
	var changes []kadm.AlterConfig
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--set %q: want key=value", s)}
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	for _, key := range unset {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	return changes, nil
}

// refuseUnknownKeys finds keys to unset that a topic does not have. Brokers take such a request for done.
func refuseUnknownKeys(ctx context.Context, admin *kadm.Client, name string, changes []kadm.AlterConfig) error {
	unset := slices.DeleteFunc(slices.Clone(changes), func(c kadm.AlterConfig) bool { return c.Op != kadm.DeleteConfig })
	if len(unset) == 0 {
		return nil
	}
	described, err := admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return err
	}
	configs, err := described.On(name, nil)
	if err == nil {
		err = configs.Err
	}
	if err != nil {
		return brokerError("topic "+name, err, configs.ErrMessage)
	}
	for _, c := range unset {
		if !slices.ContainsFunc(configs.Configs, func(have kadm.Config) bool { return have.Key == c.Name }) {
			return fmt.Errorf("topic %s has no configuration key %q", name, c.Name)
		}
	}
	return nil
}

// alterTopic changes the configuration first: it is the part that can be taken back.
func (f *clientFlags) alterTopic(ctx context.Context, cmd *cobra.Command, admin *kadm.Client, name string, partitions int, changes []kadm.AlterConfig) error {
	if len(changes) > 0 {
		if err := refuseUnknownKeys(ctx, admin, name, changes); err != nil {
			return err
		}
		responses, err := admin.AlterTopicConfigs(ctx, changes, name)
		if err != nil {
			return err
		}
		for _, r := range responses {
			if r.Err != nil {
				return brokerError("topic "+name, r.Err, r.ErrMessage)
			}
		}
	}
	if partitions > 0 {
		responses, err := admin.UpdatePartitions(ctx, partitions, name)
		if err != nil {
			return err
		}
		for _, r := range responses {
			if r.Err != nil {
				return brokerError("topic "+name, r.Err, r.ErrMessage)
			}
		}
	}
	if f.output == outputText {
		fmt.Fprintln(cmd.OutOrStdout(), name)
	}
	return f.finish(cmd, outcome{Name: name}, nil)
}

type topicDescription struct {
	topicSummary
	PartitionList []partitionDescription `json:"partition_list"`
	Configs       []configDescription    `json:"configs"`
}

type partitionDescription struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	Start       int64   `json:"start_offset"`
	End         int64   `json:"end_offset"`
	Error       string  `json:"error,omitempty"`
}

type configDescription struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Default bool   `json:"default"`
}

func newTopicDescribe(f *clientFlags) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use: "describe NAME...", Short: "Show partitions, offsets and configuration of topics", Args: wantArgs(1, -1, "at least one topic name"),
		ValidArgsFunction: f.completeTopics,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
				out, errs := describeTopics(ctx, admin, names, all || f.output == outputJSON)
				if f.output == outputText {
					for i, d := range out {
						if i > 0 {
							fmt.Fprintln(cmd.OutOrStdout())
						}
						if err := d.print(cmd); err != nil {
							return err
						}
					}
				}
				return f.finish(cmd, out, errs)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also show configuration that is at its default")
	return cmd
}

func describeTopics(ctx context.Context, admin *kadm.Client, names []string, all bool) (out []topicDescription, errs []error) {
	out = []topicDescription{}
	details, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return out, []error{err}
	}
	for _, name := range names {
		d, ok := details[name]
		if !ok || d.Err != nil {
			if !ok {
				d.Err = kerr.UnknownTopicOrPartition
			}
			errs = append(errs, brokerError("topic "+name, d.Err, ""))
			continue
		}
		description, err := describeTopic(ctx, admin, d, all)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, description)
	}
	return out, errs
}

func describeTopic(ctx context.Context, admin *kadm.Client, d kadm.TopicDetail, all bool) (topicDescription, error) {
	out := topicDescription{topicSummary: topicSummary{d.Topic, topicID(d.ID), len(d.Partitions), d.Partitions.NumReplicas(), d.IsInternal}}
	starts, err := admin.ListStartOffsets(ctx, d.Topic)
	if err != nil {
		return out, err
	}
	ends, err := admin.ListEndOffsets(ctx, d.Topic)
	if err != nil {
		return out, err
	}
	configs, err := admin.DescribeTopicConfigs(ctx, d.Topic)
	if err != nil {
		return out, err
	}
	for _, p := range d.Partitions.Sorted() {
		start, _ := starts.Lookup(d.Topic, p.Partition)
		end, _ := ends.Lookup(d.Topic, p.Partition)
		line := partitionDescription{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, start.Offset, end.Offset, ""}
		if err := errors.Join(p.Err, start.Err, end.Err); err != nil {
			line.Error = err.Error()
		}
		out.PartitionList = append(out.PartitionList, line)
	}
	for _, resource := range configs {
		if resource.Err != nil {
			return out, brokerError("topic "+d.Topic, resource.Err, resource.ErrMessage)
		}
		for _, c := range resource.Configs {
			own := c.Source == kmsg.ConfigSourceDynamicTopicConfig
			if own || all {
				out.Configs = append(out.Configs, configDescription{c.Key, c.MaybeValue(), c.Source.String(), !own})
			}
		}
	}
	return out, nil
}

func (d *topicDescription) print(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "topic %s  id %s\n", d.Name, d.ID)
	var rows [][]string
	for _, p := range d.PartitionList {
		rows = append(rows, []string{strconv.Itoa(int(p.Partition)), strconv.Itoa(int(p.Leader)), strconv.Itoa(int(p.LeaderEpoch)),
			strconv.FormatInt(p.Start, 10), strconv.FormatInt(p.End, 10), p.Error})
	}
	if err := table(w, []string{"PARTITION", "LEADER", "EPOCH", "START", "END", ""}, rows); err != nil {
		return err
	}
	for _, c := range d.Configs {
		mark := ""
		if c.Default {
			mark = "  (default)"
		}
		fmt.Fprintf(w, "%s=%s%s\n", c.Name, c.Value, mark)
	}
	return nil
}
