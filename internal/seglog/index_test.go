package seglog

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// After a power loss the part of the active segment's index that was synced is kept, the rest is derived, and nothing is
// missing from either.
func TestIndexAfterPowerLoss(t *testing.T) {
	const batches = 3*indexUnsyncedMax + 1000
	mem := disk.NewMem()
	s := openStore(t, mem)
	cfg := testConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1<<30, 0
	l := openLog(t, s, OpenOptions{Config: cfg})
	rng := rand.New(rand.NewPCG(1, 1))
	stamps := make([]int64, batches)
	for i := range stamps {
		stamps[i] = testEpochTime + int64(i) + rng.Int64N(50)
		b := mkBatch(t, 1, stamps[i], 20, int64(i))
		_, tk, err := l.Append(b, AppendOptions{Wait: i%100 == 99, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			<-tk.Done()
		}
	}
	pos := l.Position()
	for seed, keep := range []float64{0, 0.3, 0.7, 1} {
		after := mem.CrashClone(keep, int64(seed))
		s := openStore(t, after)
		l := openLog(t, s, OpenOptions{Config: cfg, Unclean: true, Checkpoint: pos, HasCheckpoint: true})
		for range 300 {
			i := rng.IntN(int(l.End()))
			want := slices.IndexFunc(stamps, func(ts int64) bool { return ts >= stamps[i] })
			got, ok, err := l.OffsetForTimestamp(stamps[i])
			if err != nil || !ok || got.Offset != int64(want) {
				t.Fatalf("keep %v: timestamp of %d: %v %v %v, expected %d", keep, i, got, ok, err, want)
			}
			l.mu.cursors = [readCursors]cursor{}
			data, err := l.Read(nil, int64(i), 1, true)
			if h, _ := batch.DecodeHeader(data); err != nil || h.BaseOffset != int64(i) {
				t.Fatalf("keep %v: read %d: %+v %v", keep, i, h, err)
			}
		}
		if got, ok, err := l.MaxTimestamp(); err != nil || !ok || got.Timestamp != slices.Max(stamps[:l.End()]) {
			t.Fatal(got, ok, err)
		}
		if n := counterValue(t, s.metrics.IndexRebuilds); n != 0 {
			t.Errorf("keep %v: %v full rebuilds", keep, n)
		}
		mustAppend(t, l, mkBatch(t, 1, testEpochTime, 20, 1))
		closeStore(t, s)
		if problems, err := CheckLog(after, "data/t-0"); err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
	}
	closeStore(t, s)
}

// What was written since the last pass is not bounded, so of its index entries none are trusted: here all the data
// survives, and its offset index, but not its time index.
func TestIndexOfABurst(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	cfg := testConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.FlushMillis = 1<<30, 0, 3600_000
	l := openLog(t, s, OpenOptions{Config: cfg})
	var pos Position
	var entries int
	for i := range 4 * indexUnsyncedMax {
		ts := testEpochTime + int64(i)
		if i == 100 {
			pos, entries = l.Position(), l.mu.tail.onFile[1]
		}
		if i > 100 && i < 6000 {
			ts += 1_000_000 // the largest timestamps are among those whose entries are lost
		}
		_, tk, err := l.Append(mkBatch(t, 1, ts, 20, int64(i)), AppendOptions{Wait: i < 100, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		if i < 100 {
			<-tk.Done()
		}
	}
	after := mem.KillClone()
	<-l.PendingTicket().Done()
	closeStore(t, s)
	f, err := after.OpenReadWrite(l.path(segmentName(0, timeIndexSuffix)), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(entries) * timeEntryBytes); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, after)
	l = openLog(t, s, OpenOptions{Config: cfg, Unclean: true, Checkpoint: pos, HasCheckpoint: true})
	if got, ok, err := l.MaxTimestamp(); err != nil || !ok || got.Offset != 5999 {
		t.Fatal(got, ok, err)
	}
	closeStore(t, s)
	if problems, err := CheckLog(after, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

// A log whose records have no timestamps has empty time indexes, and is retained by the age of its files.
func TestWithoutTimestamps(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	cfg := testConfig()
	cfg.RetentionMillis = 1000
	l := openLog(t, s, OpenOptions{Config: cfg})
	for i := range int64(10) {
		recs := []batch.Record{{Timestamp: batch.NoTimestamp, Value: make([]byte, 200)}}
		raw, err := batch.Build(nil, batch.Header{ProducerID: i}, batch.CodecNone, recs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := batch.ParseOne(raw)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, b)
	}
	check := func() {
		t.Helper()
		if _, ok, err := l.OffsetForTimestamp(0); ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, ok, err := l.MaxTimestamp(); ok || err != nil {
			t.Fatal(ok, err)
		}
		if n := len(readAll(t, l, 100)); n != 10 {
			t.Fatal(n)
		}
	}
	check()
	pos := l.Position()
	closeStore(t, s)
	s = openStore(t, mem)
	l = openLog(t, s, OpenOptions{Config: cfg, Checkpoint: pos, HasCheckpoint: true})
	check()
	info, err := mem.Stat(l.path(segmentName(0, logSuffix)))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Retain(info.ModTime); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := l.Retain(info.ModTime.Add(msDuration(60_000))); n == 0 || err != nil || l.Start() != 10 {
		t.Fatal(n, err, l.Start())
	}
	closeStore(t, s)
	if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func TestSearchIndexAgainstLinear(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 257, 511, 512, 513, 5000} {
		mem := disk.NewMem()
		entries := make([]offsetEntry, n)
		for i := range entries {
			entries[i] = offsetEntry{uint32(3*i + 1), uint32(7 * i)}
		}
		put(t, mem, "x", encodeOffsets(entries))
		f, err := mem.Open("data/t-0/x")
		if err != nil {
			t.Fatal(err)
		}
		for rel := uint32(0); rel < uint32(3*n+5); rel++ {
			var want offsetEntry
			found := false
			if i := (int(rel) - 1) / 3; rel >= 1 && n > 0 {
				want, found = entries[min(i, n-1)], true
			}
			b, ok, err := searchIndex(f, n, offsetEntryBytes, func(b []byte) bool { return decodeOffsetEntry(b).rel <= rel })
			if err != nil || ok != found || ok && decodeOffsetEntry(b) != want {
				t.Fatalf("n %d, rel %d: %v %v %v, expected %v %v", n, rel, b, ok, err, want, found)
			}
		}
	}
}

// The largest offsets that fit.
func TestOffsetOverflow(t *testing.T) {
	mem := disk.NewMem()
	put(t, mem, startFileName, encodeStart(startFile{start: math.MaxInt64 - 10, recovery: math.MaxInt64 - 10}))
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{})
	mustAppend(t, l, mkBatch(t, 3, testEpochTime, 20, 1))
	mustAppend(t, l, mkBatch(t, 3, testEpochTime, 20, 1))
	mustAppend(t, l, mkBatch(t, 3, testEpochTime, 20, 1))
	if _, _, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 1), AppendOptions{Now: now()}); err == nil {
		t.Fatalf("end %d", l.End())
	}
	if n := len(readAll(t, l, 100)); n != 3 {
		t.Fatal(n)
	}
	closeStore(t, s)
}

// A segment holds offsets up to 2^31-1 behind its first.
func TestRollAtRelativeOffsetOverflow(t *testing.T) {
	s := openStore(t, disk.NewMem())
	l := openLog(t, s, OpenOptions{})
	wide := func() batch.Batch {
		recs := []batch.Record{{Timestamp: testEpochTime, Value: []byte("x")}}
		raw, err := batch.Build(nil, batch.Header{ProducerID: 1, LastOffsetDelta: math.MaxInt32 - 1}, batch.CodecNone, recs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := batch.ParseOne(raw)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for range 3 {
		mustAppend(t, l, wide())
	}
	mustAppend(t, l, mkBatch(t, 1, testEpochTime, 1, 1))
	mustAppend(t, l, mkBatch(t, 1, testEpochTime, 1, 1))
	got := l.Segments()
	if len(got) != 4 || got[1].Base != math.MaxInt32 || got[3].SizeBytes == 0 {
		t.Fatal(got)
	}
	closeStore(t, s)
}
