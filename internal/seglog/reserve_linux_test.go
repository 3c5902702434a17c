package seglog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ottla/internal/disk"
)

// allocated is how many bytes of the disk a file takes, and how long it is.
func allocated(t *testing.T, name string) (bytes, size int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512, info.Size()
}

// largeBatches appends n batches of 256 KiB.
func largeBatches(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		mustAppend(t, l, mkBatch(t, 1, testEpochTime, 256<<10, l.End()))
	}
}

// TestReservedRoomIsGivenBack: when a segment gets no more appends, when its file is closed, and after a kill.
func TestReservedRoomIsGivenBack(t *testing.T) {
	const slack = 64 << 10 // what a file system needs for itself, and the rest of a block
	dir := t.TempDir()
	if !reserves(t, filepath.Join(dir, "probe")) {
		t.Skip("the file system of temporary files reserves nothing")
	}
	name := func(base int64) string { return filepath.Join(dir, "t-0", segmentName(base, logSuffix)) }
	faults := disk.NewFaults()
	open := func(o OpenOptions) (*Store, *Log) {
		s, err := OpenStore(Options{FS: disk.NewFaulty(disk.OS(), faults), Dir: dir, FreeBytesMin: -1, JournalBytes: testJournalBytes})
		if err != nil {
			t.Fatal(err)
		}
		c := testConfig()
		c.SegmentBytes = 4 << 20
		o.Config = c
		return s, openLog(t, s, o)
	}
	given := func(base int64) {
		t.Helper()
		if bytes, size := allocated(t, name(base)); size == 0 || bytes > size+slack {
			t.Errorf("segment %d has %d bytes and takes %d", base, size, bytes)
		}
	}
	reserved := func(base int64) {
		t.Helper()
		if bytes, size := allocated(t, name(base)); bytes <= size+slack || bytes > 2*size+slack {
			t.Errorf("segment %d has %d bytes and takes %d: more than it needs, and at most twice that", base, size, bytes)
		}
	}

	s, l := open(OpenOptions{})
	largeBatches(t, l, 5)
	reserved(0)
	largeBatches(t, l, 15) // 15 of them fit a segment
	given(0)
	second := l.mu.segments[1].base
	reserved(second)
	closeStore(t, s)
	given(second)

	// Killed, and found by a start that has everything to check, and by one that has nothing to.
	for i, known := range []bool{false, true} {
		s, l = open(OpenOptions{})
		largeBatches(t, l, 1)
		reserved(second)
		o := OpenOptions{Unclean: true, HasCheckpoint: known, Checkpoint: l.Position()}
		faults.Crash()
		_ = s.Close() // nothing reaches the disk any more
		reserved(second)
		faults = disk.NewFaults()
		s, l = open(o)
		if n := len(readAll(t, l, 1<<20)); n != 21+i {
			t.Errorf("%d batches of %d", n, 21+i)
		}
		closeStore(t, s)
		given(second)
	}
}

func reserves(t *testing.T, name string) bool {
	t.Helper()
	f, err := disk.OS().Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, ok := f.(disk.Reserver)
	if !ok {
		return false
	}
	err = r.Reserve(0, 1<<20)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	return err == nil
}

// TestNoRoomToReserve: an append needs none, and a file system that has none is not asked again.
func TestNoRoomToReserve(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultNoSpace, disk.FaultError} {
		faults := disk.NewFaults()
		s := openStore(t, disk.NewFaulty(disk.NewMem(), faults))
		c := testConfig()
		c.SegmentBytes = 8 << 20
		l := openLog(t, s, OpenOptions{Config: c})
		faults.Add(disk.Fault{Kind: kind, Times: disk.Forever, Ops: disk.OpReserve})
		largeBatches(t, l, 8)
		if n := faults.Fired(); n != 1 {
			t.Errorf("fault %d: asked %d times", kind, n)
		}
		if n := len(readAll(t, l, 1<<20)); n != 8 {
			t.Errorf("fault %d: %d batches of 8", kind, n)
		}
		closeStore(t, s)
	}
}

// TestRoomOfManySegments: no more than reservingMax have some, those that are appended to, and none when space is scarce.
func TestRoomOfManySegments(t *testing.T) {
	s := openStore(t, disk.NewMem())
	c := testConfig()
	c.SegmentBytes = 8 << 20
	var logs []*Log
	with := func() (n int) {
		for _, l := range logs {
			if l.mu.segments[0].open.reserved.end > l.mu.segments[0].size {
				n++
			}
		}
		return n
	}
	for i := range reservingMax + 8 {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: c})
		logs = append(logs, l)
		largeBatches(t, l, 2)
		if l.mu.segments[0].open.reserved.end <= l.mu.segments[0].size {
			t.Errorf("log %d has no room", i)
		}
	}
	if n := with(); n != reservingMax {
		t.Errorf("%d segments have room, want %d", n, reservingMax)
	}
	s.reserving.giveBackAll()
	if n := with(); n != 0 {
		t.Errorf("%d segments have room, want none", n)
	}
	for _, l := range logs {
		if n := len(readAll(t, l, 1<<20)); n != 2 {
			t.Errorf("%s has %d batches of 2", l.name, n)
		}
	}
	closeStore(t, s)
}
