package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// foreignPID is an id that this cluster never issued: as from a mirror.
const foreignPID = int64(7)

// A producerCase is one row of the table of cases. Setup writes, then the broker is
// disturbed in one of five ways, then probe asks. Every answer is compared with the
// model besides what the case itself wants.
type producerCase struct {
	name  string
	setup func(w *world) (pid int64)
	probe func(w *world, pid int64)
	// notFromLog says why the fifth way, the store deleted, cannot be asked: what the
	// probe needs is not in the log any more. The way is then run with probeLost.
	probeLost func(w *world, pid int64)
}

const topic = "t"

// history writes batches of the given sizes one after another with a new producer.
func history(sizes ...int64) func(w *world) int64 {
	return func(w *world) int64 {
		pid := w.init()
		seq := int64(0)
		for _, n := range sizes {
			w.wantAppend(w.send(topic, pid, 0, seq, n))
			seq += n
		}
		return pid
	}
}

func producerCases() []producerCase {
	return slices.Concat(retryCases(), unknownAndEpochCases(), wrapAndDeletionCases())
}

func retryCases() []producerCase {
	return []producerCase{
		{name: "01 exact retry of the last batch, many records", setup: history(500), probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 0, 500), codeNone)
			w.wantAppend(w.send(topic, pid, 0, 500, 1))
		}},
		{name: "02 09 10 retry of n-1 to n-4", setup: history(1, 2, 3, 4, 5, 6), probe: func(w *world, pid int64) {
			for _, b := range [][2]int64{{15, 6}, {10, 5}, {6, 4}, {3, 3}, {1, 2}} {
				w.want(w.send(topic, pid, 0, b[0], b[1]), codeNone)
			}
		}},
		{name: "03 older than the last five, provably stored", setup: history(2, 2, 2, 2, 2, 2, 2), probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 0, 2), codeDuplicateSequence)
			w.want(w.send(topic, pid, 0, 2, 2), codeDuplicateSequence)
			w.want(w.send(topic, pid, 0, 0, 4), codeDuplicateSequence)
			w.want(w.send(topic, pid, 0, 2, 4), codeOutOfOrder) // reaches into the window
			w.want(w.send(topic, pid, 0, 20, 1), codeOutOfOrder)
		}},
		{name: "03 older, but the run began later", setup: func(w *world) int64 {
			for i := range int64(7) {
				w.wantAppend(w.send(topic, foreignPID, 0, 100+i, 1))
			}
			return foreignPID
		}, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 101, 1), codeDuplicateSequence)
			w.want(w.send(topic, pid, 0, 99, 1), codeOutOfOrder)
			w.want(w.send(topic, pid, 0, 99, 2), codeOutOfOrder)
		}},
		{name: "04 partial overlap, other count", setup: history(3, 3), probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 3, 2), codeOutOfOrder)
			w.want(w.send(topic, pid, 0, 3, 4), codeOutOfOrder)
			w.want(w.send(topic, pid, 0, 4, 3), codeOutOfOrder)
			w.want(w.send(topic, pid, 0, 0, 6), codeOutOfOrder)
		}},
		{name: "11 after several segment rolls", setup: func(w *world) int64 {
			w.create("rolled")
			if code := w.alter("rolled", "segment.bytes", "1048576"); code != 0 {
				w.t.Fatalf("alter: code %d", code)
			}
			pid := w.init()
			w.wantAppend(w.send("rolled", pid, 0, 0, 2))
			w.fill("rolled", 3<<20)
			return pid
		}, probe: func(w *world, pid int64) {
			w.want(w.send("rolled", pid, 0, 0, 2), codeNone)
			w.wantAppend(w.send("rolled", pid, 0, 2, 1))
		}},
	}
}

func unknownAndEpochCases() []producerCase {
	return []producerCase{
		{name: "14 record timestamps two days old, a year ahead, none", setup: func(w *world) int64 {
			w.create("times")
			if code := w.alter("times", "message.timestamp.after.max.ms", "9223372036854775807"); code != 0 {
				w.t.Fatalf("alter: code %d", code)
			}
			pid := w.init()
			now := time.Now().UnixMilli()
			for i, ts := range []int64{now - 2*86_400_000, now + 365*86_400_000, -1} {
				w.wantAppend(w.sendAt("times", pid, 0, int64(i), 1, ts))
			}
			return pid
		}, probe: func(w *world, pid int64) {
			for i := range int64(3) {
				w.want(w.sendAt("times", pid, 0, i, 1, 0), codeNone)
			}
		}},
		{name: "15 16 unknown producers", setup: func(w *world) int64 { return w.init() }, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 3, 1), codeOutOfOrder) // ours, young: provably stored nothing
			w.wantAppend(w.send(topic, pid, 0, 0, 1))
			w.wantAppend(w.send(topic, foreignPID, 0, 3, 1)) // not ours: as Kafka
			w.wantAppend(w.send(topic, foreignPID+1, 0, 0, 1))
		}},
		{name: "19 20 22 epoch bumped", setup: history(1, 1), probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 1, 2, 1), codeOutOfOrder)
			w.wantAppend(w.send(topic, pid, 1, 0, 1)) // the range of epoch 0, not a duplicate
			w.want(w.send(topic, pid, 1, 0, 1), codeNone)
			w.want(w.send(topic, pid, 0, 1, 1), codeInvalidEpoch)
		}},
		{name: "21 lower epoch", setup: func(w *world) int64 {
			pid := history(1)(w)
			w.wantAppend(w.send(topic, pid, 3, 0, 1))
			return pid
		}, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 0, 1), codeInvalidEpoch)
			w.want(w.send(topic, pid, 2, 0, 1), codeInvalidEpoch)
			w.want(w.send(topic, pid, 3, 0, 1), codeNone)
		}},
	}
}

func wrapAndDeletionCases() []producerCase {
	return []producerCase{
		{name: "23 the wrap between batches", setup: func(w *world) int64 {
			w.wantAppend(w.send(topic, foreignPID, 0, seqMod-1, 1))
			return foreignPID
		}, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 1, 1), codeOutOfOrder)
			w.wantAppend(w.send(topic, pid, 0, 0, 1))
			w.want(w.send(topic, pid, 0, seqMod-1, 1), codeNone)
		}},
		{name: "24 a batch that straddles the wrap", setup: func(w *world) int64 {
			w.wantAppend(w.send(topic, foreignPID, 0, seqMod-5, 3))
			w.wantAppend(w.send(topic, foreignPID, 0, seqMod-2, 4))
			return foreignPID
		}, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, seqMod-2, 4), codeNone)
			w.wantAppend(w.send(topic, pid, 0, 2, 1))
			w.want(w.send(topic, pid, 0, seqMod-2, 4), codeNone)
		}},
		{name: "25 records deleted past the producer's last batch", setup: func(w *world) int64 {
			pid := history(2, 2)(w)
			other := w.init()
			w.wantAppend(w.send(topic, other, 0, 0, 1))
			w.deleteRecords(topic, w.models[topic].end)
			return pid
		}, probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 2, 2), codeNone)
			w.want(w.send(topic, pid, 0, 0, 2), codeNone)
			w.wantAppend(w.send(topic, pid, 0, 4, 2))
		}, probeLost: func(w *world, pid int64) {
			// Neither log nor store has it: the young id is refused rather than trusted.
			delete(w.models[topic].batches, pid)
			w.want(w.send(topic, pid, 0, 2, 2), codeOutOfOrder)
			w.wantAppend(w.send(topic, pid, 0, 0, 2))
		}},
		{name: "27 topic deleted and created again", setup: func(w *world) int64 {
			pid := history(1, 1)(w)
			if code := w.delete(topic); code != 0 {
				w.t.Fatalf("delete: code %d", code)
			}
			w.create(topic)
			return pid
		}, probe: func(w *world, pid int64) {
			// The id is older than the new topic, so what it wrote elsewhere proves nothing.
			w.issued[pid] = false
			w.wantAppend(w.send(topic, pid, 0, 1, 1))
			if got := w.log(topic); len(got) != 1 {
				w.t.Fatalf("the new topic holds %d records, want 1", len(got))
			}
		}},
		{name: "28 gap in sequences", setup: history(1, 1), probe: func(w *world, pid int64) {
			w.want(w.send(topic, pid, 0, 3, 1), codeOutOfOrder)
			w.wantAppend(w.send(topic, pid, 0, 2, 1))
		}},
	}
}

func TestProducerCases(t *testing.T) {
	for _, c := range producerCases() {
		for i, way := range ways {
			t.Run(fmt.Sprintf("%s/%s", c.name, way.name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, map[string]string{"producer.state.memory.bytes": fmt.Sprint(smallBudget)})
				w.create(topic)
				pid := c.setup(w)
				known := len(w.models[topic].batches[pid]) > 0
				way.disturb(w)
				hits := w.coldHits()
				probe := c.probe
				if i == len(ways)-1 && c.probeLost != nil {
					probe = c.probeLost
				}
				probe(w, pid)
				if way.name == "evicted" && known && w.coldHits() == hits {
					t.Fatal("the entry was still in memory")
				}
				w.checkLogs(w.models)
			})
		}
	}
}

// checkLogs compares every log with the model: each acknowledged record once, in
// order, and nothing else.
func (w *world) checkLogs(models map[string]*model) {
	w.t.Helper()
	for name, m := range models {
		start := w.earliest(name)
		want := map[int64]string{}
		for pid, batches := range m.batches {
			for _, b := range batches {
				for i := range b.records {
					if b.offset+i >= start {
						want[b.offset+i] = fmt.Sprintf("%d/%d/%d", pid, b.epoch, (b.base+i)%seqMod)
					}
				}
			}
		}
		got := w.log(name)
		for i, value := range got {
			if known, found := want[start+int64(i)]; found && known != value {
				w.t.Fatalf("%s offset %d: got record %s, acknowledged was %s", name, start+int64(i), value, known)
			}
			delete(want, start+int64(i))
		}
		if len(want) > 0 {
			w.t.Fatalf("%s: %d acknowledged records are not in the log: %v", name, len(want), want)
		}
		if start+int64(len(got)) != max(m.end, start) {
			w.t.Fatalf("%s: the log ends at %d, acknowledged is %d", name, start+int64(len(got)), m.end)
		}
	}
}
