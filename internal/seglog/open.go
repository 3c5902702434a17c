package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ottla/internal/disk"
)

// OpenLog opens a log and recovers it. A directory that does not exist is made with the log's first file, and partition.metadata
// where it is missing: the caller's catalog says that the log exists. Before the first offset is published as durable both are
// durable, or a record of the journal says all that it takes to make them.
func (s *Store) OpenLog(o OpenOptions) (*Log, error) {
	if err := s.Offline(); err != nil {
		return nil, err
	}
	l := &Log{
		store: s, name: o.Name, dir: filepath.Join(s.dir, o.Name), topicID: o.TopicID, epoch: o.LeaderEpoch,
		listener: o.Listener, beforeTrim: o.BeforeTrim, activeSince: time.Now().UnixMilli(),
	}
	l.cfg.Store(o.Config)
	if err := s.register(l); err != nil {
		return nil, err
	}
	// Held until everything is known: the janitor and Close find the log in the store's list already.
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	defer s.opening.Done()
	r := &recovery{l: l, o: o}
	if err := r.run(); err != nil {
		l.closed.Store(true)
		s.forget(l)
		for _, seg := range l.mu.segments {
			s.files.closeFile(seg)
		}
		return nil, fmt.Errorf("open %s: %w", o.Name, err)
	}
	return l, nil
}

// register takes the name. What is registered and not published belongs to its recovery alone; Close waits for that.
func (s *Store) register(l *Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return fmt.Errorf("%w: store", ErrClosed)
	}
	if s.mu.logs[l.name] != nil {
		return fmt.Errorf("%w: %s is open already", ErrClosed, l.name)
	}
	s.mu.logs[l.name] = l
	s.opening.Add(1)
	return nil
}

// interrupted ends a recovery whose store is being closed: the next start finds the log as after a crash.
func (r *recovery) interrupted() error {
	if r.l.store.closed.Load() {
		return fmt.Errorf("%w: store, while %s was being recovered", ErrClosed, r.l.name)
	}
	return nil
}

// recovery finds out what a log holds. Nothing of it is published before run returns.
//
//	       start          trust                 end
//	---------|--------------|---------------------|....torn....
//	 trimmed    durable        after an unclean     cut
//	            (trusted)      stop: checked,
//	                           rewritten, fsynced
//
// trust is the later of the caller's checkpoint and the recovery point. In the trusted part nothing is ever cut: what
// is damaged there was acknowledged once, and is for the operator to judge.
type recovery struct {
	l     *Log
	o     OpenOptions
	start int64    // log start
	trust Position // meaning: segment SegmentBase is durable up to Position, which is Offset
	end   int64
	// fileStart is the log start by the file; startLost says that the file is damaged.
	fileStart int64
	startLost bool
	dirty     bool // names changed: the directory must be synced
	fresh     bool // there is no directory, and nothing is known of the log
}

func (r *recovery) run() error {
	l := r.l
	if err := r.directory(); err != nil {
		return err
	}
	if r.fresh {
		r.addEmpty(0)
		return r.publish()
	}
	names, err := r.names()
	if err != nil {
		return err
	}
	if err := r.startAndTrust(); err != nil {
		return err
	}
	if err := r.segments(names); err != nil {
		return err
	}
	epochsKnown, err := r.epochs()
	if err != nil {
		return err
	}
	if r.o.Unclean {
		if err := r.repairTail(); err != nil {
			return err
		}
	}
	if err := r.replay(epochsKnown); err != nil {
		return err
	}
	if r.dirty {
		if err := l.store.fs.SyncDir(l.dir); err != nil {
			return r.fsyncFailed(err)
		}
	}
	if err := r.keepNames(); err != nil {
		return err
	}
	if err := r.interrupted(); err != nil {
		return err
	}
	return r.publish()
}

// fsyncFailed takes the store offline, here as in the committer: what was written can no longer be known.
func (r *recovery) fsyncFailed(err error) error {
	r.l.store.SetOffline(fmt.Errorf("recover %s: %w", r.l.name, err))
	return r.l.store.Offline()
}

// keepNames does for what was found what the committer does for what is appended: it is published as durable, so it must be
// found again, and the topic that it is of be known.
func (r *recovery) keepNames() error {
	l := r.l
	if r.end == 0 {
		return nil // the first pass does it
	}
	if l.mu.metaDirty {
		if err := disk.WriteFileAtomic(l.store.fs, l.path(metadataFileName), encodeMetadata(l.topicID)); err != nil {
			return l.ioError("write the topic id", err)
		}
		l.mu.metaDirty = false
	}
	if err := l.store.keepDirs(); err != nil {
		return r.fsyncFailed(err)
	}
	return nil
}

func (r *recovery) directory() error {
	l := r.l
	info, err := l.store.fs.Stat(l.dir)
	switch {
	case err == nil && !info.Dir:
		return fmt.Errorf("%w: %s is not a directory", ErrCorrupt, l.dir)
	case err == nil:
		l.dirMade.Store(true)
		l.mu.metaDirty, err = checkTopicID(l.store.fs, l.dir, r.o.TopicID)
		return err
	case errors.Is(err, fs.ErrNotExist):
		l.mu.metaDirty = r.o.TopicID != [16]byte{}
		if r.fresh = !r.o.HasCheckpoint || r.o.Checkpoint.Offset == 0; r.fresh {
			return nil // made with its first file
		}
		return l.makeDir()
	default:
		return l.ioError("stat", err)
	}
}

// names lists the directory, after it has finished what the cleaner had begun for good.
func (r *recovery) names() ([]string, error) {
	l := r.l
	for {
		names, err := l.store.fs.List(l.dir)
		if err != nil {
			return nil, l.ioError("list", err)
		}
		again, err := finishSwaps(l.store.fs, l.dir, names)
		if err != nil {
			return nil, l.ioError("put a cleaned segment in its place", err)
		}
		if !again {
			return names, nil
		}
		l.store.logger.Info("put a cleaned segment in its place", "log", l.name)
	}
}

// startAndTrust reads the log start file. A damaged one costs the log its start, not its data: records that were
// deleted before may be seen again.
func (r *recovery) startAndTrust() error {
	l := r.l
	s, err := readStart(l.store.fs, l.path(startFileName))
	if errors.Is(err, ErrCorrupt) {
		r.startLost = true
		l.store.logger.Error("the log start is lost; the log starts at its first segment", "log", l.name, "error", err)
	} else if err != nil {
		return err
	}
	l.startFile, l.recoveryPoint, l.mu.pointNoted = s.start, s.recovery, s.recovery
	l.holes = s.holes
	l.cleaned.Store(s.cleaned)
	r.start, r.fileStart = s.start, s.start
	if r.o.HasCheckpoint {
		r.trust = r.o.Checkpoint
	}
	if s.recovery > r.trust.Offset {
		r.trust = Position{Offset: s.recovery, SegmentBase: s.recovery}
	}
	return nil
}

// segments lists the segments and removes what an earlier run left behind: files that were not finished, indexes
// without a log, and segments below the log start, whose unlinking was under way or undone by a power loss.
func (r *recovery) segments(names []string) error {
	l := r.l
	var bases []int64
	for _, name := range names {
		if base, ok := segmentBase(name, logSuffix); ok {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	first := 0
	for first+1 < len(bases) && bases[first+1] <= r.start {
		first++
	}
	for _, name := range names {
		base, isSegment := anySegmentBase(name)
		_, live := slices.BinarySearch(bases[first:], base)
		if isSegment && !live || strings.HasSuffix(name, tempSuffix) || strings.HasSuffix(name, cleanedSuffix) {
			if err := r.remove(name); err != nil {
				return err
			}
		}
	}
	for _, base := range bases[first:] {
		info, err := l.store.fs.Stat(l.path(segmentName(base, logSuffix)))
		if err != nil {
			return l.ioError("stat", err)
		}
		if info.Size > math.MaxInt32 {
			return fmt.Errorf("%w: segment %d has %d bytes", ErrCorrupt, base, info.Size)
		}
		l.mu.segments = append(l.mu.segments, newSegment(l, base, info.Size, true))
	}
	if len(l.mu.segments) == 0 {
		r.addEmpty(r.start)
	}
	r.start = max(r.start, l.mu.segments[0].base)
	return nil
}

func (r *recovery) addEmpty(base int64) {
	r.l.mu.segments = append(r.l.mu.segments, newSegment(r.l, base, 0, false))
}

func (r *recovery) remove(name string) error {
	if err := r.l.store.fs.Remove(r.l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.l.ioError("remove", err)
	}
	r.dirty = true
	return nil
}

func anySegmentBase(name string) (int64, bool) {
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		if base, ok := segmentBase(name, suffix); ok {
			return base, true
		}
	}
	return 0, false
}

// epochs reads the epoch file; not known says that it must be derived from the log.
func (r *recovery) epochs() (known bool, err error) {
	epochs, err := readEpochs(r.l.store.fs, r.l.path(epochFileName))
	switch {
	case err == nil:
		r.l.mu.epochs = epochs
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt):
		return false, nil
	default:
		return false, err
	}
}

// publish makes the recovered state the log's.
func (r *recovery) publish() error {
	l := r.l
	active := l.activeLocked()
	r.start = max(r.start, l.mu.segments[0].base)
	for n := len(l.mu.epochs); n > 0 && l.mu.epochs[n-1].offset >= r.end; n-- {
		l.mu.epochs = l.mu.epochs[:n-1]
		l.mu.epochDirty = true
	}
	l.trimEpochsLocked(r.start)
	l.mu.durable = Position{Offset: r.end, SegmentBase: active.base, Position: active.size}
	l.mu.committed = l.mu.durable
	l.start.Store(r.start)
	l.durable.Store(r.end)
	l.committed.Store(r.end)
	l.end.Store(r.end)
	l.suspect = r.o.Unclean && active.size > 0
	if r.o.Unclean {
		active.open.reserved.end = active.size // who was killed has not given back what it had reserved
	}
	if active.base == r.trust.SegmentBase {
		l.suspectFrom = r.trust.Position
	}
	if r.o.Unclean && !r.fresh {
		l.names.made.Add(1) // an empty segment's name may be as new as the kill
	}
	l.mu.indexSynced = math.MaxInt
	l.published.Store(true)
	if l.textsDirtyLocked() && !r.fresh {
		l.store.join(l, false, lazyCommitMax)
	}
	return nil
}
