package sim

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// compacted is the topic of these cases.
const compacted = "compacted"

// farAhead is how much later every segment is due to be closed.
const farAhead = 30 * 24 * time.Hour

func openCompacted(t *testing.T) *world {
	w := newWorld(t, expiring)
	w.create(topic)
	w.createCompacted(nil)
	return w
}

func (w *world) createCompacted(more map[string]string) {
	w.t.Helper()
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
	maps.Copy(configs, more)
	if code := w.tryCreate(compacted, configs); code != 0 {
		w.t.Fatalf("create: code %d", code)
	}
}

// keyed builds a batch with one record for each key; the value names its sequence. A key with a minus is a tombstone.
func keyed(pid, base int64, keys ...string) []byte {
	recs := make([]batch.Record, len(keys))
	for i, k := range keys {
		recs[i] = batch.Record{Offset: int64(i), Timestamp: 1, Key: []byte(k), Value: fmt.Appendf(nil, "%d/%d", pid, base+int64(i))}
		if k[0] == '-' {
			recs[i].Key, recs[i].Value = []byte(k[1:]), nil
		}
	}
	h := batch.Header{ProducerID: pid, BaseSequence: int32(base), LeaderEpoch: -1}
	if pid < 0 {
		h.ProducerEpoch, h.BaseSequence = -1, -1
	}
	b, err := batch.Build(nil, h, batch.CodecNone, recs)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// put sends a keyed batch and checks the answer against the model, which learns it.
func (w *world) put(pid, base int64, keys ...string) answer {
	w.t.Helper()
	m, n := w.models[compacted], int64(len(keys))
	want := m.expect(pid, 0, base, n, w.issued[pid])
	if pid < 0 {
		want = answer{appended: true}
	}
	code, offset, err := w.raw(compacted, keyed(pid, base, keys...))
	if err != nil {
		w.t.Fatal(err)
	}
	got := answer{code: code, offset: offset}
	if want.appended && code == codeNone {
		got = answer{appended: true}
		m.end = offset + n
		if pid >= 0 {
			m.acknowledge(pid, 0, base, n, offset)
		}
	}
	if got != want {
		w.t.Fatalf("producer %d sequence %d: got %v, the model says %v", pid, base, got, want)
	}
	return got
}

// keyedHistory writes n batches of two records, all under the same two keys of the producer.
func (w *world) keyedHistory(n int64) int64 {
	w.t.Helper()
	pid := w.init()
	for i := range n {
		w.wantAppend(w.put(pid, 2*i, fmt.Sprint("a", pid), fmt.Sprint("b", pid)))
	}
	return pid
}

// clean closes the active segment and compacts everything before it.
func (w *world) clean() seglog.CleanStats {
	w.t.Helper()
	stats, err := w.tryClean()
	if err != nil {
		w.t.Fatal(err)
	}
	if end := w.latest(compacted); stats.FirstDirty != end {
		w.t.Fatalf("compacted up to %d, the log ends at %d", stats.FirstDirty, end)
	}
	return stats
}

func (w *world) tryClean() (stats seglog.CleanStats, err error) {
	p, err := w.b.catalog.Partition(compacted, 0)
	if err != nil {
		return stats, err
	}
	// A segment is as old as the clock says that closed the one before it.
	w.closings++
	if _, _, err := p.Cleanable(w.t.Context(), time.Now().Add(time.Duration(w.closings)*farAhead)); err != nil {
		return stats, err
	}
	return p.Clean(w.t.Context(), time.Now(), partition.CleanTools{Map: seglog.NewOffsetMap(0)})
}

// batches fetches the whole compacted log.
func (w *world) batches() (headers []batch.Header, values map[string]string) {
	w.t.Helper()
	values = map[string]string{}
	for next := w.earliest(compacted); ; {
		p := w.fetch(compacted, next)
		if p.ErrorCode != 0 {
			w.t.Fatalf("fetch at %d: code %d", next, p.ErrorCode)
		}
		if len(p.RecordBatches) == 0 {
			return headers, values
		}
		for data := p.RecordBatches; len(data) > 0; {
			b, err := batch.Parse(data)
			if err != nil {
				w.t.Fatal(err)
			}
			h := b.Header()
			if err := b.Records(func(r batch.Record) error { values[string(r.Key)] = string(r.Value); return nil }); err != nil {
				w.t.Fatal(err)
			}
			headers, next, data = append(headers, h), h.LastOffset()+1, data[b.Size():]
		}
	}
}

// emptyOf counts the batches of a producer in the log that hold no record, and those that hold one.
func (w *world) emptyOf(pid int64) (empty, full int) {
	w.t.Helper()
	headers, _ := w.batches()
	for _, h := range headers {
		switch {
		case h.ProducerID != pid:
		case h.RecordCount == 0:
			empty++
		default:
			full++
		}
	}
	return empty, full
}

// supersede overwrites the keys of a producer without being one.
func (w *world) supersede(pid int64) {
	w.t.Helper()
	w.wantAppend(w.put(-1, -1, fmt.Sprint("a", pid), fmt.Sprint("b", pid)))
}

func (w *world) wantBatches(pid int64, empty, full int) {
	w.t.Helper()
	if e, f := w.emptyOf(pid); e != empty || f != full {
		w.t.Fatalf("the log has %d empty batches of producer %d and %d others, want %d and %d", e, pid, f, empty, full)
	}
}

// keyedRetries asks for the last five batches again, and then for the next.
func keyedRetries(w *world, pid int64) {
	w.t.Helper()
	a, b := fmt.Sprint("a", pid), fmt.Sprint("b", pid)
	for seq := int64(4); seq < 14; seq += 2 {
		w.want(w.put(pid, seq, a, b), codeNone)
	}
	w.wantAppend(w.put(pid, 14, a, b))
	w.want(w.put(pid, 14, a, b), codeNone)
}

// compactionCases are case 26.
func compactionCases() []producerCase {
	return append(idleCompactionCases(), []producerCase{
		{name: "26 every record of the last five batches compacted away", setup: func(w *world) int64 {
			pid := w.keyedHistory(7)
			w.supersede(pid)
			w.clean()
			w.wantBatches(pid, 5, 0)
			return pid
		}, probe: func(w *world, pid int64) {
			w.want(w.put(pid, 2, "x", "y"), codeDuplicateSequence)
			keyedRetries(w, pid)
		}, probeLost: func(w *world, pid int64) {
			keyedRetries(w, pid) // what lay before the five is not in the log any more
		}},
		{name: "26 compacted again and again inside the expiration", setup: func(w *world) int64 {
			pid := w.keyedHistory(7)
			for range 4 {
				w.supersede(pid)
				w.clean()
				w.idle(expiration / 8)
			}
			w.wantBatches(pid, 5, 0)
			if got := w.forgotten(); got != 0 {
				w.t.Fatalf("%d entries were forgotten", got)
			}
			return pid
		}, probe: keyedRetries},
		{name: "26 sequences wrap inside a batch with holes", setup: func(w *world) int64 {
			keys := []string{"k1", "k2", "k3", "k4"}
			w.wantAppend(w.put(foreignPID, seqMod-2, keys...))
			w.wantAppend(w.put(-1, -1, "k1", "k3", "k4"))
			w.clean()
			w.wantBatches(foreignPID, 0, 1)
			return foreignPID
		}, probe: func(w *world, pid int64) {
			w.want(w.put(pid, seqMod-2, "k1", "k2", "k3", "k4"), codeNone)
			w.wantAppend(w.put(pid, 2, "k5"))
		}},
	}...)
}

// idleCompactionCases are about producers that have not written for long.
func idleCompactionCases() []producerCase {
	return []producerCase{
		{name: "26 idle past the expiration, a record left", setup: func(w *world) int64 {
			pid := w.keyedHistory(6)
			w.wantAppend(w.put(pid, 12, fmt.Sprint("a", pid), "alone"))
			w.supersede(pid)
			w.clean()
			w.idle(2 * expiration)
			w.supersede(pid)
			w.clean()
			w.wantBatches(pid, 4, 1)
			return pid
		}, probe: keyedRetries},
		{name: "26 idle past the expiration, no record left", setup: func(w *world) int64 {
			pid := w.keyedHistory(7)
			w.supersede(pid)
			w.clean()
			w.idle(2 * expiration)
			w.supersede(pid)
			w.clean()
			w.wantBatches(pid, 0, 0)
			if got := w.forgotten(); got != 1 {
				w.t.Fatalf("%d entries were forgotten, want 1", got)
			}
			w.flush() // the age too
			delete(w.models[compacted].batches, pid)
			w.issued[pid] = false
			return pid
		}, probe: func(w *world, pid int64) {
			w.wantAppend(w.put(pid, 14, "x"))
			w.want(w.put(pid, 14, "x"), codeNone)
		}, probeLost: func(w *world, pid int64) {
			w.issued[pid] = true
			w.want(w.put(pid, 14, "x"), codeOutOfOrder)
			w.wantAppend(w.put(pid, 0, "x"))
		}},
	}
}

func TestCompactionCases(t *testing.T) {
	for _, c := range compactionCases() {
		for i, way := range ways {
			t.Run(c.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				w := openCompacted(t)
				pid := c.setup(w)
				way.disturb(w)
				probe := c.probe
				if i == len(ways)-1 && c.probeLost != nil {
					probe = c.probeLost
				}
				_, before := w.batches()
				probe(w, pid)
				_, after := w.batches()
				for key, value := range before {
					if _, found := after[key]; !found {
						t.Errorf("%s = %s is gone", key, value)
					}
				}
				if got, want := w.latest(compacted), w.models[compacted].end; got != want {
					t.Errorf("the log ends at %d, want %d", got, want)
				}
			})
		}
	}
}

// TestCompactedAway: many producers with one batch each, all superseded, cost nothing for ever.
func TestCompactedAway(t *testing.T) {
	t.Parallel()
	w := openCompacted(t)
	var pids []int64
	for range 300 {
		pid := w.init()
		w.wantAppend(w.put(pid, 0, "the same"))
		pids = append(pids, pid)
	}
	w.clean()
	if headers, values := w.batches(); len(headers) != 300 || len(values) != 1 {
		t.Fatalf("%d batches, %d values", len(headers), len(values))
	}
	w.idle(expiration / 2)
	for _, pid := range pids[:100] {
		w.wantAppend(w.put(pid, 1, "the same"))
	}
	w.idle(expiration / 2)
	w.wantAppend(w.put(-1, -1, "the same"))
	w.clean()
	if got := w.forgotten(); got != 200 {
		t.Errorf("%d producers are forgotten, want the 200 that are idle", got)
	}
	headers, values := w.batches()
	if len(headers) != 201 || values["the same"] != "-1/-1" {
		t.Errorf("%d batches, %v", len(headers), values)
	}
	for i, pid := range pids {
		w.issued[pid] = false
		if i < 100 {
			w.want(w.put(pid, 0, "the same"), codeNone)
			w.want(w.put(pid, 1, "the same"), codeNone)
			continue
		}
		delete(w.models[compacted].batches, pid)
		w.wantAppend(w.put(pid, 5, "the same"))
	}
}

// TestCompactedKeysOnly: a compacted topic takes no record without a key.
func TestCompactedKeysOnly(t *testing.T) {
	t.Parallel()
	w := openCompacted(t)
	const codeInvalidRecord = 87
	code, _, err := w.raw(compacted, batchOf(-1, -1, -1, 2, 1))
	if err != nil || code != codeInvalidRecord {
		t.Errorf("code %d, %v", code, err)
	}
	w.wantAppend(w.put(-1, -1, "k"))
}

// TestTombstones: a record without a value takes the others of its key with it, stays for delete.retention.ms, and goes.
func TestTombstones(t *testing.T) {
	t.Parallel()
	for _, retention := range []string{"0", "3600000"} {
		w := newWorld(t, expiring)
		w.createCompacted(map[string]string{"delete.retention.ms": retention})
		w.wantAppend(w.put(-1, -1, "gone", "stays"))
		w.wantAppend(w.put(-1, -1, "-gone"))
		w.clean()
		_, values := w.batches()
		if keys := slices.Sorted(maps.Keys(values)); !slices.Equal(keys, []string{"gone", "stays"}) || values["gone"] != "" {
			t.Errorf("delete.retention.ms %s, first cleaning: %v", retention, values)
		}
		w.wantAppend(w.put(-1, -1, "other"))
		w.clean()
		_, values = w.batches()
		if _, found := values["gone"]; found != (retention != "0") || len(values) != 2+map[bool]int{true: 1}[found] {
			t.Errorf("delete.retention.ms %s, second cleaning: %v", retention, values)
		}
	}
}
