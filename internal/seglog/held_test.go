package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"ottla/internal/disk"
)

var heldID = [16]byte{7}

func openHeld(t *testing.T, s *Store) *Log {
	t.Helper()
	cfg := journalConfig()
	cfg.FileDeleteDelayMillis = 3600_000 // a test calls the janitor itself
	return openLog(t, s, OpenOptions{Config: cfg, TopicID: heldID, Unclean: true})
}

// appendHeld appends a batch with values of so many bytes and waits for it.
func appendHeld(t *testing.T, l *Log, bytes int) {
	t.Helper()
	_, tk, err := l.Append(mkBatch(t, 1, testEpochTime+l.End(), bytes, l.End()), AppendOptions{Wait: true, Held: true, Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	<-tk.Done()
	if err := tk.Err(); err != nil {
		t.Fatal(err)
	}
}

func hasFile(t *testing.T, fsys disk.FS, base int64) bool {
	t.Helper()
	_, err := fsys.Stat(filepath.Join("data", "t-0", segmentName(base, logSuffix)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// wantBatches opens what a disk has after a power loss and counts.
func wantBatches(t *testing.T, mem *disk.Mem, want int) {
	t.Helper()
	s := openStore(t, mem)
	if missing, err := checkTopicID(mem, filepath.Join("data", "t-0"), heldID); missing || err != nil {
		t.Errorf("topic id missing %v, %v", missing, err)
	}
	if n := len(readAll(t, openHeld(t, s), 1<<20)); n != want {
		t.Errorf("%d batches, expected %d", n, want)
	}
	if n := counterValue(t, s.metrics.MissingOffsets); n > 0 {
		t.Errorf("%v offsets are missing", n)
	}
	closeStore(t, s)
}

// TestHeldWithoutFile: what is durable by the journal needs none to be read and to be found again; the janitor makes it, and its names
// durable.
func TestHeldWithoutFile(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openHeld(t, s)
	appendHeld(t, l, 20)
	appendHeld(t, l, 20)
	if hasFile(t, mem, 0) {
		t.Error("a file was made before the answer")
	}
	if n := len(readAll(t, l, 1<<20)); n != 2 {
		t.Errorf("%d batches are read", n)
	}
	wantBatches(t, mem.CrashClone(0, 1), 2)
	wantBatches(t, mem.KillClone(), 2)

	s.janitor.keepNames()
	if n := s.held.n.Load(); !hasFile(t, mem, 0) || n != 0 {
		t.Errorf("file %v, %d bytes are in memory", hasFile(t, mem, 0), n)
	}
	if _, some := l.names.dirty(); some {
		t.Error("the names are not durable")
	}
	if missing, err := checkTopicID(mem.CrashClone(0, 1), filepath.Join("data", "t-0"), heldID); missing || err != nil {
		t.Errorf("topic id missing %v, %v", missing, err)
	}
	appendHeld(t, l, 20)
	wantBatches(t, mem.CrashClone(0, 1), 3)
	closeStore(t, s)
	wantBatches(t, mem, 3)
}

// TestHeldWithin: who is answered before his batch is durable, who has a large one and who has no journal gets a file at once.
func TestHeldWithin(t *testing.T) {
	large := mkBatch(t, 1, testEpochTime, heldUnmadeMax, 1)
	small := mkBatch(t, 1, testEpochTime, 20, 1)
	for name, c := range map[string]struct {
		journal int64
		o       AppendOptions
		large   bool
		taken   int64 // of the memory for all of them
		want    bool
	}{
		"held":            {testJournalBytes, AppendOptions{Held: true}, false, 0, false},
		"answered before": {testJournalBytes, AppendOptions{}, false, 0, true},
		"large":           {testJournalBytes, AppendOptions{Held: true}, true, 0, true},
		"no journal":      {-1, AppendOptions{Held: true}, false, 0, true},
		"no memory":       {testJournalBytes, AppendOptions{Held: true}, false, heldBytesMax, true},
	} {
		mem := disk.NewMem()
		s := openStoreWith(t, mem, c.journal)
		l := openHeld(t, s)
		s.held.n.Add(c.taken)
		b := small
		if c.large {
			b = large
		}
		c.o.Now = now()
		if _, _, err := l.Append(b, c.o); err != nil {
			t.Fatal(err)
		}
		if has := hasFile(t, mem, 0); has != c.want {
			t.Errorf("%s: file %v, expected %v", name, has, c.want)
		}
		closeStore(t, s)
		if n := s.held.n.Load() - c.taken; n != 0 {
			t.Errorf("%s: %d bytes are left in memory", name, n)
		}
	}
}

// TestHeldIsDeleted: it leaves no memory, no file, and nothing in the journal for another of its name.
func TestHeldIsDeleted(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openHeld(t, s)
	appendHeld(t, l, 20)
	if err := s.DeleteLog("t-0", l); err != nil {
		t.Fatal(err)
	}
	if n := s.held.n.Load(); n != 0 || hasFile(t, mem, 0) {
		t.Errorf("%d bytes are in memory, file %v", n, hasFile(t, mem, 0))
	}
	s.janitor.keepNames()
	if _, err := mem.Stat("data/t-0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory of a deleted log: %v", err)
	}
	lost := openStore(t, mem.CrashClone(1, 1))
	if again := openHeld(t, lost); again.End() != 0 {
		t.Errorf("the log of the same name ends at %d", again.End())
	}
	closeStore(t, lost)
	closeStore(t, s)
}

// TestUnlinkedSegmentStaysAway: replay makes a file that a record says may be missing, but not one that was unlinked since.
func TestUnlinkedSegmentStaysAway(t *testing.T) {
	mem := disk.NewMem()
	s := openStoreWith(t, mem, largeJournal)
	l := openHeld(t, s)
	appendHeld(t, l, 20)
	appendHeld(t, l, 20)
	if err := l.RollIfDue(time.Now().AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	appendHeld(t, l, 20)
	if len(l.Segments()) != 2 || !hasFile(t, mem, 0) || len(journalOf(t, mem)) == 0 {
		t.Fatal("not rolled, or nothing is in the journal")
	}
	if _, err := l.DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	s.janitor.unlinkDue(time.Now().AddDate(1, 0, 0))
	if hasFile(t, mem, 0) {
		t.Fatal("not unlinked")
	}
	for i, after := range []*disk.Mem{mem.KillClone(), mem.CrashClone(1, 1), mem.CrashClone(0, 1)} {
		again := openStore(t, after)
		if i < 2 && hasFile(t, after, 0) { // the last may have lost the unlinking too
			t.Errorf("the segment came back: %d", i)
		}
		if l := openHeld(t, again); l.Start() != 2 || l.End() != 3 || counterValue(t, again.metrics.MissingOffsets) > 0 {
			t.Errorf("log [%d, %d)", l.Start(), l.End())
		}
		closeStore(t, again)
	}
	closeStore(t, s)
}

// TestDecodeJournalOfVersion1: its ranges said nothing of names.
func TestDecodeJournalOfVersion1(t *testing.T) {
	b := make([]byte, journalHeadBytes)
	b = append(b, 0, 3)
	b = append(b, "t-0"...)
	b = binary.BigEndian.AppendUint64(b, 40)
	b = binary.BigEndian.AppendUint64(b, 5)
	b = binary.BigEndian.AppendUint32(b, 4)
	b = append(b, "data"...)
	binary.BigEndian.PutUint32(b, journalMagic)
	binary.BigEndian.PutUint32(b[4:], 1<<16)
	binary.BigEndian.PutUint32(b[12:], uint32(len(b)))
	binary.BigEndian.PutUint32(b[40:], 1)
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	r, _, err := decodeJournalRecord(b)
	if err != nil || len(r.ranges) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if one := r.ranges[0]; one.log != "t-0" || one.base != 40 || one.position != 5 || string(one.data) != "data" || one.epochs != nil {
		t.Errorf("%+v", one)
	}
}

// heldModel is a log, and what its only segment has to have.
type heldModel struct {
	t    *testing.T
	mem  *disk.Mem
	s    *Store
	l    *Log
	want []byte
}

func openHeldModel(t *testing.T) *heldModel {
	t.Helper()
	mem := disk.NewMem()
	s, err := OpenStore(Options{FS: mem, Dir: "data", FreeBytesMin: -1, JournalBytes: 256 << 10, heldTailMax: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	cfg := journalConfig()
	cfg.SegmentBytes = 1 << 30
	return &heldModel{t: t, mem: mem, s: s, l: openLog(t, s, OpenOptions{Config: cfg, TopicID: heldID, Unclean: true})}
}

// append appends a batch with a value of so many bytes, and waits if it is to be durable.
func (m *heldModel) append(bytes int, o AppendOptions) {
	m.t.Helper()
	b := mkBatch(m.t, 1, testEpochTime+m.l.End(), bytes, m.l.End())
	o.Now = now()
	_, tk, err := m.l.Append(b, o)
	if err != nil {
		m.t.Fatal(err)
	}
	m.want = append(m.want, b.Bytes()...)
	if o.Wait {
		<-tk.Done()
		if err := tk.Err(); err != nil {
			m.t.Fatal(err)
		}
	}
}

// inFile is how many bytes the file has.
func (m *heldModel) inFile() int {
	m.t.Helper()
	info, err := m.mem.Stat(filepath.Join("data", "t-0", segmentName(0, logSuffix)))
	if err != nil {
		m.t.Fatal(err)
	}
	return int(info.Size)
}

// check compares some bytes of the segment.
func (m *heldModel) check(at, size int) {
	m.t.Helper()
	m.l.mu.Lock()
	s := m.l.activeLocked()
	s.acquireLocked()
	m.l.mu.Unlock()
	defer s.release()
	f, err := s.handle(false)
	if err != nil {
		m.t.Fatal(err)
	}
	if n, err := f.Size(); err != nil || n != int64(len(m.want)) {
		m.t.Fatalf("%d bytes, expected %d: %v", n, len(m.want), err)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, int64(at))
	want := m.want[min(at, len(m.want)):min(at+size, len(m.want))]
	if !bytes.Equal(b[:n], want) || (err == nil) != (n == size) {
		m.t.Fatalf("%d bytes at %d of %d: %d bytes, %v", size, at, len(m.want), n, err)
	}
}

// TestHeldTail: whatever of a segment is in its file and what in memory, it is read as one, and found again after a power loss.
func TestHeldTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	m := openHeldModel(t)
	m.append(20, AppendOptions{}) // the file is there
	held, most := 0, 0
	for i := range 400 {
		switch rng.IntN(12) {
		case 0:
			m.append(20, AppendOptions{Wait: true}) // acks=1
		case 1:
			m.append(heldBatchMax, AppendOptions{Held: true, Wait: true})
		case 2:
			if err := m.l.writeHeld(); err != nil {
				t.Fatal(err)
			}
		case 3:
			m.l.ReleaseFiles()
		default:
			m.append(rng.IntN(900), AppendOptions{Held: true, Wait: rng.IntN(4) > 0})
		}
		for range 5 {
			at := rng.IntN(len(m.want) + 1)
			m.check(at, rng.IntN(3000))
			m.check(max(len(m.want)-rng.IntN(6000), 0), rng.IntN(6000))
		}
		if n := len(m.want) - m.inFile(); n > 0 {
			held++
			most = max(most, n)
		}
		if i%50 == 0 {
			<-m.l.requestSync().Done()
			wantBatches(t, m.mem.CrashClone(0, int64(i)), int(m.l.End()))
			wantBatches(t, m.mem.KillClone(), int(m.l.End()))
		}
	}
	if held < 100 || most > 4<<10 || most < 3<<10 {
		t.Errorf("bytes were in memory after %d of 400 steps, at most %d", held, most)
	}
	closeStore(t, m.s)
	if n := m.s.held.n.Load(); n != 0 || m.inFile() != len(m.want) {
		t.Errorf("%d bytes are counted as in memory, %d of %d in the file", n, m.inFile(), len(m.want))
	}
}

// TestHeldTailThatCannotBeWritten: an append that finds memory full fails alone, and the next one is as if it had not been.
func TestHeldTailThatCannotBeWritten(t *testing.T) {
	mem, faults := disk.NewMem(), disk.NewFaults()
	s, err := OpenStore(Options{FS: disk.NewFaulty(mem, faults), Dir: "data", FreeBytesMin: -1, JournalBytes: 256 << 10, heldTailMax: 1 << 10, writeAgainWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l := openHeld(t, s)
	passes(t, l, 1)
	appendHeld(t, l, 300)
	appendHeld(t, l, 300)
	faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpWrite, Path: logSuffix, Times: 1})
	b := mkBatch(t, 1, testEpochTime+l.End(), 300, l.End())
	if _, _, err := l.Append(b, AppendOptions{Wait: true, Held: true, Now: now()}); err == nil {
		t.Fatal("appended")
	}
	if n := len(readAll(t, l, 1<<20)); n != 3 {
		t.Errorf("%d batches are read", n)
	}
	appendHeld(t, l, 300)
	if err := s.Offline(); err != nil {
		t.Error(err)
	}
	wantBatches(t, mem.CrashClone(0, 1), 4)
	closeStore(t, s)
	wantBatches(t, mem, 4)
}
