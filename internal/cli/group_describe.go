package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

type groupDescription struct {
	groupSummary
	Assignor    string           `json:"assignor"`
	Coordinator int32            `json:"coordinator"`
	Epoch       *int32           `json:"epoch,omitempty"` // of a group of type consumer
	Members     []groupMember    `json:"members"`
	Partitions  []groupPartition `json:"partitions"`
	TotalLag    int64            `json:"total_lag"` // of the partitions whose lag is known
}

type groupMember struct {
	ID         string             `json:"id"`
	Instance   *string            `json:"instance,omitempty"`
	Client     string             `json:"client"`
	Host       string             `json:"host"`
	Epoch      *int32             `json:"epoch,omitempty"`
	Assignment map[string][]int32 `json:"assignment"` // topic -> partitions
}

// groupPartition is a partition that is assigned, or that has a committed offset, or both.
type groupPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: nothing was committed
	End       *int64 `json:"end_offset"`
	Lag       *int64 `json:"lag"` // null: not known
	Member    string `json:"member,omitempty"`
	Metadata  string `json:"metadata,omitempty"`
	Error     string `json:"error,omitempty"`
}

func newGroupDescribe(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "describe GROUP...", Short: "Show members, committed offsets and lag of groups", Args: wantArgs(1, -1, "at least one group"),
		ValidArgsFunction: f.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.groups(cmd.Context(), func(ctx context.Context, c groupClient) error {
				out, errs := c.describe(ctx, names)
				if f.output == outputText {
					for i := range out {
						if i > 0 {
							fmt.Fprintln(cmd.OutOrStdout())
						}
						if err := out[i].print(cmd); err != nil {
							return err
						}
					}
				}
				return f.finish(cmd, out, errs)
			})
		},
	}
}

// describe tells of each group what it is, who is in it, and how far they are.
func (c groupClient) describe(ctx context.Context, names []string) (out []groupDescription, errs []error) {
	out = []groupDescription{}
	consumers, _ := c.DescribeConsumerGroups(ctx, names...) // an old broker has none, and says so by an error
	for _, name := range names {
		d, err := c.describeOne(ctx, name, consumers[name])
		if err == nil {
			err = c.addOffsets(ctx, &d)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, d)
	}
	return out, errs
}

func (c groupClient) describeOne(ctx context.Context, name string, consumer kadm.DescribedConsumerGroup) (groupDescription, error) {
	if consumer.Group == name && consumer.Err == nil {
		return describedConsumer(consumer), nil
	}
	described, err := c.DescribeGroups(ctx, name)
	if err != nil {
		return groupDescription{}, groupError(name, err, "")
	}
	g, found := described[name]
	switch {
	case !found, g.Err == nil && g.State == "Dead":
		return groupDescription{}, groupError(name, kerr.GroupIDNotFound, "")
	case g.Err != nil:
		return groupDescription{}, groupError(name, g.Err, g.ErrMessage)
	}
	return describedClassic(g), nil
}

func describedConsumer(g kadm.DescribedConsumerGroup) groupDescription {
	d := groupDescription{groupSummary: groupSummary{g.Group, "consumer", "consumer", g.State}, Assignor: g.AssignorName,
		Coordinator: g.Coordinator.NodeID, Epoch: &g.Epoch, Members: []groupMember{}}
	for _, m := range g.Members {
		d.Members = append(d.Members, groupMember{m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, &m.MemberEpoch, assigned(m.Assignment)})
	}
	return d
}

func describedClassic(g kadm.DescribedGroup) groupDescription {
	d := groupDescription{groupSummary: groupSummary{g.Group, "classic", g.ProtocolType, g.State}, Assignor: g.Protocol,
		Coordinator: g.Coordinator.NodeID, Members: []groupMember{}}
	for _, m := range g.Members {
		partitions := kadm.TopicsSet{}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				partitions.Add(t.Topic, t.Partitions...)
			}
		}
		d.Members = append(d.Members, groupMember{m.MemberID, m.InstanceID, m.ClientID, m.ClientHost, nil, assigned(partitions)})
	}
	return d
}

func assigned(set kadm.TopicsSet) map[string][]int32 {
	out := map[string][]int32{}
	for topic, partitions := range set {
		out[topic] = slices.Sorted(maps.Keys(partitions))
	}
	return out
}

// addOffsets finds the partitions of a group and how far it is in them.
func (c groupClient) addOffsets(ctx context.Context, d *groupDescription) error {
	committed, err := c.FetchOffsets(ctx, d.Name)
	if err != nil {
		return groupError(d.Name, err, "")
	}
	found := map[string]map[int32]*groupPartition{}
	partition := func(topic string, number int32) *groupPartition {
		if found[topic] == nil {
			found[topic] = map[int32]*groupPartition{}
		}
		if found[topic][number] == nil {
			found[topic][number] = &groupPartition{Topic: topic, Partition: number}
		}
		return found[topic][number]
	}
	for i := range d.Members {
		for topic, numbers := range d.Members[i].Assignment {
			for _, n := range numbers {
				partition(topic, n).Member = d.Members[i].ID
			}
		}
	}
	committed.Each(func(o kadm.OffsetResponse) {
		p := partition(o.Topic, o.Partition)
		switch {
		case o.Err != nil:
			p.Error = o.Err.Error()
		case o.At >= 0:
			p.Committed, p.Metadata = &o.At, o.Metadata
		}
	})
	d.Partitions = []groupPartition{}
	if len(found) == 0 {
		return nil
	}
	ends, err := c.ListEndOffsets(ctx, slices.Sorted(maps.Keys(found))...)
	if err != nil && len(ends) == 0 {
		return err
	}
	for _, partitions := range found {
		for _, p := range partitions {
			p.setEnd(ends)
			if p.Lag != nil {
				d.TotalLag += *p.Lag
			}
			d.Partitions = append(d.Partitions, *p)
		}
	}
	slices.SortFunc(d.Partitions, func(a, b groupPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return nil
}

func (p *groupPartition) setEnd(ends kadm.ListedOffsets) {
	end, ok := ends.Lookup(p.Topic, p.Partition)
	switch {
	case !ok || errors.Is(end.Err, kerr.UnknownTopicOrPartition):
		p.Error = "no such partition"
		return
	case end.Err != nil:
		p.Error = end.Err.Error()
		return
	}
	p.End = &end.Offset
	if p.Committed != nil {
		lag := max(end.Offset-*p.Committed, 0)
		p.Lag = &lag
	}
}

func (d *groupDescription) print(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "group %s  type %s  protocol %s  state %s  assignor %s  coordinator %d\n", d.Name, dash(d.Type), dash(d.ProtocolType),
		dash(d.State), dash(d.Assignor), d.Coordinator)
	var members [][]string
	for i := range d.Members {
		m := &d.Members[i]
		members = append(members, []string{m.ID, dash(deref(m.Instance)), m.Client, strings.TrimPrefix(m.Host, "/"), m.partitions()})
	}
	if len(members) > 0 {
		if err := table(w, []string{"MEMBER", "INSTANCE", "CLIENT", "HOST", "ASSIGNED"}, members); err != nil {
			return err
		}
	}
	if len(d.Partitions) == 0 {
		fmt.Fprintln(w, "no committed offsets")
		return nil
	}
	var rows [][]string
	for _, p := range d.Partitions {
		rows = append(rows, []string{p.Topic, strconv.Itoa(int(p.Partition)), known(p.Committed), known(p.End), known(p.Lag), dash(p.Member), p.Error})
	}
	if err := table(w, []string{"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", ""}, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "total lag %d\n", d.TotalLag)
	return nil
}

// partitions writes an assignment as orders:0,1 payments:3.
func (m *groupMember) partitions() string {
	var parts []string
	for _, topic := range slices.Sorted(maps.Keys(m.Assignment)) {
		var numbers []string
		for _, n := range m.Assignment[topic] {
			numbers = append(numbers, strconv.Itoa(int(n)))
		}
		parts = append(parts, topic+":"+strings.Join(numbers, ","))
	}
	return dash(strings.Join(parts, " "))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func known(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
