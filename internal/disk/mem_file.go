package disk

import (
	"io/fs"
	"sync/atomic"
	"syscall"
)

// memFile is an open handle of a Mem.
type memFile struct {
	fs       *Mem
	n        *inode
	name     string
	readOnly bool
	closed   atomic.Bool
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if f.closed.Load() {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	return f.n.readAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.writable(); err != nil {
		return 0, pathError("write", f.name, err)
	}
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	grow := max(0, off+int64(len(p))-int64(len(f.n.mu.data)))
	if lacks := f.reserveLocked(grow); lacks > 0 {
		// What fits is written, as on a real disk.
		fits := int64(len(p)) - lacks
		if fits <= 0 || f.reserveLocked(grow-lacks) > 0 {
			return 0, pathError("write", f.name, syscall.ENOSPC)
		}
		f.n.writeLocked(p[:fits], off)
		return int(fits), pathError("write", f.name, syscall.ENOSPC)
	}
	f.n.writeLocked(p, off)
	return len(p), nil
}

// reserveLocked counts growth against the capacity and returns 0, or counts nothing and returns how many bytes are
// lacking. Files without a name are not counted.
func (f *memFile) reserveLocked(grow int64) int64 {
	if f.n.mu.links == 0 {
		return 0
	}
	used := f.fs.usedBytes.Add(grow)
	if lacks := used - f.fs.capacityBytes.Load(); grow > 0 && lacks > 0 {
		f.fs.usedBytes.Add(-grow)
		return min(lacks, grow)
	}
	return 0
}

func (f *memFile) Truncate(size int64) error {
	if err := f.writable(); err != nil {
		return pathError("truncate", f.name, err)
	}
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if f.reserveLocked(size-int64(len(f.n.mu.data))) > 0 {
		return pathError("truncate", f.name, syscall.ENOSPC)
	}
	f.n.truncateLocked(size)
	return nil
}

// Reserve implements Reserver. Room that nothing was written to is not counted.
func (f *memFile) Reserve(from, length int64) error {
	if err := f.writable(); err != nil {
		return pathError("reserve", f.name, err)
	}
	if from < 0 || length <= 0 {
		return pathError("reserve", f.name, syscall.EINVAL)
	}
	return nil
}

func (f *memFile) Sync() error {
	if f.closed.Load() {
		return pathError("fdatasync", f.name, fs.ErrClosed)
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	f.n.syncedLocked()
	return nil
}

func (f *memFile) Size() (int64, error) {
	if f.closed.Load() {
		return 0, pathError("size", f.name, fs.ErrClosed)
	}
	return f.n.size(), nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) writable() error {
	if f.closed.Load() {
		return fs.ErrClosed
	}
	if f.readOnly {
		return syscall.EBADF
	}
	return nil
}
