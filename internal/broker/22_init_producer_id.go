package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// InitProducerId, versions 0 to 5.
//
// Without a transactional id every request gets a new producer id with epoch 0, also
// one that names the id it has (TransactionCoordinator.handleInitProducerId: "always
// blindly accept"). An id without an epoch, or an epoch without an id, is
// INVALID_REQUEST (KIP-360). The block that an id comes from is durable before the id is told. Nearly always there
// is one, so that the answer can leave in one packet with its neighbours; else it is waited for, in the second phase.
//
// Skipped: transactions. A transactional id is refused with INVALID_REQUEST, as an empty
// one is by Kafka and as FindCoordinator is here: a code that clients do not retry.

const (
	noProducerID    int64 = -1
	noProducerEpoch int16 = -1
)

func (b *Broker) handleInitProducerId(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = noProducerID, noProducerEpoch
	switch {
	case (req.ProducerID == noProducerID) != (req.ProducerEpoch == noProducerEpoch):
		resp.ErrorCode = codeInvalidRequest
	case req.TransactionalID == nil:
		if id, ok := b.o.IDs.TryNext(); ok {
			resp.ProducerID, resp.ProducerEpoch = id, 0
			break
		}
		return replyFunc(func(context.Context) (wire.Response, error) {
			b.newProducerID(resp)
			return resp, nil
		})
	default:
		b.logTransactions(r, *req.TransactionalID)
		resp.ErrorCode = codeInvalidRequest
	}
	return wire.Ready(resp)
}

func (b *Broker) newProducerID(resp *kmsg.InitProducerIDResponse) {
	id, err := b.o.IDs.Next()
	if err != nil {
		resp.ErrorCode = b.code("issue a producer id", err)
		return
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
}
