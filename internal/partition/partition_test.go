package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/pidstore"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// blocks issues ids from memory: durability of ids is the catalog's business.
type blocks struct {
	mu  sync.Mutex
	end int64
}

func (b *blocks) ReserveProducerIDs(atLeast, count int64, _ uint32) (start, end int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	start = max(b.end, atLeast, 1000)
	b.end = start + count
	return start, b.end, nil
}

func (b *blocks) IssueMarks() []pidstore.IssueMark { return nil }

type stack struct {
	fs    disk.FS
	ids   *pidstore.IDs
	logs  *seglog.Store
	cold  *coldstate.Store
	pids  *pidstore.Store
	m     *metrics.Metrics
	epoch int32
}

func newStack(t *testing.T, fs disk.FS) *stack {
	t.Helper()
	s := &stack{fs: fs, m: metrics.New()}
	var err error
	if s.logs, err = seglog.OpenStore(seglog.Options{FS: fs, Dir: "/d", FreeBytesMin: -1, JournalBytes: 16 << 10, Metrics: s.m.Log}); err != nil {
		t.Fatal(err)
	}
	shares := pidstore.Split(1 << 20)
	if s.cold, err = coldstate.Open(coldstate.Options{FS: fs, Dir: "/d/cold", MemoryBytes: shares.ColdBytes, Metrics: s.m.Cold}); err != nil {
		t.Fatal(err)
	}
	if s.ids, err = pidstore.NewIDs(&blocks{}, s.m.Producers); err != nil {
		t.Fatal(err)
	}
	s.pids, err = pidstore.Open(pidstore.Options{
		Cold: s.cold, MemoryBytes: shares.HotBytes + shares.OverlayBytes, ExpirationMillis: 86_400_000, IDs: s.ids,
		SyncLog: func(uint64) {}, Metrics: s.m.Producers,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stack) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.logs.Close(), s.pids.Close(), s.cold.Close()); err != nil {
		t.Fatal(err)
	}
	s.ids.Close()
}

func (s *stack) partition(o Options) *Partition {
	o.Topic, o.Logs, o.Producers, o.Metrics, o.LeaderEpoch = "t", s.logs, s.pids, s.m.Partitions, s.epoch
	if o.Settings == nil {
		o.Settings = &Settings{Log: seglog.DefaultConfig(), Rules: batch.Rules{
			MaxBytes: 1 << 20, TimestampBeforeMax: -1, TimestampAfterMax: -1, CompressionType: "producer", DecompressedBytesMax: 1 << 20,
		}}
	}
	return New(o)
}

func parsed(t testing.TB, pid int64, sequence int32, records int) batch.Batch {
	t.Helper()
	recs := make([]batch.Record, records)
	for i := range recs {
		recs[i] = batch.Record{Offset: int64(i), Value: []byte("v")}
	}
	raw, err := batch.Build(nil, batch.Header{ProducerID: pid, BaseSequence: sequence, LeaderEpoch: -1}, 0, recs)
	if err != nil {
		t.Fatal(err)
	}
	b, err := batch.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustAppend(t *testing.T, p *Partition, pid int64, sequence int32, records int) Appended {
	t.Helper()
	return mustAppendAs(t, p, AcksAll, pid, sequence, records)
}

// mustAppendAs appends with acks: what nobody holds back an answer for, as with 1, has a file at once.
func mustAppendAs(t *testing.T, p *Partition, acks int16, pid int64, sequence int32, records int) Appended {
	t.Helper()
	a, err := p.Append(t.Context(), parsed(t, pid, sequence, records), acks, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	<-a.Ticket.Done()
	if err := a.Ticket.Err(); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNewTouchesNothing(t *testing.T) {
	mem := disk.NewMem()
	s := newStack(t, mem)
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	if p.Loaded() {
		t.Fatal("loaded before its first use")
	}
	if _, err := mem.Stat("/d/t-0"); err == nil {
		t.Fatal("New made a directory")
	}
}

func TestAppendReadRetryReopen(t *testing.T) {
	mem := disk.NewMem()
	s := newStack(t, mem)
	p := s.partition(Options{Num: 1})
	pid, err := s.ids.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(3) {
		if a := mustAppend(t, p, pid, i*2, 2); a.BaseOffset != int64(i*2) || a.Duplicate {
			t.Fatalf("append %d: %+v", i, a)
		}
	}
	if a := mustAppend(t, p, pid, 2, 2); a.BaseOffset != 2 || !a.Duplicate {
		t.Fatalf("retry: %+v", a)
	}
	s.close(t)

	s = newStack(t, mem)
	defer s.close(t)
	p = s.partition(Options{Num: 1})
	if a := mustAppend(t, p, pid, 0, 2); a.BaseOffset != 0 || !a.Duplicate {
		t.Fatalf("retry after a restart: %+v", a)
	}
	r, err := p.Read(t.Context(), nil, 0, 1<<20, true)
	if err != nil || r.HighWatermark != 6 || r.End != 6 {
		t.Fatalf("read: %+v, %v", r.State, err)
	}
	if _, err := p.Append(t.Context(), parsed(t, pid, 9, 1), AcksAll, time.Unix(1, 0)); !errors.Is(err, producer.ErrOutOfOrderSequence) {
		t.Fatalf("gap: %v", err)
	}
	if _, err := p.Read(t.Context(), nil, 7, 1, true); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
		t.Fatalf("read past the end: %v", err)
	}
}

// TestConcurrentRetriesAppendOnce is case 6: the same batch from many connections.
func TestConcurrentRetriesAppendOnce(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	const senders, batches = 8, 50
	pid, err := s.ids.Next()
	if err != nil {
		t.Fatal(err)
	}
	for n := range int32(batches) {
		var wg sync.WaitGroup
		results := make([]Appended, senders)
		errs := make([]error, senders)
		for i := range senders {
			b := parsed(t, pid, n, 1)
			wg.Go(func() {
				results[i], errs[i] = p.Append(t.Context(), b, AcksAll, time.Unix(1, 0))
				if errs[i] == nil {
					<-results[i].Ticket.Done()
					errs[i] = results[i].Ticket.Err()
				}
			})
		}
		wg.Wait()
		appended := 0
		for i := range senders {
			if errs[i] != nil || results[i].BaseOffset != int64(n) {
				t.Fatalf("batch %d: %+v, %v", n, results[i], errs[i])
			}
			if !results[i].Duplicate {
				appended++
			}
		}
		if appended != 1 {
			t.Fatalf("batch %d was appended %d times", n, appended)
		}
	}
	st, err := p.State(t.Context())
	if err != nil || st.End != batches {
		t.Fatalf("end: %+v, %v", st, err)
	}
}

func TestWaitersAreWokenByCommits(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	w := NewWaiter()
	p.Watch(w)
	p.Watch(w) // counts once
	mustAppend(t, p, -1, -1, 1)
	<-w.C
	p.Unwatch(w)
	if p.watch.waiters != nil {
		t.Fatal("an idle partition keeps a map")
	}
}

func TestDeleteEndsEverything(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	mustAppend(t, p, -1, -1, 1)
	if err := p.Delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(t.Context(), parsed(t, -1, -1, 1), AcksAll, time.Unix(1, 0)); !errors.Is(err, ErrDeleted) {
		t.Fatalf("append: %v", err)
	}
	if _, err := p.State(t.Context()); !errors.Is(err, ErrDeleted) {
		t.Fatalf("state: %v", err)
	}
}

func TestLoadWaitsNoLongerThanItsContext(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	slots := make(chan struct{}, 1)
	slots <- struct{}{} // somebody else is loading
	p := s.partition(Options{Num: 1, LoadSlots: slots})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Load(ctx); !errors.Is(err, ErrLoading) {
		t.Fatalf("load: %v", err)
	}
	<-slots
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFailedLoadIsTriedAgain(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	s := newStack(t, disk.NewFaulty(mem, faults))
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	if err := mem.MkdirAll("/d/t-0"); err != nil {
		t.Fatal(err)
	}
	faults.Add(disk.Fault{Kind: disk.FaultError, Ops: disk.OpOpen, Path: "t-0", Times: disk.Forever})
	if err := p.Load(t.Context()); err == nil {
		t.Fatal("loaded without a disk")
	}
	faults.Clear()
	if a := mustAppend(t, p, -1, -1, 1); a.BaseOffset != 0 {
		t.Fatalf("append: %+v", a)
	}
}

// TestFailedAppendLeavesNoTrace is cases 7 and 8: the first of five in flight fails.
func TestFailedAppendLeavesNoTrace(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("fault %d known %v", kind, known), func(t *testing.T) {
				faults := disk.NewFaults()
				s := newStack(t, disk.NewFaulty(disk.NewMem(), faults))
				defer s.close(t)
				p := s.partition(Options{Num: 1})
				mustAppendAs(t, p, 1, -1, -1, 1)
				pid, err := s.ids.Next()
				if err != nil {
					t.Fatal(err)
				}
				next := int32(0)
				if known {
					mustAppend(t, p, pid, 0, 1)
					next = 1
				}
				faults.Add(disk.Fault{Kind: kind, Ops: disk.OpWrite, Path: ".log"})
				for i := range int32(5) {
					_, err := p.Append(t.Context(), parsed(t, pid, next+i, 1), 1, time.Unix(1, 0)) // with acks=all a small one waits in memory
					switch {
					case i == 0 && !errors.Is(err, seglog.ErrIO) && !errors.Is(err, seglog.ErrDiskFull):
						t.Fatalf("first: %v", err)
					case i > 0 && !errors.Is(err, producer.ErrOutOfOrderSequence):
						t.Fatalf("batch %d behind the failed one: %v", i, err)
					}
				}
				for i := range int32(5) {
					if a := mustAppend(t, p, pid, next+i, 1); a.Duplicate || a.BaseOffset != int64(next+i)+1 {
						t.Fatalf("resent batch %d: %+v", i, a)
					}
				}
			})
		}
	}
}

func TestDeleteRecordsKeepsProducers(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	p := s.partition(Options{Num: 1})
	pid, err := s.ids.Next()
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, p, pid, 0, 3)
	if low, err := p.DeleteRecords(t.Context(), HighWatermarkOffset); err != nil || low != 3 {
		t.Fatalf("delete records: %d, %v", low, err)
	}
	if a := mustAppend(t, p, pid, 0, 3); !a.Duplicate || a.BaseOffset != 0 || a.LogStart != 3 {
		t.Fatalf("retry: %+v", a)
	}
	if _, err := p.DeleteRecords(t.Context(), 4); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
		t.Fatalf("past the high watermark: %v", err)
	}
}
