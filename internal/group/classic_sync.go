package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *classicGroup) syncResponse(m *classicMember, version, code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode = version, code
	if code == 0 {
		resp.ProtocolType, resp.Protocol = optional(c.protocolType), c.protocol
		resp.MemberAssignment = m.assignment
	}
	return resp
}

// sync handles SyncGroup (GroupMetadataManager.classicGroupSyncToClassicGroup): members wait here for what the leader assigns.
func (g *Group) sync(now time.Time, call Call, r *kmsg.SyncGroupRequest, out *Output) {
	c := g.classic
	if code := g.checkSync(r); code != 0 {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version, resp.ErrorCode = r.Version, code
		out.Replies = append(out.Replies, Reply{call, resp})
		return
	}
	m := c.members[r.MemberID]
	if c.state == stateStable {
		c.synced(m)
		out.Replies = append(out.Replies, Reply{call, c.syncResponse(m, r.Version, 0)})
		return
	}
	c.parkSync(m, call, r.Version, out)
	c.synced(m)
	if c.leader == m {
		c.assignAll(now, r, out)
	}
}

func (g *Group) checkSync(r *kmsg.SyncGroupRequest) int16 {
	c := g.classic
	switch {
	case g.id == "":
		return kerr.InvalidGroupID.Code
	case r.Version >= 5 && (r.ProtocolType == nil || r.Protocol == nil):
		return kerr.InconsistentGroupProtocol.Code
	case c == nil || c.state == stateEmpty:
		return kerr.UnknownMemberID.Code
	}
	if code := c.validate(r.MemberID, r.InstanceID); code != 0 {
		return code
	}
	switch {
	case r.Generation != c.generation:
		return kerr.IllegalGeneration.Code
	case inconsistent(r.ProtocolType, optional(c.protocolType)) || inconsistent(r.Protocol, c.protocol):
		return kerr.InconsistentGroupProtocol.Code
	case c.state == statePreparing:
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

func inconsistent(asked, have *string) bool {
	return asked != nil && have != nil && *asked != *have
}

// assignAll takes what the leader assigned: the generation is recorded, and all that wait are answered.
func (c *classicGroup) assignAll(now time.Time, r *kmsg.SyncGroupRequest, out *Output) {
	assignments, size := make(map[string][]byte, len(r.GroupAssignment)), 0
	for i := range r.GroupAssignment {
		a := &r.GroupAssignment[i]
		assignments[a.MemberID] = a.MemberAssignment
		size += len(a.MemberAssignment)
	}
	if size > groupBytesMax {
		// What Kafka does when the record is too large for its log.
		c.all(func(m *classicMember) { c.assign(m, nil) })
		c.propagate(now, kerr.UnknownServerError.Code, out)
		c.prepareRebalance(now, out)
		return
	}
	c.all(func(m *classicMember) { c.assign(m, bytes.Clone(assignments[m.id])) })
	c.transition(stateStable, now)
	c.propagate(now, 0, out)
	c.record(out)
}

// heartbeat handles Heartbeat; it costs O(1) (GroupMetadataManager.classicGroupHeartbeatToClassicGroup).
func (g *Group) heartbeat(now time.Time, call Call, r *kmsg.HeartbeatRequest, out *Output) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = r.Version
	resp.ErrorCode = g.checkHeartbeat(r)
	if resp.ErrorCode == 0 {
		c := g.classic
		m := c.members[r.MemberID]
		c.expect(now, m, m.session)
		if c.state == statePreparing {
			resp.ErrorCode = kerr.RebalanceInProgress.Code
		}
	}
	out.Replies = append(out.Replies, Reply{call, resp})
}

func (g *Group) checkHeartbeat(r *kmsg.HeartbeatRequest) int16 {
	c := g.classic
	if g.id == "" {
		return kerr.InvalidGroupID.Code
	}
	if c == nil {
		return kerr.UnknownMemberID.Code
	}
	if code := c.validate(r.MemberID, r.InstanceID); code != 0 {
		return code
	}
	if r.Generation != c.generation {
		return kerr.IllegalGeneration.Code
	}
	return 0
}

// leave handles LeaveGroup, one member or many (GroupMetadataManager.classicGroupLeaveToClassicGroup).
func (g *Group) leave(now time.Time, call Call, r *kmsg.LeaveGroupRequest, out *Output) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = r.Version
	members := leaving(r)
	left := false
	for i := range members {
		one := kmsg.NewLeaveGroupResponseMember()
		one.MemberID, one.InstanceID = members[i].MemberID, members[i].InstanceID
		one.ErrorCode = g.leaveOne(&members[i], out)
		left = left || one.ErrorCode == 0
		resp.Members = append(resp.Members, one)
	}
	if g.id == "" {
		resp.ErrorCode, resp.Members = kerr.InvalidGroupID.Code, nil
	} else if r.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	out.Replies = append(out.Replies, Reply{call, resp})
	if !left {
		return
	}
	switch c := g.classic; c.state {
	case stateStable, stateCompleting:
		c.prepareRebalance(now, out)
	case statePreparing:
		c.maybeCompleteJoin(now, out)
	}
}

// leaving is who a request is about; versions below 3 have one member in a field of its own.
func leaving(r *kmsg.LeaveGroupRequest) []kmsg.LeaveGroupRequestMember {
	if r.Version >= 3 {
		return r.Members
	}
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = r.MemberID
	return []kmsg.LeaveGroupRequestMember{one}
}

func (g *Group) leaveOne(l *kmsg.LeaveGroupRequestMember, out *Output) int16 {
	c := g.classic
	switch {
	case c == nil:
		return kerr.UnknownMemberID.Code
	case l.MemberID == "":
		// An administrator removes a static member by its instance id.
		if l.InstanceID == nil || c.static[*l.InstanceID] == nil {
			return kerr.UnknownMemberID.Code
		}
		c.remove(c.static[*l.InstanceID], out)
	case c.pending[l.MemberID] != nil:
		c.forgetPending(l.MemberID)
	default:
		if code := c.validate(l.MemberID, l.InstanceID); code != 0 {
			return code
		}
		c.remove(c.members[l.MemberID], out)
	}
	return 0
}
