package broker

import (
	"context"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ListTransactions, versions 0 to 2 (KIP-664, KIP-994, KIP-1152).
//
// There are no transactions: whatever the filters, nothing matches. States that nobody knows
// are named, a pattern that is none is refused. Kafka's patterns are those of RE2, as Go's.

// transactionStates are Kafka's (TransactionState.ALL_STATES).
var transactionStates = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Empty", "PrepareEpochFence", "Dead"}

// transactionPatternBytesMax bounds what is compiled as a pattern.
const transactionPatternBytesMax = 4 << 10

func (b *Broker) handleListTransactions(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ListTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	if p := req.TransactionalIDPattern; p != nil {
		if _, err := regexp.Compile(*p); err != nil || len(*p) > transactionPatternBytesMax {
			resp.ErrorCode = codeInvalidRegularExpression
			return wire.Ready(resp)
		}
	}
	for _, state := range req.StateFilters {
		if !slices.Contains(transactionStates, state) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, state)
		}
	}
	return wire.Ready(resp)
}
