package pidstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// ErrLoaded says that a partition was to be loaded twice.
var ErrLoaded = errors.New("producer state already loaded")

// A recovery whose memory is full writes entries before it has ended, and so before
// the log's tail, from which it folds, is known to survive a power loss. What it
// overwrites it keeps, so that a later recovery that finds less log can take it back.
// Under keys that are no producer ids a partition has
//
//	-1        mark: how far the entries may be ahead of the checkpoint
//	            byte   format version, 1
//	            int64  end offset of the batches folded, big endian
//	-2 - pid  the entry of pid as it was before the first unfinished recovery wrote it
//
// and nothing there while it is in use.
const (
	markKey     = int64(-1)
	markVersion = 1
	markBytes   = 9
	// pidMax leaves room for the keys above.
	pidMax = math.MaxInt64 - 2
)

// savedKey is where the entry of a producer is kept that a recovery overwrites.
func savedKey(pid int64) int64 { return -2 - pid }

// replay folds the tail of a partition's log, in memory that does not depend on
// the number of producers.
type replay struct {
	checkpoint coldstate.Checkpoint
	found      bool
	marked     int64 // end of what an unfinished recovery has folded; -1: none
	highest    int64 // no entry in the cold store has a higher id
	end        int64 // end of what was folded
	batch      *coldstate.Batch
	folds      []fold
	index      map[int64]int32 // of folds, by producer id
}

// fold is one entry in the replay's memory.
type fold struct {
	pid    int64
	entry  producer.Entry
	before producer.Entry // what the cold store has, to be saved when it is overwritten
	save   bool
}

// Load returns the checkpoint from which the log is to be replayed. Call it before
// anything else; then Replay for every batch from there, in order, then ReplayDone.
func (p *Partition) Load() (coldstate.Checkpoint, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dropped.Load():
		return coldstate.Checkpoint{}, false, fmt.Errorf("partition %d: %w", p.num, ErrDropped)
	case p.loaded.Load():
		return coldstate.Checkpoint{}, false, fmt.Errorf("partition %d: %w", p.num, ErrLoaded)
	}
	r := &replay{marked: -1, highest: -1}
	if err := p.loadReplay(r); err != nil {
		return coldstate.Checkpoint{}, false, fmt.Errorf("partition %d: %w: %w", p.num, ErrColdRead, err)
	}
	p.mu.replay = r
	return r.checkpoint, r.found, nil
}

func (p *Partition) loadReplay(r *replay) error {
	cold, ids := p.s.cold, p.s.ids
	var err error
	if r.checkpoint, r.found, err = cold.Checkpoint(p.num); err != nil {
		return err
	}
	mark, marked, err := cold.Get(p.num, markKey, nil)
	if err != nil {
		return err
	}
	if marked {
		if len(mark) != markBytes || mark[0] != markVersion {
			return fmt.Errorf("%w: recovery mark %x", producer.ErrCorruptEntry, mark)
		}
		r.marked = int64(binary.BigEndian.Uint64(mark[1:]))
	}
	// Ids a little above ours are skipped, should the ids have been rolled back.
	near, found, err := cold.MaxKey(p.num, ids.Limit()+raiseSpanCount-1)
	if err != nil {
		return err
	}
	if found && near >= ids.Issued() {
		if err := ids.Raise(near); err != nil {
			return err
		}
	}
	coldMax, foreignMin, err := p.seek(ids.Limit())
	if err != nil {
		return err
	}
	p.coldMax.Store(coldMax)
	p.foreignMin.Store(foreignMin)
	if highest, found, err := cold.MaxKey(p.num, math.MaxInt64); err != nil {
		return err
	} else if found {
		r.highest = highest
	}
	return nil
}

// LogStartsAt is called between Load and ReplayDone with the start of the log. It never lies
// behind the checkpoint unless the store was lost or is an older copy: then the
// producers of what lies between are known no more, which is counted and said.
func (p *Partition) LogStartsAt(start int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.mu.replay
	if r == nil || start <= r.checkpoint.Offset {
		return
	}
	p.s.metrics.StateLostOffsets.Add(float64(start - r.checkpoint.Offset))
	p.s.logger.Error("the producers of deleted records are not known any more: the store was lost or is an older copy; retries of theirs are taken for new",
		"partition", p.num, "from", r.checkpoint.Offset, "to", start)
}

// Replay folds one batch of the log's tail. Batches come in the order of the log.
// The log knows no broker clock: last seen is now.
func (p *Partition) Replay(pid int64, in producer.Incoming, stored producer.Stored) error {
	if pid < 0 || in.Epoch < 0 || in.BaseSequence < 0 || in.LastSequence < 0 {
		return nil // carries no sequence: nothing to recognise it by
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.mu.replay
	if r == nil {
		return fmt.Errorf("partition %d: %w", p.num, ErrNotLoaded)
	}
	if pid >= p.s.ids.Issued() {
		if err := p.s.ids.Raise(pid); err != nil {
			return err
		}
	}
	e, err := p.replayEntry(r, pid, stored.BaseOffset)
	if err != nil {
		return err
	}
	if e.Count == 0 && e.Epoch != in.Epoch {
		*e = producer.Entry{Epoch: in.Epoch}
	}
	e.Refold(in, stored, p.s.Age())
	r.end = max(r.end, stored.LastOffset+1)
	return nil
}

// replayEntry returns the entry of a producer in the replay's memory.
func (p *Partition) replayEntry(r *replay, pid, offset int64) (*producer.Entry, error) {
	if i, ok := r.index[pid]; ok {
		return &r.folds[i].entry, nil
	}
	if r.batch == nil {
		r.batch = p.s.cold.NewBatch()
		size := batchChunk(p.s.cold) / 2 // each may write two entries
		r.folds = make([]fold, 0, size)
		r.index = make(map[int64]int32, size)
	}
	if len(r.folds) == cap(r.folds) {
		if err := p.spill(r, nil); err != nil {
			return nil, err
		}
	}
	f := fold{pid: pid}
	if pid <= r.highest && !p.isNew(pid) {
		if err := p.readFold(r, &f, offset); err != nil {
			return nil, err
		}
	}
	r.index[pid] = int32(len(r.folds))
	r.folds = append(r.folds, f)
	return &r.folds[len(r.folds)-1].entry, nil
}

// readFold reads what was known of a producer before the batch at offset. Where an
// unfinished recovery has folded further, that is what was saved then.
func (p *Partition) readFold(r *replay, f *fold, offset int64) error {
	found, err := getEntry(p.s.cold, p.num, f.pid, &f.entry)
	if err != nil || !found {
		return err
	}
	f.before, f.save = f.entry, true
	if r.marked < 0 {
		return nil // nothing has been saved yet
	}
	var saved producer.Entry
	if found, err = getEntry(p.s.cold, p.num, savedKey(f.pid), &saved); err != nil || !found {
		return err
	}
	f.save = false
	if last, ok := f.entry.Last(); ok && last.LastOffset >= offset {
		f.entry = saved
	}
	return nil
}

// spill writes the entries in memory: behind the mark, or with the checkpoint that
// ends the recovery.
func (p *Partition) spill(r *replay, last *coldstate.Checkpoint) error {
	buf := make([]byte, 0, producer.EncodedBytesMax)
	for i := range r.folds {
		f := &r.folds[i]
		p.left(f.pid)
		r.highest = max(r.highest, f.pid)
		buf = f.entry.Encode(buf[:0])
		r.batch.Put(p.num, f.pid, buf)
		if f.save && last == nil {
			buf = f.before.Encode(buf[:0])
			r.batch.Put(p.num, savedKey(f.pid), buf)
		}
	}
	if last == nil {
		r.marked = max(r.marked, r.end)
		mark := binary.BigEndian.AppendUint64([]byte{markVersion}, uint64(r.marked))
		r.batch.Put(p.num, markKey, mark)
	} else {
		if r.marked >= 0 {
			r.batch.Delete(p.num, markKey)
		}
		r.batch.SetCheckpoint(p.num, *last)
	}
	if err := r.batch.Commit(); err != nil {
		return fmt.Errorf("partition %d: write recovered producers: %w", p.num, err)
	}
	p.s.keeper.unflushed()
	clear(r.index)
	r.folds = r.folds[:0]
	return nil
}

// ReplayDone ends the recovery: everything below c was given to Replay or lies below
// the checkpoint, and is durable in the log. The partition may be used afterwards.
func (p *Partition) ReplayDone(c coldstate.Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.mu.replay
	if r == nil {
		return fmt.Errorf("partition %d: %w", p.num, ErrNotLoaded)
	}
	p.mu.written = r.checkpoint.Offset
	behind := c != r.checkpoint // without a checkpoint, the start of the log is as good
	shorter := r.marked > c.Offset || r.checkpoint.Offset > c.Offset
	if len(r.folds) > 0 || r.marked >= 0 || shorter {
		if err := p.endReplay(r, c, shorter); err != nil {
			return err
		}
		p.mu.written, behind = c.Offset, false
	}
	p.mu.replay, p.mu.latest, p.mu.ready = nil, c, c
	p.loaded.Store(true)
	if behind {
		p.queueLocked()
	}
	return nil
}

// endReplay writes what was folded, and the checkpoint. What the log lost is taken back
// durably before the log goes on: later, its offsets belong to other batches.
func (p *Partition) endReplay(r *replay, c coldstate.Checkpoint, shorter bool) error {
	if r.batch == nil {
		r.batch = p.s.cold.NewBatch()
	}
	defer r.batch.Close()
	if shorter {
		if err := p.takeBack(c.Offset); err != nil {
			return fmt.Errorf("partition %d: take back what the log lost: %w", p.num, err)
		}
	}
	if r.marked >= 0 {
		if err := p.deleteSaved(); err != nil {
			return fmt.Errorf("partition %d: end the recovery: %w", p.num, err)
		}
	}
	if err := p.spill(r, &c); err != nil || !shorter {
		return err
	}
	return p.s.cold.Flush()
}

// takeBack removes what the cold store remembers of batches at or behind end: the
// log lost them. It reads all entries of the partition, in bounded memory. The
// producers that this recovery has met are right already.
func (p *Partition) takeBack(end int64) error {
	changed, chunk := 0, batchChunk(p.s.cold)
	b := p.s.cold.NewBatch()
	defer b.Close()
	ahead := make([]fold, 0, chunk)
	for from, more := int64(0), true; more; {
		var err error
		ahead = ahead[:0]
		from, more, err = p.s.cold.Scan(p.num, from, chunk, func(pid int64, val []byte) error {
			f := fold{pid: pid}
			if err := producer.Decode(val, &f.entry); err != nil {
				return err
			}
			if lastOffset(&f.entry) >= end {
				ahead = append(ahead, f)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := p.cutEntries(b, ahead, end); err != nil {
			return err
		}
		changed += len(ahead)
	}
	if changed > 0 {
		p.s.logger.Warn("the log is shorter than the state of its producers: took back what it lost",
			"partition", p.num, "end", end, "producers", changed)
	}
	return nil
}

// cutEntries writes entries as they were before end.
func (p *Partition) cutEntries(b *coldstate.Batch, ahead []fold, end int64) error {
	buf := make([]byte, 0, producer.EncodedBytesMax)
	for i := range ahead {
		f := &ahead[i]
		if _, err := getEntry(p.s.cold, p.num, savedKey(f.pid), &f.entry); err != nil {
			return err
		}
		if f.entry.Truncate(end); f.entry.Count == 0 {
			b.Delete(p.num, f.pid)
			continue
		}
		buf = f.entry.Encode(buf[:0])
		b.Put(p.num, f.pid, buf)
	}
	return b.Commit()
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// deleteSaved removes what the recoveries of the partition have saved.
func (p *Partition) deleteSaved() error {
	b := p.s.cold.NewBatch()
	defer b.Close()
	for from, more := int64(math.MinInt64), true; more; {
		var err error
		from, more, err = p.s.cold.Scan(p.num, from, batchChunk(p.s.cold), func(key int64, _ []byte) error {
			if key >= markKey {
				return errStop
			}
			b.Delete(p.num, key)
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
		if err := b.Commit(); err != nil {
			return err
		}
	}
	return nil
}
