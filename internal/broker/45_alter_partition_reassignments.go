package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// AlterPartitionReassignments, versions 0 and 1 (KIP-455, KIP-860).
//
// The one assignment that a partition can be given is the one it has: that succeeds and changes
// nothing. Any other is refused as Kafka refuses it where this is the only broker that is
// registered (ReplicationControlManager.alterPartitionReassignments). There is never one in
// progress to cancel.

func (b *Broker) handleAlterPartitionReassignments(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = rt.Topic
		for j := range rt.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = rt.Partitions[j].Partition
			code, why := b.reassign(rt.Topic, p.Partition, rt.Partitions[j].Replicas)
			p.ErrorCode = code
			if why != "" {
				p.ErrorMessage = &why
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Ready(resp)
}

// reassign answers for one partition; nil replicas cancel what is in progress.
func (b *Broker) reassign(topic string, index int32, replicas []int32) (code int16, why string) {
	t := b.topicByName(topic)
	switch {
	case t == nil:
		return codeUnknownTopicOrPartition, fmt.Sprintf("Unable to find a topic named %s.", topic)
	case partitionOf(t, index) == nil:
		return codeUnknownTopicOrPartition, fmt.Sprintf("Unable to find partition %s:%d.", topic, index)
	case replicas == nil:
		return codeNoReassignmentInProgress, ""
	case len(replicas) == 0:
		return codeInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."
	}
	for i, id := range slices.Sorted(slices.Values(replicas)) {
		if id != b.o.NodeID {
			return codeInvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 {
			return codeInvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	return codeNone, ""
}
