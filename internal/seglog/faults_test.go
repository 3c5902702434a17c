package seglog

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/disk"
)

// faulty returns a store and a log on a disk that fails by the rules added later.
func faulty(t *testing.T) (*disk.Mem, *disk.Faults, *Store, *Log) {
	t.Helper()
	return faultyWith(t, testJournalBytes)
}

func faultyWith(t *testing.T, journalBytes int64) (*disk.Mem, *disk.Faults, *Store, *Log) {
	t.Helper()
	mem, faults := disk.NewMem(), disk.NewFaults()
	s := openStoreWith(t, disk.NewFaulty(mem, faults), journalBytes)
	return mem, faults, s, openLog(t, s, OpenOptions{})
}

func TestFailedAppendLeavesNoTrace(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		for _, cutFails := range []bool{false, true} {
			t.Run(fmt.Sprintf("kind=%d/cutFails=%v", kind, cutFails), func(t *testing.T) {
				mem, faults, s, l := faulty(t)
				fill(t, l, 2)
				faults.Add(disk.Fault{Kind: kind, Ops: disk.OpWrite, Path: logSuffix})
				if cutFails {
					faults.Add(disk.Fault{Kind: disk.FaultError, Ops: disk.OpTruncate, Path: logSuffix})
				}
				_, _, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 9), AppendOptions{Wait: true, Now: now()})
				want := ErrDiskFull
				if kind == disk.FaultError {
					want = ErrIO
				}
				wantErr(t, err, want)
				if l.End() != 6 || l.Committed() != 6 {
					t.Fatalf("end %d, committed %d", l.End(), l.Committed())
				}
				fill(t, l, 5)
				if n := len(readAll(t, l, 1000)); n != 7 {
					t.Fatalf("%d batches", n)
				}
				closeStore(t, s)
				if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
					t.Fatal(problems, err)
				}
			})
		}
	}
}

func TestCutFailsForLong(t *testing.T) {
	mem, faults, s, l := faulty(t)
	fill(t, l, 1)
	faults.Add(disk.Fault{Kind: disk.FaultShortWrite, Ops: disk.OpWrite, Path: logSuffix})
	faults.Add(disk.Fault{Kind: disk.FaultError, Times: 3, Ops: disk.OpTruncate})
	b := mkBatch(t, 3, testEpochTime, 20, 9)
	for i := range 3 {
		_, _, err := l.Append(b, AppendOptions{Now: now()})
		if err == nil {
			t.Fatalf("append %d succeeded behind a torn one", i)
		}
	}
	mustAppend(t, l, b)
	closeStore(t, s)
	if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func TestFailedFsyncTakesStoreOffline(t *testing.T) {
	for _, op := range []disk.OpKind{disk.OpSync, disk.OpSyncDir} {
		_, faults, s, l := faultyWith(t, -1)
		faults.Add(disk.Fault{Kind: disk.FaultError, Ops: op, Path: "t-0"})
		_, tk, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 9), AppendOptions{Wait: true, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		<-tk.Done()
		wantErr(t, tk.Err(), ErrOffline)
		wantErr(t, tk.Err(), syscall.EIO)
		if l.Committed() != 0 {
			t.Fatalf("committed %d", l.Committed())
		}
		_, _, err = l.Append(mkBatch(t, 3, testEpochTime, 20, 9), AppendOptions{Now: now()})
		wantErr(t, err, ErrOffline)
		_, err = l.DeleteRecords(0)
		if err != nil {
			t.Fatal(err)
		}
		pending := l.PendingTicket()
		<-pending.Done()
		wantErr(t, pending.Err(), ErrOffline)
		_, err = s.OpenLog(OpenOptions{Name: "t-1", Config: testConfig()})
		wantErr(t, err, ErrOffline)
		wantErr(t, s.DeleteLog("t-0", l), ErrOffline)
		wantErr(t, s.Close(), ErrOffline)
	}
}

func TestDiskFullFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem()
		mem.SetCapacity(10_000)
		s, err := OpenStore(Options{FS: mem, Dir: "data", FreeBytesMin: 5000})
		if err != nil {
			t.Fatal(err)
		}
		l := openLog(t, s, OpenOptions{})
		refused := 0
		for range 100 {
			_, _, err := l.Append(mkBatch(t, 1, testEpochTime, 200, 1), AppendOptions{Wait: true, Now: now()})
			if err != nil {
				wantErr(t, err, ErrDiskFull)
				refused++
			}
			advance(time.Second) // in the bubble
		}
		if refused == 0 || l.SizeBytes() > 5500 {
			t.Fatalf("refused %d, %d bytes", refused, l.SizeBytes())
		}
		// Reading, deleting and retention go on, and appends with the space that they give back.
		readAll(t, l, 1000)
		if _, err := l.DeleteRecords(l.Committed()); err != nil {
			t.Fatal(err)
		}
		advance(2 * time.Second)
		mustAppend(t, l, mkBatch(t, 1, testEpochTime, 200, 1))
		closeStore(t, s)
	})
}

func TestWriteWithoutSpace(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{})
	fill(t, l, 3)
	mem.SetCapacity(mem.UsedBytes() + 50)
	_, _, err := l.Append(mkBatch(t, 1, testEpochTime, 200, 1), AppendOptions{Wait: true, Now: now()})
	wantErr(t, err, ErrDiskFull)
	mem.SetCapacity(1 << 30)
	fill(t, l, 3)
	if n := len(readAll(t, l, 1000)); n != 6 {
		t.Fatalf("%d batches", n)
	}
	closeStore(t, s)
}

// Index files are derived: their failures fail nothing.
func TestIndexWritesFail(t *testing.T) {
	mem, faults, s, l := faulty(t)
	faults.Add(disk.Fault{Kind: disk.FaultError, Times: disk.Forever, Ops: disk.OpWrite | disk.OpCreate, Path: "index"})
	fill(t, l, 30)
	faults.Clear()
	for o := range int64(90) {
		if got, ok, err := l.OffsetForTimestamp(testEpochTime + o); err != nil || !ok || got.Offset != o {
			t.Fatal(o, got, ok, err)
		}
		l.mu.cursors = [readCursors]cursor{}
		if _, err := l.Read(nil, o, 1, true); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func TestLazyCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			flushMillis int64
			within      time.Duration
		}{{0, 100 * time.Millisecond}, {1<<63 - 1, 100 * time.Millisecond}, {20, 20 * time.Millisecond}, {5000, 5 * time.Second}} {
			s := openStore(t, disk.NewMem())
			cfg := testConfig()
			cfg.FlushMillis = c.flushMillis
			l := openLog(t, s, OpenOptions{Config: cfg})
			_, tk, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 1), AppendOptions{Now: now()})
			if err != nil {
				t.Fatal(err)
			}
			advance(c.within - time.Millisecond)
			synctest.Wait()
			if l.Committed() != 0 {
				t.Fatalf("flush.ms %d: committed early", c.flushMillis)
			}
			advance(time.Millisecond)
			synctest.Wait()
			if l.Committed() != 3 || l.Durable() != 3 || tk.Err() != nil {
				t.Fatalf("flush.ms %d: committed %d", c.flushMillis, l.Committed())
			}
			// Somebody who waits for an append that nobody waited for does not wait for flush.ms.
			if _, _, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 1), AppendOptions{Now: now()}); err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			<-l.PendingTicket().Done()
			if d := time.Since(before); d != 0 || l.Committed() != 6 {
				t.Fatalf("waited %v, committed %d", d, l.Committed())
			}
			closeStore(t, s)
		}
	})
}

func TestPageCacheMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, disk.NewMem())
		cfg := testConfig()
		cfg.SegmentBytes, cfg.FlushMessages, cfg.FlushMillis = 1<<20, 10, 3000
		heard := &recorder{}
		l := openLog(t, s, OpenOptions{Config: cfg, Listener: heard})
		push := func() {
			t.Helper()
			_, tk, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 1), AppendOptions{Wait: true, Now: now()})
			if err != nil || tk != (Ticket{}) {
				t.Fatal(err, tk)
			}
			synctest.Wait()
		}
		expect := func(committed, durable int64) {
			t.Helper()
			synctest.Wait()
			c, d := heard.heard()
			if l.Committed() != committed || l.Durable() != durable || c != committed || d != durable {
				t.Fatalf("committed %d (heard %d), durable %d (heard %d)", l.Committed(), c, l.Durable(), d)
			}
		}
		push()
		push()
		push()
		expect(9, 0)
		push() // 12 messages are more than flush.messages
		expect(12, 12)
		push()
		expect(15, 12)
		advance(2999 * time.Millisecond)
		expect(15, 12)
		advance(2 * time.Millisecond)
		expect(15, 15)
		push()
		l.RequestSync()
		expect(18, 18)
		push()
		l.SetConfig(testConfig())
		expect(21, 21)
		closeStore(t, s)
	})
}

type recorder struct {
	mu        sync.Mutex
	committed int64
	durable   Position
}

func (r *recorder) Committed(c int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.committed = c
}

func (r *recorder) Durable(p Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.durable = p
}

func (r *recorder) heard() (committed, durable int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.committed, r.durable.Offset
}

func TestOpenFilesAreBounded(t *testing.T) {
	mem := disk.NewMem()
	s, err := OpenStore(Options{FS: mem, Dir: "data", FreeBytesMin: -1, OpenFilesMax: 3, JournalBytes: testJournalBytes})
	if err != nil {
		t.Fatal(err)
	}
	var logs []*Log
	for i := range 20 {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
		fill(t, l, 8)
		logs = append(logs, l)
	}
	for _, l := range logs {
		if n := len(readAll(t, l, 100)); n != 8 {
			t.Fatalf("%d batches", n)
		}
		s.files.mu.Lock()
		open := len(s.files.mu.ring)
		s.files.mu.Unlock()
		if open > 3 {
			t.Fatalf("%d files open", open)
		}
		fill(t, l, 1)
	}
	closeStore(t, s)
}

func TestIdleLogsCloseTheirFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, disk.NewMem())
		l := openLog(t, s, OpenOptions{})
		fill(t, l, 10)
		readAll(t, l, 100)
		advance(3 * idleTicks * janitorTick)
		synctest.Wait()
		s.files.mu.Lock()
		open := len(s.files.mu.ring)
		s.files.mu.Unlock()
		if open != 0 || l.mu.tail != nil || l.hot.Load() {
			t.Fatalf("%d files open, tail %v", open, l.mu.tail)
		}
		fill(t, l, 10)
		if n := len(readAll(t, l, 100)); n != 20 {
			t.Fatalf("%d batches", n)
		}
		closeStore(t, s)
	})
}

func TestIdleMemory(t *testing.T) {
	const logs, bytesMax = 2000, 1536
	mem := disk.NewMem()
	{
		s := openStore(t, mem)
		for i := range logs {
			fill(t, openLog(t, s, OpenOptions{Name: fmt.Sprintf("topic-%d", i), TopicID: [16]byte{1}}), 1)
		}
		closeStore(t, s)
	}
	s := openStore(t, mem)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc - uint64(mem.UsedBytes())
	}
	before := heap()
	cfg := testConfig()
	all := make([]*Log, 0, logs)
	for i := range logs {
		all = append(all, openLog(t, s, OpenOptions{Name: fmt.Sprintf("topic-%d", i), TopicID: [16]byte{1}, Config: cfg,
			HasCheckpoint: true, Checkpoint: Position{3, 0, 145}}))
	}
	opened := int64(heap()-before) / logs
	for _, l := range all {
		readAll(t, l, 1000)
		l.ReleaseFiles()
	}
	used := int64(heap()-before) / logs
	t.Logf("%d bytes a log when opened, %d after use", opened, used)
	if opened > bytesMax || used > bytesMax {
		t.Fatalf("%d bytes a log when opened, %d after use, at most %d", opened, used, bytesMax)
	}
	runtime.KeepAlive(all)
	closeStore(t, s)
}

func TestDeleteAndRecreate(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{TopicID: [16]byte{1}})
	fill(t, l, 10)
	if err := s.DeleteLog("t-0", l); err != nil {
		t.Fatal(err)
	}
	_, _, err := l.Append(mkBatch(t, 1, testEpochTime, 20, 1), AppendOptions{Now: now()})
	wantErr(t, err, ErrClosed)
	fresh := openLog(t, s, OpenOptions{TopicID: [16]byte{2}})
	fill(t, fresh, 1)
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.OpenLog(OpenOptions{Name: "t-0", TopicID: [16]byte{3}, Config: testConfig()})
	wantErr(t, err, ErrTopicID)
	fresh = openLog(t, s, OpenOptions{TopicID: [16]byte{2}})
	fill(t, fresh, 2)
	if _, err := l.Read(nil, 0, 1000, true); !errors.Is(err, ErrClosed) {
		t.Fatalf("read of the deleted log: %v", err)
	}
	if n := len(readAll(t, fresh, 1000)); n != 3 {
		t.Fatalf("%d batches", n)
	}
	if err := s.DeleteLog("missing-0", nil); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = openStore(t, mem.CrashClone(0, 1))
	fresh = openLog(t, s, OpenOptions{TopicID: [16]byte{2}, Unclean: true})
	if fresh.End() != 9 {
		t.Fatalf("end %d", fresh.End())
	}
	closeStore(t, s)
}

// Group commit: everything that arrives during a pass shares the next one.
func TestPassesAreShared(t *testing.T) {
	mem := disk.NewMem()
	slow := &slowFS{FS: mem, entered: make(chan struct{}), proceed: make(chan struct{})}
	s := openStoreWith(t, slow, -1) // each pass syncs files
	logs := make([]*Log, 10)
	for i := range logs {
		logs[i] = openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
	}
	slow.on.Store(true)
	var tickets []Ticket
	push := func(l *Log) {
		_, tk, err := l.Append(mkBatch(t, 1, testEpochTime, 20, 1), AppendOptions{Wait: true, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, tk)
	}
	push(logs[0])
	<-slow.entered // the first pass is in its fsync
	for range 5 {
		for _, l := range logs {
			push(l)
		}
	}
	for i, tk := range tickets[1:] {
		if tk.r == tickets[0].r || tk.r != tickets[1].r {
			t.Fatalf("append %d is not in the second round", i)
		}
	}
	slow.on.Store(false)
	close(slow.proceed)
	for _, tk := range tickets {
		<-tk.Done()
		if err := tk.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := counterValue(t, s.metrics.Passes); n > 3 {
		t.Fatalf("%v passes", n)
	}
	closeStore(t, s)
}
