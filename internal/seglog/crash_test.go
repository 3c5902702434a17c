package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// attempt is one batch that somebody tried to append.
type attempt struct {
	base, last int64
	id         int64 // producer id: unique
	acked      bool  // its ticket said so
	returned   bool  // Append returned without error
}

// model is what a reader of the acknowledged history expects of the log.
type model struct {
	attempts   []attempt
	start      int64 // of the last trim that was answered
	trimming   int64 // the largest target of a trim that was not
	checkpoint Position
	has        bool
	durable    Position // last reported
	pageCache  bool
	t          testing.TB
}

func (m *model) Committed(int64)    {}
func (m *model) Durable(p Position) {}

// world is one run: a disk, a store and a log on it, and the model.
type world struct {
	*model
	rng   *rand.Rand
	fsys  disk.FS
	store *Store
	log   *Log
	cfg   *Config
	next  int64 // next id
	// closed says that a clean stop or the open after it failed.
	closed bool
	turns  uint64 // of the journals of the stores that were closed
}

func crashConfig(pageCache bool) *Config {
	c := testConfig()
	c.SegmentBytes, c.RetentionBytes, c.IndexBytesMax = 600, 1500, 80
	if pageCache {
		c.FlushMessages, c.FlushMillis = 7, 3600_000
	}
	return c
}

// open opens store and log, checking the replayed headers against the model.
func (w *world) open(unclean bool) error {
	s, err := OpenStore(Options{FS: w.fsys, Dir: "data", FreeBytesMin: -1, OpenFilesMax: 2, JournalBytes: testJournalBytes, heldTailMax: testHeldTailMax, writeAgainWait: time.Millisecond})
	if err != nil {
		return err
	}
	w.store = s
	var replayed []batch.Header
	l, err := s.OpenLog(OpenOptions{
		Name: "t-0", TopicID: [16]byte{7}, Config: w.cfg, Checkpoint: w.checkpoint, HasCheckpoint: w.has, Unclean: unclean,
		Listener: w.model, Replay: func(h batch.Header) error { replayed = append(replayed, h); return nil },
		BeforeTrim: func(start int64) error {
			if p := w.log.Position(); p.Offset < start {
				w.t.Errorf("trim to %d before it is durable: %v", start, p)
			}
			w.checkpoint, w.has = w.log.Position(), true
			return nil
		},
	})
	if err != nil {
		return err
	}
	w.log = l
	w.checkReplay(replayed)
	return nil
}

func (w *world) checkReplay(replayed []batch.Header) {
	w.t.Helper()
	expect := w.log.Start()
	if w.has && w.checkpoint.Offset > expect {
		expect = w.checkpoint.Offset
	}
	for i, h := range replayed {
		if i == 0 && h.LastOffset() < expect || i > 0 && h.BaseOffset != expect || i == 0 && h.BaseOffset > expect {
			w.t.Fatalf("replay: batch %d is [%d, %d], expected offset %d", i, h.BaseOffset, h.LastOffset(), expect)
		}
		expect = h.LastOffset() + 1
	}
	if expect != w.log.End() {
		w.t.Fatalf("replay ended at %d, log ends at %d", expect, w.log.End())
	}
}

// verify compares the whole log with the model.
func (w *world) verify(powerLoss bool) {
	w.t.Helper()
	l := w.log
	if n := counterValue(w.t, w.store.metrics.MissingOffsets); n > 0 {
		w.t.Fatalf("%v durable offsets are missing", n)
	}
	if s := l.Start(); s != w.start && s != w.trimming {
		w.t.Fatalf("log start %d, expected %d or %d", s, w.start, w.trimming)
	}
	byBase := map[int64][]attempt{}
	for _, a := range w.attempts {
		byBase[a.base] = append(byBase[a.base], a)
	}
	present := map[int64]bool{}
	expect, first := l.Start(), true
	for _, h := range readAll(w.t, l, 300) {
		if first && (h.BaseOffset > expect || h.LastOffset() < expect) || !first && h.BaseOffset != expect {
			w.t.Fatalf("batch [%d, %d], expected offset %d", h.BaseOffset, h.LastOffset(), expect)
		}
		known := false
		for _, a := range byBase[h.BaseOffset] {
			known = known || a.id == h.ProducerID && a.last == h.LastOffset()
		}
		if !known || present[h.ProducerID] {
			w.t.Fatalf("batch of producer %d at %d: known %v, twice %v", h.ProducerID, h.BaseOffset, known, present[h.ProducerID])
		}
		present[h.ProducerID] = true
		expect, first = h.LastOffset()+1, false
	}
	for _, a := range w.attempts {
		kept := a.acked || a.returned && !powerLoss && w.pageCache
		if kept && a.last >= l.Start() && !present[a.id] {
			w.t.Fatalf("acknowledged batch [%d, %d] is lost; log [%d, %d)", a.base, a.last, l.Start(), l.End())
		}
	}
	w.start, w.trimming = l.Start(), l.Start()
	w.attempts = slices.DeleteFunc(w.attempts, func(a attempt) bool { return !present[a.id] })
	w.verifyTimes()
}

func (w *world) verifyTimes() {
	w.t.Helper()
	l := w.log
	for range 5 {
		if l.Committed() == l.Start() {
			return
		}
		o := l.Start() + w.rng.Int64N(l.Committed()-l.Start())
		got, ok, err := l.OffsetForTimestamp(testEpochTime + o)
		if err != nil || !ok || got.Offset != o {
			w.t.Fatalf("time of %d: %v %v %v; log [%d, %d)", o, got, ok, err, l.Start(), l.Committed())
		}
	}
	if got, ok, err := l.MaxTimestamp(); err != nil || !ok || got.Offset != l.Committed()-1 {
		w.t.Fatalf("max timestamp %v %v %v, committed %d", got, ok, err, l.Committed())
	}
}

// append tries one batch; the model learns of it before, because a crash may leave it behind.
func (w *world) append(wait bool) error {
	n := 1 + w.rng.IntN(3)
	base := w.log.End()
	w.next++
	w.attempts = append(w.attempts, attempt{base: base, last: base + int64(n) - 1, id: w.next})
	a := &w.attempts[len(w.attempts)-1]
	b := mkBatch(w.t, n, testEpochTime+base, w.rng.IntN(60), w.next)
	got, tk, err := w.log.Append(b, AppendOptions{Wait: wait, Held: w.rng.IntN(3) > 0, Now: now()})
	if err != nil {
		return err
	}
	if got != base {
		w.t.Fatalf("appended at %d, expected %d", got, base)
	}
	a.returned = true
	if !wait {
		if w.rng.IntN(2) == 0 {
			return nil
		}
		tk = w.log.PendingTicket()
	}
	<-tk.Done()
	if err := tk.Err(); err != nil {
		return err
	}
	if w.log.Committed() <= a.last {
		w.t.Fatalf("ticket done, committed %d, batch ends at %d", w.log.Committed(), a.last)
	}
	w.ack()
	return nil
}

// ack marks what is durable by the log's own word. In page-cache mode tickets promise nothing about power loss.
func (w *world) ack() {
	d := w.log.Durable()
	for i := range w.attempts {
		if a := &w.attempts[i]; a.returned && a.last < d {
			a.acked = true
		}
	}
}

// step does one random thing.
func (w *world) step() error {
	switch w.rng.IntN(15) {
	case 0:
		target := w.log.Start() + w.rng.Int64N(w.log.Committed()-w.log.Start()+1)
		w.trimming = max(target, w.start)
		start, err := w.log.DeleteRecords(target)
		if err == nil {
			w.start = start
		}
		return err
	case 1:
		return w.retain()
	case 2:
		w.log.ReleaseFiles()
		return nil
	case 3:
		w.log.RequestSync()
		return nil
	case 4:
		w.ack()
		w.checkpoint, w.has = w.log.Position(), true // the cold store was flushed
		return nil
	case 5:
		return w.log.RollIfDue(time.Now().AddDate(1, 0, 0))
	case 6:
		return w.reopen()
	case 7:
		w.store.janitor.keepNames()
		return nil
	default:
		return w.append(w.rng.IntN(3) > 0)
	}
}

func (w *world) retain() error {
	// The model does not predict which segments go: it takes any segment boundary.
	before := w.log.Start()
	_, err := w.log.Retain(now())
	if start := w.log.Start(); start > before {
		w.start, w.trimming = start, start
	} else if err != nil {
		w.trimming = -1 // unknown: learned from the disk
	}
	return err
}

func (w *world) reopen() error {
	w.closed = true
	w.turns += turns(w.store)
	if err := w.store.Close(); err != nil {
		return err
	}
	w.closed = false
	for i := range w.attempts {
		w.attempts[i].acked = w.attempts[i].acked || w.attempts[i].returned
	}
	w.closed = true
	if err := w.open(false); err != nil {
		return err
	}
	w.closed = false
	return nil
}

func (w *world) run(steps int) error {
	if err := w.open(true); err != nil {
		return err
	}
	var first error
	for range steps {
		err := w.step()
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if w.closed || w.store.Offline() != nil || errors.Is(err, disk.ErrCrashed) {
			return first
		}
		// A failed write, without a trace: go on.
	}
	w.ack()
	return first
}

// injected says that an error is the fault's doing.
func injected(err error) bool {
	return errors.Is(err, disk.ErrCrashed) || errors.Is(err, ErrIO) || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrOffline)
}

func newWorld(t testing.TB, fsys disk.FS, seed uint64, pageCache bool) *world {
	return &world{model: &model{t: t, pageCache: pageCache}, rng: rand.New(rand.NewPCG(seed, 1)), fsys: fsys, cfg: crashConfig(pageCache)}
}

// survive opens what a crash left, again crashing at operation j of the recovery while j reaches it, and verifies.
func survive(t testing.TB, w *world, mem *disk.Mem, powerLoss bool, seed int64) {
	t.Helper()
	for j := int64(0); ; j++ {
		fresh := mem.KillClone()
		faults := disk.NewFaults(disk.Fault{At: j, Kind: disk.FaultCrash})
		again := *w
		m := *w.model
		m.attempts = append([]attempt(nil), w.attempts...)
		again.model, again.rng = &m, rand.New(rand.NewPCG(uint64(seed), uint64(j)))
		again.fsys = disk.NewFaulty(fresh, faults)
		err := again.open(true)
		if err == nil && !faults.Crashed() {
			faults.Clear()
			verifyAndGoOn(t, &again, powerLoss)
			return
		}
		if err != nil && !injected(err) {
			t.Fatalf("recovery, crashed at operation %d: %v", j, err)
		}
		if again.store != nil {
			_ = again.store.Close() // crashed
		}
		after := fresh.KillClone()
		if powerLoss {
			after = fresh.CrashClone(again.rng.Float64(), seed+j)
		}
		again.fsys = after
		if err := again.open(true); err != nil {
			t.Fatalf("after a crash at operation %d of the recovery: %v", j, err)
		}
		verifyAndGoOn(t, &again, powerLoss)
	}
}

func verifyAndGoOn(t testing.TB, w *world, powerLoss bool) {
	t.Helper()
	if w.trimming == -1 {
		w.trimming = w.log.Start()
	}
	w.verify(powerLoss)
	for range 4 {
		if err := w.append(true); err != nil {
			t.Fatal(err)
		}
	}
	if w.pageCache {
		w.log.RequestSync()
	}
	if err := w.reopen(); err != nil {
		t.Fatal(err)
	}
	w.verify(false)
	closeStore(t, w.store)
	if problems, err := CheckLog(w.fsys, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatalf("check: %v %v", problems, err)
	}
}

func crashLoop(t *testing.T, seed uint64, steps int, pageCache bool, fault disk.Fault) {
	t.Helper()
	crashLoopOf(t, seed, fault, func(fsys disk.FS) (*world, func() error) {
		w := newWorld(t, fsys, seed, pageCache)
		return w, func() error { return w.run(steps) }
	})
}

// crashLoopOf has a fault at every operation of a history, until one has been run through without it.
func crashLoopOf(t *testing.T, seed uint64, fault disk.Fault, history func(disk.FS) (*world, func() error)) {
	t.Helper()
	for k := int64(seed) % crashStride(); ; k += crashStride() {
		fault.At = k
		mem := disk.NewMem()
		faults := disk.NewFaults(fault)
		w, run := history(disk.NewFaulty(mem, faults))
		err := run()
		if err != nil && !injected(err) {
			t.Fatalf("seed %d, fault at %d: %v", seed, k, err)
		}
		if faults.Fired() == 0 {
			if err != nil {
				t.Fatal(err)
			}
			faults.Clear()
			closeStore(t, w.store)
			return
		}
		faults.Crash()
		if w.store != nil {
			_ = w.store.Close() // crashed
		}
		if t.Failed() {
			t.Fatalf("seed %d, fault at %d", seed, k)
		}
		name := fmt.Sprintf("seed=%d/at=%d", seed, k)
		t.Run(name+"/kill", func(t *testing.T) { w.t = t; survive(t, w, mem, false, int64(k)) })
		for i, keep := range []float64{0, 0.5, 1} {
			t.Run(fmt.Sprintf("%s/power=%v", name, keep), func(t *testing.T) {
				w.t = t
				survive(t, w, mem.CrashClone(keep, int64(k)*10+int64(i)), true, int64(k))
			})
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// crashSeeds is how many random histories the loops go through; OTTLA_CRASH_SEEDS asks for more.
func crashSeeds(t *testing.T) uint64 {
	n := uint64(1)
	if v := os.Getenv("OTTLA_CRASH_SEEDS"); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// crashStride is how many operations lie between two crashes: the race detector, which runs the short tests, makes each history ten
// times as slow.
func crashStride() int64 {
	if testing.Short() {
		return 7
	}
	return 1
}

func TestCrashAtEveryOperation(t *testing.T) {
	for seed := range crashSeeds(t) {
		crashLoop(t, seed, 25, false, disk.Fault{Kind: disk.FaultCrash})
	}
}

func TestCrashAtEveryOperationPageCache(t *testing.T) {
	for seed := range crashSeeds(t) {
		crashLoop(t, seed+100, 25, true, disk.Fault{Kind: disk.FaultCrash})
	}
}

func TestErrorAtEveryOperation(t *testing.T) {
	for i, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		crashLoop(t, uint64(200+i), 25, false, disk.Fault{Kind: kind})
	}
}

// lyingFS is the canary: it syncs nothing. The same loop must notice.
type lyingFS struct{ disk.FS }

type lyingFile struct{ disk.File }

func (f lyingFile) Sync() error { return nil }

func (lyingFS) SyncFS(string) error  { return nil }
func (lyingFS) SyncDir(string) error { return nil }

func (y lyingFS) Create(name string) (disk.File, error) {
	f, err := y.FS.Create(name)
	return lyingFile{f}, err
}

func (y lyingFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	f, err := y.FS.OpenReadWrite(name, create)
	return lyingFile{f}, err
}

// canaryTB remembers that a test would have failed.
type canaryTB struct {
	testing.TB
	failed bool
}

func (c *canaryTB) Errorf(string, ...any) { c.failed = true }
func (c *canaryTB) Fatalf(string, ...any) { c.failed = true; runtime.Goexit() }
func (c *canaryTB) Fatal(...any)          { c.failed = true; runtime.Goexit() }

func TestCanaryIsCaught(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults(disk.Fault{At: 60, Kind: disk.FaultCrash})
	w := newWorld(t, disk.NewFaulty(lyingFS{mem}, faults), 1, false)
	if err := w.run(1000); !errors.Is(err, disk.ErrCrashed) {
		t.Fatal(err)
	}
	_ = w.store.Close() // crashed
	tb := &canaryTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.t = tb
		survive(tb, w, mem.CrashClone(0, 1), true, 1)
	}()
	<-done
	if !tb.failed {
		t.Fatal("a disk that syncs nothing passed")
	}
}
