package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// JoinGroup, versions 0 to 9 (KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814).
//
// The answer waits in the group until its members have joined. A client that closes its
// connection stays a member until its session ends. A server that stops answers
// COORDINATOR_NOT_AVAILABLE.

func (b *Broker) handleJoinGroup(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.JoinGroupRequest)
	if req.Group == "" {
		return wire.Ready(joinRefused(req, codeInvalidGroupID))
	}
	return b.parked(r, req.Group, func() kmsg.Response { return joinRefused(req, codeCoordinatorNotAvailable) })
}

// joinProtocolNullMin is the version from which the protocol of a refused join is null.
const joinProtocolNullMin = 7

func joinRefused(req *kmsg.JoinGroupRequest, code int16) *kmsg.JoinGroupResponse {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode, resp.Generation, resp.MemberID = code, -1, req.MemberID
	if req.Version < joinProtocolNullMin {
		resp.Protocol = new(string)
	}
	return resp
}
