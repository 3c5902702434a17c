package coordinator

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"ottla/internal/disk"
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

// TestEntriesOfAGroupThatNeverRests: a commit of it is on its way to the disk whenever it is looked at.
func TestEntriesOfAGroupThatNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustOpen(t, slowDisk{disk.NewMem()}, worldOptions{partitions: 1, check: time.Minute, retention: retention})
		end := time.Now().Add(3 * retention)
		var wg sync.WaitGroup
		for i := range int32(2) {
			wg.Go(func() {
				for time.Now().Before(end) {
					mustCommit(t, w, simple("busy", "t0", i, 1))
					<-time.After(time.Duration(i+1) * 300 * time.Millisecond) // less than the disk takes
				}
			})
		}
		wg.Wait()
		if n := w.dueEntries(t); n > dueSteps+3 {
			t.Errorf("%d entries", n)
		}
		pauseFor(retention + 3*time.Minute)
		if n := w.dueEntries(t); n != 0 || len(w.listed(t)) != 0 {
			t.Errorf("%d entries, groups %v", n, w.listed(t))
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestExpiryOfAnEmptyGroup: what is committed for a group whose members have left goes when the group has been empty for the
// retention, as at Kafka, and not a retention later.
func TestExpiryOfAnEmptyGroup(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		member, generation := mustJoin(t, w, "g")
		m := simple("g", "t0", 0, 1)
		m.member, m.generation = member, generation
		mustCommit(t, w, m)
		if w.leave("g", member) != 0 {
			t.Fatal("leave")
		}
		pauseFor(retention / 2)
		mustCommit(t, w, simple("g", "t0", 0, 2)) // it is reset
		pauseFor(retention/2 - time.Second)
		wantOffset(t, w, "g", "t0", 0, 2) // though it was looked at when the first one's time came
		pauseFor(checkAfter)
		wantOffset(t, w, "g", "t0", 0, -1)
		pauseFor(2 * checkAfter)
		if n := w.dueEntries(t); n != 0 || len(w.listed(t)) != 0 {
			t.Errorf("%d entries, groups %v", n, w.listed(t))
		}
	})
}

// TestExpiryBeforeItsTime: an offset that had expired when it was committed goes with the next sweep.
func TestExpiryBeforeItsTime(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for i, millis := range []int64{0, -2, -1 << 62} {
			m := simple("g", "t0", int32(i), 1)
			m.version, m.retention = 4, millis
			mustCommit(t, w, m)
		}
		pauseFor(checkAfter + time.Second)
		for i := range int32(3) {
			wantOffset(t, w, "g", "t0", i, -1)
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
