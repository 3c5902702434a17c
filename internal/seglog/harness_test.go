package seglog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// testEpochTime is when the tests' clock starts, and the timestamp of offset 0.
const testEpochTime = int64(1_700_000_000_000)

// testJournalBytes is room for three small passes: a test of some more has turns and checkpoints.
const testJournalBytes = 3 * journalBlock

// testHeldTailMax is room for one or two small batches.
const testHeldTailMax = 250

func now() time.Time { return time.UnixMilli(testEpochTime) }

// testConfig makes small segments with dense indexes.
func testConfig() *Config {
	c := DefaultConfig()
	c.SegmentBytes, c.IndexIntervalBytes, c.FileDeleteDelayMillis = 1000, 100, 0
	c.RetentionMillis = -1
	return c
}

func openStore(t testing.TB, fsys disk.FS) *Store {
	t.Helper()
	return openStoreWith(t, fsys, testJournalBytes)
}

func openStoreWith(t testing.TB, fsys disk.FS, journalBytes int64) *Store {
	t.Helper()
	s, err := OpenStore(Options{FS: fsys, Dir: "data", FreeBytesMin: -1, JournalBytes: journalBytes, writeAgainWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openLog(t testing.TB, s *Store, o OpenOptions) *Log {
	t.Helper()
	if o.Name == "" {
		o.Name = "t-0"
	}
	if o.Config == nil {
		o.Config = testConfig()
	}
	l, err := s.OpenLog(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mkBatch builds a batch of n records of about valueBytes each, with consecutive timestamps from ts.
func mkBatch(t testing.TB, n int, ts int64, valueBytes int, seed int64) batch.Batch {
	t.Helper()
	recs := make([]batch.Record, n)
	for i := range recs {
		value := make([]byte, valueBytes)
		copy(value, fmt.Sprintf("seed %d record %d", seed, i))
		recs[i] = batch.Record{Timestamp: ts + int64(i), Value: value}
	}
	h := batch.Header{ProducerID: seed, ProducerEpoch: 0, BaseSequence: 0}
	b, err := batch.Build(nil, h, batch.CodecNone, recs)
	if err != nil {
		t.Fatal(err)
	}
	v, err := batch.ParseOne(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mustAppend appends and waits for durability.
func mustAppend(t testing.TB, l *Log, b batch.Batch) int64 {
	t.Helper()
	base, tk, err := l.Append(b, AppendOptions{Wait: true, Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	<-tk.Done()
	if err := tk.Err(); err != nil {
		t.Fatal(err)
	}
	return base
}

// fill appends n batches of three records each; record k has the timestamp testEpochTime + k, batch i the producer id i.
func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	for range n {
		base := l.End()
		mustAppend(t, l, mkBatch(t, 3, testEpochTime+base, 20, base))
	}
}

// readAll returns the headers of everything readable, verifying every batch.
func readAll(t testing.TB, l *Log, bytesMax int) []batch.Header {
	t.Helper()
	var out []batch.Header
	for offset := l.Start(); offset < l.Committed(); {
		data, err := l.Read(nil, offset, bytesMax, true)
		if err != nil {
			t.Fatalf("read %d: %v", offset, err)
		}
		if len(data) == 0 {
			t.Fatalf("read %d: nothing, committed %d", offset, l.Committed())
		}
		for len(data) > 0 {
			b, err := batch.Parse(data)
			if err != nil {
				t.Fatalf("read %d: %v", offset, err)
			}
			if b.Header().LastOffset() < offset {
				t.Fatalf("read %d: batch of %d", offset, b.Header().BaseOffset)
			}
			out = append(out, b.Header())
			offset = b.Header().LastOffset() + 1
			data = data[b.Size():]
		}
	}
	return out
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func counterValue(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, expected %v", err, want)
	}
}

func msDuration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// slowFS holds every Sync of a file, while on, until proceed is closed.
type slowFS struct {
	disk.FS
	on      atomic.Bool
	entered chan struct{}
	proceed chan struct{}
}

type slowFile struct {
	disk.File
	fs *slowFS
}

func (s *slowFS) Create(name string) (disk.File, error) {
	f, err := s.FS.Create(name)
	return &slowFile{f, s}, err
}

func (f *slowFile) Sync() error {
	if f.fs.on.Load() {
		f.fs.entered <- struct{}{}
		<-f.fs.proceed
	}
	return f.File.Sync()
}

// advance lets the clock of a synctest bubble run.
func advance(d time.Duration) { <-time.After(d) }
