package batch

import (
	"fmt"
	"time"
)

// Rules are what a topic asks of the batches its clients send. Immutable once
// shared.
type Rules struct {
	MaxBytes      int32 // max.message.bytes, of the batch as it is stored; 0: no limit
	LogAppendTime bool  // message.timestamp.type
	// How far a record's timestamp may be from the broker's clock; < 0: any.
	TimestampBeforeMax, TimestampAfterMax time.Duration
	CompressionType                       string // compression.type; "" is producer
	// Levels used where the broker compresses; LevelDefault (0) is the codec's own.
	CompressionGzipLevel, CompressionLZ4Level, CompressionZstdLevel int
	RequireKey                                                      bool // cleanup.policy has compact
	// DecompressedBytesMax bounds what a batch may unfold to; 0: 64 MiB, or four
	// times the batch where that is more.
	DecompressedBytesMax int64
}

// RejectedRecord names a record that broke a rule, as the produce response does.
type RejectedRecord struct {
	Index   int32 // in the batch
	Message string
}

// RejectedError tells which records made a batch be refused. It wraps
// ErrInvalidTimestamp if any of them did for its timestamp, else ErrInvalidRecord.
type RejectedError struct {
	Kind    error
	Records []RejectedRecord // the first RejectedRecordsMax of them
}

// RejectedRecordsMax bounds the records a RejectedError names.
const RejectedRecordsMax = 100

// Error names the first record.
func (e *RejectedError) Error() string {
	if len(e.Records) == 0 {
		return e.Kind.Error()
	}
	return fmt.Sprintf("%v: record %d: %s", e.Kind, e.Records[0].Index, e.Records[0].Message)
}

// Unwrap is the sentinel.
func (e *RejectedError) Unwrap() error { return e.Kind }

func (e *RejectedError) add(kind error, index int, message string) *RejectedError {
	if e == nil {
		e = &RejectedError{Kind: kind}
	}
	if kind == ErrInvalidTimestamp {
		e.Kind = kind
	}
	if len(e.Records) < RejectedRecordsMax {
		e.Records = append(e.Records, RejectedRecord{int32(index), message})
	}
	return e
}

// Validate is what a broker checks before it appends a client's batch, as
// Kafka's LogValidator does, and makes the batch what the topic wants to store.
// Where nothing but timestamps in the header changes it patches b in place and
// returns b; where the codec of the topic is another, or the offset deltas do
// not count up by one, it returns a new batch in memory of its own. b's bytes
// may have been patched even when an error is returned.
func Validate(b Batch, r Rules, now time.Time) (Batch, error) {
	if r.MaxBytes > 0 && len(b.b) > int(r.MaxBytes) {
		return Batch{}, fmt.Errorf("%d bytes, at most %d: %w", len(b.b), r.MaxBytes, ErrTooLarge)
	}
	h := b.Header()
	if err := checkHeader(&h, r.LogAppendTime); err != nil {
		return Batch{}, err
	}
	target, level, err := r.target(h.Codec())
	if err != nil {
		return Batch{}, err
	}
	if h.Codec() == CodecNone {
		return r.finish(b, &h, target, level, b.payload(), now)
	}
	limit := decompressedBytesMax(r.DecompressedBytesMax, len(b.b))
	records, err := decompressPooled(h.Codec(), b.payload(), limit)
	if err != nil {
		return Batch{}, err
	}
	defer records.release()
	return r.finish(b, &h, target, level, records.data, now)
}

// checkHeader is what can be refused without looking at a record.
func checkHeader(h *Header, logAppendTime bool) error {
	switch {
	case h.BaseOffset != 0:
		return fmt.Errorf("base offset %d of a produced batch, expected 0: %w", h.BaseOffset, ErrInvalidRecord)
	case h.RecordCount <= 0:
		return fmt.Errorf("record count %d: %w", h.RecordCount, ErrInvalidRecord)
	case int64(h.RecordCount) != int64(h.LastOffsetDelta)+1:
		return fmt.Errorf("record count %d, last offset delta %d: %w", h.RecordCount, h.LastOffsetDelta, ErrInvalidRecord)
	case h.Control():
		return fmt.Errorf("clients may not write control records: %w", ErrInvalidRecord)
	case h.HasProducer() && h.BaseSequence < 0:
		return fmt.Errorf("sequence %d of producer %d: %w", h.BaseSequence, h.ProducerID, ErrInvalidRecord)
	case logAppendTime && h.LogAppendTime():
		return fmt.Errorf("a producer may not set the timestamp type LogAppendTime: %w", ErrInvalidTimestamp)
	}
	return nil
}

// target is the codec to store with, given the codec of the batch.
func (r *Rules) target(source int8) (codec int8, level int, err error) {
	if source > codecMax {
		return 0, 0, fmt.Errorf("codec %d: %w", source, ErrUnsupportedCompression)
	}
	codec = source
	if r.CompressionType != "" && r.CompressionType != "producer" {
		var ok bool
		if codec, ok = CodecByName(r.CompressionType); !ok {
			return 0, 0, fmt.Errorf("compression.type %q: %w", r.CompressionType, ErrUnsupportedCompression)
		}
	}
	switch codec {
	case CodecGzip:
		level = r.CompressionGzipLevel
	case CodecLZ4:
		level = r.CompressionLZ4Level
	case CodecZstd:
		level = r.CompressionZstdLevel
	}
	return codec, level, nil
}

// finish checks every record and patches or rebuilds.
func (r *Rules) finish(b Batch, h *Header, target int8, level int, records []byte, now time.Time) (Batch, error) {
	maxTimestamp, ordered, err := r.checkRecords(h, records, now)
	if err != nil {
		return Batch{}, err
	}
	if r.LogAppendTime {
		maxTimestamp = now.UnixMilli()
	}
	if ordered && target == h.Codec() {
		b.setTimestamps(r.LogAppendTime, maxTimestamp)
		return b, nil
	}
	return r.rebuild(h, target, level, records, ordered, maxTimestamp)
}

// checkRecords walks the records. ordered tells that their offset deltas are
// 0, 1, 2, ...
func (r *Rules) checkRecords(h *Header, records []byte, now time.Time) (maxTimestamp int64, ordered bool, err error) {
	var (
		w        = walker{b: records}
		rec      rawRecord
		rejected *RejectedError
		nowMs    = now.UnixMilli()
	)
	maxTimestamp, ordered = NoTimestamp, true
	for i := range int(h.RecordCount) {
		if !w.next(&rec) {
			return 0, false, w.err(i)
		}
		timestamp := h.BaseTimestamp + rec.timestampDelta
		maxTimestamp = max(maxTimestamp, timestamp)
		ordered = ordered && rec.offsetDelta == int32(i)
		if r.RequireKey && rec.key == nil {
			rejected = rejected.add(ErrInvalidRecord, i, "a compacted topic takes no record without a key")
		} else if !r.LogAppendTime && timestamp != NoTimestamp && !r.timestampInRange(timestamp, nowMs) {
			rejected = rejected.add(ErrInvalidTimestamp, i, fmt.Sprintf("timestamp %d is out of range, %v before to %v after %d",
				timestamp, r.TimestampBeforeMax, r.TimestampAfterMax, nowMs))
		}
	}
	if !w.done() {
		return 0, false, w.err(int(h.RecordCount))
	}
	if rejected != nil {
		return 0, false, rejected
	}
	return maxTimestamp, ordered, nil
}

// A Duration is at most 2^63 ns, so nothing here overflows.
func (r *Rules) timestampInRange(timestamp, nowMs int64) bool {
	if r.TimestampBeforeMax >= 0 && timestamp < nowMs-r.TimestampBeforeMax.Milliseconds() {
		return false
	}
	return r.TimestampAfterMax < 0 || timestamp <= nowMs+r.TimestampAfterMax.Milliseconds()
}

// rebuild writes the batch anew: other codec, or offset deltas put right.
func (r *Rules) rebuild(h *Header, target int8, level int, records []byte, ordered bool, maxTimestamp int64) (Batch, error) {
	if !ordered {
		records = renumber(records, h.RecordCount)
	}
	out := *h
	out.MaxTimestamp = maxTimestamp
	out.Attributes = h.Attributes & AttributeTransactional
	if r.LogAppendTime {
		out.Attributes |= AttributeLogAppendTime
	}
	bytes, err := appendBatch(make([]byte, 0, HeaderSize+compressedEstimate(target, len(records))), out, target, level, records)
	if err != nil {
		return Batch{}, err
	}
	if r.MaxBytes > 0 && len(bytes) > int(r.MaxBytes) {
		return Batch{}, fmt.Errorf("%d bytes after compression with %s, at most %d: %w", len(bytes), CodecName(target), r.MaxBytes, ErrTooLarge)
	}
	return Batch{bytes}, nil
}

// renumber copies records that were walked before, with offset deltas 0, 1, 2, ...
func renumber(records []byte, count int32) []byte {
	out := make([]byte, 0, len(records)+int(count)*4)
	w := walker{b: records}
	var rec rawRecord
	for i := range count {
		if !w.next(&rec) {
			panic("BUG: renumber of records that were not walked: " + w.bad)
		}
		rec.offsetDelta = i
		out = appendRaw(out, &rec)
	}
	return out
}
