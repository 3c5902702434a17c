package seglog

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
)

// syncHookFS calls a function during the next syncfs after it is armed.
type syncHookFS struct {
	disk.FS
	armed  atomic.Bool
	during func()
}

func (h *syncHookFS) SyncFS(dir string) error {
	if h.armed.Swap(false) {
		h.during()
	}
	return h.FS.SyncFS(dir)
}

func (c *fileCache) state() (open, hand int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.mu.ring {
		if int(s.ringSlot) != i+1 {
			panic(fmt.Sprintf("BUG: slot %d says %d", i, s.ringSlot))
		}
	}
	return len(c.mu.ring), c.mu.hand
}

// TestOpeningLooksAtFewFiles: with a full cache whose files are all in use, opening one more looks at a bounded number of
// them, the bound gives way, and it holds again soon after they are free.
func TestOpeningLooksAtFewFiles(t *testing.T) {
	const most = 20 * closeTriesMax
	s, err := OpenStore(Options{FS: disk.NewMem(), Dir: "data", FreeBytesMin: -1, OpenFilesMax: most, JournalBytes: testJournalBytes})
	if err != nil {
		t.Fatal(err)
	}
	active := func(l *Log) *segment {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.activeLocked()
	}
	var held []*segment
	for i := range most + 100 {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
		open, before := s.files.state()
		fill(t, l, 1)
		_, after := s.files.state()
		if after < before {
			after += open
		}
		if passed := after - before; passed > closeTriesMax {
			t.Fatalf("file %d: the hand passed %d of %d files", i, passed, open)
		}
		seg := active(l)
		seg.refs.Add(1)
		held = append(held, seg)
	}
	open, _ := s.files.state()
	if open != len(held) {
		t.Fatalf("%d files open, want %d: all are held", open, len(held))
	}
	for _, seg := range held {
		seg.release()
	}
	for i := range 100 {
		fill(t, openLog(t, s, OpenOptions{Name: fmt.Sprintf("u-%d", i)}), 1)
	}
	if open, _ := s.files.state(); open > most {
		t.Errorf("%d files open, want at most %d", open, most)
	}
	closeStore(t, s)
}

// TestSyncFSHoldsNoFiles: files that a syncfs is about may be closed meanwhile, and count as dirty then.
func TestSyncFSHoldsNoFiles(t *testing.T) {
	var s *Store
	var logs []*Log
	hook := &syncHookFS{FS: disk.NewMem()}
	cfg := testConfig()
	cfg.FlushMillis = 3600_000 // no pass before somebody hurries
	closed := 0
	hook.during = func() {
		for _, l := range logs {
			seg := l.mu.segments[0] // the test's goroutine waits
			if !s.files.closeFile(seg) {
				t.Errorf("%s cannot be closed", l.Name())
			}
			if !seg.closedDirty.Load() {
				t.Errorf("%s counts as clean", l.Name())
			}
			closed++
		}
	}
	s = openStore(t, hook)
	var tickets []Ticket
	for i := range filesSyncedOneByOneMax + 1 {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i), Config: cfg})
		<-l.requestSync().Done()
		logs = append(logs, l)
	}
	hook.armed.Store(true)
	for _, l := range logs {
		_, tk, err := l.Append(mkBatch(t, 1, testEpochTime, 20, 1), AppendOptions{Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, tk)
	}
	tickets[len(tickets)-1].Hurry() // every append has given its reference back
	for _, tk := range tickets {
		<-tk.Done()
		if err := tk.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if closed != len(logs) {
		t.Errorf("%d files closed during a syncfs, want %d", closed, len(logs))
	}
	closeStore(t, s)
}

// TestHurry: appends that nobody hurries for share the pass of the last ticket, at once; a ticket that is decided starts
// none.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, disk.NewMem())
		var tickets []Ticket
		for i := range 10 {
			l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
			_, tk, err := l.Append(mkBatch(t, 1, testEpochTime, 20, 1), AppendOptions{Now: now()})
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, tk)
		}
		synctest.Wait()
		passes := counterValue(t, s.metrics.Passes)
		for _, tk := range tickets {
			select {
			case <-tk.Done():
				t.Fatal("done before somebody hurried")
			default:
			}
		}
		tickets[len(tickets)-1].Hurry()
		synctest.Wait() // no time passes
		for i, tk := range tickets {
			select {
			case <-tk.Done():
			default:
				t.Fatalf("ticket %d is pending", i)
			}
			tk.Hurry()
		}
		Ticket{}.Hurry()
		synctest.Wait()
		if n := counterValue(t, s.metrics.Passes) - passes; n != 1 {
			t.Errorf("%v passes, want 1", n)
		}
		closeStore(t, s)
		tickets[0].Hurry()
		Ticket{stoppedRound}.Hurry()
	})
}
