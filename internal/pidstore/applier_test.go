package pidstore

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// TestManyChunks: one pass applies far more than one batch of the cold store holds.
func TestManyChunks(t *testing.T) {
	w := newWorld(t, 4<<20, 2)
	most := int(w.s.Stats().AppendsInFlightMax)
	if most < 4*w.s.applier.chunk {
		t.Fatalf("room for %d appends only", most)
	}
	var pids []int64
	for i := range most {
		l := w.logs[i%2]
		pids = append(pids, w.newPID())
		w.want(l, pids[i], 0, 0, 1, formatAnswer("appended at", int64(i/2)))
	}
	w.commit(w.logs[0])
	w.commit(w.logs[1])
	w.settle()
	if st := w.s.Stats(); st.AppendsInFlight != 0 || st.OverlayEntries != 0 {
		t.Fatalf("left in the overlay: %+v", st)
	}
	for _, l := range w.logs {
		if c, found, err := w.cold.Checkpoint(l.num); err != nil || !found || c != l.position() {
			t.Fatalf("checkpoint %+v %v %v, want %+v", c, found, err, l.position())
		}
	}
	w.restart(clean, 1)
	for i, pid := range pids {
		w.want(w.logs[i%2], pid, 0, 0, 1, formatAnswer("duplicate of", int64(i/2)))
	}
}

// TestOnlyDurableIsWritten: the cold store never knows a batch that a power loss could
// take back, not even of a producer that is never wholly durable.
func TestOnlyDurableIsWritten(t *testing.T) {
	w := newWorld(t, 1<<18, 1)
	l := w.logs[0]
	pid := w.newPID()
	for i := range int32(20) {
		w.want(l, pid, 0, i, 1, formatAnswer("appended at", int64(i)))
		if i == 0 {
			continue
		}
		l.durable = int64(i) // one behind
		l.p.Durable(l.position())
		w.settle()
		var e producer.Entry
		if found, err := getEntry(w.cold, l.num, pid, &e); err != nil || !found || lastOffset(&e) != int64(i)-1 {
			t.Fatalf("the cold store has %+v (%v, %v), want the fold up to offset %d", e, found, err, i-1)
		}
	}
	w.restart(power, 1)
	w.want(l, pid, 0, 18, 1, "duplicate of 18")
	w.want(l, pid, 0, 19, 1, "appended at 19")
}

// TestPlainCheckpointsWait: a partition without idempotent producers writes its
// checkpoint when the cold store is flushed, not with every pass.
func TestPlainCheckpointsWait(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	for range 100 {
		l.end += 10
		w.commit(l)
		w.settle()
	}
	if c, found, err := w.cold.Checkpoint(l.num); err != nil || found {
		t.Fatalf("checkpoint %+v %v was written for nothing", c, err)
	}
	w.must(w.s.keeper.flush())
	if c, found, err := w.cold.FlushedCheckpoint(l.num); err != nil || !found || c != l.position() {
		t.Fatalf("flushed checkpoint %+v %v %v, want %+v", c, found, err, l.position())
	}
	l.end += 10
	w.commit(l)
	w.restart(clean, 1)
	if c, _, err := w.cold.Checkpoint(l.num); err != nil || c.Offset != l.end {
		t.Fatalf("checkpoint %+v %v after a clean stop, want %d", c, err, l.end)
	}
}

// TestBeforeTrim: the log may go only when what it proves is durable elsewhere.
func TestBeforeTrim(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	pid := w.newPID()
	w.want(l, pid, 0, 0, 1, "appended at 0")
	w.must(l.p.BeforeTrim(0))
	w.commit(l)
	w.must(l.p.BeforeTrim(1))
	if c, found, err := w.cold.FlushedCheckpoint(l.num); err != nil || !found || c.Offset < 1 {
		t.Fatalf("flushed checkpoint %+v %v %v, want at least 1", c, found, err)
	}
	l.records, l.start = nil, 1
	w.restart(power, 1)
	w.want(l, pid, 0, 0, 1, "duplicate of 0") // case 25
}

// TestBeforeTrimAsksForDurability where the log does not sync by itself, and gives up
// where that does not come.
func TestBeforeTrimAsksForDurability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tinyBytes, 0)
		l := w.addLog(1)
		answer := true
		w.onSync(func(num uint64) {
			if num == l.num && answer {
				go w.commit(l)
			}
		})
		w.want(l, w.newPID(), 0, 0, 1, "appended at 0")
		w.must(l.p.BeforeTrim(1))
		answer = false
		l.end++
		start := time.Now()
		if err := l.p.BeforeTrim(2); !errors.Is(err, ErrTrimTimeout) || time.Since(start) != trimWaitMax {
			t.Fatalf("got %v after %v, want ErrTrimTimeout", err, time.Since(start))
		}
		w.close()
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func (w *world) close() {
	w.must(w.s.Close())
	w.must(w.cold.Close())
	w.s = nil
}

// TestSyncIsAskedFor: what keeps the overlay full, is too much log or too old is
// asked for, once.
func TestSyncIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1<<18, 0)
		var asked atomic.Int32
		w.onSync(func(uint64) { asked.Add(1) })
		l, other := w.addLog(1), w.addLog(2)
		expect := func(why string, want int) {
			t.Helper()
			synctest.Wait()
			if got := int(asked.Swap(0)); got != want {
				t.Fatalf("%s: asked %d times, want %d", why, got, want)
			}
		}
		send := func(l *logFile, bytes int32) {
			pin, err := l.p.Lookup(t.Context(), w.newPID())
			w.must(err)
			_, _, err = l.p.Check(&pin, producer.Incoming{})
			w.must(err)
			pin.Bytes = bytes
			l.end++
			l.p.Applied(&pin, producer.Incoming{}, producer.Stored{BaseOffset: l.end - 1, LastOffset: l.end - 1})
			l.p.Release(&pin)
		}
		send(l, 1000)
		pass(behindAgeMax / 2)
		expect("half a second old", 0)
		pass(behindAgeMax)
		expect("older than a second", 1)
		pass(10 * behindAgeMax)
		expect("asked before", 0)
		w.commit(l)
		pass(10 * behindAgeMax)
		expect("nothing queued", 0)
		send(l, behindBytesMax/2)
		expect("8 MiB behind", 0)
		send(l, behindBytesMax/2)
		expect("16 MiB behind", 1)
		w.commit(l)
		synctest.Wait()
		send(other, 1)
		for !w.s.slab.aboveHalf() {
			send(l, 1)
		}
		expect("half full", 2)
		w.commit(l)
		w.commit(other)
		w.close()
	})
}

// TestFlushes: after so much log, and after so long.
func TestFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tinyBytes, 0)
		l := w.addLog(1)
		flushed := func() int64 {
			synctest.Wait()
			c, _, err := w.cold.FlushedCheckpoint(l.num)
			w.must(err)
			return c.Offset
		}
		l.p.Durable(coldstate.Checkpoint{Offset: 1, Position: flushLogBytes - 1})
		if got := flushed(); got != 0 {
			t.Fatalf("flushed to %d", got)
		}
		l.p.Durable(coldstate.Checkpoint{Offset: 2, SegmentBase: 2, Position: 1})
		if got := flushed(); got != 2 {
			t.Fatalf("flushed to %d after 256 MiB, want 2", got)
		}
		l.p.Durable(coldstate.Checkpoint{Offset: 3, SegmentBase: 2, Position: 2})
		pass(flushAgeMax + time.Second)
		if got := flushed(); got != 3 {
			t.Fatalf("flushed to %d after a minute, want 3", got)
		}
		w.close()
	})
}

// TestDrop: nothing of a deleted partition is remembered, nor keeps room.
func TestDrop(t *testing.T) {
	w := newWorld(t, tinyBytes, 2)
	l, other := w.logs[0], w.logs[1]
	pid := w.newPID()
	w.want(l, pid, 0, 0, 1, "appended at 0")
	w.commit(l)
	w.want(l, pid, 0, 1, 1, "appended at 1") // never durable
	w.want(other, pid, 0, 0, 1, "appended at 0")
	pin, err := l.p.Lookup(t.Context(), pid)
	w.must(err)
	_, _, err = l.p.Check(&pin, producer.Incoming{BaseSequence: 2, LastSequence: 2})
	w.must(err)
	w.must(l.p.Drop())
	w.must(l.p.Drop())
	l.p.Applied(&pin, producer.Incoming{BaseSequence: 2, LastSequence: 2}, producer.Stored{BaseOffset: 2, LastOffset: 2})
	l.p.Release(&pin)
	l.p.Durable(coldstate.Checkpoint{Offset: 3})
	w.settle()
	if st := w.s.Stats(); st.AppendsInFlight != 1 || st.OverlayEntries != 1 {
		t.Fatalf("want only the other partition's append in flight, got %+v", st)
	}
	if _, err := l.p.Lookup(t.Context(), pid); !errors.Is(err, ErrDropped) {
		t.Fatalf("got %v, want ErrDropped", err)
	}
	n := 0
	_, _, err = w.cold.Scan(l.num, -1<<63, 10, func(int64, []byte) error { n++; return nil })
	w.must(err)
	if _, found, err := w.cold.Checkpoint(l.num); n != 0 || found || err != nil {
		t.Fatalf("%d entries, checkpoint %v, %v are left", n, found, err)
	}
	w.logs = w.logs[1:]
	again := w.addLog(3)
	w.want(again, pid, 0, 0, 1, "appended at 0") // case 27
	w.want(other, pid, 0, 0, 1, "duplicate of 0")
}

func TestDropOrphans(t *testing.T) {
	w := newWorld(t, tinyBytes, 3)
	for _, l := range w.logs {
		w.want(l, w.newPID(), 0, 0, 1, "appended at 0")
		w.commit(l)
	}
	w.settle()
	n, err := w.s.DropOrphans(func(num uint64) bool { return num == 2 })
	w.must(err)
	if n != 2 {
		t.Fatalf("dropped %d, want 2", n)
	}
	w.must(w.cold.Partitions(func(num uint64) error {
		if num != 2 {
			t.Errorf("partition %d is left", num)
		}
		return nil
	}))
}

// TestColdCommitFails: what cannot be written never leaves the overlay, so nothing new
// is taken; nothing that was acknowledged is forgotten.
func TestColdCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, tinyBytes, 1)
		l, pid := w.logs[0], w.newPID()
		w.want(l, pid, 0, 0, 1, "appended at 0")
		w.must(w.cold.Close())
		w.commit(l)
		synctest.Wait()
		if _, err := l.p.Lookup(t.Context(), pid); !errors.Is(err, coldstate.ErrClosed) {
			t.Fatalf("look-up: got %v, want the cold store's error", err)
		}
		if st := w.s.Stats(); st.AppendsInFlight != 1 || st.OverlayEntries != 1 {
			t.Fatalf("the append left the overlay: %+v", st)
		}
		if err := l.p.BeforeTrim(1); !errors.Is(err, coldstate.ErrClosed) {
			t.Fatalf("BeforeTrim: %v", err)
		}
		if err := w.s.Close(); !errors.Is(err, coldstate.ErrClosed) {
			t.Fatalf("Close: %v", err)
		}
		w.s = nil
	})
}

// TestQueueHoldsAPartitionOnce, however often and in whatever order it is put there.
func TestQueueHoldsAPartitionOnce(t *testing.T) {
	w := newWorld(t, tinyBytes, 3)
	a, b, c := w.logs[0].p, w.logs[1].p, w.logs[2].p
	var got []uint64
	w.must(w.s.applier.do(func(*coldstate.Batch) error { // the applier is busy
		for _, p := range []*Partition{a, b, a, c, b, b, a} {
			w.s.enqueue(p, true)
		}
		for p := w.s.dequeue(); p != nil; p = w.s.dequeue() {
			if got = append(got, p.num); len(got) == 2 {
				w.s.enqueue(a, true) // it has left, and may come again
			}
		}
		return nil
	}))
	if want := []uint64{1, 2, 3, 1}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
