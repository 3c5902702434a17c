package coldstate

import (
	"sync"
	"testing"
)

// TestEstimateDuringFlushes: Pebble tells of the end of a flush with its own lock
// held, so the estimate must not hold one that the news takes while it asks Pebble.
func TestEstimateDuringFlushes(t *testing.T) {
	s := openTest(t, newTestFS(t), MemoryBytesMin)
	const rounds, askers = 300, 3
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range askers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.EntriesEstimate(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	b := s.NewBatch()
	for i := range rounds {
		b.Put(1, int64(i), value(1, int64(i), 16))
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	b.Close()
	if n, err := s.EntriesEstimate(); n != rounds || err != nil {
		t.Errorf("%d entries are estimated, %v; want %d", n, err, rounds)
	}
	closeTest(t, s)
}
