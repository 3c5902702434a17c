package coldstate

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"ottla/internal/disk"
)

// guard stands between Pebble and everything it would do about a failure.
//
// By itself Pebble ends the process (Logger.Fatalf) or panics when its manifest or a directory cannot be written, and does so
// holding its mutex; it retries any other failed flush or compaction at once and for ever. Here, after a failure that is final
// the guard is dead:
//   - The file system under Pebble refuses every change, so that nothing wrong can follow on the disk, and only reads go on.
//   - Errors of the manifest, its marker and the directory are kept from Pebble, which goes on with books that balance
//     but are no longer written. Whoever asks this package what is durable gets ErrFatal instead of an answer.
//   - Whoever asks for a new table waits until Close, and no compaction is started, so that nothing spins.
//
// The store can then still be closed in the ordinary way and leaves no goroutine behind. Fatalf returns; what is left to call
// it are broken invariants inside Pebble.
type guard struct {
	fs      disk.FS
	dir     string
	onFatal func(error)
	logger  *slog.Logger

	dead    chan struct{} // closed by the first fatal error
	closing chan struct{} // closed by Close: parked goroutines go on, and fail
	tasks   sync.WaitGroup

	mu struct {
		sync.Mutex
		fatal  error
		isOpen bool
		closed bool
		// failed is closed and replaced by each failure that is not fatal, changed by each flush and compaction.
		failed, changed chan struct{}
		last            error
		// pausing makes the next creation of a table wait, so that a full disk is not retried in a loop.
		pausing bool
	}
}

func newGuard(o Options) *guard {
	g := &guard{
		fs: o.FS, dir: o.Dir, onFatal: o.OnFatal, logger: o.Logger,
		dead: make(chan struct{}), closing: make(chan struct{}),
	}
	g.mu.failed, g.mu.changed = make(chan struct{}), make(chan struct{})
	return g
}

// opened ends the time in which a failure is Open's to report, and returns it if there was one.
func (g *guard) opened() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.isOpen = g.mu.fatal == nil
	return g.mu.fatal
}

func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.closed {
		g.mu.closed = true
		close(g.closing)
	}
}

func (g *guard) wait() { g.tasks.Wait() }

// fatal kills the store. It may be called with any of Pebble's locks held.
func (g *guard) fatal(cause error) {
	g.mu.Lock()
	if g.mu.fatal != nil {
		g.mu.Unlock()
		return
	}
	err := fmt.Errorf("%w: %w", ErrFatal, cause)
	g.mu.fatal = err
	close(g.dead)
	report := g.mu.isOpen && !g.mu.closed
	g.mu.Unlock()
	if report {
		g.report(err)
	}
}

// report runs on its own goroutine: OnFatal takes locks of others, and its caller may hold Pebble's.
func (g *guard) report(err error) {
	g.tasks.Go(func() {
		if errors.Is(err, ErrCorrupt) {
			g.markCorrupt()
		}
		if g.onFatal != nil {
			g.onFatal(err)
		}
	})
}

// markCorrupt has the next Open refuse the store, because damage deep in a table would not show then.
func (g *guard) markCorrupt() {
	if err := disk.WriteFileAtomic(g.fs, filepath.Join(g.dir, corruptFile), nil); err != nil {
		g.logger.Error("cold store is damaged and could not be marked so", "dir", g.dir, "error", err)
	}
}

// err returns the fatal error, if there is one.
func (g *guard) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.fatal
}

func (g *guard) lastFailure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.last
}

// failures returns a channel that the next failure closes.
func (g *guard) failures() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.failed
}

// changes returns a channel that the next end of a flush or compaction closes.
func (g *guard) changes() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.changed
}

func (g *guard) notifyChanged() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.mu.changed)
	g.mu.changed = make(chan struct{})
}

// backgroundError is told of every flush, compaction or collection of statistics that failed and will be tried again.
func (g *guard) backgroundError(err error) {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		if pebble.IsCorruptionError(err) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		g.fatal(err)
		return
	}
	g.logger.Warn("cold store: disk is full, will try again", "error", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.last, g.mu.pausing = err, true
	close(g.mu.failed)
	g.mu.failed = make(chan struct{})
}

// takePause says whether the caller has to wait before it tries again.
func (g *guard) takePause() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	pausing := g.mu.pausing
	g.mu.pausing = false
	return pausing
}

// parks says whether a goroutine of Pebble's has to wait for Close instead of failing at once.
func (g *guard) parks() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.isOpen && g.mu.fatal != nil
}

// Infof implements pebble.Logger.
func (g *guard) Infof(format string, args ...any) {
	g.logger.Debug("cold store: " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (g *guard) Errorf(format string, args ...any) {
	g.logger.Warn("cold store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger and returns, see guard.
func (g *guard) Fatalf(format string, args ...any) {
	g.fatal(fmt.Errorf(format, args...))
}

// listener returns what Pebble tells of its background work. Pebble holds its lock meanwhile: nothing here may take a lock
// under which Pebble is asked anything.
func (g *guard) listener(s *Store) *pebble.EventListener {
	changed := func() {
		s.tables.Add(1)
		g.notifyChanged()
	}
	return &pebble.EventListener{
		BackgroundError: g.backgroundError,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			g.fatal(fmt.Errorf("%w: %s", ErrCorrupt, info))
		},
		FlushEnd: func(pebble.FlushInfo) { changed() },
		CompactionEnd: func(pebble.CompactionInfo) {
			s.metrics.Compactions.Inc()
			changed()
		},
	}
}
