package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"ottla/internal/disk"
)

const (
	// filesSyncedOneByOneMax is how many dirty files a pass fsyncs one by one; more share one syncfs. Measured on ext4 with
	// 64 appenders over four files: 110 to 145 us an append one by one, 50 to 70 us with syncfs.
	filesSyncedOneByOneMax = 2
	// freeCheckBytes is how much may be written between two looks at the free space.
	freeCheckBytes = 64 << 20
)

// committer makes what was appended durable, for all logs of a data directory, and tells who waits.
//
// Its job in one sentence: whoever appended before a pass began is, when it ends, told that his batch is durable, and
// everybody who arrives meanwhile shares the next pass.
//
// Invariants:
//
//  1. A round is open (appends join it) or taken by exactly one pass; passes run one after the other, in one goroutine.
//  2. An append joins a round after its write(2) returned and its log's end moved, in that order. A pass takes the round
//     first and looks at the logs' ends second. So whatever joined the round is covered by the ends that it sees.
//  3. A pass publishes, per log, only the end that it saw before its fsync. What was written during the fsync may be
//     durable or not; it belongs to a later round.
//  4. Offsets are published before the round is closed: who was told "done" finds his batch readable.
//  5. A failed fsync is never retried: the kernel has marked the pages clean, and a second fsync would succeed without
//     having written them. The round fails, the store is offline, and all later rounds fail.
//  6. The names of new files, of the log's directory, its epoch lines and its topic id are durable before its offsets are
//     published, or in a record of the journal that is not dead before they are. But where a file for epochs or topic id
//     cannot be written at all, nothing waits for it: the next pass tries again, and an open that misses one makes it.
//
// Outline:
//
//	wait until somebody is in a hurry, or the oldest lazy append is due
//	under Store.mu: take the round and the queue of logs; open a new round
//	for each log, under its mu: note end; collect files written since the last pass
//	only little to make durable: a record in the journal; else
//	write what is in memory alone; one or two files: fdatasync each; else one syncfs. Then rename epoch and metadata
//	files and fsync directories
//	for each log, under its mu: move durable (and committed); then call its Listener
//	close the round
//
// The lock order is Log.mu before Store.mu (an append joins under its log's lock); the pass holds neither while it
// syncs.
//
// Rejected: one fsync per log by the appender that comes first (a leader per log). It needs no queue, but sixteen busy
// partitions make sixteen fsyncs where the device does them one after the other anyway; with one syncfs they share it.
// Also rejected: waiting a little for company before a pass. The pass that runs is that wait. A request for many logs is
// another matter: its appends join without urgency and the last one hurries, so that one pass covers the request.
type committer struct {
	s     *Store
	logs  []*Log // of this pass; reused
	spare []*Log // the other half of the double buffer
	plan  plan
}

// plan is what one pass syncs. It is reused by the next.
type plan struct {
	targets []target
	files   []dirtyFile // data files
	letGo   int         // how many of those are not held any more: see syncAll
	indexes []*segment  // index files
	named   []dirtyNames
	names   []byte // what the records of those carry
	texts   []textFile
	made    int64 // directories of logs made before the sync
	late    bool  // there is data that was written long ago: see journaled
	full    bool  // there are names or texts that no record can carry
}

// dirtyFile is a data file with the bytes that were written since they were last durable.
type dirtyFile struct {
	*segment
	from, to int64
	names    []byte // what a record says of names and texts that are not durable: see appendTextsLocked; nil: all are
}

// dirtyNames are of a log with names or texts that are not known to be durable.
type dirtyNames struct {
	log     *Log
	made    int64 // names, before the sync
	version int   // of its texts
	epochs  bool  // the file of epochs has to be written
	meta    bool  // that of the topic id
	failed  bool  // one of them could not be, or is left to somebody else
}

// target is what a pass will publish of one log.
type target struct {
	log  *Log
	end  Position
	sync bool // false: only tell the listener what is committed
}

// textFile is a log's file of epochs or its metadata file: complete under a temporary name.
type textFile struct {
	named int // index in plan.named
	name  string
	file  disk.File // nil: closed
}

// run makes passes until the store stops.
func (c *committer) run() {
	defer close(c.s.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		stop := false
		if due, armed := c.s.nextDue(); armed {
			timer.Reset(time.Until(due))
		}
		select {
		case <-c.s.wake:
		case <-timer.C:
		case <-c.s.stop:
			stop = true
		}
		if c.s.passDue(time.Now(), stop) {
			c.pass(time.Now(), stop)
		}
		if stop {
			return
		}
	}
}

func (c *committer) pass(now time.Time, last bool) {
	r := c.take(now, last)
	err := c.s.Offline()
	if err == nil {
		c.prepare(now, last)
		if err = c.sync(); err != nil {
			c.s.SetOffline(err)
			err = c.s.Offline()
		} else {
			c.publish()
		}
		c.plan.reset()
	}
	c.s.metrics.Passes.Inc()
	c.s.refreshFreeAfter(freeCheckBytes)
	c.s.metrics.DirtyLogs.Observe(float64(len(c.logs)))
	clear(c.logs)
	c.spare = c.logs[:0]
	r.err = err
	close(r.done)
}

// take takes the open round and the queue, and opens a new round. The last pass leaves a round that is over.
func (c *committer) take(now time.Time, last bool) *round {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.mu.round
	if last {
		s.mu.round = stoppedRound
		s.mu.stopped = true
	} else {
		s.mu.round = newRound(s)
	}
	c.logs, s.mu.queue = s.mu.queue, c.spare
	s.mu.hurry, s.mu.due = false, time.Time{}
	if last || !s.mu.waitingDue.IsZero() && !s.mu.waitingDue.After(now) {
		// Page-cache logs whose flush.ms is over, and, in case, others: prepare finds out which.
		for _, l := range s.mu.waiting {
			l.waiting = false
			if !l.queued {
				c.logs = append(c.logs, l)
			}
		}
		clear(s.mu.waiting)
		s.mu.waiting, s.mu.waitingDue = s.mu.waiting[:0], time.Time{}
	}
	for _, l := range c.logs {
		l.queued = false
	}
	return r
}

// prepare notes what each log has and collects what must be synced.
func (c *committer) prepare(now time.Time, last bool) {
	p := &c.plan
	for _, l := range c.logs {
		if l.deleted.Load() {
			continue
		}
		l.mu.Lock()
		t := target{log: l, end: l.endLocked(), sync: last || l.syncDueLocked(now)}
		due := l.mu.due
		if t.sync {
			cfg := l.config()
			p.late = p.late || cfg.pageCache() || cfg.lazyDelay() > lazyCommitMax || l.mu.committed.Offset > l.mu.durable.Offset
			first := len(p.files)
			l.collectLocked(p)
			l.collectNamesLocked(p, first, last || c.s.closed.Load() || l.closed.Load())
		}
		l.mu.Unlock()
		p.targets = append(p.targets, t)
		if !t.sync {
			c.s.waitUntil(l, due)
		}
	}
}

// collectNamesLocked notes what of the log's names and texts is not durable, for the records of its files from first on. A log that is
// closing has them made durable by themselves.
func (l *Log) collectNamesLocked(p *plan, first int, closing bool) {
	unmade := slices.ContainsFunc(p.files[first:], func(d dirtyFile) bool { return d.unmade() })
	_, made := l.names.dirty()                                                  // looked at second: see segment.unmade
	texts := l.textsDirtyLocked() && (len(p.files) > first || l.dirMade.Load()) // what was never written to leaves nothing
	if !unmade && !made && !texts {
		return
	}
	// Texts that a record has are not this pass's: the record is not dead before they are durable.
	write := texts && (closing || !l.mu.textJournaled)
	n := dirtyNames{log: l, version: l.mu.textVersion, epochs: write && l.mu.epochDirty, meta: write && l.mu.metaDirty, failed: texts && !write}
	if len(p.files) > first {
		from := len(p.names)
		p.names = l.appendTextsLocked(p.names)
		p.full = p.full || closing || len(p.names)-from > journalNamesMax
		for i := range p.files[first:] {
			p.files[first+i].names = p.names[from:len(p.names):len(p.names)]
		}
	} else if closing || texts && !l.mu.textJournaled {
		p.full = true
	} else {
		return // a record has them, or nothing is there that they could be of
	}
	p.named = append(p.named, n)
}

func (l *Log) endLocked() Position {
	s := l.activeLocked()
	return Position{Offset: l.end.Load(), SegmentBase: s.base, Position: s.size}
}

// syncDueLocked says whether this pass has to sync the log, and if not yet, notes when.
func (l *Log) syncDueLocked(now time.Time) bool {
	cfg := l.config()
	// What was appended under other settings is not committed before it is durable, whatever they are by now.
	uncommitted := l.mu.committed.Offset < l.end.Load()
	if !cfg.pageCache() || uncommitted || l.mu.syncAsked || l.mu.unsynced >= cfg.FlushMessages {
		return true
	}
	if !l.mu.due.IsZero() {
		return !l.mu.due.After(now)
	}
	if delay := cfg.lazyDelay(); delay >= 0 && l.mu.unsynced > 0 {
		l.mu.due = now.Add(delay)
	}
	return false
}

// collectLocked takes references of the segments with unsynced data.
func (l *Log) collectLocked(p *plan) {
	l.mu.syncAsked, l.mu.unsynced, l.mu.due = false, 0, time.Time{}
	segments := l.mu.segments
	for i := len(segments) - 1; i >= 0 && (i == len(segments)-1 || segments[i+1].base >= l.mu.durable.SegmentBase); i-- {
		s := segments[i]
		// The reference comes before the flag is cleared: see segment.unsynced.
		s.acquireLocked()
		if s.unsynced.Swap(false) {
			d := dirtyFile{segment: s, to: s.size}
			if s.base == l.mu.durable.SegmentBase {
				d.from = l.mu.durable.Position
			}
			p.files = append(p.files, d)
		} else {
			s.refs.Add(-1) // in the list, so not dropped
		}
		if s.indexUnsynced {
			s.indexUnsynced = false
			s.acquireLocked()
			p.indexes = append(p.indexes, s)
		}
	}
	if t := l.mu.tail; t != nil && t.onFile[0]-l.mu.indexSynced > indexUnsyncedMax-indexPendingLimit {
		l.mu.indexSynced = t.onFile[0]
		s := l.activeLocked()
		s.acquireLocked()
		p.indexes = append(p.indexes, s)
	}
}

// makeFiles makes what is in memory alone, and notes which names are there. An error is final: what was appended cannot be taken back.
func (p *plan) makeFiles(s *Store) error {
	many := len(p.files) > filesSyncedOneByOneMax // one syncfs, which needs no handles: the file after the next may need one of theirs
	at := 0
	err := s.noHandleAgain(func() error {
		for ; at < len(p.files); at++ {
			if err := p.files[at].writeHeld(); err != nil {
				return err
			}
			if many {
				p.letNextGo()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range p.named {
		n := &p.named[i]
		n.made, _ = n.log.names.dirty()
	}
	p.made, _ = s.dirs.dirty()
	return nil
}

// addTexts writes the texts under temporary names.
func (p *plan) addTexts() {
	for i := range p.named {
		n := &p.named[i]
		if n.epochs {
			n.log.mu.Lock()
			data := encodeEpochs(n.log.mu.epochs)
			n.version = n.log.mu.textVersion
			n.log.mu.Unlock()
			p.addText(i, epochFileName, data)
		}
		if n.meta {
			p.addText(i, metadataFileName, encodeMetadata(n.log.topicID))
		}
	}
}

// addText writes a new file, to be renamed when it is durable. If that fails what it holds stays dirty: the next pass tries
// again, and no fsync has failed. Where there are so many files that syncfs will be used, none is left open.
func (p *plan) addText(named int, name string, data []byte) {
	l := p.named[named].log
	f, err := l.store.fs.Create(l.path(name + tempSuffix))
	if err == nil {
		_, err = f.WriteAt(data, 0)
		if err != nil || len(p.texts) >= filesSyncedOneByOneMax {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			f = nil
		}
	}
	if err != nil {
		p.textFailed(named)
		return
	}
	p.texts = append(p.texts, textFile{named, name, f})
}

func (p *plan) textFailed(named int) {
	n := &p.named[named]
	n.failed = true
	n.log.store.metrics.BackgroundErrors.Inc()
}

// sync makes the plan durable. Its error is final.
func (c *committer) sync() error {
	p, s := &c.plan, c.s
	defer p.release()
	if len(p.files)+len(p.indexes)+len(p.named) == 0 {
		return nil
	}
	start := time.Now()
	done, err := c.journaled()
	if !done && err == nil {
		err = c.syncPlan()
	}
	s.metrics.FsyncSeconds.Observe(time.Since(start).Seconds())
	return err
}

// syncPlan makes the plan durable without a record.
func (c *committer) syncPlan() error {
	p, s := &c.plan, c.s
	if err := p.makeFiles(s); err != nil {
		return err
	}
	s.unkept.texts.Lock()
	defer s.unkept.texts.Unlock()
	p.addTexts()
	files := len(p.files) + 2*len(p.indexes) + len(p.texts)
	all := files > filesSyncedOneByOneMax
	var err error
	if all {
		err = p.syncAll(s)
	} else if handles, ok := p.open(); ok {
		err = s.syncFiles(handles)
	} else {
		all, err = true, s.syncFS()
	}
	if err != nil {
		return err
	}
	// syncfs has made the names durable too, but for the ones that follow now.
	var dirs []*Log
	if all {
		s.dirs.areKept(p.made)
	} else {
		dirs = p.dirs()
	}
	if err = s.syncDirs(p.rename(dirs)); err == nil && !all {
		err = s.keepDirs()
	}
	if err == nil {
		p.namesAreKept()
	}
	return err
}

// dirs are the directories with names that are not durable.
func (p *plan) dirs() (out []*Log) {
	for _, n := range p.named {
		if n.made > n.log.names.kept.Load() {
			out = append(out, n.log)
		}
	}
	return out
}

func (p *plan) namesAreKept() {
	for _, n := range p.named {
		n.log.names.areKept(n.made)
		if !n.failed {
			n.log.textsAreKept(n.version)
		}
	}
}

// rename gives the files their names, now that their content is durable, and adds the directories to those to be synced.
func (p *plan) rename(dirs []*Log) []*Log {
	for _, t := range p.texts {
		l := p.named[t.named].log
		if err := l.store.fs.Rename(l.path(t.name+tempSuffix), l.path(t.name)); err != nil {
			if !l.deleted.Load() {
				p.textFailed(t.named)
			}
		} else if len(dirs) > filesSyncedOneByOneMax || !slices.Contains(dirs, l) { // syncfs does not mind one that is there twice
			dirs = append(dirs, l)
		}
	}
	return dirs
}

// journaled makes the plan durable by a record of the journal, if that can be had. What was written long ago, as by a page-cache
// log, is not read back for it: a failed write-back of it would not be noticed.
func (c *committer) journaled() (done bool, err error) {
	p := &c.plan
	if c.s.journal.bytesMax <= 0 || p.late || p.full || len(p.indexes) > 0 {
		return false, nil
	}
	limit := journalRecordBytes(len(p.files))
	if len(p.named) > 0 {
		limit = max(limit, journalNamesRecordMax)
	}
	if done, err = c.s.journal.write(p.files, limit); done {
		for _, n := range p.named {
			n.log.textsAreJournaled(n.version)
		}
	}
	return done, err
}

type syncHandle struct {
	log  *Log
	file disk.File
}

// open returns the files to sync; not ok says that their handles would not tell the whole truth, and syncfs has to. The
// segments keep their handles.
func (p *plan) open() (out []syncHandle, ok bool) {
	ok = true
	for _, s := range p.files {
		f, err := s.handle(false)
		if err != nil || s.closedDirty.Swap(false) {
			ok = false
			continue
		}
		out = append(out, syncHandle{s.log, f})
	}
	return out, ok
}

// syncAll makes everything durable with one syncfs. That needs no handles, so it holds no reference meanwhile: else the
// cache of open files could close none of what was written last, however many files that are. What it closes during the
// syncfs counts as dirty still.
func (p *plan) syncAll(s *Store) error {
	for p.letGo < len(p.files) {
		p.letNextGo()
	}
	err := s.syncFS()
	p.releaseFiles()
	return err
}

func (p *plan) letNextGo() {
	seg := p.files[p.letGo].segment
	seg.syncing.Store(true)
	seg.closedDirty.Store(false)
	seg.release()
	p.letGo++
}

func (p *plan) releaseFiles() {
	for i, d := range p.files {
		if i < p.letGo {
			d.syncing.Store(false)
		} else {
			d.release()
		}
	}
	clear(p.files)
	p.files, p.letGo = p.files[:0], 0
}

// syncFS is told of a failed write-back once, whoever asks: so one asks at a time, and with the one that is told the store
// is offline before the next asks.
func (s *Store) syncFS() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if err := s.Offline(); err != nil {
		return err
	}
	s.metrics.Fsyncs.Inc()
	if err := s.fs.SyncFS(s.dir); err != nil {
		s.SetOffline(fmt.Errorf("syncfs %s: %w", s.dir, err))
	}
	return s.Offline()
}

func (s *Store) syncFiles(handles []syncHandle) error {
	p := &s.committer.plan
	for _, h := range handles {
		s.metrics.Fsyncs.Inc()
		if err := h.file.Sync(); err != nil {
			return fmt.Errorf("fsync %s: %w", h.log.name, err)
		}
	}
	for _, t := range p.texts {
		s.metrics.Fsyncs.Inc()
		if err := t.file.Sync(); err != nil {
			return fmt.Errorf("fsync %s: %w", p.named[t.named].log.path(t.name), err)
		}
	}
	for _, seg := range p.indexes {
		for _, suffix := range []string{timeIndexSuffix, indexSuffix} {
			if err := s.syncIndex(seg, suffix); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncIndex syncs an index file. One that is missing will be rebuilt; one that cannot be opened is there all the same, and
// would be believed after a power loss.
func (s *Store) syncIndex(seg *segment, suffix string) error {
	f, err := s.fs.OpenReadWrite(seg.path(suffix), false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return s.syncFS()
	}
	s.metrics.Fsyncs.Inc()
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("fsync %s: %w", seg.path(suffix), err)
	}
	return nil
}

func (s *Store) syncDirs(dirs []*Log) error {
	if len(dirs) > filesSyncedOneByOneMax {
		return s.syncFS()
	}
	for _, l := range dirs {
		if err := s.fs.SyncDir(l.dir); err != nil && !l.deleted.Load() {
			return fmt.Errorf("fsync directory %s: %w", l.dir, err)
		}
	}
	return nil
}

// release gives back what the plan holds, whatever became of it.
func (p *plan) release() {
	p.releaseFiles()
	for _, s := range p.indexes {
		s.release()
	}
	for _, t := range p.texts {
		if t.file != nil {
			_ = t.file.Close() // synced, or the store is offline
		}
	}
}

func (p *plan) reset() {
	clear(p.targets)
	clear(p.files)
	clear(p.indexes)
	clear(p.texts)
	clear(p.named)
	*p = plan{targets: p.targets[:0], files: p.files[:0], indexes: p.indexes[:0], texts: p.texts[:0], named: p.named[:0], names: p.names[:0]}
}

// publish moves the offsets of all logs of the pass, and tells their listeners.
func (c *committer) publish() {
	for _, t := range c.plan.targets {
		t.log.publish(t)
	}
}

func (l *Log) publish(t target) {
	l.mu.Lock()
	moved := t.sync && t.end.Offset > l.mu.durable.Offset
	if moved {
		l.mu.durable = t.end
		l.durable.Store(t.end.Offset)
	}
	if moved && t.end.Offset > l.mu.committed.Offset {
		l.mu.committed = t.end
		l.committed.Store(t.end.Offset)
	}
	if l.mu.committed.Offset == l.end.Load() {
		l.mu.lastRound = nil
	}
	committed := l.mu.committed.Offset
	rolled := t.sync && t.end.SegmentBase > l.mu.pointNoted
	if rolled {
		l.mu.pointNoted = t.end.SegmentBase
	}
	l.mu.Unlock()
	if l.listener != nil {
		l.listener.Committed(committed)
		if moved {
			l.listener.Durable(t.end)
		}
	}
	if rolled {
		l.store.noteRecoveryPoint(l, t.end.SegmentBase)
	}
}

// SetOffline takes the data directory offline until the process is restarted: nothing is written or committed any more.
func (s *Store) SetOffline(err error) {
	if err == nil {
		err = errors.New("no reason given")
	}
	s.mu.Lock()
	first := s.mu.offline == nil
	if first {
		s.mu.offline = fmt.Errorf("%w: %w", ErrOffline, err)
	}
	s.mu.Unlock()
	if first {
		s.isOffline.Store(true)
		s.metrics.Offline.Set(1)
		s.logger.Error("data directory is offline until restart", "dir", s.dir, "error", err)
		s.signal()
	}
}

// Offline returns why the data directory is offline, or nil.
func (s *Store) Offline() error {
	if !s.isOffline.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.offline
}
