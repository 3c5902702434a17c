package pidstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

func formatAnswer(what string, offset int64) string { return fmt.Sprintf("%s %d", what, offset) }

// TestNewProducerReadsNothing, nor does one that is in memory; one that has left
// memory reads once.
func TestNewProducerReadsNothing(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	var pids []int64
	const many = 120 // so many that each set of the hot table is filled several times over
	for i := range many {
		pids = append(pids, w.newPID())
		w.want(l, pids[i], 0, 0, 1, formatAnswer("appended at", int64(i)))
		w.commit(l)
		w.settle()
	}
	if hit, miss := w.coldReads(); hit+miss != 0 {
		t.Fatalf("%d hits and %d misses in the cold store for new producers", hit, miss)
	}
	w.want(l, pids[many-1], 0, 0, 1, formatAnswer("duplicate of", many-1))
	if hit, miss := w.coldReads(); hit+miss != 0 {
		t.Fatal("a hot producer read from the cold store")
	}
	w.want(l, pids[0], 0, 0, 1, "duplicate of 0")
	if hit, miss := w.coldReads(); hit != 1 || miss != 0 {
		t.Fatalf("%d hits and %d misses for a producer that left memory, want 1 and 0", hit, miss)
	}
	w.restart(clean, 1)
	w.want(l, w.newPID(), 0, 0, 1, formatAnswer("appended at", many))
	if hit, miss := w.coldReads(); hit+miss != 0 {
		t.Fatal("a new producer read from the cold store after a restart")
	}
	w.want(l, pids[many-1], 0, 0, 1, formatAnswer("duplicate of", many-1))
}

func (w *world) coldReads() (hits, misses int) {
	return int(counter(w.t, w.s.metrics.LookupColdHit)), int(counter(w.t, w.s.metrics.LookupColdMiss))
}

// TestReturningProducerStaysHot: a storm of single-use producers evicts itself.
func TestReturningProducerStaysHot(t *testing.T) {
	w := newWorld(t, 1<<18, 1)
	l := w.logs[0]
	regular := w.newPID()
	seq := int32(0)
	capacity := int(w.s.Stats().HotEntriesMax)
	for range 20 {
		for range capacity / 8 {
			_, err := w.send(l, w.newPID(), 0, 0, 1)
			w.must(err)
			w.commit(l)
			w.settle()
		}
		_, err := w.send(l, regular, 0, seq, 1)
		w.must(err)
		seq++
	}
	if hit, miss := w.coldReads(); hit+miss != 0 {
		t.Fatalf("a producer that returns all the time was read %d times", hit+miss)
	}
	if st := w.s.Stats(); st.HotEntries > st.HotEntriesMax || st.HotEntries < st.HotEntriesMax/2 {
		t.Fatalf("%d hot entries of %d", st.HotEntries, st.HotEntriesMax)
	}
}

// TestForeignIDs: ids of another cluster look up, do not slow ours down for ever, and
// are not taken for new when our ids have grown past them.
func TestForeignIDs(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	far := w.ids.Limit() + 2*raiseSpanCount + 500
	farther := far + 10
	low := w.ids.First() - 5
	w.want(l, far, 0, 0, 1, "appended at 0")
	w.want(l, low, 0, 0, 1, "appended at 1")
	w.want(l, farther, 0, 0, 1, "appended at 2")
	w.commit(l)
	w.settle()
	for i := range 30 { // all leave memory
		w.want(l, w.newPID(), 0, 0, 1, formatAnswer("appended at", int64(i+3)))
		w.commit(l)
		w.settle()
	}
	if w.ids.Limit() > far {
		t.Fatal("a far id raised ours")
	}
	for w.ids.Limit() <= farther { // ours grow past it
		w.must(w.ids.reserve(func() int64 { return 0 }, func(r idRange) { w.ids.mu.current, w.ids.mu.spare = r, idRange{} }))
	}
	w.want(l, far, 0, 0, 1, "duplicate of 0")
	w.must(w.ids.Raise(farther)) // in the current block: the next id is above it
	_, before := w.coldReads()
	for i := range 20 {
		w.want(l, w.newPID(), 0, 0, 1, formatAnswer("appended at", int64(i+33)))
		w.commit(l)
		w.settle()
	}
	if _, after := w.coldReads(); after-before > 1 {
		t.Errorf("%d reads for 20 new producers above a foreign id", after-before)
	}
	w.want(l, farther, 0, 0, 1, "duplicate of 2")
	w.want(l, low, 0, 0, 1, "duplicate of 1")
}

// TestForeignIDIsNotIssued: case 32.
func TestForeignIDIsNotIssued(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	ours := w.newPID()
	w.want(l, ours+3, 0, 9, 1, "appended at 0") // another cluster's producer in mid-life
	near := w.ids.Limit() + 17
	w.want(l, near, 0, 0, 1, "appended at 1")
	seen := map[int64]bool{ours + 3: true, near: true}
	for range 100 {
		if pid := w.newPID(); seen[pid] {
			t.Fatalf("id %d was issued twice", pid)
		} else {
			seen[pid] = true
		}
	}
	w.restart(kill, 1)
	for range 100 {
		if pid := w.newPID(); seen[pid] {
			t.Fatalf("id %d was issued twice after a restart", pid)
		}
	}
}

// TestRecentlyIssued: case 16, and case 7 for a brand-new producer.
func TestRecentlyIssued(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	old := w.newPID() // issued after the first partition was made, before the second
	l1, l2 := w.logs[0], w.addLog(2)
	pid := w.newPID()
	w.want(l1, pid, 0, 1, 1, "45")
	w.want(l2, pid, 0, 1, 1, "45")
	w.want(l1, old, 0, 1, 1, "45")
	w.want(l2, old, 0, 1, 1, "appended at 0")
	w.want(l1, pid, 0, 0, 1, "appended at 0")
	w.want(l1, pid, 0, 1, 1, "appended at 1")
	// Past the expiration it may have been forgotten.
	late := w.newPID()
	now := time.Unix(1_800_000_000, 0)
	for range 20 {
		w.s.Sweep(now)
		now = now.Add(SweepInterval)
	}
	w.want(l1, late, 0, 5, 1, "appended at 2")
}

// TestColdReadFails: an entry that cannot be read is not a new producer.
func TestColdReadFails(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	pid := w.newPID()
	w.want(l, pid, 0, 0, 1, "appended at 0")
	w.restart(clean, 1)
	b := w.cold.NewBatch()
	b.Put(l.num, pid, []byte("garbage"))
	w.must(b.Commit())
	if _, err := l.p.Lookup(t.Context(), pid); !errors.Is(err, ErrColdRead) || !errors.Is(err, producer.ErrCorruptEntry) {
		t.Fatalf("got %v, want ErrColdRead", err)
	}
	if st := w.s.Stats(); st.AppendsInFlight != 0 || st.OverlayEntries != 0 {
		t.Fatalf("the failed look-up left %+v", st)
	}
	w.want(l, w.newPID(), 0, 0, 1, "appended at 1")
}

// TestFullOverlayWaits: back-pressure, woken by what is applied, in order of arrival.
func TestFullOverlayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tinyBytes, 0)
		asked := 0
		w.onSync(func(uint64) { asked++ })
		l := w.addLog(1)
		most := int(w.s.Stats().AppendsInFlightMax)
		for range most {
			_, err := w.send(l, w.newPID(), 0, 0, 1)
			w.must(err)
		}
		synctest.Wait()
		if asked != 1 {
			t.Errorf("the log was asked for an fsync %d times, want once", asked)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.p.Lookup(ctx, w.newPID()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want a timeout", err)
		}
		var order []int
		for i := range 3 {
			pid := w.newPID()
			go func() {
				pin, err := l.p.Lookup(t.Context(), pid)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				l.p.Release(&pin)
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatal("a look-up did not wait")
		}
		l.durable = 1 // room for one, which every look-up hands to the next
		l.p.Durable(l.position())
		synctest.Wait()
		if fmt.Sprint(order) != "[0 1 2]" {
			t.Fatalf("woken in order %v", order)
		}
		w.commit(l)
		synctest.Wait()
		if st := w.s.Stats(); st.AppendsInFlight != 0 {
			t.Fatalf("%d appends in flight, want none", st.AppendsInFlight)
		}
		w.must(w.s.Close())
		w.must(w.cold.Close())
		w.s = nil
	})
}

// TestOfflineFailsAtOnce, for those who wait and for those who come.
func TestOfflineFailsAtOnce(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	for range w.s.Stats().AppendsInFlightMax {
		_, err := w.send(l, w.newPID(), 0, 0, 1)
		w.must(err)
	}
	pid := w.newPID()
	done := make(chan error)
	go func() {
		_, err := l.p.Lookup(context.Background(), pid)
		done <- err
	}()
	broken := errors.New("fsync failed")
	w.s.SetOffline(broken)
	if err := <-done; !errors.Is(err, broken) {
		t.Fatalf("who waited got %v", err)
	}
	if _, err := l.p.Lookup(t.Context(), pid); !errors.Is(err, broken) {
		t.Fatalf("who came got %v", err)
	}
	if err := l.p.BeforeTrim(1); !errors.Is(err, broken) {
		t.Fatalf("BeforeTrim: %v", err)
	}
	if err := w.s.Close(); !errors.Is(err, broken) {
		t.Fatalf("Close: %v", err)
	}
	w.must(w.cold.Close())
	w.s = nil
}

// TestFailedAppendLeavesNoTrace: cases 7 and 8.
func TestFailedAppendLeavesNoTrace(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	for _, known := range []bool{false, true} {
		pid := w.newPID()
		seq := int32(0)
		if known {
			w.want(l, pid, 0, 0, 1, formatAnswer("appended at", l.end))
			seq = 1
		}
		pin, err := l.p.Lookup(t.Context(), pid)
		w.must(err)
		if v, _, err := l.p.Check(&pin, producer.Incoming{BaseSequence: seq, LastSequence: seq}); v != producer.Append || err != nil {
			t.Fatal(v, err)
		}
		l.p.Release(&pin) // the write failed
		for i := range int32(4) {
			w.want(l, pid, 0, seq+1+i, 1, "45")
		}
		for i := range int32(5) {
			w.want(l, pid, 0, seq+i, 1, formatAnswer("appended at", l.end))
		}
		w.commit(l)
		w.settle()
	}
	if st := w.s.Stats(); st.AppendsInFlight != 0 || st.OverlayEntries != 0 {
		t.Fatalf("something is left in the overlay: %+v", st)
	}
}

// TestDurableBeforeApplied: the committer may be faster than the appender. The
// checkpoint must not pass an append that nobody has folded.
func TestDurableBeforeApplied(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	pid := w.newPID()
	pin, err := l.p.Lookup(t.Context(), pid)
	w.must(err)
	in := producer.Incoming{}
	_, _, err = l.p.Check(&pin, in)
	w.must(err)
	stored := producer.Stored{}
	l.records, l.end = append(l.records, record{pid, in, stored}), 1
	w.commit(l)
	w.must(w.s.keeper.flush())
	if c, found, err := w.cold.Checkpoint(l.num); err != nil || (found && c.Offset > 0) {
		t.Fatalf("checkpoint %+v %v passed an append that is not applied", c, err)
	}
	l.p.Applied(&pin, in, stored)
	l.p.Release(&pin)
	w.must(w.s.keeper.flush())
	if c, found, err := w.cold.Checkpoint(l.num); err != nil || !found || c.Offset != 1 {
		t.Fatalf("checkpoint %+v %v %v, want 1", c, found, err)
	}
	w.restart(kill, 1)
	w.want(l, pid, 0, 0, 1, "duplicate of 0")
}

// TestPinIsForOneAppend: a second append needs room of its own.
func TestPinIsForOneAppend(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	pin, err := l.p.Lookup(t.Context(), w.newPID())
	w.must(err)
	_, _, err = l.p.Check(&pin, producer.Incoming{})
	w.must(err)
	l.p.Applied(&pin, producer.Incoming{}, producer.Stored{})
	if _, _, err := l.p.Check(&pin, producer.Incoming{BaseSequence: 1, LastSequence: 1}); !errors.Is(err, ErrRetryLookup) {
		t.Fatalf("got %v, want ErrRetryLookup", err)
	}
	l.p.Release(&pin)
	l.p.Release(&pin) // a released pin holds nothing
	l.p.Durable(coldstate.Checkpoint{Offset: 1})
}
