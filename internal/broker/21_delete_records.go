package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// DeleteRecords, versions 0 to 2 (KIP-107).
//
// Offset -1 is the high watermark. An offset above it, or any other below zero, is out
// of range. The answer has the new log start, which is durable by then. The request's
// timeout is for other replicas, which Kafka waits for and this broker does not have: a
// timeout of 0 deletes. A log that is only compacted is refused with POLICY_VIOLATION
// (Partition.deleteRecordsOnLeader).

func (b *Broker) handleDeleteRecords(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) { return b.deleteRecords(ctx, req), nil })
}

func (b *Broker) deleteRecords(ctx context.Context, req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	bound := loadBound{parent: ctx}
	defer bound.end()
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = rt.Topic
		topic := b.topicByName(rt.Topic)
		for _, rp := range rt.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = rp.Partition, -1
			low, err := b.deletePartitionRecords(&bound, topic, rp.Partition, rp.Offset)
			if err == nil {
				p.LowWatermark = low
			}
			p.ErrorCode = b.code("delete records of "+rt.Topic, err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) deletePartitionRecords(bound *loadBound, topic *catalog.Topic, index int32, offset int64) (low int64, err error) {
	p := partitionOf(topic, index)
	switch {
	case p == nil:
		return -1, catalog.ErrUnknownTopic
	case topic.Internal:
		return -1, catalog.Refuse(catalog.ErrInvalidTopicName, "Cannot delete records of internal topic %s", topic.Name)
	case !p.Settings().Log.Delete:
		return -1, catalog.Refuse(catalog.ErrPolicyViolation, "Records of partition %s can not be deleted due to the configured cleanup.policy", p.Dir())
	}
	return p.DeleteRecords(bound.of(p), offset)
}
