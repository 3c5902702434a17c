package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// CreatePartitions, versions 0 to 3 (KIP-195).
//
// The rules are ReplicationControlManager.createPartitions. Every topic grows on its
// own. Skipped: the timeout, because the answer comes when the partitions are durable.

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

func (b *Broker) addedPartitions(resp *kmsg.CreatePartitionsResponse, name string, err error) {
	out := kmsg.NewCreatePartitionsResponseTopic()
	out.Topic = name
	out.ErrorCode = b.code("create partitions of "+name, err)
	if !errors.Is(err, catalog.ErrUnknownTopic) { // Kafka says nothing more about it
		out.ErrorMessage = clientMessage(out.ErrorCode, err)
	}
	resp.Topics = append(resp.Topics, out)
}
