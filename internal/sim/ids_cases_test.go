package sim

import (
	"fmt"
	"math"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"

	"ottla/internal/catalog"
	"ottla/internal/disk"
	"ottla/internal/pidstore"
)

func count(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// idRun notes every id that a broker gave out in all its lives.
type idRun struct {
	*loopRun
	given map[int64]bool
}

func (r *idRun) take(n int) error {
	for range n {
		pid, code := r.tryInit()
		if err := r.check(code, "init producer id"); err != nil {
			return err
		}
		r.given[pid] = true
	}
	return nil
}

// burn takes most of a block, so that the next one is reserved in the background.
func (r *idRun) burn() error {
	for range pidstore.IDBlockCount/2 + 10 {
		pid, err := r.b.ids.Next()
		if err != nil {
			if r.faults.Crashed() {
				return errCrashed
			}
			return err
		}
		if r.given[pid] {
			r.t.Fatalf("producer id %d was given out twice", pid)
		}
		r.given[pid] = true
	}
	return nil
}

// workload gives out ids over clean restarts and the ends of blocks, and meets ids of
// others above its own.
func (r *idRun) workload(*loopRun) error {
	above := func(n int64) func() error {
		return func() error {
			pid := r.b.ids.Issued() + n
			code, _, err := r.raw(topic, batchOf(pid, 0, 0, 1, 0))
			if err != nil {
				code = codeStorage
			}
			r.given[pid] = true // it is somebody's: not to be given out
			return r.check(code, "append of a foreign producer")
		}
	}
	steps := []func() error{
		func() error { return r.take(2) },
		func() error { return r.createTopic(topic, nil) },
		above(7),
		func() error { return r.take(10) },
		r.burn,
		func() error { return r.take(2) },
		above(pidstore.IDBlockCount + 3),
		func() error { return r.take(5) },
		r.cleanRestart,
		func() error { return r.take(2) },
		above(1),
		func() error { return r.take(5) },
		r.cleanRestart,
		func() error { return r.take(2) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// TestIDsNeverRepeat is case 32: whatever operation of the disk a crash hits, no id is
// given out twice, and none that is known to be somebody else's.
func TestIDsNeverRepeat(t *testing.T) {
	t.Parallel()
	stride := int64(2)
	if testing.Short() {
		stride = 9
	}
	for k := int64(0); ; k += stride {
		faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		r := &idRun{newLoopRun(t, disk.NewMem(), faults, nil), map[int64]bool{}}
		crashed := r.run(r.workload)
		for kind, survivor := range map[string]*disk.Mem{
			"kill -9": r.mem.KillClone(), "power loss": r.mem.CrashClone(0, k), "torn": r.mem.CrashClone(0.5, k),
		} {
			b, err := startBroker(survivor, r.settings)
			if err != nil {
				t.Fatalf("crash at operation %d, %s: start: %v", k, kind, err)
			}
			for range 100 {
				pid, err := b.ids.Next()
				if err != nil || r.given[pid] {
					t.Fatalf("crash at operation %d, %s: producer id %d is given out again (%v)", k, kind, pid, err)
				}
			}
			b.kill(t)
		}
		if !crashed {
			t.Logf("%d operations", k)
			return
		}
	}
}

// TestIDsSurviveOldCatalog is case 32 with the catalog put back to an older copy: ids
// and state of the time in between are neither given out again nor forgotten.
func TestIDsSurviveOldCatalog(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("store lost %v", lost), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			w.create(topic)
			w.init()
			old := w.mem.KillClone()
			var pids []int64
			for range 4 { // blocks that the copy does not know
				for range 5 {
					pids = append(pids, history(1, 2)(w))
				}
				w.restart()
			}
			for range 20 {
				w.stopped(func(fs disk.FS) error {
					if lost {
						if err := fs.RemoveAll(coldDir(dataDir)); err != nil {
							return err
						}
					}
					return copyFile(old, fs, dataDir+"/"+catalog.JournalName)
				})
				for range 20 {
					w.init() // fails if it was given out before
				}
			}
			for _, pid := range pids {
				w.want(w.send(topic, pid, 0, 1, 2), codeNone)
				w.want(w.send(topic, pid, 0, 0, 1), codeNone)
				w.wantAppend(w.send(topic, pid, 0, 3, 1))
			}
			young := w.init()
			w.want(w.send(topic, young, 0, 2, 1), codeOutOfOrder)
			w.wantAppend(w.send(topic, young, 0, 0, 1))
			w.restart()
			w.want(w.send(topic, young, 0, 0, 1), codeNone)
			w.checkLogs(w.models)
		})
	}
}

// TestOldCatalogNewTopic makes a topic again that the older copy of the catalog does
// not know: what the store remembers of the first one must not be the second's.
func TestOldCatalogNewTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	old := w.mem.KillClone()
	w.create(topic)
	pid := history(1, 2, 3)(w)
	w.settle()
	w.stopped(func(fs disk.FS) error {
		return copyFile(old, fs, dataDir+"/"+catalog.JournalName)
	})
	delete(w.models, topic)
	if w.exists(topic) {
		t.Fatal("the older catalog knows the topic")
	}
	w.create("again")
	w.issued[pid] = false // older than the topic
	w.wantAppend(w.send("again", pid, 0, 1, 2))
	w.wantAppend(w.send("again", pid, 0, 3, 3))
	w.checkLogs(w.models)
}

// TestForgedIDs is case 32 with ids that nobody can have: they are served as Kafka
// does and move nothing; a new id of ours still costs no read.
func TestForgedIDs(t *testing.T) {
	forged := []int64{1 << 62, 1 << 40, math.MaxInt64 - 2, 0}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			w.create(topic)
			first := w.init()
			for i, pid := range forged {
				w.wantAppend(w.send(topic, pid, 0, int64(i), 2))
			}
			w.launch(topic, -1, batchOf(math.MaxInt64, 0, 0, 1, 0)).mustLand(codeInvalidRecord)
			way.disturb(w)
			if err := w.b.loadAll(); err != nil {
				t.Fatal(err)
			}
			hits, misses := w.coldHits(), count(t, w.b.m.Producers.LookupColdMiss)
			for range 50 {
				pid := w.init()
				if pid < first || pid > first+20<<32 {
					t.Fatalf("after a forged id the ids go on at %d, the first was %d", pid, first)
				}
				w.wantAppend(w.send(topic, pid, 0, 0, 1))
			}
			if h, m := w.coldHits(), count(t, w.b.m.Producers.LookupColdMiss); h != hits || m != misses {
				t.Errorf("50 new producers made %v reads of the store", h-hits+m-misses)
			}
			for i, pid := range forged {
				w.want(w.send(topic, pid, 0, int64(i), 2), codeNone)
				w.wantAppend(w.send(topic, pid, 0, int64(i)+2, 1))
			}
			w.checkLogs(w.models)
		})
	}
}

const codeInvalidRecord = int16(87)

// TestForeignIDAbove: an id a little above ours is somebody's; ours go on above it,
// in this run and in the next, and it is not refused for being young.
func TestForeignIDAbove(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			w.create(topic)
			foreign := w.init() + 5
			w.wantAppend(w.send(topic, foreign, 0, 9, 1))
			way.disturb(w)
			for range 20 {
				if pid := w.init(); pid <= foreign {
					t.Fatalf("id %d was given out, %d is in use above it", pid, foreign)
				}
			}
			w.want(w.send(topic, foreign, 0, 9, 1), codeNone)
			w.wantAppend(w.send(topic, foreign, 0, 10, 1))
			w.checkLogs(w.models)
		})
	}
}

// TestLostState is case 33: the store is lost or put back to an older copy after the
// log was trimmed. What the log still has is known, what neither has is counted, and
// nothing of it is answered as stored.
func TestLostState(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("store lost %v", lost), func(t *testing.T) {
			t.Parallel()
			s := newStoreWorld(t) // the copy ends at offset 10
			w, m := s.world, s.models[topic]
			only := history(1, 1)(w) // will be in neither
			s.deleteRecords(topic, m.end-1)
			keep := history(1, 1, 1)(w)
			w.wantAppend(w.send(topic, s.pids[0], 0, 9, 1))
			s.stopped(func(fs disk.FS) error {
				if lost {
					return fs.RemoveAll(coldDir(dataDir))
				}
				return copyTree(s.old, fs, coldDir(dataDir))
			})
			if err := w.b.loadAll(); err != nil {
				t.Fatal(err)
			}
			want := float64(w.earliest(topic) - 10)
			if lost {
				want += 10
			}
			if got := count(t, w.b.m.Producers.StateLostOffsets); got != want {
				t.Errorf("%v offsets are said to be lost, want %v", got, want)
			}
			for _, pid := range []int64{keep, s.pids[0], only} {
				last := m.batches[pid][len(m.batches[pid])-1]
				w.want(w.send(topic, pid, 0, last.base, last.records), codeNone) // in the log
			}
			code, _, err := w.raw(topic, batchOf(s.pids[0], 0, 7, 1, 0)) // in neither, and before one that is known
			if err != nil || code != codeOutOfOrder {
				t.Errorf("a batch that is in neither was answered with code %d, %v", code, err)
			}
			code, _, err = w.raw(topic, batchOf(s.pids[1], 0, 6, 1, 0)) // in the copy
			if want := map[bool]int16{false: codeNone, true: codeOutOfOrder}[lost]; err != nil || code != want {
				t.Errorf("a batch of the copy was answered with code %d, %v; want %d", code, err, want)
			}
			code, _, err = w.raw(topic, batchOf(s.pids[2], 0, 2, 1, 0)) // in neither; the id is young
			if err != nil || code != codeOutOfOrder {
				t.Errorf("a batch of a young producer that is in neither was answered with code %d, %v", code, err)
			}
			w.wantAppend(w.send(topic, keep, 0, 3, 1))
			w.restart()
			if err := w.b.loadAll(); err != nil {
				t.Fatal(err)
			}
			if got := count(t, w.b.m.Producers.StateLostOffsets); got != 0 {
				t.Errorf("%v offsets are said to be lost again", got)
			}
			w.checkLogs(w.models)
		})
	}
}
