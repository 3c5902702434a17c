package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"ottla/internal/disk"
)

const (
	// newbornBytesMax is how many bytes the newborns of a store have in memory, newbornOverhead counted for each.
	newbornBytesMax = 8 << 20
	// newbornOverhead is what a newborn counts for beside its bytes.
	newbornOverhead = 512
	// newbornSegmentMax is how many bytes one of them has.
	newbornSegmentMax = 16 << 10
)

// newborn is the file of a segment that has none yet: its bytes are in memory, and durable by the journal alone.
//
// To make a file, and the directory of a new log, costs some tens of microseconds, and far more where the file system has to search for
// a free inode: on ext4 behind the removal of 50,000 files it was a millisecond for each. Who writes to a thousand partitions at
// once should not wait for that. So the first batches, of appends that are answered when they are durable, go to the
// journal and to memory, and the file is made behind the answer: by the janitor within two of its ticks, before the generation of
// the journal that has the bytes is dead, and before anything that needs a file.
//
// Rules:
//
//  1. Only an append that is answered when its ticket is done (AppendOptions.Held) leaves bytes here: a kill takes what is not in the
//     journal.
//  2. Nothing is published as durable but what is in a record, or in a file that was synced: a pass that makes no record makes the
//     files first. Where that fails its error is final, as that of an fsync.
//  3. The name of the segment counts as not durable, so its records say that replay has to make it (see journal).
//  4. A segment that is rolled, a log whose files are released or that is closed has its files.
type newborn struct {
	s    *segment
	file atomic.Pointer[disk.File] // the real one, once it is made

	mu   sync.RWMutex // held while the file is made; taken under any lock but segment.open and fileCache.mu
	data []byte
}

// newborns is the account of a store's memory for them.
type newborns struct{ bytes atomic.Int64 }

func (y *newborns) take(n int64) bool {
	if y.bytes.Add(n) <= newbornBytesMax {
		return true
	}
	y.bytes.Add(-n)
	return false
}

// unborn says that the segment's bytes are in memory. Not any more means that the name of its file is counted as made.
func (s *segment) unborn() bool {
	n := s.young.Load()
	return n != nil && n.file.Load() == nil
}

// conceive gives a segment that has no file memory for a first batch, unless there is too much of that. appendMu is held.
func (s *segment) conceive(size int64) {
	y := s.log.store
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.exists || s.open.file != nil || size > newbornSegmentMax || y.journal.bytesMax <= 0 || !y.newborns.take(newbornOverhead) {
		return
	}
	n := &newborn{s: s}
	s.young.Store(n)
	s.open.file, s.open.exists = n, true
	s.log.hot.Store(true)
	s.log.nameMade()
}

// hold adds what is written behind what the newborn has, unless it is born, or would have too much.
func (n *newborn) hold(b []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := int64(len(b))
	if n.file.Load() != nil || int64(len(n.data))+size > newbornSegmentMax || !n.s.log.store.newborns.take(size) {
		return false
	}
	n.data = append(n.data, b...)
	return true
}

// bear makes the file, and the log's directory, of a segment that is in memory; nothing is durable by it. Who calls it has a lock that
// keeps DeleteLog away from the log's names, or is waited for by it.
func (s *segment) bear() error {
	if n := s.young.Load(); n != nil {
		return n.bear()
	}
	return nil
}

func (n *newborn) bear() error {
	s, l := n.s, n.s.log
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file.Load() != nil || n.s.young.Load() != n {
		return nil
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	f, err := l.store.fs.Create(s.path(logSuffix))
	if err != nil {
		return l.ioError("create", err)
	}
	if k, err := f.WriteAt(n.data, 0); err != nil || k < len(n.data) {
		_ = f.Close()
		return l.ioError("append", errors.Join(err, io.ErrShortWrite))
	}
	l.nameMade() // before anybody finds it born
	n.file.Store(&f)
	s.open.Lock()
	if s.open.file == n {
		s.open.file = f
	}
	s.open.Unlock()
	s.young.CompareAndSwap(n, nil)
	l.store.newborns.bytes.Add(-n.weight())
	n.data = nil
	l.store.files.add(s)
	return nil
}

func (n *newborn) weight() int64 { return int64(len(n.data)) + newbornOverhead }

// discard forgets the bytes of a segment whose log is deleted. segment.open is held.
func (n *newborn) discard() {
	if n.s.young.CompareAndSwap(n, nil) {
		n.s.log.store.newborns.bytes.Add(-n.weight())
	}
}

func (n *newborn) real() disk.File {
	if f := n.file.Load(); f != nil {
		return *f
	}
	return nil
}

// ReadAt implements disk.File.
func (n *newborn) ReadAt(b []byte, at int64) (int, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.real(); f != nil {
		return f.ReadAt(b, at)
	}
	if at >= int64(len(n.data)) {
		return 0, io.EOF
	}
	k := copy(b, n.data[at:])
	if k < len(b) {
		return k, io.EOF
	}
	return k, nil
}

// WriteAt implements disk.File: it makes the file first.
func (n *newborn) WriteAt(b []byte, at int64) (int, error) {
	if err := n.bear(); err != nil {
		return 0, err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.real(); f != nil {
		return f.WriteAt(b, at)
	}
	return 0, fs.ErrClosed // the log is deleted
}

// Truncate implements disk.File.
func (n *newborn) Truncate(size int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.real(); f != nil {
		return f.Truncate(size)
	}
	if size > int64(len(n.data)) {
		return fmt.Errorf("truncate to %d of a segment of %d bytes: %w", size, len(n.data), fs.ErrInvalid)
	}
	n.s.log.store.newborns.bytes.Add(size - int64(len(n.data)))
	n.data = n.data[:size]
	return nil
}

// Sync implements disk.File: it makes the file first.
func (n *newborn) Sync() error {
	if err := n.bear(); err != nil {
		return err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.real(); f != nil {
		return f.Sync()
	}
	return nil // the log is deleted
}

// Size implements disk.File.
func (n *newborn) Size() (int64, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.real(); f != nil {
		return f.Size()
	}
	return int64(len(n.data)), nil
}

// Close implements disk.File.
func (n *newborn) Close() error { return nil }
