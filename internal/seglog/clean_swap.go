package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"ottla/internal/disk"
)

// A cleaned segment takes the place of those that it was made from in this order:
//
//	<base>.log.cleaned is written and fsynced                  until here it is removed by the next open
//	renamed to <base>-<end>.log.swap, directory fsynced        from here on the next open goes on below
//	the indexes of all old segments, and all old segments but
//	the first, are unlinked; directory fsynced                 nothing old can come back once the swap file is gone
//	renamed to <base>.log, over the first old one;
//	directory fsynced
//
// base and end are the offsets of the place: the first that the first old segment could hold, and the first behind the
// last one. The name has them because what remains of the old segments, after a power loss in between, must go, and the
// batches of the new one may end long before.
const (
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".log.swap"
)

func cleanedName(base int64) string { return segmentName(base, logSuffix+cleanedSuffix) }

func swapName(base, end int64) string { return fmt.Sprintf("%020d-%020d%s", base, end, swapSuffix) }

// parseSwapName returns the place of a swap file.
func parseSwapName(name string) (base, end int64, ok bool) {
	stem, ok := strings.CutSuffix(name, swapSuffix)
	if !ok || len(stem) != 41 || stem[20] != '-' || strings.Trim(stem[:20]+stem[21:], "0123456789") != "" {
		return 0, 0, false
	}
	base, err1 := strconv.ParseInt(stem[:20], 10, 64)
	end, err2 := strconv.ParseInt(stem[21:], 10, 64)
	return base, end, err1 == nil && err2 == nil && base < end
}

func isSwap(name string) bool { _, _, ok := parseSwapName(name); return ok }

// finishSwaps goes on with what a crash has interrupted, for every swap file among the names of a log's directory. It says
// whether names have changed.
func finishSwaps(fsys disk.FS, dir string, names []string) (changed bool, err error) {
	for _, name := range names {
		base, end, ok := parseSwapName(name)
		if !ok {
			continue
		}
		if err := finishSwap(fsys, dir, names, base, end); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// finishSwap does what follows the swap file's durable name.
func finishSwap(fsys disk.FS, dir string, names []string, base, end int64) error {
	for _, name := range names {
		at, isSegment := anySegmentBase(name)
		if !isSegment || at < base || at >= end || name == segmentName(base, logSuffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	from, to := filepath.Join(dir, swapName(base, end)), filepath.Join(dir, segmentName(base, logSuffix))
	if err := fsys.Rename(from, to); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// cleanedSegment is a segment that waits to take the place of others.
type cleanedSegment struct {
	file  disk.File
	old   []*segment // in the order of the log; the cleaning has a reference of each, and their files are open
	size  int64
	index indexBuilder
}

// swap puts a cleaned segment in the place of the old ones, on disk and then in the list. errStale says that the log
// has dropped one of them meanwhile; then nothing is changed. After the point of no return an error takes the store
// offline: the next start finishes it.
func (l *Log) swap(c *cleanedSegment) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	end, err := l.swapEnd(c.old)
	if err != nil {
		return err
	}
	if err := l.store.journal.retire(l.name); err != nil {
		return err // no record may speak of the old segment: its name becomes that of the new one
	}
	fsys, base := l.store.fs, c.old[0].base
	swapPath := l.path(swapName(base, end))
	if err := fsys.Rename(l.path(cleanedName(base)), swapPath); err != nil {
		_ = fsys.Remove(swapPath) // in case: what is refused must not be finished later
		return l.ioError("rename a cleaned segment", err)
	}
	if err := fsys.SyncDir(l.dir); err != nil {
		l.store.SetOffline(fmt.Errorf("fsync directory %s: %w", l.dir, err))
		return l.store.Offline()
	}
	l.rebuildMu.Lock()
	defer l.rebuildMu.Unlock()
	for _, s := range c.old {
		s.freeze()
	}
	if err := finishSwap(fsys, l.dir, segmentNames(c.old), base, end); err != nil {
		l.store.SetOffline(fmt.Errorf("put a cleaned segment of %s in its place: %w", l.name, err))
		return l.store.Offline()
	}
	l.publishCleaned(c, end)
	return nil
}

// swapEnd checks that the segments are still the log's, and returns where the place of theirs ends.
func (l *Log) swapEnd(old []*segment) (end int64, err error) {
	if err := l.cleanStopped(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.findLocked(old[0].base)
	if first+len(old) >= len(l.mu.segments) {
		return 0, errStale
	}
	for i, s := range old {
		if l.mu.segments[first+i] != s {
			return 0, errStale
		}
	}
	return l.mu.segments[first+len(old)].base, nil
}

func segmentNames(segments []*segment) (names []string) {
	for _, s := range segments {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			names = append(names, segmentName(s.base, suffix))
		}
	}
	return names
}

// freeze makes a segment independent of its names, for those who still read it. Its file is open and stays so while
// somebody has a reference. rebuildMu is held.
func (s *segment) freeze() {
	s.frozen = map[string]disk.File{}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if f, err := s.log.store.fs.Open(s.path(suffix)); err == nil {
			s.frozen[suffix] = f // without one, a look-up walks the batches
		}
	}
	s.replaced.Store(true)
}

// publishCleaned writes the indexes of the new segment, under the names that are its own by now, and puts it into the
// list. trimMu and rebuildMu are held.
func (l *Log) publishCleaned(c *cleanedSegment, end int64) {
	fresh := newSegment(l, c.old[0].base, c.size, true)
	fresh.open.file = c.file
	fresh.maxTimestamp, fresh.timestampKnown = c.index.max, true
	if err := fresh.writeIndexes(&c.index); err != nil {
		// Derived data: it is made again when somebody needs it.
		l.store.metrics.IndexWriteErrors.Inc()
		_ = fresh.removeIndexFiles()
	}
	l.mu.Lock()
	first := l.findLocked(fresh.base)
	list := make([]*segment, 0, len(l.mu.segments))
	list = append(append(list, l.mu.segments[:first]...), fresh)
	l.mu.segments = append(list, l.mu.segments[first+len(c.old):]...)
	for _, p := range []*Position{&l.mu.durable, &l.mu.committed} {
		// The end of the last old one was the same place, in bytes that mean nothing now.
		if p.Offset == end && p.SegmentBase < end {
			*p = Position{Offset: end, SegmentBase: end}
		}
	}
	for i := range l.mu.cursors {
		l.mu.cursors[i] = cursor{}
	}
	fresh.acquireLocked()
	l.mu.Unlock()
	l.hot.Store(true)
	l.store.files.add(fresh)
	fresh.release()
}

// writeIndexes replaces both index files durably, the time index first as rebuildIndex does.
func (s *segment) writeIndexes(b *indexBuilder) error {
	fsys := s.log.store.fs
	if err := disk.WriteFileAtomic(fsys, s.path(timeIndexSuffix), encodeTimes(b.times)); err != nil {
		return s.log.ioError("write time index", err)
	}
	if err := disk.WriteFileAtomic(fsys, s.path(indexSuffix), encodeOffsets(b.offsets)); err != nil {
		return s.log.ioError("write index", err)
	}
	return nil
}

// createCleaned makes the file of a cleaned segment. The name is the log's own only while the log is not deleted.
func (l *Log) createCleaned(base int64) (disk.File, error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := l.cleanStopped(); err != nil {
		return nil, err
	}
	f, err := l.store.fs.Create(l.path(cleanedName(base)))
	if err != nil {
		return nil, l.ioError("create a cleaned segment", err)
	}
	return f, nil
}

// removeCleaned removes what an unfinished cleaning leaves behind. If it cannot, the next one empties the file, or the
// next open removes it.
func (l *Log) removeCleaned(f disk.File, base int64) {
	_ = f.Close()
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if l.deleted.Load() || l.store.isOffline.Load() {
		return
	}
	if err := l.store.fs.Remove(l.path(cleanedName(base))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.store.metrics.BackgroundErrors.Inc()
	}
}

// cleanedBytesMax is the size that no cleaned segment passes: positions in an index have 31 bits.
const cleanedBytesMax = math.MaxInt32
