package pidstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// Audit proves that the entries of one partition agree with its log, offline and in
// bounded memory: it folds the log once more, into a scratch store, and compares.
type Audit struct {
	cold, scratch *coldstate.Store
	num           uint64
	checkpoint    coldstate.Checkpoint
	found         bool
	batch         *coldstate.Batch
	chunk         int
	index         map[int64]int32
	pids          []int64
	entries       []producer.Entry
}

// NewAudit prepares the audit of a partition of cold. scratch must know nothing of
// the partition; it may be thrown away afterwards.
func NewAudit(cold, scratch *coldstate.Store, num uint64) (*Audit, error) {
	c, found, err := cold.Checkpoint(num)
	if err != nil {
		return nil, err
	}
	a := &Audit{cold: cold, scratch: scratch, num: num, checkpoint: c, found: found}
	a.batch, a.chunk = scratch.NewBatch(), batchChunk(scratch)
	a.index = make(map[int64]int32, a.chunk)
	return a, nil
}

// Checkpoint returns the position up to which the entries claim to be complete.
func (a *Audit) Checkpoint() (coldstate.Checkpoint, bool) { return a.checkpoint, a.found }

// Batch folds one batch of the log. Call it for every batch from the log start to the
// checkpoint, in order; those behind the checkpoint are ignored.
func (a *Audit) Batch(pid int64, in producer.Incoming, stored producer.Stored) error {
	if pid < 0 || in.Epoch < 0 || in.BaseSequence < 0 || stored.LastOffset >= a.checkpoint.Offset {
		return nil
	}
	i, ok := a.index[pid]
	if !ok {
		if len(a.entries) == a.chunk {
			if err := a.spill(); err != nil {
				return err
			}
		}
		e := producer.Entry{Epoch: in.Epoch}
		if _, err := getEntry(a.scratch, a.num, pid, &e); err != nil {
			return err
		}
		i = int32(len(a.entries))
		a.index[pid] = i
		a.entries, a.pids = append(a.entries, e), append(a.pids, pid)
	}
	a.entries[i].Apply(in, stored, 0)
	return nil
}

func getEntry(cold *coldstate.Store, num uint64, pid int64, e *producer.Entry) (bool, error) {
	var buf [producer.EncodedBytesMax]byte
	val, found, err := cold.Get(num, pid, buf[:0])
	if err == nil && found {
		err = producer.Decode(val, e)
	}
	if err != nil {
		return false, fmt.Errorf("partition %d, producer %d: %w: %w", num, pid, ErrColdRead, err)
	}
	return found, nil
}

func (a *Audit) spill() error {
	var buf []byte
	for i := range a.entries {
		buf = a.entries[i].Encode(buf[:0])
		a.batch.Put(a.num, a.pids[i], buf)
	}
	clear(a.index)
	a.entries, a.pids = a.entries[:0], a.pids[:0]
	return a.batch.Commit()
}

// Finish compares. logStart is where the log begins. report is called for every
// disagreement; an error of it ends the audit. Finish returns how many entries the
// cold store has.
func (a *Audit) Finish(logStart int64, report func(pid int64, problem string) error) (entries int64, err error) {
	defer a.batch.Close()
	if err := a.spill(); err != nil {
		return 0, err
	}
	if val, found, err := a.cold.Get(a.num, markKey, nil); err != nil {
		return 0, err
	} else if found && (len(val) != markBytes || val[0] != markVersion || binary.BigEndian.Uint64(val[1:]) > math.MaxInt64) {
		if err := report(markKey, fmt.Sprintf("recovery mark %x is not readable", val)); err != nil {
			return 0, err
		}
	}
	have := entryCursor{cold: a.cold, num: a.num, more: true}
	want := entryCursor{cold: a.scratch, num: a.num, more: true}
	for {
		h, okHave, err := have.peek()
		if err != nil {
			return entries, err
		}
		w, okWant, err := want.peek()
		if err != nil {
			return entries, err
		}
		var pid int64
		var problem string
		switch {
		case !okHave && !okWant:
			return entries, nil
		case okWant && (!okHave || w.pid < h.pid):
			pid, problem = w.pid, fmt.Sprintf("the log has batches up to offset %d, the store no entry", lastOffset(&w.entry))
			want.advance()
		case okHave && (!okWant || h.pid < w.pid):
			entries++
			pid, problem = h.pid, a.disagreement(h, producer.Entry{}, logStart)
			have.advance()
		default:
			entries++
			pid, problem = h.pid, a.disagreement(h, w.entry, logStart)
			have.advance()
			want.advance()
		}
		if problem == "" {
			continue
		}
		if err := report(pid, problem); err != nil {
			return entries, err
		}
	}
}

// disagreement compares what an entry says of the log between its start and the
// checkpoint with what the log says. Entries may be ahead of the checkpoint, and
// remember batches that the log has dropped.
func (a *Audit) disagreement(have auditEntry, want producer.Entry, logStart int64) string {
	if have.bad != nil {
		return have.bad.Error()
	}
	var inLog []producer.Stored
	ahead := false
	for _, s := range have.entry.Window() {
		switch {
		case s.LastOffset >= a.checkpoint.Offset:
			ahead = true
		case s.BaseOffset >= logStart:
			inLog = append(inLog, s)
		}
	}
	window := want.Window()
	if !ahead && want.Count > 0 && have.entry.Epoch != want.Epoch {
		return fmt.Sprintf("the entry has epoch %d, the log %d", have.entry.Epoch, want.Epoch)
	}
	if len(inLog) > len(window) {
		return fmt.Sprintf("the entry remembers a batch at offset %d that the log does not hold", inLog[0].BaseOffset)
	}
	if !ahead && len(inLog) < len(window) {
		return fmt.Sprintf("the entry does not remember the batch at offset %d", window[len(window)-len(inLog)-1].BaseOffset)
	}
	if tail := window[len(window)-len(inLog):]; !slices.Equal(tail, inLog) {
		return fmt.Sprintf("the entry remembers %+v, the log holds %+v", inLog, tail)
	}
	return ""
}

type auditEntry struct {
	pid   int64
	entry producer.Entry
	bad   error
}

// entryCursor reads a partition's entries in order, a chunk at a time.
type entryCursor struct {
	cold  *coldstate.Store
	num   uint64
	chunk []auditEntry
	next  int64
	more  bool
}

func (c *entryCursor) peek() (auditEntry, bool, error) {
	if len(c.chunk) == 0 && c.more {
		c.chunk = c.chunk[:0]
		var err error
		c.next, c.more, err = c.cold.Scan(c.num, c.next, sweepChunk, func(pid int64, val []byte) error {
			e := auditEntry{pid: pid}
			e.bad = producer.Decode(val, &e.entry)
			c.chunk = append(c.chunk, e)
			return nil
		})
		if err != nil {
			return auditEntry{}, false, err
		}
	}
	if len(c.chunk) == 0 {
		return auditEntry{}, false, nil
	}
	return c.chunk[0], true, nil
}

func (c *entryCursor) advance() { c.chunk = c.chunk[1:] }
