// Package batch is Kafka's record batch, format v2, as a validated view over
// bytes: header, checksum, records, compression, and the checks a broker makes
// before it stores what a client sent. Parse and ParseTrusted are the only ways
// to a Batch.
//
// It knows nothing of logs, producers or requests, reads no clock (now is an
// argument) and touches no file.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// What can be wrong with bytes that claim to be a batch. Every error of this
// package wraps exactly one of them.
var (
	// ErrCorrupt: the bytes are damaged (checksum, length, magic, compressed data).
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrTruncated: the bytes end before the batch does.
	ErrTruncated = errors.New("truncated record batch")
	// ErrOldMagic: a message set of format v0 or v1, which brokers stopped taking.
	ErrOldMagic = errors.New("record format v0 and v1 are not supported")
	// ErrTooLarge: the batch, or what it decompresses to, is over the limit.
	ErrTooLarge = errors.New("record batch too large")
	// ErrInvalidRecord: the bytes are as the client meant them, and break a rule.
	ErrInvalidRecord = errors.New("invalid record")
	// ErrInvalidTimestamp: a timestamp out of the range of the topic, or a
	// timestamp type that only a broker may set.
	ErrInvalidTimestamp = errors.New("invalid timestamp")
	// ErrUnsupportedCompression: a codec number or name nobody defined.
	ErrUnsupportedCompression = errors.New("unsupported compression type")
)

const (
	// HeaderSize is the length in bytes of a batch without records.
	HeaderSize = 61
	// LengthPrefixSize is the base offset and the length field: what the length
	// field does not count.
	LengthPrefixSize = 12

	// NoTimestamp is the timestamp of a record whose producer set none.
	NoTimestamp int64 = -1
	// NoProducerID is the producer id of a batch that is not idempotent.
	NoProducerID int64 = -1
	// NoSequence is the base sequence of a batch that is not idempotent.
	NoSequence int32 = -1

	magicV2 = 2
	// A record is at least its length, attributes, timestamp delta, offset
	// delta, key length, value length and header count, one byte each.
	recordBytesMin = 7
)

// Bits of Header.Attributes.
const (
	AttributeCodecMask     int16 = 0x07
	AttributeLogAppendTime int16 = 0x08
	AttributeTransactional int16 = 0x10
	AttributeControl       int16 = 0x20
	AttributeDeleteHorizon int16 = 0x40
)

// Where the fields are. The checksum covers everything from the attributes on,
// so base offset and leader epoch may change without it.
const (
	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atRecordCount     = 57
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the fixed part of a batch, decoded.
type Header struct {
	BaseOffset      int64
	BatchLength     int32 // what follows the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64
	MaxTimestamp    int64
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	RecordCount     int32
}

// Size is the length of the whole batch in bytes.
func (h Header) Size() int64 { return LengthPrefixSize + int64(h.BatchLength) }

// LastOffset is the offset of the last record.
func (h Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// LastSequence is the sequence of the last record: sequences wrap from
// MaxInt32 to 0. NoSequence where the batch has none.
func (h Header) LastSequence() int32 {
	if h.BaseSequence == NoSequence {
		return NoSequence
	}
	return int32((int64(h.BaseSequence) + int64(h.LastOffsetDelta)) & math.MaxInt32)
}

// Codec is the compression codec number.
func (h Header) Codec() int8 { return int8(h.Attributes & AttributeCodecMask) }

// LogAppendTime tells that MaxTimestamp, set by the broker, is the timestamp of
// every record.
func (h Header) LogAppendTime() bool { return h.Attributes&AttributeLogAppendTime != 0 }

// Transactional tells that the batch is part of a transaction.
func (h Header) Transactional() bool { return h.Attributes&AttributeTransactional != 0 }

// Control tells that the records are markers of the broker's.
func (h Header) Control() bool { return h.Attributes&AttributeControl != 0 }

// HasProducer tells that the batch carries a producer id.
func (h Header) HasProducer() bool { return h.ProducerID > NoProducerID }

// DecodeHeader reads a header from the first HeaderSize bytes of b. It checks
// magic and that the length can be one; it sees no record and no checksum.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) > atMagic {
		if m := int8(b[atMagic]); m == 0 || m == 1 {
			return Header{}, fmt.Errorf("magic %d: %w", m, ErrOldMagic)
		} else if m != magicV2 {
			return Header{}, fmt.Errorf("magic %d, expected %d: %w", m, magicV2, ErrCorrupt)
		}
	}
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%d bytes, a header has %d: %w", len(b), HeaderSize, ErrTruncated)
	}
	h := decodeHeader(b)
	if h.BatchLength < HeaderSize-LengthPrefixSize {
		return Header{}, fmt.Errorf("length field %d, at least %d: %w", h.BatchLength, HeaderSize-LengthPrefixSize, ErrCorrupt)
	}
	return h, nil
}

func decodeHeader(b []byte) Header {
	b = b[:HeaderSize]
	return Header{
		BaseOffset:      int64(binary.BigEndian.Uint64(b[atBaseOffset:])),
		BatchLength:     int32(binary.BigEndian.Uint32(b[atLength:])),
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[atLeaderEpoch:])),
		Magic:           int8(b[atMagic]),
		CRC:             binary.BigEndian.Uint32(b[atCRC:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[atAttributes:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[atLastOffsetDelta:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[atBaseTimestamp:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[atMaxTimestamp:])),
		ProducerID:      int64(binary.BigEndian.Uint64(b[atProducerID:])),
		ProducerEpoch:   int16(binary.BigEndian.Uint16(b[atProducerEpoch:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[atBaseSequence:])),
		RecordCount:     int32(binary.BigEndian.Uint32(b[atRecordCount:])),
	}
}

// Batch is one complete batch in somebody else's bytes. Copying a Batch copies
// the view. The zero Batch is empty and good for nothing.
type Batch struct{ b []byte }

// Parse views the first batch in b, which must be complete: magic, length,
// checksum and counts are checked. Bytes after it are not looked at: a caller
// that wants exactly one batch compares Size with len(b), or calls ParseOne.
func Parse(b []byte) (Batch, error) {
	v, err := ParseTrusted(b)
	if err != nil {
		return Batch{}, err
	}
	if stored, computed := v.storedCRC(), v.computedCRC(); stored != computed {
		return Batch{}, fmt.Errorf("stored crc %d, computed %d: %w", stored, computed, ErrCorrupt)
	}
	return v, nil
}

// ParseOne is Parse for bytes that must be one batch and nothing else, as the
// records of one partition in a Produce request.
func ParseOne(b []byte) (Batch, error) {
	v, err := Parse(b)
	if err != nil {
		return Batch{}, err
	}
	if len(v.b) != len(b) {
		return Batch{}, fmt.Errorf("%d bytes after the batch, exactly one batch is allowed: %w", len(b)-len(v.b), ErrInvalidRecord)
	}
	return v, nil
}

// ParseTrusted is Parse without the checksum, for bytes that were verified
// before.
func ParseTrusted(b []byte) (Batch, error) {
	h, err := DecodeHeader(b)
	if err != nil {
		return Batch{}, err
	}
	if h.Size() > int64(len(b)) {
		return Batch{}, fmt.Errorf("%d bytes of a batch of %d: %w", len(b), h.Size(), ErrTruncated)
	}
	if err := h.checkCounts(); err != nil {
		return Batch{}, err
	}
	size := int(h.Size())
	return Batch{b[:size:size]}, nil
}

// A compacted batch may hold fewer records than offsets, or none, never more;
// and what is not compressed cannot hold more records than bytes for them.
func (h Header) checkCounts() error {
	if h.LastOffsetDelta < 0 || h.RecordCount < 0 || int64(h.RecordCount) > int64(h.LastOffsetDelta)+1 {
		return fmt.Errorf("record count %d, last offset delta %d: %w", h.RecordCount, h.LastOffsetDelta, ErrInvalidRecord)
	}
	payload := h.Size() - HeaderSize
	if h.Codec() == CodecNone && int64(h.RecordCount)*recordBytesMin > payload {
		return fmt.Errorf("%d records in %d bytes: %w", h.RecordCount, payload, ErrInvalidRecord)
	}
	return nil
}

// Header decodes the fixed part.
func (b Batch) Header() Header { return decodeHeader(b.b) }

// Bytes is the whole batch, header included, not a copy.
func (b Batch) Bytes() []byte { return b.b }

// Size is the length of the whole batch in bytes.
func (b Batch) Size() int { return len(b.b) }

// Patch sets, in place, the two fields that the broker assigns; the checksum
// does not cover them.
func (b Batch) Patch(baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b.b[atBaseOffset:], uint64(baseOffset))
	binary.BigEndian.PutUint32(b.b[atLeaderEpoch:], uint32(leaderEpoch))
}

func (b Batch) payload() []byte     { return b.b[HeaderSize:] }
func (b Batch) storedCRC() uint32   { return binary.BigEndian.Uint32(b.b[atCRC:]) }
func (b Batch) computedCRC() uint32 { return crc32.Checksum(b.b[atAttributes:], castagnoli) }

// setTimestamps makes the header say what the broker decided, and writes the
// checksum anew only if that changed a byte.
func (b Batch) setTimestamps(logAppendTime bool, maxTimestamp int64) {
	old := int16(binary.BigEndian.Uint16(b.b[atAttributes:]))
	attributes := old &^ AttributeLogAppendTime
	if logAppendTime {
		attributes |= AttributeLogAppendTime
	}
	if attributes == old && int64(binary.BigEndian.Uint64(b.b[atMaxTimestamp:])) == maxTimestamp {
		return
	}
	binary.BigEndian.PutUint16(b.b[atAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b.b[atMaxTimestamp:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(b.b[atCRC:], b.computedCRC())
}
