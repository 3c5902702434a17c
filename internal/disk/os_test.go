package disk

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// TestSameBehaviour runs one conversation on every file system that claims to be one.
func TestSameBehaviour(t *testing.T) {
	t.Run("os", func(t *testing.T) { conversation(t, OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem()
		check(t, m.MkdirAll("/base"))
		conversation(t, m, "/base")
	})
	t.Run("faulty", func(t *testing.T) {
		m := NewMem()
		check(t, m.MkdirAll("/base"))
		conversation(t, NewFaulty(m, &Faults{}), "/base")
	})
}

func conversation(t *testing.T, y FS, base string) {
	p := func(s string) string { return filepath.Join(base, s) }
	check(t, y.MkdirAll(p("a/b")))
	check(t, y.MkdirAll(p("a/b")))
	if _, err := y.OpenReadWrite(p("a/f"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenReadWrite of a missing file: %v", err)
	}
	f, err := y.OpenReadWrite(p("a/f"), true)
	check(t, err)
	write(t, f, 3, []byte("xyz"))
	check(t, f.Sync())
	check(t, f.Truncate(5))
	if got := string(content(t, y, p("a/f"))); got != "\x00\x00\x00xy" {
		t.Errorf("content %q", got)
	}
	if n, err := f.ReadAt(make([]byte, 4), 3); n != 2 || err != io.EOF {
		t.Errorf("ReadAt over the end: %d, %v", n, err)
	}
	if w, ok := f.(Writebacker); ok {
		check(t, w.StartWriteback(5))
	}
	info, err := y.Stat(p("a/f"))
	if err != nil || info.Size != 5 || info.Dir || info.ModTime.IsZero() {
		t.Errorf("Stat of the file: %+v, %v", info, err)
	}
	if info, err := y.Stat(p("a")); err != nil || !info.Dir {
		t.Errorf("Stat of the directory: %+v, %v", info, err)
	}
	check(t, y.Rename(p("a/f"), p("a/b/g")))
	write(t, f, 0, []byte("!")) // the handle follows the file
	check(t, f.Close())
	if got := string(content(t, y, p("a/b/g"))); got != "!\x00\x00xy" {
		t.Errorf("content after rename %q", got)
	}
	check(t, y.SyncDir(p("a/b")))
	if err := y.SyncDir(p("missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of a missing directory: %v", err)
	}
	if err := y.KeepForSyncFS(p("missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("KeepForSyncFS of a missing directory: %v", err)
	}
	check(t, y.KeepForSyncFS(base))
	check(t, y.SyncFS(base))
	check(t, y.SyncFS(base))
	g, err := y.Create(p("a/b/g"))
	check(t, err)
	if size, err := g.Size(); size != 0 || err != nil {
		t.Errorf("size after Create: %d, %v", size, err)
	}
	check(t, g.Close())
	if err := y.Remove(p("a/b")); err == nil {
		t.Error("a full directory was removed")
	}
	check(t, WriteFileAtomic(y, p("a/z"), []byte("1")))
	names, err := y.List(p("a"))
	if err != nil || !slices.Equal(names, []string{"b", "z"}) {
		t.Errorf("List: %q, %v", names, err)
	}
	locks(t, y, p("lock"))
	if free, err := y.FreeBytes(base); free <= 0 || err != nil {
		t.Errorf("FreeBytes: %d, %v", free, err)
	}
	check(t, y.RemoveAll(p("a")))
	check(t, y.RemoveAll(p("a")))
	if _, err := y.List(p("a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of a removed directory: %v", err)
	}
}

func locks(t *testing.T, y FS, name string) {
	l, err := y.Lock(name)
	check(t, err)
	if _, err := y.Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("second Lock: %v", err)
	}
	check(t, l.Close())
	l, err = y.Lock(name)
	check(t, err)
	check(t, l.Close())
}

// TestSyncDirSaysThatNothingWasTried: whoever could not even open a directory has not failed to sync it.
func TestSyncDirSaysThatNothingWasTried(t *testing.T) {
	y, dir := OS(), t.TempDir()
	if err := y.SyncDir(dir + "/missing"); !errors.Is(err, ErrNotOpened) || NoHandleLeft(err) {
		t.Errorf("%v, want ErrNotOpened for another reason than handles", err)
	}
	y = NewFaulty(y, NewFaults(Fault{Kind: FaultNoHandle, Ops: OpSyncDir}, Fault{At: 1, Ops: OpSyncDir}))
	if err := y.SyncDir(dir); !errors.Is(err, ErrNotOpened) || !NoHandleLeft(err) {
		t.Errorf("%v, want ErrNotOpened for want of a handle", err)
	}
	if err := y.SyncDir(dir); err == nil || errors.Is(err, ErrNotOpened) || NoHandleLeft(err) {
		t.Errorf("%v, want a failed sync", err)
	}
}

// TestSyncFSKeepsItsHandle: once kept it is not opened again.
func TestSyncFSKeepsItsHandle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no syncfs")
	}
	y, base := OS(), t.TempDir()
	dir := filepath.Join(base, "data")
	check(t, y.MkdirAll(dir))
	check(t, y.KeepForSyncFS(dir))
	check(t, y.Rename(dir, filepath.Join(base, "elsewhere"))) // an open would fail now
	check(t, y.SyncFS(dir))
}

func TestTotalBytesHoldsTheFree(t *testing.T) {
	fsys, dir := OS(), t.TempDir()
	free, err := fsys.FreeBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	total, err := fsys.(interface {
		TotalBytes(dir string) (int64, error)
	}).TotalBytes(dir)
	if err != nil || total < free || total <= 0 {
		t.Fatalf("total %d, free %d: %v", total, free, err)
	}
	if _, err := fsys.FreeBytes(dir + "/missing"); err == nil {
		t.Fatal("a directory that is not there has free bytes")
	}
}
