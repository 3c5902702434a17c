package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coordinator"
	"ottla/internal/wire"
)

// OffsetFetch, versions 1 to 10 (KIP-447, KIP-709, KIP-848, KIP-1176).
//
// One group, or several from version 8; a null list of topics asks for all that the group
// has. Partitions without an offset are answered with -1, whether they exist or not. From
// version 10 topics come by id: an id that nobody has is answered UNKNOWN_TOPIC_ID, and of
// all offsets of a group those of topics that are gone are left out.
// Versions 0 and 1 have no error code of the group: its partitions get it.
//
// Groups are read one after the other, and an answer takes no more memory than there is for
// answers, asked for while it is built: a group that does not fit is answered
// COORDINATOR_LOAD_IN_PROGRESS. A request that names more than 200,000 partitions is
// answered INVALID_REQUEST.

const (
	offsetFetchGroupsMin  = 8
	offsetFetchTopicIDMin = 10
	offsetFetchErrorMin   = 2

	// offsetFetchPartitionsMax is how many partitions one request may name: all that a broker can have.
	offsetFetchPartitionsMax = 200_000
)

func (b *Broker) handleOffsetFetch(_ context.Context, r *wire.Request) wire.Reply {
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		held := newAllowance(r.Session)
		resp, err := b.offsetFetch(ctx, r.Body.(*kmsg.OffsetFetchRequest), held)
		if err != nil {
			held.release()
			return nil, err
		}
		return accounted{resp, held}, nil
	})
}

func (b *Broker) offsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest, held *allowance) (*kmsg.OffsetFetchResponse, error) {
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	tooMany := offsetPartitions(req) > offsetFetchPartitionsMax
	if req.Version < offsetFetchGroupsMin {
		g := refusedGroup(req.Group, codeInvalidRequest)
		if !tooMany {
			var err error
			if g, err = b.fetchOffsets(ctx, req.Version, singleGroup(req), req.RequireStable, held); err != nil {
				return nil, err
			}
		}
		return resp, singleGroupAnswer(req, &g, resp, held)
	}
	for i := range req.Groups {
		if tooMany {
			resp.Groups = append(resp.Groups, refusedGroup(req.Groups[i].Group, codeInvalidRequest))
			continue
		}
		g, err := b.fetchOffsets(ctx, req.Version, &req.Groups[i], req.RequireStable, held)
		if err != nil {
			return nil, err
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}

// offsetPartitions is how many partitions a request names.
func offsetPartitions(req *kmsg.OffsetFetchRequest) (n int) {
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	for i := range req.Groups {
		for j := range req.Groups[i].Topics {
			n += len(req.Groups[i].Topics[j].Partitions)
		}
	}
	return n
}

func refusedGroup(id string, code int16) kmsg.OffsetFetchResponseGroup {
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group, g.ErrorCode = id, code
	return g
}

// singleGroup is the request of an old version in the form of the new ones.
func singleGroup(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = req.Group, -1
	if req.Topics == nil {
		return &g
	}
	g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	for i := range req.Topics {
		g.Topics[i].Topic, g.Topics[i].Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
	}
	return &g
}

// singleGroupAnswer is OffsetFetchResponse.Builder for versions below 8. An error without a code of the group closes the
// connection where there is no memory to say it of every partition.
func singleGroupAnswer(req *kmsg.OffsetFetchRequest, g *kmsg.OffsetFetchResponseGroup, resp *kmsg.OffsetFetchResponse, held *allowance) error {
	if g.ErrorCode != codeNone && req.Version < offsetFetchErrorMin {
		if !held.take(refusedBytes(req)) {
			return wire.ErrCloseConnection
		}
		resp.Topics = refusedOffsets(req, g.ErrorCode)
		return nil
	}
	resp.ErrorCode = g.ErrorCode
	resp.Topics = make([]kmsg.OffsetFetchResponseTopic, len(g.Topics))
	for i := range g.Topics {
		t := &resp.Topics[i]
		t.Topic = g.Topics[i].Topic
		t.Partitions = make([]kmsg.OffsetFetchResponseTopicPartition, len(g.Topics[i].Partitions))
		for j, p := range g.Topics[i].Partitions {
			out := &t.Partitions[j]
			out.Partition, out.Offset, out.LeaderEpoch, out.Metadata, out.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
		}
	}
	return nil
}

// refusedBytes is what refusedOffsets takes in memory.
func refusedBytes(req *kmsg.OffsetFetchRequest) int64 {
	n := int64(len(req.Topics)) * coordinator.OffsetTopicAnswerBytes
	for i := range req.Topics {
		n += int64(len(req.Topics[i].Topic)) + int64(len(req.Topics[i].Partitions))*coordinator.OffsetAnswerBytes
	}
	return n
}

// refusedOffsets gives every partition the code of the group.
func refusedOffsets(req *kmsg.OffsetFetchRequest, code int16) []kmsg.OffsetFetchResponseTopic {
	none := ""
	out := make([]kmsg.OffsetFetchResponseTopic, len(req.Topics))
	for i := range req.Topics {
		out[i].Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, noEpoch, &none, code
			out[i].Partitions = append(out[i].Partitions, p)
		}
	}
	return out
}

// fetchOffsets answers one group. What it took of the memory for answers goes back if its topics do not go into the answer.
func (b *Broker) fetchOffsets(ctx context.Context, version int16, g *kmsg.OffsetFetchRequestGroup, stable bool, held *allowance) (kmsg.OffsetFetchResponseGroup, error) {
	if !held.take(groupAnswerBytes + int64(len(g.Group))) {
		return refusedGroup(g.Group, codeCoordinatorLoadInProgress), nil
	}
	before := held.bytes
	asked, unknown := g, []kmsg.OffsetFetchResponseGroupTopic(nil)
	if version >= offsetFetchTopicIDMin && g.Topics != nil {
		var fits bool
		if asked, unknown, fits = b.nameTopics(g, held); !fits {
			held.giveBackTo(before)
			return refusedGroup(g.Group, codeCoordinatorLoadInProgress), nil
		}
	}
	out, err := b.o.Groups.FetchOffsets(ctx, asked, stable, held.take)
	if err != nil {
		return out, err
	}
	if out.ErrorCode != codeNone {
		held.giveBackTo(before)
		return refusedGroup(g.Group, out.ErrorCode), nil
	}
	out.Group = g.Group
	if version >= offsetFetchTopicIDMin && g.Topics == nil {
		out.Topics = b.identifyTopics(out.Topics)
	}
	out.Topics = append(out.Topics, unknown...)
	return out, nil
}

// giveBackTo gives back what was taken since bytes were held.
func (a *allowance) giveBackTo(bytes int64) {
	a.budget.Release(a.bytes - bytes)
	a.bytes = bytes
}

// nameTopics finds the names of the topics that a group is asked about, and answers those that have none, as long as there is
// memory for the answer.
func (b *Broker) nameTopics(g *kmsg.OffsetFetchRequestGroup, held *allowance) (asked *kmsg.OffsetFetchRequestGroup, unknown []kmsg.OffsetFetchResponseGroupTopic, fits bool) {
	named := *g
	named.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
	none := ""
	for i := range g.Topics {
		rt := g.Topics[i]
		if t, found := b.o.Catalog.TopicByID(rt.TopicID); found {
			rt.Topic = t.Name
			named.Topics = append(named.Topics, rt)
			continue
		}
		if !held.take(coordinator.OffsetTopicAnswerBytes + int64(len(rt.Partitions))*coordinator.OffsetAnswerBytes) {
			return nil, nil, false
		}
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.TopicID = rt.TopicID
		for _, index := range rt.Partitions {
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, noEpoch, &none, codeUnknownTopicID
			out.Partitions = append(out.Partitions, p)
		}
		unknown = append(unknown, out)
	}
	return &named, unknown, true
}

// identifyTopics finds the ids of topics, and leaves out those that do not exist any more.
func (b *Broker) identifyTopics(topics []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	kept := topics[:0]
	for i := range topics {
		if t := b.topicByName(topics[i].Topic); t != nil {
			topics[i].TopicID = t.ID
			kept = append(kept, topics[i])
		}
	}
	return kept
}
