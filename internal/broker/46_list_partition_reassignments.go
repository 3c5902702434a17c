package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ListPartitionReassignments, version 0 (KIP-455): none is ever in progress, whichever
// partitions are asked for.

func (b *Broker) handleListPartitionReassignments(_ context.Context, r *wire.Request) wire.Reply {
	return wire.Ready(r.Body.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse))
}
