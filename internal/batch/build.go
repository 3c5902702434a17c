package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Build appends to dst a batch of recs. Of h it takes BaseOffset, LeaderEpoch,
// the attributes but the codec, the producer fields, and, where the attributes
// say LogAppendTime, MaxTimestamp; LastOffsetDelta counts where it is past the
// last record (a compacted batch). Record offsets are absolute and ascending; if
// all are zero the records are numbered from BaseOffset.
func Build(dst []byte, h Header, codec int8, recs []Record) ([]byte, error) {
	numbered := false
	for i := range recs {
		numbered = numbered || recs[i].Offset != 0
	}
	baseTimestamp, maxTimestamp := NoTimestamp, NoTimestamp
	if len(recs) > 0 {
		baseTimestamp = recs[0].Timestamp
	}
	var records, headers []byte
	last := int64(-1)
	for i := range recs {
		r := &recs[i]
		delta := int64(i)
		if numbered {
			delta = r.Offset - h.BaseOffset
		}
		if delta <= last || delta > math.MaxInt32 {
			return dst, fmt.Errorf("record %d has offset %d in a batch at %d: %w", i, r.Offset, h.BaseOffset, ErrInvalidRecord)
		}
		last = delta
		headers = headers[:0]
		for _, kv := range r.Headers {
			headers = appendVarint(headers, int64(len(kv.Key)))
			headers = append(headers, kv.Key...)
			headers = appendBytes(headers, kv.Value)
		}
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		records = appendRaw(records, &rawRecord{
			offsetDelta: int32(delta), headerCount: int32(len(r.Headers)),
			timestampDelta: r.Timestamp - baseTimestamp, key: r.Key, value: r.Value, headers: headers,
		})
	}
	h.LastOffsetDelta = max(h.LastOffsetDelta, int32(last), 0)
	h.RecordCount = int32(len(recs))
	h.BaseTimestamp = baseTimestamp
	if !h.LogAppendTime() && len(recs) > 0 {
		h.MaxTimestamp = maxTimestamp
	}
	return appendBatch(dst, h, codec, LevelDefault, records)
}

// appendBatch writes header and compressed records; length, magic, codec bits
// and checksum are its own.
func appendBatch(dst []byte, h Header, codec int8, level int, records []byte) ([]byte, error) {
	start := len(dst)
	var header [HeaderSize]byte
	dst = append(dst, header[:]...)
	dst, err := Compress(codec, level, dst, records)
	if err != nil {
		return dst[:start], err
	}
	b := dst[start:]
	length := len(b) - LengthPrefixSize
	if length > math.MaxInt32 {
		return dst[:start], fmt.Errorf("%d bytes: %w", len(b), ErrTooLarge)
	}
	attributes := h.Attributes&^AttributeCodecMask | int16(codec)
	binary.BigEndian.PutUint64(b[atBaseOffset:], uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(b[atLength:], uint32(length))
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(h.LeaderEpoch))
	b[atMagic] = magicV2
	binary.BigEndian.PutUint16(b[atAttributes:], uint16(attributes))
	binary.BigEndian.PutUint32(b[atLastOffsetDelta:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[atBaseTimestamp:], uint64(h.BaseTimestamp))
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(h.MaxTimestamp))
	binary.BigEndian.PutUint64(b[atProducerID:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(b[atProducerEpoch:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(b[atBaseSequence:], uint32(h.BaseSequence))
	binary.BigEndian.PutUint32(b[atRecordCount:], uint32(h.RecordCount))
	binary.BigEndian.PutUint32(b[atCRC:], Batch{b}.computedCRC())
	return dst, nil
}
