package autopsy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"ottla/internal/batch"
)

const (
	// headerWindow is how much of a segment is read at a time, in bytes.
	headerWindow = 32 << 10
	// producersTracked bounds the producer ids of one partition that are followed one by one. When there are more, only
	// one in two (four, eight...) is, chosen by its number, and counts are multiplied.
	producersTracked = 1 << 16
	// batchBytesMax is the largest batch that is believed, in bytes: lengths are 31 bits, message.max.bytes far less.
	batchBytesMax = 1 << 30
	indexEntry    = 8 // relative offset, position
)

// followed is one producer id in the segments of one partition.
type followed struct {
	born        bool // a batch with sequence 0 in epoch 0, not transactional
	batches     int32
	first, last int64 // ms since 1970
}

// segmentTally sums up batch headers.
type segmentTally struct {
	Segments
	pids map[int64]*followed
	mask uint64 // a producer is followed if the hash of its id has none of these bits
	now  int64
}

func newSegmentTally() *segmentTally {
	return &segmentTally{pids: map[int64]*followed{}}
}

// hash spreads producer ids, which come in runs.
func hash(pid int64) uint64 {
	h := uint64(pid) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

func (s *segmentTally) add(h batch.Header) {
	if h.Control() {
		s.Control++
		return
	}
	s.Batches++
	s.Records += int64(h.RecordCount)
	if t := h.MaxTimestamp; t > 0 {
		if t > s.now+futureSlack {
			s.Future++
			s.FutureMax = max(s.FutureMax, t)
		} else {
			if s.TimeMin == 0 || t < s.TimeMin {
				s.TimeMin = t
			}
			s.TimeMax = max(s.TimeMax, t)
		}
	}
	if !h.HasProducer() {
		return
	}
	if s.Idempotent++; s.Idempotent == 1 {
		s.PIDMin, s.PIDMax = h.ProducerID, h.ProducerID
	}
	s.PIDMin, s.PIDMax = min(s.PIDMin, h.ProducerID), max(s.PIDMax, h.ProducerID)
	if h.Transactional() {
		s.Transactional++
	}
	s.follow(h)
}

func (s *segmentTally) follow(h batch.Header) {
	if hash(h.ProducerID)&s.mask != 0 {
		return
	}
	p := s.pids[h.ProducerID]
	if p == nil {
		if len(s.pids) >= producersTracked {
			s.mask = s.mask<<1 | 1
			for pid := range s.pids {
				if hash(pid)&s.mask != 0 {
					delete(s.pids, pid)
				}
			}
			if hash(h.ProducerID)&s.mask != 0 {
				return
			}
		}
		p = &followed{first: h.MaxTimestamp, last: h.MaxTimestamp}
		s.pids[h.ProducerID] = p
	}
	p.batches++
	p.first, p.last = min(p.first, h.MaxTimestamp), max(p.last, h.MaxTimestamp)
	p.born = p.born || h.BaseSequence == 0 && h.ProducerEpoch == 0 && !h.Transactional()
}

func (s *segmentTally) done() *Segments {
	s.Sampled = int64(s.mask) + 1
	s.Producers = int64(len(s.pids)) * s.Sampled
	var batches, lives []float64
	for _, p := range s.pids {
		if p.born {
			s.Newborn += s.Sampled
			batches = append(batches, float64(p.batches))
			lives = append(lives, float64(p.last-p.first)/1000)
		}
	}
	s.BatchesMedian, s.LifeMedian = median(batches), median(lives)
	out := s.Segments
	return &out
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// readSegment reads the headers of one segment, at most budget bytes of it: of a larger one the end, from a batch that
// its index points to. It returns how many bytes were read.
func (r *reader) readSegment(f *file, s *segmentTally, budget int64) (read int64, err error) {
	h, err := f.open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	s.now = max(s.now, r.o.Now.UnixMilli())
	if !f.mod.IsZero() {
		s.now = min(s.now, f.mod.UnixMilli())
	}
	w := &window{r: h, budget: budget}
	if seeker, ok := h.(io.Seeker); ok && f.data == nil {
		w.seeker = seeker
		if f.size > budget {
			if at := indexed(f.path, f.size-budget); at > 0 {
				if _, err := seeker.Seek(at, io.SeekStart); err == nil {
					w.at = at
				}
			}
		}
	}
	from := w.at
	err = s.headers(w)
	s.Bytes += w.at - from
	return w.read, err
}

func (s *segmentTally) headers(w *window) error {
	for {
		head, err := w.peek(batch.HeaderSize)
		if err != nil {
			return err
		}
		if len(head) == 0 || allZero(head) { // a preallocated file ends in zeros
			return nil
		}
		h, err := batch.DecodeHeader(head)
		size := h.Size()
		if errors.Is(err, batch.ErrOldMagic) {
			size, err = batch.LengthPrefixSize+int64(int32(binary.BigEndian.Uint32(head[8:]))), nil
			if size < batch.LengthPrefixSize+oldMessageMin {
				return fmt.Errorf("at byte %d: no batch: a message of %d bytes", w.at, size)
			}
			s.OldFormat++
		} else if err == nil {
			s.add(h)
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", w.at, err)
		}
		if size > batchBytesMax {
			return fmt.Errorf("at byte %d: a batch of %d bytes is not believed", w.at, size)
		}
		if more, err := w.skip(size); err != nil || !more {
			return err
		}
	}
}

// oldMessageMin is the least a message of format v0 has behind its length: checksum, magic, attributes, key and value
// lengths.
const oldMessageMin = 14

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// window reads a stream forward through a small buffer and jumps over what is not needed where the stream can seek.
type window struct {
	r      io.Reader
	seeker io.Seeker
	buf    []byte
	space  [headerWindow]byte
	at     int64 // position of buf[0] in the stream
	read   int64
	budget int64
}

// peek returns the next n bytes, fewer at the end of the stream or of the budget.
func (w *window) peek(n int) ([]byte, error) {
	for len(w.buf) < n {
		if w.read >= w.budget {
			return nil, nil
		}
		kept := copy(w.space[:], w.buf)
		got, err := w.r.Read(w.space[kept:])
		w.buf = w.space[:kept+got]
		w.read += int64(got)
		if errors.Is(err, io.EOF) || err == nil && got == 0 {
			return w.buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return w.buf[:n], nil
}

// skip goes forward n bytes. more is false at the end of the budget.
func (w *window) skip(n int64) (more bool, err error) {
	if n <= int64(len(w.buf)) {
		w.buf = w.buf[n:]
		w.at += n
		return true, nil
	}
	n -= int64(len(w.buf))
	w.at += int64(len(w.buf))
	w.buf = nil
	if w.seeker != nil {
		w.at += n
		_, err := w.seeker.Seek(n, io.SeekCurrent)
		return true, err
	}
	n = min(n, w.budget-w.read)
	skipped, err := io.CopyN(io.Discard, w.r, n)
	w.at += skipped
	w.read += skipped
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return w.read < w.budget, err
}

// indexed returns the position of the last batch at or before target that the segment's offset index names, 0 if there is none.
func indexed(segment string, target int64) int64 {
	f, err := openRegular(strings.TrimSuffix(segment, ".log") + ".index")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	position := func(i int) int64 {
		var b [indexEntry]byte
		if _, err := f.ReadAt(b[:], int64(i)*indexEntry); err != nil {
			return 0
		}
		return int64(binary.BigEndian.Uint32(b[4:]))
	}
	// The active segment's index is preallocated: zeros follow the last entry.
	n := sort.Search(int(min(info.Size()/indexEntry, 1<<24)), func(i int) bool {
		p := position(i)
		return p == 0 && i > 0 || p > target
	})
	if n == 0 {
		return 0
	}
	return position(n - 1)
}
