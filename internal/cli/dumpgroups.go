package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/node"
)

// groupBatchBytesMax bounds one batch of __consumer_offsets that is read into memory.
const groupBatchBytesMax = 64 << 20

// isGroupSegment says whether a file is a segment of __consumer_offsets.
func isGroupSegment(name string) bool {
	return strings.HasSuffix(name, ".log") && strings.HasPrefix(filepath.Base(filepath.Dir(filepath.Clean(name))), node.OffsetsTopic+"-")
}

// dumpGroupSegment prints the records of a segment of __consumer_offsets in words, up to the first batch that is not whole.
func dumpGroupSegment(fsys disk.FS, name string, w io.Writer) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	at := int64(0)
	err = walkSegment(fsys, name, func(h batch.Header) error {
		pos := at
		at += h.Size()
		if h.Control() || h.Size() > groupBatchBytesMax {
			return nil
		}
		buf := make([]byte, h.Size())
		if n, err := f.ReadAt(buf, pos); n < len(buf) {
			return err
		}
		b, err := batch.Parse(buf)
		if err == nil {
			err = b.Records(func(r batch.Record) error {
				_, err := fmt.Fprintf(w, "offset: %d %s\n", r.Offset, node.GroupRecordText(r.Key, r.Value))
				return err
			})
		}
		if err != nil {
			_, err = fmt.Fprintf(w, "offset: %d records not readable: %v\n", h.BaseOffset, err)
		}
		return err
	})
	if err == errLogEnds {
		return nil // told by the line of the batch
	}
	return err
}

// dumpGroupEntries prints what the store of groups has of one partition.
func dumpGroupEntries(cold *coldstate.Store, num uint64, w io.Writer) error {
	const chunk = 1000
	var from []byte
	for more := true; more; {
		var err error
		from, more, err = cold.ScanBytes(num, nil, from, chunk, func(key, val []byte) ([]byte, error) {
			text, _ := node.GroupEntryText(key, val)
			_, err := fmt.Fprintf(w, "  %s\n", text)
			return nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
