package seglog

import (
	"fmt"
	"io"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// fillMap notes the last offset of each key from firstDirty on, segment by segment, until the map is full.
func (c *cleaning) fillMap(firstDirty int64) error {
	l, m := c.l, c.o.Map
	held, ends := l.holdClosed(c.upper)
	defer releaseAll(held)
	filter := batch.Filter{Keep: func(offset int64, key []byte, _ bool) bool {
		if m.overflow {
			return true
		}
		if key != nil && offset >= firstDirty && !m.put(key, offset) {
			return true
		}
		m.latest = max(m.latest, offset)
		return true
	}}
	for i, s := range held {
		if ends[i] <= firstDirty {
			continue
		}
		err := c.eachBatch(s, func(b batch.Batch) error {
			h := b.Header()
			c.stats.MapBytes += h.Size()
			if h.LastOffset() < firstDirty || h.Control() {
				m.latest = max(m.latest, h.LastOffset())
				return nil
			}
			if err := filter.Walk(b); err != nil {
				return fmt.Errorf("%w: batch of offset %d: %w", ErrCorrupt, h.BaseOffset, err)
			}
			if m.overflow {
				return errMapFull
			}
			m.latest = max(m.latest, h.LastOffset())
			return nil
		})
		if err == errMapFull {
			c.stats.MapFull = true
			break
		} else if err != nil {
			return err
		}
		m.latest = max(m.latest, ends[i]-1) // also where the last offsets are missing
	}
	c.stats.Keys = int64(m.used)
	return nil
}

// eachBatch calls fn for the batches of a segment, whose reference the caller holds. Their checksums are right.
func (c *cleaning) eachBatch(s *segment, fn func(batch.Batch) error) error {
	if s.size == 0 {
		return nil
	}
	f, err := s.handle(false)
	if err != nil {
		return err
	}
	r := &batchReader{f: f, end: s.size, read: c.spent}
	for r.pos < r.end {
		at := r.pos
		b, err := r.next()
		if err != nil {
			return fmt.Errorf("segment %d at %d: %w", s.base, at, err)
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// spent counts bytes against the rate, and ends the cleaning when it is time.
func (c *cleaning) spent(bytes int) error {
	if err := c.stopped(); err != nil {
		return err
	}
	if c.o.Throttle == nil {
		return nil
	}
	for wait := c.o.Throttle(bytes); wait > 0; wait -= throttleSlice {
		timer := time.NewTimer(min(wait, throttleSlice))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
		}
		if err := c.stopped(); err != nil {
			return err
		}
	}
	return nil
}

// batchReader reads a segment from begin to end, whole batches at a time.
type batchReader struct {
	f        disk.File
	pos, end int64
	read     func(bytes int) error // called before bytes are read
	buf      []byte                // what was read from pos on
	space    []byte
}

// next returns the next batch, valid until the one after it. Anything that is no whole batch is ErrCorrupt.
func (r *batchReader) next() (batch.Batch, error) {
	if err := r.have(batch.HeaderSize); err != nil {
		return batch.Batch{}, err
	}
	h, err := batch.DecodeHeader(r.buf)
	if err == nil {
		err = checkHeader(h)
	}
	if err == nil && h.Size() > r.end-r.pos {
		err = fmt.Errorf("batch of %d bytes, only %d are there", h.Size(), r.end-r.pos)
	}
	if err != nil {
		return batch.Batch{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if h.Size() > cleanBufferBytes {
		// Before so much memory is taken: do the bytes deserve it?
		sc := newScanner(r.f, r.pos, r.end)
		defer sc.close()
		if h, err = sc.next(); err == nil {
			err = sc.verify(h)
		}
		if err != nil {
			return batch.Batch{}, err
		}
	}
	if err := r.have(h.Size()); err != nil {
		return batch.Batch{}, err
	}
	b, err := batch.Parse(r.buf[:h.Size()])
	if err != nil {
		return batch.Batch{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	r.buf = r.buf[h.Size():]
	r.pos += h.Size()
	return b, nil
}

// have makes sure that n bytes are in memory.
func (r *batchReader) have(n int64) error {
	if n > r.end-r.pos {
		return fmt.Errorf("%w: %d bytes behind the last batch", ErrCorrupt, r.end-r.pos)
	}
	if int64(len(r.buf)) >= n {
		return nil
	}
	want := min(max(n, cleanBufferBytes), r.end-r.pos)
	rest := len(r.buf)
	space := r.space
	if int64(cap(space)) < want {
		space = make([]byte, want)
	}
	space = space[:want]
	copy(space, r.buf) // forward, perhaps within itself
	if err := r.read(int(want) - rest); err != nil {
		return err
	}
	if err := readFull(r.f, space[rest:], r.pos+int64(rest)); err != nil {
		return err
	}
	r.space, r.buf = space, space
	return nil
}

// cleanGroup makes one segment of a group and puts it in its place. A single segment of which everything stays is left
// as it is.
func (c *cleaning) cleanGroup(group []*segment) error {
	l, base := c.l, group[0].base
	if err := c.roomFor(group); err != nil {
		return err
	}
	for _, s := range group {
		// They will be read without their names: the file must be open, and the largest timestamp known.
		if _, err := s.handle(false); err != nil {
			return err
		}
		if _, err := l.segmentMax(s); err != nil {
			return err
		}
	}
	f, err := l.createCleaned(base)
	if err != nil {
		return err
	}
	w := &cleanWriter{l: l, f: f, spent: c.spent, index: newIndexBuilder(base, c.cfg.IndexIntervalBytes)}
	w.index.limit = c.cfg.indexEntriesMax()
	changed, err := c.copyGroup(group, w)
	if err == nil && !changed && len(group) == 1 {
		l.removeCleaned(f, base)
		return nil
	}
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = c.beforeSwap()
	}
	if err != nil {
		l.removeCleaned(f, base)
		return err
	}
	return c.replace(group, w)
}

// roomFor refuses to begin where the disk might get full, of which others depend.
func (c *cleaning) roomFor(group []*segment) error {
	s := c.l.store
	if s.freeBytesMin < 0 {
		return nil
	}
	bytes := s.freeBytesMin / 2
	for _, seg := range group {
		bytes += seg.size
	}
	free, err := s.fs.FreeBytes(s.dir)
	if err == nil && free < bytes {
		return fmt.Errorf("%w: %d bytes free in %s, cleaning needs %d", ErrDiskFull, free, s.dir, bytes)
	}
	return nil
}

// beforeSwap makes sure that the headers which were given up are needed no more, also after a power loss: KeepEmpty went
// by all that was appended.
func (c *cleaning) beforeSwap() error {
	if c.o.KeepEmpty != nil {
		t := c.l.requestSync()
		<-t.Done()
		if err := t.Err(); err != nil {
			return err
		}
	}
	if c.o.BeforeSwap == nil {
		return nil
	}
	return c.o.BeforeSwap()
}

// replace swaps the segments and gives the old ones up.
func (c *cleaning) replace(group []*segment, w *cleanWriter) error {
	l := c.l
	w.index.addTime()
	err := l.swap(&cleanedSegment{file: w.f, old: group, size: w.size, index: w.index})
	if err != nil {
		l.removeCleaned(w.f, group[0].base)
		return err
	}
	for _, s := range group {
		s.dropped.Store(true) // the caller's reference is the last one, or a reader's is
	}
	c.stats.Segments += int64(len(group))
	return nil
}

// copyGroup writes what stays of the group and says whether that is less than there was.
func (c *cleaning) copyGroup(group []*segment, w *cleanWriter) (changed bool, err error) {
	for _, s := range group {
		c.stats.BytesRead += s.size
		err := c.eachBatch(s, func(b batch.Batch) error {
			same, err := c.cleanBatch(b, w)
			changed = changed || !same
			return err
		})
		if err != nil {
			return changed, err
		}
	}
	c.stats.BytesWritten += w.size + int64(len(w.buf))
	return changed, nil
}

// cleanBatch writes what stays of a batch.
func (c *cleaning) cleanBatch(b batch.Batch, w *cleanWriter) (same bool, err error) {
	h := b.Header()
	if h.BaseOffset > c.o.Map.latest || h.Control() {
		c.stats.Kept += int64(h.RecordCount)
		return true, w.add(h, b.Bytes())
	}
	c.sieve.begin(h, c.cfg.DeleteRetentionMillis)
	c.sieve.counts = &c.stats
	out, result, err := c.sieve.filter.Apply(c.sieve.buf[:0], b)
	c.sieve.counts = nil
	if err != nil {
		return false, fmt.Errorf("%w: batch of offset %d: %w", ErrCorrupt, h.BaseOffset, err)
	}
	c.sieve.buf = out
	c.stats.Kept += int64(result.Kept)
	if result.Kept > 0 {
		g, err := batch.DecodeHeader(out)
		if err != nil {
			return false, err
		}
		return result.Unchanged, w.add(g, out)
	}
	keep, err := c.keepEmpty(h)
	if err != nil || !keep {
		return false, err
	}
	c.stats.EmptyBatches++
	if h.RecordCount == 0 {
		return true, w.add(h, b.Bytes())
	}
	c.sieve.buf = batch.AppendEmpty(c.sieve.buf[:0], h)
	g, err := batch.DecodeHeader(c.sieve.buf)
	if err != nil {
		return false, err
	}
	return false, w.add(g, c.sieve.buf)
}

// keepEmpty says whether the header of a batch without records stays: the last one says where the log ends if nothing
// follows, and those of a producer whose batches are remembered say what its sequences were.
func (c *cleaning) keepEmpty(h batch.Header) (bool, error) {
	switch {
	case h.LastOffset()+1 == c.upper:
		return true, nil
	case !h.HasProducer() || c.o.KeepEmpty == nil:
		return false, nil
	}
	return c.o.KeepEmpty(h, c.live)
}

// live says whether a record stays of the batch that begins at an offset, by the map of this cleaning.
func (c *cleaning) live(baseOffset int64) (bool, error) {
	if baseOffset > c.o.Map.latest {
		return true, nil
	}
	if baseOffset < c.l.Start() {
		return false, nil
	}
	b, err := c.l.Read(nil, baseOffset, 0, true)
	if err != nil || len(b) == 0 {
		return false, err
	}
	v, err := batch.Parse(b)
	if err != nil {
		return false, fmt.Errorf("%w: batch of offset %d: %w", ErrCorrupt, baseOffset, err)
	}
	h := v.Header()
	if h.BaseOffset != baseOffset || h.RecordCount == 0 {
		return false, nil
	}
	s := newSieve(c.o)
	s.begin(h, c.cfg.DeleteRetentionMillis)
	found := false
	judge := s.filter.Keep
	s.filter.Keep = func(offset int64, key []byte, hasValue bool) bool {
		found = found || judge(offset, key, hasValue)
		return true
	}
	if err := s.filter.Walk(v); err != nil {
		return false, fmt.Errorf("%w: batch of offset %d: %w", ErrCorrupt, baseOffset, err)
	}
	return found, nil
}

// sieve decides which records stay, as Kafka's Cleaner.shouldRetainRecord does.
type sieve struct {
	m               *OffsetMap
	now             int64
	tombstonesBelow int64
	filter          batch.Filter
	counts          *CleanStats // nil: nothing is counted
	tombstonesGo    bool        // the batch's delete horizon is over
	buf             []byte
}

func newSieve(o CleanOptions) sieve {
	return sieve{m: o.Map, now: o.Now.UnixMilli(), tombstonesBelow: o.TombstonesBelow}
}

// begin is called before the records of a batch. A batch that is clean from now on gets its delete horizon.
func (s *sieve) begin(h batch.Header, retentionMillis int64) {
	if s.filter.Keep == nil {
		s.filter.Keep = s.keep
	}
	horizon, set := h.DeleteHorizon()
	s.tombstonesGo = set && s.now >= horizon
	s.filter.Horizon = batch.NoTimestamp
	if h.LastOffset() <= s.m.latest {
		s.filter.Horizon = s.now + min(max(retentionMillis, 0), maxHorizonMillis)
	}
}

// maxHorizonMillis keeps now + delete.retention.ms within 64 bits.
const maxHorizonMillis = 1 << 61

func (s *sieve) keep(offset int64, key []byte, hasValue bool) bool {
	if offset > s.m.latest {
		return true
	}
	if key == nil {
		s.count(func(c *CleanStats) *int64 { return &c.KeyLess })
		return false
	}
	if last, found := s.m.get(key); found && offset < last {
		s.count(func(c *CleanStats) *int64 { return &c.Superseded })
		return false
	}
	if !hasValue && s.tombstonesGo && offset < s.tombstonesBelow {
		s.count(func(c *CleanStats) *int64 { return &c.Tombstones })
		return false
	}
	return true
}

func (s *sieve) count(of func(*CleanStats) *int64) {
	if s.counts != nil {
		*of(s.counts)++
	}
}

// cleanWriter writes the batches of a new segment, and its index.
type cleanWriter struct {
	l     *Log
	f     disk.File
	size  int64 // written
	buf   []byte
	spent func(bytes int) error
	index indexBuilder
}

func (w *cleanWriter) add(h batch.Header, b []byte) error {
	pos := w.size + int64(len(w.buf))
	if pos+int64(len(b)) > cleanedBytesMax {
		return fmt.Errorf("%w: the cleaned segment would have more than %d bytes", ErrIO, cleanedBytesMax)
	}
	w.index.add(&h, pos)
	if w.buf == nil {
		w.buf = make([]byte, 0, cleanBufferBytes)
	}
	if len(w.buf)+len(b) > cap(w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, b...)
	return nil
}

func (w *cleanWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.spent(len(w.buf)); err != nil {
		return err
	}
	n, err := w.f.WriteAt(w.buf, w.size)
	if err == nil && n != len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.l.ioError("write a cleaned segment", err)
	}
	w.size += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// finish makes everything durable. Nobody depends on the file yet: if the fsync fails it is thrown away, and the old
// segments are what they were.
func (w *cleanWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return w.l.ioError("fsync a cleaned segment", err)
	}
	return nil
}
