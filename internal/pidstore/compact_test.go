package pidstore

import (
	"testing"
	"time"
)

// TestForgetIdle: the cleaner forgets a producer only when it is idle and has not written meanwhile.
func TestForgetIdle(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l, c := w.logs[0], newClock(w)
	pid, other := w.newPID(), w.newPID()
	remembered := func(pid int64, wantBatches int, wantIdle bool) int64 {
		t.Helper()
		e, idle, found, err := l.p.Remembered(pid)
		w.must(err)
		if found != (wantBatches > 0) || int(e.Count) != wantBatches || idle != wantIdle {
			t.Fatalf("remembered %d batches, idle %v, %v; want %d, %v", e.Count, idle, found, wantBatches, wantIdle)
		}
		last, _ := e.Last()
		return last.LastOffset
	}
	forget := func(pid, last int64, want bool) {
		t.Helper()
		got, err := l.p.ForgetIdle(pid, last)
		w.must(err)
		if got != want {
			t.Fatalf("forgotten: %v, want %v", got, want)
		}
	}
	remembered(pid, 0, false)
	w.want(l, pid, 0, 0, 1, "appended at 0")
	remembered(pid, 1, false) // in flight
	w.commit(l)
	w.settle()
	forget(pid, remembered(pid, 1, false), false) // young
	c.pass(150 * time.Second)
	last := remembered(pid, 1, true)
	w.want(l, pid, 0, 1, 1, "appended at 1")
	w.commit(l)
	w.settle()
	c.pass(150 * time.Second)
	forget(pid, last, false) // it has written since
	forget(pid, remembered(pid, 2, true), true)
	remembered(pid, 0, false)
	w.want(l, other, 0, 0, 1, "appended at 2")
	w.commit(l)
	w.settle()
	c.pass(150 * time.Second)
	forget(other, remembered(other, 1, true), true)
	w.must(l.p.FlushForgotten())
	if n := w.s.Stats().Forgotten; n != 2 {
		t.Fatalf("%d forgotten, want 2", n)
	}
	w.want(l, pid, 0, 2, 1, "appended at 3") // nothing is known of it
}
