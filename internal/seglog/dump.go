package seglog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// DumpFile prints any file of a log's directory, one line an entry. It reads only, and may be used on a live log: what is
// being written shows as a batch that is not whole. What is wrong with the content is printed where it is found; the
// error is of the file system, of a name that is no log's, or of the writer.
func DumpFile(fsys disk.FS, name string, w io.Writer) error {
	out := &printer{w: w}
	err := dumpFile(fsys, name, out)
	if out.err != nil {
		return out.err
	}
	return err
}

// printer remembers the first error of its writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func dumpFile(fsys disk.FS, name string, out *printer) error {
	file := filepath.Base(name)
	if file == journalName(0) || file == journalName(1) {
		return dumpJournal(fsys, name, out)
	}
	if base, ok := segmentBase(file, logSuffix); ok {
		return dumpLog(fsys, name, base, out)
	}
	if base, ok := segmentBase(file, indexSuffix); ok {
		return dumpIndex(fsys, name, offsetEntryBytes, out, func(b []byte) {
			e := decodeOffsetEntry(b)
			out.f("offset: %d position: %d\n", base+int64(e.rel), e.pos)
		})
	}
	if base, ok := segmentBase(file, timeIndexSuffix); ok {
		return dumpIndex(fsys, name, timeEntryBytes, out, func(b []byte) {
			e := decodeTimeEntry(b)
			out.f("timestamp: %d offset: %d\n", e.ts, base+int64(e.rel))
		})
	}
	return dumpText(fsys, name, file, out)
}

// dumpJournal prints the records that a start would write back, a line for each range.
func dumpJournal(fsys disk.FS, name string, out *printer) error {
	b, err := disk.ReadFile(fsys, name, journalBytesMax)
	if err != nil {
		return err
	}
	records, damaged, err := decodeJournal(b)
	if err != nil {
		out.f("%v\n", err)
		return nil
	}
	for _, r := range records {
		for _, one := range r.ranges {
			out.f("run: %016x generation: %d sequence: %d log: %s segment: %d position: %d bytes: %d\n",
				r.run, r.gen, r.seq, one.log, one.base, one.position, len(one.data))
		}
	}
	out.f("%d records\n", len(records))
	if damaged {
		out.f("damaged records follow\n")
	}
	return nil
}

func dumpText(fsys disk.FS, name, file string, out *printer) error {
	read := func(bytesMax int64) ([]byte, error) { return disk.ReadFile(fsys, name, bytesMax) }
	switch file {
	case epochFileName:
		epochs, err := readEpochs(fsys, name)
		for _, e := range epochs {
			out.f("epoch: %d startOffset: %d\n", e.epoch, e.offset)
		}
		return out.content(err)
	case metadataFileName:
		b, err := read(metadataBytesMax)
		if err != nil {
			return err
		}
		id, err := decodeMetadata(b)
		if err == nil {
			out.f("topicId: %s\n", topicIDString(id))
		}
		return out.content(err)
	case startFileName:
		b, err := read(startBytesMax)
		if err != nil {
			return err
		}
		s, err := decodeStart(b)
		if err == nil {
			out.f("logStartOffset: %d recoveryPoint: %d", s.start, s.recovery)
			if s.holes > 0 {
				out.f(" cleanedUpTo: %d holesBelow: %d", s.cleaned, s.holes)
			}
			out.f("\n")
		}
		return out.content(err)
	}
	return fmt.Errorf("%s is not a file of a log", name)
}

// content prints an error of the content; others are the caller's.
func (p *printer) content(err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
		p.f("invalid: %v\n", err)
		return nil
	}
	return err
}

func dumpLog(fsys disk.FS, name string, base int64, out *printer) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	out.f("startingOffset: %d bytes: %d\n", base, size)
	sc := newScanner(f, 0, size)
	defer sc.close()
	for out.err == nil {
		pos := sc.pos
		h, err := sc.next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return out.content(err)
		}
		valid := "true"
		if err := sc.verify(h); errors.Is(err, ErrCorrupt) {
			valid = "false"
		} else if err != nil {
			return err
		}
		out.batch(h, pos, valid)
	}
	return nil
}

func (p *printer) batch(h batch.Header, pos int64, valid string) {
	p.f("baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d "+
		"partitionLeaderEpoch: %d isTransactional: %v isControl: %v position: %d maxTimestamp: %d logAppendTime: %v "+
		"size: %d codec: %d crc: %08x valid: %s\n",
		h.BaseOffset, h.LastOffset(), h.RecordCount, h.BaseSequence, h.LastSequence(), h.ProducerID, h.ProducerEpoch,
		h.LeaderEpoch, h.Transactional(), h.Control(), pos, h.MaxTimestamp, h.LogAppendTime(),
		h.Size(), h.Codec(), h.CRC, valid)
}

func dumpIndex(fsys disk.FS, name string, entryBytes int64, out *printer, entry func([]byte)) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, 4096*entryBytes)
	at := int64(0)
	for ; size-at >= entryBytes && out.err == nil; at += int64(len(buf)) {
		if whole := (size - at) / entryBytes * entryBytes; whole < int64(len(buf)) {
			buf = buf[:whole]
		}
		if err := readFull(f, buf, at); err != nil {
			return err
		}
		for b := buf; len(b) > 0; b = b[entryBytes:] {
			entry(b[:entryBytes])
		}
	}
	if size%entryBytes != 0 {
		out.f("invalid: %d bytes behind the last entry\n", size%entryBytes)
	}
	return nil
}
