package sim

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"ottla/internal/disk"
	"ottla/internal/seglog"
)

// A compactRun is a loopRun on a compacted topic: what each key must be, and what was asked and never answered.
type compactRun struct {
	*loopRun
	values map[string]string // acknowledged
	maybe  map[string]string // asked last, and not answered
	asked  *modelBatch
	keys   []string // of asked
	pid    int64    // of asked
}

func (r *compactRun) put(pid, base int64, keys ...string) error {
	code, offset, err := r.raw(compacted, keyed(pid, base, keys...))
	if err != nil {
		code = codeStorage
	}
	n := int64(len(keys))
	into := r.values
	err = r.check(code, fmt.Sprintf("append of producer %d sequence %d", pid, base))
	if err != nil {
		into = r.maybe
		r.asked, r.keys, r.pid = &modelBatch{base: base, last: base + n - 1, records: n}, keys, pid
	} else {
		r.models[compacted].acknowledge(pid, 0, base, n, offset)
	}
	for i, k := range keys {
		if k[0] == '-' {
			into[k[1:]] = ""
		} else {
			into[k] = fmt.Sprintf("%d/%d", pid, base+int64(i))
		}
	}
	return err
}

func (r *compactRun) cleaned() error {
	_, err := r.tryClean()
	if err != nil && r.faults.Crashed() {
		return errCrashed
	}
	return err
}

// compactWorkload has everything that a cleaning does: headers kept, producers forgotten, tombstones gone, segments merged.
func compactWorkload(r *compactRun) error {
	var p [3]int64
	steps := []func() error{
		func() error {
			return r.createTopic(compacted, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "0"})
		},
		func() (err error) { p[0], err = r.initPID(); return },
		func() (err error) { p[1], err = r.initPID(); return },
		func() error { return r.put(p[1], 0, "a", "b", "once") },
	}
	for i := range int64(6) {
		steps = append(steps, func() error { return r.put(p[0], 2*i, "a", "b") })
	}
	steps = append(steps,
		func() error { return r.put(p[1], 3, "a", "-b") },
		r.cleaned,
		func() error { return r.put(p[1], 5, "c", "d") },
		func() error { return r.put(p[0], 12, "c") },
		r.cleaned,
		func() error { r.idleAll(); return nil },
		func() (err error) { p[2], err = r.initPID(); return },
		func() error { return r.put(p[2], 0, "a", "c", "-d") },
		r.cleaned,
		func() error { return r.cleanRestart() },
		func() error { return r.put(p[2], 3, "e", "-once") },
		r.cleaned,
		func() error { return r.put(p[2], 5, "e") },
	)
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// idleAll lets some time pass, less than the expiration. A crash meanwhile is found by the next step.
func (r *compactRun) idleAll() {
	if r.b.loadAll() == nil {
		r.idle(expiration / 2)
	}
}

func newCompactRun(t testing.TB, faults *disk.Faults) *compactRun {
	return &compactRun{loopRun: newLoopRun(t, disk.NewMem(), faults, nil), values: map[string]string{}, maybe: map[string]string{}}
}

// verify starts a broker on what survived: each key has its value, no key an older one, and producers are remembered.
func (r *compactRun) verify(survivor *disk.Mem) error {
	b, err := startBroker(survivor, r.settings)
	if err != nil {
		return fmt.Errorf("start after the crash: %w", err)
	}
	defer b.kill(r.t)
	v := &world{t: r.t, mem: survivor, b: b, models: map[string]*model{}, issued: r.issued, settings: r.settings, closings: r.closings}
	m := r.models[compacted]
	if m == nil {
		return nil // not even created
	}
	if _, code := v.tryListOffset(compacted, -2); code != 0 {
		return fmt.Errorf("the partition does not load: code %d", code)
	}
	_, got := v.batches()
	for key, want := range r.values {
		switch value := got[key]; {
		case value == want:
		case r.maybe[key] == value && r.asked != nil:
		default:
			return fmt.Errorf("key %s is %q, acknowledged %q, asked %q", key, value, want, r.maybe[key])
		}
	}
	if end := v.latest(compacted); end < m.end {
		return fmt.Errorf("the log ends at %d, acknowledged up to %d", end, m.end)
	}
	if n := count(r.t, b.m.Log.MissingOffsets) + count(r.t, b.m.Producers.StateLostOffsets); n > 0 {
		return fmt.Errorf("%v offsets are missing", n)
	}
	return r.probe(v, m)
}

// probe asks for each producer's last batches again; of the one whose last batch nobody knows of, one less.
func (r *compactRun) probe(v *world, m *model) error {
	for pid, batches := range m.batches {
		most := windowBatches
		if r.asked != nil && r.pid == pid {
			most--
		}
		for _, b := range batches[max(0, len(batches)-most):] {
			keys := slices.Repeat([]string{"any"}, int(b.records))
			code, offset, err := v.raw(compacted, keyed(pid, b.base, keys...))
			if err != nil || code != codeNone || offset != b.offset {
				return fmt.Errorf("retry of producer %d sequence %d: code %d offset %d (%v), it was stored at %d", pid, b.base, code, offset, err, b.offset)
			}
		}
	}
	if r.asked != nil {
		code, _, err := v.raw(compacted, keyed(r.pid, r.asked.base, r.keys...))
		if err != nil || code != codeNone {
			return fmt.Errorf("producer %d repeats sequence %d, which nobody answered: code %d, %v", r.pid, r.asked.base, code, err)
		}
	}
	return nil
}

func (r *compactRun) verifyAll(k int64) error {
	for kind, survivor := range map[string]*disk.Mem{
		"kill -9": r.mem.KillClone(), "power loss": r.mem.CrashClone(0, k), "torn": r.mem.CrashClone(0.5, k),
	} {
		if err := r.verify(survivor.KillClone()); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		// Without the store everything is rebuilt from what compaction has left of the log.
		if err := survivor.RemoveAll(coldDir(dataDir)); err != nil {
			return err
		}
		if err := r.verify(survivor); err != nil {
			return fmt.Errorf("%s, and the store lost: %w", kind, err)
		}
	}
	return nil
}

// TestCompactionCrashes crashes at every operation of a workload with cleanings.
func TestCompactionCrashes(t *testing.T) {
	t.Parallel()
	for k := int64(0); ; k += loopStride(t) {
		r := newCompactRun(t, disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash}))
		crashed := r.run(func(*loopRun) error { return compactWorkload(r) })
		if err := r.verifyAll(k); err != nil {
			t.Fatalf("crash at operation %d: %v", k, err)
		}
		if !crashed {
			t.Logf("%d operations", k)
			return
		}
	}
}

// TestCompactionFailures lets one operation fail and those after it succeed.
func TestCompactionFailures(t *testing.T) {
	t.Parallel()
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace} {
		for k := int64(0); ; k += loopStride(t) {
			r := newCompactRun(t, disk.NewFaults(disk.Fault{At: k, Kind: kind}))
			if b, err := startBroker(r.fs(), r.settings); err == nil {
				r.b = b
				err := compactWorkload(r)
				if errors.Is(err, seglog.ErrCorrupt) {
					t.Fatalf("fault %d at operation %d: %v", kind, k, err)
				}
				if r.b != nil {
					r.b.kill(t)
				}
			}
			if err := r.verifyAll(k); err != nil {
				t.Fatalf("fault %d at operation %d: %v", kind, k, err)
			}
			if r.faults.Fired() == 0 {
				break
			}
		}
	}
}
