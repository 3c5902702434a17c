package seglog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"unsafe"

	"ottla/internal/disk"
)

// A record, all numbers big endian, padded with zeros to journalBlock:
//
//	0   uint32  journalMagic
//	4   uint16  version
//	6   uint16  0
//	8   uint32  CRC-32C of what follows, without the padding
//	12  uint32  size in bytes, without the padding
//	16  uint64  run: a random number of the process
//	24  uint64  generation
//	32  uint64  sequence number, from 0 in each run
//	40  uint32  ranges
//	44  ranges: uint16 length and name of the log, int64 base offset of the segment, int64 position, uint32 length of the bytes,
//	    uint16 length and names, the bytes
//
// Names are there where the name of the segment, that of the log's directory or the log's texts were not durable: 16 bytes of topic id,
// and the file of epochs. Records of version 1 had none.
const (
	journalMagic      = 0x4f4c4a31
	journalVersion    = 2
	journalHeadBytes  = 44
	journalRangeBytes = 2 + 8 + 8 + 4 + 2
)

// journalPadded is the room that a record of so many bytes takes.
func journalPadded(size int64) int64 { return (size + journalBlock - 1) / journalBlock * journalBlock }

func journalRecordSize(files []dirtyFile) int64 {
	size := int64(journalHeadBytes)
	for _, d := range files {
		size += journalRangeBytes + int64(len(d.log.name)+len(d.names)) + d.to - d.from
	}
	return size
}

// alignedBytes returns bytes whose address is a multiple of disk.DirectAlignment.
func alignedBytes(n int64) []byte {
	b := make([]byte, n+disk.DirectAlignment)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (disk.DirectAlignment - 1) // what the heap holds is not moved
	return b[skip : int64(skip)+n : int64(skip)+n]
}

// encode puts the record of the ranges into buf, whose bytes it reads from the segments. If one cannot be read the pass
// has to sync the files.
func (j *journal) encode(files []dirtyFile, size, padded int64, gen, seq uint64) bool {
	if int64(cap(j.buf)) < padded {
		j.buf = alignedBytes(max(padded, min(2*int64(cap(j.buf)), journalManyRecordMax)))
	}
	j.buf = j.buf[:padded]
	out := j.buf[:journalHeadBytes]
	for _, d := range files {
		out = binary.BigEndian.AppendUint16(out, uint16(len(d.log.name)))
		out = append(out, d.log.name...)
		out = binary.BigEndian.AppendUint64(out, uint64(d.base))
		out = binary.BigEndian.AppendUint64(out, uint64(d.from))
		out = binary.BigEndian.AppendUint32(out, uint32(d.to-d.from))
		out = binary.BigEndian.AppendUint16(out, uint16(len(d.names)))
		out = append(out, d.names...)
		n := len(out)
		out = out[:n+int(d.to-d.from)]
		f, err := d.handle(false)
		if err != nil || d.closedDirty.Load() || readFull(f, out[n:], d.from) != nil {
			return false
		}
	}
	clear(j.buf[size:])
	head := j.buf
	binary.BigEndian.PutUint32(head, journalMagic)
	binary.BigEndian.PutUint32(head[4:], journalVersion<<16)
	binary.BigEndian.PutUint32(head[12:], uint32(size))
	binary.BigEndian.PutUint64(head[16:], j.run)
	binary.BigEndian.PutUint64(head[24:], gen)
	binary.BigEndian.PutUint64(head[32:], seq)
	binary.BigEndian.PutUint32(head[40:], uint32(len(files)))
	binary.BigEndian.PutUint32(head[8:], crc32.Checksum(head[12:size], castagnoli))
	return true
}

// journalRange says what bytes a segment has at a position.
type journalRange struct {
	log      string
	base     int64
	position int64
	data     []byte
	topicID  [16]byte
	epochs   []byte // the file of them; nil: that, the topic id and all names were durable
}

type journalRecord struct {
	run, gen, seq uint64
	ranges        []journalRange
}

var errJournalRecord = errors.New("not a record of a journal")

// decodeJournalRecord reads the record that b begins with; its ranges point into b. ErrVersion: a newer program wrote it.
func decodeJournalRecord(b []byte) (r journalRecord, size int64, err error) {
	if len(b) < journalHeadBytes || binary.BigEndian.Uint32(b) != journalMagic {
		return r, 0, errJournalRecord
	}
	v := binary.BigEndian.Uint16(b[4:])
	if v < 1 || v > journalVersion {
		return r, 0, fmt.Errorf("%w: journal record version %d, expected at most %d", ErrVersion, v, journalVersion)
	}
	n := int64(binary.BigEndian.Uint32(b[12:]))
	if n < journalHeadBytes || n > int64(len(b)) || crc32.Checksum(b[12:n], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return r, 0, errJournalRecord
	}
	r = journalRecord{run: binary.BigEndian.Uint64(b[16:]), gen: binary.BigEndian.Uint64(b[24:]), seq: binary.BigEndian.Uint64(b[32:])}
	rest := b[journalHeadBytes:n]
	for range binary.BigEndian.Uint32(b[40:]) {
		var one journalRange
		if one, rest, err = decodeJournalRange(rest, v); err != nil {
			return r, 0, err
		}
		r.ranges = append(r.ranges, one)
	}
	if len(rest) > 0 {
		return r, 0, errJournalRecord
	}
	return r, n, nil
}

func decodeJournalRange(b []byte, version uint16) (r journalRange, rest []byte, err error) {
	head := journalRangeBytes
	if version == 1 {
		head -= 2
	}
	if len(b) < head {
		return r, nil, errJournalRecord
	}
	name := int(binary.BigEndian.Uint16(b))
	if len(b) < head+name {
		return r, nil, errJournalRecord
	}
	r.log, b = string(b[2:2+name]), b[2+name:]
	r.base, r.position = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
	n := int64(binary.BigEndian.Uint32(b[16:]))
	b = b[20:]
	if version > 1 {
		names := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; names > len(b) || names > 0 && names <= len(r.topicID) {
			return r, nil, errJournalRecord
		}
		if names > 0 {
			r.epochs = b[copy(r.topicID[:], b):names]
		}
		b = b[names:]
	}
	// A name is that of a directory in the data directory, and of nothing above or below.
	if filepath.Base(r.log) != r.log || r.log == "." || r.log == ".." || r.base < 0 || r.position < 0 || r.position > math.MaxInt32 || n > int64(len(b)) {
		return r, nil, errJournalRecord
	}
	r.data = b[:n]
	return r, b[n:], nil
}

// decodeJournal returns the records of a file: those of one generation, up to the first that is not whole. Behind them is what
// older generations have left, and that may be anything, a client's bytes too: another version counts at the beginning alone.
// damaged says that a later record of the same generation is whole.
func decodeJournal(b []byte) (records []journalRecord, damaged bool, err error) {
	ended := false
	for at := int64(0); at < int64(len(b)); {
		r, size, err := decodeJournalRecord(b[at:])
		if at == 0 && err != nil {
			if errors.Is(err, ErrVersion) {
				return nil, false, err
			}
			return nil, false, nil
		}
		n := len(records)
		if err != nil || n > 0 && (r.run != records[0].run || r.gen != records[0].gen || r.seq <= records[n-1].seq) {
			ended = true
			at += journalBlock
			continue
		}
		if ended || n > 0 && r.seq != records[n-1].seq+1 {
			return records, true, nil
		}
		records = append(records, r)
		at += journalPadded(size)
	}
	return records, false, nil
}

// readJournal returns the records of both files of a data directory, in the order in which they were written, and whether records
// are damaged that have followed them.
func readJournal(fsys disk.FS, dir string) (records []journalRecord, damaged bool, err error) {
	var files [2][]journalRecord
	for i := range files {
		b, err := disk.ReadFile(fsys, journalPath(dir, i), journalBytesMax)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		bad := false
		if err == nil {
			files[i], bad, err = decodeJournal(b)
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", journalPath(dir, i), err)
		}
		damaged = damaged || bad
	}
	if a, b := files[0], files[1]; len(a) > 0 && len(b) > 0 && a[0].run != b[0].run {
		// Every start erases both before it writes one: somebody has put a file back. What the older one says may be wrong by now.
		return nil, false, fmt.Errorf("%w: %s and %s are of two runs", ErrCorrupt, journalPath(dir, 0), journalPath(dir, 1))
	}
	slices.SortFunc(files[:], func(a, b []journalRecord) int { return cmp.Compare(generation(a), generation(b)) })
	return append(files[0], files[1]...), damaged, nil
}

// JournalRecords is how many records the next start of a data directory will write into the segments, before anything else. The
// directory must not be in use. The error wraps ErrVersion where a newer program has written them, ErrCorrupt where they cannot be
// believed.
func JournalRecords(fsys disk.FS, dir string) (int, error) {
	records, _, err := readJournal(fsys, dir)
	return len(records), err
}

// WriteJournalBack writes what an earlier run has in its journal into the segments again, makes that durable, and erases the
// journal, as a start does. Nothing else may use the data directory. It returns how many records that were.
func WriteJournalBack(fsys disk.FS, dir string, logger *slog.Logger) (records int, bytes int64, err error) {
	all, damaged, err := readJournal(fsys, dir)
	if err != nil {
		return 0, 0, err
	}
	if damaged {
		logger.Error("the journal is damaged: records of it that were acknowledged are lost", "dir", dir, "records_left", len(all))
	}
	if len(all) > 0 {
		// A killed process may have left a record that is not durable. Half of what it says must not outlive it.
		for i := range 2 {
			if err := withJournalFile(fsys, journalPath(dir, i), disk.File.Sync); err != nil {
				return 0, 0, fmt.Errorf("%w: fsync the journal: %w", ErrIO, err)
			}
		}
	}
	files := map[string][]journalRange{}
	for _, r := range all {
		for _, one := range r.ranges {
			name := filepath.Join(dir, one.log, segmentName(one.base, logSuffix))
			files[name] = append(files[name], one)
		}
	}
	for name, ranges := range files {
		if err := makeAgain(fsys, filepath.Dir(name), ranges); err != nil {
			return 0, 0, fmt.Errorf("%w: write the journal back: %w", ErrIO, err)
		}
		n, err := writeBack(fsys, name, ranges, logger)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: write the journal back: %w", ErrIO, err)
		}
		bytes += n
	}
	if len(all) > 0 {
		if err := fsys.SyncFS(dir); err != nil {
			return 0, 0, fmt.Errorf("%w: write the journal back: %w", ErrIO, err)
		}
		logger.Info("wrote the journal back", "dir", dir, "records", len(all), "files", len(files), "bytes", bytes)
	}
	// Also where no record is seen: an erasure that a kill has interrupted may not be durable.
	for i := range 2 {
		if err := withJournalFile(fsys, journalPath(dir, i), eraseJournal); err != nil {
			return 0, 0, fmt.Errorf("%w: erase the journal: %w", ErrIO, err)
		}
	}
	return len(all), bytes, nil
}

func generation(records []journalRecord) uint64 {
	if len(records) == 0 {
		return 0
	}
	return records[0].gen
}

// replay writes back what an earlier run has left. Nothing else uses the data directory yet.
func (j *journal) replay() error {
	_, bytes, err := WriteJournalBack(j.s.fs, j.s.dir, j.s.logger)
	j.s.metrics.RecoveredBytes.Add(float64(bytes))
	return err
}

// makeAgain makes the directory and texts of a log that may not have been durable. SyncFS follows.
func makeAgain(fsys disk.FS, dir string, ranges []journalRange) error {
	var last journalRange
	for _, r := range ranges {
		if r.epochs != nil {
			last = r
		}
	}
	if last.epochs == nil {
		return nil
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if err := writeText(fsys, filepath.Join(dir, epochFileName), last.epochs); err != nil || last.topicID == [16]byte{} {
		return err
	}
	// One that names a topic stays: the open of the log judges it.
	if _, err := checkTopicID(fsys, dir, last.topicID); errors.Is(err, ErrTopicID) || errors.Is(err, ErrVersion) {
		return nil
	}
	return writeText(fsys, filepath.Join(dir, metadataFileName), encodeMetadata(last.topicID))
}

// writeText writes a file that need not be whole or durable yet: the next start writes it again, or it has a temporary name.
func writeText(fsys disk.FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeBack writes the ranges of one segment. One that is missing is made if its name may not have been durable; else it has
// been unlinked. The indexes of a closed segment that it makes longer may have been made from less: they go, and are made
// again at need.
func writeBack(fsys disk.FS, name string, ranges []journalRange, logger *slog.Logger) (bytes int64, err error) {
	f, err := fsys.OpenReadWrite(name, slices.ContainsFunc(ranges, func(r journalRange) bool { return r.epochs != nil }))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	before, err := f.Size()
	size := before
	for i := 0; i < len(ranges) && err == nil; i++ {
		r := ranges[i]
		if r.position > size {
			logger.Error("a record of the journal does not follow what its segment has: is the file an older copy?", "file", name, "bytes", size, "position", r.position)
			break
		}
		if _, err = f.WriteAt(r.data, r.position); err == nil {
			size = max(size, r.position+int64(len(r.data)))
			bytes += int64(len(r.data))
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && size > before {
		err = removeIndexesOfClosed(fsys, name)
	}
	return bytes, err
}

// removeIndexesOfClosed removes the indexes of a segment, unless it is the last of its log.
func removeIndexesOfClosed(fsys disk.FS, name string) error {
	dir := filepath.Dir(name)
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	base, _ := segmentBase(filepath.Base(name), logSuffix)
	closed := slices.ContainsFunc(names, func(other string) bool {
		at, ok := segmentBase(other, logSuffix)
		return ok && at > base
	})
	if !closed {
		return nil
	}
	return removeIndexFiles(fsys, dir, base)
}

// eraseJournal erases the first record of a file durably, and with it all.
func eraseJournal(f disk.File) error {
	if _, err := f.WriteAt(make([]byte, journalBlock), 0); err != nil {
		return err
	}
	return f.Sync()
}

// withJournalFile calls do with a file of the journal, if it is there.
func withJournalFile(fsys disk.FS, name string, do func(disk.File) error) error {
	f, err := fsys.OpenReadWrite(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := do(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
