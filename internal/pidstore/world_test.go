package pidstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/producer"
)

// blocks is a durable block store: what it has answered survives every crash.
type blocks struct {
	mu    sync.Mutex
	next  int64
	marks []IssueMark
	fail  error
	calls int
	gate  chan struct{} // if set, a reservation waits for it
}

func (b *blocks) ReserveProducerIDs(atLeast, count int64, age uint32) (int64, int64, error) {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		<-gate
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail != nil {
		return 0, 0, b.fail
	}
	start := max(b.next, atLeast)
	b.next = start + count
	b.marks = AddMark(b.marks, IssueMark{start, age})
	return start, b.next, nil
}

func (b *blocks) IssueMarks() []IssueMark {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]IssueMark(nil), b.marks...)
}

// record is one batch in the log of a world.
type record struct {
	pid    int64
	in     producer.Incoming
	stored producer.Stored
}

// logFile is the log of one partition: what a crash leaves of it is decided by the test.
type logFile struct {
	num     uint64
	created int64
	records []record
	start   int64 // log start
	durable int64
	end     int64
	p       *Partition
}

// world is a producer store with everything below it, and the logs beside it.
type world struct {
	t      testing.TB
	mem    *disk.Mem
	blocks *blocks
	cold   *coldstate.Store
	ids    *IDs
	s      *Store
	logs   []*logFile

	memoryBytes      int64
	coldBytes        int64
	expirationMillis int64
	sabotage         sabotage
	syncLog          atomic.Pointer[func(num uint64)]
}

const tinyBytes = 4096 // 8 appends in flight, two sets of hot entries

func newWorld(t testing.TB, memoryBytes int64, partitions int) *world {
	w := &world{
		t: t, mem: disk.NewMem(), blocks: &blocks{next: 1 << 33},
		memoryBytes: memoryBytes, coldBytes: 1 << 20, expirationMillis: 100_000,
	}
	w.open()
	for i := range partitions {
		w.addLog(uint64(i + 1))
	}
	t.Cleanup(func() {
		if w.s != nil {
			_ = w.s.Close()
			_ = w.cold.Close()
		}
	})
	return w
}

func (w *world) addLog(num uint64) *logFile {
	l := &logFile{num: num, created: w.ids.Issued()}
	w.logs = append(w.logs, l)
	w.load(l)
	return l
}

func (w *world) open() {
	w.t.Helper()
	m := metrics.New()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var err error
	w.cold, err = coldstate.Open(coldstate.Options{
		FS: w.mem, Dir: "/cold", MemoryBytes: w.coldBytes, Metrics: m.Cold, Logger: quiet,
		OnFatal: func(err error) { w.t.Errorf("cold store: %v", err) },
	})
	w.must(err)
	w.ids, err = NewIDs(w.blocks, m.Producers)
	w.must(err)
	w.s, err = Open(Options{
		Cold: w.cold, MemoryBytes: w.memoryBytes, ExpirationMillis: w.expirationMillis, IDs: w.ids,
		SyncLog: w.sync, Metrics: m.Producers, Logger: quiet,
	})
	w.must(err)
}

func (w *world) sync(num uint64) {
	if f := w.syncLog.Load(); f != nil {
		(*f)(num)
	}
}

// onSync has f called when a log is asked for an fsync.
func (w *world) onSync(f func(num uint64)) { w.syncLog.Store(&f) }

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

// load replays a log as seglog does: from the checkpoint to the end.
func (w *world) load(l *logFile) {
	w.t.Helper()
	l.p = w.s.AddPartition(l.num, l.created)
	w.must(w.reload(l))
}

func (w *world) reload(l *logFile) error {
	c, found, err := l.p.Load()
	if err != nil {
		return err
	}
	from := l.start
	if found {
		from = max(from, c.Offset)
	}
	for _, r := range l.records {
		if r.stored.BaseOffset >= from {
			if err := l.p.Replay(r.pid, r.in, r.stored); err != nil {
				return err
			}
		}
	}
	l.durable = l.end
	if err := l.p.ReplayDone(l.position()); err != nil {
		return err
	}
	l.p.LogStartMoved(l.start)
	if w.sabotage.noColdMax {
		l.p.coldMax.Store(-1)
	}
	return nil
}

func (l *logFile) position() coldstate.Checkpoint {
	return coldstate.Checkpoint{Offset: l.durable, Position: l.durable * 100}
}

// send is what a partition does with a batch. The base offset is of the stored batch.
func (w *world) send(l *logFile, pid int64, epoch int16, base, count int32) (string, error) {
	for {
		answer, err := w.sendOnce(l, pid, epoch, base, count)
		if !errors.Is(err, ErrRetryLookup) {
			return answer, err
		}
	}
}

func (w *world) sendOnce(l *logFile, pid int64, epoch int16, base, count int32) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // a full overlay must not hang a test
	defer cancel()
	pin, err := l.p.Lookup(ctx, pid)
	if err != nil {
		return "", err
	}
	defer l.p.Release(&pin)
	in := producer.Incoming{Epoch: epoch, BaseSequence: base, LastSequence: int32((int64(base) + int64(count) - 1) & (1<<31 - 1))}
	verdict, original, err := l.p.Check(&pin, in)
	switch {
	case errors.Is(err, producer.ErrOutOfOrderSequence):
		return "45", nil
	case errors.Is(err, producer.ErrDuplicateSequence):
		return "46", nil
	case errors.Is(err, producer.ErrInvalidProducerEpoch):
		return "47", nil
	case err != nil:
		return "", err
	case verdict == producer.Duplicate:
		return fmt.Sprintf("duplicate of %d", original.BaseOffset), nil
	}
	stored := producer.Stored{
		BaseSequence: in.BaseSequence, LastSequence: in.LastSequence,
		BaseOffset: l.end, LastOffset: l.end + int64(count) - 1, Timestamp: l.end,
	}
	l.records = append(l.records, record{pid, in, stored})
	l.end += int64(count)
	l.p.Applied(&pin, in, stored)
	return fmt.Sprintf("appended at %d", stored.BaseOffset), nil
}

// want sends a batch and checks the answer.
func (w *world) want(l *logFile, pid int64, epoch int16, base, count int32, answer string) {
	w.t.Helper()
	got, err := w.send(l, pid, epoch, base, count)
	w.must(err)
	if got != answer {
		w.t.Fatalf("partition %d producer %d epoch %d sequence %d count %d: got %q, want %q", l.num, pid, epoch, base, count, got, answer)
	}
}

// commit makes a log durable up to an offset that is a batch boundary.
func (w *world) commit(l *logFile) {
	l.durable = l.end
	l.p.Durable(l.position())
}

// settle waits until the applier has applied everything that is durable.
func (w *world) settle() {
	w.t.Helper()
	w.must(w.s.applier.do(func(*coldstate.Batch) error { return nil }))
}

func (w *world) newPID() int64 {
	pid, err := w.ids.Next()
	w.must(err)
	return pid
}

type crash int

const (
	clean crash = iota
	kill        // everything written is there, memory is not
	power       // only what is durable is there
	storeLost
	powerInRecovery // killed, and the power goes while the recovery has written some of its fold
)

// restart ends the store in one of four ways and recovers.
func (w *world) restart(how crash, seed int64) {
	w.t.Helper()
	survivor := w.mem
	switch how {
	case clean:
		for _, l := range w.logs {
			w.commit(l)
		}
	case kill, powerInRecovery:
		survivor = w.mem.KillClone()
	case power, storeLost:
		survivor = w.mem.CrashClone(0, seed)
		for _, l := range w.logs {
			l.cut(l.durable)
			if n := len(l.records); w.sabotage.durableEarly && n > 2 {
				l.cut(l.records[n-2].stored.BaseOffset)
			}
		}
	}
	err := w.s.Close()
	if how == clean {
		w.must(err)
	}
	_ = w.cold.Close()
	w.mem = survivor
	if how == storeLost {
		w.must(w.mem.RemoveAll("/cold"))
	}
	w.open()
	if how == powerInRecovery {
		w.recoverInVain(seed)
	}
	for _, l := range w.logs {
		w.load(l)
	}
}

// recoverInVain replays logs, makes the entries durable, and loses the logs' tails.
func (w *world) recoverInVain(seed int64) {
	w.t.Helper()
	for _, l := range w.logs {
		l.p = w.s.AddPartition(l.num, l.created)
		_, _, err := l.p.Load()
		w.must(err)
		for _, r := range l.records {
			if r.stored.BaseOffset >= l.p.mu.replay.checkpoint.Offset {
				w.must(l.p.Replay(r.pid, r.in, r.stored))
				if seed = (seed*1103515245 + 12345) & (1<<31 - 1); seed>>16%3 == 0 {
					w.must(l.p.spill(l.p.mu.replay, nil))
				}
			}
		}
		l.cut(l.durable)
	}
	w.must(w.cold.Flush())
	w.must(w.s.Close())
	w.must(w.cold.Close())
	w.mem = w.mem.CrashClone(0, seed)
	w.open()
}

// cut loses the log's tail.
func (l *logFile) cut(end int64) {
	for len(l.records) > 0 && l.records[len(l.records)-1].stored.LastOffset >= end {
		l.records = l.records[:len(l.records)-1]
	}
	l.end, l.durable = end, min(l.durable, end)
}

// trim moves the log start as seglog does: first the checkpoint, then the log.
func (w *world) trim(l *logFile, start int64) {
	w.t.Helper()
	if !w.sabotage.trimFirst {
		w.must(l.p.BeforeTrim(start))
	}
	l.start = start
	keep := l.records[:0:0]
	for _, r := range l.records {
		if r.stored.LastOffset >= start {
			keep = append(keep, r)
		}
	}
	l.records = keep
	l.p.LogStartMoved(start)
}
