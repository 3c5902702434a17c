package batch

import (
	"bytes"
	"reflect"
	"testing"
)

func records(t testing.TB, b Batch) (out []Record) {
	t.Helper()
	if err := b.Records(func(r Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkFiltered holds a filtered batch to what is promised: exactly the records that were to stay, with everything that
// belongs to them, in a batch that still says where it came from.
func checkFiltered(t testing.TB, f *Filter, b Batch) {
	t.Helper()
	prefix := []byte("before")
	out, res, err := f.Apply(prefix, b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(out, []byte("before")) {
		t.Fatal("what was there is gone")
	}
	out = out[len(prefix):]
	var want []Record
	tombstones := false
	for _, r := range records(t, b) {
		if f.Keep(r.Offset, r.Key, r.Value != nil) {
			want = append(want, r)
			tombstones = tombstones || r.Value == nil
		}
	}
	h := b.Header()
	if res.Kept != len(want) || res.Dropped != int(h.RecordCount)-len(want) {
		t.Fatalf("%+v, want %d kept of %d", res, len(want), h.RecordCount)
	}
	if len(want) == 0 {
		if len(out) != 0 {
			t.Fatalf("%d bytes for no record", len(out))
		}
		checkEmpty(t, h)
		return
	}
	got, err := ParseOne(out)
	if err != nil {
		t.Fatal(err)
	}
	if recs := records(t, got); !reflect.DeepEqual(recs, want) {
		t.Fatalf("records\n%v\nwant\n%v", recs, want)
	}
	g := got.Header()
	old, had := h.DeleteHorizon()
	horizon, has := g.DeleteHorizon()
	switch {
	case had && (!has || horizon != old):
		t.Fatalf("horizon %d, %v, was %d", horizon, has, old)
	case !had && has != (tombstones && f.Horizon != NoTimestamp):
		t.Fatalf("horizon %d, %v, tombstones %v", horizon, has, tombstones)
	case !had && has && horizon != f.Horizon:
		t.Fatalf("horizon %d, want %d", horizon, f.Horizon)
	}
	if res.Unchanged != bytes.Equal(out, b.Bytes()) && res.Unchanged {
		t.Fatal("called unchanged and is not")
	}
	if h.LogAppendTime() && g.MaxTimestamp != h.MaxTimestamp {
		t.Fatalf("log append time %d, was %d", g.MaxTimestamp, h.MaxTimestamp)
	}
	sameOrigin(t, g, h)
}

func checkEmpty(t testing.TB, h Header) {
	t.Helper()
	e, err := ParseOne(AppendEmpty(nil, h))
	if err != nil {
		t.Fatal(err)
	}
	if g := e.Header(); g.RecordCount != 0 || g.MaxTimestamp != h.MaxTimestamp || g.Size() != HeaderSize || g.Codec() != CodecNone {
		t.Fatalf("empty batch %+v of %+v", g, h)
	}
	g := e.Header()
	g.Attributes |= h.Attributes & AttributeCodecMask
	sameOrigin(t, g, h)
}

func sameOrigin(t testing.TB, got, want Header) {
	t.Helper()
	const known = AttributeCodecMask | AttributeLogAppendTime | AttributeTransactional | AttributeControl
	if got.Attributes&known != want.Attributes&known ||
		got.LastOffset() != want.LastOffset() || got.LastSequence() != want.LastSequence() || got.BaseOffset != want.BaseOffset ||
		got.LeaderEpoch != want.LeaderEpoch || got.ProducerID != want.ProducerID || got.ProducerEpoch != want.ProducerEpoch ||
		got.BaseSequence != want.BaseSequence {
		t.Fatalf("got %+v\nwas %+v", got, want)
	}
}

func every(mask uint64) func(int64, []byte, bool) bool {
	return func(offset int64, _ []byte, _ bool) bool { return mask>>(offset%64)&1 != 0 }
}

func TestFilter(t *testing.T) {
	for _, codec := range codecs {
		for _, n := range []int{1, 2, 7, 64} {
			for _, attributes := range []int16{0, AttributeTransactional, AttributeLogAppendTime} {
				h := Header{BaseOffset: 128, LeaderEpoch: 3, ProducerID: 9, ProducerEpoch: 2, BaseSequence: 1<<31 - 3, Attributes: attributes}
				if attributes == AttributeLogAppendTime {
					h.MaxTimestamp = now.UnixMilli() + 7
				}
				recs := someRecords(n, 40)
				for i := range recs {
					recs[i].Offset = h.BaseOffset + int64(i)
				}
				b, err := ParseOne(build(t, h, codec, recs...))
				if err != nil {
					t.Fatal(err)
				}
				for _, horizon := range []int64{NoTimestamp, 0, now.UnixMilli() + 86_400_000} {
					for _, mask := range []uint64{0, 1, 2, 0x5555555555555555, ^uint64(1), ^uint64(0), 1 << 63} {
						checkFiltered(t, &Filter{Keep: every(mask), Horizon: horizon}, b)
					}
				}
			}
		}
	}
}

// TestFilterTwice: a batch that is compacted already is compacted again, and keeps its horizon.
func TestFilterTwice(t *testing.T) {
	recs := someRecords(16, 30)
	for i := range recs {
		recs[i].Offset = 1000 + int64(i)
	}
	b, err := ParseOne(build(t, Header{BaseOffset: 1000, LastOffsetDelta: 40, ProducerID: 5}, CodecZstd, recs...))
	if err != nil {
		t.Fatal(err)
	}
	f := &Filter{Keep: every(^uint64(0x10)), Horizon: 777}
	out, _, err := f.Apply(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseOne(out)
	if err != nil {
		t.Fatal(err)
	}
	if horizon, ok := again.Header().DeleteHorizon(); !ok || horizon != 777 {
		t.Fatalf("horizon %d, %v", horizon, ok)
	}
	f = &Filter{Keep: every(0xff00ff00ff00ff00), Horizon: 888}
	checkFiltered(t, f, again)
}

// FuzzFilter: whatever gets through the checksum is filtered as promised or refused with an error of this package.
func FuzzFilter(f *testing.F) {
	seeds(f, func(raw []byte) { f.Add(raw, uint64(0x5a5a), int64(5)) })
	f.Fuzz(func(t *testing.T, raw []byte, mask uint64, horizon int64) {
		v, err := ParseTrusted(bytes.Clone(raw))
		if err != nil {
			return
		}
		setCRC(v.Bytes())
		fl := &Filter{Keep: every(mask), Horizon: max(horizon, NoTimestamp)}
		if _, _, err := fl.Apply(nil, v); err != nil {
			oneSentinel(t, err)
			return
		}
		if h := v.Header(); h.BaseOffset < 0 || int64(h.BaseOffset) > 1<<62 {
			return // no such batch is in a log
		}
		checkFiltered(t, fl, v)
	})
}
