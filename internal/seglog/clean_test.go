package seglog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// cleanConfig makes small segments that are due to be cleaned whenever something is dirty.
func cleanConfig() *Config {
	c := testConfig()
	c.Compact, c.MinDirtyRatio, c.SegmentBytes, c.DeleteRetentionMillis = true, 0, 2000, 1000
	return c
}

// keyedRecord is what the tests know of a record.
type keyedRecord struct {
	offset    int64
	timestamp int64
	key       string
	value     string
	tombstone bool
}

// keyedBatch builds a batch as a client sends it.
func keyedBatch(t testing.TB, codec int8, h batch.Header, recs []keyedRecord) batch.Batch {
	t.Helper()
	out := make([]batch.Record, len(recs))
	for i, r := range recs {
		out[i] = batch.Record{Timestamp: r.timestamp, Key: []byte(r.key), Value: []byte(r.value)}
		if r.tombstone {
			out[i].Value = nil
		}
	}
	b, err := batch.Build(nil, h, codec, out)
	if err != nil {
		t.Fatal(err)
	}
	v, err := batch.ParseOne(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// plainHeader is that of a batch without a producer.
func plainHeader() batch.Header {
	return batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

// readKeyed reads all records from the log start on, through the front door.
func readKeyed(t testing.TB, l *Log) (out []keyedRecord, headers []batch.Header) {
	t.Helper()
	for offset := l.Start(); offset < l.Committed(); {
		data, err := l.Read(nil, offset, 700, true)
		if err != nil {
			t.Fatalf("read %d: %v", offset, err)
		}
		if len(data) == 0 {
			return out, headers // nothing but a hole
		}
		for len(data) > 0 {
			b, err := batch.Parse(data)
			if err != nil {
				t.Fatalf("read %d: %v", offset, err)
			}
			h := b.Header()
			if n := len(headers); h.LastOffset() < offset || n > 0 && h.BaseOffset <= headers[n-1].LastOffset() {
				t.Fatalf("read %d: batch [%d, %d]", offset, h.BaseOffset, h.LastOffset())
			}
			err = b.Records(func(r batch.Record) error {
				out = append(out, keyedRecord{r.Offset, r.Timestamp, string(r.Key), string(r.Value), r.Value == nil})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			headers = append(headers, h)
			offset, data = h.LastOffset()+1, data[b.Size():]
		}
	}
	return out, headers
}

func mustClean(t testing.TB, l *Log, at time.Time, mapBytes int64) CleanStats {
	t.Helper()
	stats, err := l.Clean(context.Background(), CleanOptions{
		Now: at, Map: newTestMap(mapBytes), UpTo: math.MaxInt64, TombstonesBelow: math.MaxInt64,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// newTestMap makes a map smaller than any that is used in earnest.
func newTestMap(bytes int64) *OffsetMap {
	m := NewOffsetMap(0)
	if n := int(bytes / mapSlotBytes); bytes > 0 {
		m.slots, m.full = make([]mapSlot, max(n/4, 4)), max(n, 4)
	}
	return m
}

// keyedModel is a log with few keys and everything that was ever written to it.
type keyedModel struct {
	t     testing.TB
	rng   *rand.Rand
	l     *Log
	all   []keyedRecord
	now   int64
	clean int64           // up to here the log was cleaned
	since map[int64]int64 // offset of a tombstone -> when its batch first was cleaned
}

func (m *keyedModel) append(batches int) {
	for range batches {
		recs := make([]keyedRecord, 1+m.rng.IntN(6))
		for i := range recs {
			m.now += m.rng.Int64N(5)
			k := m.rng.IntN(30)
			recs[i] = keyedRecord{timestamp: m.now, key: fmt.Sprintf("key-%d", k*k), value: fmt.Sprintf("value %d", m.rng.IntN(1e9))}
			if m.rng.IntN(4) == 0 {
				recs[i].value, recs[i].tombstone = "", true
			}
		}
		base := mustAppend(m.t, m.l, keyedBatch(m.t, int8(m.rng.IntN(5)), plainHeader(), recs))
		for i := range recs {
			recs[i].offset = base + int64(i)
		}
		m.all = append(m.all, recs...)
	}
}

// check compares the log with what the rules leave of everything that was written.
func (m *keyedModel) check() {
	m.t.Helper()
	last := map[string]int64{}
	for _, r := range m.all {
		if r.offset < m.clean {
			last[r.key] = r.offset
		}
	}
	got, _ := readKeyed(m.t, m.l)
	at := map[int64]keyedRecord{}
	for i, r := range got {
		if i > 0 && r.offset <= got[i-1].offset {
			m.t.Fatalf("offset %d after %d", r.offset, got[i-1].offset)
		}
		at[r.offset] = r
	}
	for _, want := range m.all {
		r, found := at[want.offset]
		delete(at, want.offset)
		superseded := want.offset < m.clean && last[want.key] != want.offset
		mayGo := want.tombstone && want.offset < m.clean // by its horizon, which the test checks apart
		switch {
		case found && r != want:
			m.t.Fatalf("record %+v, was %+v", r, want)
		case found && superseded:
			m.t.Fatalf("record %+v has a later one at %d, cleaned up to %d", r, last[want.key], m.clean)
		case !found && !superseded && !mayGo:
			m.t.Fatalf("record %+v is gone, cleaned up to %d", want, m.clean)
		}
	}
	if len(at) > 0 {
		m.t.Fatalf("records from nowhere: %v", at)
	}
}

// TestCleanModel: after every cleaning of a log of random records the latest of each key is there, in order, with all
// that was written behind, whatever the codec, the size of the map, and restarts in between.
func TestCleanModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			mem := disk.NewMem()
			cfg := cleanConfig()
			s := openStore(t, mem)
			o := OpenOptions{Config: cfg}
			m := &keyedModel{t: t, rng: rand.New(rand.NewPCG(seed, 4)), l: openLog(t, s, o), now: testEpochTime}
			for range 12 {
				m.append(5 + m.rng.IntN(60))
				mapBytes := int64(m.rng.IntN(40)+4) * mapSlotBytes
				m.now += m.rng.Int64N(2000)
				stats := mustClean(t, m.l, time.UnixMilli(m.now), mapBytes)
				if stats.FirstDirty < m.clean {
					t.Fatalf("cleaned up to %d, was %d", stats.FirstDirty, m.clean)
				}
				m.clean = stats.FirstDirty
				m.check()
				if m.rng.IntN(3) == 0 {
					closeStore(t, s)
					if p, err := CheckLog(mem, "data/t-0"); err != nil || len(p) > 0 {
						t.Fatal(p, err)
					}
					o.Unclean = m.rng.IntN(2) == 0
					s = openStore(t, mem)
					m.l = openLog(t, s, o)
					if m.l.CleanedUpTo() != m.clean {
						t.Fatalf("cleaned up to %d, was %d", m.l.CleanedUpTo(), m.clean)
					}
					m.check()
				}
			}
			// A map that is large enough takes all at once, and with it goes every record but the latest of its key.
			m.append(40)
			m.clean = mustClean(t, m.l, time.UnixMilli(m.now), 0).FirstDirty
			if active := m.l.Segments(); m.clean != active[len(active)-1].Base {
				t.Errorf("cleaned up to %d of %v", m.clean, active)
			}
			m.check()
			closeStore(t, s)
		})
	}
}

func TestOffsetMap(t *testing.T) {
	m := NewOffsetMap(0)
	if m.full != OffsetMapBytesMin/mapSlotBytes/16*15 || m.Bytes() > OffsetMapBytesMin {
		t.Fatalf("%d slots, %d bytes", m.full, m.Bytes())
	}
	for round := range 2 {
		want := map[string]int64{}
		var key []byte
		n := int64(0)
		for ; ; n++ {
			key = fmt.Appendf(key[:0], "%d", n*7%100_000)
			if !m.put(key, n) {
				break
			}
			want[string(key)] = n
		}
		if m.used != len(want) || m.used != m.full*9/10 || m.Bytes() > OffsetMapBytesMin {
			t.Fatalf("round %d: %d used, %d keys, %d slots, %d bytes", round, m.used, len(want), m.full, m.Bytes())
		}
		if !m.put([]byte("7"), n) {
			t.Fatal("a known key is refused by a full map")
		}
		want["7"] = n
		for k, offset := range want {
			if got, found := m.get([]byte(k)); !found || got != offset {
				t.Fatalf("%s: %d, %v, want %d", k, got, found, offset)
			}
		}
		if _, found := m.get([]byte("another")); found {
			t.Fatal("found what was never put")
		}
		m.clear()
		if _, found := m.get([]byte("7")); found || m.used != 0 || m.Utilization() != 0 {
			t.Fatal("not empty after clear")
		}
	}
}

// TestCleanGoesOn: a record whose key does not fit is where the next cleaning begins, in the middle of a batch too.
func TestCleanGoesOn(t *testing.T) {
	s := openStore(t, disk.NewMem())
	defer closeStore(t, s)
	l := openLog(t, s, OpenOptions{Config: cleanConfig()})
	recs := make([]keyedRecord, 20)
	for round := range 10 {
		for i := range recs {
			recs[i] = keyedRecord{timestamp: testEpochTime, key: fmt.Sprint("k", i), value: fmt.Sprint(round, bytes.Repeat([]byte{'x'}, 20))}
		}
		mustAppend(t, l, keyedBatch(t, batch.CodecNone, plainHeader(), recs))
	}
	for at, cleanings := int64(-1), 0; ; cleanings++ {
		stats := mustClean(t, l, now(), 8*mapSlotBytes)
		if stats.FirstDirty == at {
			if c, err := l.Cleanable(now()); err != nil || c.DirtyBytes != 0 || c.Due(l.config()) {
				t.Errorf("after %d cleanings: %+v, %v", cleanings, c, err)
			}
			return
		}
		at = stats.FirstDirty
	}
}

// TestCleanRefusesDamage: a batch with a wrong checksum ends the cleaning with ErrCorrupt and nothing is changed.
func TestCleanRefusesDamage(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	defer closeStore(t, s)
	l := openLog(t, s, OpenOptions{Config: cleanConfig()})
	m := &keyedModel{t: t, rng: rand.New(rand.NewPCG(1, 1)), l: l, now: testEpochTime}
	m.append(60)
	before := l.Segments()
	f, err := mem.OpenReadWrite("data/t-0/"+segmentName(before[1].Base, logSuffix), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff}, 70); err != nil {
		t.Fatal(err)
	}
	_, err = l.Clean(context.Background(), CleanOptions{Now: now(), Map: NewOffsetMap(0), UpTo: math.MaxInt64})
	if !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if after := l.Segments(); fmt.Sprint(after) != fmt.Sprint(before) || l.CleanedUpTo() != 0 {
		t.Errorf("segments %v, were %v, cleaned up to %d", after, before, l.CleanedUpTo())
	}
}

// BenchmarkClean compacts a log on the disk of which nine records in ten are superseded.
func BenchmarkClean(b *testing.B) {
	for _, codec := range []int8{batch.CodecNone, batch.CodecZstd} {
		b.Run(batch.CodecName(codec), func(b *testing.B) {
			const keys, records, perBatch = 20_000, 200_000, 100
			var bytesRead, bytesLog int64
			for b.Loop() {
				b.StopTimer()
				cfg := cleanConfig()
				cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.FlushMessages = 1<<20, 4096, 1<<40
				s := benchStore(b)
				l := benchLog(b, s, fmt.Sprint("t-", b.N), cfg)
				rng := rand.New(rand.NewPCG(1, 1))
				recs := make([]keyedRecord, perBatch)
				for range records / perBatch {
					for i := range recs {
						recs[i] = keyedRecord{timestamp: testEpochTime, key: fmt.Sprintf("user-%08d", rng.IntN(keys)), value: fmt.Sprintf("%x %150x", [6]uint64{rng.Uint64(), rng.Uint64(), rng.Uint64()}, rng.Uint64())}
					}
					if _, _, err := l.Append(keyedBatch(b, codec, plainHeader(), recs), AppendOptions{Now: now()}); err != nil {
						b.Fatal(err)
					}
				}
				<-l.requestSync().Done()
				m := NewOffsetMap(16 << 20)
				b.StartTimer()
				stats, err := l.Clean(context.Background(), CleanOptions{Now: now(), Map: m, UpTo: math.MaxInt64})
				if err != nil || stats.MapFull {
					b.Fatal(stats, err)
				}
				bytesRead, bytesLog = stats.BytesRead+stats.MapBytes, stats.BytesRead
			}
			b.SetBytes(bytesLog)
			b.ReportMetric(float64(bytesRead)/float64(bytesLog), "reads/byte")
		})
	}
}
