package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// FindCoordinator, versions 0 to 6.
//
// There are no consumer groups, transactions or share groups yet: every key is refused
// with INVALID_REQUEST, as Kafka refuses a kind of coordinator that it does not have
// (KafkaApis.getCoordinator), and with words that say so. COORDINATOR_NOT_AVAILABLE would be
// retried for ever without a word to the user.
// Keys come one at a time before version 4 (KIP-699).

const (
	findCoordinatorBatchMin   = 4
	findCoordinatorMessageMin = 1
	findCoordinatorShareMin   = 6

	coordinatorShare int8 = 2
)

func (b *Broker) handleFindCoordinator(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	const code = codeInvalidRequest
	why := "this broker does not serve consumer groups or transactions yet: assign partitions instead of subscribing"
	switch kind := req.CoordinatorType; {
	case kind < 0 || kind > coordinatorShare:
		why = "unknown type of coordinator"
	case kind == coordinatorShare && r.Version < findCoordinatorShareMin:
		why = "share groups need version 6 of FindCoordinator"
	}
	if r.Version < findCoordinatorBatchMin {
		resp.ErrorCode, resp.NodeID, resp.Port = code, -1, -1
		if r.Version >= findCoordinatorMessageMin {
			resp.ErrorMessage = &why
		}
		return wire.Ready(resp)
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port, c.ErrorCode, c.ErrorMessage = key, -1, -1, code, &why
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return wire.Ready(resp)
}
