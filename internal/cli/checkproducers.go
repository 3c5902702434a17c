package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/node"
	"ottla/internal/pidstore"
	"ottla/internal/producer"
)

const (
	// scratchDir is where the log is folded again, below the data directory, which has the space.
	scratchDir = ".ottla-check"
	// checkMemoryBytes is given to each of the two stores.
	checkMemoryBytes = 64 << 20
	// problemsMax bounds how many entries of one partition are reported one by one.
	problemsMax = 20
)

// producers compares the stored entries of every partition with a second reading of its log.
func (c *check) producers(ctx context.Context) error {
	dir := filepath.Join(c.dir, node.ProducersDir)
	if _, err := c.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		c.note("there is no store of producer entries: the next start makes it from the logs")
		return c.withoutEntries(ctx)
	}
	cold, err := node.OpenEntries(c.fs, dir, checkMemoryBytes)
	if errors.Is(err, coldstate.ErrCorrupt) {
		return errors.Join(c.withoutEntries(ctx), c.damagedStore(dir, node.ProducersDir, "the store of producer entries", err))
	} else if err != nil {
		return fmt.Errorf("store of producer entries: %w", err)
	}
	scratch := filepath.Join(c.dir, scratchDir)
	if err := c.fs.RemoveAll(scratch); err != nil {
		return errors.Join(err, cold.Close())
	}
	again, err := node.OpenEntries(c.fs, scratch, checkMemoryBytes)
	if err != nil {
		return errors.Join(err, cold.Close())
	}
	err = c.audit(ctx, cold, again)
	return errors.Join(err, cold.Close(), again.Close(), c.fs.RemoveAll(scratch))
}

// withoutEntries counts the batches, which is all that can be done where there are no entries to compare them with.
func (c *check) withoutEntries(ctx context.Context) error {
	c.cannotTellAbsent()
	for _, t := range c.view.Topics {
		for _, p := range t.Partitions {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := walkLog(c.fs, filepath.Join(c.dir, p.Dir), func(batch.Header) error {
				c.report.Batches++
				return nil
			})
			if err != nil && !errors.Is(err, errLogEnds) {
				return fmt.Errorf("%s: %w", p.Dir, err)
			}
		}
	}
	return nil
}

// cannotTellAbsent notes which partitions have no directory where nothing says that they never had one.
func (c *check) cannotTellAbsent() {
	names := slices.Sorted(maps.Keys(c.absent))
	if len(names) == 0 || !c.report.Clean {
		return
	}
	c.note("without it a partition that was never written to cannot be told from one whose directory is gone: %s", someOf(names))
}

func (c *check) damagedStore(dir, where, what string, damage error) error {
	p := checkProblem{Where: where, Text: fmt.Sprintf("%s does not open: %v", what, damage), Repairable: true}
	if c.repair {
		if _, err := coldstate.MoveAside(c.fs, dir); err != nil {
			return err
		}
		p.Repaired = true
	}
	c.problem(p)
	return nil
}

func (c *check) audit(ctx context.Context, cold, scratch *coldstate.Store) error {
	known := map[uint64]bool{}
	for _, t := range c.view.Deleting {
		for _, p := range t.Partitions {
			known[p.Num] = true
		}
	}
	for _, t := range c.view.Topics {
		for _, p := range t.Partitions {
			known[p.Num] = true
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.auditPartition(cold, scratch, p); err != nil {
				return fmt.Errorf("%s: %w", p.Dir, err)
			}
		}
	}
	return cold.Partitions(func(num uint64) error {
		switch {
		case known[num]:
			return nil
		case !c.report.Clean && !c.repair:
			c.leftovers++
			return nil
		}
		return c.forget(cold, num, checkProblem{Where: node.ProducersDir, Text: fmt.Sprintf("entries of a partition that was deleted (its number was %d)", num)})
	})
}

func (c *check) auditPartition(cold, scratch *coldstate.Store, p catalog.PartitionView) error {
	audit, err := pidstore.NewAudit(cold, scratch, p.Num)
	if err != nil {
		return err
	}
	start, err := logStart(c.fs, filepath.Join(c.dir, p.Dir))
	if err != nil {
		return err
	}
	end := start
	walkErr := walkLog(c.fs, filepath.Join(c.dir, p.Dir), func(h batch.Header) error {
		c.report.Batches++
		end = h.LastOffset() + 1
		// A batch that begins below the log start is no longer the log's to prove.
		if !h.HasProducer() || h.Control() || h.BaseOffset < start {
			return nil
		}
		return audit.Batch(h.ProducerID, incomingOf(h), storedOf(h))
	})
	if walkErr != nil && !errors.Is(walkErr, errLogEnds) {
		return walkErr
	}
	if checkpoint, ok := audit.Checkpoint(); ok && checkpoint.Offset > end {
		text := fmt.Sprintf("the producer entries reach to offset %d, the log only to %d: it has lost records", checkpoint.Offset, end)
		if c.absent[p.Dir] {
			text = fmt.Sprintf("it was written to, up to offset %d, but its directory is gone", checkpoint.Offset)
		}
		c.problem(checkProblem{Where: p.Dir, Text: text})
	}
	var problems []string
	found := 0
	entries, err := audit.Finish(start, func(pid int64, problem string) error {
		if found++; len(problems) < problemsMax {
			problems = append(problems, fmt.Sprintf("producer %d: %s", pid, problem))
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.report.Entries += entries
	if found == 0 {
		return nil
	}
	text := strings.Join(problems, "; ")
	if found > len(problems) {
		text += fmt.Sprintf("; and %d more", found-len(problems))
	}
	return c.forget(cold, p.Num, checkProblem{Where: p.Dir, Text: "producer entries: " + text})
}

// forget reports a problem with the entries of a partition. The repair drops them all: the next start reads the log instead.
func (c *check) forget(cold *coldstate.Store, num uint64, p checkProblem) error {
	p.Repairable = true
	if c.repair {
		b := cold.NewBatch()
		defer b.Close()
		b.DeletePartition(num)
		if err := errors.Join(b.Commit(), cold.Flush()); err != nil {
			return err
		}
		p.Repaired = true
	}
	c.problem(p)
	return nil
}

// errLogEnds says that a log is not whole from some place on. What is wrong there is said by the check of its files.
var errLogEnds = errors.New("the log is not whole")

// walkLog visits the headers of all batches in order. It trusts them as far as they are plausible: checksums are another check's.
func walkLog(fsys disk.FS, dir string, visit func(batch.Header) error) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			if err := walkSegment(fsys, filepath.Join(dir, name), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func walkSegment(fsys disk.FS, name string, visit func(batch.Header) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	const readBytes = 256 << 10
	r := &segmentReader{f: f, buf: make([]byte, 0, readBytes)}
	for at := int64(0); at < size; {
		if size-at < batch.HeaderSize {
			return errLogEnds
		}
		b, err := r.at(at, batch.HeaderSize)
		if err != nil {
			return err
		}
		h, err := batch.DecodeHeader(b)
		if err != nil || at+h.Size() > size {
			return errLogEnds
		}
		if err := visit(h); err != nil {
			return err
		}
		at += h.Size()
	}
	return nil
}

// segmentReader reads a file in large pieces.
type segmentReader struct {
	f    disk.File
	buf  []byte
	base int64
}

func (r *segmentReader) at(offset int64, n int) ([]byte, error) {
	if offset < r.base || offset+int64(n) > r.base+int64(len(r.buf)) {
		got, err := r.f.ReadAt(r.buf[:cap(r.buf)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		r.base, r.buf = offset, r.buf[:got]
		if got < n {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return r.buf[offset-r.base:][:n], nil
}

// logStart is where a log begins: by its own file, or at its first segment.
func logStart(fsys disk.FS, dir string) (int64, error) {
	const bytesMax = 4096
	content, err := disk.ReadFile(fsys, filepath.Join(dir, "log-start-offset"), bytesMax)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	start := int64(0)
	for line := range bytes.Lines(content) {
		if n, _ := fmt.Sscanf(string(line), "start %d", &start); n == 1 {
			break
		}
	}
	return start, nil
}

func incomingOf(h batch.Header) producer.Incoming {
	return producer.Incoming{Epoch: h.ProducerEpoch, BaseSequence: h.BaseSequence, LastSequence: h.LastSequence(), Transactional: h.Transactional()}
}

func storedOf(h batch.Header) producer.Stored {
	return producer.Stored{BaseSequence: h.BaseSequence, LastSequence: h.LastSequence(), BaseOffset: h.BaseOffset, LastOffset: h.LastOffset(), Timestamp: h.MaxTimestamp}
}
