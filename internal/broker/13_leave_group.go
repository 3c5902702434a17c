package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// LeaveGroup, versions 0 to 5 (KIP-345, KIP-800).
//
// One member leaves before version 3, later any number of them, named by member id or by
// group.instance.id: that is also how an operator takes members out.

func (b *Broker) handleLeaveGroup(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.LeaveGroupRequest)
	if req.Group == "" {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = codeInvalidGroupID
		return wire.Ready(resp)
	}
	return coordinated{b.o.Groups.Group(req, req.Group, clientOf(r))}
}
