package autopsy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/internal/batch"
)

func tallyOf(t testing.TB, b []byte, budget int64) (*Segments, *window, error) {
	t.Helper()
	s := newSegmentTally()
	s.now = testNow.UnixMilli()
	w := &window{r: bytes.NewReader(b), budget: budget}
	err := s.headers(w)
	return s.done(), w, err
}

func segment(t testing.TB, headers ...batch.Header) []byte {
	t.Helper()
	var out []byte
	for i, h := range headers {
		h.BaseOffset = int64(i)
		var err error
		if out, err = batch.Build(out, h, batch.CodecNone, []batch.Record{{Offset: int64(i), Timestamp: h.MaxTimestamp, Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The first hundred batches of a partition that producers with five batches each wrote to, a few at a time.
func TestSegmentsOfVersions(t *testing.T) {
	for _, v := range versions {
		s, _, err := tallyOf(t, fixture(t, v, "shop.events-0", "00000000000000000000.log"), math.MaxInt64)
		if err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		if s.Batches != 100 || s.Idempotent != 100 || s.Transactional != 0 || s.Producers < 20 || s.Producers > 22 || s.Newborn != s.Producers || s.BatchesMedian != 5 || s.Sampled != 1 || s.Future != 0 {
			t.Errorf("%s: %+v", v, s)
		}
	}
}

func TestSegmentContent(t *testing.T) {
	now := testNow.UnixMilli()
	b := segment(t,
		batch.Header{ProducerID: 5, BaseSequence: 0, MaxTimestamp: now - 60_000},
		batch.Header{ProducerID: 5, BaseSequence: 1, MaxTimestamp: now},
		batch.Header{ProducerID: 6, BaseSequence: 70, MaxTimestamp: now},
		batch.Header{ProducerID: 7, ProducerEpoch: 2, BaseSequence: 0, MaxTimestamp: now, Attributes: batch.AttributeTransactional},
		batch.Header{ProducerID: 7, ProducerEpoch: 2, BaseSequence: -1, MaxTimestamp: now, Attributes: batch.AttributeTransactional | batch.AttributeControl},
		batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, MaxTimestamp: now + 7_200_000})
	s, w, err := tallyOf(t, append(b, make([]byte, 100)...), math.MaxInt64) // preallocated
	if err != nil {
		t.Fatal(err)
	}
	if s.Batches != 5 || s.Control != 1 || s.Idempotent != 4 || s.Transactional != 1 || s.Producers != 3 || s.Newborn != 1 || s.Future != 1 ||
		s.FutureMax != now+7_200_000 || s.LifeMedian != 60 || s.BatchesMedian != 2 || s.PIDMin != 5 || s.PIDMax != 7 || w.at != int64(len(b)) {
		t.Errorf("%+v at %d", s, w.at)
	}
}

func TestSegmentDamage(t *testing.T) {
	b := segment(t, batch.Header{ProducerID: 1}, batch.Header{ProducerID: 2})
	one := len(b) / 2
	bad := bytes.Clone(b)
	bad[one+16] = 9
	long := bytes.Clone(b)
	binary.BigEndian.PutUint32(long[one+8:], math.MaxInt32)
	negative := bytes.Clone(b)
	binary.BigEndian.PutUint32(negative[one+8:], 0x80000000)
	old := bytes.Clone(b)
	old[16] = 1
	for name, c := range map[string]struct {
		b       []byte
		batches int64
		says    string
	}{
		"magic": {bad, 1, "magic 9"}, "length": {long, 2, "not believed"}, "negative": {negative, 1, "length field"},
		"cut header": {b[:one+20], 1, "truncated"}, "cut records": {b[:len(b)-3], 2, ""}, "old format": {old, 1, ""}, "text": {[]byte(strings.Repeat("hello ", 30)), 0, "magic"},
	} {
		s, _, err := tallyOf(t, c.b, math.MaxInt64)
		if s.Batches != c.batches || (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d batches, %v", name, s.Batches, err)
		}
	}
}

func TestManyProducersAreSampled(t *testing.T) {
	s := newSegmentTally()
	const n = 500_000
	for pid := range int64(n) {
		s.add(batch.Header{ProducerID: pid, BaseSequence: 0, MaxTimestamp: 1})
	}
	out := s.done()
	if out.Sampled < 8 || len(s.pids) > producersTracked || out.Producers < n*95/100 || out.Producers > n*105/100 || out.Newborn != out.Producers {
		t.Errorf("%+v", out)
	}
}

func TestSegmentBudget(t *testing.T) {
	var headers []batch.Header
	for pid := range int64(5000) {
		headers = append(headers, batch.Header{ProducerID: pid})
	}
	b := segment(t, headers...)
	if s, w, err := tallyOf(t, b, 100_000); err != nil || w.read > 100_000+headerWindow || s.Batches < 1000 || s.Batches > 2500 {
		t.Errorf("%d batches in %d bytes, %v", s.Batches, w.read, err)
	}
	// Large batches are jumped over: a seek costs nothing of the budget.
	big := make([]byte, 0, 40<<20)
	for i := range int64(20) {
		var err error
		if big, err = batch.Build(big, batch.Header{BaseOffset: i, ProducerID: i}, batch.CodecNone, []batch.Record{{Offset: i, Value: make([]byte, 2<<20)}}); err != nil {
			t.Fatal(err)
		}
	}
	s := newSegmentTally()
	r := bytes.NewReader(big)
	w := &window{r: r, seeker: r, budget: math.MaxInt64}
	if err := s.headers(w); err != nil || s.Batches != 20 || w.read > 21*headerWindow {
		t.Errorf("%d batches, %d bytes read, %v", s.Batches, w.read, err)
	}
}

func TestTailOfALargeSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t-0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var log, index []byte
	for pid := int64(0); len(log) < 3<<20; pid++ {
		if pid%100 == 50 {
			index = binary.BigEndian.AppendUint32(index, uint32(pid))
			index = binary.BigEndian.AppendUint32(index, uint32(len(log)))
		}
		var err error
		if log, err = batch.Build(log, batch.Header{BaseOffset: pid, ProducerID: pid}, batch.CodecNone, []batch.Record{{Offset: pid, Timestamp: 1000 * pid}}); err != nil {
			t.Fatal(err)
		}
	}
	index = append(index, make([]byte, 800)...) // preallocated
	name := filepath.Join(dir, "00000000000000000000.log")
	for path, b := range map[string][]byte{name: log, strings.TrimSuffix(name, ".log") + ".index": index} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := &reader{ctx: context.Background(), o: Options{Now: testNow}, out: &Evidence{}}
	s := newSegmentTally()
	if _, err := r.readSegment(&file{path: name, size: int64(len(log)), mod: testNow}, s, 1<<20); err != nil {
		t.Fatal(err)
	}
	last := s.PIDMax
	if s.PIDMin < 10_000 || s.Bytes > 1<<20+headerWindow+100*80 || last < s.PIDMin {
		t.Errorf("ids %d to %d, %d bytes", s.PIDMin, last, s.Bytes)
	}
	if at := indexed(filepath.Join(dir, "none.log"), 5); at != 0 {
		t.Errorf("an index that is not there points to %d", at)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add(fixture(f, "2.3.1", "shop.events-0", "00000000000000000000.log")[:300])
	f.Add(segment(f, batch.Header{ProducerID: 5}, batch.Header{ProducerID: -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, seek := range []bool{false, true} {
			s := newSegmentTally()
			s.now = 1
			r := bytes.NewReader(b)
			w := &window{r: r, budget: 1 << 20}
			if seek {
				w.seeker = io.Seeker(r)
			}
			_ = s.headers(w) // an error is a fine answer
			out := s.done()
			if out.Batches*batch.HeaderSize > int64(len(b)) || out.Newborn > out.Producers {
				t.Fatalf("%+v of %d bytes", out, len(b))
			}
			checkReport(t, &Evidence{At: testNow, Partitions: []Partition{{Dir: "x-0", Topic: "x", Segments: out}}})
		}
	})
}
