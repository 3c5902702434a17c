package seglog

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// readCursors is how many ends of earlier reads a log remembers, so that a consumer that reads on needs no index.
const readCursors = 4

// cursor says that the batch at or after offset begins at pos of the segment.
type cursor struct {
	seg         *segment
	offset, pos int64
}

// Log is one partition's directory: an append-only sequence of batches in segments.
//
// Locks, in the order in which they may be taken; no other is taken under a later one:
//
//	cleanMu        held by a cleaning from its begin to its end; see clean.go.
//	trimMu         serialises what moves the log start or drops segments. Held across I/O and BeforeTrim.
//	unkept.keeping of the store: names are being made durable. Under it appendMu is only tried.
//	reserving.mu   of the store: who has room ahead. Taken under the asker's appendMu too: under it another's is only tried.
//	appendMu       serialises appends, rolls and index flushes of the active segment. Held across write(2), never fsync.
//	rebuildMu      serialises index rebuilds of closed segments, and keeps them from a log that is deleted. Held across I/O.
//	unkept.texts   of the store: files of epochs and topic ids are being replaced.
//	journal.mu     of the store; given up where it waits. Held for memory accesses only, but for the journal's first opening.
//	segment.open   of one segment: its file. Held across opening and closing it.
//	heldTail.mu    of one segment: its bytes in memory. Held across their write(2).
//	fileCache.mu   of the store: its open files. Under it segment.open is only tried, and so is heldTail.mu where somebody may write.
//	mu             guards the fields below. Held for memory accesses only.
//	unkept.mu      of the store: logs with new names.
//	Store.mu       the committer's queue.
//
// Invariants:
//
//  1. start <= durable <= committed <= end, and each only grows.
//  2. mu.segments is never empty, ordered by base; the last one is active. Only the active one is written.
//  3. The active segment's file ends at size, or, after a failed cut, torn is set and the next append cuts first.
//  4. Bytes below segment.size are never changed: a reader needs a reference, not a lock.
type Log struct {
	store      *Store
	name, dir  string
	topicID    [16]byte
	epoch      int32 // leader epoch of this run
	listener   Listener
	beforeTrim func(newStart int64) error
	cfg        atomic.Pointer[Config]

	start, durable, committed, end atomic.Int64

	published atomic.Bool // recovered; before, everything belongs to the recovery

	closed  atomic.Bool // no more appends
	deleted atomic.Bool // directory renamed away
	dirMade atomic.Bool // the directory is there
	names   nameCount   // of the log's files and directory
	touched atomic.Bool // used since the janitor last looked
	hot     atomic.Bool // may hold open files or a tail

	cleanMu   sync.Mutex
	stopClean atomic.Bool  // the cleaning under way, if any, is to end: the log is being closed
	cleaned   atomic.Int64 // as in the start file; written under trimMu

	trimMu        sync.Mutex
	holes         int64 // as in the start file; guarded by trimMu
	recoveryPoint int64 // as in the start file; guarded by trimMu
	startFile     int64 // log start as in the start file; guarded by trimMu

	appendMu     sync.Mutex
	torn         bool  // a failed append's bytes are still behind size
	suspect      bool  // the active segment's index may lack entries after an unclean stop
	suspectFrom  int64 // with suspect: what was durable of the segment, in bytes
	activeSince  int64
	jitterMillis int64
	rebuildMu    sync.Mutex // serialises index rebuilds of closed segments

	mu struct {
		sync.Mutex
		segments      []*segment
		tail          *tail // index state of the active segment; nil while idle
		durable       Position
		committed     Position
		lastRound     *round // of the last append, while it may be open
		epochs        []epochStart
		epochDirty    bool      // epochs not durable yet
		metaDirty     bool      // partition.metadata is not there yet, or not durable
		textVersion   int       // of what they say; see names.go
		textJournaled bool      // a record has what they say
		indexSynced   int       // entries of the active offset index known to be synced
		syncAsked     bool      // RequestSync, or a roll: sync in the next pass
		pointNoted    int64     // recovery point handed to the janitor
		unsynced      int64     // records appended since the last snapshot of the committer
		due           time.Time // page-cache mode: when the unsynced data has to be synced; zero: not set
		cursors       [readCursors]cursor
		cursorNext    uint8
	}

	// Guarded by Store.mu.
	queued  bool // in the queue of the next pass
	waiting bool // in the store's list of unsynced page-cache logs
}

// tail is the index state of the active segment while it is in use. It is written by the holder of appendMu, under mu.
type tail struct {
	indexBuilder        // offsets and times are the entries not on file yet
	onFile       [2]int // entries of the offset index and of the time index on file
	first        int64  // timestamp of the first batch, for segment.ms
}

func (l *Log) config() *Config { return l.cfg.Load() }

// Start is the first offset that may be read.
func (l *Log) Start() int64 { return l.start.Load() }

// Durable is the end of what a power loss cannot take.
func (l *Log) Durable() int64 { return l.durable.Load() }

// Committed is the end of what readers see: the high watermark.
func (l *Log) Committed() int64 { return l.committed.Load() }

// End is the offset of the next append.
func (l *Log) End() int64 { return l.end.Load() }

// Position is the durable end as a place to recover from.
func (l *Log) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.durable
}

// SetConfig puts new settings in force for everything that follows.
func (l *Log) SetConfig(c *Config) {
	l.cfg.Store(c)
	// What waited under the old flush settings must not wait for ever under the new ones.
	if l.durable.Load() < l.end.Load() {
		l.RequestSync()
	}
}

// RequestSync asks for an fsync of everything appended so far, without waiting.
func (l *Log) RequestSync() { l.requestSync() }

func (l *Log) requestSync() Ticket {
	l.mu.Lock()
	l.mu.syncAsked = true
	l.mu.Unlock()
	return Ticket{l.store.join(l, true, 0)}
}

// PendingTicket covers everything appended so far, and starts a pass at once.
func (l *Log) PendingTicket() Ticket {
	l.mu.Lock()
	r := l.mu.lastRound
	pending := l.mu.committed.Offset < l.end.Load()
	l.mu.Unlock()
	if !pending || r == nil {
		return Ticket{}
	}
	l.store.hurry(l)
	return Ticket{r}
}

// SizeBytes is the size of all segments.
func (l *Log) SizeBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sizeLocked()
}

func (l *Log) sizeLocked() int64 {
	var n int64
	for _, s := range l.mu.segments {
		n += s.size
	}
	return n
}

// Segments describes the segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]SegmentInfo, len(l.mu.segments))
	for i, s := range l.mu.segments {
		out[i] = SegmentInfo{Base: s.base, End: l.segmentEndLocked(i), SizeBytes: s.size, Active: i == len(out)-1}
	}
	return out
}

// segmentEndLocked returns the first offset behind segment i.
func (l *Log) segmentEndLocked(i int) int64 {
	if i+1 < len(l.mu.segments) {
		return l.mu.segments[i+1].base
	}
	return l.end.Load()
}

func (l *Log) activeLocked() *segment { return l.mu.segments[len(l.mu.segments)-1] }

// findLocked returns the index of the segment that holds offset, or would: the last whose base is not above it.
func (l *Log) findLocked(offset int64) int {
	i, found := slices.BinarySearchFunc(l.mu.segments, offset, func(s *segment, o int64) int {
		switch {
		case s.base < o:
			return -1
		case s.base > o:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return max(i, 0)
}

// ReleaseFiles closes the log's open files and drops its index state, after writing it out. The next use loads both.
func (l *Log) ReleaseFiles() {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if !l.closed.Load() {
		l.releaseFilesLocked()
	}
}

// releaseFilesLocked is ReleaseFiles with appendMu held. A tail that cannot be written out stays.
func (l *Log) releaseFilesLocked() {
	l.hot.Store(false)
	if err := l.writeHeld(); err != nil {
		l.hot.Store(true)
		l.store.metrics.BackgroundErrors.Inc()
		return
	}
	if err := l.parkTailLocked(); err != nil {
		l.hot.Store(true)
		l.store.metrics.IndexWriteErrors.Inc()
	}
	l.mu.Lock()
	segments := slices.Clone(l.mu.segments)
	l.mu.Unlock()
	for _, s := range segments {
		if !l.store.files.closeFile(s) {
			l.hot.Store(true)
		}
	}
}

// Close makes what was appended durable, writes the index state out and closes the files. Appends fail from then on.
// Reads that are under way finish.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.endCleaning()
	l.appendMu.Lock() // an append that passed the check of closed has finished then
	err := l.writeHeld()
	l.appendMu.Unlock()
	if serr := l.settle(); err == nil {
		err = serr
	}
	l.appendMu.Lock()
	perr := l.cutTornLocked()
	if err == nil {
		err = perr
	}
	if perr = l.writeLast(); perr == nil {
		perr = l.parkTailLocked()
	}
	l.releaseFilesLocked()
	if perr != nil || l.suspect {
		// A missing index is rebuilt, a wrong one might be believed.
		perr = l.removeIndexes()
	}
	l.appendMu.Unlock()
	l.store.forget(l)
	if err == nil {
		err = perr
	}
	return err
}

// writeLast writes what the log holds in memory. Where that fails the journal alone has what was acknowledged, so it must stay: the
// error takes the store offline. appendMu is held.
func (l *Log) writeLast() error {
	err := l.writeHeld()
	if err != nil && !l.deleted.Load() {
		l.store.SetOffline(fmt.Errorf("close %s: %w", l.name, err))
	}
	return err
}

// cutTornLocked removes what a failed append left behind: the next start, if this stop is clean, trusts the whole file.
func (l *Log) cutTornLocked() error {
	if !l.torn || l.deleted.Load() || l.store.isOffline.Load() {
		return nil
	}
	l.mu.Lock()
	s := l.activeLocked()
	l.mu.Unlock()
	return l.cutLocked(s)
}

// settle waits for the committer to have synced everything that was appended.
func (l *Log) settle() error {
	end := l.end.Load() // closed: nothing is appended any more
	settled := func() bool {
		if _, some := l.names.dirty(); some || !l.dirMade.Load() {
			return !some && l.Durable() >= end // nothing was ever written
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.mu.durable.Offset >= end && !l.textsDirtyLocked()
	}
	if settled() {
		return nil
	}
	t := l.requestSync()
	<-t.Done()
	if err := t.Err(); err != nil {
		return fmt.Errorf("close %s: %w", l.name, err)
	}
	if !settled() && !l.deleted.Load() {
		return fmt.Errorf("%w: close %s: the epochs or the topic id could not be written", ErrIO, l.name)
	}
	return nil
}

// removeIndexes unlinks the active segment's indexes, so that the next use rebuilds them.
func (l *Log) removeIndexes() error {
	l.mu.Lock()
	s := l.activeLocked()
	l.mu.Unlock()
	return s.removeIndexFiles()
}

// Name is the name of the log's directory.
func (l *Log) Name() string { return l.name }

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }
