package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newGroup(env *Env) *cobra.Command {
	f := &clientFlags{}
	group := &cobra.Command{Use: "group", Short: "List, describe and delete consumer groups, reset their offsets", Args: wantSubcommand, RunE: showHelp}
	f.add(group, env)
	group.AddCommand(newGroupList(f), newGroupDescribe(f), newGroupDelete(f), newGroupReset(f))
	return group
}

// groupClient is what group commands ask the broker with: what kadm does not tell they ask in the protocol's own words.
type groupClient struct {
	*kadm.Client
	raw *kgo.Client
}

// groups runs fn with a client and a deadline.
func (f *clientFlags) groups(ctx context.Context, fn func(context.Context, groupClient) error) error {
	raw, err := f.dial()
	if err != nil {
		return err
	}
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	admin := kadm.NewClient(raw)
	admin.SetTimeoutMillis(int32(f.timeout.Milliseconds()))
	return f.explain(fn(ctx, groupClient{admin, raw}))
}

// groupError puts a refusal that has to do with a group into words.
func groupError(name string, err error, message string) error {
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("group %s: no such group (`ottla group list` shows what there is)", name)
	case errors.Is(err, kerr.NonEmptyGroup):
		return fmt.Errorf("group %s: it has members; stop them first", name)
	}
	return brokerError("group "+name, err, message)
}

type groupSummary struct {
	Name         string `json:"name"`
	Type         string `json:"type"`          // classic, consumer, share, streams; empty: the broker is too old to say
	ProtocolType string `json:"protocol_type"` // consumer, connect, sr; empty: only committed offsets
	State        string `json:"state"`
}

func newGroupList(f *clientFlags) *cobra.Command {
	var states, types []string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List groups", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.groups(cmd.Context(), func(ctx context.Context, c groupClient) error {
				groups, err := c.list(ctx, states, types)
				if err != nil {
					return err
				}
				if f.output == outputJSON {
					return printJSON(cmd.OutOrStdout(), groups)
				}
				var rows [][]string
				for _, g := range groups {
					rows = append(rows, []string{g.Name, dash(g.Type), dash(g.ProtocolType), dash(g.State)})
				}
				return table(cmd.OutOrStdout(), []string{"GROUP", "TYPE", "PROTOCOL", "STATE"}, rows)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states, such as Stable or Empty")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only groups of these types, such as classic or consumer")
	return cmd
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// list asks every broker for the groups it coordinates.
func (c groupClient) list(ctx context.Context, states, types []string) ([]groupSummary, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	out := []groupSummary{}
	for _, shard := range c.raw.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, fmt.Errorf("listing the groups of broker %d: %w", shard.Meta.NodeID, err)
		}
		for _, g := range resp.Groups {
			out = append(out, groupSummary{g.Group, strings.ToLower(g.GroupType), g.ProtocolType, g.GroupState})
		}
	}
	slices.SortFunc(out, func(a, b groupSummary) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func newGroupDelete(f *clientFlags) *cobra.Command {
	ifExists := false
	cmd := &cobra.Command{
		Use: "delete GROUP...", Aliases: []string{"rm"}, Short: "Delete groups that have no members, with their committed offsets",
		Args: wantArgs(1, -1, "at least one group"), ValidArgsFunction: f.completeGroups,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.groups(cmd.Context(), func(ctx context.Context, c groupClient) error {
				responses, err := c.DeleteGroups(ctx, names...)
				if err != nil {
					return err
				}
				var errs []error
				out := []outcome{}
				for _, name := range slices.Sorted(maps.Keys(responses)) {
					r := responses[name]
					if r.Err != nil && !(ifExists && errors.Is(r.Err, kerr.GroupIDNotFound)) {
						errs = append(errs, groupError(name, r.Err, r.ErrMessage))
						out = append(out, outcome{name, errs[len(errs)-1].Error()})
						continue
					}
					out = append(out, outcome{Name: name})
					if f.output == outputText {
						fmt.Fprintln(cmd.OutOrStdout(), name)
					}
				}
				return f.finish(cmd, out, errs)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "no error if a group does not exist")
	return cmd
}

// completeGroups offers the names of groups to the shell.
func (f *clientFlags) completeGroups(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	f.timeout = completionTimeout
	var names []string
	err := f.groups(cmd.Context(), func(ctx context.Context, c groupClient) error {
		groups, err := c.list(ctx, nil, nil)
		for _, g := range groups {
			if strings.HasPrefix(g.Name, prefix) && !slices.Contains(args, g.Name) {
				names = append(names, g.Name)
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeOneGroup is completeGroups for commands that take a single group.
func (f *clientFlags) completeOneGroup(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.completeGroups(cmd, args, prefix)
}
