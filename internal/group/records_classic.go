package group

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	classicKeyVersion   = 2
	classicValueVersion = 3 // the last that is not flexible: the one Kafka 4.3 writes
	classicValueNewest  = 4
)

func (c *classicGroup) key() []byte {
	k := kmsg.GroupMetadataKey{Version: classicKeyVersion, Group: c.g.id}
	return k.AppendTo(nil)
}

// record adds what the group is now: a generation with its assignment, or that it is empty (GroupCoordinatorRecordHelpers
// .newGroupMetadataRecord).
func (c *classicGroup) record(out *Output) {
	v := kmsg.NewGroupMetadataValue()
	v.Version = classicValueVersion
	v.ProtocolType, v.Protocol, v.Generation = c.protocolType, c.protocol, c.generation
	v.CurrentStateTimestamp = c.changed
	if c.leader != nil {
		v.Leader = &c.leader.id
	}
	c.all(func(m *classicMember) {
		one := kmsg.NewGroupMetadataValueMember()
		one.MemberID, one.InstanceID = m.id, m.instance
		one.ClientID, one.ClientHost = m.client.ID, m.client.Host
		one.RebalanceTimeoutMillis = int32(m.rebalance.Milliseconds())
		one.SessionTimeoutMillis = int32(m.session.Milliseconds())
		one.Subscription, one.Assignment = m.metadata(c.protocol), m.assignment
		v.Members = append(v.Members, one)
	})
	out.Records = append(out.Records, Record{c.key(), v.AppendTo(nil)})
}

func (c *classicGroup) tombstones(out *Output) {
	out.Records = append(out.Records, Record{Key: c.key()})
}

// replayClassic folds a GroupMetadata record: each one is the whole group. One that contradicts itself is refused and changes nothing.
func (g *Group) replayClassic(r Record) error {
	if r.Value == nil {
		g.classic = nil
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("%w: metadata of group %q: %v", ErrRecord, g.id, err)
	}
	if v.Version < 0 || v.Version > classicValueNewest {
		return fmt.Errorf("%w: metadata of group %q of version %d", ErrRecord, g.id, v.Version)
	}
	c := newClassicGroup(g)
	c.changed, c.generation, c.protocolType = v.CurrentStateTimestamp, v.Generation, v.ProtocolType
	if v.Version < 2 {
		c.changed = -1
	}
	c.protocol = v.Protocol
	for i := range v.Members {
		if err := c.replayMember(&v, &v.Members[i]); err != nil {
			return err
		}
	}
	if len(c.members) > 0 {
		c.state = stateStable
		if v.Leader != nil && c.members[*v.Leader] != nil {
			c.leader = c.members[*v.Leader]
		}
	}
	c.readSubscription()
	g.classic = c
	return nil
}

func (c *classicGroup) replayMember(v *kmsg.GroupMetadataValue, one *kmsg.GroupMetadataValueMember) error {
	switch {
	case c.protocolType == "" || v.Protocol == nil:
		return fmt.Errorf("%w: group %q has members and no protocol", ErrRecord, c.g.id)
	case c.members[one.MemberID] != nil:
		return fmt.Errorf("%w: group %q has member %q twice", ErrRecord, c.g.id, one.MemberID)
	case one.InstanceID != nil && c.static[*one.InstanceID] != nil:
		return fmt.Errorf("%w: group %q has instance %q twice", ErrRecord, c.g.id, *one.InstanceID)
	}
	m := newClassicMember(one.MemberID, one.InstanceID, Client{ID: one.ClientID, Host: one.ClientHost})
	m.session, m.rebalance = ofMillis(one.SessionTimeoutMillis), ofMillis(one.RebalanceTimeoutMillis)
	if one.RebalanceTimeoutMillis == -1 {
		m.rebalance = m.session
	}
	m.protocols = []kmsg.JoinGroupRequestProtocol{{Name: *c.protocol, Metadata: bytes.Clone(one.Subscription)}}
	m.assignment = bytes.Clone(one.Assignment)
	c.add(m, c.protocolType)
	return nil
}
