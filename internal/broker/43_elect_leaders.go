package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ElectLeaders, versions 0 to 2 (KIP-183, KIP-460).
//
// Every partition has one replica, which leads it: ELECTION_NOT_NEEDED for each that is named.
// A null list asks for all; partitions that need no election are left out of that answer, as
// Kafka does (ReplicationControlManager.electLeaders), which leaves topics without partitions.

const (
	electionTypeMax     = 1 // preferred, unclean
	electLeadersCodeMin = 1
)

func (b *Broker) handleElectLeaders(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	refused := req.ElectionType < 0 || req.ElectionType > electionTypeMax
	if refused && req.Version >= electLeadersCodeMin {
		resp.ErrorCode = codeInvalidRequest
	}
	if req.Topics == nil && !refused {
		for _, t := range b.o.Catalog.Topics() {
			out := kmsg.NewElectLeadersResponseTopic()
			out.Topic = t.Name
			resp.Topics = append(resp.Topics, out)
		}
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = rt.Topic
		for _, index := range rt.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = index
			code, why := codeInvalidRequest, fmt.Sprintf("Unknown election type %d", req.ElectionType)
			if !refused {
				code, why = b.elect(rt.Topic, index)
			}
			p.ErrorCode, p.ErrorMessage = code, &why
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Ready(resp)
}

func (b *Broker) elect(topic string, index int32) (code int16, why string) {
	switch t := b.topicByName(topic); {
	case t == nil:
		return codeUnknownTopicOrPartition, "No such topic as " + topic
	case partitionOf(t, index) == nil:
		return codeUnknownTopicOrPartition, fmt.Sprintf("No such partition as %s-%d", topic, index)
	}
	return codeElectionNotNeeded, "Leader election not needed for topic partition."
}
