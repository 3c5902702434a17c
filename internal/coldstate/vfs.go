package coldstate

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ottla/internal/disk"
)

// fullDiskPause is how long a flush or compaction that met a full disk waits before it tries again.
const fullDiskPause = time.Second

// deadReadPause is how long the opening of a table, or a read that has failed, takes at least once the store is dead.
const deadReadPause = 100 * time.Millisecond

// markerPrefix begins the names of the files by which Pebble says which manifest and format are in force.
const markerPrefix = "marker."

// guardedFS is disk.FS as Pebble wants it. It remembers the first error of the disk, and refuses every change once the
// guard is dead.
//
// The write-ahead log that Pebble opens even when told not to write any does not exist: its files are made of nothing
// and never listed. Open would otherwise flush what it replays from them, and if that fails repeat it for ever.
type guardedFS struct {
	fs    disk.FS
	guard *guard
	mu    struct {
		sync.Mutex
		first error
		locks map[*heldLock]struct{}
	}
}

func newGuardedFS(fs disk.FS, g *guard) *guardedFS {
	y := &guardedFS{fs: fs, guard: g}
	y.mu.locks = map[*heldLock]struct{}{}
	return y
}

// note remembers an error that says something of the disk; missing files and ends of files say something of the content.
func (y *guardedFS) note(err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) && !errors.Is(err, io.EOF) {
		y.mu.Lock()
		defer y.mu.Unlock()
		if y.mu.first == nil {
			y.mu.first = err
		}
	}
	return err
}

func (y *guardedFS) firstError() error {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.mu.first
}

// change runs an operation that changes the disk.
func (y *guardedFS) change(fn func() error) error {
	if err := y.guard.err(); err != nil {
		return err
	}
	return y.note(fn())
}

// pace holds up whoever wants to make a file after a failure. Pebble holds none of its locks then that readers need.
func (y *guardedFS) pace(name string) {
	if y.guard.parks() {
		<-y.guard.closing
		return
	}
	if strings.HasSuffix(name, ".sst") && y.guard.takePause() {
		t := time.NewTimer(fullDiskPause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-y.guard.closing:
		}
	}
}

// paceRead holds up, for a moment, a read of a store that is dead. Pebble tries again at once and for ever to read the statistics of a
// table that cannot be read.
func (y *guardedFS) paceRead() {
	if !y.guard.parks() {
		return
	}
	t := time.NewTimer(deadReadPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-y.guard.closing:
	}
}

func (y *guardedFS) wrap(name string, f disk.File, err error) (vfs.File, error) {
	if y.note(err) != nil {
		return nil, err
	}
	return &guardedFile{f: f, name: name, fs: y}, nil
}

// Create implements vfs.FS: a new file, never the bytes of an old one.
func (y *guardedFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if isLog(name) {
		return &guardedFile{f: nullFile{}, name: name, fs: y}, nil
	}
	book := isBook(name)
	if !book {
		y.pace(name)
	}
	var f disk.File
	err := y.change(func() (err error) {
		// A marker names a manifest, whose own name must be durable first.
		if err := y.syncForMarker(name); err != nil {
			return err
		}
		if _, statErr := y.fs.Stat(name); statErr == nil {
			if err := y.fs.Remove(name); err != nil {
				return err
			}
		}
		f, err = y.fs.Create(name)
		return err
	})
	switch {
	case err == nil:
		return &guardedFile{f: f, name: name, fs: y, book: book}, nil
	case book:
		y.guard.fatal(err)
		return &guardedFile{f: nullFile{}, name: name, fs: y, book: book}, nil
	default:
		return nil, err
	}
}

// isBook says whether a file is one by which Pebble keeps its books: the manifest, and the marker that says which one is
// in force. Pebble cannot live with an error there: it panics, or goes on with books that do not balance. So an error kills
// the guard and Pebble does not learn of it.
func isBook(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, markerPrefix)
}

// syncForMarker makes all names durable before a marker comes or goes. Pebble syncs the directory once, after both: that
// is enough only where the file system keeps the order of names.
func (y *guardedFS) syncForMarker(name string) error {
	if !strings.HasPrefix(filepath.Base(name), markerPrefix) {
		return nil
	}
	return y.fs.SyncDir(filepath.Dir(name))
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// Link implements vfs.FS; Pebble links only what it ingests or checkpoints, which is not done here.
func (y *guardedFS) Link(_, newName string) error {
	return &fs.PathError{Op: "link", Path: newName, Err: errors.ErrUnsupported}
}

// Open implements vfs.FS.
func (y *guardedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	y.paceRead()
	f, err := y.fs.Open(name)
	return applied(opts, y, name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (y *guardedFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := y.guard.err(); err != nil {
		return nil, err
	}
	f, err := y.fs.OpenReadWrite(name, true)
	return applied(opts, y, name, f, err)
}

func applied(opts []vfs.OpenOption, y *guardedFS, name string, f disk.File, err error) (vfs.File, error) {
	w, err := y.wrap(name, f, err)
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(w)
	}
	return w, nil
}

// OpenDir implements vfs.FS.
func (y *guardedFS) OpenDir(name string) (vfs.File, error) {
	if _, err := y.fs.Stat(name); y.note(err) != nil {
		return nil, err
	}
	return &guardedDir{guardedFile{name: name, fs: y}}, nil
}

// Remove implements vfs.FS.
func (y *guardedFS) Remove(name string) error {
	if isLog(name) {
		return nil
	}
	// The new marker must be durable before the old one goes.
	if err := y.change(func() error { return y.syncForMarker(name) }); err != nil {
		y.guard.fatal(err)
		return err
	}
	return y.change(func() error { return y.fs.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (y *guardedFS) RemoveAll(name string) error {
	return y.change(func() error { return y.fs.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (y *guardedFS) Rename(oldName, newName string) error {
	return y.change(func() error { return y.fs.Rename(oldName, newName) })
}

// ReuseForWrite implements vfs.FS; there is nothing worth reusing without a write-ahead log.
func (y *guardedFS) ReuseForWrite(oldName, newName string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := y.Remove(oldName); err != nil {
		return nil, err
	}
	return y.Create(newName, c)
}

// MkdirAll implements vfs.FS.
func (y *guardedFS) MkdirAll(dir string, _ os.FileMode) error {
	return y.change(func() error { return y.fs.MkdirAll(dir) })
}

// heldLock is a lock that Pebble holds.
type heldLock struct {
	fs *guardedFS
	io.Closer
}

// Lock implements vfs.FS.
func (y *guardedFS) Lock(name string) (io.Closer, error) {
	c, err := y.fs.Lock(name)
	if y.note(err) != nil {
		return nil, err
	}
	l := &heldLock{fs: y, Closer: c}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.mu.locks[l] = struct{}{}
	return l, nil
}

// Close releases the lock.
func (l *heldLock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.mu.locks, l)
	l.fs.mu.Unlock()
	return l.Closer.Close()
}

// releaseLocks releases what a Pebble that gave up in the middle did not.
func (y *guardedFS) releaseLocks() {
	y.mu.Lock()
	locks := y.mu.locks
	y.mu.locks = map[*heldLock]struct{}{}
	y.mu.Unlock()
	for l := range locks {
		_ = l.Closer.Close()
	}
}

// List implements vfs.FS.
func (y *guardedFS) List(dir string) ([]string, error) {
	names, err := y.fs.List(dir)
	return slices.DeleteFunc(names, isLog), y.note(err)
}

// Stat implements vfs.FS.
func (y *guardedFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := y.fs.Stat(name)
	if y.note(err) != nil {
		return nil, err
	}
	return fileInfo{info, filepath.Base(name)}, nil
}

// PathBase implements vfs.FS.
func (y *guardedFS) PathBase(path string) string { return filepath.Base(path) }

// PathJoin implements vfs.FS.
func (y *guardedFS) PathJoin(elem ...string) string { return filepath.Join(elem...) }

// PathDir implements vfs.FS.
func (y *guardedFS) PathDir(path string) string { return filepath.Dir(path) }

// GetDiskUsage implements vfs.FS. The total is not known; Pebble uses it for warnings that are given elsewhere.
func (y *guardedFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	free, err := y.fs.FreeBytes(path)
	if err != nil {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return vfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: math.MaxInt64}, nil
}

// Unwrap implements vfs.FS.
func (y *guardedFS) Unwrap() vfs.FS { return nil }

type fileInfo struct {
	disk.Info
	name string
}

func (i fileInfo) Name() string           { return i.name }
func (i fileInfo) Size() int64            { return i.Info.Size }
func (i fileInfo) ModTime() time.Time     { return i.Info.ModTime }
func (i fileInfo) IsDir() bool            { return i.Info.Dir }
func (i fileInfo) Sys() any               { return nil }
func (i fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
func (i fileInfo) Mode() os.FileMode {
	if i.Info.Dir {
		return os.ModeDir | 0o750
	}
	return 0o640
}
