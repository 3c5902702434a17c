package seglog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// cleanWorld is a compacted log on a disk that crashes, and what is known of its records.
type cleanWorld struct {
	t     testing.TB
	rng   *rand.Rand
	fsys  disk.FS
	store *Store
	log   *Log
	cfg   *Config
	lost  bool // the caller's checkpoint is lost at every start

	now     int64
	written map[int64]keyedRecord // by offset; the last attempt
	acked   map[string]int64      // key -> offset of its last acknowledged record
	end     int64                 // of what was acknowledged
	start   int64                 // of the last DeleteRecords that was tried
	check   Position
	has     bool
}

func newCleanWorld(t testing.TB, fsys disk.FS, seed uint64, lost bool) *cleanWorld {
	cfg := cleanConfig()
	cfg.SegmentBytes, cfg.DeleteRetentionMillis = 600, 50
	return &cleanWorld{t: t, rng: rand.New(rand.NewPCG(seed, 5)), fsys: fsys, cfg: cfg, lost: lost, now: testEpochTime,
		written: map[int64]keyedRecord{}, acked: map[string]int64{}}
}

func (w *cleanWorld) clone() *cleanWorld {
	c := *w
	c.written, c.acked = map[int64]keyedRecord{}, map[string]int64{}
	for k, v := range w.written {
		c.written[k] = v
	}
	for k, v := range w.acked {
		c.acked[k] = v
	}
	return &c
}

func (w *cleanWorld) open(unclean bool) error {
	s, err := OpenStore(Options{FS: w.fsys, Dir: "data", FreeBytesMin: -1, OpenFilesMax: 2, JournalBytes: testJournalBytes, heldTailMax: testHeldTailMax, writeAgainWait: time.Millisecond})
	if err != nil {
		return err
	}
	w.store = s
	l, err := s.OpenLog(OpenOptions{Name: "t-0", Config: w.cfg, Unclean: unclean, Checkpoint: w.check, HasCheckpoint: w.has && !w.lost})
	w.log = l
	return err
}

// append writes one batch and waits until it is durable.
func (w *cleanWorld) append() error {
	recs := make([]keyedRecord, 1+w.rng.IntN(4))
	base := w.log.End()
	for i := range recs {
		w.now += w.rng.Int64N(10)
		recs[i] = keyedRecord{offset: base + int64(i), timestamp: w.now, key: fmt.Sprint("k", w.rng.IntN(8)), value: fmt.Sprint(w.rng.Uint32())}
		if w.rng.IntN(4) == 0 {
			recs[i].value, recs[i].tombstone = "", true
		}
		w.written[recs[i].offset] = recs[i]
	}
	b := keyedBatch(w.t, int8(w.rng.IntN(2)*4), plainHeader(), recs)
	_, tk, err := w.log.Append(b, AppendOptions{Wait: true, Held: w.now%3 > 0, Now: time.UnixMilli(w.now)})
	if err != nil {
		return err
	}
	<-tk.Done()
	if err := tk.Err(); err != nil {
		return err
	}
	for _, r := range recs {
		w.acked[r.key], w.end = r.offset, r.offset+1
	}
	return nil
}

func (w *cleanWorld) appendAll(n int) error {
	for range n {
		if err := w.append(); err != nil {
			return err
		}
	}
	return nil
}

// clean cleans as far as the checkpoint, as a partition does, with appends in the middle.
func (w *cleanWorld) clean() error {
	w.check, w.has = w.log.Position(), true
	w.now += w.rng.Int64N(100)
	_, err := w.log.Clean(context.Background(), CleanOptions{
		Now: time.UnixMilli(w.now), Map: newTestMap(int64(20+w.rng.IntN(40)) * mapSlotBytes), UpTo: w.check.Offset,
		TombstonesBelow: math.MaxInt64, BeforeSwap: w.append,
		KeepEmpty: func(batch.Header, func(int64) (bool, error)) (bool, error) { return false, nil },
	})
	return err
}

func (w *cleanWorld) deleteRecords() error {
	w.start = w.log.Start() + (w.log.Committed()-w.log.Start())/4
	w.check, w.has = w.log.Position(), true
	_, err := w.log.DeleteRecords(w.start)
	return err
}

func (w *cleanWorld) reopen() error {
	if err := w.store.Close(); err != nil {
		return err
	}
	return w.open(false)
}

// run is the history in which something fails.
func (w *cleanWorld) run() error {
	if err := w.open(true); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return w.appendAll(12) }, w.clean, func() error { return w.appendAll(4) }, w.clean,
		w.reopen, w.append, w.clean, w.deleteRecords, func() error { return w.appendAll(2) }, w.clean,
	}
	var first error
	for _, step := range steps {
		err := step()
		if first == nil {
			first = err
		}
		if err != nil && (w.store.Offline() != nil || errors.Is(err, disk.ErrCrashed) || errors.Is(err, ErrClosed)) {
			return first
		}
	}
	return first
}

// verify: each key has its last acknowledged record or a later one; nothing is there that was not written, twice, or
// after it had been replaced by what is gone.
func (w *cleanWorld) verify() {
	w.t.Helper()
	if n := counterValue(w.t, w.store.metrics.MissingOffsets); n > 0 {
		w.t.Fatalf("%v durable offsets are missing", n)
	}
	if w.log.End() < w.end {
		w.t.Fatalf("the log ends at %d, acknowledged up to %d", w.log.End(), w.end)
	}
	if w.log.Start() > w.start {
		w.t.Fatalf("the log starts at %d, at most %d was asked for", w.log.Start(), w.start)
	}
	recs, _ := readKeyed(w.t, w.log)
	last := map[string]int64{}
	for _, r := range recs {
		if r != w.written[r.offset] {
			w.t.Fatalf("record %+v, written %+v", r, w.written[r.offset])
		}
		last[r.key] = r.offset
	}
	for key, offset := range w.acked {
		got, found := last[key]
		r := w.written[offset]
		switch {
		case offset < w.log.Start() && got < offset && found && got >= w.log.Start():
			w.t.Fatalf("%s: record %d came back, the last was %d", key, got, offset)
		case offset < w.log.Start():
		case !found && !r.tombstone:
			w.t.Fatalf("%s: acknowledged at %d, gone; log [%d, %d)", key, offset, w.log.Start(), w.log.End())
		case found && got < offset:
			w.t.Fatalf("%s: the last record is at %d, acknowledged was %d", key, got, offset)
		}
	}
	for offset := range w.written {
		if offset >= w.log.End() {
			delete(w.written, offset)
		}
	}
}

func (w *cleanWorld) verifyAndGoOn() {
	w.t.Helper()
	w.verify()
	for _, step := range []func() error{w.append, w.clean, w.append, w.reopen} {
		if err := step(); err != nil {
			w.t.Fatal(err)
		}
		w.verify()
	}
	closeStore(w.t, w.store)
	if problems, err := CheckLog(w.fsys, "data/t-0"); err != nil || len(problems) > 0 {
		w.t.Fatalf("check: %v %v", problems, err)
	}
}

// surviveClean opens what a crash left, crashing at every few operations of the recovery while there are more.
func surviveClean(w *cleanWorld, mem *disk.Mem, powerLoss bool, seed int64) {
	w.t.Helper()
	for j := seed % 7; ; j += 7 {
		fresh := mem.KillClone()
		faults := disk.NewFaults(disk.Fault{At: j, Kind: disk.FaultCrash})
		again := w.clone()
		again.rng = rand.New(rand.NewPCG(uint64(seed), uint64(j)))
		again.fsys = disk.NewFaulty(fresh, faults)
		err := again.open(true)
		if err == nil && !faults.Crashed() {
			faults.Clear()
			again.verifyAndGoOn()
			return
		}
		if err != nil && !injected(err) {
			w.t.Fatalf("recovery, crashed at operation %d: %v", j, err)
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
			w.t.Fatalf("after a crash at operation %d of the recovery: %v", j, err)
		}
		again.verifyAndGoOn()
	}
}

func cleanCrashLoop(t *testing.T, seed uint64, lost bool, fault disk.Fault) {
	t.Helper()
	for k := int64(seed) % crashStride(); ; k += crashStride() {
		fault.At = k
		mem := disk.NewMem()
		faults := disk.NewFaults(fault)
		w := newCleanWorld(t, disk.NewFaulty(mem, faults), seed, lost)
		err := w.run()
		if err != nil && !injected(err) {
			t.Fatalf("seed %d, fault at %d: %v", seed, k, err)
		}
		if faults.Fired() == 0 {
			if err != nil {
				t.Fatal(err)
			}
			faults.Clear()
			w.verifyAndGoOn()
			return
		}
		faults.Crash()
		if w.store != nil {
			_ = w.store.Close() // crashed
		}
		name := fmt.Sprintf("seed=%d/lost=%v/at=%d", seed, lost, k)
		t.Run(name+"/kill", func(t *testing.T) { w.t = t; surviveClean(w, mem, false, int64(k)) })
		keep := float64(k%2) / 2
		t.Run(fmt.Sprintf("%s/power=%v", name, keep), func(t *testing.T) {
			w.t = t
			surviveClean(w, mem.CrashClone(keep, k), true, k)
		})
		if t.Failed() {
			t.FailNow()
		}
	}
}

func TestCleanCrashAtEveryOperation(t *testing.T) {
	for seed := range crashSeeds(t) {
		for _, lost := range []bool{false, true} {
			cleanCrashLoop(t, seed, lost, disk.Fault{Kind: disk.FaultCrash})
		}
	}
}

func TestCleanErrorAtEveryOperation(t *testing.T) {
	for seed := range crashSeeds(t) {
		for i, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
			cleanCrashLoop(t, seed*3+uint64(i)+50, false, disk.Fault{Kind: kind})
		}
	}
}

// forgetfulFS leaves something out that a cleaning depends on.
type forgetfulFS struct {
	disk.FS
	cleanedSync bool // files of cleaned segments are not synced
	swapSync    bool // the name of a swap file is not made durable before the old segments go
	renamed     *bool
}

func (f forgetfulFS) Create(name string) (disk.File, error) {
	file, err := f.FS.Create(name)
	if err == nil && f.cleanedSync && strings.HasSuffix(name, cleanedSuffix) {
		return lyingFile{file}, nil
	}
	return file, err
}

func (f forgetfulFS) Rename(from, to string) error {
	*f.renamed = strings.HasSuffix(to, swapSuffix)
	return f.FS.Rename(from, to)
}

func (f forgetfulFS) SyncDir(dir string) error {
	if f.swapSync && *f.renamed {
		*f.renamed = false
		return nil
	}
	return f.FS.SyncDir(dir)
}

// TestCleanCanaryIsCaught: the same check notices when old segments are unlinked before the new one is durable.
func TestCleanCanaryIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a canary is for the whole loop")
	}
	for _, f := range []forgetfulFS{{cleanedSync: true}, {swapSync: true}} {
		caught := false
		for seed := uint64(0); seed < 20 && !caught; seed++ { // each until something is lost, so it ends early
			caught = canaryHistory(t, f, seed)
		}
		if !caught {
			t.Errorf("%+v passed", f)
		}
	}
}

// canaryHistory crashes one history at every operation, until it is found that something is lost.
func canaryHistory(t *testing.T, f forgetfulFS, seed uint64) (caught bool) {
	ended := false
	for k := int64(0); !caught && !ended; k++ {
		mem := disk.NewMem()
		f.FS, f.renamed = mem, new(bool)
		faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		w := newCleanWorld(t, disk.NewFaulty(f, faults), seed, false)
		ended = w.run() == nil
		if w.store != nil {
			_ = w.store.Close() // crashed
		}
		for try := int64(0); try < 6 && !caught; try++ {
			caught = canaryFails(t, w.clone(), mem.CrashClone(0.5, 10*k+try))
		}
	}
	return caught
}

func canaryFails(t *testing.T, w *cleanWorld, mem *disk.Mem) bool {
	tb := &canaryTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.t, w.fsys = tb, mem
		if err := w.open(true); err != nil {
			tb.Fatal(err)
		}
		w.verify()
	}()
	<-done
	if w.store != nil {
		_ = w.store.Close() // whatever it says: the disk has lied
	}
	return tb.failed
}

// TestRepairFinishesSwap: the offline check says that a cleaned segment is not in its place, and the repair puts it there.
func TestRepairFinishesSwap(t *testing.T) {
	found := 0
	for at := int64(0); at < 20; at++ {
		mem, faults := disk.NewMem(), disk.NewFaults()
		w := newCleanWorld(t, disk.NewFaulty(mem, faults), 3, false)
		if err := errors.Join(w.open(true), w.appendAll(12)); err != nil {
			t.Fatal(err)
		}
		faults.Add(disk.Fault{Kind: disk.FaultError, Ops: disk.OpRemove | disk.OpSyncDir | disk.OpRename, At: at, Path: "t-0"})
		_ = w.clean()
		_ = w.store.Close() // offline, most of the times
		names, err := mem.List("data/t-0")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(names, isSwap) {
			continue
		}
		found++
		problems, err := CheckLog(mem, "data/t-0")
		if err != nil || len(problems) == 0 {
			t.Fatal(problems, err)
		}
		for _, p := range problems {
			if !p.Repairable {
				t.Errorf("%+v", p)
			}
		}
		if problems, err = RepairLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
		w.fsys = mem
		if err := w.open(true); err != nil {
			t.Fatal(err)
		}
		w.verifyAndGoOn()
	}
	if found < 3 {
		t.Errorf("only %d faults left a segment on its way", found)
	}
}

func TestSwapNames(t *testing.T) {
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{swapName(0, 1), true}, {swapName(5, 1<<40), true}, {swapName(5, 5), false}, {swapName(6, 5), false},
		{"x" + swapName(0, 1), false}, {swapName(0, 1) + "x", false}, {segmentName(0, swapSuffix), false}, {cleanedName(0), false},
		{strings.Replace(swapName(0, 1), "-", "+", 1), false}, {strings.Replace(swapName(0, 1), "0", "a", 1), false},
		{strings.Repeat("9", 20) + "-" + strings.Repeat("9", 20) + swapSuffix, false}, {"", false},
	} {
		base, end, ok := parseSwapName(c.name)
		if ok != c.ok || ok && swapName(base, end) != c.name {
			t.Errorf("%s: %d, %d, %v", c.name, base, end, ok)
		}
	}
}
