package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// CreateDelegationToken, versions 1 to 3; RenewDelegationToken and ExpireDelegationToken, 1 and
// 2; DescribeDelegationToken, 1 to 3 (KIP-48, KIP-373).
//
// Nobody is authenticated, and who is not may not ask for a token: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
// as Kafka answers on a connection without authentication (KafkaApis.allowTokenRequests).

const (
	principalUser      = "User"
	principalAnonymous = "ANONYMOUS"
	tokenRequesterMin  = 3
)

func (b *Broker) handleCreateDelegationToken(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.CreateDelegationTokenResponse)
	resp.ErrorCode = codeDelegationTokenNotAllowed
	resp.PrincipalType, resp.PrincipalName = principalUser, principalAnonymous
	if r.Version >= tokenRequesterMin {
		resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = principalUser, principalAnonymous
	}
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = -1, -1, -1
	return wire.Ready(resp)
}

func (b *Broker) handleRenewDelegationToken(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.RenewDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = codeDelegationTokenNotAllowed, -1
	return wire.Ready(resp)
}

func (b *Broker) handleExpireDelegationToken(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.ExpireDelegationTokenResponse)
	resp.ErrorCode, resp.ExpiryTimestamp = codeDelegationTokenNotAllowed, -1
	return wire.Ready(resp)
}

func (b *Broker) handleDescribeDelegationToken(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.DescribeDelegationTokenResponse)
	resp.ErrorCode = codeDelegationTokenNotAllowed
	return wire.Ready(resp)
}
