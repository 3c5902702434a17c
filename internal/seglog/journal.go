package seglog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"ottla/internal/disk"
)

const (
	// JournalBytesDefault is the size in bytes of each of the journal's two files unless Options says otherwise.
	JournalBytesDefault = 16 << 20
	// journalBytesMin and journalBytesMax bound it; both files are read into memory at a start after a kill.
	journalBytesMin, journalBytesMax = 8 << 10, 128 << 20
	// journalFirstBytes is the size of a file when it is made. Each turn doubles that of the next, so that a broker with little
	// to do has small ones.
	journalFirstBytes = 512 << 10
	// journalRecordMax is the size of the largest record of few files. A pass with more syncs them: then it is their bytes that
	// cost, and those are written once there.
	journalRecordMax = 256 << 10
	// journalFileWorth is how many bytes a record may have for each of its files, where that is more: the fsync of a file that
	// has grown costs as much as they do in place. 64 files of 16 KiB took 5 to 8 ms with syncfs, 2 in the journal.
	journalFileWorth = 128 << 10
	// journalManyRecordMax is the size of the largest record of many files. The buffer for it stays.
	journalManyRecordMax = 4 << 20
	// journalNamesRecordMax is that of a pass that has made files: those cost more to sync than their bytes.
	journalNamesRecordMax = journalFirstBytes
	// journalNamesMax is how much a record says of the names and texts of one log.
	journalNamesMax = 4 << 10
	// journalBlock is what records are padded to: a block that two records share would be written twice.
	journalBlock = disk.DirectAlignment
	// journalFilesMax is how many files a checkpoint fsyncs one by one. Syncfs would also wait for what other processes write.
	journalFilesMax = 64
)

// journal makes small passes durable with one write into a file whose blocks are there already.
//
// An append makes a file longer, so an fsync of it has the file system commit its own journal too: two writes that wait for
// each other, and one pair more for each further file. Over blocks that were written before it is one write. On ext4 an append
// of 4 KiB and its fdatasync took 0.20 to 0.30 ms, the same in place 0.10 ms.
//
// What a pass has to make durable is copied into a record: the log, the segment, the position, the bytes. The files
// themselves are written back when the kernel sees fit. There are two files, used in turn. When one is full, records go to
// the other, and a checkpoint syncs the segments that are in the full one and then erases its first record: generation n is
// dead. Where the checkpoint is not through when the next turn is due, passes sync the segments themselves, as without a
// journal. So a journal never makes anybody wait.
//
// At the next start the records of both generations are written into the segments again, before any log is opened: see
// journal_replay.go. That is right because a record never says anything but what is in the file:
//
//  1. Bytes of a segment below its size are never changed (Log, invariant 4), and a record holds only such bytes.
//  2. The segment's name was durable before the record was written; or the record says that it was not, and also what the texts of
//     the log are (see names.go): then replay makes what is missing. Names and texts are durable before the generation is dead.
//  3. A name becomes another file's only after retire: a log is deleted, a cleaned segment takes the place of another; and a
//     file is unlinked only after retireSegment. A file that is missing, and whose name was durable, was unlinked.
//  4. Records of another run are none: each carries the number of its run, and a start erases what it has written back.
//
// A write-back that fails is reported to the checkpoint. It takes the store offline, and its records stay. Where nothing but space or a
// handle was missing the checkpoint is tried again until it works: meanwhile it is as one that is not through.
//
// Locks: mu is taken under Log.trimMu and Log.appendMu by retire, and not held while anything is written.
type journal struct {
	s        *Store
	bytesMax int64 // of a file; 0: no records are written
	run      uint64
	buf      []byte       // of the committer; its address is a multiple of disk.DirectAlignment
	direct   [2]disk.File // the files again, for writes past the page cache; nil where that cannot be had; of the committer

	mu struct {
		sync.Mutex
		files     [2]disk.File
		size      [2]int64              // what is written in each, zeros included, and synced
		gen       uint64                // the generation that is written, in files[gen%2]; 0: none yet
		dead      uint64                // generations up to this one will never be replayed
		at        int64                 // where its next record goes
		seq       uint64                // of the next record
		ready     bool                  // the other file may take the next generation
		preparing bool                  // it is being made so
		writing   bool                  // a record is being written
		broken    bool                  // the files cannot be made
		stuck     error                 // why the checkpoint that is under way is to be tried again
		tries     int                   // of checkpoints, begun
		failed    int                   // the last of them that is to be made again
		content   map[*segment]struct{} // what the generation has records of
		live      map[string]int        // segments of each log in generations that are not dead
		warned    bool                  // a record could not be written
	}
	changed sync.Cond // of mu: preparing or writing has ended, or is stuck
	isStuck atomic.Bool
}

func newJournal(s *Store, bytesMax int64) *journal {
	j := &journal{s: s, bytesMax: bytesMax}
	if bytesMax > 0 {
		j.bytesMax = min(max(bytesMax, journalBytesMin), journalBytesMax) / journalBlock * journalBlock
	}
	j.changed.L = &j.mu
	j.mu.live = map[string]int{}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	j.run = binary.BigEndian.Uint64(b[:])
	return j
}

func (j *journal) path(i int) string { return journalPath(j.s.dir, i) }

func journalName(i int) string { return fmt.Sprintf("journal-%d.log", i) }

func journalPath(dir string, i int) string { return filepath.Join(dir, journalName(i)) }

// journalRecordBytes is the size of the largest record of so many files.
func journalRecordBytes(files int) int64 {
	return min(max(journalRecordMax, int64(files)*journalFileWorth), journalManyRecordMax)
}

// write makes the ranges durable with a record. Not done: the pass has to sync the files. An error is final.
func (j *journal) write(files []dirtyFile, limit int64) (done bool, err error) {
	size := journalRecordSize(files)
	padded := journalPadded(size)
	if padded > min(limit, j.bytesMax) {
		return false, nil
	}
	j.mu.Lock()
	placed := j.placeLocked(padded)
	f, at, gen, seq := j.mu.files[j.mu.gen%2], j.mu.at, j.mu.gen, j.mu.seq
	j.mu.writing = placed
	j.mu.Unlock()
	if !placed {
		return false, nil
	}
	done = j.encode(files, size, padded, gen, seq)
	if done {
		// Before it is written: one whose write fails may be whole all the same.
		j.mu.Lock()
		for _, d := range files {
			j.containsLocked(d.segment)
		}
		j.mu.Unlock()
		done, err = j.store(f, &j.direct[gen%2], at)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.writing = false
	if done {
		j.mu.at += padded
		j.mu.seq++
	} else if !j.mu.warned {
		j.mu.warned = true
		j.s.metrics.BackgroundErrors.Inc()
		j.s.logger.Warn("a record of the journal could not be made: such passes sync the segments", "dir", j.s.dir)
	}
	j.changed.Broadcast()
	return done, err
}

// store writes the record that is in buf, past the page cache if that can be had: at 32 KiB that took 0.12 ms and 46 us of CPU,
// against 0.19 ms and 114 us for a write and fdatasync.
func (j *journal) store(f disk.File, direct *disk.File, at int64) (done bool, err error) {
	if *direct != nil {
		_, err := (*direct).WriteAt(j.buf, at)
		if isNoSpace(err) {
			return false, nil // of a file system that never writes in place
		}
		if err != nil && !errors.Is(err, syscall.EINVAL) {
			return false, fmt.Errorf("write journal: %w", err)
		}
		if err != nil {
			_ = (*direct).Close()
			*direct = nil
		}
		done = err == nil
	}
	if !done {
		if _, err := f.WriteAt(j.buf, at); err != nil {
			return false, nil // the next record overwrites whatever was written; it says nothing wrong
		}
		if err := f.Sync(); err != nil {
			return false, fmt.Errorf("fsync journal: %w", err)
		}
	}
	j.s.metrics.Fsyncs.Inc()
	j.s.metrics.JournalRecords.Inc()
	j.s.metrics.JournalBytes.Add(float64(len(j.buf)))
	return true, nil
}

// placeLocked finds room for a record.
func (j *journal) placeLocked(padded int64) bool {
	if j.mu.gen == 0 && !j.beginLocked() {
		return false
	}
	if j.mu.at+padded <= j.mu.size[j.mu.gen%2] {
		return true
	}
	if !j.mu.ready {
		return false
	}
	j.turnLocked()
	return padded <= j.mu.size[j.mu.gen%2]
}

// beginLocked makes the files, or finds those of an earlier run. If that fails there is no journal until the next start.
func (j *journal) beginLocked() bool {
	if j.mu.broken || !j.s.spaceFor(2*j.firstBytes()) {
		return false
	}
	for i := range j.mu.files {
		f, err := j.s.fs.OpenReadWrite(j.path(i), true)
		if err == nil {
			j.mu.files[i] = f
			j.mu.size[i], err = f.Size()
		}
		if err == nil && j.mu.size[i] < j.firstBytes() {
			j.mu.size[i], err = j.grow(f, 0, j.firstBytes())
		}
		if err != nil {
			j.breakLocked(err)
			return false
		}
		j.mu.size[i] = min(j.mu.size[i]/journalBlock*journalBlock, j.bytesMax)
		if j.direct[i], err = j.s.fs.OpenDirect(j.path(i)); err != nil {
			j.direct[i] = nil
		}
	}
	if err := j.s.fs.SyncDir(j.s.dir); err != nil {
		j.s.SetOffline(fmt.Errorf("fsync directory %s: %w", j.s.dir, err))
		return false
	}
	j.mu.gen, j.mu.ready = 1, true
	return true
}

func (j *journal) firstBytes() int64 { return min(journalFirstBytes, j.bytesMax) }

func (j *journal) breakLocked(err error) {
	j.mu.broken = true
	for i := range j.mu.files {
		_ = j.closeLocked(i) // nothing is in it
	}
	j.s.metrics.BackgroundErrors.Inc()
	j.s.logger.Warn("no journal until the next start: each pass syncs the segments", "error", err)
}

// closeLocked closes both handles of a file.
func (j *journal) closeLocked(i int) (err error) {
	if j.direct[i] != nil {
		_ = j.direct[i].Close() // each write of it was durable
	}
	if j.mu.files[i] != nil {
		err = j.mu.files[i].Close()
	}
	j.mu.files[i], j.direct[i] = nil, nil
	return err
}

// grow writes zeros behind what a file has, and returns its size.
func (j *journal) grow(f disk.File, from, to int64) (int64, error) {
	zeros := make([]byte, min(to-from, journalRecordMax))
	for at := from; at < to; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at)
		if err != nil {
			_ = f.Truncate(from) // others need the space
			return from, err
		}
		at += int64(n)
	}
	if err := f.Sync(); err != nil {
		return from, err
	}
	return to, nil
}

// turnLocked begins the next generation in the other file, and a checkpoint of this one.
func (j *journal) turnLocked() {
	old := j.mu.content
	full := j.mu.gen
	j.mu.gen, j.mu.at, j.mu.ready, j.mu.preparing, j.mu.content = full+1, 0, false, true, nil
	go j.prepare(full, old)
}

// prepare makes a generation dead and its file ready for the next one.
func (j *journal) prepare(gen uint64, content map[*segment]struct{}) {
	err := j.checkpoint(content)
	for goOn := true; mayWriteAgain(err) && goOn; {
		j.stick(err)
		goOn = j.s.waitToWriteAgain()
		err = j.checkpoint(content)
	}
	f, i := j.mu.files[gen%2], gen%2
	if err == nil {
		err = eraseJournal(f)
	}
	if again, is := errors.AsType[notWritten](err); is {
		err = again.error // it is final now
	}
	if err != nil {
		j.s.SetOffline(fmt.Errorf("checkpoint of the journal: %w", err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.isStuck.Store(false)
	if err == nil {
		j.deadLocked(gen, content)
		j.growLocked(f, int(i))
	}
	j.mu.preparing, j.mu.ready, j.mu.stuck = false, err == nil, nil
	j.changed.Broadcast()
}

// stick notes that a checkpoint is to be tried again, for those who would wait for its end.
func (j *journal) stick(err error) {
	j.mu.Lock()
	first := j.mu.stuck == nil
	j.mu.stuck, j.mu.failed = err, j.mu.tries
	j.isStuck.Store(true)
	j.changed.Broadcast()
	j.mu.Unlock()
	j.s.metrics.BackgroundErrors.Inc()
	if first {
		j.s.logger.Warn("the journal cannot be written back for now", "dir", j.s.dir, "error", err)
	}
}

func (j *journal) deadLocked(gen uint64, content map[*segment]struct{}) {
	j.mu.dead = gen
	for s := range content {
		s.journaled.Add(-1)
		if j.mu.live[s.log.name]--; j.mu.live[s.log.name] == 0 {
			delete(j.mu.live, s.log.name)
		}
	}
	j.changed.Broadcast()
}

// growLocked gives the file that is being prepared twice the size of the other one. Without more room it stays as it is. The
// lock is not held while it writes.
func (j *journal) growLocked(f disk.File, i int) {
	size := j.mu.size[i]
	wanted := min(max(2*j.mu.size[1-i], size), j.bytesMax)
	if wanted <= size {
		return
	}
	j.mu.Unlock()
	if j.s.spaceFor(wanted - size) {
		size, _ = j.grow(f, size, wanted)
	}
	j.mu.Lock()
	j.mu.size[i] = size
}

// containsLocked notes that the generation has a record of the segment.
func (j *journal) containsLocked(s *segment) {
	if _, known := j.mu.content[s]; known {
		return
	}
	if j.mu.content == nil {
		j.mu.content = map[*segment]struct{}{}
	}
	j.mu.content[s] = struct{}{}
	s.journaled.Add(1)
	j.mu.live[s.log.name]++
}

// checkpoint makes the segments of a generation durable by themselves.
func (j *journal) checkpoint(content map[*segment]struct{}) error {
	j.s.metrics.JournalCheckpoints.Inc()
	j.mu.Lock()
	j.mu.tries++
	j.mu.Unlock()
	logs := map[*Log]struct{}{}
	for s := range content {
		logs[s.log] = struct{}{}
	}
	// A log that is deleted waits for this: see retire. What it has not made by then it need not.
	err := j.s.keepNames(slices.Collect(maps.Keys(logs)), func(l *Log) (texts writtenTexts, ok bool, err error) {
		if l.deleted.Load() {
			return texts, false, nil
		}
		if err := l.writeHeld(); err != nil {
			return texts, false, writtenBehind(err)
		}
		if texts, err = l.writeTexts(false); mayWriteAgain(writtenBehind(err)) {
			return texts, false, writtenBehind(err)
		}
		return texts, true, nil // the next pass tries again what could not be written
	})
	if err != nil {
		return err
	}
	if len(content) > journalFilesMax {
		return j.s.syncFS()
	}
	for s := range content {
		known, err := s.syncAlone()
		if err != nil {
			return err
		}
		if !known {
			return j.s.syncFS()
		}
	}
	return nil
}

// syncAlone fsyncs a segment that is the log's still. Not known: its handle would not tell the whole truth.
func (s *segment) syncAlone() (known bool, err error) {
	l := s.log
	l.mu.Lock()
	if l.mu.segments[l.findLocked(s.base)] != s || s.holding() && l.deleted.Load() {
		l.mu.Unlock()
		return true, nil // its bytes are nobody's any more
	}
	s.acquireLocked()
	l.mu.Unlock()
	defer s.release()
	f, err := s.handle(false)
	if err != nil || s.closedDirty.Load() {
		return false, nil
	}
	l.store.metrics.Fsyncs.Inc()
	if err := f.Sync(); err != nil {
		return false, fmt.Errorf("fsync %s: %w", l.name, err)
	}
	return true, nil
}

// retire returns when no record of the log of that name, by whatever Log it was written, will ever be replayed; with an error, that may be
// never.
func (j *journal) retire(name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.live[name] == 0 {
		return nil
	}
	live := j.mu.gen
	if len(j.mu.content) == 0 {
		live--
	}
	tries := j.mu.tries
	for j.mu.dead < live && j.mu.gen > 0 {
		if err := j.s.Offline(); err != nil {
			return err
		}
		switch {
		case j.mu.stuck != nil && j.mu.failed > tries:
			return j.mu.stuck // what the caller gives up was left out of that try
		case j.mu.preparing || j.mu.writing:
			j.changed.Wait()
		case j.mu.gen == live:
			j.turnLocked()
		}
	}
	return nil
}

// retireSegment returns when no record of a segment that its log has dropped will ever be replayed.
func (j *journal) retireSegment(s *segment) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for s.journaled.Load() > 0 && j.mu.gen > 0 {
		if err := j.s.Offline(); err != nil {
			return err
		}
		switch {
		case j.mu.stuck != nil:
			return j.mu.stuck // such a segment holds nothing that the checkpoint needs
		case j.mu.preparing || j.mu.writing:
			j.changed.Wait()
		default:
			j.turnLocked()
		}
	}
	return nil
}

// close ends the journal, after the committer. clean says that everything is durable by itself: then nothing is to be
// replayed.
func (j *journal) close(clean bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.mu.preparing {
		j.changed.Wait()
	}
	var first error
	for i, f := range j.mu.files {
		if clean && first == nil && f != nil {
			first = eraseJournal(f)
		}
		if err := j.closeLocked(i); err != nil && first == nil {
			first = err
		}
	}
	j.mu.broken, j.mu.gen = true, 0
	return first
}
