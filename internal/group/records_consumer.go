package group

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// The keys of the records of consumer groups (Kafka's CoordinatorRecordType). A key is its type and strings with a two-byte length:
// the group, and the member or the regular expression where there is one for each. A value is a two-byte version and a message with
// tagged fields. Only version 0 exists of each value.
const (
	keyGroupMetadata     = 3  // ConsumerGroupMetadata
	keyPartitionMetadata = 4  // ConsumerGroupPartitionMetadata: up to Kafka 4.0; later only its tombstone
	keyMemberMetadata    = 5  // ConsumerGroupMemberMetadata
	keyTargetMetadata    = 6  // ConsumerGroupTargetAssignmentMetadata
	keyTargetMember      = 7  // ConsumerGroupTargetAssignmentMember
	keyCurrentAssignment = 8  // ConsumerGroupCurrentMemberAssignment
	keyRegularExpression = 16 // ConsumerGroupRegularExpression
	consumerValueVersion = 0
	tagMetadataHash      = 0 // of ConsumerGroupMetadata
	tagClassicMetadata   = 0 // of ConsumerGroupMemberMetadata
	tagAssignmentMillis  = 0 // of ConsumerGroupTargetAssignmentMetadata
	tagAssignmentEpochs  = 0 // of TopicPartitions in ConsumerGroupCurrentMemberAssignment
	unknownState         = memberState(127)
)

func consumerKey(kind int16, parts ...string) []byte {
	key := kbin.AppendInt16(nil, kind)
	for _, p := range parts {
		key = kbin.AppendString(key, p)
	}
	return key
}

// splitConsumerKey is the second string of a key that has two; the first was checked by recordKey.
func splitConsumerKey(kind int16, key []byte) (second string, err error) {
	b := kbin.Reader{Src: key[2:]}
	_ = b.String()
	switch kind {
	case keyMemberMetadata, keyTargetMember, keyCurrentAssignment, keyRegularExpression:
		second = b.String()
	}
	if err := b.Complete(); err != nil {
		return "", fmt.Errorf("%w: a key of type %d: %w", ErrRecord, kind, err)
	}
	if len(b.Src) > 0 {
		return "", fmt.Errorf("%w: a key of type %d has %d bytes too many", ErrRecord, kind, len(b.Src))
	}
	return second, nil
}

func valueStart() []byte { return kbin.AppendInt16(make([]byte, 0, 64), consumerValueVersion) }

// appendTag writes the only tagged field of a message.
func appendTag(dst []byte, tag uint32, value []byte) []byte {
	dst = kbin.AppendUvarint(dst, 1)
	dst = kbin.AppendUvarint(dst, tag)
	dst = kbin.AppendUvarint(dst, uint32(len(value)))
	return append(dst, value...)
}

func noTags(dst []byte) []byte { return kbin.AppendUvarint(dst, 0) }

func encodeGroupMetadata(epoch int32, hash int64) []byte {
	b := kbin.AppendInt32(valueStart(), epoch)
	if hash == 0 {
		return noTags(b)
	}
	return appendTag(b, tagMetadataHash, kbin.AppendInt64(nil, hash))
}

func encodeTargetMetadata(epoch int32, millis int64) []byte {
	b := kbin.AppendInt32(valueStart(), epoch)
	if millis == 0 {
		return noTags(b)
	}
	return appendTag(b, tagAssignmentMillis, kbin.AppendInt64(nil, millis))
}

func encodeMemberMetadata(m *memberData) []byte {
	b := kbin.AppendCompactNullableString(valueStart(), m.instance)
	b = kbin.AppendCompactNullableString(b, m.rack)
	b = kbin.AppendCompactString(b, m.clientID)
	b = kbin.AppendCompactString(b, m.clientHost)
	b = kbin.AppendCompactArrayLen(b, len(m.names))
	for _, name := range m.names {
		b = kbin.AppendCompactString(b, name)
	}
	b = kbin.AppendCompactString(b, m.regex)
	b = kbin.AppendInt32(b, m.rebalanceMillis)
	b = kbin.AppendCompactNullableString(b, m.assignor)
	// The default of this field is an empty struct, not null, so a null is written too, as a marker.
	if m.classic == nil {
		return appendTag(b, tagClassicMetadata, []byte{0})
	}
	c := kbin.AppendInt32([]byte{1}, m.classic.sessionMillis)
	c = kbin.AppendCompactArrayLen(c, len(m.classic.protocols))
	for _, p := range m.classic.protocols {
		c = kbin.AppendCompactString(c, p.name)
		c = noTags(kbin.AppendCompactBytes(c, p.metadata))
	}
	return appendTag(b, tagClassicMetadata, noTags(c))
}

func appendPartitions(dst []byte, parts []int32) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(parts))
	for _, p := range parts {
		dst = kbin.AppendInt32(dst, p)
	}
	return dst
}

func encodeTargetMember(target assignment) []byte {
	b := kbin.AppendCompactArrayLen(valueStart(), len(target))
	for _, t := range target {
		b = kbin.AppendUuid(b, t.id)
		b = noTags(appendPartitions(b, t.parts))
	}
	return noTags(b)
}

func encodeCurrentAssignment(m *memberData) []byte {
	b := kbin.AppendInt32(valueStart(), m.epoch)
	b = kbin.AppendInt32(b, m.previous)
	b = kbin.AppendInt8(b, int8(m.state))
	for _, a := range []assignment{m.owned, m.revoking} {
		b = kbin.AppendCompactArrayLen(b, len(a))
		for _, t := range a {
			b = kbin.AppendUuid(b, t.id)
			b = appendPartitions(b, t.parts)
			b = appendTag(b, tagAssignmentEpochs, appendPartitions(nil, t.epochs))
		}
	}
	return noTags(b)
}

func encodeRegex(topics []string, version, millis int64) []byte {
	b := kbin.AppendCompactArrayLen(valueStart(), len(topics))
	for _, t := range topics {
		b = kbin.AppendCompactString(b, t)
	}
	b = kbin.AppendInt64(b, version)
	return noTags(kbin.AppendInt64(b, millis))
}

// valueReader reads one value. kbin refuses what is longer than the bytes that are left, so nothing is allocated that the record
// does not pay for.
type valueReader struct{ kbin.Reader }

// openValue checks the version of a value. A later version than is known cannot be read: Kafka changes the layout with it.
func openValue(kind int16, value []byte) (*valueReader, error) {
	if len(value) < 2 {
		return nil, fmt.Errorf("%w: a value of %d bytes under a key of type %d", ErrRecord, len(value), kind)
	}
	if v := int16(binary.BigEndian.Uint16(value)); v != consumerValueVersion {
		return nil, fmt.Errorf("%w: version %d of a value of type %d, only 0 is known", ErrRecord, v, kind)
	}
	return &valueReader{kbin.Reader{Src: value[2:]}}, nil
}

// tags reads the tagged fields; known gets the one with number tag, the others are passed over as tags are meant to be.
func (b *valueReader) tags(tag uint32, known func(*valueReader)) {
	for n := b.Uvarint(); n > 0 && b.Ok(); n-- {
		t, size := b.Uvarint(), b.Uvarint()
		field := valueReader{kbin.Reader{Src: b.Span(int(size))}}
		if t != tag || known == nil || !b.Ok() {
			continue
		}
		known(&field)
		if field.Complete() != nil || len(field.Src) > 0 {
			b.fail()
		}
	}
}

func (b *valueReader) fail() { b.Span(-1) }

// done closes the value: everything was there, and nothing follows.
func (b *valueReader) done(kind int16) error {
	if err := b.Complete(); err != nil {
		return fmt.Errorf("%w: a value of type %d: %w", ErrRecord, kind, err)
	}
	if len(b.Src) > 0 {
		return fmt.Errorf("%w: a value of type %d has %d bytes too many", ErrRecord, kind, len(b.Src))
	}
	return nil
}

func (b *valueReader) strings() []string {
	n := b.CompactArrayLen()
	out := make([]string, 0, max(n, 0))
	for range n {
		out = append(out, b.CompactString())
	}
	return out
}

func (b *valueReader) partitions() []int32 {
	n := int(b.CompactArrayLen())
	if n < 0 || len(b.Src) < n*4 {
		if n != 0 {
			b.fail()
		}
		return nil
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = b.Int32()
	}
	return out
}

// decodeEpochAndMillis reads ConsumerGroupMetadata and ConsumerGroupTargetAssignmentMetadata, which have the same shape: an epoch,
// and a number of 64 bits in tag 0 (the hash, the time).
func decodeEpochAndMillis(kind int16, value []byte) (epoch int32, tagged int64, err error) {
	b, err := openValue(kind, value)
	if err != nil {
		return 0, 0, err
	}
	epoch = b.Int32()
	b.tags(0, func(f *valueReader) { tagged = f.Int64() })
	return epoch, tagged, b.done(kind)
}

// decodeMemberMetadata fills in what the record says of a member and leaves its assignment alone.
func decodeMemberMetadata(value []byte, m *memberData) error {
	b, err := openValue(keyMemberMetadata, value)
	if err != nil {
		return err
	}
	m.instance = b.CompactNullableString()
	m.rack = b.CompactNullableString()
	m.clientID = b.CompactString()
	m.clientHost = b.CompactString()
	m.names = b.strings()
	slices.Sort(m.names)
	m.names = slices.Compact(m.names)
	m.regex = ""
	if regex := b.CompactNullableString(); regex != nil {
		m.regex = *regex
	}
	m.rebalanceMillis = b.Int32()
	m.assignor = b.CompactNullableString()
	m.classic = nil
	b.tags(tagClassicMetadata, func(f *valueReader) {
		if f.Uvarint() != 0 {
			m.classic = f.classicMetadata()
		}
	})
	return b.done(keyMemberMetadata)
}

func (b *valueReader) classicMetadata() *classicMetadata {
	c := &classicMetadata{sessionMillis: b.Int32()}
	for range b.CompactArrayLen() {
		p := classicProtocol{name: b.CompactString(), metadata: slices.Clone(b.CompactBytes())}
		b.tags(0, nil)
		c.protocols = append(c.protocols, p)
		if !b.Ok() {
			break
		}
	}
	b.tags(0, nil)
	return c
}

func decodeTargetMember(value []byte) (assignment, error) {
	b, err := openValue(keyTargetMember, value)
	if err != nil {
		return nil, err
	}
	var topics []topicParts
	for range b.CompactArrayLen() {
		topics = append(topics, topicParts{id: b.Uuid(), parts: b.partitions()})
		b.tags(0, nil)
		if !b.Ok() {
			break
		}
	}
	b.tags(0, nil)
	return newAssignment(topics), b.done(keyTargetMember)
}

// decodeCurrentAssignment fills in what the record says of a member's assignment and leaves the rest alone.
func decodeCurrentAssignment(value []byte, m *memberData) error {
	b, err := openValue(keyCurrentAssignment, value)
	if err != nil {
		return err
	}
	m.epoch, m.previous = b.Int32(), b.Int32()
	m.state = memberState(b.Int8())
	if m.state > stateUnreleased {
		m.state = unknownState
	}
	m.owned = b.ownedPartitions(m.epoch)
	m.revoking = b.ownedPartitions(m.epoch)
	b.tags(0, nil)
	return b.done(keyCurrentAssignment)
}

// ownedPartitions reads partitions with the epochs at which they were given. Records from before Kafka 4.3 have no epochs: then, and
// when there are not as many as partitions, the member's epoch counts, as in Utils.assignmentFromTopicPartitions.
func (b *valueReader) ownedPartitions(memberEpoch int32) assignment {
	var topics []topicParts
	for range b.CompactArrayLen() {
		t := topicParts{id: b.Uuid(), parts: b.partitions()}
		b.tags(tagAssignmentEpochs, func(f *valueReader) { t.epochs = f.partitions() })
		if len(t.epochs) != len(t.parts) {
			t.epochs = slices.Repeat([]int32{max(memberEpoch, 0)}, len(t.parts))
		}
		topics = append(topics, t)
		if !b.Ok() {
			break
		}
	}
	return newAssignment(topics)
}

func decodeRegex(value []byte) (topics []string, version, millis int64, err error) {
	b, err := openValue(keyRegularExpression, value)
	if err != nil {
		return nil, 0, 0, err
	}
	topics = b.strings()
	slices.Sort(topics)
	version, millis = b.Int64(), b.Int64()
	b.tags(0, nil)
	return slices.Compact(topics), version, millis, b.done(keyRegularExpression)
}
