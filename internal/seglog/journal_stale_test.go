package seglog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// largeJournal has room for records of many blocks.
const largeJournal = 64 << 10

// wantAlone opens what a disk has and checks that t-0 holds the batch of the one producer and nothing else.
func wantAlone(t *testing.T, fsys disk.FS, producer int64) {
	t.Helper()
	s := openStore(t, fsys)
	headers := readAll(t, openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true}), 1<<20)
	if len(headers) != 1 || headers[0].ProducerID != producer {
		t.Errorf("the log has %v", headers)
	}
	closeStore(t, s)
}

// recreate deletes t-0 and makes another of the same name, with one batch of a producer.
func recreate(t *testing.T, s *Store, l *Log, producer int64) {
	t.Helper()
	if err := s.DeleteLog("t-0", l); err != nil {
		t.Fatal(err)
	}
	fresh := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	mustAppend(t, fresh, mkBatch(t, 1, testEpochTime, 500, producer))
}

// TestJournalOfADeletedLog: what is in the journal of a log is never written into another of the same name, also not where the log
// was closed before it was deleted.
func TestJournalOfADeletedLog(t *testing.T) {
	for _, closed := range []bool{false, true} {
		mem := disk.NewMem()
		s := openStore(t, mem)
		l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
		passes(t, l, 3)
		if len(journalOf(t, mem)) == 0 {
			t.Fatal("nothing is in the journal")
		}
		if closed {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = nil
		}
		recreate(t, s, l, 77)
		after := mem.CrashClone(0, 1)
		closeStore(t, s)
		wantAlone(t, after, 77)
	}
}

// TestJournalRecordThatWasNotWritten: a record whose write failed may be whole on the disk all the same.
func TestJournalRecordThatWasNotWritten(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	s := openStore(t, disk.NewFaulty(mem, faults))
	l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
	passes(t, l, 1)
	faults.Add(disk.Fault{Ops: disk.OpWrite, Path: "journal-", Kind: disk.FaultShortWrite})
	passes(t, l, 1)
	if n := len(journalOf(t, mem)); faults.Fired() != 1 || n != 2 {
		t.Fatalf("%d faults, %d records", faults.Fired(), n)
	}
	recreate(t, s, l, 77)
	after := mem.CrashClone(1, 1)
	closeStore(t, s)
	wantAlone(t, after, 77)
}

// TestJournalErasureInterrupted: that no record is seen does not say that the disk has none.
func TestJournalErasureInterrupted(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultCrash, disk.FaultError} {
		mem := disk.NewMem()
		faults := disk.NewFaults()
		s := openStore(t, disk.NewFaulty(mem, faults))
		l := openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true})
		other := openLog(t, s, OpenOptions{Name: "u-0", Config: journalConfig(), Unclean: true})
		passes(t, other, 1)
		passes(t, l, 2) // the file is full
		faults.Add(disk.Fault{Ops: disk.OpSync, Path: "journal-1", Kind: kind})
		if err := s.DeleteLog("u-0", other); err == nil {
			t.Fatal("deleted, without an erasure")
		}
		_ = s.Close() // offline
		killed := mem.KillClone()
		if n := len(journalOf(t, killed)); n != 0 {
			t.Fatalf("%d records are seen", n)
		}
		s = openStore(t, killed)
		recreate(t, s, openLog(t, s, OpenOptions{Config: journalConfig(), Unclean: true}), 77)
		after := killed.CrashClone(0, 1)
		closeStore(t, s)
		wantAlone(t, after, 77)
	}
}

// TestJournalAndPayload: what a client has written may lie where a record could begin, and keeps no broker from starting.
func TestJournalAndPayload(t *testing.T) {
	mem := disk.NewMem()
	s := openStoreWith(t, mem, largeJournal)
	c := journalConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 1<<30, 1<<30
	l := openLog(t, s, OpenOptions{Config: c, Unclean: true})
	passes(t, l, 1)
	newer := make([]byte, 8) // the head of a record of version 2
	binary.BigEndian.PutUint32(newer, journalMagic)
	newer[5] = 2
	for shift := range 8 {
		value := append(make([]byte, shift), bytes.Repeat(newer, 5000)...)
		b, err := batch.Build(nil, batch.Header{ProducerID: 5}, batch.CodecNone, []batch.Record{{Timestamp: testEpochTime + l.End(), Value: value}})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := batch.ParseOne(b)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, parsed)
		for range 12 {
			passes(t, l, 1)
			closeStore(t, openStoreWith(t, mem.CrashClone(0, 1), largeJournal))
		}
	}
	closeStore(t, s)
}

// TestJournalAndLateData: what was written long before its first fsync is synced where it is, also when the log's settings change
// in between.
func TestJournalAndLateData(t *testing.T) {
	lazy, hours := journalConfig(), journalConfig()
	lazy.FlushMessages, lazy.FlushMillis = 1000, 3600_000
	hours.FlushMillis = 3600_000
	for name, c := range map[string]*Config{"flush.messages": lazy, "flush.ms": hours} {
		s := openStore(t, disk.NewMem())
		l := openLog(t, s, OpenOptions{Config: c, Unclean: true})
		for i := range 3 {
			before := counterValue(t, s.metrics.JournalRecords)
			if _, _, err := l.Append(mkBatch(t, 1, testEpochTime, 20, int64(i)), AppendOptions{Now: now()}); err != nil {
				t.Fatal(err)
			}
			if i == 2 && c == lazy {
				l.SetConfig(journalConfig())
			}
			<-l.requestSync().Done()
			if n := counterValue(t, s.metrics.JournalRecords) - before; n != 0 {
				t.Errorf("%s: %v records", name, n)
			}
		}
		closeStore(t, s)
	}
}

// TestJournalAndIndexes: a closed segment whose end only the journal has gets indexes of all of it, whether a repair made some before
// the start or not.
func TestJournalAndIndexes(t *testing.T) {
	mem := disk.NewMem()
	s := openStoreWith(t, mem, largeJournal)
	c := journalConfig()
	c.IndexIntervalBytes = 100
	l := openLog(t, s, OpenOptions{Config: c, Unclean: true})
	passes(t, l, 6)
	if err := l.RollIfDue(time.Now().AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	<-l.requestSync().Done()
	passes(t, l, 2)
	position := l.Position()
	for _, repair := range []string{"none", "indexes", "journal and indexes"} {
		lost := mem.CrashClone(0, 1)
		if len(journalOf(t, lost)) == 0 {
			t.Fatal("nothing is in the journal")
		}
		if repair == "journal and indexes" {
			if n, _, err := WriteJournalBack(lost, "data", slog.New(slog.DiscardHandler)); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		if repair != "none" {
			if _, err := RepairLog(lost, "data/t-0"); err != nil {
				t.Fatal(err)
			}
		}
		again := openStoreWith(t, lost, largeJournal)
		got := openLog(t, again, OpenOptions{Config: c, Unclean: true, Checkpoint: position, HasCheckpoint: true})
		for offset := range int64(8) {
			if at, ok, err := got.OffsetForTimestamp(testEpochTime + offset); !ok || err != nil || at.Offset != offset {
				t.Errorf("repaired %s: time of %d: %v %v %v", repair, offset, at, ok, err)
			}
		}
		closeStore(t, again)
		if problems, err := CheckLog(lost, "data/t-0"); err != nil || len(problems) > 0 {
			t.Errorf("repaired %s: %v %v", repair, problems, err)
		}
	}
	closeStore(t, s)
}

// TestJournalOfManyFiles: what makes a pass too large for a record is not its bytes alone, but how few files they are of.
func TestJournalOfManyFiles(t *testing.T) {
	const fileBytes = 100_000
	mem := disk.NewMem()
	const journalBytes = 2 << 20
	if err := mem.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // of an earlier run, so that they need not grow first
		if err := disk.WriteFileAtomic(mem, journalPath("data", i), make([]byte, journalBytes)); err != nil {
			t.Fatal(err)
		}
	}
	s := openStoreWith(t, mem, journalBytes)
	c := journalConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 1<<30, 1<<30
	logs := make([]*Log, 8)
	for i := range logs {
		logs[i] = openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: c, Unclean: true})
		passes(t, logs[i], 1) // makes the file
	}
	s.janitor.keepNames()
	for _, test := range []struct {
		logs, bytes int
		records     float64
	}{
		{1, 2 * fileBytes, 1},
		{1, 3 * fileBytes, 0},
		{2, fileBytes, 1},
		{2, 2 * fileBytes, 0},
		{len(logs), fileBytes, 1},
		{len(logs), 2 * fileBytes, 0},
	} {
		before := counterValue(t, s.metrics.JournalRecords)
		var last Ticket
		for i, l := range logs[:test.logs] {
			var err error
			b := mkBatch(t, 1, testEpochTime+l.End(), test.bytes, l.End())
			if _, last, err = l.Append(b, AppendOptions{Wait: i == test.logs-1, Now: now()}); err != nil {
				t.Fatal(err)
			}
		}
		<-last.Done()
		if err := last.Err(); err != nil {
			t.Fatal(err)
		}
		if n := counterValue(t, s.metrics.JournalRecords) - before; n != test.records {
			t.Errorf("%d bytes of each of %d files: %v records, expected %v", test.bytes, test.logs, n, test.records)
		}
	}
	lost := mem.CrashClone(0, 1)
	ends := make([]int64, len(logs))
	for i, l := range logs {
		ends[i] = l.End()
	}
	closeStore(t, s)
	again := openStoreWith(t, lost, journalBytes)
	for i := range logs {
		if l := openLog(t, again, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: c, Unclean: true}); l.End() != ends[i] {
			t.Errorf("log %d ends at %d after a power loss, expected %d", i, l.End(), ends[i])
		}
	}
	closeStore(t, again)
}
