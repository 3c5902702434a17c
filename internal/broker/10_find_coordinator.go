package broker

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// FindCoordinator, versions 0 to 6.
//
// This broker is the coordinator of every group. The first who asks makes __consumer_offsets;
// Kafka answers COORDINATOR_NOT_AVAILABLE until it is there, here the answer waits for it. Any
// key is a group's, the empty one too.
//
// There are no transactions: their keys are refused with INVALID_REQUEST, as Kafka refuses a
// kind of coordinator that it does not have (KafkaApis.getCoordinator), and with words that say
// so. COORDINATOR_NOT_AVAILABLE would be retried for ever without a word to the user. The same
// goes for share groups, which need version 6.
// Keys come one at a time before version 4 (KIP-699).

const (
	findCoordinatorBatchMin   = 4
	findCoordinatorMessageMin = 1
	findCoordinatorShareMin   = 6

	coordinatorGroup       int8 = 0
	coordinatorTransaction int8 = 1
	coordinatorShare       int8 = 2
)

func (b *Broker) handleFindCoordinator(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	if why := b.coordinatorRefusal(req); why != "" {
		if req.CoordinatorType == coordinatorTransaction {
			b.logTransactions(r, req.CoordinatorKey+strings.Join(req.CoordinatorKeys, ", "))
		}
		return wire.Ready(coordinatorAnswer(req, &coordinatorAt{code: codeInvalidRequest, message: why}))
	}
	n := b.node(r.Session)
	here := &coordinatorAt{node: n}
	if b.o.Groups.PartitionFor("") >= 0 {
		return wire.Ready(coordinatorAnswer(req, here))
	}
	// Making the topic waits for the disk: that is for the second phase.
	return replyFunc(func(context.Context) (wire.Response, error) {
		if err := b.o.Groups.EnsureTopic(); err != nil {
			b.code("make the topic of consumer groups", err)
			return coordinatorAnswer(req, &coordinatorAt{code: codeCoordinatorNotAvailable, message: "The coordinator is not available."}), nil
		}
		return coordinatorAnswer(req, here), nil
	})
}

// coordinatorRefusal says why there is no coordinator of the kind that is asked for; empty: there is.
func (b *Broker) coordinatorRefusal(req *kmsg.FindCoordinatorRequest) string {
	switch kind := req.CoordinatorType; {
	case kind < 0 || kind > coordinatorShare:
		return "unknown type of coordinator"
	case kind == coordinatorShare && req.Version < findCoordinatorShareMin:
		return "share groups need version 6 of FindCoordinator"
	case kind == coordinatorShare:
		return "this broker does not serve share groups"
	case kind == coordinatorTransaction:
		return "this broker does not serve transactions yet"
	case b.o.Groups == nil:
		return "this broker does not serve consumer groups: assign partitions instead of subscribing"
	}
	return ""
}

// coordinatorAt is what is known of a coordinator: where it is, or why there is none.
type coordinatorAt struct {
	node    node
	code    int16
	message string
}

func coordinatorAnswer(req *kmsg.FindCoordinatorRequest, f *coordinatorAt) *kmsg.FindCoordinatorResponse {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if f.code != codeNone {
		f.node = node{id: -1, port: -1}
	}
	if req.Version < findCoordinatorBatchMin {
		resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = f.code, f.node.id, f.node.host, f.node.port
		message := f.message
		if f.code == codeNone {
			message = "NONE" // so Kafka
		}
		if req.Version >= findCoordinatorMessageMin {
			resp.ErrorMessage = &message
		}
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, f.node.id, f.node.host, f.node.port
		c.ErrorCode, c.ErrorMessage = f.code, &f.message
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
