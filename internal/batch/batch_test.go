package batch

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	codecs    = []int8{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd}
	sentinels = []error{ErrCorrupt, ErrTruncated, ErrOldMagic, ErrTooLarge, ErrInvalidRecord, ErrInvalidTimestamp, ErrUnsupportedCompression}
	now       = time.UnixMilli(1_700_000_000_000)
)

// produced is the header of a batch as an idempotent client sends it.
func produced() Header {
	return Header{LeaderEpoch: -1, ProducerID: 7, ProducerEpoch: 1, BaseSequence: 5}
}

func build(t testing.TB, h Header, codec int8, recs ...Record) []byte {
	t.Helper()
	b, err := Build(nil, h, codec, recs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// someRecords have every shape: null and empty keys and values, headers with
// null values and repeated keys, timestamps that go back.
func someRecords(n int, valueBytes int) []Record {
	r := rand.New(rand.NewPCG(uint64(n), uint64(valueBytes)))
	recs := make([]Record, n)
	for i := range recs {
		recs[i].Timestamp = now.UnixMilli() + int64(r.IntN(1000)) - 500
		switch i % 3 {
		case 0:
			recs[i].Key = fmt.Appendf(nil, "key-%d", i)
		case 1:
			recs[i].Key = []byte{}
		}
		if i%4 != 3 {
			recs[i].Value = bytes.Repeat([]byte{byte(r.Uint32()), 'x'}, r.IntN(valueBytes/2+1))
		}
		for j := range i % 3 {
			recs[i].Headers = append(recs[i].Headers, RecordHeader{"h", []byte(strings.Repeat("v", j*100))})
		}
		if i%5 == 0 {
			recs[i].Headers = append(recs[i].Headers, RecordHeader{"", nil})
		}
	}
	return recs
}

func collect(t testing.TB, b Batch) []Record {
	t.Helper()
	var out []Record
	if err := b.Records(func(r Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// sameRecords compares all but the offset; null is not empty.
func sameRecords(t testing.TB, got, want []Record, baseOffset int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	for i, g := range got {
		w := want[i]
		if g.Offset != baseOffset+int64(i) || g.Timestamp != w.Timestamp || !same(g.Key, w.Key) || !same(g.Value, w.Value) ||
			!slices.EqualFunc(g.Headers, w.Headers, func(a, b RecordHeader) bool { return a.Key == b.Key && same(a.Value, b.Value) }) {
			t.Fatalf("record %d: got %+v, want %+v", i, g, w)
		}
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	oneSentinel(t, err)
}

func oneSentinel(t testing.TB, err error) {
	t.Helper()
	n := 0
	for _, s := range sentinels {
		if errors.Is(err, s) {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("error %v wraps %d sentinels", err, n)
	}
}

func TestBuildParseRecords(t *testing.T) {
	for _, codec := range codecs {
		for _, n := range []int{1, 2, 100, 3000} {
			recs := someRecords(n, 300)
			h := produced()
			h.BaseOffset, h.LeaderEpoch = 1000, 3
			raw := build(t, h, codec, recs...)
			b, err := Parse(append(slices.Clone(raw), "rest"...))
			if err != nil {
				t.Fatal(err)
			}
			got := b.Header()
			if b.Size() != len(raw) || got.Codec() != codec || got.LastOffset() != 1000+int64(n)-1 || got.RecordCount != int32(n) ||
				got.LeaderEpoch != 3 || got.ProducerID != 7 || got.ProducerEpoch != 1 || got.BaseSequence != 5 || got.LastSequence() != int32(5+n-1) {
				t.Fatalf("header %+v", got)
			}
			sameRecords(t, collect(t, b), recs, 1000)
		}
	}
}

// What others encode is read, and what is encoded here is read by others.
func TestAgainstFranzGo(t *testing.T) {
	names := map[int8]kgo.CompressionCodec{CodecNone: kgo.NoCompression(), CodecGzip: kgo.GzipCompression(),
		CodecSnappy: kgo.SnappyCompression(), CodecLZ4: kgo.Lz4Compression(), CodecZstd: kgo.ZstdCompression()}
	for _, codec := range codecs {
		recs := someRecords(200, 2000)
		h := produced()
		ours := build(t, h, codec, recs...)

		var theirs kmsg.RecordBatch
		if err := theirs.ReadFrom(ours); err != nil {
			t.Fatal(err)
		}
		plain := theirs.Records
		if codec != CodecNone {
			var err error
			if plain, err = kgo.DefaultDecompressor().Decompress(theirs.Records, kgo.CompressionCodecType(codec)); err != nil {
				t.Fatalf("%s: %v", CodecName(codec), err)
			}
		}
		var raw []byte
		for i := range recs {
			var r kmsg.Record
			r.OffsetDelta = int32(i)
			r.TimestampDelta64 = recs[i].Timestamp - recs[0].Timestamp
			r.Key, r.Value = recs[i].Key, recs[i].Value
			for _, kv := range recs[i].Headers {
				r.Headers = append(r.Headers, kmsg.Header{Key: kv.Key, Value: kv.Value})
			}
			body := r.AppendTo(nil)[1:] // without the length that is not known yet
			r.Length = int32(len(body))
			raw = r.AppendTo(raw)
		}
		if !bytes.Equal(plain, raw) {
			t.Fatalf("%s: kmsg encodes these records to %d other bytes, ours %d", CodecName(codec), len(raw), len(plain))
		}

		compressor, err := kgo.DefaultCompressor(names[codec])
		if err != nil {
			t.Fatal(err)
		}
		compressed := raw
		if codec != CodecNone {
			out, used := compressor.Compress(new(bytes.Buffer), raw)
			if int8(used) != codec {
				t.Fatalf("compressed with %d", used)
			}
			compressed = out
		}
		got, err := Decompress(codec, []byte("prefix"), compressed, int64(len(raw)))
		if err != nil || string(got) != "prefix"+string(raw) {
			t.Fatalf("%s: %d bytes, %v", CodecName(codec), len(got), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := build(t, produced(), CodecNone, someRecords(3, 20)...)
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	resum := func(f func(b []byte)) []byte {
		return change(func(b []byte) { f(b); setCRC(b) })
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":           {nil, ErrTruncated},
		"no whole header":   {good[:60], ErrTruncated},
		"no whole batch":    {good[:len(good)-1], ErrTruncated},
		"crc":               {change(func(b []byte) { b[len(b)-1]++ }), ErrCorrupt},
		"stored crc":        {change(func(b []byte) { b[atCRC]++ }), ErrCorrupt},
		"magic 0":           {change(func(b []byte) { b[atMagic] = 0 }), ErrOldMagic},
		"magic 1, short":    {change(func(b []byte) { b[atMagic] = 1 })[:30], ErrOldMagic},
		"magic 3":           {change(func(b []byte) { b[atMagic] = 3 }), ErrCorrupt},
		"magic -1":          {change(func(b []byte) { b[atMagic] = 255 }), ErrCorrupt},
		"length 48":         {change(func(b []byte) { putInt32(b[atLength:], 48) }), ErrCorrupt},
		"length negative":   {change(func(b []byte) { putInt32(b[atLength:], -1) }), ErrCorrupt},
		"length max":        {change(func(b []byte) { putInt32(b[atLength:], math.MaxInt32) }), ErrTruncated},
		"count negative":    {resum(func(b []byte) { putInt32(b[atRecordCount:], -1) }), ErrInvalidRecord},
		"count over deltas": {resum(func(b []byte) { putInt32(b[atRecordCount:], 4) }), ErrInvalidRecord},
		"delta negative":    {resum(func(b []byte) { putInt32(b[atLastOffsetDelta:], -1) }), ErrInvalidRecord},
		"count over bytes": {resum(func(b []byte) {
			putInt32(b[atRecordCount:], 1000)
			putInt32(b[atLastOffsetDelta:], 999)
		}), ErrInvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.b)
			wantErr(t, err, c.want)
		})
	}
	if _, err := ParseTrusted(change(func(b []byte) { b[len(b)-1]++ })); err != nil {
		t.Fatal("ParseTrusted looks at the checksum:", err)
	}
	_, err := ParseOne(append(slices.Clone(good), good...))
	wantErr(t, err, ErrInvalidRecord)
	if b, err := ParseOne(good); err != nil || b.Size() != len(good) {
		t.Fatal(err)
	}
}

func TestPatchLeavesChecksum(t *testing.T) {
	raw := build(t, produced(), CodecLZ4, someRecords(9, 99)...)
	b, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	b.Patch(1<<40, 77)
	if b, err = Parse(raw); err != nil {
		t.Fatal(err)
	}
	if h := b.Header(); h.BaseOffset != 1<<40 || h.LeaderEpoch != 77 || collect(t, b)[8].Offset != 1<<40+8 {
		t.Fatalf("%+v", h)
	}
}

func TestLastSequenceWraps(t *testing.T) {
	for _, c := range []struct{ base, delta, last int32 }{
		{0, 0, 0}, {0, 9, 9}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1}, {NoSequence, 5, NoSequence},
	} {
		if got := (Header{BaseSequence: c.base, LastOffsetDelta: c.delta}).LastSequence(); got != c.last {
			t.Errorf("%d + %d: got %d, want %d", c.base, c.delta, got, c.last)
		}
	}
}

func TestBuildKeepsGaps(t *testing.T) {
	h := Header{BaseOffset: 100, LastOffsetDelta: 50, ProducerID: NoProducerID, BaseSequence: NoSequence}
	b, err := Parse(build(t, h, CodecNone, Record{Offset: 103, Timestamp: 5}, Record{Offset: 140, Timestamp: 3}))
	if err != nil {
		t.Fatal(err)
	}
	got, recs := b.Header(), collect(t, b)
	if got.LastOffset() != 150 || got.RecordCount != 2 || got.MaxTimestamp != 5 || recs[0].Offset != 103 || recs[1].Offset != 140 || recs[1].Timestamp != 3 {
		t.Fatalf("%+v %+v", got, recs)
	}
	for _, offsets := range [][2]int64{{140, 103}, {99, 103}, {103, 103}, {100, 100 + 1<<31}} {
		_, err := Build(nil, h, CodecNone, []Record{{Offset: offsets[0]}, {Offset: offsets[1]}})
		wantErr(t, err, ErrInvalidRecord)
	}
	empty, err := Parse(build(t, h, CodecNone))
	if err != nil || empty.Header().LastOffset() != 150 || len(collect(t, empty)) != 0 {
		t.Fatal("an empty batch keeps its offsets:", err)
	}
}

func TestRecordsStopsAtError(t *testing.T) {
	b, _ := Parse(build(t, produced(), CodecNone, someRecords(3, 5)...))
	stop, n := errors.New("stop"), 0
	if err := b.Records(func(Record) error { n++; return stop }); err != stop || n != 1 {
		t.Fatal(err, n)
	}
}

func putInt32(b []byte, v int32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

func setCRC(b []byte) { putInt32(b[atCRC:], int32(Batch{b}.computedCRC())) }
