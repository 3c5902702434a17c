package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848, KIP-1082).
//
// All of the consumer protocol: joining, what is subscribed to, what is owned, leaving. The
// client may choose its member id, and has to from version 1.

func (b *Broker) handleConsumerGroupHeartbeat(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ConsumerGroupHeartbeatRequest)
	if req.Group == "" { // ConsumerGroupHeartbeatRequest's first check
		resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		why := "GroupId can't be empty."
		resp.ErrorCode, resp.ErrorMessage = codeInvalidRequest, &why
		return wire.Ready(resp)
	}
	return coordinated{b.o.Groups.Group(req, req.Group, clientOf(r))}
}
