package batch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// anything is the loosest topic.
func anything() Rules {
	return Rules{TimestampBeforeMax: -1, TimestampAfterMax: -1, CompressionType: "producer"}
}

func validate(t testing.TB, raw []byte, r Rules) (Batch, error) {
	t.Helper()
	b, err := ParseOne(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Validate(b, r, now)
}

// The whole table of source codec and compression.type: the records stay what
// they were, the checksum is right, and the bytes are untouched where the codec is.
func TestValidateCompressionType(t *testing.T) {
	recs := someRecords(200, 500)
	for _, source := range codecs {
		for _, target := range []string{"", "producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"} {
			for _, level := range []int{LevelDefault, 1, 5, 9} {
				raw := build(t, produced(), source, recs...)
				before := slices.Clone(raw)
				r := anything()
				r.CompressionType, r.CompressionGzipLevel, r.CompressionLZ4Level, r.CompressionZstdLevel = target, level, level, level
				b, err := validate(t, raw, r)
				if err != nil {
					t.Fatal(source, target, err)
				}
				want, known := CodecByName(target)
				if !known {
					want = source
				}
				if b.Header().Codec() != want {
					t.Fatalf("%d to %q: codec %d", source, target, b.Header().Codec())
				}
				if !bytes.Equal(raw, before) || (want == source) != (&b.Bytes()[0] == &raw[0]) {
					t.Fatalf("%d to %q: changed, or rebuilt where nothing asks for it", source, target)
				}
				again, err := ParseOne(b.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				h, old := again.Header(), decodeHeader(before)
				if h.MaxTimestamp != old.MaxTimestamp || h.ProducerID != 7 || h.ProducerEpoch != 1 || h.BaseSequence != 5 || h.LogAppendTime() {
					t.Fatalf("%+v", h)
				}
				sameRecords(t, collect(t, again), recs, 0)
			}
		}
	}
}

func TestValidateLogAppendTime(t *testing.T) {
	for _, codec := range codecs {
		for _, target := range []string{"producer", "lz4", "uncompressed"} {
			raw := build(t, produced(), codec, someRecords(20, 50)...)
			r := anything()
			r.LogAppendTime, r.CompressionType = true, target
			r.TimestampBeforeMax, r.TimestampAfterMax = 0, 0 // not asked of log append time
			b, err := validate(t, raw, r)
			if err != nil {
				t.Fatal(err)
			}
			if b, err = ParseOne(b.Bytes()); err != nil {
				t.Fatal(err)
			}
			if h := b.Header(); !h.LogAppendTime() || h.MaxTimestamp != now.UnixMilli() {
				t.Fatalf("%+v", h)
			}
			for _, rec := range collect(t, b) {
				if rec.Timestamp != now.UnixMilli() {
					t.Fatalf("%+v", rec)
				}
			}
			b.Patch(0, -1)
			_, err = Validate(b, r, now)
			wantErr(t, err, ErrInvalidTimestamp) // only a broker may set the type
		}
	}
}

// The header's maximum is the producer's word; the stored one is the truth.
func TestValidateSetsMaxTimestamp(t *testing.T) {
	recs := someRecords(20, 50)
	highest := recs[0].Timestamp
	for _, r := range recs {
		highest = max(highest, r.Timestamp)
	}
	for _, codec := range codecs {
		raw := build(t, produced(), codec, recs...)
		Batch{raw}.setTimestamps(false, highest+1e9)
		if _, err := ParseOne(raw); err != nil {
			t.Fatal(err)
		}
		b, err := validate(t, raw, anything())
		if err != nil {
			t.Fatal(err)
		}
		if b, err = ParseOne(b.Bytes()); err != nil || b.Header().MaxTimestamp != highest {
			t.Fatal(err, b.Header().MaxTimestamp, highest)
		}
	}
	// The type bit, set by the client on a CreateTime topic, goes away.
	raw := build(t, produced(), CodecNone, recs...)
	Batch{raw}.setTimestamps(true, 5)
	b, err := validate(t, raw, anything())
	if err != nil || b.Header().LogAppendTime() || b.Header().MaxTimestamp != highest {
		t.Fatalf("%+v %v", b.Header(), err)
	}
	sameRecords(t, collect(t, b), recs, 0)
}

func TestValidateTimestampRange(t *testing.T) {
	for _, c := range []struct {
		age, before, after time.Duration
		ok                 bool
	}{
		{0, 0, 0, true}, {time.Hour, time.Hour, 0, true}, {time.Hour + time.Millisecond, time.Hour, 0, false},
		{-time.Hour, 0, time.Hour, true}, {-time.Hour - time.Millisecond, 0, time.Hour, false},
		{1000 * time.Hour, -1, 0, true}, {-1000 * time.Hour, 0, -1, true}, {time.Millisecond, 0, 0, false},
		{time.Hour, 1<<63 - 1, 1<<63 - 1, true}, {-time.Hour, 1<<63 - 1, 1<<63 - 1, true},
	} {
		for _, codec := range codecs {
			raw := build(t, produced(), codec, Record{Timestamp: NoTimestamp}, Record{Timestamp: now.Add(-c.age).UnixMilli()})
			r := anything()
			r.TimestampBeforeMax, r.TimestampAfterMax = c.before, c.after
			_, err := validate(t, raw, r)
			if c.ok {
				if err != nil {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			wantErr(t, err, ErrInvalidTimestamp)
			var rejected *RejectedError
			if !errors.As(err, &rejected) || len(rejected.Records) != 1 || rejected.Records[0].Index != 1 {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
	for _, extreme := range []int64{-1 << 63, 1<<63 - 1, -2} {
		raw := build(t, produced(), CodecNone, Record{Timestamp: extreme})
		r := anything()
		r.TimestampBeforeMax, r.TimestampAfterMax = time.Hour, time.Hour
		_, err := validate(t, raw, r)
		wantErr(t, err, ErrInvalidTimestamp)
		if _, err = validate(t, raw, anything()); err != nil {
			t.Error(extreme, err)
		}
	}
}

func TestValidateNoTimestamps(t *testing.T) {
	raw := build(t, produced(), CodecNone, Record{Timestamp: NoTimestamp}, Record{Timestamp: NoTimestamp})
	b, err := validate(t, raw, anything())
	if err != nil || b.Header().MaxTimestamp != NoTimestamp {
		t.Fatal(err, b.Header().MaxTimestamp)
	}
}

func TestValidateRequiresKeys(t *testing.T) {
	r := anything()
	r.RequireKey = true
	good := build(t, produced(), CodecZstd, Record{Key: []byte{}}, Record{Key: []byte("k")})
	if _, err := validate(t, good, r); err != nil {
		t.Fatal(err)
	}
	recs := make([]Record, RejectedRecordsMax+50)
	recs[0].Key = []byte("k")
	_, err := validate(t, build(t, produced(), CodecGzip, recs...), r)
	wantErr(t, err, ErrInvalidRecord)
	var rejected *RejectedError
	if !errors.As(err, &rejected) || len(rejected.Records) != RejectedRecordsMax || rejected.Records[0].Index != 1 {
		t.Fatal(err)
	}
	// One bad timestamp among them decides the error, as in Kafka.
	recs[len(recs)-1] = Record{Key: []byte("k"), Timestamp: now.UnixMilli() * 2}
	r.TimestampAfterMax = time.Hour
	_, err = validate(t, build(t, produced(), CodecGzip, recs...), r)
	wantErr(t, err, ErrInvalidTimestamp)
}

func TestValidateRefusesHeaders(t *testing.T) {
	good := build(t, produced(), CodecNone, someRecords(3, 20)...)
	for name, c := range map[string]struct {
		change func(b []byte)
		want   error
	}{
		"base offset": {func(b []byte) { b[atBaseOffset+7] = 1 }, ErrInvalidRecord},
		"no records":  {func(b []byte) { putInt32(b[atRecordCount:], 0) }, ErrInvalidRecord},
		"fewer records than offsets": {func(b []byte) { putInt32(b[atRecordCount:], 2) },
			ErrInvalidRecord},
		"control":     {func(b []byte) { b[atAttributes+1] |= byte(AttributeControl) }, ErrInvalidRecord},
		"no sequence": {func(b []byte) { putInt32(b[atBaseSequence:], -1) }, ErrInvalidRecord},
		"codec 5":     {func(b []byte) { b[atAttributes+1] |= 5 }, ErrUnsupportedCompression},
		"codec 7":     {func(b []byte) { b[atAttributes+1] |= 7 }, ErrUnsupportedCompression},
		"says gzip":   {func(b []byte) { b[atAttributes+1] |= 1 }, ErrInvalidRecord},
		"says snappy": {func(b []byte) { b[atAttributes+1] |= 2 }, ErrInvalidRecord},
		"says lz4":    {func(b []byte) { b[atAttributes+1] |= 3 }, ErrInvalidRecord},
		"says zstd":   {func(b []byte) { b[atAttributes+1] |= 4 }, ErrInvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			b := slices.Clone(good)
			c.change(b)
			setCRC(b)
			_, err := validate(t, b, anything())
			wantErr(t, err, c.want)
		})
	}
	r := anything()
	r.CompressionType = "brotli"
	_, err := validate(t, good, r)
	wantErr(t, err, ErrUnsupportedCompression)
}

func TestValidateSizes(t *testing.T) {
	recs := []Record{{Timestamp: 1, Value: bytes.Repeat([]byte("a"), 10_000)}}
	raw := build(t, produced(), CodecGzip, recs...)
	r := anything()
	r.MaxBytes = int32(len(raw))
	if _, err := validate(t, raw, r); err != nil {
		t.Fatal(err)
	}
	r.CompressionType = "uncompressed" // what is stored counts
	_, err := validate(t, raw, r)
	wantErr(t, err, ErrTooLarge)
	r.CompressionType, r.MaxBytes = "producer", r.MaxBytes-1
	_, err = validate(t, raw, r)
	wantErr(t, err, ErrTooLarge)
	r.MaxBytes, r.DecompressedBytesMax = 0, 9_999
	_, err = validate(t, raw, r)
	wantErr(t, err, ErrTooLarge)
}

// withRecords is a batch whose encoded records are given.
func withRecords(t testing.TB, codec int8, count int32, records []byte) []byte {
	t.Helper()
	h := produced()
	h.RecordCount, h.LastOffsetDelta = count, count-1
	raw, err := appendBatch(nil, h, codec, LevelDefault, records)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestValidateRefusesRecords(t *testing.T) {
	// length, attributes, timestamp delta, offset delta, key, value, header count
	good := []byte{2 * 6, 0, 0, 0, 1, 1, 0}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	pad := make([]byte, 20)
	for name, c := range map[string]struct {
		count   int32
		records []byte
	}{
		"too few":               {2, join(good, []byte{2 * 6, 0, 0})},
		"too many":              {1, join(good, good)},
		"a byte left":           {1, join(good, []byte{0})},
		"length short":          {1, join([]byte{2 * 5, 0, 0, 0, 1, 1, 0}, pad)},
		"length long":           {1, join([]byte{2 * 7, 0, 0, 0, 1, 1, 0, 0})},
		"length negative":       {1, join([]byte{1, 0, 0, 0, 1, 1, 0})},
		"length past the end":   {1, join([]byte{2 * 60, 0, 0, 0, 1, 1, 0})},
		"length of six bytes":   {1, join([]byte{0x8C, 0x80, 0x80, 0x80, 0x80, 0x10}, pad)},
		"length never ends":     {1, bytes.Repeat([]byte{0xFF}, 20)},
		"key past the record":   {2, join([]byte{2 * 6, 0, 0, 0, 2 * 3, 1, 0}, good)},
		"value past the record": {2, join([]byte{2 * 6, 0, 0, 0, 1, 2 * 7, 0}, good)},
		"headers past":          {1, join([]byte{2 * 6, 0, 0, 0, 1, 1, 2 * 1})},
		"headers negative":      {1, join([]byte{2 * 6, 0, 0, 0, 1, 1, 1})},
		"headers, a billion":    {1, join([]byte{2 * 10, 0, 0, 0, 1, 1, 0x80, 0xA8, 0xD6, 0xB9, 0x07})},
		"header key null":       {1, join([]byte{2 * 8, 0, 0, 0, 1, 1, 2, 1, 1})},
		"header value past":     {1, join([]byte{2 * 8, 0, 0, 0, 1, 1, 2, 0, 2 * 9})},
	} {
		for _, codec := range codecs {
			t.Run(fmt.Sprint(name, " ", CodecName(codec)), func(t *testing.T) {
				raw := withRecords(t, codec, c.count, c.records)
				b, err := Parse(raw)
				if err == nil {
					_, err = Validate(b, anything(), now)
				}
				wantErr(t, err, ErrInvalidRecord)
				if b.Size() > 0 {
					wantErr(t, b.Records(func(Record) error { return nil }), ErrInvalidRecord)
				}
			})
		}
	}
	if _, err := validate(t, withRecords(t, CodecNone, 2, join(good, []byte{2 * 6, 9, 0, 2, 1, 1, 0})), anything()); err != nil {
		t.Fatal("the good one of these:", err)
	}
}

// Clients that number the records of a batch wrongly are put right.
func TestValidateRenumbers(t *testing.T) {
	recs := someRecords(50, 100)
	for _, codec := range codecs {
		var records []byte
		for i := range recs {
			headers := encodeHeaders(recs[i].Headers)
			records = appendRaw(records, &rawRecord{offsetDelta: int32(i*3 - 7), timestampDelta: recs[i].Timestamp,
				key: recs[i].Key, value: recs[i].Value, headerCount: int32(len(recs[i].Headers)), headers: headers})
		}
		raw := withRecords(t, codec, int32(len(recs)), records)
		b, err := validate(t, raw, anything())
		if err != nil {
			t.Fatal(err)
		}
		if b, err = ParseOne(b.Bytes()); err != nil || b.Header().Codec() != codec {
			t.Fatal(err)
		}
		sameRecords(t, collect(t, b), recs, 0)
	}
}

func encodeHeaders(headers []RecordHeader) (out []byte) {
	for _, kv := range headers {
		out = append(appendVarint(out, int64(len(kv.Key))), kv.Key...)
		out = appendBytes(out, kv.Value)
	}
	return out
}

func TestValidateDoesNotAllocate(t *testing.T) {
	for _, codec := range []int8{CodecNone, CodecSnappy, CodecLZ4} {
		raw := build(t, produced(), codec, someRecords(100, 100)...)
		r := anything()
		r.TimestampAfterMax = time.Hour
		allocs := testing.AllocsPerRun(100, func() {
			b, err := ParseOne(raw)
			if err == nil {
				_, err = Validate(b, r, now)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if allocs >= 1 {
			t.Errorf("%s: %v allocations a batch", CodecName(codec), allocs)
		}
	}
}
