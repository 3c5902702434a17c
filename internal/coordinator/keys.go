package coordinator

import (
	"encoding/binary"
	"fmt"

	"ottla/internal/group"
)

// Keys in the cold store. A group's records are together, so that one seek finds what there is of it. Lengths are big-endian, and
// names that are not in memory are visited by length and then by bytes.
//
//	'g' len(2) group version(2) rest   -> value of a metadata record whose key is version, group, rest
//	'o' len(2) group rest              -> value of an offset record whose key is version 1, group, rest: topic and partition
//	'l' len(2) group                   -> empty: the group may have members
//	'e', 'r'                           -> which group is to be looked at when: due.go
//
// Offset records of key version 0, of which Kafka still reads some, are the same key as those of version 1.
const (
	spaceGroup  = 'g'
	spaceOffset = 'o'
	spaceLive   = 'l'

	versionBytes = 2
	lengthBytes  = 2

	offsetKeyVersion = 1
)

// groupPrefix is what all keys of a group in a space begin with.
func groupPrefix(space byte, id string) []byte {
	k := make([]byte, 0, 1+lengthBytes+len(id)+32)
	k = append(k, space)
	k = binary.BigEndian.AppendUint16(k, uint16(len(id)))
	return append(k, id...)
}

// coldKey translates the key of a record. An unknown kind is not kept.
func coldKey(record []byte) (key []byte, kind group.Kind, id string, err error) {
	kind, id, err = group.RecordGroup(record)
	if err != nil || kind == group.KindUnknown {
		return nil, kind, "", err
	}
	rest := record[versionBytes+lengthBytes+len(id):]
	if kind == group.KindOffset {
		if _, _, err := splitOffsetKey(rest); err != nil {
			return nil, kind, "", err
		}
		return append(groupPrefix(spaceOffset, id), rest...), kind, id, nil
	}
	key = append(groupPrefix(spaceGroup, id), record[:versionBytes]...)
	return append(key, rest...), kind, id, nil
}

// splitCold returns the group of a key in any space, and what follows it.
func splitCold(key []byte) (id string, rest []byte, err error) {
	const head = 1 + lengthBytes
	if len(key) < head || len(key) < head+int(binary.BigEndian.Uint16(key[1:])) {
		return "", nil, fmt.Errorf("coordinator: key %x in the cold store", key)
	}
	end := head + int(binary.BigEndian.Uint16(key[1:]))
	return string(key[head:end]), key[end:], nil
}

// metadataRecordKey is the inverse of coldKey for metadata; rest is what splitCold returned.
func metadataRecordKey(id string, rest []byte) ([]byte, error) {
	if len(rest) < versionBytes {
		return nil, fmt.Errorf("coordinator: key of group %q in the cold store ends in %x", id, rest)
	}
	k := make([]byte, 0, versionBytes+lengthBytes+len(id)+len(rest))
	k = append(k, rest[:versionBytes]...)
	k = binary.BigEndian.AppendUint16(k, uint16(len(id)))
	k = append(k, id...)
	return append(k, rest[versionBytes:]...), nil
}

// offsetRecordKey is the key of the record that commits an offset.
func offsetRecordKey(id, topic string, partition int32) []byte {
	return appendOffsetRecordKey(make([]byte, 0, offsetRecordKeyBytes(id, topic)), id, topic, partition)
}

func offsetRecordKeyBytes(id, topic string) int {
	return versionBytes + 2*lengthBytes + len(id) + len(topic) + 4
}

func appendOffsetRecordKey(k []byte, id, topic string, partition int32) []byte {
	k = binary.BigEndian.AppendUint16(k, offsetKeyVersion)
	k = binary.BigEndian.AppendUint16(k, uint16(len(id)))
	k = append(k, id...)
	return appendTopicPartition(k, topic, partition)
}

// appendOffsetColdKey is coldKey for a key that offsetRecordKey made.
func appendOffsetColdKey(k, record []byte) []byte {
	return append(append(k, spaceOffset), record[versionBytes:]...)
}

// offsetColdKey is where the offset is in the cold store.
func offsetColdKey(id, topic string, partition int32) []byte {
	return appendTopicPartition(groupPrefix(spaceOffset, id), topic, partition)
}

func appendTopicPartition(k []byte, topic string, partition int32) []byte {
	k = binary.BigEndian.AppendUint16(k, uint16(len(topic)))
	k = append(k, topic...)
	return binary.BigEndian.AppendUint32(k, uint32(partition))
}

// splitOffsetKey reads what follows the group in the key of an offset.
func splitOffsetKey(rest []byte) (topic string, partition int32, err error) {
	if len(rest) < lengthBytes || len(rest) != lengthBytes+int(binary.BigEndian.Uint16(rest))+4 {
		return "", 0, fmt.Errorf("%w: an offset's key ends in %x", group.ErrRecord, rest)
	}
	end := len(rest) - 4
	return string(rest[lengthBytes:end]), int32(binary.BigEndian.Uint32(rest[end:])), nil
}

// shardOf is Kafka's way from a group to a partition: Utils.abs(String.hashCode) modulo the count, over UTF-16 units.
func shardOf(id string, partitions int32) int32 {
	var h int32
	for _, r := range id {
		if r > 0xffff {
			r -= 0x10000
			h = 31*h + (0xd800 + r>>10)
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + r
	}
	switch {
	case h == -1<<31:
		return 0
	case h < 0:
		h = -h
	}
	return h % partitions
}
