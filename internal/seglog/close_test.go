package seglog

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
)

// hookFS calls a function before some operations.
type hookFS struct {
	disk.FS
	stat func(name string)
	free func()
}

func (h hookFS) Stat(name string) (disk.Info, error) {
	if h.stat != nil {
		h.stat(name)
	}
	return h.FS.Stat(name)
}

func (h hookFS) FreeBytes(dir string) (int64, error) {
	if h.free != nil {
		h.free()
	}
	return h.FS.FreeBytes(dir)
}

// TestFreeSpaceFollowsWhatIsWritten: much may be written between two ticks of the janitor, and it may be busy.
func TestFreeSpaceFollowsWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		s := openStore(t, hookFS{FS: disk.NewMem(), free: func() { looks.Add(1) }})
		c := testConfig()
		c.SegmentBytes = 1 << 30
		l := openLog(t, s, OpenOptions{Config: c})
		before := looks.Load()
		for written := 0; written <= freeCheckBytes; written += 1 << 20 {
			mustAppend(t, l, mkBatch(t, 1, testEpochTime, 1<<20, 1))
		}
		if looks.Load() == before {
			t.Errorf("%d bytes were written without a look at the free space", freeCheckBytes)
		}
		closeStore(t, s)
	})
}

// TestCloseWhileALogIsOpened: a stop does not wait for clients, so logs may be half open.
func TestCloseWhileALogIsOpened(t *testing.T) {
	for _, suffix := range []string{"t-0", logSuffix} {
		mem := disk.NewMem()
		s := openStore(t, mem)
		fill(t, openLog(t, s, OpenOptions{}), 5)
		closeStore(t, s)

		synctest.Test(t, func(t *testing.T) {
			reached, goOn := make(chan struct{}), make(chan struct{})
			var once atomic.Bool
			s = openStore(t, hookFS{FS: mem, stat: func(name string) {
				if (filepath.Base(name) == suffix || filepath.Ext(name) == suffix) && !once.Swap(true) {
					close(reached)
					<-goOn
				}
			}})
			opened := make(chan error, 1)
			go func() {
				_, err := s.OpenLog(OpenOptions{Name: "t-0", Config: testConfig()})
				opened <- err
			}()
			<-reached
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			synctest.Wait()
			close(goOn)
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if err := <-opened; !errors.Is(err, ErrClosed) {
				t.Errorf("log opened while the store closed: %v", err)
			}
		})
	}
}

// TestCleanStopCutsTornTail: what a failed append left behind must not be found by a start that trusts everything.
func TestCleanStopCutsTornTail(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	s := openStore(t, disk.NewFaulty(mem, faults))
	c := testConfig()
	c.SegmentBytes = 1 << 20
	l := openLog(t, s, OpenOptions{Config: c})
	fill(t, l, 3)
	size := l.SizeBytes()
	faults.Add(disk.Fault{Kind: disk.FaultShortWrite, Ops: disk.OpWrite, Path: logSuffix})
	faults.Add(disk.Fault{Kind: disk.FaultError, Ops: disk.OpTruncate, Path: logSuffix})
	if _, _, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 9), AppendOptions{Wait: true, Now: now()}); err == nil {
		t.Fatal("the append did not fail")
	}
	faults.Clear()
	closeStore(t, s)
	info, err := mem.Stat(filepath.Join("data", "t-0", segmentName(0, logSuffix)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != size {
		t.Errorf("the segment has %d bytes after a clean stop, the log %d", info.Size, size)
	}
}
