package sim

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ottla/internal/disk"
	"ottla/internal/pidstore"
)

const expiration = 10 * time.Minute

var expiring = map[string]string{
	"producer.state.memory.bytes": fmt.Sprint(smallBudget),
	"producer.id.expiration.ms":   fmt.Sprint(expiration.Milliseconds()),
}

func openExpiring(t *testing.T) *world {
	w := newWorld(t, expiring)
	w.create(topic)
	return w
}

// goneSetup deletes the records of a producer, lets it idle past the expiration, and
// says what the log can no longer prove.
func goneSetup(w *world) int64 {
	w.t.Helper()
	pid := history(2, 2)(w)
	w.deleteRecords(topic, 4)
	w.idle(expiration)
	if got := w.forgotten(); got != 1 {
		w.t.Fatalf("%d entries were forgotten, want 1", got)
	}
	w.flush() // the age too
	delete(w.models[topic].batches, pid)
	w.issued[pid] = false
	return pid
}

func retainedSetup(w *world) int64 {
	w.t.Helper()
	history(3)(w)
	w.deleteRecords(topic, 3) // or nobody would look for what can be forgotten
	pid := history(1, 2, 3, 4, 5, 6)(w)
	w.settle()
	w.idle(40 * expiration)
	if got := w.forgotten(); got != 1 {
		w.t.Fatalf("%d entries were forgotten, want the one without data", got)
	}
	return pid
}

// retriesOfSix asks for all that is remembered of history(1, 2, 3, 4, 5, 6).
func retriesOfSix(w *world, pid int64) {
	w.t.Helper()
	for _, b := range [][2]int64{{15, 6}, {10, 5}, {6, 4}, {3, 3}, {1, 2}} {
		w.want(w.send(topic, pid, 0, b[0], b[1]), codeNone)
	}
	w.want(w.send(topic, pid, 0, 0, 1), codeDuplicateSequence)
	w.wantAppend(w.send(topic, pid, 0, 21, 1))
}

// refusedAt is what happens without the store: its clock is lost too, so the id counts
// as young, and is refused rather than trusted.
func refusedAt(seq int64) func(w *world, pid int64) {
	return func(w *world, pid int64) {
		w.t.Helper()
		w.issued[pid] = true
		delete(w.models[topic].batches, pid)
		w.want(w.send(topic, pid, 0, seq, 1), codeOutOfOrder)
		w.wantAppend(w.send(topic, pid, 0, 0, 1))
	}
}

// idleCases are about producers that have not written for long.
func idleCases() []producerCase {
	return []producerCase{
		{name: "13 idle past the expiration, data retained", setup: retainedSetup, probe: func(w *world, pid int64) {
			retriesOfSix(w, pid)
			w.idle(40 * expiration)
			w.want(w.send(topic, pid, 0, 21, 1), codeNone)
		}},
		{name: "16 id issued before the partition was made", setup: func(w *world) int64 {
			pid := w.init()
			w.create("later")
			w.issued[pid] = false
			return pid
		}, probe: func(w *world, pid int64) {
			w.wantAppend(w.send("later", pid, 0, 3, 1))
			w.want(w.send("later", pid, 0, 3, 1), codeNone)
			young := w.init()
			w.want(w.send("later", young, 0, 3, 1), codeOutOfOrder)
		}},
		{name: "16 id issued longer ago than the expiration", setup: func(w *world) int64 {
			pid := w.init()
			w.idle(expiration)
			w.flush()
			w.issued[pid] = false
			return pid
		}, probe: func(w *world, pid int64) {
			w.wantAppend(w.send(topic, pid, 0, 3, 1))
			w.want(w.send(topic, pid, 0, 3, 1), codeNone)
		}, probeLost: refusedAt(3)},
		{name: "18 data deleted and idle: the next sequence", setup: goneSetup, probe: func(w *world, pid int64) {
			w.wantAppend(w.send(topic, pid, 0, 4, 1))
			w.want(w.send(topic, pid, 0, 4, 1), codeNone)
			w.wantAppend(w.send(topic, pid, 0, 5, 1))
		}, probeLost: refusedAt(4)},
	}
}

// retentionCases are case 25 by retention.
func retentionCases() []producerCase {
	return []producerCase{
		{name: "25 retention past the last batch, inside the expiration", setup: func(w *world) int64 {
			pid := history(1, 2, 3, 4, 5, 6)(w)
			w.retainAll(topic)
			if start := w.earliest(topic); start != 21 {
				w.t.Fatalf("the log starts at %d, retention should have deleted everything", start)
			}
			w.idle(expiration - time.Minute)
			if got := w.forgotten(); got != 0 {
				w.t.Fatalf("%d entries were forgotten inside the expiration", got)
			}
			return pid
		}, probe: retriesOfSix, probeLost: refusedAt(21)},
		{name: "25 retention up to the middle of the remembered batches", setup: func(w *world) int64 {
			pid := history(1, 2, 3)(w)
			w.alter(topic, "segment.bytes", "1048576")
			w.fill(topic, 2<<20)
			for _, b := range [][2]int64{{6, 4}, {10, 5}, {15, 6}} {
				w.wantAppend(w.send(topic, pid, 0, b[0], b[1]))
			}
			w.alter(topic, "retention.bytes", "1")
			if err := w.b.retain(); err != nil {
				w.t.Fatal(err)
			}
			if start := w.earliest(topic); start <= 6 {
				w.t.Fatalf("the log starts at %d, retention should have deleted the first batches", start)
			}
			return pid
		}, probe: retriesOfSix, probeLost: func(w *world, pid int64) {
			m := w.models[topic]
			m.batches[pid] = m.batches[pid][len(m.batches[pid])-3:]
			w.want(w.send(topic, pid, 0, 15, 6), codeNone)
			w.want(w.send(topic, pid, 0, 6, 4), codeNone)
			w.want(w.send(topic, pid, 0, 3, 3), codeOutOfOrder)
			w.wantAppend(w.send(topic, pid, 0, 21, 1))
		}},
	}
}

func TestForgetting(t *testing.T) {
	runWays(t, openExpiring, slices.Concat(idleCases(), retentionCases()))
}

// TestClockBackwards: a clock that jumps forgets nothing and deletes nothing.
func TestClockBackwards(t *testing.T) {
	t.Parallel()
	w := openExpiring(t)
	pid := history(1, 2, 3)(w)
	other := w.init()
	w.wantAppend(w.send(topic, other, 0, 0, 2))
	w.deleteRecords(topic, 6)
	now := time.Now()
	age := w.b.pids.Age()
	for year := range 10 {
		w.b.pids.Sweep(now.AddDate(-year, 0, 0))
		p, err := w.b.catalog.Partition(topic, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Retain(t.Context(), now.AddDate(-year, 0, 0)); n != 0 || err != nil {
			t.Fatalf("retention %d years back deleted %d segments, %v", year, n, err)
		}
	}
	if got := w.b.pids.Age(); got != age {
		t.Errorf("the age went from %d to %d while the clock went backwards", age, got)
	}
	w.b.pids.Sweep(now.AddDate(100, 0, 0))
	if got, most := w.b.pids.Age()-age, uint32(2*pidstore.SweepInterval/time.Second); got > most {
		t.Errorf("a jump of the clock made the broker %d seconds older, at most %d is right", got, most)
	}
	if got := w.forgotten(); got != 0 {
		t.Errorf("%d entries were forgotten", got)
	}
	w.want(w.send(topic, pid, 0, 3, 3), codeNone)
	w.want(w.send(topic, other, 0, 0, 2), codeNone)
	w.checkLogs(w.models)
}

// TestForgottenOnlyIdle: of many producers whose data is gone those go that are idle.
func TestForgottenOnlyIdle(t *testing.T) {
	t.Parallel()
	w := openExpiring(t)
	var pids []int64
	for range 60 {
		pids = append(pids, history(1)(w))
	}
	w.idle(expiration / 2)
	for _, pid := range pids[:20] {
		w.wantAppend(w.send(topic, pid, 0, 1, 1))
	}
	w.deleteRecords(topic, w.models[topic].end)
	for _, pid := range pids[20:40] {
		w.wantAppend(w.send(topic, pid, 0, 1, 1)) // these have data
	}
	w.idle(expiration / 2)
	if got := w.forgotten(); got != 20 {
		t.Errorf("%d entries were forgotten, want the 20 that are idle and have no data", got)
	}
	for i, pid := range pids {
		w.issued[pid] = false
		if i >= 40 {
			delete(w.models[topic].batches, pid)
			w.wantAppend(w.send(topic, pid, 0, 1, 1))
			continue
		}
		w.want(w.send(topic, pid, 0, 1, 1), codeNone)
		w.want(w.send(topic, pid, 0, 0, 1), codeNone)
	}
	w.checkLogs(w.models)
}

// storeWorld has history that an old copy of the cold store knows in part: pids[0]
// before and after the copy, pids[1] before, pids[2] after.
type storeWorld struct {
	*world
	pids []int64
	old  *disk.Mem
}

func newStoreWorld(t *testing.T) *storeWorld {
	s := &storeWorld{world: newWorld(t, small)}
	w := s.world
	w.create(topic)
	s.pids = []int64{history(1, 1, 1)(w), history(1, 1, 1, 1, 1, 1, 1)(w)}
	w.settle()
	s.old = w.mem.KillClone()
	for seq := int64(3); seq < 9; seq++ {
		w.wantAppend(w.send(topic, s.pids[0], 0, seq, 1))
	}
	s.pids = append(s.pids, history(1, 1, 1)(w))
	return s
}

// probe asks for everything that the model knows.
func (s *storeWorld) probe() {
	s.t.Helper()
	for _, pid := range s.pids {
		batches := s.models[topic].batches[pid]
		for _, b := range batches[max(0, len(batches)-windowBatches):] {
			s.want(s.send(topic, pid, 0, b.base, b.records), codeNone)
		}
		last := batches[len(batches)-1]
		s.want(s.send(topic, pid, 0, last.last+2, 1), codeOutOfOrder)
	}
	for _, pid := range s.pids {
		batches := s.models[topic].batches[pid]
		s.wantAppend(s.send(topic, pid, 0, batches[len(batches)-1].last+1, 1))
	}
	s.checkLogs(s.models)
}

// TestStaleStore is case 10 and 33: an old copy of the cold store is put back. It is
// brought up to date from the log before the partition takes a batch.
func TestStaleStore(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			t.Parallel()
			s := newStoreWorld(t)
			s.stopped(func(fs disk.FS) error {
				if crash {
					if err := fs.Remove(cleanMarker); err != nil {
						return err
					}
				}
				return copyTree(s.old, fs, coldDir(dataDir))
			})
			s.probe()
			s.crash(s.mem.CrashClone(0, 1))
			s.probe()
		})
	}
}

// TestCorruptStore is case 10: one byte in turn of each file of the cold store is
// changed. The store is rebuilt, at this start or, where the damage is deep in a table
// and shows only in use, at the next; nothing is answered from what is damaged.
func TestCorruptStore(t *testing.T) {
	t.Parallel()
	s := newStoreWorld(t)
	s.b.stop(t)
	s.b = nil
	names, err := s.mem.List(coldDir(dataDir))
	if err != nil {
		t.Fatal(err)
	}
	rebuilt, offline := 0, 0
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range names {
		path := filepath.Join(coldDir(dataDir), name)
		info, err := s.mem.Stat(path)
		if err != nil || info.Size == 0 || info.Dir {
			continue
		}
		for range 12 {
			off := rng.Int64N(info.Size)
			fs := s.mem.KillClone()
			f, err := fs.OpenReadWrite(path, false)
			if err != nil {
				t.Fatal(err)
			}
			b := []byte{0}
			if _, err := f.ReadAt(b, off); err != nil {
				t.Fatal(err)
			}
			b[0] ^= byte(1 + rng.IntN(255))
			if _, err := f.WriteAt(b, off); err != nil {
				t.Fatal(err)
			}
			r, o := s.surviveDamage(fs, fmt.Sprintf("%s byte %d", name, off))
			rebuilt += r
			offline += o
		}
	}
	t.Logf("%d stores were rebuilt at the start, %d after the damage had shown in use", rebuilt, offline)
	if rebuilt == 0 {
		t.Error("no damage was found")
	}
}

// surviveDamage starts on a damaged store and asks for every batch. An answer may be a
// storage error; after a restart, which has to rebuild the store, all are right.
func (s *storeWorld) surviveDamage(fs *disk.Mem, what string) (rebuilt, offline int) {
	s.t.Helper()
	for attempt := range 2 {
		b, err := startBroker(fs, s.settings)
		if err != nil {
			s.t.Fatalf("%s: start: %v", what, err)
		}
		v := &world{t: s.t, mem: fs, b: b, models: s.models, issued: s.issued, settings: s.settings}
		if b.damaged != nil {
			rebuilt = 1 - attempt
		}
		healthy := true
		for _, pid := range s.pids {
			batches := s.models[topic].batches[pid]
			for _, m := range batches[max(0, len(batches)-windowBatches):] {
				code, offset, err := v.raw(topic, batchOf(pid, 0, m.base, int(m.records), 0))
				healthy = healthy && code == codeNone
				switch {
				case err == nil && code == codeNone && offset == m.offset:
				case attempt == 0 && code == codeStorage:
				default:
					s.t.Fatalf("%s, start %d: retry of producer %d sequence %d: code %d offset %d (%v), it is at %d", what, attempt, pid, m.base, code, offset, err, m.offset)
				}
			}
		}
		b.kill(s.t) // ends when the damage has been noted on the disk
		if healthy {
			return rebuilt, offline
		}
		offline = 1
	}
	return rebuilt, offline
}
