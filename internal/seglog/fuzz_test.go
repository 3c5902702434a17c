package seglog

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// seedFiles are the files of a small real log, to start from.
func seedFiles(f testing.TB) map[string][]byte {
	f.Helper()
	mem := disk.NewMem()
	s := openStore(f, mem)
	cfg := testConfig()
	cfg.SegmentBytes = 1 << 20
	l := openLog(f, s, OpenOptions{TopicID: [16]byte{1}, Config: cfg})
	fill(f, l, 6)
	if _, err := l.DeleteRecords(4); err != nil {
		f.Fatal(err)
	}
	closeStore(f, s)
	out := map[string][]byte{}
	names, err := mem.List("data/t-0")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		b, err := disk.ReadFile(mem, "data/t-0/"+name, 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		out[name] = b
	}
	return out
}

func put(t testing.TB, mem *disk.Mem, name string, data []byte) {
	t.Helper()
	if err := mem.MkdirAll("data/t-0"); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFileAtomic(mem, "data/t-0/"+name, data); err != nil {
		t.Fatal(err)
	}
}

// useLog opens a log made of arbitrary bytes and uses everything of it. Errors are fine; panics, hangs and offsets that
// go back are not.
func useLog(t *testing.T, mem *disk.Mem, unclean bool, checkpoint Position, has bool) {
	s := openStore(t, mem)
	defer closeStore(t, s)
	last := int64(-1)
	l, err := s.OpenLog(OpenOptions{
		Name: "t-0", Config: testConfig(), Unclean: unclean, Checkpoint: checkpoint, HasCheckpoint: has,
		Replay: func(h batch.Header) error {
			if h.BaseOffset <= last || h.LastOffset() < h.BaseOffset {
				t.Errorf("replayed [%d, %d] after %d", h.BaseOffset, h.LastOffset(), last)
			}
			last = h.LastOffset()
			return nil
		},
	})
	if err != nil {
		return
	}
	start, durable, committed, end := l.Start(), l.Durable(), l.Committed(), l.End()
	if start > durable || durable > committed || committed > end || last >= end {
		t.Errorf("start %d, durable %d, committed %d, end %d, replayed %d", start, durable, committed, end, last)
	}
	for offset, n := start, 0; offset < committed && n < 50; n++ {
		data, err := l.Read(nil, offset, 500, true)
		if err != nil || len(data) == 0 {
			break
		}
		for len(data) > 0 {
			h, err := batch.DecodeHeader(data)
			if err != nil || h.LastOffset() < offset {
				t.Errorf("read %d: %+v %v", offset, h, err)
				return
			}
			offset, data = h.LastOffset()+1, data[h.Size():]
		}
	}
	_, _, _ = l.OffsetForTimestamp(testEpochTime + 5)
	_, _, _ = l.MaxTimestamp()
	_, _ = l.Read(nil, (start+end)/2, 100, false)
	if end < 1<<62 {
		if base, tk, err := l.Append(mkBatch(t, 2, testEpochTime, 30, 77), AppendOptions{Wait: true, Now: now()}); err == nil {
			<-tk.Done()
			// Without an index the way to it leads through the damage, and a start that was told to trust does not step over it.
			if data, err := l.Read(nil, base, 100, true); !errors.Is(err, ErrCorrupt) && (err != nil || len(data) == 0) {
				t.Errorf("the batch appended at %d cannot be read: %v", base, err)
			}
		}
	}
	_, _ = l.Retain(now())
	_, _ = l.DeleteRecords(l.Committed())
}

func FuzzSegment(f *testing.F) {
	seed := seedFiles(f)[segmentName(0, logSuffix)]
	for _, unclean := range []bool{false, true} {
		f.Add(seed, unclean, int64(-1), int64(0))
		f.Add(seed[:len(seed)-10], unclean, int64(3), int64(145))
		f.Add(append(bytes.Clone(seed), 0, 0, 0), unclean, int64(9), int64(435))
		damaged := bytes.Clone(seed)
		damaged[150] ^= 0xff
		f.Add(damaged, unclean, int64(6), int64(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, unclean bool, offset, position int64) {
		mem := disk.NewMem()
		put(t, mem, segmentName(0, logSuffix), data)
		useLog(t, mem, unclean, Position{Offset: max(offset, 0), Position: position}, offset >= 0)
		if _, err := CheckLog(mem, "data/t-0"); err != nil {
			t.Error(err)
		}
		if err := DumpFile(mem, "data/t-0/"+segmentName(0, logSuffix), io.Discard); err != nil {
			t.Log(err) // it may have been deleted
		}
	})
}

// FuzzIndexes has arbitrary index files beside a good segment: every record must be found all the same, unless a time
// index lies about the largest timestamp, which nothing but reading the segment could tell.
func FuzzIndexes(f *testing.F) {
	files := seedFiles(f)
	offsets, times := files[segmentName(0, indexSuffix)], files[segmentName(0, timeIndexSuffix)]
	for _, unclean := range []bool{false, true} {
		f.Add(offsets, times, unclean)
		f.Add([]byte{}, []byte{}, unclean)
		f.Add(offsets[1:], times[:13], unclean)
		f.Add(make([]byte, 800), make([]byte, 1200), unclean)
	}
	f.Fuzz(func(t *testing.T, offsets, times []byte, unclean bool) {
		mem := disk.NewMem()
		put(t, mem, segmentName(0, logSuffix), files[segmentName(0, logSuffix)])
		put(t, mem, segmentName(0, indexSuffix), offsets)
		put(t, mem, segmentName(0, timeIndexSuffix), times)
		s := openStore(t, mem)
		l := openLog(t, s, OpenOptions{Unclean: unclean})
		for o := range int64(18) {
			l.mu.cursors = [readCursors]cursor{}
			data, err := l.Read(nil, o, 1, true)
			if err != nil {
				t.Fatalf("read %d: %v", o, err)
			}
			if h, err := batch.DecodeHeader(data); err != nil || h.BaseOffset != o/3*3 {
				t.Fatalf("read %d: %+v %v", o, h, err)
			}
			got, ok, err := l.OffsetForTimestamp(testEpochTime + o)
			if err != nil || ok && got.Offset != o || unclean && !ok {
				t.Fatalf("time of %d: %v %v %v", o, got, ok, err)
			}
		}
		closeStore(t, s)
		if _, err := RepairLog(mem, "data/t-0"); err != nil {
			t.Fatal(err)
		}
		if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
	})
}

func FuzzEpochFile(f *testing.F) {
	f.Add([]byte("0\n2\n1 0\n5 100\n"))
	f.Add([]byte("0\n0\n"))
	f.Add([]byte("1\n1\n1 0\n"))
	f.Add([]byte("0\n99999999999\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if epochs, err := decodeEpochs(data); err == nil {
			again, err := decodeEpochs(encodeEpochs(epochs))
			if err != nil || len(again) != len(epochs) {
				t.Fatalf("%v: %v %v", epochs, again, err)
			}
		}
		mem := disk.NewMem()
		put(t, mem, epochFileName, data)
		useLog(t, mem, true, Position{}, false)
	})
}

func FuzzStartFile(f *testing.F) {
	f.Add(encodeStart(startFile{}))
	f.Add(encodeStart(startFile{start: 5, recovery: 3}))
	f.Add(encodeStart(startFile{start: 1 << 62, recovery: 1 << 62}))
	f.Add(encodeStart(startFile{start: 1, recovery: 9, cleaned: 5, holes: 9}))
	f.Add([]byte("log-start-offset 1\nstart 5\nrecovery 3\ncrc32c 00000000\n"))
	f.Add([]byte("log-start-offset 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decodeStart(data); err == nil {
			if again, err := decodeStart(encodeStart(s)); err != nil || again != s {
				t.Fatalf("%v: %v %v", s, again, err)
			}
		}
		mem := disk.NewMem()
		put(t, mem, startFileName, data)
		useLog(t, mem, true, Position{}, false)
		// With a right checksum whatever the offsets are.
		var s startFile
		if len(data) >= 16 {
			for i := range 7 {
				s.start = s.start<<8 | int64(data[i])
				s.recovery = s.recovery<<8 | int64(data[8+i])
			}
		}
		put(t, mem, startFileName, encodeStart(s))
		useLog(t, mem, len(data)%2 == 0, Position{}, false)
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(encodeMetadata([16]byte{1, 2, 3}))
	f.Add([]byte("version: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, err := decodeMetadata(data); err == nil {
			if again, err := decodeMetadata(encodeMetadata(id)); err != nil || again != id {
				t.Fatal(id, again, err)
			}
		}
	})
}
