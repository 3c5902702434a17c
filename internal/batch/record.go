package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Record is one record of a batch, with its absolute offset and timestamp. A nil
// Key or Value is Kafka's null, which an empty one is not.
type Record struct {
	Offset    int64
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
}

// RecordHeader is one header of a record. Keys may repeat.
type RecordHeader struct {
	Key   string
	Value []byte
}

// rawRecord is a record where it lies: lengths checked, headers still encoded.
type rawRecord struct {
	offsetDelta    int32
	headerCount    int32
	timestampDelta int64
	key, value     []byte
	headers        []byte
}

// walker goes through the encoded records of a batch without allocating.
// Everything it hands out aliases b. After a failure err is set and stays.
type walker struct {
	b   []byte
	pos int
	bad string // why it stopped
}

func (w *walker) fail(why string) bool {
	if w.bad == "" {
		w.bad = why
	}
	return false
}

// err is the failure as an error of this package, at record index.
func (w *walker) err(index int) error {
	return fmt.Errorf("record %d: %s at byte %d of %d: %w", index, w.bad, w.pos, len(w.b), ErrInvalidRecord)
}

func (w *walker) varint() (int32, bool) {
	if w.pos < len(w.b) && w.b[w.pos] < 0x80 {
		u := uint32(w.b[w.pos])
		w.pos++
		return int32(u>>1) ^ -int32(u&1), true
	}
	v, ok := w.varlong()
	if ok && (v < math.MinInt32 || v > math.MaxInt32) {
		return 0, w.fail("integer over 32 bits")
	}
	return int32(v), ok
}

func (w *walker) varlong() (int64, bool) {
	b := w.b[w.pos:]
	var u uint64
	n := 0
	if len(b) >= 2 && b[1] < 0x80 && b[0] >= 0x80 { // two bytes, the most frequent of the longer ones
		u, n = uint64(b[0]&0x7F)|uint64(b[1])<<7, 2
	} else {
		u, n = binary.Uvarint(b)
	}
	if n <= 0 {
		return 0, w.fail("bad or cut integer")
	}
	w.pos += n
	return int64(u>>1) ^ -int64(u&1), true
}

// bytes reads a length and that many bytes; any negative length is null, as in
// Kafka.
func (w *walker) bytes() ([]byte, bool) {
	n, ok := w.varint()
	if !ok {
		return nil, false
	}
	if n < 0 {
		return nil, true
	}
	if int(n) > len(w.b)-w.pos {
		return nil, w.fail("field longer than what is left")
	}
	v := w.b[w.pos : w.pos+int(n) : w.pos+int(n)]
	w.pos += int(n)
	return v, true
}

// next reads one record; false at a failure. The caller counts the records and
// calls done after the last.
func (w *walker) next(r *rawRecord) bool {
	size, ok := w.varint()
	if !ok {
		return false
	}
	if size < recordBytesMin-1 || int(size) > len(w.b)-w.pos {
		return w.fail("impossible record length")
	}
	in := walker{b: w.b[:w.pos+int(size)], pos: w.pos + 1} // the attributes byte means nothing in v2
	ok = in.fields(r)
	w.pos = in.pos
	if !ok {
		return w.fail(in.bad)
	}
	if in.pos != len(in.b) {
		return w.fail("record shorter than its length")
	}
	return true
}

func (w *walker) fields(r *rawRecord) (ok bool) {
	if r.timestampDelta, ok = w.varlong(); !ok {
		return false
	}
	if r.offsetDelta, ok = w.varint(); !ok {
		return false
	}
	if r.key, ok = w.bytes(); !ok {
		return false
	}
	if r.value, ok = w.bytes(); !ok {
		return false
	}
	if r.headerCount, ok = w.varint(); !ok {
		return false
	}
	if r.headerCount < 0 || int(r.headerCount) > (len(w.b)-w.pos)/2 {
		return w.fail("impossible header count")
	}
	start := w.pos
	for range r.headerCount {
		key, ok := w.bytes()
		if !ok {
			return false
		}
		if key == nil {
			return w.fail("header without a key")
		}
		if _, ok = w.bytes(); !ok {
			return false
		}
	}
	r.headers = w.b[start:w.pos:w.pos]
	return true
}

// done tells whether the records filled the batch to its last byte.
func (w *walker) done() bool {
	if w.pos != len(w.b) {
		return w.fail("bytes left after the last record")
	}
	return true
}

// record makes the public form of r.
func (h Header) record(r *rawRecord) Record {
	out := Record{
		Offset:    h.BaseOffset + int64(r.offsetDelta),
		Timestamp: h.BaseTimestamp + r.timestampDelta,
		Key:       r.key,
		Value:     r.value,
	}
	if h.LogAppendTime() {
		out.Timestamp = h.MaxTimestamp
	}
	if r.headerCount == 0 {
		return out
	}
	out.Headers = make([]RecordHeader, r.headerCount)
	w := walker{b: r.headers}
	for i := range out.Headers {
		key, _ := w.bytes() // walked before: cannot fail
		value, _ := w.bytes()
		out.Headers[i] = RecordHeader{string(key), value}
	}
	return out
}

// Records calls fn with each record in order and stops at the first error of
// fn's, which it returns. Key, Value and header values alias the batch, or, where
// it is compressed, one buffer that belongs to this call and is never reused.
// What a batch may decompress to is bounded as in Validate.
func (b Batch) Records(fn func(Record) error) error {
	h := b.Header()
	payload := b.payload()
	if codec := h.Codec(); codec != CodecNone {
		var err error
		if payload, err = Decompress(codec, nil, payload, storedBytesMax); err != nil {
			return err
		}
	}
	w := walker{b: payload}
	var r rawRecord
	for i := range int(h.RecordCount) {
		if !w.next(&r) {
			return w.err(i)
		}
		if err := fn(h.record(&r)); err != nil {
			return err
		}
	}
	if !w.done() {
		return w.err(int(h.RecordCount))
	}
	return nil
}

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

func appendBytes(dst, v []byte) []byte {
	if v == nil {
		return append(dst, 1) // -1
	}
	return append(appendVarint(dst, int64(len(v))), v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

// appendRaw encodes r again, with its deltas as they stand in r.
func appendRaw(dst []byte, r *rawRecord) []byte {
	size := 1 + varintSize(r.timestampDelta) + varintSize(int64(r.offsetDelta)) +
		bytesSize(r.key) + bytesSize(r.value) + varintSize(int64(r.headerCount)) + len(r.headers)
	dst = append(appendVarint(dst, int64(size)), 0)
	dst = appendVarint(dst, r.timestampDelta)
	dst = appendVarint(dst, int64(r.offsetDelta))
	dst = appendBytes(dst, r.key)
	dst = appendBytes(dst, r.value)
	dst = appendVarint(dst, int64(r.headerCount))
	return append(dst, r.headers...)
}
