package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// OffsetForLeaderEpoch, versions 2 to 4.
//
// Answers the largest epoch not above the one asked for, and where it ended
// (KIP-101, KIP-320): consumers use it to see that a log was cut behind their position.
// An epoch below all of the log, or above the one in force, has no answer: -1 and -1,
// without an error (Partition.lastOffsetForLeaderEpoch).

func (b *Broker) handleOffsetForLeaderEpoch(_ context.Context, r *wire.Request) wire.Reply {
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		return b.offsetForLeaderEpoch(ctx, r.Body.(*kmsg.OffsetForLeaderEpochRequest)), nil
	})
}

func (b *Broker) offsetForLeaderEpoch(ctx context.Context, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	load := loadBound{parent: ctx}
	defer load.end()
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = rt.Topic
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			out := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			out.Partition = rp.Partition
			b.endOfEpoch(&load, rt.Topic, rp, &out)
			t.Partitions = append(t.Partitions, out)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) endOfEpoch(load *loadBound, topic string, rp *kmsg.OffsetForLeaderEpochRequestTopicPartition, out *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
	p := b.partitionByName(topic, rp.Partition)
	if p == nil {
		out.ErrorCode = codeUnknownTopicOrPartition
		return
	}
	if out.ErrorCode = checkLeaderEpoch(p, rp.CurrentLeaderEpoch); out.ErrorCode != codeNone {
		return
	}
	epoch, end, err := epochEnd(load.of(p), p, rp.LeaderEpoch)
	if err != nil {
		out.ErrorCode = b.code("read the epochs of "+p.Dir(), err)
		return
	}
	out.LeaderEpoch, out.EndOffset = epoch, end
}
