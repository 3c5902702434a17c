// Package coldstate keeps keyed state that is too large for memory: entries (partition, key) -> bytes, and for each
// partition the log position up to which its entries are complete.
//
// It owns a Pebble store without a write-ahead log: the partition's log is that. A batch holds entries together with the
// checkpoints they bring about; whatever a crash takes back, it takes back whole batches, newest first, so that entries
// and checkpoints always agree and a replay of the log from the checkpoint restores what is missing. Nothing is durable
// before Flush, or a flush of its own accord, has finished; FlushedCheckpoint says how far that is.
//
// It must not know what the entries mean: producers today, group offsets and transactional ids later.
//
// Memory: all that Pebble allocates is held within Options.MemoryBytes, see shares. Waiting: every wait for a flush or a
// compaction is done here, above Pebble and interruptible by Close and by a failure, never inside Pebble.
//
// Failures: a full disk is waited out. Everything else that fails in the background (an fsync, the manifest, a read during
// compaction) is final: the store is dead, Options.OnFatal is told once, nothing more is written, reads go on as far
// as they can. See guard.
package coldstate

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

var (
	// ErrCorrupt says that the store's files do not hold what was written. The store can be thrown away: MoveAside, Open,
	// and replay the logs.
	ErrCorrupt = errors.New("coldstate: corrupt")
	// ErrNewerFormat says that a newer version of the product wrote the store.
	ErrNewerFormat = errors.New("coldstate: written by a newer version")
	// ErrFatal says that the store failed in a way that only a restart can cure.
	ErrFatal = errors.New("coldstate: store is offline after a failure")
	// ErrClosed says that the store is closed or closing.
	ErrClosed = errors.New("coldstate: closed")
)

// Options is what Open needs. FS, Dir and Metrics are required.
type Options struct {
	FS  disk.FS
	Dir string
	// MemoryBytes bounds everything the store allocates; less than MemoryBytesMin counts as that.
	MemoryBytes int64
	// OnFatal is called at most once, on a goroutine of its own, with an error that satisfies errors.Is(err, ErrFatal),
	// and ErrCorrupt too if damaged content is the reason.
	OnFatal func(error)
	Metrics *metrics.Cold
	Logger  *slog.Logger
}

// Checkpoint is the log position up to which the entries of a partition are complete.
type Checkpoint struct{ Offset, SegmentBase, Position int64 }

// Store is an open store; its methods are safe for concurrent use.
type Store struct {
	db      *pebble.DB
	guard   *guard
	fs      *guardedFS
	shares  shares
	slot    *scheduler
	metrics *metrics.Cold

	// stopping ends waits of Commit; it is closed first thing by Close.
	stopping chan struct{}
	stopOnce sync.Once
	// hurry is closed by EndWaits.
	hurry     chan struct{}
	hurryOnce sync.Once

	// life is held shared by every use of db, exclusively by the end of Close.
	life struct {
		sync.RWMutex
		closed bool
	}
	// memtable counts what is in Pebble's mutable memtable. The lock is held while a batch is applied, and while waiting
	// for room: commits are in order.
	memtable struct {
		sync.Mutex
		usedBytes  int64
		arenaBytes int64
		// flushing is closed when the memtable before this one is durable; nil if there was none.
		flushing <-chan struct{}
	}
	// tables counts the flushes and compactions. They end with Pebble's lock held, so they must not take the lock below.
	tables  atomic.Uint64
	entries struct {
		sync.Mutex // held while Pebble is asked
		known      bool
		tables     uint64 // of which estimate was made
		estimate   int64
	}
}

// Open opens or makes the store in o.Dir. A store whose files are damaged gives ErrCorrupt, one of a newer version
// ErrNewerFormat; every other error is the file system's.
func Open(o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkFormat(o.FS, o.Dir); err != nil {
		return nil, err
	}
	g := newGuard(o)
	s := &Store{
		guard:    g,
		fs:       newGuardedFS(o.FS, g),
		shares:   split(o.MemoryBytes),
		slot:     newScheduler(g),
		metrics:  o.Metrics,
		stopping: make(chan struct{}),
		hurry:    make(chan struct{}),
	}
	s.memtable.arenaBytes = min(s.shares.memtableBytes, firstArenaBytes)
	db, err := s.openPebble(o.Dir)
	if err != nil {
		g.close()
		return nil, s.openError(err)
	}
	s.db = db
	if err := g.opened(); err != nil {
		g.close()
		return nil, errors.Join(err, s.closePebble())
	}
	return s, nil
}

// openPebble opens the database. Pebble panics on some damaged files; no goroutine of it has started by then that could.
func (s *Store) openPebble(dir string) (db *pebble.DB, err error) {
	opts := s.shares.pebbleOptions()
	defer opts.Cache.Unref()
	defer opts.FileCache.Unref()
	opts.FS = s.fs
	opts.Logger = s.guard
	opts.EventListener = s.guard.listener(s)
	opts.Experimental.CompactionScheduler = s.slot
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, r)
			s.fs.releaseLocks()
		}
	}()
	return pebble.Open(dir, opts)
}

// openError tells damaged content from a failing disk: if the file system has given no error, the content is to blame.
func (s *Store) openError(err error) error {
	if ioErr := s.fs.firstError(); ioErr != nil {
		return fmt.Errorf("coldstate: open: %w", ioErr)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// MoveAside renames the directory of a store that does not open, replacing one moved before, and returns its new name.
func MoveAside(fs disk.FS, dir string) (string, error) {
	name := filepath.Clean(dir) + asideSuffix
	if err := fs.RemoveAll(name); err != nil {
		return "", err
	}
	if err := fs.Rename(dir, name); err != nil {
		return "", err
	}
	return name, fs.SyncDir(filepath.Dir(name))
}

// enter lets a method use the database until leave.
func (s *Store) enter() error {
	s.life.RLock()
	if s.life.closed {
		s.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.life.RUnlock() }

// Flush makes every batch committed before the call durable. After an error the batches are still there, and a later
// flush may succeed unless the error is ErrFatal.
func (s *Store) Flush() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	start := time.Now()
	failed := s.guard.failures()
	flushed, err := s.startFlush(failed)
	if err == nil {
		err = s.waitFlushed(flushed, nil, failed)
	}
	if err != nil {
		return err
	}
	s.metrics.Flushes.Inc()
	s.metrics.FlushSeconds.Observe(time.Since(start).Seconds())
	s.MemoryInUse()
	s.DiskBytes()
	return nil
}

// startFlush hands everything committed so far to the flusher and returns what will be closed when it is durable.
func (s *Store) startFlush(failed <-chan struct{}) (<-chan struct{}, error) {
	s.memtable.Lock()
	defer s.memtable.Unlock()
	if s.memtable.usedBytes > 0 {
		if err := s.waitFlushed(s.memtable.flushing, nil, failed); err != nil {
			return nil, err
		}
		if err := s.rotateLocked(); err != nil {
			return nil, err
		}
	}
	return s.memtable.flushing, nil
}

// waitFlushed waits until flushed is closed, the store dies, stop is closed, or failed is.
func (s *Store) waitFlushed(flushed, stop, failed <-chan struct{}) error {
	if flushed == nil {
		return s.guard.err()
	}
	select {
	case <-flushed:
		return s.guard.err()
	case <-s.guard.dead:
		return s.guard.err()
	case <-stop:
		return ErrClosed
	case <-failed:
		return fmt.Errorf("coldstate: flush: %w", s.guard.lastFailure())
	}
}

// rotateLocked hands the mutable memtable to the flusher; the one before must be durable.
func (s *Store) rotateLocked() error {
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("coldstate: flush: %w", err)
	}
	s.memtable.flushing = flushed
	s.memtable.usedBytes = 0
	s.memtable.arenaBytes = min(2*s.memtable.arenaBytes, s.shares.memtableBytes)
	return nil
}

// EndWaits has commits, present and future, wait no more for a disk that is full: they fail, and nothing of them is
// applied. It is for a stop that has to end.
func (s *Store) EndWaits() { s.hurryOnce.Do(func() { close(s.hurry) }) }

// Close flushes and closes. It ends waiting commits with ErrClosed. The error is the flush's or the first that closing met; the
// store is closed in any case.
func (s *Store) Close() error {
	var err error
	first := false
	s.stopOnce.Do(func() { close(s.stopping); first = true })
	if !first {
		return ErrClosed
	}
	err = s.Flush()
	s.guard.close()
	s.life.Lock()
	defer s.life.Unlock()
	s.life.closed = true
	err = errors.Join(err, s.closePebble())
	s.guard.wait()
	return err
}

// closePebble closes the database. After a failure Pebble's books do not balance: what it says then tells nothing new.
func (s *Store) closePebble() (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if s.guard.err() == nil {
			panic(fmt.Sprintf("BUG: coldstate: close: %v", r))
		}
		s.fs.releaseLocks()
	}()
	err = s.db.Close()
	if s.guard.err() != nil {
		s.fs.releaseLocks()
		return nil
	}
	return err
}
