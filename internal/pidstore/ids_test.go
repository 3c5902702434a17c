package pidstore

import (
	"errors"
	"sync"
	"testing"

	"ottla/internal/metrics"
)

func newIDs(t *testing.T, b *blocks) *IDs {
	t.Helper()
	ids, err := NewIDs(b, metrics.New().Producers)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestNoIDTwice, from many goroutines, over many blocks and restarts, with foreign ids
// in between.
func TestNoIDTwice(t *testing.T) {
	b := &blocks{next: 5000}
	var mu sync.Mutex
	seen := map[int64]bool{}
	for range 3 {
		ids := newIDs(t, b)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 2 * IDBlockCount / 4 {
					pid, err := ids.Next()
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if seen[pid] {
						t.Errorf("id %d twice", pid)
					}
					seen[pid] = true
					mu.Unlock()
					if pid >= ids.Issued() || pid >= ids.Limit() {
						t.Errorf("id %d is not below %d and %d", pid, ids.Issued(), ids.Limit())
					}
					if g == 0 && i%1000 == 0 {
						foreign := ids.Issued() + int64(i%7)*IDBlockCount/3
						if err := ids.Raise(foreign); err != nil {
							t.Error(err)
						}
						if ids.Issued() <= foreign {
							t.Errorf("id %d may still be issued", foreign)
						}
					}
				}
			})
		}
		wg.Wait()
		ids.Close()
	}
}

// TestNextDoesNotWait while the next block is being reserved, until the current one
// is used up.
func TestNextDoesNotWait(t *testing.T) {
	b := &blocks{next: 1000}
	ids := newIDs(t, b)
	b.mu.Lock()
	b.gate = make(chan struct{})
	b.mu.Unlock()
	for range IDBlockCount {
		if _, err := ids.Next(); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan int64)
	go func() {
		pid, err := ids.Next()
		if err != nil {
			t.Error(err)
		}
		got <- pid
	}()
	select {
	case pid := <-got:
		t.Fatalf("id %d of a block that is not durable", pid)
	default:
	}
	close(b.gate)
	if pid := <-got; pid != 1000+IDBlockCount {
		t.Fatalf("got %d, want %d", pid, 1000+IDBlockCount)
	}
	ids.Close()
}

// TestReservationFails: no id is made up, and the next call tries again.
func TestReservationFails(t *testing.T) {
	broken := errors.New("disk full")
	if _, err := NewIDs(&blocks{fail: broken}, metrics.New().Producers); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	b := &blocks{next: 1000}
	ids := newIDs(t, b)
	b.mu.Lock()
	b.fail = broken
	b.mu.Unlock()
	for i := range IDBlockCount {
		if _, err := ids.Next(); err != nil {
			t.Fatalf("id %d: %v", i, err)
		}
	}
	if pid, err := ids.Next(); !errors.Is(err, broken) {
		t.Fatalf("got %d, %v", pid, err)
	}
	if err := ids.Raise(ids.Limit() + 5); !errors.Is(err, broken) {
		t.Fatalf("Raise: %v", err)
	}
	b.mu.Lock()
	b.fail = nil
	b.mu.Unlock()
	if pid, err := ids.Next(); err != nil || pid != 1000+IDBlockCount {
		t.Fatalf("got %d, %v", pid, err)
	}
	ids.Close()
}

// again is a block store that forgets.
type again struct{ blocks }

func (*again) ReserveProducerIDs(int64, int64, uint32) (int64, int64, error) { return 1000, 2000, nil }

func TestBlocksReservedTwiceAreRefused(t *testing.T) {
	ids, err := NewIDs(&again{}, metrics.New().Producers)
	if err != nil {
		t.Fatal(err)
	}
	if err := ids.Raise(ids.Limit() + 1); !errors.Is(err, ErrIDsReserved) {
		t.Fatalf("got %v, want ErrIDsReserved", err)
	}
	ids.Close()
}

func TestRecentlyIssuedByMarks(t *testing.T) {
	b := &blocks{next: 1000}
	ids := newIDs(t, b) // mark 1000 at age 0
	ids.raiseAge(500)
	if err := ids.Raise(ids.Limit()); err != nil { // mark at age 500
		t.Fatal(err)
	}
	second := ids.Issued()
	skipped := second - 1
	late, err := ids.Next()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		pid, created    int64
		age, expiration uint32
		want            bool
	}{
		{"just issued", late, 1000, 500, 100, true},
		{"issued before the partition", late, late + 1, 500, 100, false},
		{"by the partition's first producer", late, late, 500, 100, true},
		{"not issued yet", late + 1, 1000, 500, 100, false},
		{"skipped for a foreign producer", skipped, 1000, 500, 1000, false},
		{"another cluster's below ours", 999, 0, 500, 1000, false},
		{"expired", late, 1000, 600, 100, false},
		{"nearly expired", late, 1000, 599, 100, true},
		{"young cluster", late, 1000, 50, 100, true},
	} {
		if got := ids.RecentlyIssued(c.pid, c.created, c.age, c.expiration); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
	ids.Close()
}

func TestAddMark(t *testing.T) {
	var marks []IssueMark
	for i := range int64(10_000) {
		marks = AddMark(marks, IssueMark{PID: 1000 + i*IDBlockCount, Age: uint32(i / 3 * 7)})
		if len(marks) > IssueMarksMax {
			t.Fatalf("%d marks", len(marks))
		}
	}
	for i, m := range marks {
		// A mark stays true: ids from it on were issued at its age or later.
		if issued := uint32((m.PID - 1000) / IDBlockCount / 3 * 7); m.Age > issued {
			t.Errorf("mark %+v claims too much, the id is of age %d", m, issued)
		}
		if i > 0 && (marks[i-1].PID >= m.PID || marks[i-1].Age >= m.Age) {
			t.Errorf("marks %+v and %+v do not ascend", marks[i-1], m)
		}
	}
	if last := marks[len(marks)-1]; last.Age < 9_999/3*7-7 {
		t.Errorf("the latest mark is %+v", last)
	}
}
