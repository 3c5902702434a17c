package seglog

import (
	"path/filepath"
	"testing"
	"time"

	"ottla/internal/disk"
)

// namedLog is what somebody who keeps a catalog knows of a log.
type namedLog struct {
	id     [16]byte // zero: none is written
	acked  int64    // the end of what was acknowledged
	kept   bool     // its topic id must be found: something was acknowledged, or the log was closed
	doomed bool     // it is being deleted: the next start deletes it first
	log    *Log
}

// namesWay is how what is appended becomes durable.
type namesWay struct {
	journalBytes int64
	held         bool
}

// namesWays are without a journal, with one, and with one and segments that have no file at first.
var namesWays = []namesWay{{-1, false}, {testJournalBytes, false}, {testJournalBytes, true}}

// namesWorld makes several logs on one disk and writes to them.
type namesWorld struct {
	t      testing.TB
	fsys   disk.FS
	faults *disk.Faults
	store  *Store
	way    namesWay
	logs   map[string]*namedLog
}

func (w *namesWorld) openStore() error {
	s, err := OpenStore(Options{FS: w.fsys, Dir: "data", FreeBytesMin: -1, JournalBytes: w.way.journalBytes, heldTailMax: testHeldTailMax, writeAgainWait: time.Millisecond})
	if err == nil {
		w.store = s
	}
	return err
}

func (w *namesWorld) open(name string, id byte) error {
	n := w.logs[name]
	if n == nil || n.doomed {
		n = &namedLog{}
		if id > 0 {
			n.id = [16]byte{id}
		}
		w.logs[name] = n
	}
	return w.openNamed(name, n, false)
}

func (w *namesWorld) openNamed(name string, n *namedLog, unclean bool) (err error) {
	n.log, err = w.store.OpenLog(OpenOptions{Name: name, TopicID: n.id, Config: testConfig(), Unclean: unclean})
	return err
}

// append appends to all of them and waits once, as a request for many partitions does.
func (w *namesWorld) append(names ...string) error {
	var tk Ticket
	for _, name := range names {
		l := w.logs[name].log
		var err error
		if _, tk, err = l.Append(mkBatch(w.t, 1, testEpochTime+l.End(), 20, 1), AppendOptions{Held: w.way.held, Now: now()}); err != nil {
			return err
		}
	}
	tk.Hurry()
	<-tk.Done()
	if err := tk.Err(); err != nil {
		return err
	}
	for _, name := range names {
		n := w.logs[name]
		// Where a pass comes in between, the last ticket covers the others too: it is of a later round.
		n.acked = n.log.Durable()
		// Where the crash hit the renaming alone, the pass has not failed: nothing waits for a file that cannot be made.
		n.kept = n.kept || !w.faults.Crashed()
	}
	return nil
}

func (w *namesWorld) remove(name string) error {
	n := w.logs[name]
	*n = namedLog{id: n.id, doomed: true, log: n.log}
	return w.store.DeleteLog(name, n.log)
}

func (w *namesWorld) closeLog(name string) error {
	n := w.logs[name]
	err := n.log.Close()
	n.kept = n.kept || err == nil
	return err
}

// namesSteps are a history in which every way to make names durable has its turn.
var namesSteps = []func(w *namesWorld) error{
	(*namesWorld).openStore,
	// Two files, so each is synced by itself.
	func(w *namesWorld) error { return w.open("plain", 0) },
	func(w *namesWorld) error { return w.append("plain") },
	// Nothing but the metadata file.
	func(w *namesWorld) error {
		n := w.logs["plain"]
		if err := n.log.Close(); err != nil {
			return err
		}
		n.id, n.kept = [16]byte{9}, false
		return w.open("plain", 0)
	},
	func(w *namesWorld) error { return w.closeLog("plain") },
	// Nothing at all.
	func(w *namesWorld) error { return w.open("empty", 1) },
	func(w *namesWorld) error { return w.closeLog("empty") },
	// One syncfs, for one log and for several.
	func(w *namesWorld) error { return w.open("a", 2) },
	func(w *namesWorld) error { return w.append("a") },
	func(w *namesWorld) error { return w.open("b", 3) },
	func(w *namesWorld) error { return w.open("c", 4) },
	func(w *namesWorld) error { return w.open("d", 5) },
	func(w *namesWorld) error { return w.append("b", "c", "d") },
	func(w *namesWorld) error { w.store.janitor.keepNames(); return w.store.Offline() },
	// By the journal, but for the one that is new.
	func(w *namesWorld) error { return w.append("a") },
	func(w *namesWorld) error { return w.open("e", 6) },
	func(w *namesWorld) error { return w.append("a", "b", "e") },
	// A name that becomes another log's.
	func(w *namesWorld) error { return w.append("c") },
	func(w *namesWorld) error { return w.remove("c") },
	func(w *namesWorld) error { return w.open("c", 7) },
	func(w *namesWorld) error { return w.append("c") },
	func(w *namesWorld) error { return w.append("c", "d") },
	// Made and never used: opened again, and deleted.
	func(w *namesWorld) error { return w.open("empty", 1) },
	func(w *namesWorld) error { return w.open("f", 8) },
	func(w *namesWorld) error { return w.remove("f") },
	func(w *namesWorld) error { return w.open("f", 9) },
	func(w *namesWorld) error { return w.store.Close() },
}

// checkIDs looks at the disk, when the journal was written back and nothing recovered yet. What was never written to need not be there.
func (w *namesWorld) checkIDs(mem *disk.Mem) {
	w.t.Helper()
	for name, n := range w.logs {
		if !n.kept || n.id == [16]byte{} {
			continue
		}
		dir := filepath.Join("data", name)
		if _, err := mem.Stat(dir); err != nil && n.acked == 0 {
			continue
		}
		missing, err := checkTopicID(mem, dir, n.id)
		if missing || err != nil {
			w.t.Fatalf("%s, acknowledged up to %d: topic id missing %v, %v", name, n.acked, missing, err)
		}
	}
}

// start is what a broker does after a crash: it finishes deletions, and recovers what its catalog knows.
func (w *namesWorld) start(mem *disk.Mem) {
	w.t.Helper()
	w.fsys = mem
	if err := w.openStore(); err != nil {
		w.t.Fatal(err)
	}
	w.checkIDs(mem)
	for name, n := range w.logs {
		if n.doomed {
			if err := w.store.DeleteLog(name, nil); err != nil {
				w.t.Fatal(err)
			}
			*n = namedLog{id: [16]byte{n.id[0] + 100}}
		}
		if err := w.openNamed(name, n, true); err != nil {
			w.t.Fatal(err)
		}
		if n.log.End() < n.acked {
			w.t.Fatalf("%s ends at %d, acknowledged up to %d", name, n.log.End(), n.acked)
		}
		readAll(w.t, n.log, 1000)
		n.acked = n.log.Durable()
		n.kept = n.kept || n.acked > 0
	}
	if n := counterValue(w.t, w.store.metrics.MissingOffsets); n > 0 {
		w.t.Fatalf("%v durable offsets are missing", n)
	}
}

// survive starts on what a crash left, and again after a power loss that comes at once, and after one behind an append to
// every log.
func (w *namesWorld) survive(mem *disk.Mem) {
	w.t.Helper()
	w.start(mem)
	for _, use := range []bool{false, true} {
		var names []string
		for name := range w.logs {
			names = append(names, name)
		}
		if use && len(names) > 0 {
			if err := w.append(names...); err != nil {
				w.t.Fatal(err)
			}
		}
		next := mem.CrashClone(0, 1)
		closeStore(w.t, w.store)
		mem = next
		w.start(mem)
	}
	closeStore(w.t, w.store)
	for name, n := range w.logs {
		n.kept = true
		if n.id == ([16]byte{}) {
			continue
		}
		if problems, err := CheckLog(mem, filepath.Join("data", name)); err != nil || len(problems) > 0 {
			w.t.Fatalf("check of %s: %v %v", name, problems, err)
		}
	}
	w.checkIDs(mem)
}

// clone is the same knowledge, for another outcome of the same crash.
func (w *namesWorld) clone(t testing.TB) *namesWorld {
	c := &namesWorld{t: t, way: w.way, faults: disk.NewFaults(), logs: map[string]*namedLog{}}
	for name, n := range w.logs {
		m := *n
		m.log = nil
		c.logs[name] = &m
	}
	return c
}

// crashWhileMakingLogs crashes at operation k of the history, and says whether it came that far.
func crashWhileMakingLogs(t testing.TB, way namesWay, k int64, steps int, wrap func(disk.FS) disk.FS) (crashed bool) {
	mem := disk.NewMem()
	faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
	w := &namesWorld{t: t, way: way, fsys: disk.NewFaulty(wrap(mem), faults), faults: faults, logs: map[string]*namedLog{}}
	for i, step := range namesSteps[:steps] {
		if err := step(w); err != nil {
			if !faults.Crashed() || !injected(err) {
				t.Fatalf("step %d, crash at %d: %v", i, k, err)
			}
			break
		}
	}
	crashed = faults.Crashed()
	faults.Crash()
	if w.store != nil {
		_ = w.store.Close() // crashed
	}
	for i, disks := range []*disk.Mem{mem.KillClone(), mem.CrashClone(0, k), mem.CrashClone(0.5, k), mem.CrashClone(1, k)} {
		c := w.clone(t)
		c.survive(disks)
		if t.Failed() {
			t.Fatalf("%+v, crash at %d, disk %d", way, k, i)
		}
	}
	return crashed
}

// TestCrashWhileLogsAreMade: a new log has no directory when OpenLog returns; that and its topic id are durable, or the journal has
// them, when the first append is acknowledged.
func TestCrashWhileLogsAreMade(t *testing.T) {
	honest := func(fsys disk.FS) disk.FS { return fsys }
	for _, way := range namesWays {
		for k := int64(0); crashWhileMakingLogs(t, way, k, len(namesSteps), honest); k += crashStride() {
		}
	}
}

// forgetful leaves one kind of sync out.
type forgetful struct {
	disk.FS
	syncFS, dataDir, logDir, metadata bool
}

func (y forgetful) SyncFS(dir string) error {
	if y.syncFS {
		return nil
	}
	return y.FS.SyncFS(dir)
}

func (y forgetful) SyncDir(dir string) error {
	if y.dataDir && filepath.Base(dir) == "data" || y.logDir && filepath.Dir(dir) == "data" {
		return nil
	}
	return y.FS.SyncDir(dir)
}

func (y forgetful) Create(name string) (disk.File, error) {
	f, err := y.FS.Create(name)
	if err == nil && y.metadata && filepath.Base(name) == metadataFileName+tempSuffix {
		return lyingFile{f}, nil
	}
	return f, err
}

// TestForgottenSyncsAreCaught: the loop above must notice each sync that the first pass leaves out. The histories end where
// that sync is the only one of its kind.
func TestForgottenSyncsAreCaught(t *testing.T) {
	for name, c := range map[string]struct {
		steps int
		way   namesWay
		lie   forgetful
	}{
		"the log's directory, by syncfs": {9, namesWays[0], forgetful{syncFS: true}},
		"the log's directory, by name":   {3, namesWays[0], forgetful{dataDir: true}},
		"names in the log's directory":   {9, namesWays[0], forgetful{logDir: true}},
		"the metadata file":              {5, namesWays[0], forgetful{metadata: true}},
		"a checkpoint, by syncfs":        {len(namesSteps), namesWays[1], forgetful{syncFS: true}},
		"a checkpoint that makes files":  {len(namesSteps), namesWays[2], forgetful{syncFS: true}},
	} {
		t.Run(name, func(t *testing.T) {
			tb := &canaryTB{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				wrap := func(fsys disk.FS) disk.FS { c.lie.FS = fsys; return c.lie }
				for k := int64(0); crashWhileMakingLogs(tb, c.way, k, c.steps, wrap); k++ {
				}
			}()
			<-done
			if !tb.failed {
				t.Fatal("a disk that leaves a sync out passed")
			}
		})
	}
}

// TestHeldOffsetsAreFoundAgain: a log whose directory is lost goes on behind its checkpoint. The directory that is made for that
// must not be lost too: the checkpoint may be.
func TestHeldOffsetsAreFoundAgain(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	id := [16]byte{1}
	openLog(t, s, OpenOptions{TopicID: id, Checkpoint: Position{Offset: 10, Position: 700}, HasCheckpoint: true, Unclean: true})
	lost := mem.CrashClone(0, 1)
	closeStore(t, s)
	if missing, err := checkTopicID(lost, filepath.Join("data", "t-0"), id); missing || err != nil {
		t.Errorf("topic id missing %v, %v", missing, err)
	}
	s = openStore(t, lost)
	if l := openLog(t, s, OpenOptions{TopicID: id, Unclean: true}); l.End() != 10 {
		t.Errorf("the log ends at %d, offsets below 10 were given out before", l.End())
	}
	closeStore(t, s)
}

// TestTextsThatChangeBeforeACheckpoint: it leaves no records of lines that are in no file, whatever has been added to them since.
func TestTextsThatChangeBeforeACheckpoint(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{Config: journalConfig(), TopicID: heldID, Unclean: true, LeaderEpoch: 5})
	appendHeld(t, l, 20)
	l.mu.Lock()
	l.assignEpochLocked(6, l.End()) // of an append that is under way
	l.mu.Unlock()
	if err := s.journal.retire(l.name); err != nil {
		t.Fatal(err)
	}
	lines, err := readEpochs(mem.CrashClone(0, 1), l.path(epochFileName))
	if err != nil || len(lines) == 0 || lines[0] != (epochStart{5, 0}) {
		t.Errorf("%v, %v", lines, err)
	}
	closeStore(t, s)
}
