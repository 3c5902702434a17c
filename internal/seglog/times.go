package seglog

import (
	"errors"
	"fmt"
	"io"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// errFound ends a walk over records.
var errFound = errors.New("seglog: found")

// OffsetForTimestamp returns the first committed record whose timestamp is not below ts, as Kafka does: the first
// segment whose largest timestamp reaches it, then its time index, then its batches, then their records.
func (l *Log) OffsetForTimestamp(ts int64) (TimestampOffset, bool, error) {
	l.touched.Store(true)
	for from := int64(0); ; {
		v, ok := l.viewFrom(from)
		if !ok {
			return TimestampOffset{}, false, nil
		}
		found, hit, err := l.searchTime(v, ts)
		v.s.release()
		if err != nil || hit {
			return found, hit, err
		}
		from = v.end
	}
}

// MaxTimestamp returns the first committed record with the largest timestamp of the log.
func (l *Log) MaxTimestamp() (TimestampOffset, bool, error) {
	l.touched.Store(true)
	best, in := noTimestamp, view{}
	defer func() {
		if in.s != nil {
			in.s.release()
		}
	}()
	for from := int64(0); ; {
		v, ok := l.viewFrom(from)
		if !ok {
			break
		}
		m, err := l.committedMax(v)
		if err != nil || m.Timestamp <= best.Timestamp {
			v.s.release()
			if err != nil {
				return TimestampOffset{}, false, err
			}
		} else {
			if in.s != nil {
				in.s.release()
			}
			best, in = m, v
		}
		from = v.end
	}
	if in.s == nil {
		return TimestampOffset{}, false, nil
	}
	return l.recordAt(in, best.Offset, func(r batch.Record) bool { return r.Timestamp >= best.Timestamp })
}

// viewFrom returns the first segment that may hold an offset not below from, if anything in it is committed. Where
// compaction has put it together with others since the last call, it holds what was looked at before too.
func (l *Log) viewFrom(from int64) (view, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.mu.segments {
		if l.segmentEndLocked(i) <= from || s.size == 0 {
			continue
		}
		v := l.viewLocked(i)
		if v.s != nil && v.limit == 0 {
			v.s.refs.Add(-1) // in the list, so not dropped
			v.s = nil
		}
		return v, v.s != nil
	}
	return view{}, false
}

// segmentMax returns the largest timestamp of a segment, committed or not, and the last offset of its batch. The caller
// holds a reference, or trimMu.
func (l *Log) segmentMax(s *segment) (TimestampOffset, error) {
	l.mu.Lock()
	active, known, m := s == l.activeLocked(), s.timestampKnown, s.maxTimestamp
	if t := l.mu.tail; active && t != nil {
		known, m = true, t.max
	}
	l.mu.Unlock()
	if known {
		return m, nil
	}
	if active {
		l.appendMu.Lock()
		defer l.appendMu.Unlock()
		if l.deleted.Load() {
			return noTimestamp, fmt.Errorf("%w: %s", ErrClosed, l.name)
		}
		l.mu.Lock()
		active = s == l.activeLocked()
		l.mu.Unlock()
		if active {
			t, err := l.loadTailLocked()
			if err != nil {
				return noTimestamp, err
			}
			return t.max, nil
		}
	}
	m, err := l.closedMax(s)
	if err == nil {
		l.mu.Lock()
		s.maxTimestamp, s.timestampKnown = m, true
		l.mu.Unlock()
	}
	return m, err
}

// closedMax reads the last time entry, which the roll has put there.
func (l *Log) closedMax(s *segment) (TimestampOffset, error) {
	last := func() (TimestampOffset, error) {
		e, found, err := s.lookupTime(-1, func(timeEntry) bool { return true })
		if err != nil || !found {
			return noTimestamp, err
		}
		if e.ts < 0 || int64(e.rel) > int64(^uint32(0)>>1) {
			return noTimestamp, fmt.Errorf("%w: time entry (%d, %d)", ErrCorrupt, e.ts, e.rel)
		}
		return TimestampOffset{Offset: s.base + int64(e.rel), Timestamp: e.ts, LeaderEpoch: -1}, nil
	}
	m, err := last()
	if !errors.Is(err, ErrCorrupt) {
		return m, err
	}
	if err := l.reindexClosed(s); err != nil {
		return noTimestamp, err
	}
	return last()
}

// searchTime looks for the first record of the view that is not older than ts.
func (l *Log) searchTime(v view, ts int64) (TimestampOffset, bool, error) {
	m, err := l.segmentMax(v.s)
	if err != nil || m.Timestamp < ts {
		return TimestampOffset{}, false, err
	}
	from, err := l.timeStart(v, func(e timeEntry) bool { return e.ts <= ts })
	if err != nil {
		return TimestampOffset{}, false, err
	}
	return l.recordAt(v, from, func(r batch.Record) bool { return r.Timestamp >= ts })
}

// timeStart returns the offset from which a search by time has to look: the batch of the last time entry for which keep
// holds, or the segment's start.
func (l *Log) timeStart(v view, keep func(timeEntry) bool) (int64, error) {
	start := max(v.s.base, l.start.Load())
	e, found, err := v.s.lookupTime(v.timesOnFile, keep)
	if err != nil || !found {
		if errors.Is(err, ErrCorrupt) {
			err = nil // it can only save time
		}
		return start, err
	}
	f, err := v.s.handle(false)
	if err != nil {
		return 0, err
	}
	offset := v.s.base + int64(e.rel)
	_, h, err := l.seek(f, v, offset)
	switch {
	case err == nil && h.LastOffset() == offset && h.MaxTimestamp == e.ts:
		return max(offset, start), nil
	case err == nil || err == io.EOF || errors.Is(err, ErrCorrupt):
		return start, nil // the entry is not of this log
	default:
		return 0, err
	}
}

// recordAt returns the first record at or behind the batch that holds offset for which match holds.
func (l *Log) recordAt(v view, offset int64, match func(batch.Record) bool) (out TimestampOffset, found bool, err error) {
	f, err := v.s.handle(false)
	if err != nil {
		return out, false, err
	}
	start := l.start.Load()
	v.hint = -1
	pos, _, err := l.seek(f, v, offset)
	if err == io.EOF {
		return out, false, nil
	} else if err != nil {
		return out, false, err
	}
	sc := newScanner(f, pos, v.limit)
	defer sc.close()
	for {
		at := sc.pos
		h, err := sc.next()
		if err == io.EOF {
			return out, false, nil
		} else if err != nil {
			return out, false, err
		}
		if !match(batch.Record{Timestamp: h.MaxTimestamp}) || h.LastOffset() < start {
			continue
		}
		err = eachRecord(f, at, h, func(r batch.Record) error {
			if r.Offset < start || !match(r) {
				return nil
			}
			out = TimestampOffset{Offset: r.Offset, Timestamp: r.Timestamp, LeaderEpoch: h.LeaderEpoch}
			return errFound
		})
		if err == errFound {
			return out, true, nil
		} else if err != nil {
			return out, false, err
		}
	}
}

// eachRecord reads a batch, whose size the scanner has checked against the file, and walks its records.
func eachRecord(f disk.File, at int64, h batch.Header, fn func(batch.Record) error) error {
	b := make([]byte, h.Size())
	if err := readFull(f, b, at); err != nil {
		return err
	}
	v, err := batch.ParseTrusted(b)
	if err != nil {
		return fmt.Errorf("%w: batch at %d: %w", ErrCorrupt, at, err)
	}
	if err := v.Records(fn); err != nil && !errors.Is(err, errFound) {
		return fmt.Errorf("%w: batch at %d: %w", ErrCorrupt, at, err)
	} else if err != nil {
		return errFound
	}
	return nil
}

// committedMax is segmentMax restricted to what may be read: below the committed end, at or behind the log start.
func (l *Log) committedMax(v view) (TimestampOffset, error) {
	m, err := l.segmentMax(v.s)
	if err != nil || m.Timestamp == batch.NoTimestamp {
		return m, err
	}
	committed, start := l.committed.Load(), l.start.Load()
	if m.Offset < committed && m.Offset >= start {
		return m, nil
	}
	from := max(v.s.base, start)
	if m.Offset >= committed {
		if from, err = l.timeStart(v, func(e timeEntry) bool { return v.s.base+int64(e.rel) < committed }); err != nil {
			return noTimestamp, err
		}
	}
	f, err := v.s.handle(false)
	if err != nil {
		return noTimestamp, err
	}
	v.hint = -1
	pos, _, err := l.seek(f, v, from)
	if err == io.EOF {
		return noTimestamp, nil
	} else if err != nil {
		return noTimestamp, err
	}
	sc := newScanner(f, pos, v.limit)
	defer sc.close()
	for m = noTimestamp; ; {
		h, err := sc.next()
		if err == io.EOF {
			return m, nil
		} else if err != nil {
			return m, err
		}
		if h.RecordCount > 0 && h.MaxTimestamp > m.Timestamp {
			m = TimestampOffset{Offset: h.LastOffset(), Timestamp: h.MaxTimestamp, LeaderEpoch: h.LeaderEpoch}
		}
	}
}
