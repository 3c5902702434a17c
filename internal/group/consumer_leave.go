package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leave handles the epochs that leave: -1 for good, -2 for a static member that will be back (GroupMetadataManager.consumerGroupLeave).
func (c *consumerGroup) leave(now time.Time, req *kmsg.ConsumerGroupHeartbeatRequest, topics Topics, resp *kmsg.ConsumerGroupHeartbeatResponse, out *Output) *refusal {
	var m *consumerMember
	if req.InstanceID == nil {
		if m = c.members[req.MemberID]; m == nil {
			return c.unknownMember(req.MemberID)
		}
	} else {
		m = c.static(*req.InstanceID)
		if r := c.fencedStatic(m, *req.InstanceID, req.MemberID); r != nil {
			return r
		}
	}
	resp.MemberID, resp.MemberEpoch = &m.id, req.MemberEpoch
	if req.InstanceID != nil && req.MemberEpoch == epochLeaveStatic {
		c.leaveForNow(m, out)
		return nil
	}
	c.fence(now, topics, []*consumerMember{m}, out)
	return nil
}

// leaveForNow keeps a static member, its assignment and its session, and lets another take its place. The epochs of its partitions
// start over, so that commits of who was there before are refused once it is back.
func (c *consumerGroup) leaveForNow(m *consumerMember, out *Output) {
	data := m.memberData
	data.epoch, data.revoking = epochLeaveStatic, nil
	data.owned = data.owned.withEpoch(0)
	c.put(m, data)
	c.record(out, keyCurrentAssignment, m.id, encodeCurrentAssignment(&data))
}

// fence takes members out of the group, all in one group epoch. Their partitions are free at once; what the others get of them is
// decided with the next heartbeat. If only members of the classic protocol remain the group may become a classic one
// (GroupMetadataManager.consumerGroupFenceMembers).
func (c *consumerGroup) fence(now time.Time, topics Topics, members []*consumerMember, out *Output) {
	if len(members) == 0 || c.downgradeWithout(now, topics, members, out) {
		return
	}
	for _, m := range members {
		c.tombstoneMember(m.id, out)
		c.remove(m)
	}
	c.dropRegexes(out)
	c.bump(c.topicsHash(topics), out)
}

// tickConsumer fences members whose session is over, that did not give up partitions in time, or that (classic members) did not join or
// sync in time.
func (g *Group) tickConsumer(now time.Time, topics Topics, out *Output) {
	c := g.consumer
	c.derive()
	var gone []*consumerMember
	for m := c.timers.due(now); m != nil; m = c.timers.due(now) {
		if !m.rebalance.IsZero() && !m.rebalance.After(now) && m.epoch != m.rebalanceEpoch {
			m.rebalance = time.Time{} // it has left the epoch that the clock was for
		}
		if at := m.earliest(); at.IsZero() || at.After(now) {
			c.timers.touch(m)
			continue
		}
		gone = append(gone, m)
	}
	c.fence(now, topics, gone, out)
}

// takenOver writes all records of a group that was made of a classic one, and starts sessions (ConsumerGroup.createConsumerGroupRecords).
// There may be no members, when the classic group had only given out ids: its generation is taken over all the same.
func (c *consumerGroup) takenOver(now time.Time, out *Output) {
	ids := c.memberIDs()
	for _, id := range ids {
		c.record(out, keyMemberMetadata, id, encodeMemberMetadata(&c.members[id].memberData))
	}
	c.record(out, keyGroupMetadata, "", encodeGroupMetadata(c.epoch, c.hash))
	for _, id := range ids {
		c.record(out, keyTargetMember, id, encodeTargetMember(c.target[id]))
	}
	c.record(out, keyTargetMetadata, "", encodeTargetMetadata(c.assignmentEpoch, c.assignmentMillis))
	for _, id := range ids {
		m := c.members[id]
		c.record(out, keyCurrentAssignment, id, encodeCurrentAssignment(&m.memberData))
		c.startSession(m, now, ofMillis(m.classic.sessionMillis))
	}
}

// commitAllowedConsumer is ConsumerGroup.validateOffsetCommit. An epoch older than the member's is good for now: whether it is not
// older than a partition's is asked for each partition, by CommitPartitionAllowed.
func (g *Group) commitAllowedConsumer(q CommitCheck, _ time.Time) int16 {
	c := g.consumer
	c.derive()
	if q.Epoch < 0 && len(c.members) == 0 {
		return 0
	}
	if q.Txn && q.Epoch == -1 && q.Member == "" && q.Instance == nil {
		return 0
	}
	m := c.members[q.Member]
	switch {
	case m == nil:
		return kerr.UnknownMemberID.Code
	case !q.Txn && m.classic == nil && q.Version < 9:
		return kerr.UnsupportedVersion.Code
	case q.Epoch > m.epoch:
		return m.staleCode(q.Txn)
	}
	return 0
}

// CommitsByPartition says whether CommitPartitionAllowed may refuse a partition; false: it allows all of them.
func (g *Group) CommitsByPartition() bool { return g.consumer != nil }

// CommitPartitionAllowed is the error code for one partition of an offset commit that CommitAllowed let pass, 0 when it may go ahead.
// One that is refused refuses the whole commit, as in OffsetMetadataManager.commitOffset.
// A member of a consumer group may commit with an older epoch than its own, as long as the partition was given to it at that epoch or
// before, and is still its own (KIP-1251).
func (g *Group) CommitPartitionAllowed(q CommitCheck, topic [16]byte, partition int32) int16 {
	if g.consumer == nil {
		return 0
	}
	c := g.consumer
	c.derive()
	m := c.members[q.Member]
	if m == nil || q.Epoch >= m.epoch || q.Txn && q.Epoch == -1 && q.Member == "" && q.Instance == nil {
		return 0
	}
	given, ok := m.owned.epochOf(topic, partition)
	if !ok {
		given, ok = m.revoking.epochOf(topic, partition)
	}
	if !ok || q.Epoch < given {
		return m.staleCode(q.Txn)
	}
	return 0
}

// staleCode is what a member is told whose epoch is wrong, in the words of its protocol; transactions know only generations.
func (m *consumerMember) staleCode(txn bool) int16 {
	if m.classic != nil || txn {
		return kerr.IllegalGeneration.Code
	}
	return kerr.StaleMemberEpoch.Code
}

// fetchAllowed is ConsumerGroup.validateOffsetFetch.
func (c *consumerGroup) fetchAllowed(member string, epoch int32) int16 {
	if member == "" && epoch < 0 {
		return 0
	}
	m := c.members[member]
	switch {
	case m == nil:
		return kerr.UnknownMemberID.Code
	case m.epoch != epoch:
		return m.staleCode(false)
	}
	return 0
}

func (c *consumerGroup) deleteAllowed() int16 {
	if len(c.members) > 0 {
		return kerr.NonEmptyGroup.Code
	}
	return 0
}
