package group

import (
	"maps"
	"slices"
	"time"
)

// replayConsumer folds one record of the consumer protocol. Every record is taken for itself, in any order: a member is there when one
// of its records is, and gone when neither is. What follows from all records together is derived afterwards.
func (g *Group) replayConsumer(kind int16, r Record) error {
	second, err := splitConsumerKey(kind, r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		g.replayTombstone(kind, second)
		return nil
	}
	c := g.consumer
	if c == nil {
		c = newConsumerGroup(g)
	}
	if err := c.replay(kind, second, r.Value); err != nil {
		return err
	}
	// The tombstone of a classic group that was converted comes before these; one without a record of its own just gives way.
	g.classic, g.consumer, c.underived = nil, c, true
	return nil
}

func (c *consumerGroup) replay(kind int16, second string, value []byte) (err error) {
	switch kind {
	case keyGroupMetadata:
		epoch, hash, err := decodeEpochAndMillis(kind, value)
		if err != nil {
			return err
		}
		c.epoch, c.hash = epoch, hash
	case keyTargetMetadata:
		epoch, at, err := decodeEpochAndMillis(kind, value)
		if err != nil {
			return err
		}
		c.assignmentEpoch, c.assignmentMillis = epoch, at
	case keyPartitionMetadata:
		c.oldPartitionMetadata = true
	case keyTargetMember:
		target, err := decodeTargetMember(value)
		if err != nil {
			return err
		}
		c.target[second] = target
	case keyMemberMetadata, keyCurrentAssignment:
		return c.replayMember(kind, second, value)
	case keyRegularExpression:
		topics, version, at, err := decodeRegex(value)
		if err != nil {
			return err
		}
		c.regexes[second] = &regexSubscription{resolved: true, topics: topics, version: version, millis: at}
	}
	return nil
}

func (c *consumerGroup) replayMember(kind int16, id string, value []byte) error {
	m := c.members[id]
	if m == nil {
		m = &consumerMember{id: id, memberData: memberData{rebalanceMillis: -1}}
	}
	data := m.memberData
	if kind == keyMemberMetadata {
		if err := decodeMemberMetadata(value, &data); err != nil {
			return err
		}
		m.hasMetadata = true
	} else {
		if err := decodeCurrentAssignment(value, &data); err != nil {
			return err
		}
		m.hasAssignment = true
	}
	m.memberData = data
	c.members[id] = m
	return nil
}

func (g *Group) replayTombstone(kind int16, second string) {
	c := g.consumer
	if c == nil {
		return
	}
	c.underived = true
	switch m := c.members[second]; kind {
	case keyGroupMetadata:
		// Kafka deletes a group with this record last. Records that seem to be left are those of a group that was made again and
		// whose records a compaction has put before this one: they stay.
		if len(c.members) == 0 {
			g.consumer = nil
		} else {
			c.epoch, c.hash = firstGroupEpoch, 0
		}
	case keyTargetMetadata:
		c.assignmentEpoch, c.assignmentMillis = -1, 0
	case keyPartitionMetadata:
		c.oldPartitionMetadata = false
	case keyTargetMember:
		delete(c.target, second)
	case keyRegularExpression:
		delete(c.regexes, second)
	case keyMemberMetadata, keyCurrentAssignment:
		if m == nil {
			return
		}
		if kind == keyMemberMetadata {
			m.hasMetadata = false
		} else {
			m.hasAssignment = false
			m.epoch, m.previous, m.state, m.owned, m.revoking = epochLeave, epochLeave, stateReconciled, nil, nil
		}
		if !m.hasMetadata && !m.hasAssignment {
			delete(c.members, second)
		}
	}
}

// loadedConsumer starts the sessions of all members, and the time to give up partitions of those that have to (onLoaded).
func (g *Group) loadedConsumer(now time.Time, _ Topics) {
	c := g.consumer
	c.derive()
	for _, id := range c.memberIDs() {
		m := c.members[id]
		if m.state == stateUnrevoked && m.classic == nil {
			m.rebalance, m.rebalanceEpoch = now.Add(ofMillis(m.rebalanceMillis)), m.epoch
		}
		c.startSession(m, now, g.cfg.ConsumerSessionTimeout)
	}
}

// memberIDs is the members in a fixed order.
func (c *consumerGroup) memberIDs() []string { return slices.Sorted(maps.Keys(c.members)) }

// tombstones deletes everything the group has in the log (ConsumerGroup.createGroupTombstoneRecords).
func (c *consumerGroup) tombstones(out *Output) {
	c.derive()
	ids := c.memberIDs()
	for _, id := range ids {
		c.tombstone(out, keyCurrentAssignment, id)
	}
	for _, id := range ids {
		c.tombstone(out, keyTargetMember, id)
	}
	c.tombstone(out, keyTargetMetadata, "")
	for _, id := range ids {
		c.tombstone(out, keyMemberMetadata, id)
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.regexes)) {
		c.tombstone(out, keyRegularExpression, pattern)
	}
	c.tombstone(out, keyPartitionMetadata, "")
	c.tombstone(out, keyGroupMetadata, "")
}
