package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// DescribeTopicPartitions, version 0 (KIP-966).
//
// Topics come by ascending name, at most a limit of partitions, and a cursor that says
// where to go on (DescribeTopicPartitionsRequestHandler, and
// KRaftMetadataCache.describeTopicResponse). An empty list asks for all topics; of
// these, what vanishes meanwhile is left out, of a list it is answered with an error.

// describePartitionsMax is Kafka's default of max.request.partition.size.limit.
const describePartitionsMax = 2000

func (b *Broker) handleDescribeTopicPartitions(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names, err := b.topicsToDescribe(req)
	if err != nil {
		for i := range req.Topics {
			t := kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.Topic, t.ErrorCode = &req.Topics[i].Topic, codeOf(err)
			resp.Topics = append(resp.Topics, t)
		}
		return wire.Ready(resp)
	}
	b.describeTopics(req, resp, names)
	return wire.Ready(resp)
}

var (
	errCursorTopic     = catalog.Refuse(catalog.ErrInvalidRequest, "DescribeTopicPartitionsRequest topic list should contain the cursor topic")
	errCursorPartition = catalog.Refuse(catalog.ErrInvalidRequest, "DescribeTopicPartitionsRequest cursor partition must be valid")
)

// topicsToDescribe returns the names from the cursor on, ascending.
func (b *Broker) topicsToDescribe(req *kmsg.DescribeTopicPartitionsRequest) ([]string, error) {
	from := ""
	if req.Cursor != nil {
		if req.Cursor.Partition < 0 {
			return nil, errCursorPartition
		}
		from = req.Cursor.Topic
	}
	var names []string
	if len(req.Topics) == 0 {
		for _, t := range b.o.Catalog.Topics() {
			if t.Name >= from {
				names = append(names, t.Name)
			}
		}
		return names, nil
	}
	for i := range req.Topics {
		if req.Topics[i].Topic >= from {
			names = append(names, req.Topics[i].Topic)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil && !slices.Contains(names, from) {
		return nil, errCursorTopic
	}
	return names, nil
}

func (b *Broker) describeTopics(req *kmsg.DescribeTopicPartitionsRequest, resp *kmsg.DescribeTopicPartitionsResponse, names []string) {
	left := int(max(min(req.ResponsePartitionLimit, describePartitionsMax), 1))
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = nextCursor(name, 0)
			return
		}
		t := b.topicByName(name)
		if t == nil {
			if len(req.Topics) > 0 {
				resp.Topics = append(resp.Topics, undescribed(name))
			}
			continue
		}
		first := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = min(int(req.Cursor.Partition), len(t.Partitions))
		}
		end := min(first+left, len(t.Partitions))
		resp.Topics = append(resp.Topics, b.describedTopic(t, first, end))
		if end < len(t.Partitions) {
			resp.NextCursor = nextCursor(name, int32(end))
			return
		}
		left -= end - first
	}
}

func nextCursor(name string, index int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = name, index
	return &c
}

func undescribed(name string) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.IsInternal = &name, catalog.IsInternal(name)
	out.AuthorizedOperations = operationsTopic
	err := catalog.ValidateTopicName(name)
	if err == nil {
		err = catalog.ErrUnknownTopic
	}
	out.ErrorCode = codeOf(err)
	return out
}

func (b *Broker) describedTopic(t *catalog.Topic, first, end int) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = &t.Name, t.ID, t.Internal
	out.AuthorizedOperations = operationsTopic
	replicas := []int32{b.o.NodeID} // shared by all partitions, only ever read
	out.Partitions = make([]kmsg.DescribeTopicPartitionsResponseTopicPartition, end-first)
	for i := range out.Partitions {
		p := &out.Partitions[i]
		p.Default()
		p.Partition, p.LeaderID, p.LeaderEpoch = int32(first+i), b.o.NodeID, t.Partitions[first+i].LeaderEpoch()
		p.Replicas, p.ISR = replicas, replicas
		p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
	}
	return out
}
