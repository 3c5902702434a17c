package pidstore

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"ottla/internal/producer"
)

// randomEntry has any number of batches and any values, extremes included.
func randomEntry(rng *rand.Rand) producer.Entry {
	i64 := func() int64 {
		return []int64{0, -1, 1, math.MaxInt64, math.MinInt64, rng.Int64(), -rng.Int64N(1 << 40)}[rng.IntN(7)]
	}
	i32 := func() int32 { return []int32{0, -1, math.MaxInt32, math.MinInt32, rng.Int32()}[rng.IntN(5)] }
	e := producer.Entry{
		Epoch: int16(i32()), Count: uint8(rng.IntN(producer.WindowBatches + 1)),
		RunLength: uint32(i32()), LastSeen: uint32(i32()),
	}
	for i := range e.Count {
		e.Batches[i] = producer.Stored{
			BaseSequence: i32(), LastSequence: i32(), BaseOffset: i64(), LastOffset: i64(), Timestamp: i64(),
		}
	}
	return e
}

// TestHotTable compares the hot table with a map: whatever is in it is what was put there last, what is not there was
// either taken or has been told to have left, and cells are neither lost nor used twice.
func TestHotTable(t *testing.T) {
	w := newWorld(t, 1<<16, 1)
	s, p := w.s, w.logs[0].p
	sh := &s.shards[0]
	if len(s.shards) != 1 || len(sh.mu.hot) < 4 {
		t.Fatalf("%d shards, %d sets", len(s.shards), len(sh.mu.hot))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	type held struct {
		e    producer.Entry
		heat uint8
	}
	want := map[int64]held{}
	evicted := 0
	for step := range 40_000 {
		pid := w.ids.First() + rng.Int64N(3*int64(len(sh.mu.hot))*cellsPerSet)
		hash := s.hash(p.index, pid)
		var got producer.Entry
		if found := sh.readHotLocked(p.index, pid, hash, &got); found {
			if have, ok := want[pid]; !ok || got != have.e {
				t.Fatalf("step %d: read %+v of %d, want %+v", step, got, pid, have)
			}
		} else if _, ok := want[pid]; ok {
			if p.coldMax.Load() < pid {
				t.Fatalf("step %d: %d is not there and has not left", step, pid)
			}
			delete(want, pid)
			evicted++
		}
		if sh.readHotLocked(p.index+1, pid, hash, &got) {
			t.Fatalf("step %d: found %d of another partition", step, pid)
		}
		have, ok := want[pid]
		switch {
		case !ok:
			n := &node{ahead: randomEntry(rng), pid: pid, hash: hash, part: p.index, heat: uint8(rng.IntN(heatMax + 1))}
			s.putHotLocked(sh, n)
			want[pid] = held{n.ahead, n.heat}
		case rng.IntN(2) == 0:
			heat, ok := sh.takeHotLocked(p.index, pid, hash, &got)
			if !ok || got != have.e || heat > have.heat {
				t.Fatalf("step %d: took %+v with heat %d: %v, want %+v", step, got, heat, ok, have)
			}
			s.hot.Add(-1)
			delete(want, pid)
		case rng.IntN(2) == 0:
			if !sh.dropHotLocked(p.index, pid, hash) {
				t.Fatalf("step %d: nothing of %d to drop", step, pid)
			}
			s.hot.Add(-1)
			delete(want, pid)
		}
	}
	if evicted == 0 {
		t.Error("nothing was evicted")
	}
	sh.checkCells(t, s.hot.Load())
}

// checkCells compares the cells in use with those that the entries need, and the entries with how many were counted.
func (sh *shard) checkCells(t *testing.T, counted int64) {
	t.Helper()
	entries, cells := 0, 0
	for i := range sh.mu.hot {
		set := &sh.mu.hot[i]
		used := 0
		for c, use := range set.use {
			if use != cellFree {
				used++
			}
			if use >= cellHead {
				var e producer.Entry
				set.read(c, &e)
				entries++
				cells += 1 + int(e.Count)/2
			}
		}
		cells -= used
	}
	if int64(entries) != counted || cells != 0 {
		t.Errorf("%d entries, counted as %d; they need %d cells more than are used", entries, counted, cells)
	}
}

// TestHotSetIsLines: what a look-up reads is in one line, and no cell is in two.
func TestHotSetIsLines(t *testing.T) {
	var set hotSet
	if unsafe.Sizeof(set) != 1024 || unsafe.Offsetof(set.cells) != 64 || unsafe.Sizeof(set.cells[0]) != 64 {
		t.Errorf("a set takes %d bytes, its cells of %d begin at %d", unsafe.Sizeof(set), unsafe.Sizeof(set.cells[0]), unsafe.Offsetof(set.cells))
	}
}

// TestNoHotTable: with no room for a set every entry leaves memory at once, and is found again.
func TestNoHotTable(t *testing.T) {
	w := newWorld(t, 1024, 1)
	if st := w.s.Stats(); st.HotEntriesMax != 0 {
		t.Fatalf("%+v", st)
	}
	l := w.logs[0]
	for i := range 20 {
		pid := w.newPID()
		w.want(l, pid, 0, 0, 1, formatAnswer("appended at", int64(i)))
		w.commit(l)
		w.settle()
		w.want(l, pid, 0, 0, 1, formatAnswer("duplicate of", int64(i)))
	}
	if hit, miss := w.coldReads(); hit != 20 || miss != 0 {
		t.Errorf("%d hits and %d misses, want 20 and 0", hit, miss)
	}
}
