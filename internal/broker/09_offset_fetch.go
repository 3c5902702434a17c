package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

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
// answers: a group that does not fit is answered COORDINATOR_LOAD_IN_PROGRESS.

const (
	offsetFetchGroupsMin  = 8
	offsetFetchTopicIDMin = 10
	offsetFetchErrorMin   = 2
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
	if req.Version < offsetFetchGroupsMin {
		g, err := b.fetchOffsets(ctx, req.Version, singleGroup(req), req.RequireStable, held)
		if err != nil {
			return nil, err
		}
		singleGroupAnswer(req, &g, resp)
		return resp, nil
	}
	for i := range req.Groups {
		g, err := b.fetchOffsets(ctx, req.Version, &req.Groups[i], req.RequireStable, held)
		if err != nil {
			return nil, err
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
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

// singleGroupAnswer is OffsetFetchResponse.Builder for versions below 8.
func singleGroupAnswer(req *kmsg.OffsetFetchRequest, g *kmsg.OffsetFetchResponseGroup, resp *kmsg.OffsetFetchResponse) {
	if g.ErrorCode != codeNone && req.Version < offsetFetchErrorMin {
		resp.Topics = refusedOffsets(req, g.ErrorCode)
		return
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

// fetchOffsets answers one group.
func (b *Broker) fetchOffsets(ctx context.Context, version int16, g *kmsg.OffsetFetchRequestGroup, stable bool, held *allowance) (kmsg.OffsetFetchResponseGroup, error) {
	asked, unknown := g, []kmsg.OffsetFetchResponseGroupTopic(nil)
	if version >= offsetFetchTopicIDMin && g.Topics != nil {
		asked, unknown = b.nameTopics(g)
	}
	out, err := b.o.Groups.FetchOffsets(ctx, asked, stable)
	if err != nil {
		return out, err
	}
	out.Group = g.Group
	if out.ErrorCode != codeNone {
		out.Topics = nil
		return out, nil
	}
	if version >= offsetFetchTopicIDMin && g.Topics == nil {
		out.Topics = b.identifyTopics(out.Topics)
	}
	out.Topics = append(out.Topics, unknown...)
	if !held.take(offsetsBytes(&out)) {
		refused := kmsg.NewOffsetFetchResponseGroup()
		refused.Group, refused.ErrorCode = g.Group, codeCoordinatorLoadInProgress
		return refused, nil
	}
	return out, nil
}

// nameTopics finds the names of the topics that a group is asked about, and answers those that have none.
func (b *Broker) nameTopics(g *kmsg.OffsetFetchRequestGroup) (*kmsg.OffsetFetchRequestGroup, []kmsg.OffsetFetchResponseGroupTopic) {
	named, unknown := *g, []kmsg.OffsetFetchResponseGroupTopic(nil)
	named.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
	none := ""
	for i := range g.Topics {
		rt := g.Topics[i]
		if t, found := b.o.Catalog.TopicByID(rt.TopicID); found {
			rt.Topic = t.Name
			named.Topics = append(named.Topics, rt)
			continue
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
	return &named, unknown
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

// offsetsBytes is about what the offsets of a group take in memory.
func offsetsBytes(g *kmsg.OffsetFetchResponseGroup) int64 {
	n := int64(groupAnswerBytes)
	for i := range g.Topics {
		n += int64(len(g.Topics[i].Topic)) + int64(len(g.Topics[i].Partitions))*partitionAnswerBytes
		for j := range g.Topics[i].Partitions {
			n += textBytes(g.Topics[i].Partitions[j].Metadata)
		}
	}
	return n
}
