package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// loadTailLocked makes sure that the index state of the active segment is in memory; appendMu is held.
func (l *Log) loadTailLocked() (*tail, error) {
	l.mu.Lock()
	t, s := l.mu.tail, l.activeLocked()
	size := s.size
	l.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := l.readTail(s, size)
	if err != nil {
		return nil, err
	}
	l.setTail(t)
	return t, nil
}

func newTail(base int64, cfg *Config) *tail {
	t := &tail{indexBuilder: newIndexBuilder(base, cfg.IndexIntervalBytes), first: batch.NoTimestamp}
	t.limit = indexPendingLimit
	return t
}

func (l *Log) setTail(t *tail) {
	l.mu.Lock()
	l.mu.tail = t
	l.mu.Unlock()
	l.hot.Store(true)
}

// readTail derives the state from the files, rebuilding them where they are missing or wrong.
func (l *Log) readTail(s *segment, size int64) (*tail, error) {
	t := newTail(s.base, l.config())
	if size == 0 {
		l.indexSyncedAtMost(0)
		return t, nil
	}
	s.refs.Add(1) // the active segment: only the holder of appendMu could drop it
	defer s.release()
	f, err := s.handle(false)
	if err != nil {
		return nil, err
	}
	if l.suspect {
		err = l.repairTail(s, f, t, size)
	} else if err = s.lastEntries(f, t, size); errors.Is(err, ErrCorrupt) {
		err = l.rebuildTail(s, t, size)
	}
	if err != nil {
		return nil, err
	}
	l.suspect = false
	l.indexSyncedAtMost(t.onFile[0])
	sc := newScanner(f, 0, size)
	defer sc.close()
	h, err := sc.next()
	if err != nil {
		return nil, err
	}
	t.first = h.MaxTimestamp
	return t, nil
}

func (l *Log) indexSyncedAtMost(n int) {
	l.mu.Lock()
	l.mu.indexSynced = min(l.mu.indexSynced, n)
	l.mu.Unlock()
}

// lastEntries reads the ends of both index files and checks them against the log.
func (s *segment) lastEntries(f disk.File, t *tail, size int64) error {
	var last offsetEntry
	var buf [timeEntryBytes]byte
	err := s.withIndex(indexSuffix, offsetEntryBytes, -1, func(x disk.File, n int) error {
		t.onFile[0] = n
		if n == 0 {
			return nil
		}
		err := readFull(x, buf[:offsetEntryBytes], int64(n-1)*offsetEntryBytes)
		last = decodeOffsetEntry(buf[:])
		return err
	})
	if err != nil {
		return err
	}
	if t.onFile[0] > 0 {
		if err := s.checkEntry(f, last, size); err != nil {
			return err
		}
	}
	t.since = size - int64(last.pos)
	return s.withIndex(timeIndexSuffix, timeEntryBytes, -1, func(x disk.File, n int) error {
		t.onFile[1] = n
		if n == 0 {
			return nil
		}
		if err := readFull(x, buf[:], int64(n-1)*timeEntryBytes); err != nil {
			return err
		}
		e := decodeTimeEntry(buf[:])
		if e.ts < 0 || s.base+int64(e.rel) >= s.log.end.Load() {
			return fmt.Errorf("%w: last entry (%d, %d) of %s", ErrCorrupt, e.ts, e.rel, s.path(timeIndexSuffix))
		}
		t.max = TimestampOffset{Timestamp: e.ts, Offset: s.base + int64(e.rel), LeaderEpoch: -1}
		t.lastTime = e.ts
		return nil
	})
}

// checkEntry compares an index entry with the batch that it points to.
func (s *segment) checkEntry(f disk.File, e offsetEntry, size int64) error {
	sc := newScanner(f, int64(e.pos), size)
	defer sc.close()
	h, err := sc.next()
	if err == nil && h.LastOffset() == s.base+int64(e.rel) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrCorrupt) && sc.pos < size {
		return err
	}
	return fmt.Errorf("%w: index entry (%d, %d) of %s is not in the log", ErrCorrupt, e.rel, e.pos, s.path(indexSuffix))
}

// rebuildTail derives everything from the whole segment.
func (l *Log) rebuildTail(s *segment, t *tail, size int64) error {
	b, err := s.rebuildIndex(size)
	if err != nil {
		return err
	}
	t.adopt(b, len(b.offsets), len(b.times))
	return nil
}

// adopt takes over a builder whose entries are on file.
func (t *tail) adopt(b indexBuilder, offsets, times int) {
	t.indexBuilder = b
	t.limit = indexPendingLimit
	t.offsets, t.times = nil, nil
	t.onFile = [2]int{offsets, times}
}

// repairTail trusts the index files of an unclean stop up to the entries that were surely synced, and derives the rest:
// of the entries before a durable position the committer leaves at most indexUnsyncedMax unsynced, which a power loss may
// take one by one, of either file.
func (l *Log) repairTail(s *segment, f disk.File, t *tail, size int64) error {
	cfg := l.config()
	offsets, times, err := s.indexPrefix(min(size, l.suspectFrom), cfg)
	if err != nil {
		return err
	}
	offsets = offsets[:max(0, len(offsets)-indexUnsyncedMax)]
	if n := len(offsets); n == 0 || s.checkEntry(f, offsets[n-1], size) != nil {
		return l.rebuildTail(s, t, size)
	}
	last := offsets[len(offsets)-1]
	for len(times) > 0 && times[len(times)-1].rel > last.rel {
		times = times[:len(times)-1]
	}
	b := newIndexBuilder(s.base, cfg.IndexIntervalBytes)
	b.limit = max(0, cfg.indexEntriesMax()-len(offsets))
	if n := len(times); n > 0 {
		b.lastTime = times[n-1].ts
		b.max = TimestampOffset{Timestamp: b.lastTime, Offset: s.base + int64(times[n-1].rel), LeaderEpoch: -1}
	}
	if err := scanIndex(f, &b, int64(last.pos), size); err != nil {
		return err
	}
	b.addTime()
	if err := s.writeIndex(timeIndexSuffix, int64(len(times))*timeEntryBytes, encodeTimes(b.times)); err != nil {
		return err
	}
	if err := s.writeIndex(indexSuffix, int64(len(offsets))*offsetEntryBytes, encodeOffsets(b.offsets)); err != nil {
		return err
	}
	l.indexSyncedAtMost(len(offsets))
	t.adopt(b, len(offsets)+len(b.offsets), len(times)+len(b.times))
	return nil
}

// indexPrefix reads the plausible prefixes of both index files, as far as they concern the first size bytes of the
// segment; a missing one is empty.
func (s *segment) indexPrefix(size int64, cfg *Config) ([]offsetEntry, []timeEntry, error) {
	limit := int64(cfg.indexEntriesMax())*offsetEntryBytes + 4096
	read := func(suffix string) ([]byte, error) {
		b, err := disk.ReadFile(s.log.store.fs, s.path(suffix), 2*limit)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrTooLarge) {
			return nil, nil
		}
		return b, err
	}
	offsets, err := read(indexSuffix)
	if err != nil {
		return nil, nil, s.log.ioError("read index", err)
	}
	times, err := read(timeIndexSuffix)
	if err != nil {
		return nil, nil, s.log.ioError("read time index", err)
	}
	return validOffsets(offsets, size, cfg.indexEntriesMax()), validTimes(times, cfg.indexEntriesMax()), nil
}

// writeIndex replaces what an index file holds from a byte on. At byte 0 the file is made.
func (s *segment) writeIndex(suffix string, at int64, data []byte) error {
	fsys, name := s.log.store.fs, s.path(suffix)
	var f disk.File
	var err error
	if at == 0 {
		f, err = fsys.Create(name)
		s.log.names.made.Add(1)
	} else {
		f, err = fsys.OpenReadWrite(name, false)
	}
	if err != nil {
		return s.log.ioError("open index", err)
	}
	if len(data) > 0 {
		_, err = f.WriteAt(data, at)
	}
	if size, serr := f.Size(); err == nil && serr == nil && size > at+int64(len(data)) {
		err = f.Truncate(at + int64(len(data)))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return s.log.ioError("write index", err)
	}
	return nil
}

// flushIndexLocked writes the entries that wait in memory, the time index first: whatever a kill leaves, the time index
// is never behind. appendMu is held.
func (l *Log) flushIndexLocked(t *tail) error {
	l.mu.Lock()
	s := l.activeLocked()
	l.mu.Unlock()
	if err := s.writeIndex(timeIndexSuffix, int64(t.onFile[1])*timeEntryBytes, encodeTimes(t.times)); err != nil {
		return err
	}
	if err := s.writeIndex(indexSuffix, int64(t.onFile[0])*offsetEntryBytes, encodeOffsets(t.offsets)); err != nil {
		return err
	}
	l.mu.Lock()
	t.onFile[0] += len(t.offsets)
	t.onFile[1] += len(t.times)
	t.offsets, t.times = t.offsets[:0], t.times[:0]
	l.mu.Unlock()
	return nil
}

// parkTailLocked writes the index state out, closed by the segment's largest timestamp, and forgets it.
func (l *Log) parkTailLocked() error {
	l.mu.Lock()
	t, s := l.mu.tail, l.activeLocked()
	if t != nil && s.size > 0 {
		t.addTime()
	}
	size := int64(0)
	if t != nil {
		size = s.size
	}
	l.mu.Unlock()
	if t == nil {
		return nil
	}
	if size > 0 {
		if err := l.flushIndexLocked(t); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.mu.tail = nil
	l.mu.Unlock()
	return nil
}

// removeIndexFiles unlinks both indexes; a segment without them is indexed anew at need.
func (s *segment) removeIndexFiles() error {
	if err := removeIndexFiles(s.log.store.fs, s.log.dir, s.base); err != nil {
		return s.log.ioError("remove index", err)
	}
	return nil
}

// removeIndexFiles tries both, and returns the first error.
func removeIndexFiles(fsys disk.FS, dir string, base int64) error {
	var first error
	for _, suffix := range []string{timeIndexSuffix, indexSuffix} {
		err := fsys.Remove(filepath.Join(dir, segmentName(base, suffix)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = err
		}
	}
	return first
}
