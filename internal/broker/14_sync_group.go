package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// SyncGroup, versions 0 to 5 (KIP-345, KIP-559).
//
// From version 5 the client has to say what protocol it has joined with
// (SyncGroupRequest.areMandatoryProtocolTypeAndNamePresent), which is checked before the
// group's name. The answer waits for the leader's assignment; a server that stops answers
// COORDINATOR_NOT_AVAILABLE.

// syncProtocolMin is the version from which the protocol has to be named.
const syncProtocolMin = 5

func (b *Broker) handleSyncGroup(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.SyncGroupRequest)
	switch {
	case req.Version >= syncProtocolMin && (req.ProtocolType == nil || req.Protocol == nil):
		return wire.Ready(syncRefused(req, codeInconsistentGroupProtocol))
	case req.Group == "":
		return wire.Ready(syncRefused(req, codeInvalidGroupID))
	}
	return b.parked(r, req.Group, func() kmsg.Response { return syncRefused(req, codeCoordinatorNotAvailable) })
}

func syncRefused(req *kmsg.SyncGroupRequest, code int16) *kmsg.SyncGroupResponse {
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ErrorCode = code
	return resp
}
