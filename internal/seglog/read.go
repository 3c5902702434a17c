package seglog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// view is a segment that a reader may use up to limit, with a reference.
type view struct {
	s      *segment
	end    int64 // first offset behind the segment
	limit  int64 // committed bytes
	onFile int   // offset index entries on file, below zero: ask the file
	// timesOnFile is the same for the time index.
	timesOnFile int
	hint        int64 // a batch boundary at or before the offset; below zero: none
}

// Read appends whole batches to dst, from the one that holds offset on, up to the committed end or the end of a segment.
// At most bytesMax bytes are added, but with atLeastOne the first batch always is. At the end of the log, and between the
// committed end and the end, there is nothing yet; beyond, the offset is out of range.
func (l *Log) Read(dst []byte, offset int64, bytesMax int, atLeastOne bool) ([]byte, error) {
	l.touched.Store(true)
	for {
		v, next, err := l.viewAt(offset)
		if err != nil || v.s == nil {
			return dst, err
		}
		n := len(dst)
		dst, err = l.readView(dst, v, offset, bytesMax, atLeastOne)
		v.s.release()
		if err != io.EOF {
			l.store.metrics.ReadBytes.Add(float64(len(dst) - n))
			return dst, err
		}
		// Nothing at or behind the offset in this segment: go on with the next.
		if next < 0 {
			return dst, nil
		}
		offset = next
	}
}

// viewAt finds the segment that holds offset. next is where the segment after it starts, below zero if this one is last.
// No segment and no error: nothing is committed there yet.
func (l *Log) viewAt(offset int64) (v view, next int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if start, end := l.start.Load(), l.end.Load(); offset < start || offset > end {
		return v, 0, fmt.Errorf("%w: %d, log has [%d, %d)", ErrOffsetOutOfRange, offset, start, end)
	}
	if offset >= l.mu.committed.Offset {
		return v, 0, nil
	}
	i := l.findLocked(offset)
	v = l.viewLocked(i)
	if v.s == nil {
		return v, 0, nil
	}
	next = -1
	if i+1 < len(l.mu.segments) {
		next = l.mu.segments[i+1].base
	}
	v.hint = l.hintLocked(v.s, offset)
	return v, next, nil
}

// viewLocked takes a reference of segment i, if anything in it is committed.
func (l *Log) viewLocked(i int) view {
	s := l.mu.segments[i]
	v := view{s: s, end: l.segmentEndLocked(i), limit: s.size, onFile: -1, timesOnFile: -1, hint: -1}
	switch c := l.mu.committed; {
	case s.base > c.SegmentBase:
		return view{}
	case s.base == c.SegmentBase:
		v.limit = c.Position
	}
	if t := l.mu.tail; t != nil && s == l.activeLocked() {
		v.onFile, v.timesOnFile = t.onFile[0], t.onFile[1]
	}
	s.acquireLocked()
	return v
}

// hintLocked looks for a place to start from that needs no file: where an earlier read ended, or an entry of the index
// that is still in memory.
func (l *Log) hintLocked(s *segment, offset int64) int64 {
	for _, c := range l.mu.cursors {
		if c.seg == s && c.offset == offset && c.pos > 0 {
			return c.pos
		}
	}
	if offset == s.base {
		return 0
	}
	if t := l.mu.tail; t != nil && s == l.activeLocked() && len(t.offsets) > 0 {
		i, found := slices.BinarySearchFunc(t.offsets, offset-s.base, func(e offsetEntry, rel int64) int { return int(int64(e.rel) - rel) })
		if found {
			return int64(t.offsets[i].pos)
		} else if i > 0 {
			return int64(t.offsets[i-1].pos)
		}
	}
	return -1
}

func (l *Log) remember(c cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.seg.dropped.Load() {
		return // of no use to anybody, and not to be kept from the garbage collector
	}
	l.mu.cursors[l.mu.cursorNext%readCursors] = c
	l.mu.cursorNext++
}

// readView reads from one segment; io.EOF says that it holds nothing at or behind offset.
func (l *Log) readView(dst []byte, v view, offset int64, bytesMax int, atLeastOne bool) ([]byte, error) {
	f, err := v.s.handle(false)
	if err != nil {
		return dst, err
	}
	pos, h, err := l.seek(f, v, offset)
	if err != nil {
		return dst, err
	}
	want := min(int64(max(bytesMax, 0)), v.limit-pos)
	if want < h.Size() {
		if !atLeastOne {
			return dst, nil
		}
		want = h.Size()
	}
	n := len(dst)
	dst = slices.Grow(dst, int(want))[:n+int(want)]
	if err := readFull(f, dst[n:], pos); err != nil {
		return dst[:n], err
	}
	whole, last, err := wholeBatches(dst[n:])
	if err != nil && whole == 0 {
		return dst[:n], fmt.Errorf("%s: segment %d at %d: %w", l.name, v.s.base, pos, err)
	}
	l.remember(cursor{seg: v.s, offset: last + 1, pos: pos + int64(whole)})
	return dst[:n+whole], nil
}

// wholeBatches returns the length of the complete batches in b and their last offset.
func wholeBatches(b []byte) (n int, last int64, err error) {
	for len(b)-n >= batch.HeaderSize {
		h, err := batch.DecodeHeader(b[n:])
		if err == nil {
			err = checkHeader(h)
		}
		if err == nil && n > 0 && h.BaseOffset <= last {
			// No checksum covers the base offset: a damaged one must not send a consumer back.
			err = fmt.Errorf("offset %d after %d", h.BaseOffset, last)
		}
		if err != nil {
			return n, last, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if h.Size() > int64(len(b)-n) {
			break
		}
		n += int(h.Size())
		last = h.LastOffset()
	}
	return n, last, nil
}

// seek finds the first batch of the view whose last offset is not below offset; io.EOF if there is none.
func (l *Log) seek(f disk.File, v view, offset int64) (pos int64, h batch.Header, err error) {
	if v.hint >= 0 {
		return scanTo(f, v.hint, v.limit, offset)
	}
	if err := l.ensureIndex(v.s); err != nil {
		return 0, h, err
	}
	e, found, err := v.s.lookupOffset(offset, v.onFile)
	if err == nil && found && int64(e.pos) >= v.limit {
		// An entry of a batch that is not committed yet, or nonsense: the batches before it will do.
		found, err = false, v.s.checkEntry(f, e, v.size())
	}
	if err == nil && found {
		err = v.s.checkEntry(f, e, v.limit)
	}
	if errors.Is(err, ErrCorrupt) {
		found = false
		err = l.reindex(v.s)
		if err == nil {
			e, found, err = v.s.lookupOffset(offset, -1)
			found = found && int64(e.pos) < v.limit
		}
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return 0, h, err
	}
	if !found || err != nil {
		e.pos = 0
	}
	return scanTo(f, int64(e.pos), v.limit, offset)
}

// size is the end of what was written to the segment, committed or not.
func (v view) size() int64 {
	v.s.log.mu.Lock()
	defer v.s.log.mu.Unlock()
	return v.s.size
}

func scanTo(f disk.File, from, limit, offset int64) (pos int64, h batch.Header, err error) {
	sc := newScanner(f, from, limit)
	defer sc.close()
	for {
		pos = sc.pos
		if h, err = sc.next(); err != nil || h.LastOffset() >= offset {
			return pos, h, err
		}
	}
}

// ensureIndex repairs the active segment's index before its first use after an unclean stop.
func (l *Log) ensureIndex(s *segment) error {
	l.mu.Lock()
	idle := l.mu.tail == nil && s == l.activeLocked()
	l.mu.Unlock()
	if !idle {
		return nil
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if l.deleted.Load() || !l.suspect {
		return nil
	}
	_, err := l.loadTailLocked()
	return err
}

// reindex rebuilds the index of a segment that turned out to be missing or wrong.
func (l *Log) reindex(s *segment) error {
	l.appendMu.Lock()
	l.mu.Lock()
	active := s == l.activeLocked()
	size := s.size
	l.mu.Unlock()
	if !active {
		l.appendMu.Unlock()
		return l.reindexClosed(s)
	}
	defer l.appendMu.Unlock()
	if l.deleted.Load() {
		return fmt.Errorf("%w: %s", ErrClosed, l.name)
	}
	t := newTail(s.base, l.config())
	if err := l.rebuildTail(s, t, size); err != nil {
		return err
	}
	l.suspect = false
	l.mu.Lock()
	if old := l.mu.tail; old != nil {
		t.first = old.first
		l.mu.tail = t
	}
	l.mu.Unlock()
	return nil
}

func (l *Log) reindexClosed(s *segment) error {
	l.rebuildMu.Lock()
	defer l.rebuildMu.Unlock()
	if l.deleted.Load() {
		return fmt.Errorf("%w: %s", ErrClosed, l.name)
	}
	if s.replaced.Load() {
		return fmt.Errorf("%w: the index of segment %d of %s is another's by now", ErrCorrupt, s.base, l.name)
	}
	l.mu.Lock()
	size := s.size
	l.mu.Unlock()
	_, err := s.rebuildIndex(size)
	return err
}
