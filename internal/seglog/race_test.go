package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// TestReadersAgainstEverything has readers, an appender, retention, DeleteRecords, rolls and file releases at work on
// the same logs, with two open files for all of them, and at the end deletes the logs under the readers. Whatever a
// reader gets is whole and in order, or out of range because the log start has passed it.
func TestReadersAgainstEverything(t *testing.T) {
	const logs, rounds = 3, 400
	s, err := OpenStore(Options{FS: disk.NewMem(), Dir: "data", FreeBytesMin: -1, OpenFilesMax: 2, JournalBytes: testJournalBytes, heldTailMax: testHeldTailMax})
	if err != nil {
		t.Fatal(err)
	}
	var workers, readers sync.WaitGroup
	var stop atomic.Bool
	all := make([]*Log, logs)
	for i := range all {
		cfg := testConfig()
		cfg.RetentionBytes = 5000
		if i == 2 {
			cfg.FlushMessages = 50
		}
		name := fmt.Sprintf("t-%d", i)
		l := openLog(t, s, OpenOptions{Name: name, Config: cfg})
		all[i] = l
		workers.Go(func() {
			for range rounds {
				b := mkBatch(t, 3, testEpochTime+l.End(), 20, l.End())
				_, tk, err := l.Append(b, AppendOptions{Wait: true, Held: i%2 == 0, Now: now()})
				if err != nil {
					t.Error(err)
					return
				}
				<-tk.Done()
			}
		})
		workers.Go(func() { trimmer(t, l, rounds/10) })
		for r := range 2 {
			readers.Go(func() { tailer(t, l, &stop, uint64(r)) })
		}
		readers.Go(func() { timeReader(t, l, &stop) })
	}
	workers.Wait()
	for i, l := range all {
		if err := s.DeleteLog(fmt.Sprintf("t-%d", i), l); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	readers.Wait()
	closeStore(t, s)
}

func trimmer(t *testing.T, l *Log, rounds int) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		var err error
		switch rng.IntN(4) {
		case 0:
			_, err = l.Retain(now())
		case 1:
			target := l.Start() + rng.Int64N(l.Committed()-l.Start()+1)/2
			_, err = l.DeleteRecords(target)
		case 2:
			err = l.RollIfDue(now().AddDate(1, 0, 0))
		default:
			l.ReleaseFiles()
			<-l.requestSync().Done()
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// tailer reads forward, and jumps back to the start now and then.
func tailer(t *testing.T, l *Log, stop *atomic.Bool, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	offset := int64(0)
	var buf []byte
	for !stop.Load() {
		data, err := l.Read(buf[:0], offset, 700, true)
		switch {
		case errors.Is(err, ErrOffsetOutOfRange):
			if start := l.Start(); offset < start {
				offset = start
				continue
			}
			t.Errorf("read %d: %v", offset, err)
			return
		case errors.Is(err, ErrClosed) && l.deleted.Load():
			return
		case err != nil:
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
			if h.LastOffset() < offset || h.ProducerID != h.BaseOffset {
				t.Errorf("read %d: batch [%d, %d] of %d", offset, h.BaseOffset, h.LastOffset(), h.ProducerID)
				return
			}
			offset, data = h.LastOffset()+1, data[b.Size():]
		}
		if rng.IntN(20) == 0 {
			offset = l.Start()
		}
	}
}

func timeReader(t *testing.T, l *Log, stop *atomic.Bool) {
	for !stop.Load() {
		ts := testEpochTime + (l.Start()+l.Committed())/2
		got, ok, err := l.OffsetForTimestamp(ts)
		if err == nil && ok && got.Timestamp < ts {
			t.Errorf("timestamp %d: %v", ts, got)
		}
		if err == nil {
			_, _, err = l.MaxTimestamp()
		}
		if err != nil {
			if !l.deleted.Load() {
				t.Error(err)
			}
			return
		}
	}
}

// Appends from many goroutines to many logs: every ticket tells the truth.
func TestConcurrentAppends(t *testing.T) {
	mem := disk.NewMem()
	s := openStore(t, mem)
	var wg sync.WaitGroup
	logs := make([]*Log, 6)
	for i := range logs {
		logs[i] = openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
	}
	for w := range 12 {
		wg.Go(func() {
			l := logs[w%len(logs)]
			for i := range 100 {
				base, tk, err := l.Append(mkBatch(t, 2, testEpochTime, 20, int64(w*1000+i)), AppendOptions{Wait: i%3 > 0, Held: i%2 == 0, Now: now()})
				if err != nil {
					t.Error(err)
					return
				}
				<-tk.Done()
				if tk.Err() != nil || l.Durable() < base+2 || l.Committed() < base+2 {
					t.Errorf("batch at %d: durable %d, %v", base, l.Durable(), tk.Err())
				}
			}
		})
	}
	wg.Wait()
	for _, l := range logs {
		if n := len(readAll(t, l, 1000)); n != 200 {
			t.Errorf("%d batches", n)
		}
	}
	closeStore(t, s)
}
