package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"ottla/internal/disk"
	"ottla/internal/wire"
)

var small = map[string]string{"producer.state.memory.bytes": fmt.Sprint(smallBudget)}

// logFile is the first segment of the partition that the cases write to.
const logFile = topic + "-0/00000000000000000000.log"

// TestRetryWaitsForDurability is case 5: the retry of a batch that is not durable is
// answered when the batch is.
func TestRetryWaitsForDurability(t *testing.T) {
	for i, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			w, g := newGatedWorld(t, small)
			w.create(topic)
			pid := history(2)(w)
			way.disturb(w)
			if i > 0 {
				w.wantAppend(w.send(topic, pid, 0, 2, 1)) // loads the partition, whose recovery may fsync
				w.want(w.send(topic, pid, 0, 2, 1), codeNone)
			} else {
				w.wantAppend(w.send(topic, pid, 0, 2, 1))
			}
			g.hold()
			original := w.launch(topic, -1, batchOf(pid, 0, 3, 4, 0))
			<-g.reached
			retry := w.launch(topic, -1, batchOf(pid, 0, 3, 4, 0))
			durable := w.launch(topic, -1, batchOf(pid, 0, 2, 1, 0))
			hasty := w.launch(topic, 1, batchOf(pid, 0, 3, 4, 0))
			if original.answered() || retry.answered() {
				t.Fatal("answered before the batch was durable")
			}
			if !durable.answered() {
				t.Error("the retry of a durable batch waits for the one behind it")
			}
			if !hasty.answered() {
				t.Error("a retry with acks=1 waits for durability")
			}
			g.release()
			at := original.mustLand(codeNone).offset
			w.models[topic].acknowledge(pid, 0, 3, 4, at)
			for _, f := range []flight{retry, hasty} {
				if got := f.mustLand(codeNone).offset; got != at {
					t.Errorf("the retry was answered with offset %d, the original is at %d", got, at)
				}
			}
			durable.mustLand(codeNone)
			w.want(w.send(topic, pid, 0, 3, 4), codeNone)
			w.checkLogs(w.models)
		})
	}
}

// TestCrashBeforeDurable crashes while a batch and its retry wait for the fsync: after
// kill -9 the batch is there, after a power loss it is not and nobody was told so.
func TestCrashBeforeDurable(t *testing.T) {
	for _, c := range []struct {
		name     string
		survivor func(*disk.Mem) *disk.Mem
		kept     bool
	}{{"kill -9", killed, true}, {"power loss", powerLost, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, g := newGatedWorld(t, small)
			w.create(topic)
			pid := history(1)(w)
			m := w.models[topic]
			g.hold()
			at := m.end
			original := w.launch(topic, -1, batchOf(pid, 0, 1, 2, 0))
			retry := w.launch(topic, -1, batchOf(pid, 0, 1, 2, 0))
			if original.answered() || retry.answered() {
				t.Fatal("answered before the batch was durable")
			}
			w.crashHeld(g, c.survivor)
			if c.kept {
				m.acknowledge(pid, 0, 1, 2, at)
				w.want(w.send(topic, pid, 0, 1, 2), codeNone)
			} else {
				w.wantAppend(w.send(topic, pid, 0, 1, 2))
			}
			w.wantAppend(w.send(topic, pid, 0, 3, 1))
			w.checkLogs(w.models)
		})
	}
}

// TestSameBatchAtOnce is case 6: several connections send the same batch at once.
func TestSameBatchAtOnce(t *testing.T) {
	const connections, rounds = 6, 20
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			w.create(topic)
			pid := history(2)(w)
			way.disturb(w)
			m := w.models[topic]
			for seq := int64(2); seq < 2+rounds; seq++ {
				var outcomes [connections]outcome
				var wg sync.WaitGroup
				for i := range outcomes {
					wg.Go(func() { outcomes[i], _ = w.launch(topic, -1, batchOf(pid, 0, seq, 1, 0)).land() })
				}
				wg.Wait()
				for _, o := range outcomes {
					if o.code != codeNone || o.offset != m.end {
						t.Fatalf("sequence %d: got %+v, want offset %d", seq, outcomes, m.end)
					}
				}
				m.acknowledge(pid, 0, seq, 1, m.end)
			}
			w.checkLogs(w.models)
		})
	}
}

// failedWrites are ways in which the write of a batch may fail. Besides the write the
// cut that takes back what it left may fail too.
var failedWrites = []struct {
	name   string
	faults []disk.Fault
}{
	{"EIO", []disk.Fault{{Ops: disk.OpWrite, Path: logFile, Kind: disk.FaultError}}},
	{"disk full", []disk.Fault{{Ops: disk.OpWrite, Path: logFile, Kind: disk.FaultNoSpace}}},
	{"half written", []disk.Fault{{Ops: disk.OpWrite, Path: logFile, Kind: disk.FaultShortWrite}}},
	{"half written and not cut", []disk.Fault{
		{Ops: disk.OpWrite, Path: logFile, Kind: disk.FaultShortWrite},
		{Ops: disk.OpTruncate, Path: logFile, Kind: disk.FaultError},
	}},
}

// TestFirstInFlightFails is cases 7, 8 and 34: of five batches in flight the write of
// the first fails. The others are refused, nothing has changed, and all succeed when
// they are sent again, once each.
func TestFirstInFlightFails(t *testing.T) {
	for _, failure := range failedWrites {
		for _, known := range []bool{true, false} {
			for _, way := range ways {
				if testing.Short() && way.name == "evicted" && failure.name != "half written" {
					continue
				}
				t.Run(fmt.Sprintf("%s/known %v/%s", failure.name, known, way.name), func(t *testing.T) {
					t.Parallel()
					faults := disk.NewFaults()
					// Without a journal a segment has its file from its first batch on.
					settings := map[string]string{"producer.state.memory.bytes": fmt.Sprint(smallBudget), "log.journal.bytes": "-1"}
					w := newWrappedWorld(t, settings, func(fs disk.FS) disk.FS { return disk.NewFaulty(fs, faults) })
					w.create(topic)
					pid := history(2, 2)(w)
					next := int64(4)
					if !known {
						pid, next = w.init(), 0
					}
					way.disturb(w)
					firstInFlightFails(w, faults, failure.faults, pid, next)
				})
			}
		}
	}
}

func firstInFlightFails(w *world, faults *disk.Faults, rules []disk.Fault, pid, next int64) {
	w.t.Helper()
	if err := w.b.loadAll(); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range rules {
		faults.Add(r)
	}
	end := w.latest(topic)
	for _, code := range []int16{codeStorage, codeOutOfOrder, codeOutOfOrder, codeOutOfOrder, codeOutOfOrder} {
		f := w.launch(topic, -1, batchOf(pid, 0, next, 2, 0))
		defer func() { f.mustLand(code) }() // the answers come when all five are in flight
		next += 2
	}
	if faults.Fired() == 0 {
		w.t.Fatal("no write failed")
	}
	if now := w.latest(topic); now != end {
		w.t.Fatalf("the log ends at %d, it ended at %d before the failure", now, end)
	}
	if batches := w.models[topic].batches[pid]; len(batches) > 0 {
		last := batches[len(batches)-1]
		w.want(w.send(topic, pid, 0, last.base, last.records), codeNone)
		w.want(w.send(topic, pid, 0, last.last+2, 1), codeOutOfOrder)
	}
	for seq := next - 10; seq < next; seq += 2 {
		w.wantAppend(w.send(topic, pid, 0, seq, 2))
	}
	for seq := next - 10; seq < next; seq += 2 {
		w.want(w.send(topic, pid, 0, seq, 2), codeNone)
	}
	w.checkLogs(w.models)
	w.crash(w.mem.CrashClone(0, 1))
	for seq := next - 10; seq < next; seq += 2 {
		w.want(w.send(topic, pid, 0, seq, 2), codeNone)
	}
	w.checkLogs(w.models)
}

// TestFailedFsync is case 8 for the fsync: what waited is answered with a storage
// error, nothing more is taken, and after a restart every acknowledged batch is there
// and each retry is resolved.
func TestFailedFsync(t *testing.T) {
	for _, c := range []struct {
		name     string
		survivor func(*disk.Mem) *disk.Mem
	}{{"kill -9", killed}, {"power loss", powerLost}, {"torn", func(m *disk.Mem) *disk.Mem { return m.CrashClone(0.5, 7) }}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faults := disk.NewFaults()
			w := newWrappedWorld(t, small, func(fs disk.FS) disk.FS { return disk.NewFaulty(fs, faults) })
			w.create(topic)
			pids := []int64{history(1, 2, 3)(w), w.init()}
			next := []int64{6, 0}
			faults.Add(disk.Fault{Ops: disk.OpSync, Path: topic + "-0/", Kind: disk.FaultError})
			faults.Add(disk.Fault{Ops: disk.OpSync, Path: "/journal-", Kind: disk.FaultError})
			faults.Add(disk.Fault{Ops: disk.OpSyncFS, Kind: disk.FaultError})
			var flights []flight
			for i := range 5 {
				for j, pid := range pids {
					flights = append(flights, w.launch(topic, -1, batchOf(pid, 0, next[j]+int64(i), 1, 0)))
				}
			}
			for _, f := range flights {
				f.mustLand(codeStorage)
			}
			if w.b.logs.Offline() == nil {
				t.Fatal("the data directory is still in use")
			}
			w.launch(topic, -1, batchOf(pids[0], 0, next[0]+5, 1, 0)).mustLand(codeStorage)
			w.launch(topic, -1, batchOf(foreignPID, 0, 0, 1, 0)).mustLand(codeStorage)
			faults.Clear()
			w.crash(c.survivor(w.mem))
			kept := w.learnFlights(topic)
			t.Logf("%d of %d batches are in the log", kept, len(flights))
			for j, pid := range pids {
				for seq := next[j]; seq < next[j]+5; seq++ {
					w.send(topic, pid, 0, seq, 1)
				}
				for seq := next[j]; seq < next[j]+5; seq++ {
					w.want(w.send(topic, pid, 0, seq, 1), codeNone)
				}
			}
			w.checkLogs(w.models)
		})
	}
}

// learnFlights adds to the model what is in the log behind what was acknowledged: the
// batches that were in flight when the broker ended and made it.
func (w *world) learnFlights(topic string) (n int) {
	w.t.Helper()
	m := w.models[topic]
	batches, _, err := w.readBatches(topic)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range batches {
		if b.offset >= m.end {
			m.acknowledge(b.pid, b.epoch, b.base, b.records, b.offset)
			n++
		}
	}
	return n
}

// TestAcks is what a producer gets that does not wait for durability: nothing is lost
// when the process ends, and what a power loss takes back may be sent again.
func TestAcks(t *testing.T) {
	for _, acks := range []int16{0, 1} {
		for _, way := range ways {
			t.Run(fmt.Sprintf("acks=%d/%s", acks, way.name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, small)
				w.create(topic)
				pid := w.init()
				for seq := range int64(6) {
					w.launch(topic, acks, batchOf(pid, 0, seq, 1, 0)).mustLand(codeNone)
					w.models[topic].acknowledge(pid, 0, seq, 1, seq)
				}
				w.launch(topic, acks, batchOf(pid, 0, 5, 1, 0)).mustLand(codeNone)
				if way.name != "after kill -9" {
					// A retry with acks=all makes the original durable.
					w.want(w.send(topic, pid, 0, 5, 1), codeNone)
				}
				way.disturb(w)
				for seq := int64(1); seq < 6; seq++ {
					w.launch(topic, acks, batchOf(pid, 0, seq, 1, 0)).mustLand(codeNone)
					w.want(w.send(topic, pid, 0, seq, 1), codeNone)
				}
				gap, err := w.launch(topic, acks, batchOf(pid, 0, 7, 1, 0)).land()
				if acks == 0 && !errors.Is(err, wire.ErrCloseConnection) || acks == 1 && gap.code != codeOutOfOrder {
					t.Errorf("a gap was answered with %+v, %v", gap, err)
				}
				w.wantAppend(w.send(topic, pid, 0, 6, 1))
				w.checkLogs(w.models)
			})
		}
	}
}

// TestUnsyncedAcksLost loses what was acknowledged with acks 0 and 1, and with acks=all
// where the topic does not fsync: its retry is new.
func TestUnsyncedAcksLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		acks    int16
		configs map[string]string
	}{{"acks=0", 0, nil}, {"acks=1", 1, nil}, {"page cache", -1, pageCache}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, g := newGatedWorld(t, small)
			if code := w.tryCreate(topic, c.configs); code != 0 {
				t.Fatalf("create: code %d", code)
			}
			pid, young := history(1, 1)(w), w.init()
			w.settle()
			g.hold()
			send := func(pid, seq int64) {
				w.launch(topic, c.acks, batchOf(pid, 0, seq, 1, 0)).mustLand(codeNone)
				w.models[topic].acknowledge(pid, 0, seq, 1, w.models[topic].end)
			}
			for seq := range int64(7) {
				send(pid, 2+seq)
				send(young, seq)
			}
			w.crashHeld(g, powerLost)
			if lost := w.learnTail(topic); lost != 14 {
				t.Fatalf("%d batches are lost, want 14", lost)
			}
			w.want(w.send(topic, pid, 0, 1, 1), codeNone)
			w.want(w.send(topic, young, 0, 3, 1), codeOutOfOrder)
			for seq := range int64(7) {
				w.wantAppend(w.send(topic, pid, 0, 2+seq, 1))
				w.wantAppend(w.send(topic, young, 0, seq, 1))
			}
			w.checkLogs(w.models)
		})
	}
}

var (
	pageCache     = map[string]string{"flush.messages": "1000000"}
	logAppendTime = map[string]string{"message.timestamp.type": "LogAppendTime"}
)

// TestCasesWithoutFsync runs the cases on a topic that is acknowledged from the page
// cache. A power loss may take its tail; what is left decides.
func TestCasesWithoutFsync(t *testing.T) {
	for _, c := range retryCases()[:5] {
		for _, way := range ways {
			t.Run(c.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, small)
				if code := w.tryCreate(topic, pageCache); code != 0 {
					t.Fatalf("create: code %d", code)
				}
				pid := c.setup(w)
				acknowledged := w.models[topic].batches[pid]
				if way.name == "evicted" {
					w.settle()
				}
				way.disturb(w)
				if way.name != "after power loss" {
					c.probe(w, pid)
				} else if w.learnTail(topic); w.models[topic].end < acknowledged[len(acknowledged)-1].offset {
					for _, b := range acknowledged { // what is left is the model's to say
						w.send(topic, pid, 0, b.base, b.records)
					}
				}
				w.checkLogs(w.models)
			})
		}
	}
}

// TestLogAppendTime: duplicates are answered with the time of the original.
func TestLogAppendTime(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			if code := w.tryCreate(topic, logAppendTime); code != 0 {
				t.Fatalf("create: code %d", code)
			}
			pid := w.init()
			var originals []outcome
			for seq := range int64(5) {
				o := w.launch(topic, -1, batchOf(pid, 0, seq*3, 3, 17)).mustLand(codeNone)
				if o.logAppendTime <= 17 {
					t.Fatalf("appended with the time %d", o.logAppendTime)
				}
				w.models[topic].acknowledge(pid, 0, seq*3, 3, o.offset)
				originals = append(originals, o)
			}
			way.disturb(w)
			for i, want := range originals {
				if got := w.launch(topic, -1, batchOf(pid, 0, int64(i)*3, 3, 17)).mustLand(codeNone); got != want {
					t.Errorf("retry %d: got %+v, the original was %+v", i, got, want)
				}
			}
			w.wantAppend(w.send(topic, pid, 0, 15, 1))
			w.checkLogs(w.models)
		})
	}
}

// TestManyOthers is case 12: a producer returns after more others than fit in memory.
func TestManyOthers(t *testing.T) {
	t.Parallel()
	others := 20_000
	if testing.Short() {
		others = 3000
	}
	w := newWorld(t, small)
	w.create(topic)
	w.create("crowd")
	pid := history(1, 2, 3, 4, 5, 6)(w)
	crowd := w.launchCrowd("crowd", others)
	probe := func() {
		t.Helper()
		for _, b := range [][2]int64{{15, 6}, {10, 5}, {6, 4}, {3, 3}, {1, 2}} {
			w.want(w.send(topic, pid, 0, b[0], b[1]), codeNone)
		}
		for i := 0; i < len(crowd); i += len(crowd)/50 + 1 {
			w.want(w.send("crowd", crowd[i], 0, 0, 1), codeNone)
		}
	}
	for _, way := range ways {
		if way.name != "evicted" { // they are
			way.disturb(w)
			probe()
		}
	}
	if hits := w.coldHits(); hits == 0 {
		t.Error("no entry was read from disk")
	}
	w.checkLogs(w.models)
}

// launchCrowd writes one batch with each of n new producers, many at a time.
func (w *world) launchCrowd(topic string, n int) (pids []int64) {
	w.t.Helper()
	const window = 100
	var flights []flight
	for len(pids) < n {
		for range window {
			pid := w.init()
			pids = append(pids, pid)
			flights = append(flights, w.launch(topic, -1, batchOf(pid, 0, 0, 1, 0)))
		}
		for i, f := range flights {
			w.models[topic].acknowledge(pids[len(pids)-window+i], 0, 0, 1, f.mustLand(codeNone).offset)
		}
		flights = flights[:0]
	}
	return pids
}

// TestOfflineStaysReadable: after a failed fsync consumers still read what is durable.
func TestOfflineStaysReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.create(topic)
	pid := history(2, 2)(w)
	w.b.offline(errors.New("the disk is gone"))
	if got := len(w.log(topic)); got != 4 {
		t.Errorf("%d records can be read, want 4", got)
	}
	w.launch(topic, -1, batchOf(pid, 0, 2, 2, 0)).mustLand(codeStorage)
	p, err := w.b.catalog.Partition(topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.DeleteRecords(context.Background(), 4); err == nil {
		t.Error("records were deleted from a data directory that is offline")
	}
	w.crash(w.mem.KillClone())
	w.want(w.send(topic, pid, 0, 2, 2), codeNone)
	w.checkLogs(w.models)
}
