package coldstate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// workload is a fixed series of batches; batch i also sets the meta value "n" to i+1, so that a store says of itself how
// many of them it holds.
type workload struct {
	batches [][]change
	// states[n] is the store after the first n batches.
	states []*model
}

func newWorkload(batches int) *workload {
	rng := rand.New(rand.NewPCG(11, 12))
	w := &workload{}
	for i := range batches {
		changes := []change{{kind: 'm', val: fmt.Sprintf("n%d", i+1)}}
		for range 1 + rng.IntN(12) {
			changes = append(changes, randomChange(rng))
			if last := &changes[len(changes)-1]; last.kind == 'm' {
				last.val = "o" + last.val
			}
		}
		for p := range uint64(3) {
			changes = append(changes, change{kind: 'c', part: p, key: int64(i)})
		}
		w.batches = append(w.batches, changes)
	}
	for n := range batches + 1 {
		m := newModel()
		for _, b := range w.batches[:n] {
			for _, c := range b {
				c.toModel(m)
			}
		}
		w.states = append(w.states, m)
	}
	return w
}

const flushEvery = 2

// run commits batches from the given one on until one fails, and returns how many of all are committed and how many of
// them flushed.
func (w *workload) run(s *Store, from, to int) (committed, flushed int) {
	b := s.NewBatch()
	defer b.Close()
	flushed = from
	for i := from; i < to; i++ {
		for _, c := range w.batches[i] {
			c.toBatch(b)
		}
		if b.Commit() != nil {
			return i, flushed
		}
		if i%flushEvery == flushEvery-1 {
			if s.Flush() != nil {
				return i + 1, flushed
			}
			flushed = i + 1
		}
	}
	return to, flushed
}

// verify opens what a crash left and checks that it is the state after some number of batches between least and most.
func (w *workload) verify(fs *disk.Mem, least, most int) error {
	s, err := Open(Options{FS: fs, Dir: "data/cold", MemoryBytes: MemoryBytesMin, Metrics: metrics.New().Cold})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	n, err := w.held(s)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("holds %d batches, want %d to %d", n, least, most)
	}
	return errors.Join(err, s.Close())
}

// held returns how many batches the store holds, or an error if it is not exactly that many.
func (w *workload) held(s *Store) (int, error) {
	v, ok, err := s.Meta("n")
	if err != nil {
		return 0, err
	}
	n := 0
	if ok {
		if n, err = strconv.Atoi(string(v[1:])); err != nil {
			return 0, err
		}
	}
	if err := w.states[n].verify(s); err != nil {
		return n, fmt.Errorf("after %d batches: %w", n, err)
	}
	return n, nil
}

// runFaulty runs the workload on a file system that fails by rule, with a restart in the middle, and returns how far it came.
func (w *workload) runFaulty(t *testing.T, mem *disk.Mem, f *disk.Faults) (committed, flushed int) {
	half := len(w.batches)/2 + 1
	committed, flushed = w.session(t, mem, f, 0, half)
	if flushed < half {
		return committed, flushed
	}
	return w.session(t, mem, f, half, len(w.batches))
}

// session opens the store, commits the batches [from, to) and closes it.
func (w *workload) session(t *testing.T, mem *disk.Mem, f *disk.Faults, from, to int) (committed, flushed int) {
	s, err := Open(Options{
		FS: disk.NewFaulty(mem, f), Dir: "data/cold", MemoryBytes: MemoryBytesMin, Metrics: metrics.New().Cold,
		OnFatal: func(err error) {
			if !errors.Is(err, ErrFatal) || errors.Is(err, ErrCorrupt) {
				t.Errorf("OnFatal got %v", err)
			}
			if f.Fired() == 0 {
				t.Errorf("OnFatal without a fault: %v", err)
			}
		},
	})
	if err != nil {
		if f.Fired() == 0 || errors.Is(err, ErrCorrupt) {
			t.Errorf("Open: %v", err)
		}
		return from, from
	}
	committed, flushed = w.run(s, from, to)
	err = s.Close()
	switch {
	case err == nil:
		flushed = committed
	case f.Fired() == 0:
		t.Errorf("Close: %v", err)
	}
	return committed, flushed
}

func stride() int64 {
	if testing.Short() {
		return 9
	}
	return 1
}

// TestCrashAtEveryOperation crashes at operation 0, 1, 2 ... until a run is untouched, and looks at what a kill and what power
// losses of several kinds leave: always the state after some number of whole batches, none that was flushed missing.
func TestCrashAtEveryOperation(t *testing.T) {
	w := newWorkload(44)
	for k := int64(0); ; k += stride() {
		mem := newTestFS(t)
		f := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		var committed, flushed int
		synctest.Test(t, func(t *testing.T) { committed, flushed = w.runFaulty(t, mem, f) })
		// What Commit returned an error for may have been applied and flushed all the same.
		most := min(committed+1, len(w.batches))
		check := func(name string, fs *disk.Mem) {
			if err := w.verify(fs, flushed, most); err != nil {
				t.Fatalf("crash at %d, %s: %v", k, name, err)
			}
		}
		check("kill", mem.KillClone())
		check("nothing unsynced", mem.CrashClone(0, k))
		for seed := range int64(4) {
			check("half of the unsynced", mem.CrashClone(0.5, k+1000*seed))
		}
		check("most of the unsynced", mem.CrashClone(0.9, k))
		if f.Fired() == 0 {
			if k < 100 || committed != len(w.batches) {
				t.Fatalf("untouched after only %d operations, %d batches", k, committed)
			}
			return
		}
	}
}

// TestFailAtEveryOperation fails one operation with EIO: either nobody notices, or the store goes offline; in both cases what is on
// the disk is whole.
func TestFailAtEveryOperation(t *testing.T) {
	w := newWorkload(44)
	for k := int64(0); ; k += stride() {
		mem := newTestFS(t)
		f := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultError})
		var committed, flushed int
		synctest.Test(t, func(t *testing.T) { committed, flushed = w.runFaulty(t, mem, f) })
		for name, fs := range map[string]*disk.Mem{"kill": mem.KillClone(), "power": mem.CrashClone(0.5, k)} {
			if err := w.verify(fs, flushed, min(committed+1, len(w.batches))); err != nil {
				t.Fatalf("EIO at %d, %s: %v", k, name, err)
			}
		}
		if f.Fired() == 0 {
			return
		}
	}
}

// TestCanary breaks the one rule that crash safety rests on, an ordering of syncs, and expects the check above to see it.
func TestCanary(t *testing.T) {
	w := newWorkload(12)
	mem := newTestFS(t)
	s, err := Open(Options{FS: lyingFS{mem}, Dir: "data/cold", MemoryBytes: MemoryBytesMin, Metrics: metrics.New().Cold})
	if err != nil {
		t.Fatal(err)
	}
	committed, flushed := w.run(s, 0, len(w.batches))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for seed := range int64(20) {
		if w.verify(mem.CrashClone(0.5, seed), flushed, committed) != nil {
			return
		}
	}
	t.Fatal("a file system that does not sync passed")
}

// lyingFS says that it has synced and has not.
type lyingFS struct{ disk.FS }

func (l lyingFS) Create(name string) (disk.File, error) {
	f, err := l.FS.Create(name)
	return lyingFile{f}, err
}

type lyingFile struct{ disk.File }

func (lyingFile) Sync() error { return nil }

// TestFullDisk fills the disk: commits wait, Flush says so, reads go on, and when there is room again all is well.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newTestFS(t)
		s := openTest(t, mem, MemoryBytesMin)
		put := func(from, to int64) error {
			b := s.NewBatch()
			defer b.Close()
			for key := from; key < to; key++ {
				b.Put(1, key, value(1, key, 46))
			}
			return b.Commit()
		}
		if err := errors.Join(put(0, 100), s.Flush()); err != nil {
			t.Fatal(err)
		}
		// The manifest has its room already: what does not fit is the table.
		mem.SetCapacity(mem.UsedBytes() + 100)
		if err := put(100, 200); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(); err == nil || errors.Is(err, ErrFatal) {
			t.Fatalf("Flush on a full disk: %v", err)
		}
		done := make(chan error)
		go func() {
			for from := int64(200); from < 5000; from += 100 {
				if err := put(from, from+100); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		<-time.After(time.Minute)
		select {
		case err := <-done:
			t.Fatalf("commits did not wait: %v", err)
		default:
		}
		wantGet(t, s, 1, 150, value(1, 150, 46))
		mem.SetCapacity(1 << 40)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		closeTest(t, s)
		s = openTest(t, mem.CrashClone(0, 1), MemoryBytesMin)
		for key := int64(0); key < 5000; key += 100 {
			wantGet(t, s, 1, key, value(1, key, 46))
		}
		closeTest(t, s)
	})
}

// TestCloseEndsWaitingCommits closes a store whose disk is full while a commit waits.
func TestCloseEndsWaitingCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newTestFS(t)
		s := openTest(t, mem, MemoryBytesMin)
		mem.SetCapacity(mem.UsedBytes())
		done := make(chan error)
		go func() {
			b := s.NewBatch()
			defer b.Close()
			for key := int64(0); ; key++ {
				b.Put(1, key, value(1, key, 46))
				if b.Len() == 100 {
					if err := b.Commit(); err != nil {
						done <- err
						return
					}
				}
			}
		}()
		synctest.Wait()
		if err := s.Close(); err == nil {
			t.Error("Close on a full disk says all is flushed")
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("the waiting commit got %v", err)
		}
		if _, _, err := s.Get(1, 1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Get after Close: %v", err)
		}
		if err := s.Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}
