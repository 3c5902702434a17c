package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/wire"
)

// CreatePartitions, versions 0 to 3 (KIP-195).
//
// The rules are ReplicationControlManager.createPartitions. Every topic grows on its
// own. Skipped: the timeout, because the answer comes when the partitions are durable.
//
// Unlike in Kafka __consumer_offsets cannot grow: where a group is kept is counted from the
// number of its partitions, and another number loses every group from sight.

func (b *Broker) handleCreatePartitions(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.createPartitions(req), nil })
}

func (b *Broker) createPartitions(req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	names := make([]string, len(req.Topics))
	for i := range req.Topics {
		names[i] = req.Topics[i].Topic
	}
	single, twice := splitDuplicates(names)
	for _, name := range twice {
		b.addedPartitions(resp, name, catalog.Refuse(catalog.ErrInvalidRequest, "Duplicate topic name."))
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		if !single[t.Topic] {
			continue
		}
		if t.Topic == coordinator.Topic && b.topicByName(t.Topic) != nil {
			b.addedPartitions(resp, t.Topic, errGroupsWouldMove)
			continue
		}
		var assignments []catalog.Assignment
		if t.Assignment != nil {
			assignments = make([]catalog.Assignment, len(t.Assignment))
			for j := range t.Assignment {
				assignments[j].Brokers = t.Assignment[j].Replicas
			}
		}
		b.addedPartitions(resp, t.Topic, b.o.Catalog.CreatePartitions(t.Topic, t.Count, assignments, req.ValidateOnly))
	}
	return resp
}

var errGroupsWouldMove = catalog.Refuse(catalog.ErrInvalidPartitions,
	"The number of partitions of %s says where each group is kept and cannot change.", coordinator.Topic)

func (b *Broker) addedPartitions(resp *kmsg.CreatePartitionsResponse, name string, err error) {
	out := kmsg.NewCreatePartitionsResponseTopic()
	out.Topic = name
	out.ErrorCode = b.code("create partitions of "+name, err)
	if !errors.Is(err, catalog.ErrUnknownTopic) { // Kafka says nothing more about it
		out.ErrorMessage = clientMessage(out.ErrorCode, err)
	}
	resp.Topics = append(resp.Topics, out)
}
