package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// Heartbeat, versions 0 to 4 (KIP-345).

func (b *Broker) handleHeartbeat(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.HeartbeatRequest)
	if req.Group == "" {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = codeInvalidGroupID
		return wire.Ready(resp)
	}
	return coordinated{b.o.Groups.Group(req, req.Group, clientOf(r))}
}
