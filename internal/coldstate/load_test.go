package coldstate

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
)

// putRange commits the keys [from, to) of a partition and a checkpoint of the same batch.
func putRange(s *Store, part uint64, from, to int64) error {
	b := s.NewBatch()
	defer b.Close()
	for key := from; key < to; key++ {
		b.Put(part, key, value(part, key, 46))
	}
	b.SetCheckpoint(part, Checkpoint{Offset: to})
	return b.Commit()
}

// TestConcurrentUse has writers, readers, flushes and statistics at once; a reader that has seen a checkpoint must find every
// entry below it.
func TestConcurrentUse(t *testing.T) {
	s := openTest(t, newTestFS(t), MemoryBytesMin)
	const parts, batches, perBatch = 3, 60, 40
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for part := range uint64(parts) {
		writers.Go(func() {
			for i := range int64(batches) {
				fail(putRange(s, part, i*perBatch, (i+1)*perBatch))
			}
		})
		readers.Go(func() {
			for reading := true; reading; {
				select {
				case <-done:
					reading = false
				default:
				}
				fail(readBelowCheckpoint(s, part))
			}
		})
	}
	for range 15 {
		fail(s.Flush())
		if s.MemoryInUse().Total() <= 0 || s.DiskBytes() <= 0 {
			t.Error("a store in use takes neither memory nor disk")
		}
		_, err := s.EntriesEstimate()
		fail(err)
	}
	writers.Wait()
	close(done)
	readers.Wait()
	fail(s.Flush())
	for part := range uint64(parts) {
		if c, _, err := s.FlushedCheckpoint(part); c.Offset != batches*perBatch || err != nil {
			t.Errorf("flushed checkpoint of %d: %v, %v", part, c, err)
		}
	}
	if n, err := s.EntriesEstimate(); n < parts*batches*perBatch || n > 2*parts*batches*perBatch || err != nil {
		t.Errorf("EntriesEstimate = %d, %v", n, err)
	}
	closeTest(t, s)
}

func readBelowCheckpoint(s *Store, part uint64) error {
	flushed, _, err := s.FlushedCheckpoint(part)
	if err != nil {
		return err
	}
	c, ok, err := s.Checkpoint(part)
	if err != nil || !ok {
		return err
	}
	if c.Offset < flushed.Offset {
		return fmt.Errorf("partition %d: checkpoint %d below the flushed %d", part, c.Offset, flushed.Offset)
	}
	for key := int64(0); key < c.Offset; key += 1 + c.Offset/16 {
		got, found, err := s.Get(part, key, nil)
		if want := value(part, key, 46); err != nil || string(got) != string(want) {
			return errors.Join(fmt.Errorf("Get(%d, %d) = %x %v, want %x", part, key, got, found, want), err)
		}
	}
	if key, _, err := s.MaxKey(part, c.Offset-1); key != c.Offset-1 || err != nil {
		return errors.Join(fmt.Errorf("MaxKey of %d = %d, want %d", part, key, c.Offset-1), err)
	}
	return nil
}

// TestCommitWaitsForCompaction holds the only compaction back until level 0 is too deep, and lets it go.
func TestCommitWaitsForCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newTestFS(t)
		s := openTest(t, mem, MemoryBytesMin)
		ok, slot := s.slot.TrySchedule()
		if !ok {
			t.Fatal("a compaction runs in an empty store")
		}
		const batches = 60
		var committed int64
		done := make(chan error)
		go func() {
			// The same keys again and again, a memtable each time: every flush is a sublevel of its own.
			for committed = range batches {
				if err := putRange(s, 1, 0, 300); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		synctest.Wait()
		// The flush that was under way when the bound was reached may add one more.
		if n := s.db.Metrics().Levels[0].Sublevels; n < level0SublevelsMax || n > level0SublevelsMax+1 || committed >= batches-1 {
			t.Errorf("waits at %d sublevels after %d commits", n, committed)
		}
		wantGet(t, s, 1, 299, value(1, 299, 46))
		slot.Done()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		closeTest(t, s)
	})
}

// TestFlushedCheckpoint says what is durable and nothing more, without a flush by hand too.
func TestFlushedCheckpoint(t *testing.T) {
	mem := newTestFS(t)
	s := openTest(t, mem, MemoryBytesMin)
	flushed := func(s *Store) int64 {
		c, ok, err := s.FlushedCheckpoint(5)
		if err != nil || ok != (c.Offset > 0) {
			t.Fatalf("FlushedCheckpoint = %v, %v, %v", c, ok, err)
		}
		return c.Offset
	}
	if err := putRange(s, 5, 0, 10); err != nil {
		t.Fatal(err)
	}
	if got := flushed(s); got != 0 {
		t.Errorf("flushed %d before any flush", got)
	}
	last := int64(0)
	for to := int64(200); last == 0 && to < 100_000; to += 100 {
		if err := putRange(s, 5, to-100, to); err != nil {
			t.Fatal(err)
		}
		last = flushed(s)
		crashed := openTest(t, mem.CrashClone(0, to), MemoryBytesMin)
		c, _, err := crashed.Checkpoint(5)
		if c.Offset < last || c.Offset > to || err != nil {
			t.Fatalf("after a power loss the checkpoint is %d, %v; said to be flushed: %d of %d", c.Offset, err, last, to)
		}
		closeTest(t, crashed)
	}
	if last == 0 {
		t.Error("nothing was ever flushed without Flush")
	}
	b := s.NewBatch()
	b.DeletePartition(5)
	if err := errors.Join(b.Commit(), s.Flush()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got := flushed(s); got != 0 {
		t.Errorf("flushed %d after the partition was deleted", got)
	}
	closeTest(t, s)
}

// TestFatal kills the store by a failing fsync: OnFatal is told once, changes are refused, reads go on, Close returns.
func TestFatal(t *testing.T) {
	for name, path := range map[string]string{"table": ".sst", "manifest": "MANIFEST", "directory": "cold"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testFatal(t, path) })
		})
	}
}

func testFatal(t *testing.T, path string) {
	f := disk.NewFaults()
	calls := 0
	s, err := Open(Options{
		FS: disk.NewFaulty(newTestFS(t), f), Dir: "data/cold", Metrics: benchMetrics,
		OnFatal: func(err error) {
			calls++
			if !errors.Is(err, ErrFatal) {
				t.Errorf("OnFatal got %v", err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := putRange(s, 1, 0, 100); err != nil {
		t.Fatal(err)
	}
	f.Add(disk.Fault{Ops: disk.OpSync | disk.OpSyncDir, Path: path, Times: disk.Forever})
	if err := s.Flush(); !errors.Is(err, ErrFatal) {
		t.Errorf("Flush: %v", err)
	}
	synctest.Wait()
	f.Clear()
	for range 2 {
		if err := putRange(s, 1, 0, 100); !errors.Is(err, ErrFatal) {
			t.Errorf("Commit: %v", err)
		}
		if err := s.Flush(); !errors.Is(err, ErrFatal) {
			t.Errorf("Flush: %v", err)
		}
	}
	if _, _, err := s.FlushedCheckpoint(1); !errors.Is(err, ErrFatal) {
		t.Errorf("FlushedCheckpoint: %v", err)
	}
	wantGet(t, s, 1, 50, value(1, 50, 46))
	if err := s.Close(); !errors.Is(err, ErrFatal) {
		t.Errorf("Close: %v", err)
	}
	if calls != 1 {
		t.Errorf("OnFatal was called %d times", calls)
	}
}

// TestCommitDoesNotWaitForNobody writes stairs: each flush overlaps the one before, so that sublevels pile up, but no key
// lies under more than two tables and Pebble sees nothing to compact.
func TestCommitDoesNotWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, newTestFS(t), MemoryBytesMin)
		deepest := int32(0)
		for i := range int64(4 * level0SublevelsMax) {
			b := s.NewBatch() // without a checkpoint, whose one key every table would share
			for key := i * 200; key < i*200+300; key++ {
				b.Put(1, key, value(1, key, 46))
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			b.Close()
			deepest = max(deepest, s.db.Metrics().Levels[0].Sublevels)
		}
		if deepest < level0SublevelsMax {
			t.Fatalf("only %d sublevels: the stairs are not what they were", deepest)
		}
		closeTest(t, s)
	})
}
