package coldstate

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
)

// TestEndWaits: on a full disk commits wait, and fail from EndWaits on; where there is room they go on.
func TestEndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newTestFS(t)
		s := openTest(t, mem, MemoryBytesMin)
		b := s.NewBatch()
		next := int64(0)
		fill := func(until int64) error {
			for ; next < until; next++ {
				b.Put(1, next, value(1, next, 46))
				if b.Len() == 100 {
					if err := b.Commit(); err != nil {
						return err
					}
				}
			}
			return nil
		}
		mem.SetCapacity(mem.UsedBytes())
		done := make(chan error)
		go func() { done <- fill(1 << 40) }()
		synctest.Wait()
		s.EndWaits()
		if err := <-done; !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the waiting commit got %v", err)
		}
		if err := b.Commit(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the next commit got %v", err)
		}
		mem.SetCapacity(1 << 40)
		if err := errors.Join(s.Flush(), b.Commit(), fill(next+20_000)); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		b.Close()
		closeTest(t, s)
	})
}
