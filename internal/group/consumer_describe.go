package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The member types of ConsumerGroupDescribe.
const (
	memberTypeClassic  int8 = 0
	memberTypeConsumer int8 = 1
)

// stateName is the group's state in Kafka's words (ConsumerGroup.ConsumerGroupState).
func (c *consumerGroup) stateName() string {
	c.derive()
	switch {
	case len(c.members) == 0:
		return "Empty"
	case c.epoch > c.assignmentEpoch:
		return "Assigning"
	}
	for _, m := range c.members {
		if !m.reconciledTo(c.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// describe answers ConsumerGroupDescribe (ConsumerGroup.asDescribedGroup).
func (c *consumerGroup) describe(topics Topics) kmsg.ConsumerGroupDescribeResponseGroup {
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.State = c.g.id, c.stateName()
	d.Epoch, d.AssignmentEpoch, d.AssignorName = c.epoch, c.assignmentEpoch, c.assignorName()
	for _, id := range c.memberIDs() {
		m := c.members[id]
		one := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		one.MemberID, one.InstanceID, one.RackID = m.id, m.instance, m.rack
		one.MemberEpoch, one.ClientID, one.ClientHost = m.epoch, m.clientID, m.clientHost
		regex := m.regex // the answer outlives the lock that the group is under
		one.SubscribedTopics, one.SubscribedTopicRegex = m.names, &regex
		// Until it has given them up a member answers for the partitions it must give up.
		one.Assignment = m.owned.union(m.revoking).describe(topics)
		one.TargetAssignment = c.target[id].describe(topics)
		one.MemberType = memberTypeConsumer
		if m.classic != nil {
			one.MemberType = memberTypeClassic
		}
		d.Members = append(d.Members, one)
	}
	return d
}

// describe lets out topics that are gone.
func (a assignment) describe(topics Topics) kmsg.Assignment {
	var out kmsg.Assignment
	for _, t := range a {
		if info, ok := topics.TopicByID(t.id); ok {
			out.TopicPartitions = append(out.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: t.id, Topic: info.Name, Partitions: t.parts})
		}
	}
	return out
}
