package group

import "github.com/twmb/franz-go/pkg/kmsg"

// Growth is by how much a request would let Bytes grow at most; 0 or less: not at all. The host asks before Step, to bound all groups
// together. A member that says again what it has said costs nothing, so a group that is full can still rebalance. It costs O(1), for
// the assignments of a leader O(members).
func (g *Group) Growth(req kmsg.Request, client Client) int64 {
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		return int64(protocolsSize(r.Protocols) - g.held(r.MemberID, r.InstanceID, client))
	case *kmsg.ConsumerGroupHeartbeatRequest:
		if size := metadataSize(r); size > 0 || r.MemberEpoch == 0 {
			return int64(size - g.held(r.MemberID, r.InstanceID, client))
		}
	case *kmsg.SyncGroupRequest:
		return g.assignmentGrowth(r)
	}
	return 0
}

// held is what a request of a member replaces of what it has said before; less than 0 for somebody who is to become a member.
func (g *Group) held(id string, instance *string, client Client) int {
	const generatedIDBytes = 36 // of a UUID
	isNew := -(len(id) + generatedIDBytes + len(client.ID) + len(client.Host))
	if instance != nil {
		isNew -= len(*instance)
	}
	switch {
	case g.classic != nil:
		m := g.classic.members[id]
		if m == nil && instance != nil {
			m = g.classic.static[*instance]
		}
		if m != nil {
			return protocolsSize(m.protocols)
		}
	case g.consumer != nil:
		g.consumer.derive()
		m := g.consumer.members[id]
		if m == nil && instance != nil {
			m = g.consumer.static(*instance)
		}
		if m != nil {
			return m.size()
		}
	}
	return isNew
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
