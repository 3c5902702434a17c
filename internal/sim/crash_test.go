package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ottla/internal/disk"
)

// The crash loop: run a workload whose k-th disk operation crashes, for k = 0, 1, 2,
// ... until a run is untouched. What the disk may then hold is started again and
// compared with what had been acknowledged.

var errCrashed = errors.New("the disk crashed")

// A loopRun is one run of a workload: what was acknowledged, and what was asked and
// never answered, which may or may not have happened.
type loopRun struct {
	*world
	faults *disk.Faults
	maybe  []maybeBatch
	trims  map[string]int64 // by topic: the highest DeleteRecords that was asked
	gone   map[string]bool  // topics whose deletion was asked and not acknowledged
	made   map[string]bool  // topics whose creation was asked and not acknowledged
	// mayDamage says that the disk lies, so that a damaged cold store is no finding.
	mayDamage bool
}

type maybeBatch struct {
	topic         string
	pid           int64
	epoch         int16
	base, records int64
}

func (r *loopRun) check(code int16, what string) error {
	if code == codeNone {
		return nil
	}
	if r.faults.Crashed() {
		return errCrashed
	}
	return fmt.Errorf("%s: code %d without a crash", what, code)
}

func (r *loopRun) createTopic(name string, configs map[string]string) error {
	r.made[name] = true
	if err := r.check(r.tryCreate(name, configs), "create "+name); err != nil {
		return err
	}
	delete(r.made, name)
	return nil
}

func (r *loopRun) deleteTopic(name string) error {
	r.gone[name] = true
	m := r.models[name]
	code := r.delete(name)
	if err := r.check(code, "delete "+name); err != nil {
		r.models[name] = m
		return err
	}
	delete(r.gone, name)
	return nil
}

func (r *loopRun) initPID() (int64, error) {
	pid, code := r.tryInit()
	if err := r.check(code, "init producer id"); err != nil {
		return 0, err
	}
	return pid, nil
}

// append sends a batch that is new, with acks=all.
func (r *loopRun) append(name string, pid int64, base, records int64, pad int) error {
	m := r.models[name]
	code, offset, err := r.raw(name, paddedBatch(pid, 0, base, int(records), pad))
	if err != nil {
		code = codeStorage
	}
	if err := r.check(code, fmt.Sprintf("append of producer %d sequence %d", pid, base)); err != nil {
		r.maybe = append(r.maybe, maybeBatch{name, pid, 0, base, records})
		return err
	}
	m.acknowledge(pid, 0, base, records, offset)
	return nil
}

func (r *loopRun) trim(name string, before int64) error {
	r.trims[name] = max(r.trims[name], before)
	return r.check(r.tryDeleteRecords(name, before), "delete records")
}

func (r *loopRun) cleanRestart() error {
	err := r.b.tryStop()
	r.b = nil
	if err == nil {
		r.b, err = startBroker(r.fs(), r.settings)
	}
	if err != nil {
		r.b = nil
		if r.faults.Crashed() {
			return errCrashed
		}
	}
	return err
}

// storageWorkload takes every durable step there is, on one topic that rolls.
func storageWorkload(r *loopRun) error {
	var p [4]int64
	steps := []func() error{
		func() error { return r.createTopic(topic, map[string]string{"segment.bytes": "1048576"}) },
		func() (err error) { p[0], err = r.initPID(); return },
		func() (err error) { p[1], err = r.initPID(); return },
		func() error { return r.append(topic, p[0], 0, 2, 0) },
		func() error { return r.append(topic, p[1], 0, 3, 0) },
		func() error { return r.append(topic, p[0], 2, 1, 600<<10) },
		func() error { return r.append(topic, p[1], 3, 1, 600<<10) }, // rolls
		func() error { return r.flushed() },
		func() error { return r.append(topic, p[0], 3, 1, 0) },
		func() error { return r.trim(topic, 5) },
		func() error { return r.append(topic, p[1], 4, 2, 700<<10) }, // rolls
		func() error { return r.createTopic("u", nil) },
		func() error { return r.append("u", p[0], 0, 1, 0) },
		func() error { return r.deleteTopic("u") },
		func() error { return r.createTopic("u", nil) },
		func() error { return r.append("u", p[1], 0, 1, 0) },
		func() error { return r.cleanRestart() },
		func() (err error) { p[2], err = r.initPID(); return },
		func() error { return r.append(topic, p[2], 0, 1, 500<<10) },
		func() error { return r.retainAllButActive(topic) },
		func() error { return r.append(topic, p[0], 4, 1, 0) },
		func() error { return r.trim(topic, r.models[topic].end) },
		func() error { return r.append(topic, p[2], 1, 1, 0) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func (r *loopRun) flushed() error {
	if err := r.b.settle(); err != nil {
		if r.faults.Crashed() {
			return errCrashed
		}
		return err
	}
	return nil
}

// retainAllButActive has retention delete every closed segment of the topic. The
// records are from 1970, so that retention by time deletes those of all topics.
func (r *loopRun) retainAllButActive(name string) error {
	for name, m := range r.models {
		r.trims[name] = m.end
	}
	if err := r.check(r.alter(name, "retention.bytes", "1"), "alter"); err != nil {
		return err
	}
	if err := r.b.retain(); err != nil {
		if r.faults.Crashed() {
			return errCrashed
		}
		return err
	}
	return nil
}

func newLoopRun(t testing.TB, mem *disk.Mem, faults *disk.Faults, wrap func(disk.FS) disk.FS) *loopRun {
	w := &world{
		t: t, mem: mem, models: map[string]*model{}, issued: map[int64]bool{},
		settings: map[string]string{"producer.state.memory.bytes": fmt.Sprint(smallBudget)},
	}
	w.wrap = func(fs disk.FS) disk.FS {
		if wrap != nil {
			fs = wrap(fs)
		}
		return disk.NewFaulty(fs, faults)
	}
	return &loopRun{world: w, faults: faults, trims: map[string]int64{}, gone: map[string]bool{}, made: map[string]bool{}}
}

// run starts a broker and runs the workload. It reports whether the crash came.
func (r *loopRun) run(workload func(*loopRun) error) (crashed bool) {
	r.t.Helper()
	b, err := startBroker(r.fs(), r.settings)
	if err == nil {
		r.b = b
		err = workload(r)
	}
	if r.b != nil {
		r.b.kill(r.t)
		r.b = nil
	}
	if err != nil && !r.faults.Crashed() {
		r.t.Fatalf("the workload failed without a crash: %v", err)
	}
	return r.faults.Crashed()
}

// verify starts a broker on what survived and compares it with the acknowledged
// history. It returns what is wrong.
func (r *loopRun) verify(survivor *disk.Mem) error {
	b, err := startBroker(survivor, r.settings)
	if err != nil {
		return fmt.Errorf("start after the crash: %w", err)
	}
	v := &world{t: r.t, mem: survivor, b: b, models: r.models, issued: r.issued, settings: r.settings}
	defer b.kill(r.t)
	if b.damaged != nil && !r.mayDamage {
		return fmt.Errorf("a crash must not damage the cold store: %w", b.damaged)
	}
	for name, m := range r.models {
		if r.gone[name] && !v.exists(name) {
			continue
		}
		if err := r.verifyTopic(v, name, m); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	if lost := count(r.t, b.m.Producers.StateLostOffsets); lost > 0 {
		return fmt.Errorf("the log was trimmed past the checkpoint of its producers, by %v offsets", lost)
	}
	return nil
}

func (r *loopRun) verifyTopic(v *world, name string, acknowledged *model) error {
	batches, start, err := v.readBatches(name)
	if err != nil {
		return err
	}
	if start > r.trims[name] {
		return fmt.Errorf("the log starts at %d, nothing above %d was ever deleted", start, r.trims[name])
	}
	m, err := r.merge(acknowledged, batches, start, name)
	if err != nil {
		return err
	}
	return v.probeProducers(name, m)
}

// merge returns what the broker must know: everything acknowledged, of which what is
// not deleted must be in the log, and what was asked and made it into the log.
func (r *loopRun) merge(acknowledged *model, inLog []loggedBatch, start int64, name string) (*model, error) {
	type key struct{ pid, base int64 }
	found := map[key]loggedBatch{}
	m := newModel()
	for _, b := range inLog {
		k := key{b.pid, b.base}
		if twin, twice := found[k]; twice {
			return nil, fmt.Errorf("producer %d sequence %d is in the log twice, at %d and %d", b.pid, b.base, twin.offset, b.offset)
		}
		found[k] = b
	}
	for pid, batches := range acknowledged.batches {
		for _, b := range batches {
			got, there := found[key{pid, b.base}]
			switch {
			case !there && b.offset+b.records > start:
				return nil, fmt.Errorf("acknowledged batch of producer %d sequence %d at offset %d is not in the log", pid, b.base, b.offset)
			case there && (got.offset != b.offset || got.records != b.records):
				return nil, fmt.Errorf("batch of producer %d sequence %d was acknowledged at %d with %d records, is at %d with %d", pid, b.base, b.offset, b.records, got.offset, got.records)
			}
			delete(found, key{pid, b.base})
			m.acknowledge(pid, b.epoch, b.base, b.records, b.offset)
		}
	}
	for _, b := range r.maybe {
		got, there := found[key{b.pid, b.base}]
		if there && b.topic == name {
			m.acknowledge(b.pid, b.epoch, b.base, b.records, got.offset)
			delete(found, key{b.pid, b.base})
		}
	}
	for k := range found {
		return nil, fmt.Errorf("batch of producer %d sequence %d is in the log and was never sent", k.pid, k.base)
	}
	return m, nil
}

// crashLoop runs the workload once per operation and returns the first error of what
// survived, with the number of operations.
func crashLoop(t *testing.T, stride int64, workload func(*loopRun) error) (int64, error) {
	t.Helper()
	for k := int64(0); ; k += stride {
		faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		r := newLoopRun(t, disk.NewMem(), faults, nil)
		crashed := r.run(workload)
		for kind, survivor := range map[string]*disk.Mem{
			"kill -9":    r.mem.KillClone(),
			"power loss": r.mem.CrashClone(0, k),
			"torn":       r.mem.CrashClone(0.5, k),
		} {
			if err := r.verify(survivor); err != nil {
				return k, fmt.Errorf("crash at operation %d, %s: %w", k, kind, err)
			}
		}
		if !crashed {
			return k, nil
		}
	}
}

func loopStride(t *testing.T) int64 {
	if testing.Short() {
		return 23
	}
	return 1
}

func TestCrashAtEveryOperation(t *testing.T) {
	t.Parallel()
	n, err := crashLoop(t, loopStride(t), storageWorkload)
	if err != nil {
		t.Fatal(err)
	}
	if n < 50 {
		t.Fatalf("only %d operations: the workload does not reach the disk", n)
	}
	t.Logf("%d operations", n)
}

// TestCrashDuringRecovery crashes a run in the middle, and then every operation of
// the recovery from it.
func TestCrashDuringRecovery(t *testing.T) {
	t.Parallel()
	for _, first := range []int64{40, 90, 140} {
		base := newLoopRun(t, disk.NewMem(), disk.NewFaults(disk.Fault{At: first, Kind: disk.FaultCrash}), nil)
		base.run(storageWorkload)
		for k := int64(0); ; k += loopStride(t) {
			start := base.mem.CrashClone(0.5, first)
			faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
			if b, err := startBroker(disk.NewFaulty(start, faults), base.settings); err == nil {
				b.loadAll()
				b.kill(t)
			} else if !faults.Crashed() {
				t.Fatal(err)
			}
			for kind, survivor := range map[string]*disk.Mem{"kill -9": start.KillClone(), "power loss": start.CrashClone(0, k)} {
				if err := base.verify(survivor); err != nil {
					t.Fatalf("crash at operation %d, again at %d of the recovery, %s: %v", first, k, kind, err)
				}
			}
			if !faults.Crashed() {
				break
			}
		}
	}
}

// TestFailAtEveryOperation lets one operation fail and everything after it succeed:
// the broker must go on or go offline, and after a restart the history must hold.
func TestFailAtEveryOperation(t *testing.T) {
	t.Parallel()
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		for k := int64(0); ; k += loopStride(t) {
			faults := disk.NewFaults(disk.Fault{At: k, Kind: kind})
			r := newLoopRun(t, disk.NewMem(), faults, nil)
			if b, err := startBroker(r.fs(), r.settings); err == nil {
				r.b = b
				_ = storageWorkload(r) // any step may be refused because of the fault
				if r.b != nil {
					r.b.kill(t)
				}
			}
			for name, survivor := range map[string]*disk.Mem{"kill -9": r.mem.KillClone(), "power loss": r.mem.CrashClone(0, k)} {
				if err := r.verify(survivor); err != nil {
					t.Fatalf("fault %d at operation %d, then %s: %v", kind, k, name, err)
				}
			}
			if faults.Fired() == 0 {
				break
			}
		}
	}
}

// lyingFS pretends to sync the cold store: the log start is then moved before the
// checkpoint is durable, which is the one order that must never happen.
type lyingFS struct{ disk.FS }

type lyingFile struct{ disk.File }

func (lyingFile) Sync() error { return nil }

// inColdStore leaves out the file that makes a directory a store, else the loop would stop
// at a store that does not open, long before anything is trimmed.
func inColdStore(name string) bool {
	return strings.HasPrefix(name, coldDir(dataDir)) && !strings.HasSuffix(name, "ottla-cold-format")
}

func (l lyingFS) Create(name string) (disk.File, error) { return lie(name)(l.FS.Create(name)) }
func (l lyingFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	return lie(name)(l.FS.OpenReadWrite(name, create))
}

func lie(name string) func(disk.File, error) (disk.File, error) {
	return func(f disk.File, err error) (disk.File, error) {
		if err == nil && inColdStore(name) {
			return lyingFile{f}, nil
		}
		return f, err
	}
}

// TestCanary proves that the loop is awake: on the lying disk it must meet a producer that
// is forgotten, and not only a store that is damaged.
func TestCanary(t *testing.T) {
	t.Parallel()
	for k := int64(0); ; k += 7 {
		faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		r := newLoopRun(t, disk.NewMem(), faults, func(fs disk.FS) disk.FS { return lyingFS{fs} })
		r.mayDamage = true
		crashed := r.run(storageWorkload)
		err := r.verify(r.mem.CrashClone(0, k))
		if err != nil && (strings.Contains(err.Error(), "code 45") || strings.Contains(err.Error(), "trimmed past the checkpoint")) {
			t.Logf("caught: crash at operation %d: %v", k, err)
			return
		}
		if !crashed {
			t.Fatalf("%d operations, and a cold store that is never synced was not noticed", k)
		}
	}
}
