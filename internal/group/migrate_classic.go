package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stepClassicAtConsumer is JoinGroup, SyncGroup, Heartbeat, LeaveGroup at a group of the consumer type: its classic members work with
// it as with a classic group, where a generation is the member's epoch and nobody is a leader that has to assign. No call is parked.
func (g *Group) stepClassicAtConsumer(now time.Time, call Call, req kmsg.Request, client Client, topics Topics, out *Output) {
	g.consumer.derive()
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		g.joinAtConsumer(now, call, r, client, topics, out)
	case *kmsg.SyncGroupRequest:
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version = r.Version
		if m, code := g.syncAtConsumer(now, r); code != 0 {
			resp.ErrorCode = code
		} else {
			resp.ProtocolType, resp.Protocol = r.ProtocolType, r.Protocol
			resp.MemberAssignment = m.owned.consumerProtocol(m.classic, topics)
		}
		out.Replies = append(out.Replies, Reply{call, resp})
	case *kmsg.HeartbeatRequest:
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.Version, resp.ErrorCode = r.Version, g.heartbeatAtConsumer(now, r)
		out.Replies = append(out.Replies, Reply{call, resp})
	case *kmsg.LeaveGroupRequest:
		g.leaveAtConsumer(now, call, r, topics, out)
	default:
		panic(fmt.Sprintf("BUG: group was given a %T", req))
	}
}

// classicJoin is a JoinGroup at a consumer group that has members.
type classicJoin struct {
	*consumerGroup
	joinRequest
	topics       Topics
	id           string // the one in the request, or a new one
	subscription *kmsg.ConsumerMemberMetadata
	member       *consumerMember // nil: a new one
	replaces     *consumerMember // the static member whose place it takes
}

func (g *Group) joinAtConsumer(now time.Time, call Call, r *kmsg.JoinGroupRequest, client Client, topics Topics, out *Output) {
	if len(g.consumer.members) == 0 {
		g.joinEmptyConsumer(now, call, r, client, out)
		return
	}
	j := &classicJoin{consumerGroup: g.consumer, joinRequest: joinRequest{r, now, call, client, out}, topics: topics, id: r.MemberID}
	if r.Version == 0 {
		r.RebalanceTimeoutMillis = r.SessionTimeoutMillis
	}
	code := g.checkJoin(&j.joinRequest)
	if code == 0 {
		code = j.check()
	}
	switch {
	case code == kerr.MemberIDRequired.Code:
		j.fail(j.id, code)
	case code != 0:
		j.fail("", code)
	default:
		j.run()
	}
}

// joinEmptyConsumer turns an empty consumer group into a classic one, if the request is good enough to make a group.
func (g *Group) joinEmptyConsumer(now time.Time, call Call, r *kmsg.JoinGroupRequest, client Client, out *Output) {
	old := g.consumer
	g.consumer = nil
	var joined Output
	g.join(now, call, r, client, &joined)
	if g.classic == nil {
		g.consumer = old
	} else {
		old.tombstones(out)
	}
	out.Records = append(out.Records, joined.Records...)
	out.Replies = append(out.Replies, joined.Replies...)
}

// check refuses what must be refused, before anything is changed (GroupMetadataManager.classicGroupJoinToConsumerGroup).
func (j *classicJoin) check() int16 {
	j.Protocols = distinctProtocols(j.Protocols)
	cfg := j.g.cfg
	switch {
	case cfg.migrationDisabled():
		return kerr.InconsistentGroupProtocol.Code
	case j.full(j.MemberID, protocolsSize(j.Protocols)) != nil:
		return kerr.GroupMaxSizeReached.Code
	case !j.supports(j.ProtocolType, j.Protocols):
		return kerr.InconsistentGroupProtocol.Code
	}
	if j.MemberID == "" {
		j.id = j.g.newUUID()
		if j.InstanceID == nil && j.Version >= 4 {
			return kerr.MemberIDRequired.Code // KIP-394; the group does not remember the id
		}
	}
	var ok bool
	if j.subscription, ok = readSubscription(j.Protocols[0].Metadata); !ok {
		return kerr.UnknownServerError.Code // what becomes of Kafka's IllegalStateException
	}
	if len(j.id) > stringMax {
		return kerr.InvalidRequest.Code
	}
	if j.InstanceID == nil {
		j.member = j.members[j.id]
		return 0
	}
	existing := j.static(*j.InstanceID)
	if j.MemberID != "" {
		if r := j.fencedStatic(existing, *j.InstanceID, j.id); r != nil {
			return r.code
		}
		j.member = existing
		return 0
	}
	j.replaces = existing
	return 0
}

// supports says whether all classic members know one of the protocols (ConsumerGroup.supportsClassicProtocols).
func (c *consumerGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if protocolType != consumerProtocolType {
		return false
	}
	for i := range protocols {
		if c.protocols[protocols[i].Name] == c.classicMembers {
			return true
		}
	}
	return false
}

// run is the join once nothing can refuse it any more.
func (j *classicJoin) run() {
	m := j.member
	downgrade := false
	switch {
	case j.replaces != nil:
		downgrade = j.replaces.classic == nil && j.mayDowngrade(len(j.members), j.classicMembers+1)
		m = j.replace(j.replaces, j.id, j.out)
	case m == nil:
		m = &consumerMember{id: j.id, memberData: memberData{rebalanceMillis: -1}}
	default:
		// A static member that comes back under its own id with the other protocol replaces itself.
		downgrade = j.InstanceID != nil && m.classic == nil && j.mayDowngrade(len(j.members), j.classicMembers+1)
	}
	changed := j.setMetadata(m, j.metadata(m), j.out)
	j.refresh(j.now, j.topics, changed, j.out)
	if !downgrade {
		j.retarget(j.now, j.topics, j.out)
	}
	rebalance := j.assignmentEpoch < j.epoch
	if !downgrade || !rebalance {
		j.reconcile(m, j.now, j.topics, changed, j.owned(), j.out)
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation = m.id, m.epoch
	resp.ProtocolType, resp.Protocol = optional(consumerProtocolType), m.classic.name()
	if downgrade {
		j.tombstones(j.out)
		if k := j.becomeClassic(j.now, j.topics, j.out); rebalance {
			k.prepareRebalance(j.now, j.out)
		}
	} else {
		m.join, m.sync = time.Time{}, j.now.Add(ofMillis(j.RebalanceTimeoutMillis))
		j.startSession(m, j.now, ofMillis(j.SessionTimeoutMillis))
	}
	j.reply(resp)
}

// metadata is the member's data with what the request says. A classic member cannot subscribe by a regular expression.
func (j *classicJoin) metadata(m *consumerMember) memberData {
	next := m.memberData
	update(&next.instance, j.InstanceID)
	update(&next.rack, notEmpty(j.subscription.Rack))
	next.rebalanceMillis = j.RebalanceTimeoutMillis
	next.names, next.regex = sortedNames(j.subscription.Topics), ""
	next.clientID, next.clientHost = keptID(j.client.ID), j.client.Host
	next.classic = &classicMetadata{sessionMillis: j.SessionTimeoutMillis, protocols: classicProtocols(j.Protocols)}
	return next
}

// owned is what the member says it owns, by ids; a classic member always says it.
func (j *classicJoin) owned() ownedTopics {
	owned := ownedTopics{}
	for _, t := range j.subscription.OwnedPartitions {
		if info, ok := j.topics.Topic(t.Topic); ok {
			owned = append(owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: info.ID, Partitions: t.Partitions})
		}
	}
	return owned
}

// classicMember finds the member that a request of the classic protocol is from (validateConsumerGroupMember and
// throwIfMemberDoesNotUseClassicProtocol, throwIfGenerationIdUnmatched).
func (c *consumerGroup) classicMember(id string, instance *string, generation int32) (*consumerMember, int16) {
	m := c.members[id]
	if instance != nil {
		m = c.static(*instance)
		if r := c.fencedStatic(m, *instance, id); r != nil {
			return nil, r.code
		}
	}
	switch {
	case m == nil || m.classic == nil:
		return nil, kerr.UnknownMemberID.Code
	case m.epoch != generation:
		return nil, kerr.IllegalGeneration.Code
	}
	return m, 0
}

// rejoin gives a classic member its rebalance timeout to join again, and is the code that tells it to.
func (c *consumerGroup) rejoin(m *consumerMember, now time.Time) int16 {
	if m.join.IsZero() {
		m.join = now.Add(ofMillis(m.rebalanceMillis))
		c.timers.touch(m)
	}
	return kerr.RebalanceInProgress.Code
}

func (g *Group) syncAtConsumer(now time.Time, r *kmsg.SyncGroupRequest) (*consumerMember, int16) {
	c := g.consumer
	switch {
	case g.id == "":
		return nil, kerr.InvalidGroupID.Code
	case r.Version >= 5 && (r.ProtocolType == nil || r.Protocol == nil):
		return nil, kerr.InconsistentGroupProtocol.Code
	}
	m, code := c.classicMember(r.MemberID, r.InstanceID, r.Generation)
	switch {
	case code != 0:
		return nil, code
	case inconsistent(r.ProtocolType, optional(consumerProtocolType)) || inconsistent(r.Protocol, m.classic.name()):
		return nil, kerr.InconsistentGroupProtocol.Code
	case c.assignmentEpoch > m.epoch && m.state != stateUnrevoked:
		// A new target. A member that has to give up partitions has joined for it already and gets what it keeps first.
		return nil, c.rejoin(m, now)
	}
	m.sync = time.Time{}
	c.startSession(m, now, ofMillis(m.classic.sessionMillis))
	return m, 0
}

// heartbeatAtConsumer asks a classic member to join again when there is a new target, when it has partitions to give up, or when the
// ones it waits for are free.
func (g *Group) heartbeatAtConsumer(now time.Time, r *kmsg.HeartbeatRequest) int16 {
	if g.id == "" {
		return kerr.InvalidGroupID.Code
	}
	c := g.consumer
	m, code := c.classicMember(r.MemberID, r.InstanceID, r.Generation)
	if code != 0 {
		return code
	}
	c.startSession(m, now, ofMillis(m.classic.sessionMillis))
	if m.epoch < c.assignmentEpoch || m.state == stateUnrevoked || m.state == stateUnreleased && !c.waitsForOthers(m) {
		return c.rejoin(m, now)
	}
	return 0
}

// leaveAtConsumer takes members of either protocol out, also for an administrator, who names a static member by its instance id alone
// (classicGroupLeaveToConsumerGroup).
func (g *Group) leaveAtConsumer(now time.Time, call Call, r *kmsg.LeaveGroupRequest, topics Topics, out *Output) {
	c := g.consumer
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = r.Version
	var gone []*consumerMember
	seen := map[*consumerMember]bool{}
	members := leaving(r)
	for i := range members {
		one := kmsg.NewLeaveGroupResponseMember()
		one.MemberID, one.InstanceID = members[i].MemberID, members[i].InstanceID
		m, code := c.leavingMember(&members[i])
		one.ErrorCode = code
		if code == 0 && !seen[m] {
			seen[m] = true
			gone = append(gone, m)
		}
		resp.Members = append(resp.Members, one)
	}
	if g.id == "" {
		resp.ErrorCode, resp.Members, gone = kerr.InvalidGroupID.Code, nil, nil
	} else if r.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	out.Replies = append(out.Replies, Reply{call, resp})
	c.fence(now, topics, gone, out)
}

func (c *consumerGroup) leavingMember(l *kmsg.LeaveGroupRequestMember) (*consumerMember, int16) {
	if l.InstanceID == nil {
		if m := c.members[l.MemberID]; m != nil {
			return m, 0
		}
		return nil, kerr.UnknownMemberID.Code
	}
	m := c.static(*l.InstanceID)
	if m != nil && l.MemberID == "" {
		return m, 0
	}
	if r := c.fencedStatic(m, *l.InstanceID, l.MemberID); r != nil {
		return nil, r.code
	}
	return m, 0
}
