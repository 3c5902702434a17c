package seglog

import (
	"runtime"
	"testing"

	"ottla/internal/disk"
)

// openNamed returns a log with a file of one batch, which is durable, and one that is held.
func openNamed(t *testing.T, s *Store) *Log {
	t.Helper()
	l := openHeld(t, s)
	mustAppend(t, l, mkBatch(t, 1, testEpochTime, 20, 0))
	s.janitor.keepNames()
	appendHeld(t, l, 20)
	if !l.mu.segments[0].holding() {
		t.Fatal("nothing is held")
	}
	return l
}

// TestHeldThatAStopCannotWrite: the journal alone has what was acknowledged then, and stays; whether the store closes the log or somebody
// before.
func TestHeldThatAStopCannotWrite(t *testing.T) {
	for name, end := range map[string]func(*Store, *Log, *disk.Faults) error{
		"store":        func(s *Store, _ *Log, _ *disk.Faults) error { return s.Close() },
		"log":          func(s *Store, l *Log, _ *disk.Faults) error { _ = l.Close(); return s.Close() },
		"log, for now": func(s *Store, l *Log, f *disk.Faults) error { _ = l.Close(); f.Clear(); return s.Close() },
	} {
		mem, faults := disk.NewMem(), disk.NewFaults()
		s := openStoreWith(t, disk.NewFaulty(mem, faults), 8*journalBlock)
		l := openNamed(t, s)
		faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpWrite, Path: "t-0", Times: disk.Forever})
		if err := end(s, l, faults); err == nil {
			t.Errorf("%s: the stop was clean", name)
		}
		wantBatches(t, mem.KillClone(), 2)
		wantBatches(t, mem.CrashClone(0, 1), 2)
	}
}

// TestHeldIsWrittenWhileItsFileIsClosed: who has segment.open may ask for the size of what is being written, and forget it once.
func TestHeldIsWrittenWhileItsFileIsClosed(t *testing.T) {
	s := openStoreWith(t, disk.NewMem(), 8*journalBlock)
	l := openNamed(t, s)
	seg := l.mu.segments[0]
	n := seg.tail.Load()
	seg.open.Lock()
	written := make(chan error)
	go func() { written <- l.writeHeld() }()
	for !n.over.Load() {
		runtime.Gosched()
	}
	if size, err := n.Size(); size != seg.size || err != nil {
		t.Errorf("%d bytes, %v", size, err)
	}
	n.discard()
	seg.open.Unlock()
	if err := <-written; err != nil {
		t.Error(err)
	}
	if got := s.held.n.Load(); got != 0 {
		t.Errorf("%d bytes are in memory", got)
	}
	if n := len(readAll(t, l, 1<<20)); n != 2 {
		t.Errorf("%d batches are read", n)
	}
	closeStore(t, s)
}

// TestPageCacheComesWhileAppended: a batch that was appended to be durable is, although the settings are others when its pass begins.
func TestPageCacheComesWhileAppended(t *testing.T) {
	mem := disk.NewMem()
	s := openStoreWith(t, mem, 8*journalBlock)
	l := openNamed(t, s)
	_, tk, err := l.Append(mkBatch(t, 1, testEpochTime+2, 20, 2), AppendOptions{Held: true, Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	c := *l.config()
	c.FlushMessages = 1000
	l.cfg.Store(&c) // as SetConfig does that finds nothing to be synced yet
	tk.Hurry()
	<-tk.Done()
	if err := tk.Err(); err != nil {
		t.Error(err)
	}
	if l.Durable() != 3 || l.Committed() != 3 {
		t.Errorf("durable %d, committed %d, expected 3", l.Durable(), l.Committed())
	}
	wantBatches(t, mem.CrashClone(0, 1), 3)
	closeStore(t, s)
}

// TestNamesOfALogThatCannotBeOpened: the janitor does not keep it in mind.
func TestNamesOfALogThatCannotBeOpened(t *testing.T) {
	faults := disk.NewFaults()
	s := openStore(t, disk.NewFaulty(disk.NewMem(), faults))
	faults.Add(disk.Fault{Kind: disk.FaultError, Path: "t-0/"})
	_, err := s.OpenLog(OpenOptions{Name: "t-0", Config: testConfig(), HasCheckpoint: true, Checkpoint: Position{Offset: 5}})
	wantErr(t, err, ErrIO)
	s.janitor.keepNames()
	if n := len(s.unkept.mu.logs); n != 0 {
		t.Errorf("%d logs are left", n)
	}
	closeStore(t, s)
}

// TestRecordThatIsNotDurable: a kill leaves one that a power loss during its replay takes. What was written of it is not believed then, or
// it is still there.
func TestRecordThatIsNotDurable(t *testing.T) {
	mem, faults := disk.NewMem(), disk.NewFaults()
	s := openStoreWith(t, disk.NewFaulty(mem, faults), 8*journalBlock)
	openNamed(t, s)
	closeStore(t, s)
	s = openStoreWith(t, disk.NewFaulty(mem, faults), 8*journalBlock)
	l := openHeld(t, s) // the start was not clean, so names may not be durable, and the record says so
	faults.Add(disk.Fault{Kind: disk.FaultCrash, Ops: disk.OpSync, Path: "journal-"})
	_, tk, err := l.Append(mkBatch(t, 1, testEpochTime+2, 20, 2), AppendOptions{Wait: true, Held: true, Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	<-tk.Done()
	killed := mem.KillClone()
	_ = s.Close()
	for at := int64(0); ; at++ {
		disks := killed.KillClone()
		faults := disk.NewFaults(disk.Fault{Kind: disk.FaultCrash, At: at})
		if s, err := OpenStore(Options{FS: disk.NewFaulty(disks, faults), Dir: "data", FreeBytesMin: -1}); err == nil {
			faults.Clear()
			closeStore(t, s)
			break
		}
		for seed := range int64(8) {
			s := openStore(t, disks.CrashClone(0.5, seed))
			if n := len(readAll(t, openHeld(t, s), 1<<20)); n < 2 {
				t.Errorf("operation %d: %d batches of 2", at, n)
			}
			closeStore(t, s)
		}
	}
}
