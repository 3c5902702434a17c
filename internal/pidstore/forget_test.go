package pidstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ottla/internal/producer"
)

// clock sweeps a world, whose time stands still otherwise.
type clock struct {
	w   *world
	now time.Time
}

func (c *clock) pass(d time.Duration) {
	for ; d > 0; d -= SweepInterval {
		c.now = c.now.Add(min(d, SweepInterval))
		c.w.s.Sweep(c.now)
	}
}

func newClock(w *world) *clock {
	c := &clock{w, time.Unix(1_800_000_000, 0)}
	w.s.Sweep(c.now)
	return c
}

// TestForget: an entry goes when its data is gone and it is idle past the expiration,
// not earlier for either reason, and its room on disk with it.
func TestForget(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l, c := w.logs[0], newClock(w)
	gone, kept := w.newPID(), w.newPID()
	w.want(l, gone, 0, 0, 1, "appended at 0")
	w.want(l, kept, 0, 0, 1, "appended at 1")
	w.commit(l)
	w.settle()
	c.pass(150 * time.Second) // case 13: the data is there
	w.want(l, gone, 0, 0, 1, "duplicate of 0")
	w.trim(l, 1)
	c.pass(20 * time.Second)
	w.want(l, kept, 0, 0, 1, "duplicate of 1")
	if n := w.s.Stats().Forgotten; n != 1 {
		t.Fatalf("%d forgotten, want 1", n)
	}
	w.want(l, gone, 0, 1, 1, "appended at 2") // case 18: goes on after its state is gone
	w.want(l, gone, 0, 0, 1, "45")
	w.commit(l)
	w.settle()
	w.trim(l, 3)
	c.pass(50 * time.Second) // kept is idle long enough, gone is not
	w.want(l, gone, 0, 1, 1, "duplicate of 2")
	c.pass(80 * time.Second)
	if n := w.s.Stats().Forgotten; n != 3 {
		t.Fatalf("%d forgotten, want 3", n)
	}
	n := 0
	_, _, err := w.cold.Scan(l.num, 0, 10, func(int64, []byte) error { n++; return nil })
	w.must(err)
	if st := w.s.Stats(); n != 0 || st.HotEntries != 0 {
		t.Fatalf("%d cold entries and %d hot ones are left", n, st.HotEntries)
	}
}

// TestRetryInsideExpiration: case 25.
func TestRetryInsideExpiration(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l, c := w.logs[0], newClock(w)
	pid := w.newPID()
	w.want(l, pid, 0, 0, 1, "appended at 0")
	w.commit(l)
	w.trim(l, 1)
	c.pass(90 * time.Second)
	w.want(l, pid, 0, 0, 1, "duplicate of 0")
	w.restart(kill, 1)
	w.want(l, pid, 0, 0, 1, "duplicate of 0")
}

// TestClockJumps forget nothing: the age moves by what sweeps may add.
func TestClockJumps(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	now := time.Unix(1_800_000_000, 0)
	w.s.Sweep(now)
	for _, jump := range []time.Duration{-100 * 24 * time.Hour, 400 * 24 * time.Hour, -time.Second, 0} {
		before := w.s.Age()
		now = now.Add(jump)
		w.s.Sweep(now)
		if d := w.s.Age() - before; d > uint32(2*SweepInterval/time.Second) {
			t.Fatalf("a jump of %v moved the age by %d s", jump, d)
		}
	}
	before := w.s.Age()
	for range 30 {
		now = now.Add(333 * time.Millisecond)
		w.s.Sweep(now)
	}
	if d := w.s.Age() - before; d != 9 {
		t.Fatalf("the age moved by %d s in 9.99 s of sweeps", d)
	}
}

// TestAgeSurvives a clean stop, and a lost store as far as ids were reserved.
func TestAgeSurvives(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	newClock(w).pass(77 * time.Second)
	w.restart(clean, 1)
	if age := w.s.Age(); age != 77 {
		t.Fatalf("age %d after a clean restart, want 77", age)
	}
	w.must(w.ids.Raise(w.ids.Limit()))
	w.restart(storeLost, 1)
	if age := w.s.Age(); age != 77 {
		t.Fatalf("age %d after the store was lost, want 77 from the issue marks", age)
	}
}

// TestForgetLooksTwice: what was written to after the scan stays, and so does what is
// in use.
func TestForgetLooksTwice(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l, c := w.logs[0], newClock(w)
	pinned, written, expired := w.newPID(), w.newPID(), w.newPID()
	for i, pid := range []int64{pinned, written, expired} {
		w.want(l, pid, 0, 0, 1, formatAnswer("appended at", int64(i)))
	}
	w.commit(l)
	w.settle()
	w.must(l.p.BeforeTrim(3))
	c.pass(200 * time.Second)
	pin, err := l.p.Lookup(t.Context(), pinned)
	w.must(err)
	w.want(l, written, 0, 1, 1, "appended at 3")
	w.commit(l)
	w.settle()
	w.must(w.s.forget(l.p, []int64{pinned, written, expired, 12345}, 3))
	l.p.Release(&pin)
	if n := w.s.Stats().Forgotten; n != 1 {
		t.Fatalf("%d forgotten, want 1", n)
	}
	w.want(l, pinned, 0, 0, 1, "duplicate of 0")
	w.want(l, written, 0, 0, 1, "duplicate of 1")
	w.want(l, expired, 0, 3, 1, "appended at 4")
}

// TestForgottenWhilePinned: a pin that came after the last look holds an entry that the
// cold store has no more. Without an append it must not become hot; with one it is
// written again.
func TestForgottenWhilePinned(t *testing.T) {
	for _, appends := range []bool{false, true} {
		w := newWorld(t, tinyBytes, 1)
		l := w.logs[0]
		pid := w.newPID()
		w.want(l, pid, 0, 0, 1, "appended at 0")
		w.commit(l)
		w.settle()
		pin, err := l.p.Lookup(t.Context(), pid)
		w.must(err)
		b := w.cold.NewBatch()
		b.Delete(l.num, pid)
		w.must(b.Commit())
		w.s.removeFromMemory(l.p, pid)
		if appends {
			in, stored := producer.Incoming{BaseSequence: 1, LastSequence: 1}, producer.Stored{BaseSequence: 1, LastSequence: 1, BaseOffset: 1, LastOffset: 1}
			_, _, err := l.p.Check(&pin, in)
			w.must(err)
			l.p.Applied(&pin, in, stored)
			l.records, l.end = append(l.records, record{pid, in, stored}), 2
			w.commit(l)
		}
		l.p.Release(&pin)
		w.settle()
		_, inMemory, err := l.p.current(pid)
		w.must(err)
		var e producer.Entry
		inCold, err := getEntry(w.cold, l.num, pid, &e)
		w.must(err)
		if inMemory != appends || inCold != appends {
			t.Errorf("appends %v: in memory %v, in the cold store %v", appends, inMemory, inCold)
		}
		if appends {
			w.want(l, pid, 0, 1, 1, "duplicate of 1")
		}
	}
}

// TestSweepIsBounded: one step reads so many entries and goes on where it ended; a
// partition whose log start does not move is not read.
func TestSweepIsBounded(t *testing.T) {
	w := newWorld(t, 1<<20, 2)
	c := newClock(w)
	l := w.logs[0]
	for range 3000 {
		_, err := w.send(l, w.newPID(), 0, 0, 1)
		w.must(err)
		if w.s.slab.aboveHalf() {
			w.commit(l)
			w.settle()
		}
	}
	w.commit(l)
	w.trim(l, l.end)
	c.pass(90 * time.Second)
	w.s.age.Add(10)
	w.s.sweep.Lock()
	w.must(w.s.forgetStepLocked(1024))
	w.s.sweep.Unlock()
	if n := w.s.Stats().Forgotten; n != 1024 {
		t.Fatalf("%d forgotten in one step, want 1024", n)
	}
	for range 2 {
		w.s.sweep.Lock()
		w.must(w.s.forgetStepLocked(1024))
		w.s.sweep.Unlock()
	}
	if n := w.s.Stats().Forgotten; n != 3000 {
		t.Fatalf("%d forgotten, want all 3000", n)
	}
	if w.logs[1].p.mayForgetLocked(1<<30) || l.p.mayForgetLocked(1<<30) {
		t.Error("a partition without anything to forget is to be scanned")
	}
}

func TestDescribe(t *testing.T) {
	w := newWorld(t, 1<<18, 2)
	l, r := w.logs[0], rand.New(rand.NewPCG(1, 1))
	seq := map[int64]int32{}
	var pids []int64
	for range 400 {
		pids = append(pids, w.newPID())
	}
	last := map[int64]int64{}
	for i := range 2000 {
		pid := pids[i%len(pids)]
		if i >= len(pids) {
			pid = pids[r.IntN(len(pids))]
		}
		last[pid] = l.end
		w.want(l, pid, 0, seq[pid], 1, formatAnswer("appended at", l.end))
		seq[pid]++
		if r.IntN(50) == 0 || w.s.slab.aboveHalf() {
			w.commit(l)
			w.settle()
		}
	}
	w.want(w.logs[1], pids[0], 0, 0, 1, "appended at 0")
	want := slices.Clone(pids)
	slices.SortFunc(want, func(a, b int64) int { return int(last[b] - last[a]) })
	for _, limit := range []int{0, 1, 7, 399, 400, 100_000} {
		var got []int64
		w.must(l.p.Describe(limit, func(pid int64, e producer.Entry) error {
			if lastOffset(&e) != last[pid] {
				return fmt.Errorf("producer %d: last offset %d, want %d", pid, lastOffset(&e), last[pid])
			}
			got = append(got, pid)
			return nil
		}))
		if !slices.Equal(got, want[:min(limit, len(want))]) {
			t.Fatalf("limit %d: got %d producers in another order than expected", limit, len(got))
		}
	}
	stop := errors.New("enough")
	if err := l.p.Describe(5, func(int64, producer.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("got %v, want the callback's error", err)
	}
}
