package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"ottla/internal/disk"
)

// journalConfig makes segments so large, and indexes so rare, that nearly every pass goes to the journal.
func journalConfig() *Config {
	c := testConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 100_000, 50_000
	return c
}

// TestCrashAtEveryOperationOfTheJournal is TestCrashAtEveryOperation with a journal that turns every few passes.
func TestCrashAtEveryOperationOfTheJournal(t *testing.T) {
	kinds := []disk.FaultKind{disk.FaultCrash, disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite}
	for i, kind := range kinds {
		journalCrashLoop(t, uint64(300+i), disk.Fault{Kind: kind})
	}
}

func journalCrashLoop(t *testing.T, seed uint64, fault disk.Fault) {
	t.Helper()
	crashLoopOf(t, seed, fault, func(fsys disk.FS) (*world, func() error) {
		w := newWorld(t, fsys, seed, false)
		w.cfg = journalConfig()
		return w, func() error {
			err := w.run(40)
			if err == nil && w.turns+turns(w.store) == 0 {
				t.Error("the journal of the history never turned")
			}
			return err
		}
	})
}

// turns is how often a journal went on in its other file.
func turns(s *Store) uint64 {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return max(s.journal.mu.gen, 1) - 1
}

// passes appends n small batches, each of which is a pass.
func passes(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		mustAppend(t, l, mkBatch(t, 1, testEpochTime+l.End(), 20, l.End()))
	}
}

// journalOf returns what is in the journal of a disk.
func journalOf(t *testing.T, fsys disk.FS) []journalRecord {
	t.Helper()
	records, _, err := readJournal(fsys, "data")
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestJournalAlone: a power loss takes from the segment all that only the journal has, and the next start writes it back; a clean
// stop leaves nothing to write back.
func TestJournalAlone(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	passes(t, l, 1) // names: a record that carries them
	before := counterValue(t, s.metrics.JournalRecords)
	passes(t, l, 2)
	if n := counterValue(t, s.metrics.JournalRecords) - before; n != 2 {
		t.Fatalf("%v records of 2 passes", n)
	}
	lost := mem.CrashClone(0, 1)
	if _, err := lost.Stat("data/t-0/" + segmentName(0, logSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the segment without the journal: %v", err)
	}
	if n := len(journalOf(t, lost)); n != 3 {
		t.Fatalf("%d records left", n)
	}
	var out bytes.Buffer
	if err := DumpFile(lost, journalPath("data", 1), &out); err != nil || !regexp.MustCompile(`(?s)^run: .*log: t-0 segment: 0 position: \d+ bytes: \d+\n.*\n3 records\n$`).Match(out.Bytes()) {
		t.Errorf("dump: %v\n%s", err, out.String())
	}
	closeStore(t, s)
	if n, err := JournalRecords(mem, "data"); n != 0 || err != nil {
		t.Errorf("%d records after a clean stop, %v", n, err)
	}

	again := openStore(t, lost)
	if got := openLog(t, again, OpenOptions{Config: journalConfig(), Unclean: true}); got.End() != 3 || len(readAll(t, got, 1<<20)) != 3 {
		t.Errorf("end %d after the journal was written back", got.End())
	}
	if n := len(journalOf(t, lost)); n != 0 {
		t.Errorf("%d records after they were written back", n)
	}
	closeStore(t, again)
}

// TestJournalWithoutRoom: what does not fit, or has no room on the disk, is synced as without a journal.
func TestJournalWithoutRoom(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	passes(t, l, 2)
	before := counterValue(t, s.metrics.JournalRecords)
	mustAppend(t, l, mkBatch(t, 1, testEpochTime+2, testJournalBytes, 1))
	if n := counterValue(t, s.metrics.JournalRecords) - before; n != 0 {
		t.Errorf("%v records of a batch that is larger than the journal", n)
	}
	closeStore(t, s)

	small := disk.NewMem()
	small.SetCapacity(spaceFactor * 2 * testJournalBytes)
	s = openStore(t, small)
	l = openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	passes(t, l, 10)
	if n := counterValue(t, s.metrics.JournalRecords); n != 0 {
		t.Errorf("%v records on a disk that is nearly full", n)
	}
	closeStore(t, s)
}

// TestJournalFailedSync: a record that may or may not be durable takes the store offline.
func TestJournalFailedSync(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	s := openStore(t, disk.NewFaulty(mem, faults))
	l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	passes(t, l, 2)
	faults.Add(disk.Fault{Ops: disk.OpSync, Path: "journal-", Kind: disk.FaultError})
	_, tk, err := l.Append(mkBatch(t, 1, testEpochTime+2, 20, 2), AppendOptions{Wait: true, Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	<-tk.Done()
	if !errors.Is(tk.Err(), ErrOffline) || s.Offline() == nil {
		t.Errorf("ticket: %v, store: %v", tk.Err(), s.Offline())
	}
	if err := s.Close(); !errors.Is(err, ErrOffline) {
		t.Errorf("close: %v", err)
	}
}

// TestJournalOnDisk: on a real file system, past its page cache where it can do that, a kill leaves what the next start writes back.
func TestJournalOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	open := func(dir string) *Store {
		s, err := OpenStore(Options{FS: disk.OS(), Dir: dir, FreeBytesMin: -1, JournalBytes: testJournalBytes})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(dir)
	l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	// Until the last pass has a record: the one before may have found a checkpoint under way.
	for n, before := 0, 0.0; n < 9 || counterValue(t, s.metrics.JournalRecords) == before; n++ {
		before = counterValue(t, s.metrics.JournalRecords)
		passes(t, l, 1)
	}
	// A power loss that took the segment's end, and not the journal's.
	killed := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	records, _, err := readJournal(disk.OS(), killed)
	if err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	last, written := records[len(records)-1].ranges[0], len(readAll(t, l, 1<<20))
	if err := os.Truncate(filepath.Join(killed, "t-0", segmentName(0, logSuffix)), last.position); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	again := open(killed)
	if n := len(readAll(t, openLog(t, again, OpenOptions{Config: journalConfig(), Unclean: true}), 1<<20)); n != written {
		t.Errorf("%d batches of %d", n, written)
	}
	closeStore(t, again)
}

// TestDecodeJournal: records count up to the first that does not follow.
func TestDecodeJournal(t *testing.T) {
	record := func(run, gen, seq uint64, data string) []byte {
		l := &Log{name: "orders-7"}
		mem := disk.NewMem()
		f, _ := mem.Create("x")
		_, _ = f.WriteAt([]byte(data), 0)
		seg := newSegment(l, 40, int64(len(data)), true)
		seg.open.file = f
		j := &journal{run: run}
		files := []dirtyFile{{segment: seg, from: 0, to: int64(len(data))}}
		if !j.encode(files, journalRecordSize(files), journalBlock, gen, seq) {
			t.Fatal("not encoded")
		}
		return bytes.Clone(j.buf)
	}
	torn := record(1, 3, 8, "lost")
	torn[60] ^= 1
	newer := record(1, 3, 8, "newer")
	newer[5]++
	for name, c := range map[string]struct {
		then    []byte
		want    int
		damaged bool
	}{
		"followed":         {record(1, 3, 8, "second"), 2, false},
		"torn":             {torn, 1, false},
		"torn in between":  {append(torn, record(1, 3, 9, "third")...), 1, true},
		"erased":           {make([]byte, journalBlock), 1, false},
		"a gap":            {record(1, 3, 9, "third"), 1, true},
		"older generation": {record(1, 1, 8, "old"), 1, false},
		"another run":      {record(2, 3, 8, "foreign"), 1, false},
		"another version":  {newer, 1, false},
		"cut":              {record(1, 3, 8, "second")[:50], 1, false},
	} {
		records, damaged, err := decodeJournal(append(record(1, 3, 7, "first"), c.then...))
		if err != nil || len(records) != c.want || damaged != c.damaged {
			t.Errorf("%s: %d records, damaged %v, %v; expected %d, %v", name, len(records), damaged, err, c.want, c.damaged)
		}
		if r := records[0].ranges; len(r) != 1 || r[0].log != "orders-7" || r[0].base != 40 || r[0].position != 0 || string(r[0].data) != "first" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, _, err := decodeJournal(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("of a newer version: %v", err)
	}
}

// sealJournalRecord makes the beginning of b a record whose size and checksum are right.
func sealJournalRecord(b []byte) []byte {
	b = append(bytes.Clone(b), make([]byte, journalHeadBytes)...)
	binary.BigEndian.PutUint32(b, journalMagic)
	binary.BigEndian.PutUint32(b[4:], journalVersion<<16)
	binary.BigEndian.PutUint32(b[12:], uint32(len(b)))
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

func FuzzDecodeJournal(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add([]byte("\x4f\x4c\x4a\x31\x00\x01"), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed { // else no input gets behind the checksum
			b = sealJournalRecord(b)
		}
		records, _, err := decodeJournal(b)
		if err != nil && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		for _, r := range records {
			for _, one := range r.ranges {
				if one.log == "" || one.log == ".." || bytes.ContainsRune([]byte(one.log), '/') || one.base < 0 || one.position < 0 {
					t.Fatalf("%+v", one)
				}
			}
		}
	})
}

// TestJournalUnderLoad: several logs, appended to and deleted at the same time, with checkpoints all the while.
func TestJournalUnderLoad(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	const logs, rounds = 4, 70
	done := make(chan error, logs)
	for i := range logs {
		go func() { done <- churnLog(t, s, fmt.Sprintf("t-%d", i), rounds) }()
	}
	for range logs {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if counterValue(t, s.metrics.JournalCheckpoints) == 0 {
		t.Error("no checkpoint")
	}
	lost := mem.CrashClone(0, 3)
	closeStore(t, s)
	again := openStore(t, lost)
	for i := range logs {
		l := openLog(t, again, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: journalConfig(), Unclean: true})
		if n := len(readAll(t, l, 1<<20)); n != rounds%20 {
			t.Errorf("log %d has %d batches, expected %d", i, n, rounds%20)
		}
	}
	closeStore(t, again)
}

// churnLog appends and waits, round by round, and deletes the log every twentieth time; the last one is not deleted.
func churnLog(t *testing.T, s *Store, name string, rounds int) error {
	o := OpenOptions{Name: name, Config: journalConfig(), Unclean: true}
	l, err := s.OpenLog(o)
	rng := rand.New(rand.NewPCG(1, uint64(len(name))))
	for i := 0; i <= rounds && err == nil; i++ {
		if i%20 == 0 && i > 0 {
			if err = s.DeleteLog(name, l); err == nil {
				l, err = s.OpenLog(o)
			}
			continue
		}
		var tk Ticket
		if _, tk, err = l.Append(mkBatch(t, 1, testEpochTime+l.End(), rng.IntN(80), l.End()), AppendOptions{Wait: true, Held: i%3 > 0, Now: now()}); err == nil {
			<-tk.Done()
			err = tk.Err()
		}
	}
	return err
}
