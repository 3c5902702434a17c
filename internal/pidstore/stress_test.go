package pidstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ottla/internal/producer"
)

// shared is a log that many goroutines append to, with the lock that a partition has.
type shared struct {
	sync.Mutex
	logFile
}

// stress runs producers, each with its own sequence on each partition, that retry at
// random; a committer; sweeps, trims and descriptions. Every answer is checked.
type stress struct {
	*world
	logs []*shared
	stop chan struct{}
	bg   sync.WaitGroup
}

func TestConcurrent(t *testing.T) {
	for _, memory := range []int64{tinyBytes, 1 << 18} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			st := &stress{world: newWorld(t, memory, 0), stop: make(chan struct{})}
			for i := range 3 {
				l := &shared{logFile: logFile{num: uint64(i + 1), created: st.ids.Issued()}}
				st.load(&l.logFile)
				st.logs = append(st.logs, l)
			}
			st.background()
			var wg sync.WaitGroup
			for g := range 6 {
				wg.Go(func() { st.produce(uint64(g), 1500) })
			}
			wg.Wait()
			close(st.stop)
			st.bg.Wait()
			for _, l := range st.logs {
				st.commit(&l.logFile)
			}
			st.settle()
			if s := st.s.Stats(); s.AppendsInFlight != 0 || s.OverlayEntries != 0 || s.HotEntries > s.HotEntriesMax {
				t.Errorf("at rest: %+v", s)
			}
			for _, l := range st.logs {
				if problems, err := st.auditLog(&l.logFile); err != nil || len(problems) > 0 {
					t.Errorf("audit: %v %v", err, problems)
				}
			}
		})
	}
}

func (st *stress) background() {
	st.bg.Go(func() { // the committer
		for {
			select {
			case <-st.stop:
				return
			case <-time.After(200 * time.Microsecond):
			}
			for _, l := range st.logs {
				l.Lock()
				l.durable = l.end
				c := l.position()
				l.Unlock()
				l.p.Durable(c)
			}
		}
	})
	st.bg.Go(func() {
		now := time.Unix(1_800_000_000, 0)
		for i := 0; ; i++ {
			select {
			case <-st.stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			now = now.Add(time.Second / 10) // never old enough to forget
			st.s.Sweep(now)
			l := st.logs[i%len(st.logs)]
			if err := l.p.Describe(10, func(int64, producer.Entry) error { return nil }); err != nil {
				st.t.Error(err)
			}
			l.Lock()
			durable := l.durable
			l.Unlock()
			if i%5 == 0 {
				if err := l.p.BeforeTrim(durable); err != nil {
					st.t.Error(err)
				}
			}
			_ = st.s.Stats()
		}
	})
}

// produce is several producers taking turns, some of them single-use.
func (st *stress) produce(seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 3))
	type state struct {
		pid  int64
		seq  [3]int32
		last [3][]producer.Stored
	}
	var all []*state
	for range steps {
		if len(all) < 3 || r.IntN(4) == 0 {
			all = append(all, &state{pid: st.newPID()})
		}
		p := all[max(0, len(all)-1-r.IntN(min(len(all), 30)))]
		i := r.IntN(3)
		seq, count := p.seq[i], int32(1+r.IntN(3))
		var original *producer.Stored
		if n := len(p.last[i]); n > 0 && r.IntN(2) == 0 {
			original = &p.last[i][max(0, n-1-r.IntN(5))]
			seq, count = original.BaseSequence, original.LastSequence-original.BaseSequence+1
		}
		got, err := st.append(st.logs[i], p.pid, seq, count, r.IntN(20) == 0)
		switch {
		case errors.Is(err, errWriteFailed):
		case err != nil:
			st.t.Errorf("producer %d partition %d sequence %d: %v", p.pid, i, seq, err)
			return
		case original != nil && got != *original:
			st.t.Errorf("producer %d partition %d: retry got %+v, want %+v", p.pid, i, got, *original)
			return
		case original == nil:
			p.seq[i] += count
			p.last[i] = append(p.last[i], got)
		}
	}
}

var errWriteFailed = errors.New("write failed")

func (st *stress) append(l *shared, pid int64, seq, count int32, fail bool) (producer.Stored, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // an append that is never applied must not hang the test
	defer cancel()
	pin, err := l.p.Lookup(ctx, pid)
	if err != nil {
		return producer.Stored{}, err
	}
	defer l.p.Release(&pin)
	l.Lock()
	defer l.Unlock()
	in := producer.Incoming{BaseSequence: seq, LastSequence: seq + count - 1}
	v, original, err := l.p.Check(&pin, in)
	if err != nil || v == producer.Duplicate {
		return original, err
	}
	if fail {
		return producer.Stored{}, errWriteFailed
	}
	s := producer.Stored{BaseSequence: seq, LastSequence: seq + count - 1, BaseOffset: l.end, LastOffset: l.end + int64(count) - 1}
	l.end += int64(count)
	l.records = append(l.records, record{pid, in, s})
	l.p.Applied(&pin, in, s)
	return s, nil
}

// TestConcurrentLookups of one cold producer read the same and count once in the table.
func TestConcurrentLookups(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	l := w.logs[0]
	pid := w.newPID()
	w.want(l, pid, 0, 0, 1, "appended at 0")
	for range 50 {
		w.restart(clean, 1)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				pin, err := l.p.Lookup(context.Background(), pid)
				if err != nil {
					t.Error(err)
					return
				}
				if v, s, err := l.p.Check(&pin, producer.Incoming{}); v != producer.Duplicate || s.BaseOffset != 0 || err != nil {
					t.Errorf("got %v %+v %v", v, s, err)
				}
				l.p.Release(&pin)
			})
		}
		wg.Wait()
		if st := w.s.Stats(); st.OverlayEntries != 0 || st.AppendsInFlight != 0 || st.HotEntries != 1 {
			t.Fatalf("at rest: %+v", st)
		}
	}
}

// TestDropWhileBusy: a deletion meets appends, passes and flushes anywhere.
func TestDropWhileBusy(t *testing.T) {
	w := newWorld(t, 1<<18, 0)
	for round := range 30 {
		l := &shared{logFile: logFile{num: uint64(round + 1), created: w.ids.Issued()}}
		w.load(&l.logFile)
		st := &stress{world: w, logs: []*shared{l}}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					if _, err := st.append(l, w.newPID(), 0, 1, false); errors.Is(err, ErrDropped) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					l.Lock()
					l.durable = l.end
					c := l.position()
					l.Unlock()
					l.p.Durable(c)
				}
			})
		}
		<-time.After(time.Duration(round%5) * 300 * time.Microsecond)
		w.must(l.p.Drop())
		wg.Wait()
		w.must(w.s.keeper.flush())
		if s := w.s.Stats(); s.AppendsInFlight != 0 || s.OverlayEntries != 0 {
			t.Fatalf("a dropped partition keeps %+v", s)
		}
		n := 0
		_, _, err := w.cold.Scan(l.num, -1<<63, 1, func(int64, []byte) error { n++; return nil })
		w.must(err)
		if _, found, err := w.cold.Checkpoint(l.num); n > 0 || found || err != nil {
			t.Fatalf("round %d: entries %d, checkpoint %v, %v after Drop", round, n, found, err)
		}
	}
}
