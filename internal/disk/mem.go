package disk

import (
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what is durable. It is as strict as the contract of FS allows: an unsynced
// byte, size or name may be lost on its own, whatever happened after it.
//
// CrashClone shows what a disk could hold after a power loss, KillClone what is there after a kill; both leave the
// source as it was, so that one run can be crashed in many ways.
type Mem struct {
	// mu is held shared by every change of a file's content and exclusively by everything that touches names, and by
	// clones: a clone sees each operation whole or not at all.
	mu struct {
		sync.RWMutex
		root   *inode
		nextID uint64
		// names are the changes of names that no SyncDir has covered yet, oldest first.
		names []nameChange
		locks map[*inode]struct{}
	}
	capacityBytes atomic.Int64
	usedBytes     atomic.Int64
}

// entryKey is one name in one directory.
type entryKey struct {
	dir  *inode
	name string
}

// nameChange is a create (from is empty), a remove (to is empty) or a rename (both) of node. A power loss keeps it whole
// or drops it whole.
type nameChange struct {
	from, to entryKey
	node     *inode
}

// NewMem returns an empty file system of unlimited capacity.
func NewMem() *Mem {
	m := &Mem{}
	m.mu.root = newDir(0)
	m.mu.nextID = 1
	m.mu.locks = map[*inode]struct{}{}
	m.capacityBytes.Store(math.MaxInt64)
	return m
}

// SetCapacity makes writes fail with ENOSPC that would make all files together larger than this.
func (m *Mem) SetCapacity(bytes int64) { m.capacityBytes.Store(bytes) }

// UsedBytes returns the size of all files together.
func (m *Mem) UsedBytes() int64 { return m.usedBytes.Load() }

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// split returns the components of a name; absolute and relative names start at the same root.
func split(name string) []string {
	name = filepath.ToSlash(filepath.Clean(name))
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

func (m *Mem) lookupLocked(name string) (*inode, error) {
	n := m.mu.root
	for _, part := range split(name) {
		if !n.dir() {
			return nil, syscall.ENOTDIR
		}
		next := n.entries[part]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// parentLocked returns the directory of a name and its last component, which need not exist.
func (m *Mem) parentLocked(name string) (entryKey, error) {
	parts := split(name)
	if len(parts) == 0 {
		return entryKey{}, fs.ErrInvalid
	}
	dir, err := m.lookupLocked(strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return entryKey{}, err
	}
	if !dir.dir() {
		return entryKey{}, syscall.ENOTDIR
	}
	return entryKey{dir, parts[len(parts)-1]}, nil
}

func (m *Mem) newIDLocked() uint64 {
	m.mu.nextID++
	return m.mu.nextID
}

// linkLocked gives a new node its first name.
func (m *Mem) linkLocked(at entryKey, n *inode) {
	at.dir.entries[at.name] = n
	n.mu.links++
	m.mu.names = append(m.mu.names, nameChange{to: at, node: n})
}

func (m *Mem) unlinkLocked(at entryKey) {
	n := at.dir.entries[at.name]
	delete(at.dir.entries, at.name)
	m.dropLinkLocked(n)
	m.mu.names = append(m.mu.names, nameChange{from: at, node: n})
}

func (m *Mem) dropLinkLocked(n *inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.links--
	if n.mu.links == 0 {
		m.usedBytes.Add(-int64(len(n.mu.data)))
	}
}

func (m *Mem) open(name string, create, truncate, readOnly bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	n := at.dir.entries[at.name]
	switch {
	case n == nil && !create:
		return nil, fs.ErrNotExist
	case n == nil:
		n = &inode{id: m.newIDLocked()}
		n.mu.modTime = time.Now()
		m.linkLocked(at, n)
	case n.dir():
		return nil, syscall.EISDIR
	case truncate:
		n.mu.Lock()
		m.usedBytes.Add(-int64(len(n.mu.data)))
		n.truncateLocked(0)
		n.mu.Unlock()
	}
	return &memFile{fs: m, n: n, name: name, readOnly: readOnly}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	f, err := m.open(name, false, false, true)
	return f, pathError("open", name, err)
}

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(name string, create bool) (File, error) {
	f, err := m.open(name, create, false, false)
	return f, pathError("open", name, err)
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	f, err := m.open(name, true, true, false)
	return f, pathError("create", name, err)
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, err := m.parentLocked(name)
	if err == nil {
		switch n := at.dir.entries[at.name]; {
		case n == nil:
			err = fs.ErrNotExist
		case n.dir() && len(n.entries) > 0:
			err = syscall.ENOTEMPTY
		default:
			m.unlinkLocked(at)
		}
	}
	return pathError("remove", name, err)
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, err := m.parentLocked(name)
	if err != nil {
		if err == fs.ErrNotExist {
			return nil
		}
		return pathError("removeall", name, err)
	}
	if at.dir.entries[at.name] != nil {
		m.removeTreeLocked(at)
	}
	return nil
}

func (m *Mem) removeTreeLocked(at entryKey) {
	n := at.dir.entries[at.name]
	if n.dir() {
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			m.removeTreeLocked(entryKey{n, name})
		}
	}
	m.unlinkLocked(at)
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.renameLocked(oldName, newName); err != nil {
		return pathError("rename", oldName, err)
	}
	return nil
}

func (m *Mem) renameLocked(oldName, newName string) error {
	from, err := m.parentLocked(oldName)
	if err != nil {
		return err
	}
	to, err := m.parentLocked(newName)
	if err != nil {
		return err
	}
	n, target := from.dir.entries[from.name], to.dir.entries[to.name]
	switch {
	case n == nil:
		return fs.ErrNotExist
	case n == target:
		return nil
	case target != nil && target.dir() && !n.dir():
		return syscall.EISDIR
	case target != nil && n.dir() && !target.dir():
		return syscall.ENOTDIR
	case target != nil && len(target.entries) > 0:
		return syscall.ENOTEMPTY
	case n.dir() && strings.HasPrefix(strings.Join(split(newName), "/")+"/", strings.Join(split(oldName), "/")+"/"):
		return fs.ErrInvalid
	}
	if target != nil {
		m.dropLinkLocked(target)
	}
	delete(from.dir.entries, from.name)
	to.dir.entries[to.name] = n
	m.mu.names = append(m.mu.names, nameChange{from: from, to: to, node: n})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.root
	for _, part := range split(dir) {
		next := n.entries[part]
		if next == nil {
			next = newDir(m.newIDLocked())
			m.linkLocked(entryKey{n, part}, next)
		}
		if !next.dir() {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.dir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return slices.Sorted(maps.Keys(n.entries)), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return Info{Size: int64(len(n.mu.data)), Dir: n.dir(), ModTime: n.mu.modTime}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(dir)
	if err == nil && !n.dir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	m.syncNamesLocked(n)
	return nil
}

// KeepForSyncFS implements FS.
func (m *Mem) KeepForSyncFS(dir string) error {
	_, err := m.List(dir)
	return err
}

// SyncFS implements FS.
func (m *Mem) SyncFS(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookupLocked(dir); err != nil {
		return pathError("syncfs", dir, err)
	}
	for _, c := range m.mu.names {
		c.apply()
	}
	m.mu.names = nil
	m.eachFileLocked(func(n *inode) { n.syncedLocked() })
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.open(name, true, false, false)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := f.(*memFile).n
	if _, held := m.mu.locks[n]; held {
		return nil, pathError("lock", name, ErrLocked)
	}
	m.mu.locks[n] = struct{}{}
	return &memLock{fs: m, n: n}, nil
}

// FreeBytes implements FS.
func (m *Mem) FreeBytes(string) (int64, error) {
	return max(0, m.capacityBytes.Load()-m.usedBytes.Load()), nil
}

// FreeFiles implements FS.
func (m *Mem) FreeFiles(string) (int64, error) { return math.MaxInt64, nil }

type memLock struct {
	fs   *Mem
	n    *inode
	once sync.Once
}

// Close releases the lock; a second call does nothing.
func (l *memLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.mu.locks, l.n)
	})
	return nil
}
