package pidstore

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ottla/internal/coldstate"
)

// acked is one batch of the acknowledged history of a producer on a partition.
type acked struct {
	epoch       int16
	base, count int64
	offset      int64
	age         uint32
}

// model is the history itself: every batch ever stored, by partition and producer.
type model struct {
	history map[uint64]map[int64][]acked
}

const circle = int64(1) << 31

// traceMax is how many steps before a failure are shown.
const traceMax = 60

// judge says what a broker that remembers everything must answer; "append" if the
// batch is new.
func judge(h []acked, epoch int16, base, count int64, recent bool) string {
	if len(h) == 0 {
		if base != 0 && recent {
			return "45"
		}
		return "append"
	}
	last := h[len(h)-1]
	switch {
	case epoch < last.epoch:
		return "47"
	case epoch > last.epoch && base == 0:
		return "append"
	case epoch > last.epoch:
		return "45"
	}
	first := len(h)
	for first > 0 && h[first-1].epoch == epoch {
		first--
	}
	mine := h[first:]
	window := mine[max(0, len(mine)-5):]
	for _, a := range window {
		if a.base == base && a.count == count {
			return fmt.Sprintf("duplicate of %d", a.offset)
		}
	}
	if base == (last.base+last.count)%circle {
		return "append"
	}
	// These histories are short: the run before the window is what was stored, and
	// nothing wraps twice.
	stored := map[int64]bool{}
	for _, a := range mine[:len(mine)-len(window)] {
		for i := range a.count {
			stored[(a.base+i)%circle] = true
		}
	}
	for i := range count {
		if !stored[(base+i)%circle] {
			return "45"
		}
	}
	return "46"
}

type key struct {
	num uint64
	pid int64
}

// play runs a random history against a store and its reference.
type play struct {
	*world
	r     *rand.Rand
	m     model
	pids  []int64
	now   time.Time
	trace []string
	// Few producers have long histories, many leave memory.
	pidsMax int
	// What was forgotten may come back with a crash: forgetting is not durable at once.
	forgotten map[key][]acked
}

func newPlay(t testing.TB, seed uint64) *play {
	r := rand.New(rand.NewPCG(seed, 7))
	w := newWorld(t, []int64{tinyBytes, 1 << 18}[r.IntN(2)], 1+r.IntN(3))
	return &play{
		world: w, r: r, m: model{map[uint64]map[int64][]acked{}}, now: time.Unix(1_800_000_000, 0),
		pidsMax: []int{3, 1000}[r.IntN(2)], forgotten: map[key][]acked{},
	}
}

func (p *play) log() *logFile { return p.logs[p.r.IntN(len(p.logs))] }

func (p *play) pid() int64 {
	switch n := p.r.IntN(20); {
	case len(p.pids) >= p.pidsMax:
	case n == 0 || len(p.pids) == 0:
		p.pids = append(p.pids, p.newPID())
	case n == 1: // another cluster's, near or far, below or above
		near := []int64{p.ids.Limit() + p.r.Int64N(10), p.ids.Issued() + p.r.Int64N(5), p.ids.Limit() + 1<<30 + p.r.Int64N(3), p.r.Int64N(5)}
		p.pids = append(p.pids, near[p.r.IntN(4)])
	case n < 10: // one of the latest
		return p.pids[max(0, len(p.pids)-1-p.r.IntN(4))]
	}
	return p.pids[p.r.IntN(len(p.pids))]
}

// produce sends something plausible and compares.
func (p *play) produce() error {
	if st := p.s.Stats(); st.AppendsInFlight == st.AppendsInFlightMax {
		p.commitSome(true)
		p.settle()
	}
	l, pid := p.log(), p.pid()
	h := p.m.history[l.num][pid]
	epoch, base, count := p.attempt(h)
	recent := p.ids.RecentlyIssued(pid, l.created, p.s.Age(), p.s.expirationSeconds)
	want := []string{judge(h, epoch, base, count, recent)}
	forgettable := len(h) > 0 && h[len(h)-1].offset+h[len(h)-1].count <= l.start && p.s.Age()-h[len(h)-1].age >= p.s.expirationSeconds
	if forgettable {
		// Either is right; which of both it is decides what is known afterwards.
		if _, found, err := l.p.current(pid); err != nil || !found {
			p.forgotten[key{l.num, pid}] = h
			h, want = nil, nil
		}
		want = append(want, judge(h, epoch, base, count, recent))
	}
	at := l.end
	got, err := p.send(l, pid, epoch, int32(base), int32(count))
	if err != nil {
		return err
	}
	p.trace = append(p.trace, fmt.Sprintf("p%d pid %d e%d %d+%d: %s", l.num, pid, epoch, base, count, got))
	appended := got == fmt.Sprintf("appended at %d", at)
	for _, w := range want {
		if got == w || (appended && w == "append") {
			if appended {
				p.acknowledge(l.num, pid, append(h, acked{epoch, base, count, at, p.s.Age()}))
			}
			return nil
		}
	}
	return fmt.Errorf("partition %d producer %d epoch %d base %d count %d: got %q, want %q; history %v", l.num, pid, epoch, base, count, got, want, h)
}

func (p *play) acknowledge(num uint64, pid int64, h []acked) {
	if p.m.history[num] == nil {
		p.m.history[num] = map[int64][]acked{}
	}
	p.m.history[num][pid] = h
}

func (p *play) attempt(h []acked) (epoch int16, base, count int64) {
	count = 1 + p.r.Int64N(4)
	if len(h) == 0 {
		return int16(p.r.IntN(2)), []int64{0, 0, 0, 7, circle - 3}[p.r.IntN(5)], count
	}
	last := h[len(h)-1]
	next := (last.base + last.count) % circle
	switch p.r.IntN(10) {
	case 0:
		return last.epoch + int16(p.r.IntN(2)), 0, count
	case 1:
		return max(0, last.epoch-1), next, count
	case 2, 3, 4: // a retry
		a := h[max(0, len(h)-1-p.r.IntN(9))]
		return a.epoch, a.base, a.count
	case 5:
		return last.epoch, (next + p.r.Int64N(30) - 20 + circle) % circle, count
	}
	return last.epoch, next, count
}

func (p *play) commitSome(all bool) {
	for _, l := range p.logs {
		if all || p.r.IntN(2) == 0 {
			p.commit(l)
		}
	}
}

func (p *play) restartSomehow() {
	how := crash(p.r.IntN(5))
	p.trace = append(p.trace, fmt.Sprintf("restart %d", how))
	if p.r.IntN(2) == 0 {
		p.settle()
	}
	if p.r.IntN(3) == 0 {
		p.must(p.s.keeper.flush())
	}
	if p.r.IntN(3) == 0 {
		p.rewindCheckpoint(p.log())
	}
	p.restart(how, p.r.Int64())
	for _, l := range p.logs {
		for pid, h := range p.m.history[l.num] {
			keep := h[:0:0]
			for _, a := range h {
				if a.offset >= l.end || (how == storeLost && a.offset+a.count <= l.start) {
					continue
				}
				// A lost store takes the broker age back; idle time counts from what the age is now.
				a.age = min(a.age, p.s.Age())
				keep = append(keep, a)
			}
			p.m.history[l.num][pid] = keep
		}
	}
	p.remember()
}

// remember finds what had been forgotten and came back.
func (p *play) remember() {
	for _, l := range p.logs {
		for pid, h := range p.m.history[l.num] {
			old := p.forgotten[key{l.num, pid}]
			if len(old) == 0 {
				continue
			}
			e, found, err := l.p.current(pid)
			p.must(err)
			last := old[len(old)-1]
			for _, s := range e.Window() {
				if found && s.BaseOffset == last.offset {
					p.m.history[l.num][pid] = append(old[:len(old):len(old)], h...)
					delete(p.forgotten, key{l.num, pid})
					break
				}
			}
		}
	}
}

// rewindCheckpoint leaves the entries of a partition ahead of their checkpoint, as a
// crash between two chunks of one pass does.
func (p *play) rewindCheckpoint(l *logFile) {
	p.settle()
	c, found, err := p.cold.Checkpoint(l.num)
	p.must(err)
	if !found {
		return
	}
	for _, r := range l.records {
		if r.stored.BaseOffset < c.Offset && p.r.IntN(4) == 0 {
			b := p.cold.NewBatch()
			b.SetCheckpoint(l.num, coldstate.Checkpoint{Offset: r.stored.BaseOffset})
			p.must(b.Commit())
			p.must(p.cold.Flush())
			p.trace = append(p.trace, fmt.Sprintf("checkpoint of p%d from %d back to %d", l.num, c.Offset, r.stored.BaseOffset))
			return
		}
	}
}

func (p *play) step() error {
	switch n := p.r.IntN(100); {
	case n < 70:
		return p.produce()
	case n < 84:
		p.commitSome(false)
	case n < 88:
		p.settle()
	case n < 91:
		p.now = p.now.Add(time.Duration(p.r.IntN(30)) * time.Second)
		p.s.Sweep(p.now)
		p.trace = append(p.trace, fmt.Sprintf("sweep, age %d", p.s.Age()))
	case n < 94:
		if l := p.log(); len(l.records) > 0 {
			p.commit(l)
			p.trim(l, l.records[p.r.IntN(len(l.records))].stored.LastOffset+1)
			p.trace = append(p.trace, fmt.Sprintf("trim p%d to %d", l.num, l.start))
		}
	case n < 95:
		p.drop()
	case n < 97:
		return p.audit()
	default:
		p.restartSomehow()
	}
	return nil
}

// drop deletes a partition and makes another: nothing of the old one is remembered.
func (p *play) drop() {
	i := p.r.IntN(len(p.logs))
	old := p.logs[i]
	p.must(old.p.Drop())
	delete(p.m.history, old.num)
	l := p.addLog(old.num + 100)
	p.logs = p.logs[:len(p.logs)-1]
	p.logs[i] = l
	p.trace = append(p.trace, fmt.Sprintf("drop p%d, make p%d", old.num, l.num))
}

func TestAgainstHistory(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		if err := run(t, seed, 500, sabotage{}); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzAgainstHistory looks for histories that the fixed seeds do not find.
func FuzzAgainstHistory(f *testing.F) {
	f.Add(uint64(1), uint16(300))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		if err := run(t, seed, int(steps%2000), sabotage{}); err != nil {
			t.Fatal(err)
		}
	})
}

// sabotage breaks an order that the store depends on.
type sabotage struct {
	trimFirst    bool // the log is trimmed before the checkpoint is flushed
	durableEarly bool // the log calls durable what a power loss takes back
	noColdMax    bool // after a start, every id of ours counts as never seen
}

// TestSabotageIsNoticed is the canary: with one order broken the same histories fail.
func TestSabotageIsNoticed(t *testing.T) {
	for name, s := range map[string]sabotage{
		"trim before checkpoint": {trimFirst: true},
		"durable too early":      {durableEarly: true},
		"new without a look":     {noColdMax: true},
	} {
		noticed := false
		for seed := uint64(0); seed < 40 && !noticed; seed++ {
			noticed = run(discard{t}, seed, 500, s) != nil
		}
		if !noticed {
			t.Errorf("%s: nothing noticed it", name)
		}
	}
}

// discard keeps the traces of failures that are wanted out of the log.
type discard struct{ testing.TB }

func (discard) Log(...any) {}

func run(t testing.TB, seed uint64, steps int, s sabotage) (err error) {
	p := newPlay(t, seed)
	p.sabotage = s
	defer func() {
		_ = p.s.Close()
		_ = p.cold.Close()
		p.s = nil
	}()
	for i := range steps {
		if err := p.step(); err != nil {
			for _, line := range p.trace[max(0, len(p.trace)-traceMax):] {
				t.Log(line)
			}
			return fmt.Errorf("seed %d step %d: %w", seed, i, err)
		}
	}
	return nil
}
