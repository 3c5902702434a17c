package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/wire"
)

// OffsetCommit, versions 2 to 10 (KIP-211, KIP-320, KIP-345, KIP-848, KIP-1176).
//
// Topics come by name, from version 10 by id. A partition that does not exist is answered
// UNKNOWN_TOPIC_OR_PARTITION, an id that nobody has UNKNOWN_TOPIC_ID, and the others are
// committed; the coordinator is not asked at all when none is left (KafkaApis.handleOffsetCommitRequest).
// The empty group is a group like others. The answer leaves when the offsets are durable.
//
// retention_time_ms of versions 2 to 4 counts as in Kafka: an offset with a time of its own
// expires after that. Kafka lists the partitions it refuses before the others; here they are
// in the order of the request.

const offsetCommitTopicIDMin = 10

func (b *Broker) handleOffsetCommit(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	commit := b.offsetCommit(req)
	if len(commit.Partitions) == 0 {
		return wire.Ready(commit.Response)
	}
	return coordinated{b.o.Groups.CommitOffsets(commit, clientOf(r))}
}

// offsetCommit answers what cannot be committed and names the rest.
func (b *Broker) offsetCommit(req *kmsg.OffsetCommitRequest) coordinator.Commit {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	commit := coordinator.Commit{Request: req, Response: resp}
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	count := 0
	for i := range req.Topics {
		count += len(req.Topics[i].Partitions)
	}
	commit.Partitions = make([]coordinator.CommitPartition, 0, count)
	for i := range req.Topics {
		rt, out := &req.Topics[i], &resp.Topics[i]
		out.Default()
		out.Topic, out.TopicID = rt.Topic, rt.TopicID
		out.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(rt.Partitions))
		t, code := b.committedTopic(req.Version, rt.Topic, rt.TopicID)
		for j := range rt.Partitions {
			p := &out.Partitions[j]
			p.Default()
			p.Partition, p.ErrorCode = rt.Partitions[j].Partition, code
			switch {
			case code != codeNone:
			case partitionOf(t, p.Partition) == nil:
				p.ErrorCode = codeUnknownTopicOrPartition
			default:
				commit.Partitions = append(commit.Partitions, coordinator.CommitPartition{
					Topic: t.Name, TopicID: t.ID, Request: &rt.Partitions[j], Code: &p.ErrorCode})
			}
		}
	}
	return commit
}

// committedTopic finds a topic of an OffsetCommit.
func (b *Broker) committedTopic(version int16, name string, id [16]byte) (*catalog.Topic, int16) {
	if version >= offsetCommitTopicIDMin {
		if t, found := b.o.Catalog.TopicByID(id); found {
			return t, codeNone
		}
		return nil, codeUnknownTopicID
	}
	if t := b.topicByName(name); t != nil {
		return t, codeNone
	}
	return nil, codeUnknownTopicOrPartition
}
