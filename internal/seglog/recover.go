package seglog

import (
	"errors"
	"fmt"
	"io"
	"math"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// rewriteBytes is how much of a recovered tail is in memory at once.
const rewriteBytes = 256 << 10

// repairTail checks everything behind trust, cuts at the first batch that is not whole, removes what follows, and makes
// the rest durable by writing it again: after a failed fsync the page cache may hold what the disk does not.
func (r *recovery) repairTail() error {
	l := r.l
	if err := r.dropIndexes(); err != nil {
		return err
	}
	if first := l.mu.segments[0]; first.base > max(r.fileStart, r.trust.Offset) && !r.startLost {
		// The log start file is durable before a segment is unlinked, so what is missing here is the unsynced data of a
		// power loss, and what was written after it goes too.
		if err := r.removeFrom(0, "the segments before it are missing"); err != nil {
			return err
		}
		r.start = r.fileStart
		r.addEmpty(r.start)
		return nil
	}
	i, pos, expected, err := r.tailStart()
	if err != nil || pos < 0 {
		return err
	}
	for ; i < len(l.mu.segments); i++ {
		s := l.mu.segments[i]
		if s.base != expected && pos == 0 && !r.holeAllowed(expected, s.base) {
			return r.removeFrom(i, fmt.Sprintf("segment %d does not follow offset %d", s.base, expected))
		}
		valid, next, err := r.checkSegment(s, pos, expected)
		if err != nil {
			return err
		}
		if err := r.makeDurable(s, pos, valid); err != nil {
			return err
		}
		torn := s.size > valid
		s.size = valid
		if torn {
			return r.removeFrom(i+1, fmt.Sprintf("segment %d is torn at %d", s.base, valid))
		}
		expected, pos = next, 0
	}
	return nil
}

// dropIndexes removes the indexes of the closed segments that the trusted position does not lie behind: nobody may have
// synced them. Without them a segment is indexed anew at need; the active segment has its own way, see repairTail of Log.
func (r *recovery) dropIndexes() error {
	segments := r.l.mu.segments
	for _, s := range segments[:len(segments)-1] {
		if s.base < r.trust.SegmentBase {
			continue
		}
		if err := s.removeIndexFiles(); err != nil {
			return err
		}
		r.dirty = true
	}
	return nil
}

// tailStart finds where the part begins that has to be checked: segment, byte (below zero: nothing to check), offset.
func (r *recovery) tailStart() (i int, pos, offset int64, err error) {
	l := r.l
	i = l.findLocked(r.trust.Offset)
	s := l.mu.segments[i]
	if r.trust.Offset <= s.base {
		return i, 0, s.base, nil
	}
	if s.size == 0 && i+1 == len(l.mu.segments) {
		return i, -1, s.base, nil // holdOffsets sees to it
	}
	if r.trust.SegmentBase != s.base {
		r.trust.SegmentBase, r.trust.Position = s.base, -1 // of no use in this segment
	}
	if ok, err := r.boundary(s, r.trust.Position, r.trust.Offset); ok || err != nil {
		return i, r.trust.Position, r.trust.Offset, err
	}
	pos, offset, err = r.walkTo(s, r.trust.Offset)
	if err != nil || offset >= r.trust.Offset {
		r.trust = Position{Offset: offset, SegmentBase: s.base, Position: pos}
		return i, pos, offset, err
	}
	if err := r.missing(i, pos, offset); err != nil {
		return 0, 0, 0, err
	}
	return i + 1, 0, l.mu.segments[i+1].base, nil
}

// boundary says whether a position that somebody remembers can be a batch boundary of the segment.
func (r *recovery) boundary(s *segment, pos, offset int64) (bool, error) {
	if pos < 0 || pos > s.size || pos == 0 && offset != s.base {
		return false, nil
	}
	if pos == s.size {
		return true, nil
	}
	f, err := s.recoveryHandle()
	if err != nil {
		return false, err
	}
	defer s.release()
	sc := newScanner(f, pos, s.size)
	defer sc.close()
	h, err := sc.next()
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return false, err
	}
	return err == nil && h.BaseOffset == offset, nil
}

// walkTo walks the batches of a segment up to the one at or behind offset; it stops early where there is none.
func (r *recovery) walkTo(s *segment, offset int64) (pos, next int64, err error) {
	f, err := s.recoveryHandle()
	if err != nil {
		return 0, 0, err
	}
	defer s.release()
	sc := newScanner(f, 0, s.size)
	defer sc.close()
	for next = s.base; next < offset; {
		h, err := sc.next()
		switch {
		case err == io.EOF || errors.Is(err, ErrCorrupt):
			return sc.pos, next, nil
		case err != nil:
			return 0, 0, err
		case h.BaseOffset < next:
			return sc.pos - h.Size(), next, nil
		}
		next = h.LastOffset() + 1
	}
	return sc.pos, next, nil
}

// missing handles a segment that ends before the position that was durable: acknowledged data is gone. Offsets must not
// be given out twice, so the log goes on behind the hole, which readers step over.
func (r *recovery) missing(i int, pos, offset int64) error {
	l := r.l
	s := l.mu.segments[i]
	l.store.metrics.MissingOffsets.Add(float64(r.trust.Offset - offset))
	l.store.logger.Error("acknowledged records are missing from the log",
		"log", l.name, "from", offset, "to", r.trust.Offset, "segment", s.base, "position", pos)
	if err := r.makeDurable(s, pos, pos); err != nil {
		return err
	}
	if err := s.removeIndexFiles(); err != nil {
		return err
	}
	s.size, r.dirty = pos, true
	if i+1 == len(l.mu.segments) {
		r.addEmpty(r.trust.Offset)
	}
	// Behind the hole everything is new to recovery, but must not be taken for one that a power loss made.
	next := l.mu.segments[i+1].base
	return l.writeStart(startFile{start: l.startFile, recovery: max(l.recoveryPoint, next)})
}

// checkSegment verifies the batches from pos on and returns where the valid part ends, in bytes and offsets.
func (r *recovery) checkSegment(s *segment, pos, expected int64) (valid, next int64, err error) {
	if pos >= s.size {
		return pos, expected, nil
	}
	f, err := s.recoveryHandle()
	if err != nil {
		return 0, 0, err
	}
	defer s.release()
	sc := newScanner(f, pos, s.size)
	defer sc.close()
	for {
		valid = sc.pos
		if err := r.interrupted(); err != nil {
			return 0, 0, err
		}
		h, err := sc.next()
		if err == nil {
			err = sc.verify(h)
		}
		if err == nil && h.BaseOffset != expected && !r.holeAllowed(expected, h.BaseOffset) {
			err = fmt.Errorf("%w: base offset %d, expected %d", ErrCorrupt, h.BaseOffset, expected)
		}
		switch {
		case err == io.EOF, errors.Is(err, ErrCorrupt):
			return valid, expected, nil
		case err != nil:
			return 0, 0, err
		}
		expected = h.LastOffset() + 1
	}
}

// holeAllowed says whether offsets may be missing: the cleaner removes some, far in front of what has to be checked. Only
// where the start file is lost, which knows how far it went, nobody can tell.
func (r *recovery) holeAllowed(from, to int64) bool {
	return to > from && (to <= r.l.holes || r.startLost)
}

// makeDurable cuts the segment at valid, writes [from, valid) again in place, and fsyncs it.
func (r *recovery) makeDurable(s *segment, from, valid int64) error {
	if from == valid && s.size == valid {
		return nil
	}
	f, err := s.recoveryHandle()
	if err != nil {
		return err
	}
	defer s.release()
	if s.size > valid {
		if err := f.Truncate(valid); err != nil {
			return r.l.ioError("cut", err)
		}
		r.l.store.metrics.TruncatedBytes.Add(float64(s.size - valid))
		r.l.store.logger.Warn("cut a torn tail", "log", r.l.name, "segment", s.base, "position", valid, "bytes", s.size-valid)
	}
	if err := rewrite(f, from, valid); err != nil {
		return r.l.ioError("rewrite", err)
	}
	if err := f.Sync(); err != nil {
		return r.fsyncFailed(err)
	}
	r.l.store.metrics.RecoveredBytes.Add(float64(valid - from))
	r.dirty = true // its name may be as new as its bytes
	return nil
}

func rewrite(f disk.File, from, to int64) error {
	buf := make([]byte, min(rewriteBytes, max(to-from, 0)))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if err := readFull(f, b, from); err != nil {
			return err
		}
		if n, err := f.WriteAt(b, from); err != nil {
			return err
		} else if n != len(b) {
			return io.ErrShortWrite
		}
		from += int64(len(b))
	}
	return nil
}

// removeFrom removes the segments from i on: an fsync that covered them would have covered what is missing before them,
// so nobody was told of their batches.
func (r *recovery) removeFrom(i int, why string) error {
	l := r.l
	for _, s := range l.mu.segments[i:] {
		l.store.logger.Warn("removing a segment behind a torn tail", "log", l.name, "segment", s.base, "bytes", s.size, "reason", why)
		l.store.metrics.TruncatedBytes.Add(float64(s.size))
		l.store.files.closeFile(s)
		if err := r.remove(segmentName(s.base, logSuffix)); err != nil {
			return err
		}
		if err := s.removeIndexFiles(); err != nil {
			return err
		}
	}
	clear(l.mu.segments[i:])
	l.mu.segments = l.mu.segments[:i]
	return nil
}

// recoveryHandle returns the file with a reference, to be released.
func (s *segment) recoveryHandle() (disk.File, error) {
	s.refs.Add(1)
	f, err := s.handle(false)
	if err != nil {
		s.refs.Add(-1)
		return nil, err
	}
	return f, nil
}

// replay walks the headers from the checkpoint to the end, tells the caller of each, and finds the end offset.
func (r *recovery) replay(epochsKnown bool) error {
	l := r.l
	from := int64(0)
	if r.o.HasCheckpoint {
		from = r.o.Checkpoint.Offset
	}
	i := l.findLocked(max(from, r.start))
	if !epochsKnown {
		i = 0
	}
	for ; i < len(l.mu.segments); i++ {
		r.end = max(r.end, l.mu.segments[i].base)
		if err := r.replaySegment(i, from, epochsKnown); err != nil {
			return err
		}
	}
	return r.holdOffsets()
}

// holdOffsets starts behind the trusted offset where the log ends before it: offsets are never given out twice.
func (r *recovery) holdOffsets() error {
	l := r.l
	if r.end >= r.trust.Offset && r.end >= r.start {
		return nil
	}
	next := max(r.trust.Offset, r.start)
	l.store.metrics.MissingOffsets.Add(float64(next - r.end))
	l.store.logger.Error("acknowledged records are missing from the log", "log", l.name, "from", r.end, "to", next)
	if n := len(l.mu.segments) - 1; l.mu.segments[n].size == 0 {
		if err := r.removeFrom(n, "it is empty"); err != nil {
			return err
		}
	}
	r.addEmpty(next)
	if err := l.writeStart(startFile{start: l.startFile, recovery: next}); err != nil {
		return err
	}
	r.end = next
	return nil
}

func (r *recovery) replaySegment(i int, from int64, epochsKnown bool) error {
	l := r.l
	s := l.mu.segments[i]
	if s.size == 0 {
		return nil
	}
	f, err := s.recoveryHandle()
	if err != nil {
		return err
	}
	defer s.release()
	pos := int64(0)
	if r.o.HasCheckpoint && epochsKnown && r.o.Checkpoint.SegmentBase == s.base {
		if ok, err := r.boundary(s, r.o.Checkpoint.Position, from); err != nil {
			return err
		} else if ok {
			pos = r.o.Checkpoint.Position
			r.end = max(r.end, from)
		}
	}
	sc := newScanner(f, pos, s.size)
	defer sc.close()
	for {
		at := sc.pos
		h, err := sc.next()
		if err == nil && h.BaseOffset < r.end {
			err = fmt.Errorf("%w: batch of offset %d at %d, expected %d", ErrCorrupt, h.BaseOffset, at, r.end)
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ErrCorrupt):
			if sc.pos = r.damaged(i, at, err); sc.pos < 0 {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		if err := r.replayBatch(h, from); err != nil {
			return err
		}
	}
}

func (r *recovery) replayBatch(h batch.Header, from int64) error {
	if err := r.interrupted(); err != nil {
		return err
	}
	r.end = h.LastOffset() + 1
	r.l.assignEpochLocked(h.LeaderEpoch, h.BaseOffset)
	if h.BaseOffset < from || h.LastOffset() < r.start || r.o.Replay == nil {
		return nil
	}
	return r.o.Replay(h)
}

// damaged handles a batch that cannot be read where everything should be durable, and returns where to go on in the
// segment, below zero for nowhere. Nothing is cut: the operator may know better. If it is the last segment the log goes
// on in a new one, so that what is appended is not behind something unreadable.
func (r *recovery) damaged(i int, pos int64, cause error) int64 {
	l := r.l
	s := l.mu.segments[i]
	l.store.logger.Error("damaged batch in the durable part of the log", "log", l.name, "segment", s.base, "position", pos, "error", cause)
	if s.base == r.trust.SegmentBase && pos < r.trust.Position && r.trust.Position <= s.size {
		l.store.metrics.MissingOffsets.Add(float64(max(0, r.trust.Offset-r.end)))
		r.end = max(r.end, r.trust.Offset)
		return r.trust.Position
	}
	if i+1 < len(l.mu.segments) {
		l.store.metrics.MissingOffsets.Add(float64(max(0, l.mu.segments[i+1].base-r.end)))
		return -1
	}
	next := max(r.end, r.trust.Offset, s.base+1)
	if e, found, err := s.lookupOffset(math.MaxInt64, -1); err == nil && found && e.rel < math.MaxInt32 {
		next = max(next, s.base+int64(e.rel)+1)
	}
	r.addEmpty(next)
	return -1
}
