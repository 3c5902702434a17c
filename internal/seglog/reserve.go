package seglog

import (
	"math"

	"ottla/internal/disk"
)

const (
	// reserveBatchMin is the size in bytes of the smallest batch that room is taken for.
	reserveBatchMin = 128 << 10
	// reserveBytesMax is how much room in bytes a segment has at most ahead of what was appended. It never has more than it
	// has bytes.
	reserveBytesMax = 8 << 20
	// reserveFailed is the end of the reserved room where there is none to be had.
	reserveFailed = math.MaxInt64
)

// reserve takes room in the file for a large batch and some that may follow. Without it the file system looks for a place for each
// page of each append, and again for all of them when they are synced: of an append of 1 MB and its fdatasync that was a quarter
// of the CPU and a tenth of the time. And logs that grow side by side are in fewer pieces.
//
// It is an offer that may fail: then the append itself finds out whether there is space. appendMu is held.
func (l *Log) reserve(s *segment, f disk.File, size int64) {
	end := s.size + size
	if size < reserveBatchMin || end <= s.open.reserved {
		return
	}
	r, ok := f.(disk.Reserver)
	if !ok {
		return
	}
	from := max(s.size, s.open.reserved)
	to := min(end+min(s.size, reserveBytesMax), segmentBytesMax(l.config()))
	if to <= from || !l.store.spaceFor(to-from) {
		return
	}
	if r.Reserve(from, to-from) != nil {
		to = reserveFailed
	}
	s.open.reserved = to
}

// giveBackLocked frees what was reserved and not used. What cannot be freed goes with the file. segment.open is held, and
// nobody appends.
func (s *segment) giveBackLocked() {
	if s.open.reserved == 0 {
		return
	}
	if size, err := s.open.file.Size(); err == nil && s.open.reserved != reserveFailed {
		_ = s.open.file.Truncate(size)
	}
	s.open.reserved = 0
}

// appendedLast frees what a segment has reserved that gets no more appends. appendMu is held.
func (s *segment) appendedLast() {
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.file != nil {
		s.giveBackLocked()
	}
}
