package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

const (
	offsetEntryBytes = 8  // relative offset int32, position int32, big endian
	timeEntryBytes   = 12 // timestamp int64, relative offset int32, big endian
	// indexPendingMax is how many entries of the active segment wait in memory for one write.
	indexPendingMax = 256
	// indexPendingLimit bounds them when they cannot be written: the index gets sparser, lookups scan more.
	indexPendingLimit = 2 * indexPendingMax
	// indexUnsyncedMax is how many entries of the active segment's index a power loss may take of what precedes a
	// durable position. Recovery rewinds by as many and derives them again: a missing time entry, unlike a missing offset
	// entry, would go unnoticed.
	indexUnsyncedMax = 4096
	// indexProbe is how many entries a lookup reads at once when its search has narrowed to them.
	indexProbe = 256
)

// offsetEntry says that the batch at pos ends with the offset base + rel.
type offsetEntry struct{ rel, pos uint32 }

// timeEntry says that ts is the largest timestamp of the segment's records up to an offset not below base + rel, and
// that the batch that ends with base + rel has it.
type timeEntry struct {
	ts  int64
	rel uint32
}

func (e offsetEntry) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, e.rel), e.pos)
}

func decodeOffsetEntry(b []byte) offsetEntry {
	return offsetEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func (e timeEntry) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, uint64(e.ts)), e.rel)
}

func decodeTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}
}

// indexBuilder decides, as Kafka does, which batches get index entries.
type indexBuilder struct {
	base     int64
	interval int64 // index.interval.bytes
	limit    int   // most entries of the offset index
	since    int64 // bytes since the last entry
	max      TimestampOffset
	lastTime int64 // timestamp of the last time entry
	offsets  []offsetEntry
	times    []timeEntry
}

func newIndexBuilder(base, interval int64) indexBuilder {
	return indexBuilder{base: base, interval: max(interval, 0), limit: math.MaxInt, max: noTimestamp, lastTime: batch.NoTimestamp}
}

// noTimestamp is the maximum of a segment without timestamps.
var noTimestamp = TimestampOffset{Offset: -1, Timestamp: batch.NoTimestamp, LeaderEpoch: -1}

// add takes the batch at pos.
func (b *indexBuilder) add(h *batch.Header, pos int64) {
	if h.RecordCount > 0 && h.MaxTimestamp > b.max.Timestamp {
		b.max = TimestampOffset{Offset: h.LastOffset(), Timestamp: h.MaxTimestamp, LeaderEpoch: h.LeaderEpoch}
	}
	if b.since > b.interval && len(b.offsets) < b.limit {
		b.offsets = append(b.offsets, offsetEntry{uint32(h.LastOffset() - b.base), uint32(pos)})
		b.addTime()
		b.since = 0
	}
	b.since += h.Size()
}

// addTime adds the largest timestamp so far, if it is new. A segment that is rolled or put aside ends with one, so that
// its last time entry is its largest timestamp.
func (b *indexBuilder) addTime() {
	if b.max.Timestamp > b.lastTime {
		b.times = append(b.times, timeEntry{b.max.Timestamp, uint32(b.max.Offset - b.base)})
		b.lastTime = b.max.Timestamp
	}
}

func encodeOffsets(entries []offsetEntry) []byte {
	out := make([]byte, 0, len(entries)*offsetEntryBytes)
	for _, e := range entries {
		out = e.append(out)
	}
	return out
}

func encodeTimes(entries []timeEntry) []byte {
	out := make([]byte, 0, len(entries)*timeEntryBytes)
	for _, e := range entries {
		out = e.append(out)
	}
	return out
}

// indexSize returns the number of entries of an open index file.
func indexSize(f disk.File, entryBytes int64) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrIO, err)
	}
	if size%entryBytes != 0 {
		return 0, fmt.Errorf("%w: index of %d bytes, not a multiple of %d", ErrCorrupt, size, entryBytes)
	}
	return int(min(size/entryBytes, math.MaxInt32)), nil
}

// searchIndex finds the last of n entries for which atMost holds; entries are ordered so that it holds for a prefix.
// It reads a few entries of the file, never all.
func searchIndex(f disk.File, n int, entryBytes int, atMost func(entry []byte) bool) (entry []byte, found bool, err error) {
	var buf [indexProbe * timeEntryBytes]byte
	lo, hi := 0, n // the answer is in [lo-1, hi-1]
	for hi-lo >= indexProbe {
		mid := int(uint(lo+hi) >> 1)
		if err := readFull(f, buf[:entryBytes], int64(mid)*int64(entryBytes)); err != nil {
			return nil, false, err
		}
		if atMost(buf[:entryBytes]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	// One entry before lo is known to satisfy, but its bytes are gone: read it again with the rest.
	from := max(lo-1, 0)
	to := min(hi, from+indexProbe)
	if to == from {
		return nil, false, nil
	}
	block := buf[:(to-from)*entryBytes]
	if err := readFull(f, block, int64(from)*int64(entryBytes)); err != nil {
		return nil, false, err
	}
	for ; len(block) > 0 && atMost(block[:entryBytes]); block = block[entryBytes:] {
		entry, found = block[:entryBytes], true
	}
	return append([]byte(nil), entry...), found, nil
}

// withIndex opens an index file and calls fn with its number of entries; n below zero asks the file's size. A missing
// file of a segment that holds data is corrupt: it has to be rebuilt.
func (s *segment) withIndex(suffix string, entryBytes int64, n int, fn func(f disk.File, n int) error) error {
	f, err := s.log.store.fs.Open(s.path(suffix))
	if err == nil {
		defer f.Close()
	}
	switch {
	case s.replaced.Load(): // looked at after the open: the name is another segment's only after the mark
		if f, n, err = s.frozen[suffix], -1, nil; f == nil {
			return fmt.Errorf("%w: %s is another segment's by now", ErrCorrupt, s.path(suffix))
		}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is missing", ErrCorrupt, s.path(suffix))
	case err != nil:
		return s.log.ioError("open index", err)
	}
	if n < 0 {
		if n, err = indexSize(f, entryBytes); err != nil {
			return err
		}
	}
	return fn(f, n)
}

// lookupOffset returns the index entry with the largest offset not above offset. n is the number of entries on file,
// or below zero to ask the file.
func (s *segment) lookupOffset(offset int64, n int) (e offsetEntry, found bool, err error) {
	rel := offset - s.base
	if rel < 0 || n == 0 {
		return offsetEntry{}, false, nil
	}
	err = s.withIndex(indexSuffix, offsetEntryBytes, n, func(f disk.File, n int) error {
		b, ok, err := searchIndex(f, n, offsetEntryBytes, func(b []byte) bool { return int64(decodeOffsetEntry(b).rel) <= rel })
		if ok {
			e, found = decodeOffsetEntry(b), true
		}
		return err
	})
	return e, found, err
}

// lookupTime returns the time entry with the largest timestamp for which keep holds.
func (s *segment) lookupTime(n int, keep func(timeEntry) bool) (e timeEntry, found bool, err error) {
	if n == 0 {
		return timeEntry{}, false, nil
	}
	err = s.withIndex(timeIndexSuffix, timeEntryBytes, n, func(f disk.File, n int) error {
		b, ok, err := searchIndex(f, n, timeEntryBytes, func(b []byte) bool { return keep(decodeTimeEntry(b)) })
		if ok {
			e, found = decodeTimeEntry(b), true
		}
		return err
	})
	return e, found, err
}

// validOffsets returns the entries of an index that lie before size, up to the first that cannot be right, at most
// entriesMax.
func validOffsets(b []byte, size int64, entriesMax int) []offsetEntry {
	var out []offsetEntry
	for ; len(b) >= offsetEntryBytes && len(out) < entriesMax; b = b[offsetEntryBytes:] {
		e := decodeOffsetEntry(b)
		if int64(e.pos) >= size || e.rel > math.MaxInt32 {
			break
		}
		if n := len(out); n > 0 && (e.rel <= out[n-1].rel || e.pos <= out[n-1].pos) {
			break
		}
		out = append(out, e)
	}
	return out
}

// validTimes returns the entries of a time index up to the first that cannot be right.
func validTimes(b []byte, entriesMax int) []timeEntry {
	var out []timeEntry
	for ; len(b) >= timeEntryBytes && len(out) < entriesMax; b = b[timeEntryBytes:] {
		e := decodeTimeEntry(b)
		if e.rel > math.MaxInt32 || e.ts < 0 {
			break
		}
		if n := len(out); n > 0 && (e.ts <= out[n-1].ts || e.rel < out[n-1].rel) {
			break
		}
		out = append(out, e)
	}
	return out
}

// scanIndex adds the batches of f in [from, size) to the builder; it stops without error at what is no batch, because
// an index can only cover what precedes it.
func scanIndex(f disk.File, b *indexBuilder, from, size int64) error {
	sc := newScanner(f, from, size)
	defer sc.close()
	for {
		pos := sc.pos
		h, err := sc.next()
		if err == io.EOF || errors.Is(err, ErrCorrupt) {
			return nil
		} else if err != nil {
			return err
		}
		if rel := h.LastOffset() - b.base; rel < 0 || rel > math.MaxInt32 {
			return nil
		}
		b.add(&h, pos)
	}
}

// rebuildIndex derives both indexes of a segment from its batches and replaces the files durably. The caller holds a
// reference and keeps appends to the segment away.
func (s *segment) rebuildIndex(size int64) (indexBuilder, error) {
	cfg := s.log.config()
	b := newIndexBuilder(s.base, cfg.IndexIntervalBytes)
	b.limit = cfg.indexEntriesMax()
	f, err := s.handle(false)
	if err != nil {
		return b, err
	}
	if err := scanIndex(f, &b, 0, size); err != nil {
		return b, err
	}
	b.addTime()
	fsys := s.log.store.fs
	// The time index first: where it is missing the segment counts as not indexed.
	if err := disk.WriteFileAtomic(fsys, s.path(timeIndexSuffix), encodeTimes(b.times)); err != nil {
		return b, s.log.ioError("write time index", err)
	}
	if err := disk.WriteFileAtomic(fsys, s.path(indexSuffix), encodeOffsets(b.offsets)); err != nil {
		return b, s.log.ioError("write index", err)
	}
	s.log.store.metrics.IndexRebuilds.Inc()
	return b, nil
}

// indexEntriesMax bounds the entries of one offset index.
func (c *Config) indexEntriesMax() int {
	bytes := c.IndexBytesMax
	if bytes <= 0 {
		bytes = 10 << 20
	}
	return int(max(1, min(bytes/offsetEntryBytes, math.MaxInt32)))
}

// timeEntriesMax bounds the entries of one time index; the last one is reserved for the roll.
func (c *Config) timeEntriesMax() int {
	return max(1, c.indexEntriesMax()*offsetEntryBytes/timeEntryBytes-1)
}
