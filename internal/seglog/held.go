package seglog

import (
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"ottla/internal/disk"
)

const (
	// heldBytesMax is how many bytes the segments of a store hold in memory, heldOverhead counted for each.
	heldBytesMax = 8 << 20
	// heldOverhead is what a segment that holds bytes counts for beside them.
	heldOverhead = 512
	// heldUnmadeMax is how many bytes a segment holds that has no file yet.
	heldUnmadeMax = 16 << 10
	// heldTailMax is how many bytes a segment holds that has one: so many make one write.
	heldTailMax = 64 << 10
	// heldBatchMax is the size in bytes of the largest batch that is held.
	heldBatchMax = heldTailMax / 2
)

// heldBuffers are of heldTailMax bytes.
var heldBuffers = sync.Pool{New: func() any { return new([heldTailMax]byte) }}

// heldTail is the file of a segment whose last bytes are in memory, and durable by the journal alone.
//
// A write of a small batch costs the kernel ten times as much as its bytes, and who appends to the same log waits for it. And to make a
// file, and the directory of a new log, costs some tens of microseconds, far more where the file system has to search for a free
// inode: on ext4 behind the removal of 50,000 files it was a millisecond for each. Nobody need wait for either whose append is
// answered when it is durable: the bytes go to memory and from there to the journal, and to the file many at a time. Those of a
// file that is there are written when there are heldTailMax, one that is not is made by the janitor within two of its ticks; and
// both before the generation of the journal that has the bytes is dead, and before anything that needs a file.
//
// Rules:
//
//  1. Only an append that is answered when its ticket is done (AppendOptions.Held) leaves bytes here: a kill takes what is not in the
//     journal.
//  2. Nothing is published as durable but what is in a record, or in a file that was synced: a pass that makes no record writes the
//     bytes first. Where that fails its error is final, as that of an fsync.
//  3. The name of a file that is not made counts as not durable, so the records say that replay has to make it (see journal).
//  4. Only the active segment of a log holds bytes. One that is rolled, a log whose files are released or that is closed has written
//     them.
type heldTail struct {
	s     *segment
	given disk.File                 // the one that was there at the beginning, if any
	base  int64                     // bytes that it had then
	made  atomic.Pointer[disk.File] // one that was not; nil: not yet
	over  atomic.Bool               // all is in the file

	mu   sync.RWMutex // held while bytes are written; taken under any lock, and under it those of names, and what storeFS takes
	data []byte       // those behind base
	pool *[heldTailMax]byte
}

// heldBytes is the account of a store's memory for them.
type heldBytes struct {
	n       atomic.Int64
	tailMax int // heldTailMax, or less in a test
}

func (h *heldBytes) take(n int64) bool {
	if h.n.Add(n) <= heldBytesMax {
		return true
	}
	h.n.Add(-n)
	return false
}

// holding says that bytes of the segment are in memory.
func (s *segment) holding() bool {
	n := s.tail.Load()
	return n != nil && !n.over.Load()
}

// unmade says that the segment holds bytes and has no file. Not any more means that the name of its file is counted as made.
func (s *segment) unmade() bool {
	n := s.tail.Load()
	return n != nil && n.real() == nil
}

// hold keeps a batch in memory behind what the segment holds, and has that written first when it would be too much. Not held: it is to
// be written, and nothing is in memory any more. appendMu is held, and no failed write has left anything behind the last batch.
func (s *segment) hold(b []byte) (held bool, err error) {
	size := int64(len(b))
	n, stuck := s.tail.Load(), s.log.store.journal.isStuck.Load() // then the error is to be this append's own
	if n != nil {
		if size <= heldBatchMax && !stuck {
			if n.add(b) {
				return true, nil
			}
			if err := n.spill(); err != nil {
				return false, err
			}
			if n.add(b) {
				return true, nil
			}
		}
		if err := n.write(); err != nil {
			return false, err
		}
	}
	if size > heldBatchMax || stuck || s.log.store.journal.bytesMax <= 0 {
		return false, nil
	}
	if n, err = s.beginHolding(size); n == nil || err != nil {
		return false, err
	}
	return n.add(b), nil
}

// beginHolding returns nil where there is too much in memory already.
func (s *segment) beginHolding(size int64) (*heldTail, error) {
	y := s.log.store
	s.open.Lock()
	unmade := !s.open.exists && s.open.file == nil
	if unmade {
		defer s.open.Unlock()
		if size > heldUnmadeMax || y.filesFew.Load() || !y.held.take(heldOverhead) {
			return nil, nil
		}
		n := &heldTail{s: s}
		s.tail.Store(n)
		s.open.file, s.open.exists = n, true
		s.log.hot.Store(true)
		s.log.nameMade()
		return n, nil
	}
	s.open.Unlock()
	f, err := s.handle(true)
	if err != nil {
		return nil, err
	}
	if _, some := f.(*heldTail); some || !y.held.take(heldOverhead+heldTailMax) {
		return nil, nil
	}
	n := &heldTail{s: s, given: f, base: s.size, pool: heldBuffers.Get().(*[heldTailMax]byte)}
	n.data = n.pool[:0]
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.file != f { // the log is closed or deleted
		n.giveBack()
		return nil, nil
	}
	s.open.file = n
	s.tail.Store(n)
	return n, nil
}

// add adds a batch behind what is there, unless all is written or it would be too much.
func (n *heldTail) add(b []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over.Load() {
		return false
	}
	need, limit := len(n.data)+len(b), heldUnmadeMax
	if n.pool != nil {
		limit = n.s.log.store.held.tailMax
	}
	if need > limit {
		return false
	}
	if more := need - cap(n.data); more > 0 {
		more = min(max(more, cap(n.data)), heldUnmadeMax-cap(n.data))
		if !n.s.log.store.held.take(int64(more)) {
			return false
		}
		n.data = append(make([]byte, 0, cap(n.data)+more), n.data...)
	}
	n.data = append(n.data, b...)
	return true
}

// spill writes what is in memory, if there is a file for it, and leaves room for more. appendMu is held.
func (n *heldTail) spill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.given == nil || n.over.Load() {
		return nil
	}
	if err := n.writeTo(n.given); err != nil {
		return err
	}
	n.base += int64(len(n.data))
	n.data = n.data[:0]
	return nil
}

// writeTo writes what is in memory behind what the file has. mu is held.
func (n *heldTail) writeTo(f disk.File) error {
	if len(n.data) == 0 {
		return nil
	}
	k, err := f.WriteAt(n.data, n.base)
	if err == nil && k < len(n.data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n.s.log.ioError("append", err)
	}
	return nil
}

// writeHeld writes what the segment holds to its file, and makes that and the log's directory if need be; nothing is durable by it. Who
// calls it has a lock that keeps DeleteLog away from the log's names, or is waited for by it.
func (s *segment) writeHeld() error {
	if n := s.tail.Load(); n != nil {
		return n.write()
	}
	return nil
}

func (n *heldTail) write() error {
	n.mu.Lock()
	err := n.writeLocked()
	n.mu.Unlock()
	if err == nil {
		n.end()
	}
	return err
}

func (n *heldTail) writeLocked() error {
	s, l := n.s, n.s.log
	if n.over.Load() || s.tail.Load() != n {
		return nil
	}
	f := n.real()
	if f == nil {
		if err := l.makeDir(); err != nil {
			return err
		}
		var err error
		if f, err = l.store.fs.Create(s.path(logSuffix)); err != nil {
			return l.ioError("create", err)
		}
	}
	if err := n.writeTo(f); err != nil {
		if n.given == nil {
			_ = f.Close()
		}
		return err
	}
	if n.given == nil {
		l.nameMade() // before anybody finds it made
		made := f
		n.made.Store(&made)
	}
	n.over.Store(true)
	n.giveBack()
	return nil
}

// end puts the file in the place of what is all written. Whoever has it written does so before he goes on, as often as that is. It
// takes segment.open, so mu is not held.
func (n *heldTail) end() {
	if !n.over.Load() {
		return // the log is deleted
	}
	s := n.s
	s.open.Lock()
	if s.open.file == n {
		s.open.file = n.real()
	}
	s.open.Unlock()
	if s.tail.CompareAndSwap(n, nil) {
		s.log.store.files.add(s)
	}
}

// giveBack gives the memory back. Nobody reads it any more.
func (n *heldTail) giveBack() {
	n.uncount()
	if n.pool != nil {
		heldBuffers.Put(n.pool)
	}
	n.data, n.pool = nil, nil
}

// discard forgets the bytes of a segment whose log is deleted, unless they are written. Not done: somebody is at it, who may wait for the
// caller to close a file. segment.open is held.
func (n *heldTail) discard() (done bool) {
	if !n.mu.TryLock() {
		return false
	}
	defer n.mu.Unlock()
	if !n.over.Load() && n.s.tail.CompareAndSwap(n, nil) {
		n.uncount() // the buffer may be read still
	}
	return true
}

// uncount takes what it has out of the account. mu is held, or nobody else knows it.
func (n *heldTail) uncount() { n.s.log.store.held.n.Add(-int64(cap(n.data)) - heldOverhead) }

func (n *heldTail) real() disk.File {
	if n.given != nil {
		return n.given
	}
	if f := n.made.Load(); f != nil {
		return *f
	}
	return nil
}

// ReadAt implements disk.File.
func (n *heldTail) ReadAt(b []byte, at int64) (int, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	f, k := n.real(), 0
	if n.over.Load() {
		return f.ReadAt(b, at)
	}
	if at < n.base {
		before := b[:min(int64(len(b)), n.base-at)]
		var err error
		if k, err = f.ReadAt(before, at); k < len(before) {
			return k, err
		}
	}
	if k == len(b) {
		return k, nil
	}
	if from := at + int64(k) - n.base; from < int64(len(n.data)) {
		k += copy(b[k:], n.data[from:])
	}
	if k < len(b) {
		return k, io.EOF
	}
	return k, nil
}

// WriteAt implements disk.File: it writes what is in memory first.
func (n *heldTail) WriteAt(b []byte, at int64) (int, error) {
	if err := n.write(); err != nil {
		return 0, err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.real(); f != nil {
		return f.WriteAt(b, at)
	}
	return 0, fs.ErrClosed // the log is deleted
}

// Truncate implements disk.File. Room behind the file's own bytes goes.
func (n *heldTail) Truncate(size int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.real()
	if n.over.Load() {
		return f.Truncate(size)
	}
	if size > n.base+int64(len(n.data)) {
		return fmt.Errorf("truncate to %d of a segment of %d bytes: %w", size, n.base+int64(len(n.data)), fs.ErrInvalid)
	}
	if f != nil {
		if err := f.Truncate(min(size, n.base)); err != nil {
			return err
		}
	}
	n.data = n.data[:max(size-n.base, 0)]
	n.base = min(n.base, size)
	return nil
}

// Sync implements disk.File: it writes what is in memory first.
func (n *heldTail) Sync() error {
	if err := n.write(); err != nil {
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
func (n *heldTail) Size() (int64, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.over.Load() {
		return n.real().Size()
	}
	return n.base + int64(len(n.data)), nil
}

// Close implements disk.File. What is in memory is lost.
func (n *heldTail) Close() error {
	if f := n.real(); f != nil {
		return f.Close()
	}
	return nil
}
