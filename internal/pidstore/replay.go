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

// The mark of a partition, under a key that is no producer id, says how far entries
// may be ahead of the checkpoint because of a recovery that did not finish:
//
//	byte   format version, 1
//	int64  end offset of the batches folded, big endian
//
// A recovery reads the log's tail before it is known to survive a power loss, and
// writes entries when its memory is full. Should some of the tail be lost after that,
// the next recovery finds the mark and takes back what the log does not hold.
const (
	markKey     = int64(-1)
	markVersion = 1
	markBytes   = 9
)

// replay folds the tail of a partition's log, in memory that does not depend on
// the number of producers.
type replay struct {
	checkpoint coldstate.Checkpoint
	found      bool
	marked     int64 // end of what an unfinished recovery has folded; -1: none
	highest    int64 // no entry in the cold store has a higher id
	end        int64 // end of what was folded
	batch      *coldstate.Batch
	entries    []producer.Entry
	pids       []int64
	index      map[int64]int32
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
	e, err := p.replayEntry(r, pid)
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
func (p *Partition) replayEntry(r *replay, pid int64) (*producer.Entry, error) {
	if i, ok := r.index[pid]; ok {
		return &r.entries[i], nil
	}
	if r.batch == nil {
		r.batch = p.s.cold.NewBatch()
		size := batchChunk(p.s.cold)
		r.entries = make([]producer.Entry, 0, size)
		r.index = make(map[int64]int32, size)
	}
	if len(r.entries) == cap(r.entries) {
		if err := p.spill(r, nil); err != nil {
			return nil, err
		}
	}
	var e producer.Entry
	if pid <= r.highest && !p.isNew(pid) {
		if _, err := getEntry(p.s.cold, p.num, pid, &e); err != nil {
			return nil, err
		}
	}
	r.index[pid] = int32(len(r.entries))
	r.entries = append(r.entries, e)
	r.pids = append(r.pids, pid)
	return &r.entries[len(r.entries)-1], nil
}

// spill writes the entries in memory: behind the mark, or with the checkpoint that
// ends the recovery.
func (p *Partition) spill(r *replay, last *coldstate.Checkpoint) error {
	buf := make([]byte, 0, producer.EncodedBytesMax)
	for i := range r.entries {
		p.left(r.pids[i])
		r.highest = max(r.highest, r.pids[i])
		buf = r.entries[i].Encode(buf[:0])
		r.batch.Put(p.num, r.pids[i], buf)
	}
	if last == nil {
		r.marked = max(r.marked, r.end)
		mark := binary.BigEndian.AppendUint64([]byte{markVersion}, uint64(r.marked))
		r.batch.Put(p.num, markKey, mark)
	} else {
		r.batch.Delete(p.num, markKey)
		r.batch.SetCheckpoint(p.num, *last)
	}
	if err := r.batch.Commit(); err != nil {
		return fmt.Errorf("partition %d: write recovered producers: %w", p.num, err)
	}
	p.s.keeper.unflushed()
	clear(r.index)
	r.entries, r.pids = r.entries[:0], r.pids[:0]
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
	if r.marked > c.Offset || (r.found && r.checkpoint.Offset > c.Offset) {
		if err := p.takeBack(r, c.Offset); err != nil {
			return err
		}
	}
	p.mu.written = r.checkpoint.Offset
	behind := c != r.checkpoint // without a checkpoint, the start of the log is as good
	if len(r.entries) > 0 || r.marked >= 0 || (r.found && r.checkpoint.Offset > c.Offset) {
		if r.batch == nil {
			r.batch = p.s.cold.NewBatch()
		}
		if err := p.spill(r, &c); err != nil {
			return err
		}
		p.mu.written, behind = c.Offset, false
	}
	if r.batch != nil {
		r.batch.Close()
	}
	p.mu.replay, p.mu.latest, p.mu.ready = nil, c, c
	p.loaded.Store(true)
	if behind {
		p.queueLocked()
	}
	return nil
}

// takeBack removes what the cold store remembers of batches at or behind end: the
// log lost them. It reads all entries of the partition, in bounded memory.
func (p *Partition) takeBack(r *replay, end int64) error {
	if r.batch == nil {
		r.batch = p.s.cold.NewBatch()
	}
	chunk := batchChunk(p.s.cold)
	changed, buf := 0, make([]byte, 0, producer.EncodedBytesMax)
	for from, more := int64(0), true; more; {
		var err error
		from, more, err = p.s.cold.Scan(p.num, from, chunk, func(pid int64, val []byte) error {
			var e producer.Entry
			if err := producer.Decode(val, &e); err != nil {
				return err
			}
			if last, ok := e.Last(); !ok || last.LastOffset < end {
				return nil
			}
			changed++
			if e.Truncate(end); e.Count == 0 {
				r.batch.Delete(p.num, pid)
				return nil
			}
			buf = e.Encode(buf[:0])
			r.batch.Put(p.num, pid, buf)
			return nil
		})
		if err != nil {
			return fmt.Errorf("partition %d: %w: %w", p.num, ErrColdRead, err)
		}
		if err := r.batch.Commit(); err != nil {
			return err
		}
	}
	if changed > 0 {
		p.s.logger.Warn("the log is shorter than the state of its producers: took back what it lost",
			"partition", p.num, "end", end, "producers", changed)
	}
	return nil
}
