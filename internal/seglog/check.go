package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// Problem is one finding of CheckLog.
type Problem struct {
	File       string // below the log's directory
	Text       string
	Repairable bool // RepairLog can derive it again
}

// problemsMax bounds what a check reports of one log: a file of garbage has a problem in every byte.
const problemsMax = 1000

// checker verifies one log's directory.
type checker struct {
	fsys     disk.FS
	dir      string
	problems []Problem
	bases    []int64
	epochs   []epochStart // as the batches have them
	holes    int64        // below, offsets may be missing: the log was compacted
}

// CheckLog verifies a log's directory without changing it: names, every batch with its checksum, the order of offsets,
// and that indexes, epochs and the log start agree with the batches. The log must not be in use. The error is of the file
// system; what is wrong with the files is in the problems.
func CheckLog(fsys disk.FS, dir string) ([]Problem, error) {
	c := &checker{fsys: fsys, dir: dir}
	if err := c.run(); err != nil {
		return c.problems, fmt.Errorf("check %s: %w", dir, err)
	}
	return c.problems, nil
}

func (c *checker) report(file string, repairable bool, format string, args ...any) {
	if len(c.problems) < problemsMax {
		c.problems = append(c.problems, Problem{File: file, Text: fmt.Sprintf(format, args...), Repairable: repairable})
	}
}

func (c *checker) run() error {
	names, err := c.fsys.List(c.dir)
	if err != nil {
		return err
	}
	c.names(names)
	start, err := c.start()
	if err != nil {
		return err
	}
	end := int64(0)
	for i, base := range c.bases {
		if i > 0 && base != end && end >= 0 && !c.holeAllowed(end, base) {
			c.report(segmentName(base, logSuffix), false, "segment starts at offset %d, the one before ends at %d", base, end)
		}
		if end, err = c.segment(base, i == len(c.bases)-1); err != nil {
			return err
		}
	}
	if len(c.bases) > 0 && end >= 0 && start.start > end {
		c.report(startFileName, false, "log start %d is behind the log end %d", start.start, end)
	}
	return c.checkEpochs(start.start)
}

// names sorts out what belongs to a log. Leftovers of a crash are harmless, and removed at the next open.
func (c *checker) names(names []string) {
	for _, name := range names {
		if base, ok := segmentBase(name, logSuffix); ok {
			c.bases = append(c.bases, base)
		}
	}
	slices.Sort(c.bases)
	for _, name := range names {
		base, isSegment := anySegmentBase(name)
		_, live := slices.BinarySearch(c.bases, base)
		switch {
		case isSegment && !live:
			c.report(name, true, "index without a log")
		case isSegment, name == epochFileName, name == metadataFileName, name == startFileName:
		case strings.HasSuffix(name, tempSuffix), strings.HasSuffix(name, cleanedSuffix):
			c.report(name, true, "file that was not finished")
		case isSwap(name):
			c.report(name, true, "cleaned segment that is not in its place yet")
		default:
			c.report(name, false, "not a file of a log")
		}
	}
}

func (c *checker) start() (startFile, error) {
	b, err := disk.ReadFile(c.fsys, filepath.Join(c.dir, metadataFileName), metadataBytesMax)
	if err == nil {
		_, err = decodeMetadata(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.report(metadataFileName, false, "%v", err)
	}
	s, err := readStart(c.fsys, filepath.Join(c.dir, startFileName))
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
		c.report(startFileName, false, "%v", err)
		c.holes = math.MaxInt64 // nobody knows
		return startFile{}, nil
	}
	c.holes = s.holes
	// Segments whose unlinking was under way are not part of the log any more.
	for len(c.bases) > 1 && c.bases[1] <= s.start {
		c.report(segmentName(c.bases[0], logSuffix), true, "segment lies below the log start %d", s.start)
		c.bases = c.bases[1:]
	}
	return s, err
}

// holeAllowed says whether the cleaner may have removed what is missing.
func (c *checker) holeAllowed(from, to int64) bool { return to > from && to <= c.holes }

// checkedBatch is what index checks need of a batch.
type checkedBatch struct {
	pos, last, maxTimestamp int64
}

// segment checks the batches of a segment against its name and its indexes, and returns its end, below zero if that
// cannot be known.
func (c *checker) segment(base int64, active bool) (end int64, err error) {
	name := segmentName(base, logSuffix)
	f, err := c.fsys.Open(filepath.Join(c.dir, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	offsets, times, err := c.indexes(base, size)
	if err != nil {
		return 0, err
	}
	ix := indexChecker{c: c, base: base, offsets: offsets, times: times}
	sc := newScanner(f, 0, size)
	defer sc.close()
	for end = base; ; {
		pos := sc.pos
		h, err := sc.next()
		if err == nil {
			err = sc.verify(h)
		}
		switch {
		case err == io.EOF:
			ix.finish(active)
			return end, nil
		case errors.Is(err, ErrCorrupt):
			c.report(name, false, "%v; the %d bytes from there on cannot be checked", err, size-pos)
			return -1, nil
		case err != nil:
			return 0, err
		}
		c.batch(name, h, pos, end, base)
		if h.RecordCount == 0 {
			h.MaxTimestamp = batch.NoTimestamp
		}
		ix.batch(checkedBatch{pos, h.LastOffset(), h.MaxTimestamp})
		end = max(end, h.LastOffset()+1)
	}
}

func (c *checker) batch(name string, h batch.Header, pos, expected, base int64) {
	if h.BaseOffset != expected && !c.holeAllowed(expected, h.BaseOffset) {
		c.report(name, false, "batch at %d has offset %d, expected %d", pos, h.BaseOffset, expected)
	}
	if h.LastOffset()-base > math.MaxInt32 {
		c.report(name, false, "batch at %d ends at offset %d, too far from the segment's %d", pos, h.LastOffset(), base)
	}
	if n := len(c.epochs); n == 0 || h.LeaderEpoch > c.epochs[n-1].epoch {
		if h.LeaderEpoch >= 0 && n < epochBytesMax/4 {
			c.epochs = append(c.epochs, epochStart{h.LeaderEpoch, h.BaseOffset})
		}
	} else if h.LeaderEpoch < c.epochs[n-1].epoch {
		c.report(name, false, "batch at %d has leader epoch %d after %d", pos, h.LeaderEpoch, c.epochs[n-1].epoch)
	}
}

// indexes reads both index files of a segment.
func (c *checker) indexes(base, size int64) (offsets []offsetEntry, times []timeEntry, err error) {
	read := func(suffix string, entryBytes int) ([]byte, error) {
		name := segmentName(base, suffix)
		b, err := disk.ReadFile(c.fsys, filepath.Join(c.dir, name), math.MaxInt32)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil // it is derived at need
		case errors.Is(err, disk.ErrTooLarge):
			c.report(name, true, "%v", err)
			return nil, nil
		case err != nil:
			return nil, err
		}
		if len(b)%entryBytes != 0 {
			c.report(name, true, "%d bytes, not a multiple of %d", len(b), entryBytes)
		}
		return b, nil
	}
	b, err := read(indexSuffix, offsetEntryBytes)
	if err != nil {
		return nil, nil, err
	}
	offsets = validOffsets(b, size, math.MaxInt)
	if n := len(b) / offsetEntryBytes; len(offsets) < n {
		c.report(segmentName(base, indexSuffix), true, "entry %d of %d does not ascend or is outside of the segment", len(offsets), n)
	}
	if b, err = read(timeIndexSuffix, timeEntryBytes); err != nil {
		return nil, nil, err
	}
	times = validTimes(b, math.MaxInt)
	if n := len(b) / timeEntryBytes; len(times) < n {
		c.report(segmentName(base, timeIndexSuffix), true, "entry %d of %d does not ascend", len(times), n)
	}
	return offsets, times, nil
}

// indexChecker compares index entries with the batches as they pass.
type indexChecker struct {
	c       *checker
	base    int64
	offsets []offsetEntry
	times   []timeEntry
	max     int64 // largest timestamp so far
	any     bool
	lastTS  int64
	lastBad bool
}

func (x *indexChecker) batch(b checkedBatch) {
	if !x.any {
		x.any, x.max, x.lastTS = true, batch.NoTimestamp, batch.NoTimestamp
	}
	for len(x.offsets) > 0 && int64(x.offsets[0].pos) <= b.pos {
		if e := x.offsets[0]; int64(e.pos) != b.pos || x.base+int64(e.rel) != b.last {
			x.c.report(segmentName(x.base, indexSuffix), true, "entry (%d, %d) is no batch's", x.base+int64(e.rel), e.pos)
		}
		x.offsets = x.offsets[1:]
	}
	x.max = max(x.max, b.maxTimestamp)
	for len(x.times) > 0 && x.base+int64(x.times[0].rel) <= b.last {
		if e := x.times[0]; x.base+int64(e.rel) != b.last || e.ts != b.maxTimestamp || e.ts != x.max {
			x.c.report(segmentName(x.base, timeIndexSuffix), true, "entry (%d, %d) is no batch's largest timestamp", e.ts, x.base+int64(e.rel))
			x.lastBad = true
		}
		x.lastTS = x.times[0].ts
		x.times = x.times[1:]
	}
}

// finish checks what must hold at the end of a segment: a closed one's last time entry is its largest timestamp.
func (x *indexChecker) finish(active bool) {
	if len(x.offsets) > 0 {
		x.c.report(segmentName(x.base, indexSuffix), true, "%d entries behind the last batch", len(x.offsets))
	}
	if len(x.times) > 0 {
		x.c.report(segmentName(x.base, timeIndexSuffix), true, "%d entries behind the last batch", len(x.times))
	}
	_, err := x.c.fsys.Stat(filepath.Join(x.c.dir, segmentName(x.base, timeIndexSuffix)))
	if x.any && !active && err == nil && x.lastTS != x.max && !x.lastBad {
		x.c.report(segmentName(x.base, timeIndexSuffix), true, "ends with timestamp %d, the largest is %d", x.lastTS, x.max)
	}
}

func (c *checker) checkEpochs(start int64) error {
	found, err := readEpochs(c.fsys, filepath.Join(c.dir, epochFileName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if len(c.epochs) > 0 {
			c.report(epochFileName, true, "missing")
		}
		return nil
	case errors.Is(err, ErrCorrupt):
		c.report(epochFileName, true, "%v", err)
		return nil
	case errors.Is(err, ErrVersion):
		c.report(epochFileName, false, "%v", err)
		return nil
	case err != nil:
		return err
	}
	// The file may keep lines of batches that were trimmed since, or say of an epoch that reaches over the log start that it begins there;
	// those of batches that are there must be right.
	for _, e := range c.epochs {
		i, ok := slices.BinarySearchFunc(found, e, func(a, b epochStart) int { return cmp.Compare(a.epoch, b.epoch) })
		if !ok {
			c.report(epochFileName, true, "epoch %d, which begins at offset %d, is missing", e.epoch, e.offset)
		} else if at := found[i].offset; at != e.offset && (at > max(e.offset, start) || e.offset > max(start, c.bases[0], c.holes)) {
			c.report(epochFileName, true, "epoch %d begins at offset %d, the batches say %d", e.epoch, at, e.offset)
		}
	}
	return nil
}

// RepairLog rebuilds indexes and epochs that CheckLog found wrong, and removes leftovers of crashes. It never touches a
// batch. It returns the problems that remain. The log must not be in use.
func RepairLog(fsys disk.FS, dir string) ([]Problem, error) {
	problems, err := CheckLog(fsys, dir)
	if err != nil {
		return problems, err
	}
	if swapped, err := repairSwaps(fsys, dir, problems); err != nil {
		return problems, fmt.Errorf("repair %s: %w", dir, err)
	} else if swapped {
		if problems, err = CheckLog(fsys, dir); err != nil {
			return problems, err
		}
	}
	epochs := false
	bases := map[int64]bool{}
	for _, p := range problems {
		if !p.Repairable {
			continue
		}
		if p.File == epochFileName {
			epochs = true
		} else if base, ok := anySegmentBase(p.File); ok {
			if _, err := fsys.Stat(filepath.Join(dir, segmentName(base, logSuffix))); err == nil {
				bases[base] = true
				continue
			}
		}
		if err := fsys.Remove(filepath.Join(dir, p.File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return problems, fmt.Errorf("repair %s: %w", dir, err)
		}
	}
	if err := repairIndexes(fsys, dir, bases); err != nil {
		return problems, fmt.Errorf("repair %s: %w", dir, err)
	}
	if epochs {
		c := &checker{fsys: fsys, dir: dir}
		if err := c.run(); err != nil {
			return problems, err
		}
		if err := disk.WriteFileAtomic(fsys, filepath.Join(dir, epochFileName), encodeEpochs(c.epochs)); err != nil {
			return problems, fmt.Errorf("repair %s: %w", dir, err)
		}
	}
	return CheckLog(fsys, dir)
}

// repairSwaps puts the cleaned segments in their places that a crash has left behind.
func repairSwaps(fsys disk.FS, dir string, problems []Problem) (swapped bool, err error) {
	if !slices.ContainsFunc(problems, func(p Problem) bool { return isSwap(p.File) }) {
		return false, nil
	}
	names, err := fsys.List(dir)
	if err != nil {
		return false, err
	}
	return finishSwaps(fsys, dir, names)
}

func repairIndexes(fsys disk.FS, dir string, bases map[int64]bool) error {
	s := &Store{metrics: metrics.New().Log, logger: slog.New(slog.DiscardHandler)}
	s.fs = storeFS{fsys, s}
	s.files = &fileCache{max: 2, onCount: func(int) {}}
	l := &Log{store: s, name: filepath.Base(dir), dir: dir}
	l.cfg.Store(DefaultConfig())
	for base := range bases {
		info, err := fsys.Stat(filepath.Join(dir, segmentName(base, logSuffix)))
		if err != nil {
			return err
		}
		if info.Size > math.MaxInt32 {
			return fmt.Errorf("%w: segment %d has %d bytes", ErrCorrupt, base, info.Size)
		}
		seg := newSegment(l, base, info.Size, true)
		_, err = seg.rebuildIndex(info.Size)
		s.files.closeFile(seg)
		if err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}
