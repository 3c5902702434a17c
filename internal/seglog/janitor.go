package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

const (
	janitorTick     = time.Second
	idleTicks       = 15 // ticks between two looks for idle logs
	unlinkRetryWait = 10 * time.Second
)

// errTrimming says that a log is being trimmed. That waits for others, on a full disk perhaps for the janitor itself.
var errTrimming = errors.New("log is being trimmed")

// janitor does what nobody waits for: it unlinks dropped segments and deleted directories, closes the files of idle
// logs, keeps recovery points, and looks at the free space. It is never needed for correctness: what it had not done when
// the process ended is found and done by the next one.
type janitor struct {
	s    *Store
	stop chan struct{}
	done chan struct{}
	kick chan struct{}

	mu struct {
		sync.Mutex
		jobs    []unlinkJob
		points  map[*Log]int64
		stopped bool
	}
}

// unlinkJob is a segment, or a directory, to be removed at its time.
type unlinkJob struct {
	seg *segment
	dir string
	at  time.Time
}

func newJanitor(s *Store) *janitor {
	j := &janitor{s: s, stop: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1)}
	j.mu.points = map[*Log]int64{}
	return j
}

// adoptDeleted finds the directories that an earlier run had deleted but not unlinked.
func (j *janitor) adoptDeleted() error {
	names, err := j.s.fs.List(j.s.dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIO, err)
	}
	for _, name := range names {
		if isDeletedDir(name) {
			j.add(unlinkJob{dir: filepath.Join(j.s.dir, name)})
		}
	}
	return nil
}

func (j *janitor) removeDir(dir string) { j.add(unlinkJob{dir: dir}) }

func (j *janitor) add(job unlinkJob) {
	j.mu.Lock()
	if !j.mu.stopped { // else the next start does it
		j.mu.jobs = append(j.mu.jobs, job)
	}
	j.mu.Unlock()
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// unlinkLater removes a dropped segment's files after file.delete.delay.ms. Its log start is durable already: if the
// process ends before, the next one finds the segment below the log start.
func (s *Store) unlinkLater(seg *segment) {
	delay := time.Duration(max(0, seg.log.config().FileDeleteDelayMillis)) * time.Millisecond
	job := unlinkJob{seg: seg}
	if delay > 0 {
		job.at = time.Now().Add(delay)
	}
	s.janitor.add(job)
}

// noteRecoveryPoint has the log's recovery point moved to a segment's start: everything before is durable. It only
// matters if the caller's checkpoint is lost, so it may lag.
func (s *Store) noteRecoveryPoint(l *Log, base int64) {
	j := s.janitor
	j.mu.Lock()
	j.mu.points[l] = base
	j.mu.Unlock()
}

func (j *janitor) run() {
	defer close(j.done)
	ticker := time.NewTicker(janitorTick)
	defer ticker.Stop()
	for tick := 1; ; {
		select {
		case <-j.stop:
			return
		case <-j.kick:
		case <-ticker.C:
			j.s.refreshFree()
			j.movePoints()
			j.keepNames()
			if tick++; tick%idleTicks == 0 {
				j.releaseIdle()
			}
		}
		j.unlinkDue(time.Now())
	}
}

// close stops the janitor; what is due at any time is unlinked now.
func (j *janitor) close() {
	close(j.stop)
	<-j.done
	j.movePoints()
	j.mu.Lock()
	j.mu.stopped = true
	for i := range j.mu.jobs {
		j.mu.jobs[i].at = time.Time{}
	}
	j.mu.Unlock()
	j.unlinkDue(time.Now())
}

func (j *janitor) unlinkDue(now time.Time) {
	j.mu.Lock()
	var due, rest []unlinkJob
	dirs := 0
	for _, job := range j.mu.jobs {
		if job.at.After(now) {
			rest = append(rest, job)
		} else {
			due = append(due, job)
		}
	}
	j.mu.jobs = rest
	j.mu.Unlock()
	for _, job := range due {
		if err := j.do(job); err != nil {
			if err != errTrimming {
				j.s.metrics.BackgroundErrors.Inc()
			}
			job.at = now.Add(unlinkRetryWait)
			j.mu.Lock()
			j.mu.jobs = append(j.mu.jobs, job)
			j.mu.Unlock()
		}
	}
	j.mu.Lock()
	for _, job := range j.mu.jobs {
		if job.dir != "" {
			dirs++
		}
	}
	j.mu.Unlock()
	j.s.metrics.PendingDeleteDirs.Set(float64(dirs))
}

func (j *janitor) do(job unlinkJob) error {
	if j.s.isOffline.Load() {
		return nil // nothing is changed any more; the next start finds it again
	}
	if job.seg == nil {
		return j.s.fs.RemoveAll(job.dir)
	}
	s := job.seg
	// A record that can make the file would bring it back.
	if err := j.s.journal.retireSegment(s); mayWriteAgain(err) {
		return err // what it needs may be what the next jobs free
	} else if err != nil {
		return nil // offline
	}
	j.s.files.closeFile(s)
	// DeleteLog holds it too: once the directory is renamed, the path may be a new log's.
	if !s.log.trimMu.TryLock() {
		return errTrimming
	}
	defer s.log.trimMu.Unlock()
	if s.log.deleted.Load() {
		return nil // goes with the directory
	}
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		if err := j.s.fs.Remove(s.path(suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// releaseIdle closes the files and index state of logs that nobody has used since the last look.
func (j *janitor) releaseIdle() {
	for _, l := range j.s.openLogs() {
		if l.touched.Swap(false) || !l.hot.Load() || !l.appendMu.TryLock() {
			continue
		}
		if !l.closed.Load() {
			l.releaseFilesLocked()
		}
		l.appendMu.Unlock()
	}
}

func (j *janitor) movePoints() {
	j.mu.Lock()
	points := j.mu.points
	j.mu.points = map[*Log]int64{}
	j.mu.Unlock()
	for l, base := range points {
		switch err := l.moveRecoveryPoint(base); err {
		case nil:
		case errTrimming:
			j.mu.Lock()
			j.mu.points[l] = max(j.mu.points[l], base)
			j.mu.Unlock()
		default:
			j.s.metrics.BackgroundErrors.Inc()
		}
	}
}
