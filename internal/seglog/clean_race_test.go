package seglog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// TestReadersWhileCleaning has readers by offset and by time, an appender, a trimmer and a cleaner at work on one log with
// two open files. A reader never sees an offset twice, a record that is not whole, or a hole where no cleaning has begun; at
// the end each key has its last record.
func TestReadersWhileCleaning(t *testing.T) {
	for _, indexInterval := range []int64{0, 100, 1 << 20} {
		t.Run(fmt.Sprint(indexInterval), func(t *testing.T) { readersWhileCleaning(t, indexInterval) })
	}
}

func readersWhileCleaning(t *testing.T, indexInterval int64) {
	mem := disk.NewMem()
	s, err := OpenStore(Options{FS: mem, Dir: "data", FreeBytesMin: -1, OpenFilesMax: 2, JournalBytes: testJournalBytes})
	if err != nil {
		t.Fatal(err)
	}
	cfg := cleanConfig()
	cfg.IndexIntervalBytes = indexInterval
	l := openLog(t, s, OpenOptions{Config: cfg})
	var workers, readers sync.WaitGroup
	var stop atomic.Bool
	var last sync.Map // key -> value
	workers.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range 1500 {
			recs := make([]keyedRecord, 1+rng.IntN(4))
			base := l.End()
			for j := range recs {
				recs[j] = keyedRecord{timestamp: testEpochTime + base + int64(j), key: fmt.Sprint("k", rng.IntN(40)), value: fmt.Sprint(i, "-", j)}
				last.Store(recs[j].key, recs[j].value)
			}
			mustAppend(t, l, keyedBatch(t, batch.CodecNone, plainHeader(), recs))
		}
	})
	workers.Go(func() {
		m := NewOffsetMap(0)
		for range 150 {
			_, err := l.Clean(context.Background(), CleanOptions{Now: now(), Map: m, UpTo: math.MaxInt64, TombstonesBelow: math.MaxInt64})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	workers.Go(func() {
		for range 40 {
			l.ReleaseFiles()
			<-l.requestSync().Done()
		}
	})
	for r := range 3 {
		readers.Go(func() { keyedTailer(t, l, &stop, uint64(r)) })
	}
	readers.Go(func() { timeReader(t, l, &stop) })
	workers.Wait()
	stop.Store(true)
	readers.Wait()
	got := map[string]string{}
	recs, _ := readKeyed(t, l)
	for _, r := range recs {
		got[r.key] = r.value
	}
	last.Range(func(key, want any) bool {
		if got[key.(string)] != want {
			t.Errorf("%s: %q, want %q", key, got[key.(string)], want)
		}
		return true
	})
	if n := s.files.mu.ring; len(n) > 10 {
		t.Errorf("%d files are open", len(n))
	}
	closeStore(t, s)
	if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

// holesBelow is written before the first hole is made.
func holesBelow(l *Log) int64 {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.holes
}

// keyedTailer reads forward and jumps back now and then.
func keyedTailer(t *testing.T, l *Log, stop *atomic.Bool, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	offset := int64(0)
	var buf []byte
	for !stop.Load() {
		data, err := l.Read(buf[:0], offset, 700, true)
		if err != nil {
			t.Errorf("read %d: %v", offset, err)
			return
		}
		buf = data
		for len(data) > 0 {
			b, err := batch.Parse(data)
			if err != nil {
				t.Errorf("read %d: %v", offset, err)
				return
			}
			h := b.Header()
			if h.LastOffset() < offset || h.BaseOffset > offset && h.BaseOffset > holesBelow(l) {
				t.Errorf("read %d: batch [%d, %d], holes below %d", offset, h.BaseOffset, h.LastOffset(), holesBelow(l))
				return
			}
			offset, data = h.LastOffset()+1, data[b.Size():]
		}
		if rng.IntN(10) == 0 {
			offset = rng.Int64N(l.Committed() + 1)
		}
	}
}

// TestReaderKeepsOldSegment: who reads when a segment is replaced goes on with what he has, its index included, and his
// files are closed when he is done.
func TestReaderKeepsOldSegment(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	l := openLog(t, s, OpenOptions{Config: cleanConfig()})
	m := &keyedModel{t: t, rng: rand.New(rand.NewPCG(3, 3)), l: l, now: testEpochTime}
	m.append(200)
	var before []view
	var want []batch.Header
	for from := int64(0); ; {
		v, ok := l.viewFrom(from)
		if !ok {
			break
		}
		from = v.end
		before = append(before, v)
	}
	for _, v := range before {
		want = append(want, viewHeader(t, l, v, v.s.base))
	}
	if stats := mustClean(t, l, now(), 0); stats.Segments < 5 {
		t.Fatalf("%+v", stats)
	}
	for i, v := range before[:len(before)-1] {
		if !v.s.replaced.Load() || v.s.unlinked.Load() {
			t.Fatalf("segment %d: replaced %v, given up %v", v.s.base, v.s.replaced.Load(), v.s.unlinked.Load())
		}
		if got := viewHeader(t, l, v, v.s.base); got != want[i] {
			t.Fatalf("segment %d: %+v, was %+v", v.s.base, got, want[i])
		}
		v.hint = -1
		viewHeader(t, l, v, v.end-1)
		if _, err := l.segmentMax(v.s); err != nil {
			t.Fatal(err)
		}
		v.s.release()
		if !v.s.unlinked.Load() || v.s.open.file != nil {
			t.Fatalf("segment %d is still open", v.s.base)
		}
	}
	before[len(before)-1].s.release()
	m.clean = l.CleanedUpTo()
	m.check()
	closeStore(t, s)
}

// viewHeader reads the batch of a view that holds offset.
func viewHeader(t *testing.T, l *Log, v view, offset int64) batch.Header {
	t.Helper()
	data, err := l.readView(nil, v, offset, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := batch.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return b.Header()
}

// TestCloseEndsCleaning: a cleaning that is held back ends soon when the log is closed or deleted, and nothing of it stays.
func TestCloseEndsCleaning(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		mem := disk.NewMem()
		s := openStore(t, mem)
		l := openLog(t, s, OpenOptions{Config: cleanConfig()})
		m := &keyedModel{t: t, rng: rand.New(rand.NewPCG(4, 4)), l: l, now: testEpochTime}
		m.append(100)
		begun, over := make(chan struct{}), make(chan error, 1)
		var once sync.Once
		go func() {
			_, err := l.Clean(context.Background(), CleanOptions{Now: now(), Map: NewOffsetMap(0), UpTo: math.MaxInt64,
				Throttle: func(int) time.Duration { once.Do(func() { close(begun) }); return time.Hour }})
			over <- err
		}()
		<-begun
		var err error
		if deleted {
			err = s.DeleteLog("t-0", l)
		} else {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := <-over; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if !deleted {
			if problems, err := CheckLog(mem, "data/t-0"); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
		}
		closeStore(t, s)
	}
}
