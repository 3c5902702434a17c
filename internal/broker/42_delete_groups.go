package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DeleteGroups, versions 0 to 2 (KIP-229).
//
// Groups without members, with their committed offsets, also groups that are nothing but
// committed offsets; a group that is named twice is deleted once. When the answer is sent they
// are durably gone.

func (b *Broker) handleDeleteGroups(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DeleteGroupsRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
		results, err := b.o.Groups.DeleteGroups(ctx, distinct(req.Groups))
		if err != nil {
			return nil, err
		}
		resp.Groups = results
		return resp, nil
	})
}

// distinct returns the names without repetitions, in the order of their first appearance.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	out := make([]string, 0, len(names))
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
