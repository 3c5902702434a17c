package seglog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// fewHandles is a file system of a process that may open few files. As on Linux, a SyncFS needs a handle unless one is kept.
type fewHandles struct {
	disk.FS
	left atomic.Int64
	kept atomic.Bool
}

type fewHandlesFile struct {
	disk.File
	fs *fewHandles
}

func (h *fewHandles) take() error {
	if h.left.Add(-1) < 0 {
		h.left.Add(1)
		return syscall.EMFILE
	}
	return nil
}

func (h *fewHandles) file(open func() (disk.File, error)) (disk.File, error) {
	if err := h.take(); err != nil {
		return nil, err
	}
	f, err := open()
	if err != nil {
		h.left.Add(1)
		return nil, err
	}
	return &fewHandlesFile{f, h}, nil
}

func (h *fewHandles) Open(name string) (disk.File, error) {
	return h.file(func() (disk.File, error) { return h.FS.Open(name) })
}

func (h *fewHandles) OpenReadWrite(name string, create bool) (disk.File, error) {
	return h.file(func() (disk.File, error) { return h.FS.OpenReadWrite(name, create) })
}

func (h *fewHandles) Create(name string) (disk.File, error) {
	return h.file(func() (disk.File, error) { return h.FS.Create(name) })
}

func (h *fewHandles) List(dir string) ([]string, error) {
	if err := h.take(); err != nil {
		return nil, err
	}
	defer h.left.Add(1)
	return h.FS.List(dir)
}

func (h *fewHandles) SyncDir(dir string) error {
	if err := h.take(); err != nil {
		return fmt.Errorf("%w: %w", disk.ErrNotOpened, err)
	}
	defer h.left.Add(1)
	return h.FS.SyncDir(dir)
}

func (h *fewHandles) KeepForSyncFS(dir string) error {
	if !h.kept.Swap(true) {
		return h.take()
	}
	return nil
}

func (h *fewHandles) SyncFS(dir string) error {
	if !h.kept.Load() && h.left.Load() <= 0 {
		return syscall.EMFILE
	}
	return h.FS.SyncFS(dir)
}

func (f *fewHandlesFile) Close() error {
	f.fs.left.Add(1)
	return f.File.Close()
}

// TestFilesGiveWay: where handles run out before the bound of open files is reached everything goes on, with as many as there are.
func TestFilesGiveWay(t *testing.T) {
	fsys := &fewHandles{FS: disk.NewMem()}
	fsys.left.Store(closeTriesMax + 20)
	s := openStore(t, fsys)
	var logs []*Log
	for i := range 200 {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
		fill(t, l, 1)
		logs = append(logs, l)
	}
	for range 2 {
		for _, l := range logs {
			fill(t, l, 12) // rolls
			if n := len(readAll(t, l, 1000)); n%12 != 1 {
				t.Fatalf("%s: %d batches", l.Name(), n)
			}
		}
	}
	closeStore(t, s)
	if left := fsys.left.Load(); left != closeTriesMax+20-1 {
		t.Errorf("%d handles left, want all but that of syncfs", left)
	}
}

// TestGiveWay: it closes a bounded number of files, those first that were not used of late, and none that is in use.
func TestGiveWay(t *testing.T) {
	const files = 3 * closeTriesMax
	s := openStore(t, disk.NewMem())
	var segs []*segment
	for i := range files {
		l := openLog(t, s, OpenOptions{Name: fmt.Sprintf("t-%d", i)})
		fill(t, l, 1)
		l.mu.Lock()
		seg := l.activeLocked()
		l.mu.Unlock()
		seg.refs.Add(1) // as the committer may still do: what is held from here on is ours
		segs = append(segs, seg)
	}
	if s.files.giveWay() {
		t.Fatal("closed what is in use")
	}
	for i, seg := range segs {
		seg.used.Store(i%2 == 0)
		seg.release()
	}
	for want := files - closeTriesMax; want >= 0; want -= closeTriesMax {
		if !s.files.giveWay() {
			t.Fatalf("closed none of %d", want+closeTriesMax)
		}
		if open, _ := s.files.state(); open != want {
			t.Fatalf("%d files open, want %d", open, want)
		}
		if want != files-closeTriesMax {
			continue
		}
		for i, seg := range segs {
			if open := seg.open.file != nil; i%2 == 0 && !open {
				t.Errorf("file %d was used and is closed, others were not", i)
			}
		}
	}
	if s.files.giveWay() {
		t.Error("closed one of none")
	}
	closeStore(t, s)
}

// TestNoHandleAtAll: with nothing to close an append fails, the store stays online, and it goes on when there are handles.
func TestNoHandleAtAll(t *testing.T) {
	_, faults, s, l := faulty(t)
	faults.Add(disk.Fault{Kind: disk.FaultNoHandle, Times: disk.Forever, Ops: disk.OpOpen | disk.OpCreate, Path: logSuffix})
	b := mkBatch(t, 3, testEpochTime, 20, 9)
	_, _, err := l.Append(b, AppendOptions{Wait: true, Now: now()})
	wantErr(t, err, ErrIO)
	wantErr(t, err, syscall.EMFILE)
	if err := s.Offline(); err != nil {
		t.Fatal(err)
	}
	faults.Clear()
	mustAppend(t, l, b)
	closeStore(t, s)
}

// TestNoHandleForADirectory: new names are made durable with everything else, and no fsync has failed.
func TestNoHandleForADirectory(t *testing.T) {
	mem, faults, s, l := faultyWith(t, -1)
	faults.Add(disk.Fault{Kind: disk.FaultNoHandle, Times: disk.Forever, Ops: disk.OpSyncDir, Path: "t-0"})
	fill(t, l, 1)
	if faults.Fired() == 0 {
		t.Fatal("the directory was not synced")
	}
	for seed := range int64(8) {
		after := openStore(t, mem.CrashClone(0.5, seed))
		again := openLog(t, after, OpenOptions{Unclean: true})
		if n := len(readAll(t, again, 1000)); n != 1 {
			t.Fatalf("seed %d: %d batches after a power loss", seed, n)
		}
		closeStore(t, after)
	}
	fill(t, l, 3)
	closeStore(t, s)
}

// TestFailedSyncInPlaceOfADirectorys: the syncfs that follows is as final as any, whoever asked for it.
func TestFailedSyncInPlaceOfADirectorys(t *testing.T) {
	for at, name := range []string{"the log's", "the data directory, for the log's name"} {
		t.Run(name, func(t *testing.T) {
			_, faults, s, l := faultyWith(t, -1)
			faults.Add(disk.Fault{At: int64(at), Kind: disk.FaultNoHandle, Ops: disk.OpSyncDir})
			faults.Add(disk.Fault{Ops: disk.OpSyncFS})
			_, tk, err := l.Append(mkBatch(t, 3, testEpochTime, 20, 9), AppendOptions{Wait: true, Now: now()})
			<-tk.Done()
			wantErr(t, errors.Join(err, tk.Err()), ErrOffline)
			wantErr(t, s.Offline(), syscall.EIO)
			wantErr(t, s.Close(), ErrOffline)
		})
	}
}

// TestNoHandleForAnIndex: an index file that cannot be opened is synced with everything else; one that is missing needs no sync.
func TestNoHandleForAnIndex(t *testing.T) {
	_, faults, s, l := faulty(t)
	fill(t, l, 20)
	if err := s.journal.retire(l.name); err != nil { // a checkpoint counts too
		t.Fatal(err)
	}
	seg := l.mu.segments[0] // nothing is under way
	before := counterValue(t, s.metrics.Fsyncs)
	faults.Add(disk.Fault{Kind: disk.FaultNoHandle, Times: disk.Forever, Ops: disk.OpOpen, Path: seg.path(indexSuffix)})
	faults.Add(disk.Fault{Ops: disk.OpSyncFS})
	missing := newSegment(l, 1<<40, 0, false)
	if err := s.syncIndex(missing, indexSuffix); err != nil || counterValue(t, s.metrics.Fsyncs) != before {
		t.Fatalf("a missing index: %v, %v syncs", err, counterValue(t, s.metrics.Fsyncs)-before)
	}
	wantErr(t, s.syncIndex(seg, indexSuffix), ErrOffline)
	wantErr(t, s.Close(), ErrOffline)
}

// TestNoHandleForACleanedSegment: behind the point of no return a cleaning goes on without a handle for the directory.
func TestNoHandleForACleanedSegment(t *testing.T) {
	faults := disk.NewFaults()
	s := openStore(t, disk.NewFaulty(disk.NewMem(), faults))
	l := openLog(t, s, OpenOptions{Config: cleanConfig()})
	const keys = 20
	recs := make([]keyedRecord, keys)
	for round := range 10 {
		for i := range recs {
			recs[i] = keyedRecord{timestamp: testEpochTime, key: fmt.Sprint("k", i), value: fmt.Sprint(round)}
		}
		mustAppend(t, l, keyedBatch(t, batch.CodecNone, plainHeader(), recs))
	}
	faults.Add(disk.Fault{Kind: disk.FaultNoHandle, Times: disk.Forever, Ops: disk.OpSyncDir})
	before := l.SizeBytes()
	mustClean(t, l, now(), 1<<20)
	if faults.Fired() == 0 || l.SizeBytes() >= before {
		t.Errorf("%d directories without a handle, %d bytes of %d", faults.Fired(), l.SizeBytes(), before)
	}
	closeStore(t, s)
}
