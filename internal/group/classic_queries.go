package group

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitAllowed is ClassicGroup.validateOffsetCommit, and the heartbeat that goes with a commit (OffsetMetadataManager.commitOffset).
func (c *classicGroup) commitAllowed(q CommitCheck, now time.Time) int16 {
	if q.Epoch < 0 && c.state == stateEmpty {
		return 0 // from outside of group management
	}
	if q.Epoch >= 0 || q.Member != "" || q.Instance != nil {
		if code := c.validate(q.Member, q.Instance); code != 0 {
			return code
		}
		if q.Epoch != c.generation {
			return kerr.IllegalGeneration.Code
		}
	} else if !q.Txn && c.state != stateEmpty {
		return kerr.UnknownMemberID.Code
	}
	if !q.Txn && c.state == stateCompleting {
		// It has the newest generation, but only who has synced may consume.
		return kerr.RebalanceInProgress.Code
	}
	if m := c.members[q.Member]; m != nil && !q.Txn && (c.state == stateStable || c.state == statePreparing) {
		c.expect(now, m, m.session)
	}
	return 0
}

func (c *classicGroup) deleteAllowed() int16 {
	if c.state != stateEmpty {
		return kerr.NonEmptyGroup.Code
	}
	return 0
}

func (c *classicGroup) offsetDeleteAllowed(topic string) int16 {
	if c.state != stateEmpty && !c.usesConsumerProtocol() {
		return kerr.NonEmptyGroup.Code
	}
	if c.subscribed(topic) {
		return kerr.GroupSubscribedToTopic.Code
	}
	return 0
}

// subscribed is true of all topics for a group of consumers whose subscriptions cannot be read.
func (c *classicGroup) subscribed(topic string) bool {
	if c.subscription == nil {
		return c.usesConsumerProtocol()
	}
	return c.subscription[topic]
}

func (c *classicGroup) emptySince() (time.Time, bool) {
	if c.state != stateEmpty || c.changed < 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(c.changed), true
}

// offsetsExpireFrom is ClassicGroup.offsetExpirationCondition.
func (c *classicGroup) offsetsExpireFrom(committed time.Time) (time.Time, bool) {
	switch {
	case c.protocolType == "":
		return committed, true
	case c.state == stateEmpty:
		if since, known := c.emptySince(); known {
			return since, true
		}
		return committed, true
	case c.usesConsumerProtocol() && c.subscription != nil && c.state == stateStable:
		return committed, true
	}
	return time.Time{}, false
}

func (c *classicGroup) describe() kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.State, d.ProtocolType = c.g.id, c.state.String(), c.protocolType
	if c.state == stateStable {
		d.Protocol = *c.protocol
	}
	c.all(func(m *classicMember) {
		one := kmsg.NewDescribeGroupsResponseGroupMember()
		one.MemberID, one.InstanceID = m.id, m.instance
		one.ClientID, one.ClientHost = m.client.ID, m.client.Host
		one.MemberAssignment = m.assignment
		if c.state == stateStable {
			one.ProtocolMetadata = m.metadata(c.protocol)
		}
		d.Members = append(d.Members, one)
	})
	return d
}

// readSubscription finds out what this generation consumes (ClassicGroup.computeSubscribedTopics). Topics stay unknown, which is
// nil, for other protocol types and when the metadata of one member is not what consumers send.
func (c *classicGroup) readSubscription() {
	c.subscription = nil
	if !c.usesConsumerProtocol() || len(c.members) > 0 && c.protocol == nil {
		return
	}
	topics, readable := map[string]bool{}, true
	c.all(func(m *classicMember) {
		readable = readable && subscriptionTopics(m.metadata(c.protocol), topics)
	})
	if readable {
		c.subscription = topics
	}
}

// subscriptionTopics adds the topics of a consumer protocol subscription. Every version begins as version 0: version, topics, user
// data; what follows is left alone.
func subscriptionTopics(b []byte, topics map[string]bool) bool {
	if len(b) < 6 {
		return false
	}
	n := int(int32(binary.BigEndian.Uint32(b[2:])))
	b = b[6:]
	if n < 0 || n > len(b)/2 {
		return false
	}
	for range n {
		if len(b) < 2 {
			return false
		}
		size := int(int16(binary.BigEndian.Uint16(b)))
		if size < 0 || size > len(b)-2 {
			return false
		}
		topics[string(b[2:2+size])] = true
		b = b[2+size:]
	}
	if len(b) < 4 {
		return false
	}
	size := int(int32(binary.BigEndian.Uint32(b)))
	return size <= len(b)-4
}
