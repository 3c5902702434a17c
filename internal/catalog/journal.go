package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"ottla/internal/disk"
)

// JournalName is the journal's file in the data directory.
const JournalName = "catalog.log"

const (
	journalTempName = JournalName + ".tmp"
	formatVersion   = 1
	headerBytes     = 24
	frameHeadBytes  = 12
	frameFixedBytes = 9 // revision and flag, the start of every payload

	// journalBytesMax bounds what a start reads into memory; compaction keeps the file far below.
	journalBytesMax = 1 << 30
	// frameBytesMax bounds one atomic step.
	frameBytesMax = 16 << 20
	// snapshotFrameBytes is where a snapshot begins a new frame.
	snapshotFrameBytes = 1 << 20
	// compactBytesMin is the size below which a journal is never worth a compaction.
	compactBytesMin = 256 << 10
	// compactGrowth is how many times its snapshot's size a journal may reach: rewriting costs a constant share.
	compactGrowth = 4
)

const (
	flagAppend   = 0
	flagSnapshot = 1
)

var (
	fileMagic  = []byte("OTTLACAT")
	frameMagic = []byte{0xC4, 0x7A, 0x10, 0x9E}
	crcTable   = crc32.MakeTable(crc32.Castagnoli)
)

// journal is the one durable file of the catalog:
//
//	header   magic "OTTLACAT" | version u32 | base revision u64 | crc32c of the bytes before u32
//	frame*   magic u32 | payload length u32 | crc32c of length and payload u32 | payload
//	payload  revision u64 | flag u8 | change*
//
// The file begins with frames of the flag "snapshot", all of the base revision, which make the state as it was when
// the file was written; every frame behind them is one atomic step and has the next revision. A compaction writes a
// new file and renames it, so the header and the snapshot are never torn.
//
// Invariants:
//
//  1. A frame is written only when the one before it is durable. So a broken frame is a torn tail, never acknowledged,
//     if nothing valid follows it, and damage if something does.
//  2. What a failed write left behind is cut off before the next frame is written.
//  3. After a failed fsync nothing is written any more: what the disk holds is unknown until the next start.
type journal struct {
	fs       disk.FS
	dir      string
	f        disk.File
	revision uint64
	size     int64
	snapshot int64 // size at which the snapshot ends
	compact  int64 // size from which a compaction is due
	dirty    bool  // bytes behind size may be in the file
	broken   error
}

// loaded is what reading a journal found.
type loaded struct {
	state    *state
	revision uint64
	size     int64 // end of the last whole frame
	snapshot int64 // end of the snapshot
	torn     int64 // bytes behind size
}

func encodeHeader(revision uint64) []byte {
	b := append(make([]byte, 0, headerBytes), fileMagic...)
	b = binary.BigEndian.AppendUint32(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, revision)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
}

func decodeHeader(b []byte) (revision uint64, err error) {
	if len(b) < headerBytes || !bytes.Equal(b[:8], fileMagic) {
		return 0, fmt.Errorf("%w: not a catalog journal", ErrCorrupt)
	}
	if crc := binary.BigEndian.Uint32(b[20:]); crc != crc32.Checksum(b[:20], crcTable) {
		return 0, fmt.Errorf("%w: checksum of the header", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v > formatVersion {
		return 0, fmt.Errorf("%w: got %d, expected at most %d", ErrNewerFormat, v, formatVersion)
	} else if v == 0 {
		return 0, fmt.Errorf("%w: format version 0", ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b[12:]), nil
}

// appendFrame adds a frame that holds the encoded changes.
func appendFrame(dst []byte, revision uint64, flag byte, changes []byte) []byte {
	start := len(dst)
	dst = append(dst, frameMagic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(frameFixedBytes+len(changes)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, revision)
	dst = append(append(dst, flag), changes...)
	binary.BigEndian.PutUint32(dst[start+8:], frameCRC(dst[start:]))
	return dst
}

func frameCRC(frame []byte) uint32 {
	crc := crc32.Update(0, crcTable, frame[4:8])
	return crc32.Update(crc, crcTable, frame[frameHeadBytes:])
}

// frame is one whole frame of a file.
type frame struct {
	revision uint64
	flag     byte
	changes  []byte
	size     int
}

// nextFrame returns the frame at the start of b, if it is whole.
func nextFrame(b []byte) (frame, bool) {
	if len(b) < frameHeadBytes+frameFixedBytes || !bytes.Equal(b[:4], frameMagic) {
		return frame{}, false
	}
	n := int(binary.BigEndian.Uint32(b[4:]))
	if n < frameFixedBytes || n > frameBytesMax || n > len(b)-frameHeadBytes {
		return frame{}, false
	}
	b = b[:frameHeadBytes+n]
	if binary.BigEndian.Uint32(b[8:]) != frameCRC(b) {
		return frame{}, false
	}
	p := b[frameHeadBytes:]
	return frame{binary.BigEndian.Uint64(p), p[8], p[frameFixedBytes:], len(b)}, true
}

// walk calls fn for every change of a journal, in order, and says where the whole frames end.
func walk(b []byte, fn func(offset int64, f frame, c *change) error) (loaded, error) {
	base, err := decodeHeader(b)
	if err != nil {
		return loaded{}, err
	}
	l := loaded{revision: base, size: headerBytes, snapshot: headerBytes}
	for {
		f, whole := nextFrame(b[l.size:])
		if !whole {
			break
		}
		if err := l.checkOrder(base, f); err != nil {
			return l, fmt.Errorf("at byte %d: %w", l.size, err)
		}
		d := decoder{b: f.changes}
		for len(d.b) > 0 && d.err == nil {
			c := d.change()
			if d.err == nil {
				d.err = fn(l.size, f, &c)
			}
		}
		if d.err != nil {
			return l, fmt.Errorf("at byte %d, revision %d: %w", l.size, f.revision, d.err)
		}
		l.revision = f.revision
		l.size += int64(f.size)
		if f.flag == flagSnapshot {
			l.snapshot = l.size
		}
	}
	l.torn = int64(len(b)) - l.size
	return l, checkTail(b, l)
}

func (l *loaded) checkOrder(base uint64, f frame) error {
	switch {
	case f.flag == flagSnapshot && f.revision == base && l.snapshot == l.size:
		return nil
	case f.flag == flagAppend && f.revision == l.revision+1:
		return nil
	}
	return fmt.Errorf("%w: frame of revision %d, flag %d after revision %d", ErrCorrupt, f.revision, f.flag, l.revision)
}

// checkTail tells a torn tail from damage: behind a torn frame there is nothing valid (invariant 1).
func checkTail(b []byte, l loaded) error {
	if l.size == headerBytes {
		return fmt.Errorf("%w: no snapshot behind the header", ErrCorrupt)
	}
	tail := b[l.size:]
	for from := 0; ; {
		i := bytes.Index(tail[from:], frameMagic)
		if i < 0 {
			return nil
		}
		from += i
		if f, whole := nextFrame(tail[from:]); whole && f.revision > l.revision && from > 0 {
			return fmt.Errorf("%w: bytes %d to %d are damaged, revision %d follows", ErrCorrupt,
				l.size, l.size+int64(from), f.revision)
		}
		from++
	}
}

// parseJournal folds the bytes of a journal.
func parseJournal(b []byte) (loaded, error) {
	s := newState()
	l, err := walk(b, func(_ int64, _ frame, c *change) error { return s.apply(c) })
	l.state = s
	return l, err
}

func loadJournal(filesystem disk.FS, dir string) (loaded, error) {
	name := filepath.Join(dir, JournalName)
	b, err := disk.ReadFile(filesystem, name, journalBytesMax)
	if err != nil {
		return loaded{}, err
	}
	l, err := parseJournal(b)
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// openJournal reads the journal, cuts a torn tail off and makes sure that what it read is durable: after a kill it
// may be in the page cache only.
func openJournal(filesystem disk.FS, dir string) (*journal, *state, error) {
	l, err := loadJournal(filesystem, dir)
	if err != nil {
		return nil, nil, err
	}
	f, err := filesystem.OpenReadWrite(filepath.Join(dir, JournalName), false)
	if err != nil {
		return nil, nil, err
	}
	if l.torn > 0 {
		err = f.Truncate(l.size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = filesystem.SyncDir(dir)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	j := &journal{fs: filesystem, dir: dir, f: f, revision: l.revision, size: l.size, snapshot: l.snapshot}
	j.plan()
	return j, l.state, nil
}

// createJournal makes the first journal of a directory, holding s.
func createJournal(filesystem disk.FS, dir string, s *state) (*journal, error) {
	j := &journal{fs: filesystem, dir: dir}
	if err := j.rewrite(s); err != nil {
		return nil, err
	}
	return j, nil
}

func (j *journal) plan() { j.compact = max(compactBytesMin, j.snapshot*compactGrowth) }

// append writes one atomic step and makes it durable. expected is the revision it was computed from.
func (j *journal) append(expected uint64, changes []byte) error {
	switch {
	case j.broken != nil:
		return fmt.Errorf("%w: %w", ErrBroken, j.broken)
	case expected != j.revision:
		return fmt.Errorf("%w: got %d, expected %d", ErrStale, expected, j.revision)
	case len(changes) > frameBytesMax-frameFixedBytes:
		return Refuse(ErrPolicyViolation, "Unable to perform excessively large batch operation.")
	}
	if err := j.cut(); err != nil {
		return err
	}
	b := appendFrame(make([]byte, 0, frameHeadBytes+frameFixedBytes+len(changes)), j.revision+1, flagAppend, changes)
	j.dirty = true
	if _, err := j.f.WriteAt(b, j.size); err != nil {
		return errors.Join(err, j.cut())
	}
	if err := j.f.Sync(); err != nil {
		j.broken = err
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	j.dirty = false
	j.size += int64(len(b))
	j.revision++
	return nil
}

// cut removes what a failed write left behind the last frame.
func (j *journal) cut() error {
	if !j.dirty {
		return nil
	}
	if err := j.f.Truncate(j.size); err != nil {
		return fmt.Errorf("cut %s: %w", JournalName, err)
	}
	j.dirty = false
	return nil
}

func (j *journal) compactionDue() bool { return j.size >= j.compact && j.broken == nil }

// rewrite replaces the file by a snapshot of s, which is the state at the journal's revision. If it fails before the
// rename, the old file goes on.
func (j *journal) rewrite(s *state) error {
	temp := filepath.Join(j.dir, journalTempName)
	b := encodeSnapshot(j.revision, s)
	f, err := j.fs.Create(temp)
	if err != nil {
		return j.postpone(err)
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(j.postpone(err), f.Close())
	}
	if err = j.fs.Rename(temp, filepath.Join(j.dir, JournalName)); err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		// Nobody can tell which file has the name after a crash: a frame written to the other one would be lost.
		j.broken = err
		return errors.Join(fmt.Errorf("%w: %w", ErrBroken, err), f.Close())
	}
	old := j.f
	j.f, j.size, j.snapshot, j.dirty = f, int64(len(b)), int64(len(b)), false
	j.plan()
	if old != nil {
		return old.Close()
	}
	return nil
}

// postpone keeps the old file and lets it grow by half before the next attempt. The leftover is emptied then.
func (j *journal) postpone(err error) error {
	j.compact = j.size + j.size/2 + compactBytesMin
	return err
}

func encodeSnapshot(revision uint64, s *state) []byte {
	b := encodeHeader(revision)
	var changes []byte
	for _, c := range s.snapshot() {
		changes = c.encode(changes)
		if len(changes) >= snapshotFrameBytes {
			b = appendFrame(b, revision, flagSnapshot, changes)
			changes = changes[:0]
		}
	}
	if len(changes) > 0 {
		b = appendFrame(b, revision, flagSnapshot, changes)
	}
	return b
}

func (j *journal) close() error {
	if j.broken == nil {
		j.broken = ErrClosed
	}
	return j.f.Close()
}
