package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinRequest is one JoinGroup on its way through the group.
type joinRequest struct {
	*kmsg.JoinGroupRequest
	now    time.Time
	call   Call
	client Client
	out    *Output
}

func joinError(member string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.ErrorCode = member, code
	return resp
}

func (r *joinRequest) reply(resp *kmsg.JoinGroupResponse) {
	resp.Version = r.Version
	r.out.Replies = append(r.out.Replies, Reply{r.call, resp})
}

func (r *joinRequest) fail(member string, code int16) { r.reply(joinError(member, code)) }

// join handles JoinGroup at a group that is classic or has no type (GroupMetadataManager.classicGroupJoinToClassicGroup). A member
// without an id makes the group; a request that is refused does not.
func (g *Group) join(now time.Time, call Call, req *kmsg.JoinGroupRequest, client Client, out *Output) {
	r := &joinRequest{req, now, call, client, out}
	if req.Version == 0 {
		req.RebalanceTimeoutMillis = req.SessionTimeoutMillis
	}
	if code := g.checkJoin(r); code != 0 {
		r.fail(req.MemberID, code)
		return
	}
	req.Protocols = distinctProtocols(req.Protocols)
	r.client.ID = keptID(r.client.ID)
	c := g.classic
	if c == nil {
		if req.MemberID != "" {
			r.fail(req.MemberID, kerr.UnknownMemberID.Code)
			return
		}
		c = newClassicGroup(g)
		c.changed = now.UnixMilli()
	}
	switch {
	case !c.accepts(req):
		if m := c.members[req.MemberID]; m != nil && c.state == statePreparing {
			c.remove(m, out)
		}
		c.forgetPending(req.MemberID)
		r.fail("", kerr.GroupMaxSizeReached.Code)
	case !c.supported(req.ProtocolType, req.Protocols):
		r.fail(req.MemberID, kerr.InconsistentGroupProtocol.Code)
	case req.MemberID == "":
		if g.classic == nil {
			// The group is there from its first member on, even if that never comes back with its id.
			g.classic = c
			c.record(out)
		}
		c.joinNew(r)
	default:
		c.joinKnown(r)
	}
}

// checkJoin is what can be said without looking at members.
func (g *Group) checkJoin(r *joinRequest) int16 {
	if g.id == "" {
		return kerr.InvalidGroupID.Code
	}
	if session := ofMillis(r.SessionTimeoutMillis); session < g.cfg.SessionTimeoutMin || session > g.cfg.SessionTimeoutMax {
		return kerr.InvalidSessionTimeout.Code
	}
	const idBytes = 1 + 36 // what newMemberID adds
	tooLong := len(g.id) > stringMax || len(r.client.ID)+idBytes > stringMax || len(r.ProtocolType) > stringMax
	if r.InstanceID != nil {
		tooLong = tooLong || len(*r.InstanceID)+idBytes > stringMax
	}
	for i := range r.Protocols {
		tooLong = tooLong || len(r.Protocols[i].Name) > stringMax
	}
	if tooLong || g.cfg.MetadataBytesMax > 0 && protocolsSize(r.Protocols) > g.cfg.MetadataBytesMax {
		return kerr.InvalidRequest.Code
	}
	return 0
}

// accepts says that the group is not too large (GroupMetadataManager.acceptJoiningMember).
func (c *classicGroup) accepts(r *kmsg.JoinGroupRequest) bool {
	if c.state == stateEmpty {
		return true
	}
	m, most := c.members[r.MemberID], membersMax
	if n := c.g.cfg.MembersMax; n > 0 {
		most = min(most, n)
	}
	size := c.bytes - c.pendingBytes + protocolsSize(r.Protocols)
	if m != nil {
		size -= protocolsSize(m.protocols)
	}
	switch {
	case size > groupBytesMax:
		return false
	case c.state == statePreparing:
		// Those who wait are counted, not the members: the group may be above a limit that was lowered, and so the last to
		// rejoin are the ones who go.
		return m != nil && m.join.set || c.awaitingJoin < most
	}
	return m != nil || len(c.members) < most
}

// joinNew is for a member without an id.
func (c *classicGroup) joinNew(r *joinRequest) {
	if r.InstanceID != nil {
		id := c.g.newMemberID(*r.InstanceID)
		if old := c.static[*r.InstanceID]; old != nil {
			c.rejoinStatic(r, old, id)
			return
		}
		c.addAndRebalance(r, id)
		return
	}
	id := c.g.newMemberID(r.client.ID)
	if r.Version < 4 {
		c.addAndRebalance(r, id)
		return
	}
	// KIP-394: only who comes back with the id becomes a member.
	c.addPending(r.now, id, ofMillis(r.SessionTimeoutMillis))
	r.fail(id, kerr.MemberIDRequired.Code)
}

// joinKnown is for a member that says its id.
func (c *classicGroup) joinKnown(r *joinRequest) {
	if c.pending[r.MemberID] != nil {
		if r.InstanceID != nil {
			r.fail(r.MemberID, kerr.UnknownServerError.Code)
			return
		}
		c.addAndRebalance(r, r.MemberID)
		return
	}
	if code := c.validate(r.MemberID, r.InstanceID); code != 0 {
		r.fail(r.MemberID, code)
		return
	}
	m := c.members[r.MemberID]
	switch {
	case c.state == stateEmpty:
		r.fail(r.MemberID, kerr.UnknownMemberID.Code)
	case c.state == stateCompleting && m.matches(r.Protocols):
		// It may not have received the answer to its first JoinGroup.
		r.reply(c.joinResponse(m, c.leader == m))
	case c.state == stateStable && c.leader != m && m.matches(r.Protocols):
		r.reply(c.joinResponse(m, false))
	default:
		// Metadata changed, or the leader wants assignments to be made again, or the group waits for it.
		c.update(m, r.JoinGroupRequest)
		c.parkJoin(m, r.call, r.Version, r.out)
		c.rebalanceOrComplete(r.now, r.out)
	}
}

// joinResponse is the current generation, for m; the leader is shown all members.
func (c *classicGroup) joinResponse(m *classicMember, members bool) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = m.id
	resp.Generation = c.generation
	resp.Protocol, resp.ProtocolType = c.protocol, optional(c.protocolType)
	resp.LeaderID = c.leader.id
	if !members {
		return resp
	}
	resp.Members = make([]kmsg.JoinGroupResponseMember, 0, len(c.members))
	c.all(func(m *classicMember) {
		one := kmsg.NewJoinGroupResponseMember()
		one.MemberID, one.InstanceID, one.ProtocolMetadata = m.id, m.instance, m.metadata(c.protocol)
		resp.Members = append(resp.Members, one)
	})
	return resp
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (c *classicGroup) addAndRebalance(r *joinRequest, id string) {
	m := newClassicMember(id, r.InstanceID, r.client)
	m.rebalance, m.session = ofMillis(r.RebalanceTimeoutMillis), ofMillis(r.SessionTimeoutMillis)
	m.protocols = cloneProtocols(r.Protocols)
	m.isNew = true
	if c.state == statePreparing && c.previous == stateEmpty {
		c.newMemberAdded = true
	}
	c.add(m, r.ProtocolType)
	c.parkJoin(m, r.call, r.Version, r.out)
	c.expect(r.now, m, newMemberJoinTimeout)
	c.rebalanceOrComplete(r.now, r.out)
}

// rejoinStatic is for a static member that was restarted and has lost its id: it takes the place of the old one, and if the group is
// stable and votes as before nobody else notices (GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin).
func (c *classicGroup) rejoinStatic(r *joinRequest, old *classicMember, id string) {
	leader := c.leader
	m := c.replaceStatic(old, id, r.out)
	// The session that runs is the one it had; what it asks for now begins with its next heartbeat.
	c.expect(r.now, m, m.session)
	c.update(m, r.JoinGroupRequest)
	switch {
	case c.state == stateStable && c.selectProtocol() == *c.protocol:
		c.readSubscription()
		c.record(r.out)
		resp := c.joinResponse(m, false)
		if r.Version >= 9 {
			// KIP-814: a leader that is told to skip the assignment may still be told who the members are.
			resp = c.joinResponse(m, c.leader == m)
			resp.SkipAssignment = c.leader == m
		} else {
			// It must not take itself for the leader and assign: nobody waits for that.
			resp.LeaderID = leader.id
		}
		r.reply(resp)
	case c.state == stateCompleting:
		// The leader may have been told the old id, and would assign to that.
		c.parkJoin(m, r.call, r.Version, r.out)
		c.prepareRebalance(r.now, r.out)
	default:
		c.parkJoin(m, r.call, r.Version, r.out)
		c.rebalanceOrComplete(r.now, r.out)
	}
}
