package seglog

import (
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

func TestAppendReadReopen(t *testing.T) {
	m := disk.NewMem()
	s := openStore(t, m)
	l := openLog(t, s, OpenOptions{TopicID: [16]byte{1}})
	fill(t, l, 50)
	if n := len(readAll(t, l, 1<<20)); n != 50 {
		t.Fatalf("%d batches", n)
	}
	if n := len(readAll(t, l, 1)); n != 50 {
		t.Fatalf("%d batches", n)
	}
	if len(l.Segments()) < 5 {
		t.Fatalf("segments %v", l.Segments())
	}
	pos := l.Position()
	closeStore(t, s)

	for _, unclean := range []bool{false, true} {
		for _, checkpoint := range []bool{false, true} {
			s = openStore(t, m)
			replayed := 0
			l = openLog(t, s, OpenOptions{TopicID: [16]byte{1}, Unclean: unclean, HasCheckpoint: checkpoint, Checkpoint: pos,
				Replay: func(h batch.Header) error { replayed++; return nil }})
			if l.End() != 150 || l.Position() != pos {
				t.Fatalf("end %d, position %v, expected %v", l.End(), l.Position(), pos)
			}
			if want := map[bool]int{false: 50, true: 0}[checkpoint]; replayed != want {
				t.Fatalf("replayed %d, expected %d", replayed, want)
			}
			if n := len(readAll(t, l, 700)); n != 50 {
				t.Fatalf("%d batches", n)
			}
			closeStore(t, s)
		}
	}
}

func TestEveryOffsetAndTimestamp(t *testing.T) {
	m := disk.NewMem()
	s := openStore(t, m)
	l := openLog(t, s, OpenOptions{})
	fill(t, l, 60)
	check := func() {
		t.Helper()
		for o := int64(0); o < 180; o++ {
			l.mu.cursors = [readCursors]cursor{}
			data, err := l.Read(nil, o, 1, true)
			if err != nil {
				t.Fatal(err)
			}
			if h, _ := batch.DecodeHeader(data); h.BaseOffset != o/3*3 || h.Size() != int64(len(data)) {
				t.Fatalf("read %d: batch of %d, %d bytes", o, h.BaseOffset, len(data))
			}
			found, ok, err := l.OffsetForTimestamp(testEpochTime + o)
			if err != nil || !ok || found.Offset != o || found.Timestamp != testEpochTime+o {
				t.Fatalf("timestamp of %d: %v %v %v", o, found, ok, err)
			}
		}
		if _, ok, err := l.OffsetForTimestamp(testEpochTime + 180); ok || err != nil {
			t.Fatal(ok, err)
		}
		if got, ok, err := l.MaxTimestamp(); err != nil || !ok || got.Offset != 179 {
			t.Fatal(got, ok, err)
		}
	}
	check()
	l.ReleaseFiles()
	check()
	pos := l.Position()
	closeStore(t, s)
	for _, unclean := range []bool{false, true} {
		s = openStore(t, m)
		l = openLog(t, s, OpenOptions{Unclean: unclean, HasCheckpoint: true, Checkpoint: pos})
		check()
		closeStore(t, s)
	}
}
