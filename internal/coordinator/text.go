package coordinator

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// consumerRecordNames are what the records of a consumer group say, by the version of their key (Kafka's CoordinatorRecordType).
var consumerRecordNames = map[int16]string{
	3: "consumer group", 4: "partitions", 5: "member", 6: "target", 7: "target of member", 8: "assignment of member", 16: "regular expression",
}

// RecordText says in words what a record of __consumer_offsets is: for tools. Bytes that are no such record are said to be none.
func RecordText(key, value []byte) string {
	text, _ := recordText(key, value)
	return text
}

// notReadable ends a text of which readable is false.
func notReadable(of string, err error) (text string, readable bool) {
	return fmt.Sprintf("%snot readable: %v", of, err), false
}

func recordText(key, value []byte) (text string, readable bool) {
	kind, id, err := group.RecordGroup(key)
	switch {
	case err != nil:
		return notReadable("", err)
	case kind == group.KindUnknown:
		return fmt.Sprintf("of a kind that is not known: key %x", key), true
	}
	text, readable = fmt.Sprintf("group %q ", id), true
	rest := key[versionBytes+lengthBytes+len(id):]
	switch kind {
	case group.KindOffset:
		text, readable = offsetText(text, rest, value)
	case group.KindClassic:
		text, readable = classicText(text, value)
	default:
		text += consumerRecordNames[int16(key[0])<<8|int16(key[1])]
		if len(rest) > lengthBytes {
			text += fmt.Sprintf(" %q", rest[lengthBytes:])
		}
		if value != nil {
			return fmt.Sprintf("%s: %d bytes", text, len(value)), true
		}
	}
	if value == nil {
		text += ": removed"
	}
	return text, readable
}

func offsetText(of string, rest, value []byte) (text string, readable bool) {
	topic, partition, err := splitOffsetKey(rest)
	if err != nil {
		return notReadable(of, err)
	}
	text = fmt.Sprintf("%stopic %s partition %d", of, topic, partition)
	if value == nil {
		return text, true
	}
	v, err := decodeOffset(value)
	if err != nil {
		return notReadable(text+": ", err)
	}
	text += fmt.Sprintf(" offset %d leader epoch %d committed at %d", v.offset, v.epoch, v.committed)
	if v.expires != -1 {
		text += fmt.Sprintf(" expires at %d", v.expires)
	}
	if v.metadata != "" {
		text += fmt.Sprintf(" metadata %q", v.metadata)
	}
	return text, true
}

func classicText(of string, value []byte) (text string, readable bool) {
	if value == nil {
		return of + "classic group", true
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(value); err != nil {
		return notReadable(of+"classic group: ", err)
	}
	words := []string{fmt.Sprintf("%sclassic group of type %q generation %d", of, v.ProtocolType, v.Generation)}
	if v.Protocol != nil {
		words = append(words, fmt.Sprintf("protocol %q", *v.Protocol))
	}
	if v.Leader != nil {
		words = append(words, fmt.Sprintf("leader %q", *v.Leader))
	}
	words = append(words, fmt.Sprintf("%d members", len(v.Members)))
	for i := range v.Members {
		m := &v.Members[i]
		words = append(words, fmt.Sprintf("%q of client %q at %s with %d bytes assigned", m.MemberID, m.ClientID, m.ClientHost, len(m.Assignment)))
	}
	return strings.Join(words, ", "), true
}

// EntryText says in words what an entry of the cold store of groups is, and whether it can be read.
func EntryText(key, value []byte) (text string, readable bool) {
	switch {
	case len(key) == 1 && key[0] == keyDueBasis:
		return fmt.Sprintf("entries of what is due are made for a retention of %d ms", int64(uintOf(value))), true
	case len(key) > dueTimeBytes && key[0] == spaceDue:
		return fmt.Sprintf("group %q is looked at at %d", key[1+dueTimeBytes:], int64(uintOf(key[1:1+dueTimeBytes]))), true
	}
	unknown := fmt.Errorf("key %x", key)
	id, rest, err := splitCold(key)
	if err != nil {
		return notReadable("", unknown)
	}
	switch key[0] {
	case spaceLive:
		return fmt.Sprintf("group %q may have members", id), true
	case spaceOffset:
		return offsetText(fmt.Sprintf("group %q ", id), rest, value)
	case spaceGroup:
		if record, err := metadataRecordKey(id, rest); err == nil {
			return recordText(record, value)
		}
	}
	return notReadable("", unknown)
}

func uintOf(b []byte) uint64 {
	r := valueReader{b: b}
	return r.uint(dueTimeBytes)
}
