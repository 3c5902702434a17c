package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// dueEntries is how many entries of groups to look at there are.
func (w *world) dueEntries(t *testing.T) (n int) {
	t.Helper()
	for _, p := range w.parts {
		_, more, err := w.store.ScanBytes(p.Num(), []byte{spaceDue}, nil, 1<<20, func(_, _ []byte) ([]byte, error) { n++; return nil, nil })
		if err != nil || more {
			t.Fatal(more, err)
		}
	}
	return n
}

// TestSweepReadsWhatIsDue: groups whose offsets cannot have expired cost a sweep nothing, and every one goes in time.
func TestSweepReadsWhatIsDue(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		const groups = 600
		for i := range groups {
			mustCommit(t, w, simple(fmt.Sprintf("cold-%d", i), "t0", 0, 1))
		}
		synctest.Wait()
		reads := func() float64 {
			var m dto.Metric
			if err := w.m.Groups.Cold.Reads.Write(&m); err != nil {
				t.Fatal(err)
			}
			return m.GetCounter().GetValue()
		}
		pauseFor(checkAfter + time.Second) // which also notes the retention
		before := reads()
		pauseFor(3 * checkAfter)
		if n := reads() - before; n > 3*2*float64(len(w.parts)) {
			t.Errorf("three sweeps in which nothing is due read the store %v times", n)
		}
		if n := w.dueEntries(t); n != groups {
			t.Errorf("%d entries for %d groups", n, groups)
		}
		wantOffset(t, w, "cold-7", "t0", 0, 1)
		pauseFor(retention - 3*checkAfter)
		if got := w.listed(t); len(got) != 0 {
			t.Errorf("%d groups are left", len(got))
		}
		pauseFor(checkAfter)
		if n := w.dueEntries(t); n != 0 {
			t.Errorf("%d entries for no group", n)
		}
		wantNothingLive(t, w)
	})
}

// TestEntriesOfABusyGroupAreBounded, however often it commits; and it is let go like others.
func TestEntriesOfABusyGroupAreBounded(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for i := range int64(2000) {
			mustCommit(t, w, simple("busy", "t0", int32(i%2), i))
			pauseFor(5 * time.Second)
		}
		if n := w.dueEntries(t); n > dueSteps+2*int(checkAfter/(retention/dueSteps)) {
			t.Errorf("%d entries", n)
		}
		wantOffset(t, w, "busy", "t0", 1, 1999)
		pauseFor(retention + 2*checkAfter)
		if n := w.dueEntries(t); n != 0 || len(w.listed(t)) != 0 {
			t.Errorf("%d entries, groups %v", n, w.listed(t))
		}
	})
}

// TestExpiryAfterUpgrade: what was committed without entries, or under another retention, expires all the same.
func TestExpiryAfterUpgrade(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for i := range 700 {
			mustCommit(t, w, simple(fmt.Sprintf("g%d", i), "t0", 0, 1))
		}
		former, _ := mustJoin(t, w, "former")
		w.leave("former", former)
		synctest.Wait()
		b := w.store.NewBatch()
		for _, p := range w.parts {
			_, _, err := w.store.ScanBytes(p.Num(), []byte{spaceDue}, nil, 1<<20, func(key, _ []byte) ([]byte, error) {
				b.DeleteBytes(p.Num(), key)
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		b.Close()
		*w = *w.reopened(t)
		pauseFor(2 * checkAfter)
		wantOffset(t, w, "g1", "t0", 0, 1)
		if _, still := w.listed(t)["former"]; still {
			t.Error("a group without members and offsets is still there")
		}
		w.o.retention = retention / 2 // of two halves one is over soon
		*w = *w.reopened(t)
		pauseFor(retention/2 - checkAfter)
		if got := w.listed(t); len(got) != 0 {
			t.Errorf("%d groups outlive a retention that was shortened", len(got))
		}
	})
}
