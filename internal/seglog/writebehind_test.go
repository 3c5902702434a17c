package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"testing"

	"ottla/internal/disk"
)

// stuckWorld has a log with a file, whose passes have the journal turn, and two that are held and cannot get a file.
type stuckWorld struct {
	mem               *disk.Mem
	faults            *disk.Faults
	s                 *Store
	busy, held, other *Log
}

func newStuckWorld(t *testing.T, fault disk.Fault) *stuckWorld {
	t.Helper()
	w := &stuckWorld{mem: disk.NewMem(), faults: disk.NewFaults()}
	w.s = openStoreWith(t, disk.NewFaulty(w.mem, w.faults), 8*journalBlock)
	w.busy = openLog(t, w.s, OpenOptions{Config: journalConfig(), Name: "busy-0", Unclean: true})
	passes(t, w.busy, 1)
	w.s.janitor.keepNames()
	w.held = openHeld(t, w.s)
	w.other = openLog(t, w.s, OpenOptions{Name: "t-1", Config: journalConfig(), TopicID: heldID, Unclean: true})
	fault.Path, fault.Times = "t-", disk.Forever
	w.faults.Add(fault)
	appendHeld(t, w.held, 20)
	appendHeld(t, w.other, 20)
	for from := turns(w.s); turns(w.s) == from; {
		passes(t, w.busy, 1)
	}
	return w
}

// wait returns the error of the first try of a checkpoint that failed, nil when it is through.
func (w *stuckWorld) wait(through bool) error {
	j := w.s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.mu.preparing && (through || j.mu.stuck == nil) {
		j.changed.Wait()
	}
	return j.mu.stuck
}

// TestCheckpointIsTriedAgain: a file that cannot be made for want of a handle or of space keeps the journal from being used anew, and nothing
// else: the store stays online, who waits for the journal is told, and when there is room it goes on.
func TestCheckpointIsTriedAgain(t *testing.T) {
	for _, fault := range []disk.Fault{
		{Kind: disk.FaultNoHandle, Ops: disk.OpCreate}, {Kind: disk.FaultNoSpace, Ops: disk.OpCreate}, {Kind: disk.FaultShortWrite, Ops: disk.OpWrite},
	} {
		t.Run(fmt.Sprint(fault.Kind), func(t *testing.T) {
			w := newStuckWorld(t, fault)
			if err := w.wait(false); err == nil {
				t.Fatal("the checkpoint is through")
			}
			passes(t, w.busy, 10) // some of them find no room in the journal
			if err := w.s.DeleteLog("busy-0", w.busy); err == nil || errors.Is(err, ErrOffline) {
				t.Errorf("the records of a log are retired: %v", err)
			}
			_, _, err := w.held.Append(mkBatch(t, 1, testEpochTime, 20, 1), AppendOptions{Wait: true, Held: true, Now: now()})
			if err == nil {
				t.Error("more is held")
			}
			if err := w.s.Offline(); err != nil {
				t.Fatal(err)
			}
			wantBatches(t, w.mem.CrashClone(0, 1), 1)
			w.faults.Clear()
			if err := w.wait(true); err != nil {
				t.Fatal(err)
			}
			wantBatches(t, w.mem.CrashClone(0, 1), 1)
			appendHeld(t, w.held, 20)
			closeStore(t, w.s)
			wantBatches(t, w.mem, 2)
		})
	}
}

// TestDeletedLogFreesACheckpoint: one waits for nothing that a log would need which is deleted, nor one such log for another.
func TestDeletedLogFreesACheckpoint(t *testing.T) {
	w := newStuckWorld(t, disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpCreate})
	if err := w.wait(false); err == nil {
		t.Fatal("the checkpoint is through")
	}
	if err := w.s.DeleteLog("t-0", w.held); !errors.Is(err, ErrDiskFull) {
		t.Errorf("the first: %v", err)
	}
	for _, l := range []*Log{w.other, w.held} {
		if err := w.s.DeleteLog(l.Name(), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.wait(true); err != nil {
		t.Fatal(err)
	}
	closeStore(t, w.s)
}

// TestStopEndsATry: a stop does not wait for room, and leaves what only the journal has to the next start.
func TestStopEndsATry(t *testing.T) {
	w := newStuckWorld(t, disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpCreate})
	if err := w.wait(false); err == nil {
		t.Fatal("the checkpoint is through")
	}
	if err := w.s.Close(); err == nil {
		t.Error("the stop was clean")
	}
	wantBatches(t, w.mem, 1)
}

// TestPassWaitsForAHandle: what was appended cannot be taken back, so the pass that has to make a file waits for a handle, within bounds.
func TestPassWaitsForAHandle(t *testing.T) {
	for name, c := range map[string]struct {
		times   int64
		offline bool
	}{"some": {writeAgainMax, false}, "none": {disk.Forever, true}} {
		t.Run(name, func(t *testing.T) {
			faults := disk.NewFaults()
			s := openStoreWith(t, disk.NewFaulty(disk.NewMem(), faults), journalBytesMin)
			l := openHeld(t, s)
			faults.Add(disk.Fault{Kind: disk.FaultNoHandle, Ops: disk.OpCreate, Path: logSuffix, Times: c.times})
			// No record has room for it.
			_, tk, err := l.Append(mkBatch(t, 1, testEpochTime, journalBytesMin, 1), AppendOptions{Wait: true, Held: true, Now: now()})
			if err != nil {
				t.Fatal(err)
			}
			<-tk.Done()
			if offline := errors.Is(tk.Err(), ErrOffline); offline != c.offline || !offline && tk.Err() != nil {
				t.Errorf("%v", tk.Err())
			}
			if n := faults.Fired(); n < writeAgainMax {
				t.Errorf("%d tries", n)
			}
			if err := s.Close(); (err != nil) != c.offline {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// fewInodes is a file system that says how many files may be made.
type fewInodes struct {
	disk.FS
	free atomic.Int64
}

func (y *fewInodes) FreeFiles(string) (int64, error) { return y.free.Load(), nil }

// TestFewFreeFiles: where files may run out an append makes its own, so that the error is its own too.
func TestFewFreeFiles(t *testing.T) {
	for _, c := range []struct {
		free int64
		made bool
	}{{namesAheadFiles, false}, {namesAheadFiles - 1, true}} {
		fsys := &fewInodes{FS: disk.NewMem()}
		fsys.free.Store(c.free)
		s := openStore(t, fsys)
		appendHeld(t, openHeld(t, s), 20)
		if made := hasFile(t, fsys, 0); made != c.made {
			t.Errorf("%d free: made %v", c.free, made)
		}
		closeStore(t, s)
	}
}

// TestTextsWithoutARecord: they are written without an fsync, so that a power loss may leave an empty file; where no record could replace it
// they are not.
func TestTextsWithoutARecord(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	cfg := journalConfig()
	cfg.FlushMessages = 1000
	l := openLog(t, s, OpenOptions{Config: cfg, TopicID: heldID})
	mustAppend(t, l, mkBatch(t, 1, testEpochTime, 20, 1))
	s.janitor.keepNames()
	if _, err := mem.Stat(l.path(metadataFileName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the topic id: %v", err)
	}
	closeStore(t, s)
	wantBatches(t, mem, 1)
}

// TestPassOfMoreFilesThanHandles: a pass that has to make more files than may be open lets go of those that it has written.
func TestPassOfMoreFilesThanHandles(t *testing.T) {
	const logs = 40
	fsys := &fewHandles{FS: disk.NewMem()}
	fsys.left.Store(12)
	s := openStoreWith(t, fsys, journalBytesMin)
	var tickets []Ticket
	for i := range logs {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: journalConfig(), TopicID: heldID, Unclean: true})
		_, tk, err := l.Append(mkBatch(t, 1, testEpochTime, 1000, int64(i)), AppendOptions{Held: true, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, tk)
	}
	tickets[logs-1].Hurry()
	for i, tk := range tickets {
		<-tk.Done()
		if err := tk.Err(); err != nil {
			t.Fatalf("log %d: %v", i, err)
		}
	}
	closeStore(t, s)
}
