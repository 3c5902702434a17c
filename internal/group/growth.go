package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Growth is by how much a request would let Bytes grow at most; 0 or less: not at all. The host asks before Step, to bound all groups
// together. A member that says again what it has said costs nothing, so a group that is full can still rebalance. What the members of
// a classic group get to hold beside their metadata when it becomes a consumer group, the names in them, is not foreseen. It costs
// O(what the request says and replaces), for the assignments of a leader O(members).
func (g *Group) Growth(req kmsg.Request, client Client) int64 {
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		return int64(g.joinGrowth(r, client))
	case *kmsg.ConsumerGroupHeartbeatRequest:
		if size := metadataSize(r); size > 0 || r.MemberEpoch == epochJoin {
			return int64(size - g.replaced(r, client))
		}
	case *kmsg.SyncGroupRequest:
		return g.assignmentGrowth(r)
	}
	return 0
}

// newcomerSize is what somebody who is to become a member adds beside his metadata.
func newcomerSize(id string, instance *string, client Client) int {
	const generatedIDBytes = 36 // of a UUID
	n := len(id) + generatedIDBytes + len(client.ID) + len(client.Host)
	if instance != nil {
		n += len(*instance)
	}
	return n
}

func (g *Group) joinGrowth(r *kmsg.JoinGroupRequest, client Client) int {
	size := protocolsSize(r.Protocols)
	if g.consumer != nil {
		m := g.consumerMember(r.MemberID, r.InstanceID)
		size *= 2 // the names in them are held beside them
		switch {
		case m == nil:
			return size + newcomerSize(r.MemberID, r.InstanceID, client)
		case m.classic != nil && slices.EqualFunc(m.classic.protocols, r.Protocols, sameProtocol):
			return 0
		}
		return size - m.size()
	}
	var m *classicMember
	if g.classic != nil {
		if m = g.classic.members[r.MemberID]; m == nil && r.InstanceID != nil {
			m = g.classic.static[*r.InstanceID]
		}
	}
	if m == nil {
		return size + newcomerSize(r.MemberID, r.InstanceID, client)
	}
	return size - protocolsSize(m.protocols)
}

func sameProtocol(p classicProtocol, q kmsg.JoinGroupRequestProtocol) bool {
	return p.name == q.Name && bytes.Equal(p.metadata, q.Metadata)
}

func (g *Group) consumerMember(id string, instance *string) *consumerMember {
	if g.consumer == nil {
		return nil
	}
	g.consumer.derive()
	m := g.consumer.members[id]
	if m == nil && instance != nil {
		m = g.consumer.static(*instance)
	}
	return m
}

// replaced is what a heartbeat replaces of what its member has said before, where a null replaces nothing; less than 0 for somebody
// who is to become a member.
func (g *Group) replaced(r *kmsg.ConsumerGroupHeartbeatRequest, client Client) int {
	m := g.consumerMember(r.MemberID, r.InstanceID)
	if m == nil {
		return -newcomerSize(r.MemberID, r.InstanceID, client)
	}
	var old memberData
	if r.InstanceID != nil {
		old.instance = m.instance
	}
	if r.RackID != nil {
		old.rack = m.rack
	}
	if r.SubscribedTopicRegex != nil {
		old.regex = m.regex
	}
	if r.SubscribedTopicNames != nil {
		old.names = m.names
	}
	return old.size() + len(m.id) - max(len(m.id), len(r.MemberID)) // a static member may come back with another id
}

// assignmentGrowth is for the leader of a classic group; what others send is not kept.
func (g *Group) assignmentGrowth(r *kmsg.SyncGroupRequest) int64 {
	if g.classic == nil || g.classic.leader == nil || g.classic.leader.id != r.MemberID {
		return 0
	}
	n := 0
	for i := range r.GroupAssignment {
		n += len(r.GroupAssignment[i].MemberAssignment)
	}
	g.classic.all(func(m *classicMember) { n -= len(m.assignment) })
	return int64(n)
}
