package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ottla/internal/disk"
)

// The random walk: operations in any order against the model. What a walk does is
// decided by its seed; when threads of the broker run is not.

// A walk is one broker through a life of operations.
type walk struct {
	*world
	g      *gate
	rng    *rand.Rand
	pids   []int64
	born   map[string]int // by topic: how many of pids are older than it
	aged   bool           // ids may be older than the expiration: unknown ones may be trusted
	old    *disk.Mem      // an earlier disk whose store may be put back; nil: none
	recent []string       // what was done last
}

// walkTopics are the topics of a walk, with what makes them different.
var walkTopics = []struct {
	name    string
	configs map[string]string
}{
	{"fsynced", map[string]string{"segment.bytes": "1048576"}},
	{"stamped", logAppendTime},
	{"cached", map[string]string{"flush.messages": "1000000", "segment.bytes": "1048576"}},
}

func newWalk(t testing.TB, seed uint64) *walk {
	w, g := newGatedWorld(t, expiring)
	r := &walk{world: w, g: g, rng: rand.New(rand.NewPCG(seed, 0)), born: map[string]int{}}
	for i := range walkTopics {
		r.make(i)
	}
	return r
}

func (r *walk) make(i int) {
	r.t.Helper()
	name := walkTopics[i].name
	if code := r.tryCreate(name, walkTopics[i].configs); code != 0 {
		r.t.Fatalf("create %s: code %d", name, code)
	}
	r.born[name] = len(r.pids)
}

func (r *walk) note(format string, args ...any) {
	r.recent = append(r.recent, fmt.Sprintf(format, args...))
	if len(r.recent) > 60 {
		r.recent = r.recent[1:]
	}
}

func (r *walk) topic() string { return walkTopics[r.rng.IntN(len(walkTopics))].name }

// producer returns a producer: a new one, one of a mirror, or one of the last, most
// often a young one.
func (r *walk) producer() int64 {
	switch n := r.rng.IntN(20); {
	case n == 0 || len(r.pids) == 0:
		pid := r.init()
		r.pids = append(r.pids, pid)
		return pid
	case n == 1:
		return int64(r.rng.IntN(4))
	case n < 12:
		return r.pids[len(r.pids)-1-r.rng.IntN(min(len(r.pids), 4))]
	}
	return r.pids[r.rng.IntN(len(r.pids))]
}

// sends sends a batch unless the model cannot know the answer: whether an unknown id
// counts as young depends on when its block was reserved.
func (r *walk) sends(topic string, pid int64, epoch int16, base, records int64) {
	r.t.Helper()
	base = ((base % seqMod) + seqMod) % seqMod
	at := slices.Index(r.pids, pid)
	if len(r.models[topic].batches[pid]) == 0 && base != 0 && at >= 0 && (r.aged || at < r.born[topic]) {
		return
	}
	r.note("%s: producer %d epoch %d sequence %d, %d records", topic, pid, epoch, base, records)
	r.sendAt(topic, pid, epoch, base, records, time.Now().UnixMilli())
}

func (r *walk) size() int64 { return int64(1 + r.rng.IntN(4)) }

// next sends what a producer sends next; retries what it has sent.
func (r *walk) next() {
	r.t.Helper()
	topic, pid := r.topic(), r.producer()
	history := r.models[topic].batches[pid]
	if len(history) == 0 {
		r.sends(topic, pid, 0, 0, r.size())
		return
	}
	last := history[len(history)-1]
	r.sends(topic, pid, last.epoch, last.last+1, r.size())
}

func (r *walk) retry() {
	r.t.Helper()
	topic, pid := r.topic(), r.producer()
	history := r.models[topic].batches[pid]
	if len(history) == 0 {
		return
	}
	b := history[max(0, len(history)-1-r.rng.IntN(8))]
	r.sends(topic, pid, b.epoch, b.base, b.records)
}

// wrong sends what no right client sends, or what one sends after an epoch bump.
func (r *walk) wrong() {
	r.t.Helper()
	topic, pid := r.topic(), r.producer()
	history := r.models[topic].batches[pid]
	if len(history) == 0 {
		r.sends(topic, pid, 0, int64(r.rng.IntN(5)), r.size())
		return
	}
	b := history[max(0, len(history)-1-r.rng.IntN(8))]
	switch r.rng.IntN(6) {
	case 0:
		r.sends(topic, pid, b.epoch+1, 0, r.size())
	case 1:
		r.sends(topic, pid, b.epoch+1, b.base+1, r.size())
	case 2:
		r.sends(topic, pid, max(b.epoch-1, 0), b.base, r.size())
	case 3:
		if pid < 4 { // near the wrap
			r.sends(topic, pid, b.epoch+1, 0, 1)
		}
	default:
		r.sends(topic, pid, b.epoch, b.base+int64(r.rng.IntN(9)-4), r.size())
	}
}

func (r *walk) deletesRecords() {
	r.t.Helper()
	topic := r.topic()
	start, end := r.earliest(topic), r.models[topic].end
	before := start + r.rng.Int64N(end-start+1)
	r.note("%s: delete records before %d of [%d, %d]", topic, before, start, end)
	r.old = nil
	r.deleteRecords(topic, before)
}

func (r *walk) retains() {
	topic := r.topic()
	r.note("%s: retention of everything", topic)
	r.old = nil
	r.retainAll(topic)
}

func (r *walk) recreates() {
	r.t.Helper()
	i := r.rng.IntN(len(walkTopics))
	r.note("%s: delete and create", walkTopics[i].name)
	if code := r.delete(walkTopics[i].name); code != 0 {
		r.t.Fatalf("delete: code %d", code)
	}
	r.make(i)
}

func (r *walk) fills() {
	topic := []string{"fsynced", "cached"}[r.rng.IntN(2)]
	r.note("%s: fill", topic)
	r.fill(topic, 768<<10)
}

func (r *walk) crashes() {
	r.t.Helper()
	seed := r.rng.Int64()
	switch r.rng.IntN(3) {
	case 0:
		r.note("kill -9")
		r.crash(r.mem.KillClone())
	case 1:
		r.note("power loss")
		r.crash(r.mem.CrashClone(0, seed))
	case 2:
		r.note("power loss, torn, seed %d", seed)
		r.crash(r.mem.CrashClone(r.rng.Float64(), seed))
	}
	r.note("cached: %d batches lost", r.learnTail("cached"))
}

// crashesInFlight crashes while batches wait for their fsync: some may be there.
func (r *walk) crashesInFlight() {
	r.t.Helper()
	topic, pid := "fsynced", r.producer()
	epoch, seq := int16(0), int64(0)
	if history := r.models[topic].batches[pid]; len(history) > 0 {
		epoch, seq = history[len(history)-1].epoch, history[len(history)-1].last+1
	}
	for range 1 + r.rng.IntN(5) {
		n := r.size()
		r.note("%s: in flight: producer %d epoch %d sequence %d, %d records", topic, pid, epoch, seq%seqMod, n)
		r.launch(topic, -1, batchOf(pid, epoch, seq%seqMod, int(n), time.Now().UnixMilli()))
		seq += n
	}
	r.crashes()
	r.note("%d in flight were stored", r.learnFlights(topic))
}

// losesStore deletes the cold store: what the log has is all that is known then.
func (r *walk) losesStore() {
	r.t.Helper()
	r.note("store deleted")
	r.old = nil
	r.deleteStore()
	for name, m := range r.models {
		start := r.earliest(name)
		for pid, batches := range m.batches {
			m.batches[pid] = slices.DeleteFunc(batches, func(b modelBatch) bool { return b.offset+b.records <= start })
		}
	}
}

// rollsStoreBack puts an old copy of the store back, or keeps one for later. Nothing
// may be deleted or forgotten in between, else the copy knows other things.
func (r *walk) rollsStoreBack() {
	r.t.Helper()
	if r.old == nil {
		r.note("store copied")
		r.old = r.mem.KillClone()
		return
	}
	r.note("store rolled back")
	r.stopped(func(fs disk.FS) error { return copyTree(r.old, fs, coldDir(dataDir)) })
	r.old = nil
}

// idles has everybody idle past the expiration: who has no data is forgotten.
func (r *walk) idles() {
	r.t.Helper()
	r.note("idle")
	r.old, r.aged = nil, true
	r.idle(expiration)
	r.flush() // else a crash brings the forgotten back
	for name, m := range r.models {
		start := r.earliest(name)
		for pid, batches := range m.batches {
			if n := len(batches); n > 0 && batches[n-1].offset+batches[n-1].records <= start {
				delete(m.batches, pid)
			}
		}
	}
}

func (r *walk) restarts() {
	r.note("clean restart")
	r.restart()
}

// checks compares all logs, and asks for everything that a few producers may ask.
func (r *walk) checks() {
	r.t.Helper()
	r.note("check")
	r.checkLogs(r.models)
	for _, m := range walkTopics {
		for pid, batches := range r.models[m.name].batches {
			if r.rng.IntN(8) > 0 {
				continue
			}
			for _, b := range batches[max(0, len(batches)-windowBatches):] {
				r.sends(m.name, pid, b.epoch, b.base, b.records)
			}
		}
	}
}

// crowds pushes entries out of memory.
func (r *walk) crowds() {
	r.t.Helper()
	r.note("crowd")
	r.create("crowd")
	r.launchCrowd("crowd", 1000)
}

func (r *walk) settles() {
	r.note("settle")
	r.settle()
}

// run takes steps, weighted.
func (r *walk) run(steps int) {
	r.t.Helper()
	ops := []struct {
		weight int
		do     func()
	}{
		{340, r.next}, {240, r.retry}, {120, r.wrong},
		{8, r.deletesRecords}, {2, r.retains}, {3, r.recreates}, {6, r.fills},
		{6, r.crashes}, {6, r.crashesInFlight}, {4, r.restarts}, {2, r.losesStore}, {6, r.rollsStoreBack},
		{3, r.idles}, {1, r.crowds}, {4, r.settles}, {4, r.checks},
	}
	sum := 0
	for _, op := range ops {
		sum += op.weight
	}
	for range steps {
		n := r.rng.IntN(sum)
		for _, op := range ops {
			if n -= op.weight; n < 0 {
				op.do()
				break
			}
		}
	}
	r.checks()
}

// TestRandomWalk is everything at once. A failure prints the seed; run it again with
// that seed first in the list.
func TestRandomWalk(t *testing.T) {
	t.Parallel()
	walks, steps := 6, 1500
	if testing.Short() {
		walks, steps = 2, 700
	}
	for i := range walks {
		seed := uint64(i)
		if i >= walks/2 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("walk %d", i), func(t *testing.T) {
			t.Parallel()
			r := newWalk(t, seed)
			defer func() {
				if t.Failed() {
					t.Logf("seed %d; the last steps:\n%s", seed, strings.Join(r.recent, "\n"))
				}
			}()
			r.run(steps)
			t.Logf("seed %d: %d producers", seed, len(r.pids))
		})
	}
}
