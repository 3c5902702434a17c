package disk

import (
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sectorBytes is the unit that a disk writes whole or not at all.
const sectorBytes = 512

// change is one write or truncation that no Sync has covered yet, with what is needed to take it back: the bytes that
// [off, off+n) held before, as far as they existed, and the size before.
type change struct {
	off, n  int64
	old     []byte
	oldSize int64
	newSize int64
}

// shrinks says that the change is a truncation to a smaller size.
func (c *change) shrinks() bool { return c.newSize < c.oldSize }

// inode is a file or directory of a Mem. Directories use the maps alone, under Mem's lock.
type inode struct {
	id uint64
	// entries are the names in a directory, durable those that a power loss leaves.
	entries, durable map[string]*inode

	mu struct {
		sync.RWMutex
		data    []byte
		modTime time.Time
		// sharedBytes is the length of the prefix of data that a clone reads too: it is copied before it is changed.
		sharedBytes int64
		// changes since the last Sync, oldest first.
		changes []change
		// links is how many names lead here; bytes of a file without one are not counted against the capacity.
		links int
	}
}

func newDir(id uint64) *inode {
	return &inode{id: id, entries: map[string]*inode{}, durable: map[string]*inode{}}
}

func (n *inode) dir() bool { return n.entries != nil }

func (n *inode) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if off >= int64(len(n.mu.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	c := copy(p, n.mu.data[off:])
	if c < len(p) {
		return c, io.EOF
	}
	return c, nil
}

func (n *inode) size() int64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return int64(len(n.mu.data))
}

// writeLocked stores p at off and remembers how to take it back. Appends cost amortized O(len(p)).
func (n *inode) writeLocked(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	oldSize := int64(len(n.mu.data))
	end := off + int64(len(p))
	c := change{off: off, n: int64(len(p)), oldSize: oldSize, newSize: max(oldSize, end)}
	if off < oldSize {
		c.old = slices.Clone(n.mu.data[off:min(oldSize, end)])
	}
	n.unshareLocked(off)
	n.resizeLocked(c.newSize)
	copy(n.mu.data[off:], p)
	n.mu.changes = append(n.mu.changes, c)
	n.mu.modTime = time.Now()
}

func (n *inode) truncateLocked(size int64) {
	oldSize := int64(len(n.mu.data))
	if size == oldSize {
		return
	}
	c := change{off: min(size, oldSize), oldSize: oldSize, newSize: size}
	c.n = max(size, oldSize) - c.off
	if size < oldSize {
		c.old = slices.Clone(n.mu.data[size:])
	}
	n.resizeLocked(size)
	n.mu.changes = append(n.mu.changes, c)
	n.mu.modTime = time.Now()
}

// unshareLocked makes data private if a change at off or above could reach bytes that a clone reads.
func (n *inode) unshareLocked(off int64) {
	if off < n.mu.sharedBytes {
		n.mu.data = slices.Clone(n.mu.data)
		n.mu.sharedBytes = 0
	}
}

// resizeLocked changes the size; what is new reads as zeros, whatever the array held there before.
func (n *inode) resizeLocked(size int64) {
	old := int64(len(n.mu.data))
	if size <= old {
		n.mu.data = n.mu.data[:size]
		return
	}
	// Growing from inside the shared prefix would write zeros over bytes that a clone reads.
	n.unshareLocked(old)
	n.mu.data = slices.Grow(n.mu.data, int(size-old))[:size]
	clear(n.mu.data[old:])
}

// syncedLocked forgets how to take changes back. A short list keeps its array: a file that is synced after each write is no
// reason to allocate.
func (n *inode) syncedLocked() {
	const kept = 64
	clear(n.mu.changes)
	if n.mu.changes = n.mu.changes[:0]; cap(n.mu.changes) > kept {
		n.mu.changes = nil
	}
}

// cloneAll copies the file as a process that starts after a kill finds it: all bytes, and the same ones still unsynced.
// The bytes themselves are shared until one side changes them. The caller holds Mem's lock exclusively.
func (n *inode) cloneAll() *inode {
	c := &inode{id: n.id}
	size := len(n.mu.data)
	c.mu.data = n.mu.data[:size:size]
	c.mu.modTime = n.mu.modTime
	c.mu.changes = slices.Clone(n.mu.changes)
	c.mu.links = n.mu.links
	c.mu.sharedBytes = int64(size)
	n.mu.sharedBytes = max(n.mu.sharedBytes, int64(size))
	return c
}
