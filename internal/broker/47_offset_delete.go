package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// OffsetDelete, version 0 (KIP-496).
//
// Removes committed offsets of partitions that the group's members do not consume. A partition
// that does not exist is answered UNKNOWN_TOPIC_OR_PARTITION; the group is looked at even if
// none is left, and an error of the group is the whole answer (KafkaApis.handleOffsetDeleteRequest).
// When the answer is sent the offsets are durably gone.

func (b *Broker) handleOffsetDelete(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	if req.Group == "" {
		resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		resp.ErrorCode = codeInvalidGroupID
		return wire.Ready(resp)
	}
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		known, refused := b.splitOffsetDelete(req)
		resp, err := b.o.Groups.DeleteOffsets(ctx, known)
		if err != nil {
			return nil, err
		}
		resp.Version = req.Version
		if resp.ErrorCode != codeNone {
			resp.Topics = nil
			return resp, nil
		}
		resp.Topics = mergeOffsetDelete(refused, resp.Topics)
		return resp, nil
	})
}

// splitOffsetDelete takes the partitions that do not exist out of a request, and answers them.
func (b *Broker) splitOffsetDelete(req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteRequest, []kmsg.OffsetDeleteResponseTopic) {
	known := *req
	known.Topics = nil
	var refused []kmsg.OffsetDeleteResponseTopic
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := b.topicByName(rt.Topic)
		kept, bad := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteResponseTopic()
		kept.Topic, bad.Topic = rt.Topic, rt.Topic
		for _, p := range rt.Partitions {
			if partitionOf(t, p.Partition) != nil {
				kept.Partitions = append(kept.Partitions, p)
				continue
			}
			out := kmsg.NewOffsetDeleteResponseTopicPartition()
			out.Partition, out.ErrorCode = p.Partition, codeUnknownTopicOrPartition
			bad.Partitions = append(bad.Partitions, out)
		}
		if len(kept.Partitions) > 0 {
			known.Topics = append(known.Topics, kept)
		}
		if len(bad.Partitions) > 0 || t == nil {
			refused = append(refused, bad)
		}
	}
	return &known, refused
}

// mergeOffsetDelete joins two answers, each topic once, in the order of their first appearance.
func mergeOffsetDelete(lists ...[]kmsg.OffsetDeleteResponseTopic) []kmsg.OffsetDeleteResponseTopic {
	var out []kmsg.OffsetDeleteResponseTopic
	at := map[string]int{}
	for _, list := range lists {
		for _, t := range list {
			i, seen := at[t.Topic]
			if !seen {
				at[t.Topic] = len(out)
				out = append(out, t)
				continue
			}
			out[i].Partitions = append(out[i].Partitions, t.Partitions...)
		}
	}
	return out
}
