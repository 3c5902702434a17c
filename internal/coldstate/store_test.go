package coldstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// openTest opens a store and fails the test if it reports a fatal error.
func openTest(t testing.TB, fs disk.FS, memoryBytes int64) *Store {
	t.Helper()
	s, err := Open(Options{
		FS: fs, Dir: "data/cold", MemoryBytes: memoryBytes, Metrics: metrics.New().Cold,
		OnFatal: func(err error) { t.Errorf("fatal: %v", err) },
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func closeTest(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func value(part uint64, key int64, n int) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint64(b, part*1_000_003+uint64(key))
	for i := 8; i < n; i++ {
		b[i] = byte(key>>(i%8)) ^ byte(i*31)
	}
	return b
}

func newTestFS(t testing.TB) *disk.Mem {
	t.Helper()
	m := disk.NewMem()
	if err := m.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return m
}

func wantGet(t testing.TB, s *Store, part uint64, key int64, want []byte) {
	t.Helper()
	got, found, err := s.Get(part, key, nil)
	if err != nil {
		t.Fatalf("Get(%d, %d): %v", part, key, err)
	}
	if found != (want != nil) || string(got) != string(want) {
		t.Fatalf("Get(%d, %d) = %x, %v; want %x", part, key, got, found, want)
	}
}

func TestReopen(t *testing.T) {
	fs := newTestFS(t)
	s := openTest(t, fs, MemoryBytesMin)
	for round := range 20 {
		b := s.NewBatch()
		for i := range 1000 {
			key := int64(round*1000 + i)
			b.Put(7, key, value(7, key, 46))
		}
		b.SetCheckpoint(7, Checkpoint{int64(round), 1, 2})
		b.SetMeta("age", fmt.Append(nil, round))
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if b.Len() != 0 {
			t.Fatalf("batch holds %d changes after Commit", b.Len())
		}
		b.Close()
	}
	wantGet(t, s, 7, 19_999, value(7, 19_999, 46))
	closeTest(t, s)
	s = openTest(t, fs.CrashClone(0, 1), MemoryBytesMin)
	defer closeTest(t, s)
	for key := int64(0); key < 20_000; key += 37 {
		wantGet(t, s, 7, key, value(7, key, 46))
	}
	wantGet(t, s, 7, 20_000, nil)
	wantGet(t, s, 6, 1, nil)
	if c, ok, err := s.FlushedCheckpoint(7); c != (Checkpoint{19, 1, 2}) || !ok || err != nil {
		t.Fatalf("FlushedCheckpoint = %v %v %v", c, ok, err)
	}
	if v, ok, err := s.Meta("age"); string(v) != "19" || !ok || err != nil {
		t.Fatalf("Meta = %q %v %v", v, ok, err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	fs := newTestFS(t)
	s := openTest(t, fs, MemoryBytesMin)
	defer closeTest(t, s)
	_, err := Open(Options{FS: fs, Dir: "data/cold", Metrics: metrics.New().Cold})
	if !errors.Is(err, disk.ErrLocked) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("second Open: %v", err)
	}
}
