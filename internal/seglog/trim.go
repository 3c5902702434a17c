package seglog

import (
	"fmt"
	"slices"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// The log start moves in one order only, by whatever cause:
//
//	everything below the new start is durable  (else the caller's checkpoint cannot pass it)
//	BeforeTrim(new start)                      (the caller's checkpoint is durable at or behind it)
//	the log start file, durably
//	start moves for readers; the segments leave the list
//	the files are unlinked
//
// A crash between any two leaves either the old start or segments below the new one, which the next open removes.

// writeStart replaces the log start file; trimMu is held, or the log is being opened. Where the cleaner stands never goes
// back.
func (l *Log) writeStart(s startFile) error {
	s.cleaned, s.holes = max(s.cleaned, l.cleaned.Load()), max(s.holes, l.holes)
	if err := l.makeDir(); err != nil {
		return err
	}
	if err := l.store.keepDirs(); err != nil {
		l.store.SetOffline(err)
		return l.store.Offline()
	}
	if err := disk.WriteFileAtomic(l.store.fs, l.path(startFileName), encodeStart(s)); err != nil {
		return l.ioError("write log start", err)
	}
	l.startFile, l.recoveryPoint, l.holes = s.start, s.recovery, s.holes
	l.cleaned.Store(s.cleaned)
	return nil
}

// moveRecoveryPoint notes durably that everything before a segment's start is durable.
func (l *Log) moveRecoveryPoint(base int64) error {
	if !l.trimMu.TryLock() {
		return errTrimming
	}
	defer l.trimMu.Unlock()
	if l.deleted.Load() || base <= l.recoveryPoint || l.store.isOffline.Load() {
		return nil
	}
	return l.writeStart(startFile{start: l.startFile, recovery: base})
}

// DeleteRecords moves the log start to before and unlinks the segments that lie below it. It returns the new log start,
// which stays where it is if it is beyond already. An offset above the committed end is out of range.
func (l *Log) DeleteRecords(before int64) (newStart int64, err error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if committed := l.committed.Load(); before < 0 || before > committed {
		return l.start.Load(), fmt.Errorf("%w: %d, committed %d", ErrOffsetOutOfRange, before, committed)
	}
	if before <= l.start.Load() {
		return l.start.Load(), nil
	}
	if _, err := l.trimTo(before); err != nil {
		return l.start.Load(), err
	}
	return before, nil
}

// trimTo moves the log start; trimMu is held.
func (l *Log) trimTo(start int64) (deletedSegments int, err error) {
	if l.closed.Load() {
		return 0, fmt.Errorf("%w: trim %s", ErrClosed, l.name)
	}
	if err := l.store.Offline(); err != nil {
		return 0, err
	}
	if l.durable.Load() < start {
		t := l.requestSync()
		<-t.Done()
		if err := t.Err(); err != nil {
			return 0, err
		}
	}
	if l.beforeTrim != nil {
		if err := l.beforeTrim(start); err != nil {
			return 0, fmt.Errorf("before trimming %s to %d: %w", l.name, start, err)
		}
	}
	if err := l.writeStart(startFile{start: start, recovery: l.recoveryPoint}); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.start.Store(start)
	n := 0
	for n+1 < len(l.mu.segments) && l.mu.segments[n+1].base <= start {
		n++
	}
	gone := l.mu.segments[:n]
	l.mu.segments = slices.Clone(l.mu.segments[n:])
	l.trimEpochsLocked(start)
	l.mu.Unlock()
	for _, s := range gone {
		s.drop()
	}
	l.store.metrics.SegmentsDeleted.Add(float64(n))
	return n, nil
}

// Retain deletes whole segments by retention.ms and retention.bytes, as Kafka does: from the oldest on, up to the first
// that is to be kept. If all are due, the active one too, an empty one takes their place.
func (l *Log) Retain(now time.Time) (deletedSegments int, err error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if l.closed.Load() {
		return 0, fmt.Errorf("%w: retain %s", ErrClosed, l.name)
	}
	cfg := l.config()
	l.mu.Lock()
	segments := slices.Clone(l.mu.segments) // only the holder of trimMu drops any
	l.mu.Unlock()
	n, err := l.expired(segments, cfg, now)
	if err != nil {
		return 0, err
	}
	n = max(n, l.oversized(segments, cfg))
	if n == 0 {
		return 0, nil
	}
	l.mu.Lock()
	start := l.segmentEndLocked(n - 1)
	l.mu.Unlock()
	if n == len(segments) {
		// Even if a batch has come since, the roll happens behind everything that was looked at.
		if start, err = l.rollForRetention(segments[n-1], now); err != nil || start == 0 {
			return 0, err
		}
	}
	if start > l.committed.Load() {
		return 0, nil // not all of it is committed; the next round gets it
	}
	return l.trimTo(start)
}

// rollForRetention closes the active segment, unless something was appended to it since it was found to be due: start 0.
func (l *Log) rollForRetention(s *segment, now time.Time) (start int64, err error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.mu.Lock()
	grew := l.activeLocked() != s || l.committed.Load() != l.end.Load()
	l.mu.Unlock()
	if grew {
		return 0, nil
	}
	if _, _, err := l.rollLocked(now); err != nil {
		return 0, err
	}
	return l.end.Load(), nil
}

// expired counts the oldest segments whose newest record is older than retention.ms.
func (l *Log) expired(segments []*segment, cfg *Config, now time.Time) (int, error) {
	if cfg.RetentionMillis < 0 {
		return 0, nil
	}
	for i, s := range segments {
		empty, newest, err := l.newestMillis(s, i == len(segments)-1)
		if err != nil {
			return 0, err
		}
		if empty || now.UnixMilli()-newest <= cfg.RetentionMillis {
			return i, nil
		}
	}
	return len(segments), nil
}

// newestMillis is a segment's largest timestamp, or, where no record has one, when its file was last written.
func (l *Log) newestMillis(s *segment, active bool) (empty bool, newest int64, err error) {
	l.mu.Lock()
	size := s.size
	l.mu.Unlock()
	if size == 0 {
		return active, 0, nil
	}
	s.refs.Add(1) // trimMu is held, so it is in the list
	defer s.release()
	m, err := l.segmentMax(s)
	if err != nil || m.Timestamp > batch.NoTimestamp {
		return false, m.Timestamp, err
	}
	if err := s.writeHeld(); err != nil { // trimMu keeps DeleteLog away
		return false, 0, err
	}
	info, err := l.store.fs.Stat(s.path(logSuffix))
	if err != nil {
		return false, 0, l.ioError("stat", err)
	}
	return false, info.ModTime.UnixMilli(), nil
}

// oversized counts the oldest segments without which the log still has retention.bytes.
func (l *Log) oversized(segments []*segment, cfg *Config) int {
	if cfg.RetentionBytes < 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	excess := l.sizeLocked() - cfg.RetentionBytes
	for i, s := range segments {
		if excess < s.size || i == len(segments)-1 && s.size == 0 {
			return i
		}
		excess -= s.size
	}
	return len(segments)
}
