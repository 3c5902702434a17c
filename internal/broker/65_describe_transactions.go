package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeTransactions, version 0 (KIP-664).
//
// There are no transactions, so no transactional id has one: TRANSACTIONAL_ID_NOT_FOUND, and
// INVALID_REQUEST for the empty id (TransactionCoordinator.handleDescribeTransactions).

func (b *Broker) handleDescribeTransactions(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		x := kmsg.NewDescribeTransactionsResponseTransactionState()
		x.TransactionalID, x.ErrorCode = id, codeTransactionalIDNotFound
		if id == "" {
			x.ErrorCode = codeInvalidRequest
		}
		resp.TransactionStates = append(resp.TransactionStates, x)
	}
	return wire.Ready(resp)
}
