package pidstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"ottla/internal/producer"
)

// TestBeforeTrimOnAFullDisk: it gives up, so that other logs can be trimmed and make room.
func TestBeforeTrimOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1<<18, 0)
		quiet, busy := w.addLog(1), w.addLog(2)
		w.want(quiet, w.newPID(), 0, 0, 1, "appended at 0")
		w.commit(quiet)
		w.settle()
		w.mem.SetCapacity(w.mem.UsedBytes())
		ctx, cancel := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		go func() {
			defer close(stuck)
			for {
				pid, err := w.ids.Next()
				if err != nil {
					t.Error(err)
					return
				}
				pin, err := busy.p.Lookup(ctx, pid)
				if err != nil {
					return // the overlay is full
				}
				in := producer.Incoming{}
				if _, _, err := busy.p.Check(&pin, in); err != nil {
					t.Error(err)
				}
				busy.p.Applied(&pin, in, producer.Stored{BaseOffset: busy.end, LastOffset: busy.end})
				busy.p.Release(&pin)
				busy.end++
				w.commit(busy)
			}
		}()
		pass(trimWaitMax)
		if err := quiet.p.BeforeTrim(1); !errors.Is(err, ErrTrimTimeout) {
			t.Fatalf("got %v, want ErrTrimTimeout", err)
		}
		w.mem.SetCapacity(1 << 40)
		w.must(quiet.p.BeforeTrim(1))
		cancel()
		<-stuck
		w.close()
	})
}

// TestDropManyOrphans: more than one batch of them.
func TestDropManyOrphans(t *testing.T) {
	const partitions = 100
	w := newWorld(t, tinyBytes, partitions)
	for _, l := range w.logs {
		w.want(l, w.newPID(), 0, 0, 1, "appended at 0")
		w.commit(l)
	}
	w.settle()
	n, err := w.s.DropOrphans(func(num uint64) bool { return num%2 == 0 })
	w.must(err)
	left := 0
	w.must(w.cold.Partitions(func(num uint64) error { left++; return nil }))
	if n != partitions/2 || left != partitions/2 {
		t.Fatalf("dropped %d, %d are left; want half of %d", n, left, partitions)
	}
}
