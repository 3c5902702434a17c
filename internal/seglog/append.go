package seglog

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"time"

	"ottla/internal/batch"
)

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Append gives the batch the next offset and this run's leader epoch, in place, and writes it. The ticket says when it
// is committed. An error leaves no trace, and the next append works as soon as the disk does.
func (l *Log) Append(b batch.Batch, o AppendOptions) (baseOffset int64, t Ticket, err error) {
	if err = l.store.writable(); err == nil {
		l.appendMu.Lock()
		baseOffset, t, err = l.appendLocked(b, o)
		l.appendMu.Unlock()
	}
	if err != nil {
		l.store.metrics.AppendErrors.Inc()
		return 0, Ticket{}, err
	}
	l.store.written.Add(int64(b.Size()))
	l.store.metrics.Appends.Inc()
	l.store.metrics.AppendedBytes.Add(float64(b.Size()))
	return baseOffset, t, nil
}

func (l *Log) appendLocked(b batch.Batch, o AppendOptions) (int64, Ticket, error) {
	if l.closed.Load() {
		return 0, Ticket{}, fmt.Errorf("%w: append to %s", ErrClosed, l.name)
	}
	l.touched.Store(true)
	cfg, h := l.config(), b.Header()
	h.BaseOffset, h.LeaderEpoch = l.end.Load(), l.epoch
	if err := l.checkAppend(&h, cfg); err != nil {
		return 0, Ticket{}, err
	}
	t, err := l.loadTailLocked()
	if err != nil {
		return 0, Ticket{}, err
	}
	if len(t.offsets) >= indexPendingMax {
		if err := l.flushIndexLocked(t); err != nil {
			// Derived data: keep the entries in memory and try again with the next ones.
			l.store.metrics.IndexWriteErrors.Inc()
		}
	}
	l.mu.Lock()
	s := l.activeLocked()
	l.mu.Unlock()
	if l.rollDueLocked(s, t, &h, cfg, o.Now) {
		if s, t, err = l.rollLocked(o.Now); err != nil {
			return 0, Ticket{}, err
		}
	}
	b.Patch(h.BaseOffset, h.LeaderEpoch)
	s.refs.Add(1)
	defer s.release()
	if err := l.writeLocked(s, b, o.Held && !cfg.pageCache()); err != nil {
		return 0, Ticket{}, err
	}
	return h.BaseOffset, l.appended(s, t, &h, cfg, o), nil
}

func (l *Log) checkAppend(h *batch.Header, cfg *Config) error {
	if h.Size() > segmentBytesMax(cfg) {
		return fmt.Errorf("%w: %d bytes, segment.bytes is %d", batch.ErrTooLarge, h.Size(), cfg.SegmentBytes)
	}
	if err := checkHeader(*h); err != nil {
		return fmt.Errorf("%w: %w", batch.ErrInvalidRecord, err)
	}
	if h.BaseOffset > math.MaxInt64-int64(h.LastOffsetDelta)-1 {
		return fmt.Errorf("%w: offset %d cannot grow", ErrOffsetOutOfRange, h.BaseOffset)
	}
	return nil
}

// segmentBytesMax is the size that no segment passes: positions in an index have 31 bits.
func segmentBytesMax(cfg *Config) int64 {
	if cfg.SegmentBytes <= 0 {
		return math.MaxInt32
	}
	return min(cfg.SegmentBytes, math.MaxInt32)
}

// writeLocked writes the batch behind the last one. On failure it cuts the file back; if that fails too, the next append
// does it first. Until then nothing reads those bytes: size has not moved.
func (l *Log) writeLocked(s *segment, b batch.Batch, held bool) error {
	if held && !l.torn {
		if held, err := s.hold(b.Bytes()); held || err != nil {
			return err
		}
	} else if err := s.writeHeld(); err != nil {
		return err
	}
	f, err := s.handle(true)
	if err != nil {
		return err
	}
	size := s.size // only the holder of appendMu writes it
	if l.torn {
		if err := l.cut(s, f); err != nil {
			return l.ioError("cut", err)
		}
		l.torn = false
	}
	l.reserve(s, f, int64(b.Size()))
	n, err := f.WriteAt(b.Bytes(), size)
	if err == nil && n == b.Size() {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("short write: %d of %d bytes", n, b.Size())
	}
	l.torn = l.cut(s, f) != nil
	return l.ioError("append", err)
}

// appended publishes a written batch to this process and queues it for the committer.
func (l *Log) appended(s *segment, t *tail, h *batch.Header, cfg *Config, o AppendOptions) Ticket {
	end := h.LastOffset() + 1
	l.mu.Lock()
	if s.size == 0 {
		t.first = h.MaxTimestamp
	}
	t.add(h, s.size)
	s.size += h.Size()
	s.unsynced.Store(true)
	l.end.Store(end)
	l.mu.unsynced += int64(h.LastOffsetDelta) + 1
	l.assignEpochLocked(h.LeaderEpoch, h.BaseOffset)
	pageCache := cfg.pageCache()
	if pageCache {
		l.mu.committed = Position{Offset: end, SegmentBase: s.base, Position: s.size}
		l.committed.Store(end)
	}
	r := l.store.join(l, o.Wait || pageCache, cfg.lazyDelay())
	if !pageCache {
		l.mu.lastRound = r
	}
	l.mu.Unlock()
	if pageCache {
		return Ticket{}
	}
	return Ticket{r}
}

// rollDueLocked says whether the batch needs a new segment, by Kafka's rules (LogSegment.shouldRoll).
func (l *Log) rollDueLocked(s *segment, t *tail, h *batch.Header, cfg *Config, now time.Time) bool {
	if s.size == 0 {
		return false
	}
	return s.size > segmentBytesMax(cfg)-h.Size() ||
		l.waitedMillis(t, h.MaxTimestamp, now) > l.segmentMillis(cfg) ||
		t.onFile[0]+len(t.offsets) >= cfg.indexEntriesMax() ||
		t.onFile[1]+len(t.times) >= cfg.timeEntriesMax() ||
		h.LastOffset()-s.base > math.MaxInt32
}

// waitedMillis is how old the active segment is: by record timestamps if it has any, else by the clock.
func (l *Log) waitedMillis(t *tail, timestamp int64, now time.Time) int64 {
	if t.first >= 0 {
		return timestamp - t.first
	}
	return now.UnixMilli() - l.activeSince
}

func (l *Log) segmentMillis(cfg *Config) int64 {
	if cfg.SegmentMillis <= 0 {
		return math.MaxInt64
	}
	return cfg.SegmentMillis - min(l.jitterMillis, cfg.SegmentMillis)
}

// rollLocked closes the active segment and starts an empty one at the end of the log. Its file is made by the first
// append. appendMu is held.
func (l *Log) rollLocked(now time.Time) (*segment, *tail, error) {
	t, err := l.loadTailLocked()
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	old := l.activeLocked()
	size := old.size
	if size == 0 {
		l.mu.Unlock()
		return old, t, nil
	}
	t.addTime()
	l.mu.Unlock()
	if err := old.writeHeld(); err != nil {
		return nil, nil, err
	}
	if l.torn {
		if err := l.cutLocked(old); err != nil {
			return nil, nil, err
		}
	}
	old.appendedLast()
	if err := l.flushIndexLocked(t); err != nil {
		// Without index files the segment is indexed anew when somebody needs it; with partial ones it would be believed.
		l.store.metrics.IndexWriteErrors.Inc()
		if err := old.removeIndexFiles(); err != nil {
			return nil, nil, err
		}
	}
	cfg := l.config()
	s := newSegment(l, l.end.Load(), 0, false)
	fresh := newTail(s.base, cfg)
	l.activeSince = now.UnixMilli()
	l.jitterMillis = 0
	if j := min(cfg.SegmentJitterMillis, cfg.SegmentMillis); j > 0 {
		l.jitterMillis = rand.Int64N(j)
	}
	l.mu.Lock()
	old.maxTimestamp, old.timestampKnown, old.indexUnsynced = t.max, true, true
	l.mu.segments = append(l.mu.segments, s)
	l.mu.tail, l.mu.indexSynced, l.mu.syncAsked = fresh, 0, true
	l.mu.Unlock()
	l.suspect = false
	l.store.metrics.Rolls.Inc()
	return s, fresh, nil
}

func (l *Log) cutLocked(s *segment) error {
	s.refs.Add(1)
	defer s.release()
	f, err := s.handle(true)
	if err != nil {
		return err
	}
	if err := l.cut(s, f); err != nil {
		return l.ioError("cut", err)
	}
	l.torn = false
	return nil
}

// RollIfDue starts a new segment if the active one holds data and is older than segment.ms by the clock.
func (l *Log) RollIfDue(now time.Time) error {
	if err := l.store.Offline(); err != nil {
		return err
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if l.closed.Load() {
		return fmt.Errorf("%w: roll %s", ErrClosed, l.name)
	}
	l.mu.Lock()
	size := l.activeLocked().size
	l.mu.Unlock()
	if size == 0 || now.UnixMilli()-l.activeSince <= l.segmentMillis(l.config()) {
		return nil
	}
	_, _, err := l.rollLocked(now)
	if err == nil {
		l.store.join(l, true, 0)
	}
	return err
}
