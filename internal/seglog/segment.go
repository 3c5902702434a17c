package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"ottla/internal/disk"
)

const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	tempSuffix      = ".tmp"
)

// segmentName is Kafka's file name: the first offset in twenty digits.
func segmentName(base int64, suffix string) string { return fmt.Sprintf("%020d%s", base, suffix) }

// segment is one .log file with its indexes.
//
// Files are opened on demand and closed by the store's fileCache, so a segment costs no descriptor while idle. Whoever
// reads or writes holds a reference: it is taken under Log.mu while the segment is in the list, and a dropped segment
// is unlinked by whoever gives back the last one. That is what makes readers safe against retention: pointer and
// reference are acquired under one lock, so there is no moment between them.
type segment struct {
	log  *Log
	base int64

	refs     atomic.Int32
	used     atomic.Bool // looked at since the cache's hand last passed
	dropped  atomic.Bool // out of the list; unlink when the last reference goes
	unlinked atomic.Bool // unlinking is somebody's job already
	// unsynced says that bytes were written since the last pass of the committer. It is set after the write, while the
	// writer holds a reference, and cleared by the committer after it took one.
	unsynced atomic.Bool
	// closedDirty says that the cache closed the file while unsynced or durable by the journal alone. A new descriptor might not be told of a failed
	// write-back, so the pass must use syncfs, which is.
	closedDirty atomic.Bool
	// syncing says that a syncfs is under way for what was written before. It is set by the committer while it holds a
	// reference and unsynced is clear.
	syncing atomic.Bool
	// journaled is how many generations of the journal have records of it that are not dead.
	journaled atomic.Int32
	// replaced says that the cleaner has put another segment in this one's place: its names on disk are not its own any
	// more. Who holds a reference goes on with the file, which stays open, and with frozen.
	replaced atomic.Bool
	tail     atomic.Pointer[heldTail] // while its last bytes are in memory
	frozen   map[string]disk.File     // index files by suffix, set before replaced; closed with the last reference
	ringSlot int32                    // guarded by fileCache.mu: place in the ring plus one, 0 for none

	open struct {
		sync.Mutex
		file     disk.File // nil: closed
		exists   bool      // the .log file has been created
		reserved reserved
	}

	// Guarded by Log.mu. size is the end of the last complete append.
	size           int64
	maxTimestamp   TimestampOffset // valid if timestampKnown; Offset is the last offset of the batch
	timestampKnown bool
	indexUnsynced  bool // rolled, and the index files were not synced since
}

func newSegment(l *Log, base, size int64, exists bool) *segment {
	s := &segment{log: l, base: base, size: size}
	s.open.exists = exists
	return s
}

func (s *segment) path(suffix string) string {
	return filepath.Join(s.log.dir, segmentName(s.base, suffix))
}

// acquireLocked takes a reference; Log.mu is held and the segment is in the list.
func (s *segment) acquireLocked() { s.refs.Add(1) }

// release gives a reference back. With the last one a dropped segment is unlinked, and the file of a closed log closed.
func (s *segment) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	if s.dropped.Load() {
		s.unlink()
	} else if s.log.closed.Load() {
		s.log.store.files.closeFile(s)
	}
}

// drop marks a segment that has left the list; the caller holds no reference.
func (s *segment) drop() {
	s.dropped.Store(true)
	if s.refs.Load() == 0 {
		s.unlink()
	}
}

func (s *segment) unlink() {
	if !s.unlinked.CompareAndSwap(false, true) {
		return
	}
	if !s.replaced.Load() {
		s.log.store.unlinkLater(s)
		return
	}
	s.log.store.files.closeFile(s)
	for _, f := range s.frozen {
		_ = f.Close() // was only read
	}
}

// handle returns the open file; the caller holds a reference and gives it back when done.
func (s *segment) handle(create bool) (disk.File, error) {
	s.used.Store(true)
	s.open.Lock()
	if s.open.file != nil {
		f := s.open.file
		s.open.Unlock()
		return f, nil
	}
	f, err := s.openLocked(create)
	s.open.Unlock()
	if err != nil {
		return nil, err
	}
	s.log.hot.Store(true)
	s.log.store.files.add(s)
	return f, nil
}

func (s *segment) openLocked(create bool) (disk.File, error) {
	name := s.path(logSuffix)
	if s.open.exists {
		f, err := s.log.store.fs.OpenReadWrite(name, false)
		if err != nil {
			return nil, s.log.ioError("open", err)
		}
		if s.log.deleted.Load() {
			// The name may be a new log's by now.
			_ = f.Close()
			return nil, fmt.Errorf("%w: %s", ErrClosed, s.log.name)
		}
		s.open.file = f
		return f, nil
	}
	if !create {
		return nil, fmt.Errorf("%w: %s was never written", ErrIO, name)
	}
	if err := s.log.makeDir(); err != nil {
		return nil, err
	}
	// A leftover of an append that failed may be in the way: Create empties it.
	f, err := s.log.store.fs.Create(name)
	if err != nil {
		return nil, s.log.ioError("create", err)
	}
	s.open.file, s.open.exists = f, true
	s.log.nameMade()
	return f, nil
}

func (s *segment) dirty() bool {
	return s.unsynced.Load() || s.syncing.Load() || s.journaled.Load() > 0
}

// closeIfIdle closes the file unless somebody uses it, and says whether it is closed now.
func (s *segment) closeIfIdle() bool {
	if !s.open.TryLock() {
		return false
	}
	defer s.open.Unlock()
	// A writer or a pass may come and go between two of these reads, so the flags are read on both sides. Whoever takes a
	// reference now may be a pass that has cleared unsynced; it waits for this lock and then looks at closedDirty.
	dirty := s.dirty()
	if s.refs.Load() != 0 {
		return false
	}
	if s.open.file == nil {
		return true
	}
	if s.holding() && !s.log.deleted.Load() {
		return false
	}
	if n := s.tail.Load(); n != nil && !n.discard() {
		return false
	}
	dirty = s.dirty() || dirty || s.refs.Load() != 0
	s.giveBackLocked()
	err := s.open.file.Close()
	s.open.file = nil
	if dirty {
		s.closedDirty.Store(true)
		if err != nil {
			s.log.store.SetOffline(fmt.Errorf("close %s: %w", s.path(logSuffix), err))
		}
	}
	return true
}

// closeTriesMax is how many files one addition to the cache looks at to close some, whatever the number of files. The
// first half spares what was used since the hand last passed; the second takes whatever nobody holds.
const closeTriesMax = 32

// fileCache bounds the open segment files of a store by the CLOCK rule. If all that the hand passes in one addition are
// in use the bound gives way; later additions close more than they open.
type fileCache struct {
	mu struct {
		sync.Mutex
		ring []*segment
		hand int
	}
	max     int
	onCount func(n int)
}

func (c *fileCache) add(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ringSlot != 0 {
		return
	}
	at := -1 // where the last victim was: s takes its place behind the hand, so that it is the last to be looked at
	for tries := 0; len(c.mu.ring) >= c.max && tries < closeTriesMax; tries++ {
		if c.closeNextLocked(tries < closeTriesMax/2) {
			at = c.mu.hand
		}
	}
	c.mu.ring = append(c.mu.ring, s)
	s.ringSlot = int32(len(c.mu.ring))
	if at >= 0 {
		c.swapLocked(at, len(c.mu.ring)-1)
		c.mu.hand = at + 1
	}
	c.onCount(len(c.mu.ring))
}

// giveWay closes up to closeTriesMax files that nobody uses, those first that were not used of late, and says whether it
// has closed any. Somebody needs a handle at once, so it looks at as many as it takes.
func (c *fileCache) giveWay() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, closed := len(c.mu.ring), 0
	for looked := 0; looked < 2*all && closed < closeTriesMax && len(c.mu.ring) > 0; looked++ {
		if c.closeNextLocked(looked < all) {
			closed++
		}
	}
	return closed > 0
}

// closeNextLocked has the hand look at one file and says whether that is closed and out of the ring now: then the hand stays
// where it was. spare keeps what was used since the hand last passed. The ring is not empty.
func (c *fileCache) closeNextLocked(spare bool) bool {
	if c.mu.hand >= len(c.mu.ring) {
		c.mu.hand = 0
	}
	victim := c.mu.ring[c.mu.hand]
	used := victim.used.Swap(false)
	if used && spare || !victim.closeIfIdle() {
		c.mu.hand++
		return false
	}
	c.removeLocked(victim)
	return true
}

func (c *fileCache) swapLocked(i, j int) {
	r := c.mu.ring
	r[i], r[j] = r[j], r[i]
	r[i].ringSlot, r[j].ringSlot = int32(i)+1, int32(j)+1
}

func (c *fileCache) removeLocked(s *segment) {
	if s.ringSlot == 0 {
		return
	}
	i, last := int(s.ringSlot)-1, len(c.mu.ring)-1
	c.mu.ring[i] = c.mu.ring[last]
	c.mu.ring[i].ringSlot = int32(i) + 1
	c.mu.ring[last] = nil
	c.mu.ring = c.mu.ring[:last]
	s.ringSlot = 0
	c.onCount(last)
}

// closeFile closes a segment's file now, unless somebody uses it, and says whether it is closed.
func (c *fileCache) closeFile(s *segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.closeIfIdle() {
		return false
	}
	c.removeLocked(s)
	return true
}

// ioError classifies an error of the file system.
func (l *Log) ioError(op string, err error) error {
	switch {
	case l.closed.Load() && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s %s", ErrClosed, op, l.name)
	case isNoSpace(err):
		return fmt.Errorf("%w: %s %s: %w", ErrDiskFull, op, l.name, err)
	default:
		return fmt.Errorf("%w: %s %s: %w", ErrIO, op, l.name, err)
	}
}
