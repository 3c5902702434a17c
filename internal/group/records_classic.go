package group

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	classicKeyVersion    = 2
	classicValueVersion  = 3 // the one Kafka 4.3 writes
	classicValueFlexible = 4
	classicValueNewest   = 4
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
	v, err := decodeClassicValue(r.Value)
	if err != nil {
		return fmt.Errorf("%w: metadata of group %q: %w", ErrRecord, g.id, err)
	}
	c := newClassicGroup(g)
	c.changed, c.generation, c.protocolType = v.CurrentStateTimestamp, v.Generation, v.ProtocolType
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

// decodeClassicValue reads versions 0 to 4 of GroupMetadataValue. It is not kmsg's: that believes a count of members and of tags
// before it has seen one.
func decodeClassicValue(b []byte) (kmsg.GroupMetadataValue, error) {
	r := classicReader{Reader: kbin.Reader{Src: b}}
	v := kmsg.NewGroupMetadataValue()
	v.Version = r.Int16()
	if v.Version < 0 || v.Version > classicValueNewest {
		return v, fmt.Errorf("version %d", v.Version)
	}
	r.flexible = v.Version >= classicValueFlexible
	v.ProtocolType, v.Generation = r.text(), r.Int32()
	v.Protocol, v.Leader = r.optional(), r.optional()
	v.CurrentStateTimestamp = -1
	if v.Version >= 2 {
		v.CurrentStateTimestamp = r.Int64()
	}
	members := int32(0)
	if r.flexible {
		members = r.CompactArrayLen()
	} else {
		members = r.ArrayLen()
	}
	for ; members > 0 && r.Ok(); members-- {
		v.Members = append(v.Members, r.member(v.Version))
	}
	r.skipTags()
	return v, r.Complete()
}

type classicReader struct {
	kbin.Reader
	flexible bool
}

func (r *classicReader) member(version int16) kmsg.GroupMetadataValueMember {
	m := kmsg.NewGroupMetadataValueMember()
	m.MemberID = r.text()
	if version >= 3 {
		m.InstanceID = r.optional()
	}
	m.ClientID, m.ClientHost = r.text(), r.text()
	if version >= 1 {
		m.RebalanceTimeoutMillis = r.Int32()
	}
	m.SessionTimeoutMillis = r.Int32()
	m.Subscription, m.Assignment = r.bytes(), r.bytes()
	r.skipTags()
	return m
}

func (r *classicReader) text() string {
	if r.flexible {
		return r.CompactString()
	}
	return r.String()
}

func (r *classicReader) optional() *string {
	if r.flexible {
		return r.CompactNullableString()
	}
	return r.NullableString()
}

func (r *classicReader) bytes() []byte {
	if r.flexible {
		return r.CompactBytes()
	}
	return r.Bytes()
}

func (r *classicReader) skipTags() {
	if !r.flexible {
		return
	}
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		r.Uvarint()
		r.Span(int(r.Uvarint()))
	}
}
