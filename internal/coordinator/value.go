package coordinator

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// Versions of the value of an offset's record. Kafka 4.3 writes the last, and an old one for a commit that says itself when it
// expires (GroupCoordinatorRecordHelpers.offsetCommitValueVersion).
const (
	valueVersion        = 4
	valueExpiresVersion = 1
	valueEpochVersion   = 3 // from here on with leader epoch

	valueTagTopicID = 0
)

// offsetValue is the value of an offset's record.
type offsetValue struct {
	offset    int64
	epoch     int32 // leader epoch; -1: none
	metadata  string
	committed int64    // milliseconds since 1970
	expires   int64    // the same; -1: by the retention that is configured
	topicID   [16]byte // zero: not known
}

// valueBytesMax is what an encoded value takes at most, beside its metadata.
const valueBytesMax = 2 + 8 + 4 + binary.MaxVarintLen32 + 8 + 3 + 16

func (v *offsetValue) encode() []byte {
	return v.append(make([]byte, 0, valueBytesMax+len(v.metadata)))
}

// append adds the encoded value to b.
func (v *offsetValue) append(b []byte) []byte {
	version := int16(valueVersion)
	if v.expires != -1 {
		version = valueExpiresVersion
	}
	k := kmsg.OffsetCommitValue{
		Version: version, Offset: v.offset, LeaderEpoch: v.epoch, Metadata: v.metadata,
		CommitTimestamp: v.committed, ExpireTimestamp: v.expires, TopicID: v.topicID,
	}
	return k.AppendTo(b)
}

// decodeOffset reads the value of an offset's record in any version that Kafka reads; unknown tags are passed over. What it cannot
// read is group.ErrRecord.
func decodeOffset(b []byte) (*offsetValue, error) {
	r := valueReader{b: b}
	version := int16(r.uint(2))
	if version < 0 || version > valueVersion {
		return nil, fmt.Errorf("%w: version %d of an offset", group.ErrRecord, version)
	}
	v := &offsetValue{offset: int64(r.uint(8)), epoch: -1, expires: -1}
	if version >= valueEpochVersion {
		v.epoch = int32(r.uint(4))
	}
	if version >= valueVersion {
		v.metadata = string(r.bytes(r.uvarint() - 1)) // compact: length plus one
	} else {
		v.metadata = string(r.bytes(r.uint(2)))
	}
	v.committed = int64(r.uint(8))
	if version == valueExpiresVersion {
		v.expires = int64(r.uint(8))
	}
	if version >= valueVersion {
		for tags := r.uvarint(); tags > 0 && !r.bad; tags-- {
			tag := r.uvarint()
			if val := r.bytes(r.uvarint()); tag == valueTagTopicID && len(val) == len(v.topicID) {
				copy(v.topicID[:], val)
			}
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes of an offset", group.ErrRecord, len(b))
	}
	return v, nil
}

// valueReader takes big-endian fields off b; bad says that it was too short.
type valueReader struct {
	b   []byte
	bad bool
}

func (r *valueReader) bytes(n uint64) []byte {
	if r.bad = r.bad || n > uint64(len(r.b)); r.bad {
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *valueReader) uint(size uint64) (n uint64) {
	for _, b := range r.bytes(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (r *valueReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad = r.bad || size <= 0; r.bad {
		return 0
	}
	r.b = r.b[size:]
	return n
}
