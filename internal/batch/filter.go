package batch

import (
	"fmt"
)

// DeleteHorizon is the time in milliseconds from which the cleaner may drop the
// batch's records without a value (KIP-534). Where it is set it stands in the
// place of the base timestamp, and the records' deltas refer to it.
func (h Header) DeleteHorizon() (ms int64, ok bool) {
	if h.Attributes&AttributeDeleteHorizon == 0 {
		return 0, false
	}
	return h.BaseTimestamp, true
}

// Filter drops records of stored batches, as Kafka's MemoryRecords.filterTo does.
// It keeps a buffer between calls and must not be used concurrently.
type Filter struct {
	// Keep judges each record, once and in order. The key is the filter's again when
	// Keep returns; a nil one is Kafka's null.
	Keep func(offset int64, key []byte, hasValue bool) bool
	// Horizon becomes the delete horizon of a batch that keeps a record without a
	// value and has none yet. NoTimestamp: it stays without.
	Horizon int64

	records []byte
	stays   []bool // by index, of the batch at hand
}

// Filtered says what became of a batch.
type Filtered struct {
	Kept, Dropped int  // records
	Unchanged     bool // it was copied as it is
}

// Apply appends what remains of a batch to dst: the batch itself if nothing
// changes, nothing if no record remains, else a batch with the same offsets,
// timestamps, codec and producer fields and fewer records. Its checksum must have
// been verified. An error is ErrCorrupt, ErrInvalidRecord or ErrTooLarge, and
// leaves dst as it was.
func (f *Filter) Apply(dst []byte, b Batch) ([]byte, Filtered, error) {
	h := b.Header()
	data, err := b.unfold(&h)
	if err != nil {
		return dst, Filtered{}, err
	}
	defer data.release()
	payload := data.data
	f.stays = f.stays[:0]
	out, tombstones, err := f.judge(&h, payload)
	if err != nil {
		return dst, Filtered{}, err
	}
	_, has := h.DeleteHorizon()
	setHorizon := tombstones && !has && f.Horizon != NoTimestamp
	switch {
	case out.Kept == 0:
		return dst, out, nil
	case out.Dropped == 0 && !setHorizon:
		out.Unchanged = true
		return append(dst, b.b...), out, nil
	}
	if setHorizon {
		h.Attributes |= AttributeDeleteHorizon
	}
	dst, err = f.rebuild(dst, h, payload, setHorizon)
	return dst, out, err
}

// Walk calls Keep for every record and makes nothing of its answers.
func (f *Filter) Walk(b Batch) error {
	h := b.Header()
	data, err := b.unfold(&h)
	if err != nil {
		return err
	}
	defer data.release()
	f.stays = f.stays[:0]
	_, _, err = f.judge(&h, data.data)
	return err
}

// unfold returns the encoded records, in memory that is to be released.
func (b Batch) unfold(h *Header) (unfolded, error) {
	if h.Codec() == CodecNone {
		return unfolded{data: b.payload()}, nil
	}
	return decompressPooled(h.Codec(), b.payload(), storedBytesMax)
}

// judge asks Keep for every record and notes the answers.
func (f *Filter) judge(h *Header, payload []byte) (out Filtered, tombstones bool, err error) {
	w := walker{b: payload}
	var r rawRecord
	last := int32(-1)
	for i := range int(h.RecordCount) {
		if !w.next(&r) {
			return out, false, w.err(i)
		}
		if r.offsetDelta <= last || r.offsetDelta > h.LastOffsetDelta {
			return out, false, fmt.Errorf("record %d has offset delta %d after %d, last of the batch %d: %w",
				i, r.offsetDelta, last, h.LastOffsetDelta, ErrInvalidRecord)
		}
		last = r.offsetDelta
		stays := f.Keep(h.BaseOffset+int64(r.offsetDelta), r.key, r.value != nil)
		f.stays = append(f.stays, stays)
		if stays {
			out.Kept++
			tombstones = tombstones || r.value == nil
		} else {
			out.Dropped++
		}
	}
	if !w.done() {
		return out, false, w.err(int(h.RecordCount))
	}
	return out, tombstones, nil
}

// rebuild writes the batch with the records that stay. Its base timestamp becomes that of the first one, or the horizon.
func (f *Filter) rebuild(dst []byte, h Header, payload []byte, setHorizon bool) ([]byte, error) {
	old := h.BaseTimestamp
	_, fixed := h.DeleteHorizon()
	if setHorizon {
		h.BaseTimestamp = f.Horizon
	}
	if !h.LogAppendTime() {
		h.MaxTimestamp = NoTimestamp
	}
	h.RecordCount = 0
	f.records = f.records[:0]
	w := walker{b: payload}
	var r rawRecord
	for i, stays := range f.stays {
		if !w.next(&r) {
			return dst, w.err(i)
		}
		if !stays {
			continue
		}
		timestamp := old + r.timestampDelta
		if !fixed {
			h.BaseTimestamp, fixed = timestamp, true
		}
		if !h.LogAppendTime() {
			h.MaxTimestamp = max(h.MaxTimestamp, timestamp)
		}
		r.timestampDelta = timestamp - h.BaseTimestamp
		f.records = appendRaw(f.records, &r)
		h.RecordCount++
	}
	dst, err := appendBatch(dst, h, h.Codec(), LevelDefault, f.records)
	if cap(f.records) > filterBufferBytesMax {
		f.records = nil
	}
	return dst, err
}

// filterBufferBytesMax is the largest buffer that a Filter keeps between batches.
const filterBufferBytesMax = 4 << 20

// AppendEmpty appends a batch that has the offsets, the producer fields and the
// largest timestamp of h, and no record: what a compacted log keeps so that a
// producer's sequences, or the end of the log, are not lost.
func AppendEmpty(dst []byte, h Header) []byte {
	h.Attributes &= AttributeLogAppendTime | AttributeTransactional | AttributeControl
	h.BaseTimestamp, h.RecordCount = NoTimestamp, 0
	dst, err := appendBatch(dst, h, CodecNone, LevelDefault, nil)
	if err != nil {
		panic("BUG: empty batch: " + err.Error())
	}
	return dst
}
