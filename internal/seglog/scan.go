package seglog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

const (
	scanChunkBytes = 64 << 10 // read at once while batches are small
	scanProbeBytes = 4 << 10  // read first, and where batches are larger than a chunk helps
	// crcFrom is where the part of a batch that its checksum covers begins (the attributes).
	crcFrom = 21
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var scanBuffers = sync.Pool{New: func() any { b := make([]byte, scanChunkBytes); return &b }}

// scanner walks the batch headers of a file. It never allocates by what the bytes say.
type scanner struct {
	f        disk.File
	pos, end int64 // of the next header; of what may be read
	last     int64 // size of the batch before
	buf      *[]byte
	at       int64 // file position of (*buf)[0]
	n        int   // valid bytes in buf
}

func newScanner(f disk.File, pos, end int64) *scanner {
	return &scanner{f: f, pos: pos, end: end, buf: scanBuffers.Get().(*[]byte)}
}

func (s *scanner) close() {
	if s.buf != nil {
		scanBuffers.Put(s.buf)
		s.buf = nil
	}
}

// next returns the header at pos and moves behind the batch. At the end it returns io.EOF; a batch that is malformed or
// reaches past the end is ErrCorrupt, and pos stays on it.
func (s *scanner) next() (batch.Header, error) {
	if s.pos >= s.end {
		return batch.Header{}, io.EOF
	}
	if s.end-s.pos < batch.HeaderSize {
		return batch.Header{}, fmt.Errorf("%w: %d bytes at %d, a batch header has %d", ErrCorrupt, s.end-s.pos, s.pos, batch.HeaderSize)
	}
	b, err := s.window(batch.HeaderSize)
	if err != nil {
		return batch.Header{}, err
	}
	h, err := batch.DecodeHeader(b)
	if err == nil {
		err = checkHeader(h)
	}
	if err != nil {
		return h, fmt.Errorf("%w: at %d: %w", ErrCorrupt, s.pos, err)
	}
	if h.Size() > s.end-s.pos {
		return h, fmt.Errorf("%w: batch of %d bytes at %d, only %d are there", ErrCorrupt, h.Size(), s.pos, s.end-s.pos)
	}
	s.last = h.Size()
	s.pos += h.Size()
	return h, nil
}

// checkHeader refuses what no batch of ours has.
func checkHeader(h batch.Header) error {
	if h.BaseOffset < 0 || h.LastOffsetDelta < 0 || h.RecordCount < 0 || h.BaseOffset > math.MaxInt64-int64(h.LastOffsetDelta)-1 {
		return fmt.Errorf("base offset %d, last offset delta %d, %d records", h.BaseOffset, h.LastOffsetDelta, h.RecordCount)
	}
	return nil
}

// window returns n bytes at pos; they are within end.
func (s *scanner) window(n int64) ([]byte, error) {
	if s.pos >= s.at && s.pos+n <= s.at+int64(s.n) {
		return (*s.buf)[s.pos-s.at:][:n], nil
	}
	want := int64(scanChunkBytes)
	if s.n == 0 || s.last > 2*scanProbeBytes {
		want = scanProbeBytes // most often a fetch knows where to begin, and looks at one header only
	}
	want = min(max(want, n), s.end-s.pos)
	if err := readFull(s.f, (*s.buf)[:want], s.pos); err != nil {
		s.n = 0
		return nil, err
	}
	s.at, s.n = s.pos, int(want)
	return (*s.buf)[:n], nil
}

// verify checks the checksum of the batch that next just returned.
func (s *scanner) verify(h batch.Header) error {
	start := s.pos - h.Size()
	var sum uint32
	for at := start + crcFrom; at < s.pos; {
		if at < s.at || at >= s.at+int64(s.n) {
			want := min(scanChunkBytes, s.end-at)
			if err := readFull(s.f, (*s.buf)[:want], at); err != nil {
				s.n = 0
				return err
			}
			s.at, s.n = at, int(want)
		}
		chunk := (*s.buf)[at-s.at : min(s.pos-s.at, int64(s.n))]
		sum = crc32.Update(sum, castagnoli, chunk)
		at += int64(len(chunk))
	}
	if sum != h.CRC {
		return fmt.Errorf("%w: batch at %d: checksum %08x, stored %08x", ErrCorrupt, start, sum, h.CRC)
	}
	return nil
}

// readFull reads exactly len(p) bytes; a file that is shorter than believed is corrupt.
func readFull(f disk.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %d of %d bytes at %d", ErrCorrupt, n, len(p), at)
	default:
		return fmt.Errorf("%w: read: %w", ErrIO, err)
	}
}
