package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stepConsumerHeartbeat is for any group: of no type, classic (converted when it is empty, else migrated), consumer.
func (g *Group) stepConsumerHeartbeat(now time.Time, call Call, req *kmsg.ConsumerGroupHeartbeatRequest, client Client, topics Topics, out *Output) {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	if r := g.consumerHeartbeat(now, req, client, topics, resp, out); r != nil {
		resp.ErrorCode, resp.ErrorMessage = r.code, &r.message
	}
	out.Replies = append(out.Replies, Reply{call, resp})
}

func (g *Group) consumerHeartbeat(now time.Time, req *kmsg.ConsumerGroupHeartbeatRequest, client Client, topics Topics, resp *kmsg.ConsumerGroupHeartbeatResponse, out *Output) *refusal {
	if r := g.cfg.checkHeartbeat(req); r != nil {
		return r
	}
	if req.MemberEpoch < 0 {
		if g.consumer == nil {
			return g.noConsumerGroup()
		}
		g.consumer.derive()
		return g.consumer.leave(now, req, topics, resp, out)
	}
	c, r := g.consumerFor(req, topics)
	if r != nil {
		return r
	}
	h := heartbeat{consumerGroup: c, now: now, req: req, client: client, topics: topics, out: out}
	if r := h.check(); r != nil {
		return r // a group that was made for this request is not kept
	}
	if g.consumer == nil {
		g.becomeConsumer(now, c, out)
	}
	h.run(resp)
	return nil
}

func (g *Group) noConsumerGroup() *refusal {
	if g.classic != nil {
		return &refusal{kerr.GroupIDNotFound.Code, fmt.Sprintf("Group %s is not a consumer group.", g.id)}
	}
	return &refusal{kerr.GroupIDNotFound.Code, fmt.Sprintf("Group %s not found.", g.id)}
}

func blank(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }

// checkHeartbeat is the checks that do not look at the group (GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid),
// in Kafka's order, and the limit on what one member may make the group remember.
func (cfg *Config) checkHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	invalid := func(message string) *refusal { return &refusal{kerr.InvalidRequest.Code, message} }
	needsID := req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave
	switch {
	case needsID && blank(&req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(&req.Group):
		return invalid("GroupId can't be empty.")
	case blank(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case blank(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == epochJoin && req.RebalanceTimeoutMillis == -1:
		return invalid("The first heartbeat must have RebalanceTimeoutMs.")
	case req.MemberEpoch == epochJoin && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty in a heartbeat that joins.")
	case req.MemberEpoch == epochJoin && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("A heartbeat that joins must have SubscribedTopicNames or SubscribedTopicRegex.")
	case req.MemberEpoch == epochLeaveStatic && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < epochLeaveStatic:
		return invalid("MemberEpoch is invalid.")
	}
	if req.ServerAssignor != nil && !slices.Contains(cfg.assignors(), *req.ServerAssignor) {
		return &refusal{kerr.UnsupportedAssignor.Code, fmt.Sprintf("ServerAssignor %.100s is not supported, only %s.", *req.ServerAssignor, strings.Join(cfg.assignors(), ", "))}
	}
	if len(req.MemberID) > stringMax || len(req.Group) > stringMax {
		return invalid(fmt.Sprintf("Ids have at most %d bytes.", stringMax))
	}
	size := metadataSize(req)
	if cfg.MetadataBytesMax > 0 && size > cfg.MetadataBytesMax {
		return invalid(fmt.Sprintf("The member's metadata has %d bytes, more than %d.", size, cfg.MetadataBytesMax))
	}
	return nil
}

// metadataSize is how much the request wants to be remembered, in bytes; a heartbeat that only says that its member lives has none.
func metadataSize(req *kmsg.ConsumerGroupHeartbeatRequest) int {
	size := 0
	for _, s := range [...]*string{req.InstanceID, req.RackID, req.SubscribedTopicRegex} {
		if s != nil {
			size += len(*s)
		}
	}
	for _, name := range req.SubscribedTopicNames {
		size += len(name)
	}
	return size
}

// consumerFor is the consumer group for a heartbeat; it is not that of g yet when it was made for this request
// (GroupMetadataManager.getOrMaybeCreateConsumerGroup).
func (g *Group) consumerFor(req *kmsg.ConsumerGroupHeartbeatRequest, topics Topics) (*consumerGroup, *refusal) {
	switch {
	case g.consumer != nil:
		g.consumer.derive()
		return g.consumer, nil
	case req.MemberEpoch != epochJoin:
		return nil, g.noConsumerGroup()
	case g.classic != nil && g.classic.state != stateEmpty:
		return g.upgrade(topics)
	}
	return newConsumerGroup(g), nil
}

// becomeConsumer makes c the group. Whoever waits in a classic group is asked to join again; the records of the classic group are
// deleted, and those of the members that c took over are written.
func (g *Group) becomeConsumer(now time.Time, c *consumerGroup, out *Output) {
	old := g.classic
	g.classic, g.consumer = nil, c
	if old == nil {
		return
	}
	old.abandon(kerr.RebalanceInProgress.Code, out)
	old.tombstones(out)
	if old.state != stateEmpty {
		c.takenOver(now, out)
	}
}

// heartbeat is one ConsumerGroupHeartbeat that does not leave.
type heartbeat struct {
	*consumerGroup
	now    time.Time
	req    *kmsg.ConsumerGroupHeartbeatRequest
	client Client
	topics Topics
	out    *Output

	// Set by check.
	member   *consumerMember // nil: a new one
	replaces *consumerMember // the static member whose place it takes
}

// check refuses what must be refused, before anything is changed.
func (h *heartbeat) check() *refusal {
	if r := h.full(h.req.MemberID, metadataSize(h.req)); r != nil {
		return r
	}
	if r := h.findMember(); r != nil {
		return r
	}
	current := h.replaces
	if h.member != nil {
		current = h.member
	}
	if current != nil && current.state == unknownState && !(h.req.Topics != nil && len(h.req.Topics) == 0) {
		return &refusal{kerr.FencedMemberEpoch.Code, "The member is in an unknown state. It must give up all its partitions and join again."}
	}
	if h.req.SubscribedTopicRegex != nil {
		return h.checkRegex(*h.req.SubscribedTopicRegex)
	}
	return nil
}

// findMember sets member and replaces (getOrMaybeSubscribeDynamicConsumerGroupMember and ...Static...).
func (h *heartbeat) findMember() *refusal {
	id, joins := h.req.MemberID, h.req.MemberEpoch == epochJoin
	if h.req.InstanceID == nil {
		h.member = h.members[id]
		if h.member == nil && !joins {
			return h.unknownMember(id)
		}
	} else if existing := h.static(*h.req.InstanceID); !joins {
		if r := h.fencedStatic(existing, *h.req.InstanceID, id); r != nil {
			return r
		}
		h.member = existing
	} else if existing == nil {
		h.member = h.members[id]
	} else {
		if existing.classic == nil && existing.epoch != epochLeaveStatic {
			return &refusal{kerr.UnreleasedInstanceID.Code, fmt.Sprintf("Instance id %s is still in use by member %s.", *h.req.InstanceID, existing.id)}
		}
		h.replaces = existing
	}
	if h.member != nil {
		return h.member.checkEpoch(h.req.MemberEpoch, ownedTopics(h.req.Topics))
	}
	return nil
}

func (c *consumerGroup) unknownMember(id string) *refusal {
	return &refusal{kerr.UnknownMemberID.Code, fmt.Sprintf("Member %s is not a member of group %s.", id, c.g.id)}
}

// fencedStatic refuses who is not the member that an instance id belongs to.
func (c *consumerGroup) fencedStatic(m *consumerMember, instance, id string) *refusal {
	if m == nil {
		return &refusal{kerr.UnknownMemberID.Code, fmt.Sprintf("Instance id %s is unknown.", instance)}
	}
	if m.id != id {
		return &refusal{kerr.FencedInstanceID.Code, fmt.Sprintf("Member %s with instance id %s was fenced by member %s.", id, instance, m.id)}
	}
	return nil
}

// checkEpoch refuses an epoch that is not the member's. 0 joins again. The one before is good if the member owns nothing beyond its
// assignment: the answer that carried the newer one may have been lost.
func (m *consumerMember) checkEpoch(epoch int32, owned ownedTopics) *refusal {
	switch {
	case epoch == epochJoin || epoch == m.epoch:
		return nil
	case epoch < m.epoch && epoch == m.previous && owned.within(m.owned):
		return nil
	}
	return &refusal{kerr.FencedMemberEpoch.Code, fmt.Sprintf("The member's epoch is %d, not %d. It must give up all its partitions and join again.", m.epoch, epoch)}
}

// run is the heartbeat once nothing can refuse it any more: subscription, group epoch, target, assignment, in this order
// (GroupMetadataManager.consumerGroupHeartbeat).
func (h *heartbeat) run(resp *kmsg.ConsumerGroupHeartbeatResponse) {
	m := h.member
	switch {
	case h.replaces != nil:
		m = h.replace(h.replaces, h.memberID(), h.out)
	case m == nil:
		m = &consumerMember{id: h.memberID(), memberData: memberData{rebalanceMillis: -1}}
	}
	before := m.owned
	changed := h.subscribe(m)
	h.refresh(h.now, h.topics, changed, h.out)
	h.retarget(h.now, h.topics, h.out)
	h.reconcile(m, h.now, h.topics, changed, ownedTopics(h.req.Topics), h.out)
	h.startSession(m, h.now, h.g.cfg.ConsumerSessionTimeout)

	resp.MemberID, resp.MemberEpoch = &m.id, m.epoch
	resp.HeartbeatIntervalMillis = int32(h.g.cfg.ConsumerHeartbeatInterval.Milliseconds())
	full := h.req.RebalanceTimeoutMillis != -1 && (h.req.SubscribedTopicNames != nil || h.req.SubscribedTopicRegex != nil) && h.req.Topics != nil
	if h.req.MemberEpoch == epochJoin || full || !before.equal(m.owned) {
		resp.Assignment = m.owned.answer()
	}
}

// memberID is the id the member has or gets; version 0 lets the group choose.
func (h *heartbeat) memberID() string {
	if h.req.MemberID != "" {
		return strings.Clone(h.req.MemberID)
	}
	return h.g.newUUID()
}

// answer is an assignment as the heartbeat's answer has it.
func (a assignment) answer() *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	out := &kmsg.ConsumerGroupHeartbeatResponseAssignment{Topics: make([]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic, 0, len(a))}
	for _, t := range a {
		out.Topics = append(out.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: t.id, Partitions: t.parts})
	}
	return out
}

// subscribe brings the member's metadata up to date with the request, where a null means "as before". It says whether the member
// subscribes to something else now.
func (h *heartbeat) subscribe(m *consumerMember) bool {
	next := m.memberData
	next.classic = nil
	next.clientID, next.clientHost = keptID(h.client.ID), h.client.Host
	update(&next.instance, h.req.InstanceID)
	update(&next.rack, h.req.RackID)
	update(&next.assignor, h.req.ServerAssignor)
	if h.req.RebalanceTimeoutMillis != -1 {
		next.rebalanceMillis = h.req.RebalanceTimeoutMillis
	}
	if h.req.SubscribedTopicNames != nil && !slices.Equal(h.req.SubscribedTopicNames, m.names) {
		next.names = sortedNames(h.req.SubscribedTopicNames)
	}
	if r := h.req.SubscribedTopicRegex; r != nil && *r != m.regex {
		next.regex = strings.Clone(*r)
	}
	return h.setMetadata(m, next, h.out)
}

// update keeps the old string when nothing new is said.
func update(s **string, to *string) {
	if to != nil && !sameString(*s, to) {
		copied := strings.Clone(*to)
		*s = &copied
	}
}

func sortedNames(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strings.Clone(name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// setMetadata puts a member with new metadata and writes it. It says whether the member subscribes to something else now.
func (c *consumerGroup) setMetadata(m *consumerMember, next memberData, out *Output) (subscriptionChanged bool) {
	isNew := c.members[m.id] != m
	if !isNew && m.sameMetadata(&next) {
		return false
	}
	subscriptionChanged = !slices.Equal(next.names, m.names) || next.regex != m.regex
	regexLeft := next.regex != m.regex && m.regex != ""
	if (m.classic == nil) != (next.classic == nil) {
		m.rebalance, m.join, m.sync = time.Time{}, time.Time{}, time.Time{} // the clocks of the other protocol
	}
	c.put(m, next)
	c.record(out, keyMemberMetadata, m.id, encodeMemberMetadata(&next))
	if regexLeft {
		c.dropRegexes(out)
	}
	return subscriptionChanged
}

// replace puts a new member in the place of a static one, with its subscription, target and assignment
// (GroupMetadataManager.replaceMember). Its epoch is 0: it has to be told everything.
func (c *consumerGroup) replace(old *consumerMember, id string, out *Output) *consumerMember {
	target := c.target[old.id]
	data := old.memberData
	data.epoch, data.previous = 0, 0
	c.tombstoneMember(old.id, out)
	other := c.members[id] // a member that the id was taken from; its records are written over
	c.remove(old)
	m := &consumerMember{id: id}
	c.put(m, data)
	c.target[id] = target
	if other != nil && other != old {
		c.dropRegexes(out)
	}
	c.record(out, keyMemberMetadata, id, encodeMemberMetadata(&data))
	c.record(out, keyTargetMember, id, encodeTargetMember(target))
	c.record(out, keyCurrentAssignment, id, encodeCurrentAssignment(&data))
	return m
}

func (c *consumerGroup) tombstoneMember(id string, out *Output) {
	for _, kind := range [...]int16{keyCurrentAssignment, keyTargetMember, keyMemberMetadata} {
		c.tombstone(out, kind, id)
	}
}
