package seglog

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// deletedSuffix ends the names of directories whose log is gone and whose files wait to be unlinked, as in Kafka.
const deletedSuffix = "-delete"

// stoppedRound is what an append joins that comes after the last pass.
var stoppedRound = func() *round {
	r := &round{done: closedChan, err: fmt.Errorf("%w: store", ErrClosed)}
	return r
}()

// Store is one data directory: its logs, the committer that makes them durable, the open files that they share, and
// the janitor that unlinks what is gone.
type Store struct {
	fs           storeFS
	dir          string
	freeBytesMin int64
	metrics      *metrics.Log
	logger       *slog.Logger
	files        *fileCache
	committer    *committer
	journal      *journal
	reserving    reserving
	janitor      *janitor

	wake    chan struct{} // one pending wake-up of the committer
	closing chan struct{} // closed when Close begins
	stop    chan struct{}
	stopped chan struct{} // the committer has ended

	syncMu sync.Mutex // one syncfs at a time; a leaf but for mu

	isOffline atomic.Bool
	closed    atomic.Bool    // set under mu
	opening   sync.WaitGroup // recoveries under way; added to under mu while not closed
	freeLow   atomic.Bool
	filesFew  atomic.Bool // files are made at once
	dirs      nameCount   // directories of logs that this process has made
	unkept    unkept
	held      heldBytes
	written   atomic.Int64 // bytes since the last look at the free space

	writeAgainWait time.Duration // the constant of that name, or less in a test

	mu struct {
		sync.Mutex
		offline    error
		round      *round
		queue      []*Log // logs that joined the round
		hurry      bool   // somebody waits for the round
		due        time.Time
		waiting    []*Log // page-cache logs with unsynced data
		waitingDue time.Time
		stopped    bool
		logs       map[string]*Log
	}
}

// OpenStore opens a data directory and starts its committer. The caller has locked the directory.
func OpenStore(o Options) (*Store, error) {
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIO, err)
	}
	s := &Store{
		dir: o.Dir, metrics: o.Metrics, logger: o.Logger,
		freeBytesMin: cmp.Or(o.FreeBytesMin, FreeBytesMinDefault),
		wake:         make(chan struct{}, 1), closing: make(chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if s.metrics == nil {
		s.metrics = metrics.New().Log
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.files = &fileCache{max: cmp.Or(o.OpenFilesMax, OpenFilesMaxDefault), onCount: func(n int) { s.metrics.OpenFiles.Set(float64(n)) }}
	s.fs = storeFS{o.FS, s}
	s.held.tailMax = cmp.Or(o.heldTailMax, heldTailMax)
	s.writeAgainWait = cmp.Or(o.writeAgainWait, writeAgainWait)
	s.mu.round = newRound(s)
	s.mu.logs = map[string]*Log{}
	s.refreshFree()
	s.journal = newJournal(s, cmp.Or(o.JournalBytes, JournalBytesDefault))
	if err := s.journal.replay(); err != nil {
		return nil, err
	}
	s.committer = &committer{s: s}
	s.janitor = newJanitor(s)
	if err := s.janitor.adoptDeleted(); err != nil {
		return nil, err
	}
	go s.committer.run()
	go s.janitor.run()
	return s, nil
}

// makeDir makes the data directory, and its name and the names in it durable: the process that made them may have been
// killed before it could.
func makeDir(fsys disk.FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	return fsys.KeepForSyncFS(dir) // while there are handles: see storeFS.SyncDir
}

// Close ends recoveries that are under way, closes every log that is still open, makes a final pass and stops. After an error the stop is not clean.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed.Swap(true)
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.closing)
	s.opening.Wait()
	var errs []error
	logs := s.openLogs()
	for _, l := range logs {
		l.appendMu.Lock()
		_ = l.writeHeld() // Close tries again
		l.appendMu.Unlock()
	}
	for _, l := range logs {
		l.RequestSync() // all of them in one or two passes, not in one each
	}
	for _, l := range logs {
		if err := l.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	close(s.stop)
	<-s.stopped
	s.janitor.close()
	// The index files of closed logs, the names of those that were removed, and what is durable by the journal alone.
	err := s.syncFS()
	if cerr := s.journal.close(err == nil); err == nil && cerr != nil {
		err = fmt.Errorf("%w: end the journal: %w", ErrIO, cerr)
	}
	return errors.Join(append(errs, err)...)
}

func (s *Store) openLogs() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Log, 0, len(s.mu.logs))
	for _, l := range s.mu.logs {
		if l.published.Load() {
			out = append(out, l)
		}
	}
	return out
}

// writable says whether appends may be tried.
func (s *Store) writable() error {
	switch {
	case s.isOffline.Load():
		return s.Offline()
	case s.closed.Load():
		return fmt.Errorf("%w: store", ErrClosed)
	case s.freeLow.Load():
		return fmt.Errorf("%w: less than %d bytes free in %s", ErrDiskFull, s.freeBytesMin, s.dir)
	}
	return nil
}

// join puts the log into the queue of the open round. Without urgency the pass starts after delay at the latest; a delay
// below zero waits for somebody else.
func (s *Store) join(l *Log, urgent bool, delay time.Duration) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.mu.round
	if s.mu.stopped {
		return r
	}
	if !l.queued {
		l.queued = true
		s.mu.queue = append(s.mu.queue, l)
	}
	switch {
	case urgent:
		s.hurryLocked()
	case delay >= 0:
		s.dueLocked(&s.mu.due, time.Now().Add(delay))
	}
	return r
}

// hurry starts a pass at once if the log waits for one.
func (s *Store) hurry(l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.queued {
		s.hurryLocked()
	}
}

func (s *Store) hurryLocked() {
	if !s.mu.hurry {
		s.mu.hurry = true
		s.signal()
	}
}

// dueLocked moves a deadline forward and has the committer set its timer anew.
func (s *Store) dueLocked(due *time.Time, at time.Time) {
	if due.IsZero() || at.Before(*due) {
		*due = at
		s.signal()
	}
}

// waitUntil keeps a page-cache log in mind until its unsynced data is due.
func (s *Store) waitUntil(l *Log, due time.Time) {
	if due.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.waiting {
		l.waiting = true
		s.mu.waiting = append(s.mu.waiting, l)
	}
	s.dueLocked(&s.mu.waitingDue, due)
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// nextDue is when the committer has to look again if nobody hurries.
func (s *Store) nextDue() (due time.Time, armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due = s.mu.due
	if due.IsZero() || !s.mu.waitingDue.IsZero() && s.mu.waitingDue.Before(due) {
		due = s.mu.waitingDue
	}
	return due, !due.IsZero()
}

func (s *Store) passDue(now time.Time, stop bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	return stop || s.mu.hurry || over(s.mu.due) || over(s.mu.waitingDue) || s.mu.offline != nil && len(s.mu.queue) > 0
}

// refreshFree looks the free space up. A look that fails changes nothing.
func (s *Store) refreshFree() {
	s.written.Store(0)
	s.refreshFiles()
	free, err := s.fs.FreeBytes(s.dir)
	if err != nil {
		return
	}
	s.metrics.FreeBytes.Set(float64(free))
	if low := free < s.freeBytesMin; s.freeLow.Swap(low) != low {
		s.logger.Warn("free space of the data directory", "dir", s.dir, "bytes", free, "minimum", s.freeBytesMin, "appends_refused", low)
		if low {
			s.reserving.giveBackAll()
		}
	}
}

func (s *Store) refreshFreeAfter(bytes int64) {
	if s.written.Load() >= bytes {
		s.refreshFree()
	}
}

// checkTopicID compares partition.metadata with the topic. A zero id matches all, and wants no file.
func checkTopicID(fsys disk.FS, dir string, topicID [16]byte) (missing bool, err error) {
	if topicID == ([16]byte{}) {
		return false, nil
	}
	name := filepath.Join(dir, metadataFileName)
	b, err := disk.ReadFile(fsys, name, metadataBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w: %s: %w", ErrIO, name, err)
	}
	found, err := decodeMetadata(b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if found != topicID {
		return false, fmt.Errorf("%w: %s is of topic %s, expected %s", ErrTopicID, dir, topicIDString(found), topicIDString(topicID))
	}
	return false, nil
}

// DeleteLog removes a log: its name is gone durably on return, its files are unlinked in the background. l may be nil if
// the log is not open. A log that does not exist is no error. Readers under way finish, or get ErrClosed. After an error l can do nothing but
// be deleted again.
func (s *Store) DeleteLog(name string, l *Log) error {
	if err := s.Offline(); err != nil {
		return err
	}
	if l != nil {
		unlock := l.markDeleted()
		defer unlock()
	}
	// From here on the names of its files may become those of others.
	if err := s.journal.retire(name); err != nil {
		// Of several logs that are deleted none waits for what another one lacks.
		if l != nil && !mayWriteAgain(err) {
			l.deleted.Store(false)
		}
		return err
	}
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // never fails
	suffix := "." + hex.EncodeToString(unique[:]) + deletedSuffix
	gone := filepath.Join(s.dir, name[:min(len(name), 255-len(suffix))]+suffix)
	err := s.fs.Rename(filepath.Join(s.dir, name), gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if l != nil {
			l.deleted.Store(false) // its files are where they were
		}
		return fmt.Errorf("%w: delete %s: %w", ErrIO, name, err)
	}
	if l != nil {
		s.forget(l)
		l.mu.Lock()
		l.mu.tail = nil
		segments := append([]*segment(nil), l.mu.segments...)
		l.mu.Unlock()
		for _, seg := range segments {
			s.files.closeFile(seg)
		}
	}
	if err == nil {
		s.janitor.removeDir(gone)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("%w: delete %s: %w", ErrIO, name, err)
	}
	return nil
}

// markDeleted keeps everybody who writes to the log's directory by name away: from then on the name may become a new
// log's. Who holds one of the locks has finished; a pass of the committer that had begun is waited for.
func (l *Log) markDeleted() (unlock func()) {
	l.endCleaning()
	l.trimMu.Lock()
	l.appendMu.Lock()
	l.rebuildMu.Lock()
	l.closed.Store(true)
	l.deleted.Store(true)
	<-l.requestSync().Done()
	return func() {
		l.rebuildMu.Unlock()
		l.appendMu.Unlock()
		l.trimMu.Unlock()
	}
}

// forget takes a closed log out of the store's list.
func (s *Store) forget(l *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.logs[l.name] == l {
		delete(s.mu.logs, l.name)
	}
}

// isDeletedDir says whether a name in the data directory is a deleted log's.
func isDeletedDir(name string) bool {
	stem, ok := strings.CutSuffix(name, deletedSuffix)
	if !ok {
		return false
	}
	i := strings.LastIndexByte(stem, '.')
	return i > 0 && len(stem)-i-1 == 32 && strings.Trim(stem[i+1:], "0123456789abcdef") == ""
}
