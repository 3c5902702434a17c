package seglog

import (
	"errors"
	"slices"
	"sync"

	"ottla/internal/disk"
)

const (
	// reserveBatchMin is the size in bytes of the smallest batch that room is taken for.
	reserveBatchMin = 128 << 10
	// reserveBytesMax is how much room in bytes a segment has at most ahead of what was appended. It never has more than it
	// has bytes.
	reserveBytesMax = 8 << 20
	// reservingMax is how many segments of a store have such room: 1 GiB in all.
	reservingMax = 128
	// reservingLooks is how many of them are looked at to take the room of one for another.
	reservingLooks = 4
)

// reserved is the room that a segment has ahead of what was appended to it. What is said of appendMu is of the segment's log.
type reserved struct {
	// end is where the room ends; 0 means that there is none, or none that is known of. It is written under appendMu by who has
	// the file open with a reference, and under segment.open where nobody has one.
	end int64
	// claimed says that the segment is one of those that have room. Guarded by appendMu.
	claimed bool
	// refused says that the file system gives none. Guarded by appendMu.
	refused bool
}

// reserve takes room in the file for a large batch and some that may follow. Without it the file system looks for a place for each
// page of each append, and again for all of them when they are synced: of an append of 1 MB and its fdatasync that was a quarter
// of the CPU and a tenth of the time. And logs that grow side by side are in fewer pieces.
//
// It is an offer that may fail: then the append itself finds out whether there is space. appendMu is held.
func (l *Log) reserve(s *segment, f disk.File, size int64) {
	r, end := &s.open.reserved, s.size+size
	if size < reserveBatchMin || end <= r.end || r.refused {
		return
	}
	file, ok := f.(disk.Reserver)
	if !ok {
		return
	}
	from := max(s.size, r.end)
	to := min(end+min(s.size, reserveBytesMax), segmentBytesMax(l.config()))
	if to <= from || !l.store.spaceFor(to-from) || !l.store.reserving.claim(s) {
		return
	}
	if err := file.Reserve(from, to-from); err != nil {
		r.refused = true
		if !errors.Is(err, errors.ErrUnsupported) {
			_ = l.cut(s, f) // it may have taken some all the same
		}
		return
	}
	r.end = to
}

// cut sets the file's size to that of the segment. What was reserved goes too. appendMu is held.
func (l *Log) cut(s *segment, f disk.File) error {
	err := f.Truncate(s.size)
	if err == nil {
		s.open.reserved.end = 0
	}
	return err
}

// giveBackLocked frees what was reserved and not used. What cannot be freed goes with the file. It sets the time of the file's
// last change, which is what retention knows of records without timestamps. segment.open is held, and nobody appends.
func (s *segment) giveBackLocked() {
	if s.open.reserved.end == 0 {
		return
	}
	if size, err := s.open.file.Size(); err == nil {
		_ = s.open.file.Truncate(size) // a power loss may find zeros in what was not synced: recovery cuts them as any torn tail
	}
	s.open.reserved.end = 0
}

// appendedLast frees what a segment has reserved that gets no more appends for now. appendMu is held.
func (s *segment) appendedLast() {
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.file != nil {
		s.giveBackLocked()
	}
}

// giveUp frees a segment's room and gives up its claim, unless somebody appends to its log just now. held is the log whose appendMu the
// caller has, or nil.
func (s *segment) giveUp(held *Log) bool {
	if s.log != held {
		if !s.log.appendMu.TryLock() {
			return false
		}
		defer s.log.appendMu.Unlock()
	}
	s.appendedLast()
	s.open.reserved.claimed = false
	return true
}

// reserving bounds how many segments have room ahead of their appends. mu is taken under the appendMu of the log that asks; of
// another log appendMu is only tried.
type reserving struct {
	mu   sync.Mutex
	ring []*segment // claimed; some of them have given it back
	hand int
}

// claim says whether the segment may have room. It may take it from another that nobody appends to just now. appendMu is held.
func (y *reserving) claim(s *segment) bool {
	if s.open.reserved.claimed {
		return true
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.ring) < reservingMax {
		y.ring = append(y.ring, s)
		s.open.reserved.claimed = true
		return true
	}
	for range reservingLooks {
		y.hand = (y.hand + 1) % len(y.ring)
		if y.ring[y.hand].giveUp(s.log) {
			y.ring[y.hand] = s
			s.open.reserved.claimed = true
			return true
		}
	}
	return false
}

// giveBackAll frees the room of all segments that nobody appends to just now: space has become scarce. No appendMu is held.
func (y *reserving) giveBackAll() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ring = slices.DeleteFunc(y.ring, func(s *segment) bool { return s.giveUp(nil) })
}
