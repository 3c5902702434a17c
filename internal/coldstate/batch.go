package coldstate

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// nodeBytes is what a memtable takes for an entry beside key and value, a little above the average.
	nodeBytes = 56
	// nodeBytesMax is what Pebble reserves for it before it knows; what is left over it gives back.
	nodeBytesMax = 208
)

// Batch collects changes that take effect together. It belongs to one goroutine at a time.
type Batch struct {
	store *Store
	b     *pebble.Batch
	// usedBytes is what the batch will take in a memtable, reserveBytes what has to be free there to apply it.
	usedBytes, reserveBytes int64
}

// NewBatch returns an empty batch.
func (s *Store) NewBatch() *Batch { return &Batch{store: s, b: s.db.NewBatch()} }

func (b *Batch) count(keyBytes, valueBytes int) {
	b.usedBytes += int64(keyBytes+valueBytes) + nodeBytes
	b.reserveBytes += int64(keyBytes+valueBytes) + nodeBytesMax
}

// must turns an error of a batch in memory, which only a misused batch gives, into a panic.
func must(err error) {
	if err != nil {
		panic("BUG: coldstate batch: " + err.Error())
	}
}

// Put stores an entry; val is copied.
func (b *Batch) Put(part uint64, key int64, val []byte) {
	k := makeEntryKey(part, key)
	op := b.b.SetDeferred(len(k), len(val))
	copy(op.Key, k[:])
	copy(op.Value, val)
	must(op.Finish())
	b.count(len(k), len(val))
}

// Delete removes an entry, if it is there.
func (b *Batch) Delete(part uint64, key int64) {
	k := makeEntryKey(part, key)
	op := b.b.DeleteDeferred(len(k))
	copy(op.Key, k[:])
	must(op.Finish())
	b.count(len(k), 0)
}

// PutBytes stores an entry under a key of any bytes, in a key space beside that of Put; key and val are copied.
func (b *Batch) PutBytes(part uint64, key, val []byte) {
	op := b.b.SetDeferred(partKeyBytes+len(key), len(val))
	putBytesKey(op.Key, part, key)
	copy(op.Value, val)
	must(op.Finish())
	b.count(partKeyBytes+len(key), len(val))
}

// DeleteBytes removes what PutBytes stored, if it is there.
func (b *Batch) DeleteBytes(part uint64, key []byte) {
	op := b.b.DeleteDeferred(partKeyBytes + len(key))
	putBytesKey(op.Key, part, key)
	must(op.Finish())
	b.count(partKeyBytes+len(key), 0)
}

// SetCheckpoint stores the position up to which the partition's entries are complete, with this batch.
func (b *Batch) SetCheckpoint(part uint64, c Checkpoint) {
	k, v := makePartKey(spaceCheckpoint, part), encodeCheckpoint(c)
	must(b.b.Set(k[:], v[:], nil))
	b.count(len(k), len(v))
}

// SetMeta stores a value that belongs to no partition.
func (b *Batch) SetMeta(name string, val []byte) {
	k := metaKey(name)
	must(b.b.Set(k, val, nil))
	b.count(len(k), len(val))
}

// DeletePartition removes all entries of a partition and its checkpoint, at a cost that does not depend on their number.
// What the same batch puts into the partition later stays.
func (b *Batch) DeletePartition(part uint64) {
	for _, space := range []byte{spaceEntry, spaceBytes} {
		from, end := makePartKey(space, part), partEnd(space, part)
		must(b.b.DeleteRange(from[:], end, nil))
		b.count(len(from), len(end))
	}
	check := makePartKey(spaceCheckpoint, part)
	must(b.b.Delete(check[:], nil))
	b.count(len(check), 0)
}

// Len returns the number of changes.
func (b *Batch) Len() int { return int(b.b.Count()) }

// Bytes returns about how much memory the store will need for the batch; keep it below Store.BatchBytesMax.
func (b *Batch) Bytes() int64 { return b.usedBytes }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.b.Reset()
	b.usedBytes, b.reserveBytes = 0, 0
}

// Close gives the batch's memory back; it must not be used afterwards.
func (b *Batch) Close() { _ = b.b.Close() }

// Commit applies the batch atomically and empties it. It waits while the store has more to flush or to compact than it may
// hold. After an error nothing has been applied and the batch is unchanged, except with ErrFatal, when it may have been.
func (b *Batch) Commit() error {
	if b.Len() == 0 {
		return nil
	}
	s := b.store
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.memtable.Lock()
	defer s.memtable.Unlock()
	if err := s.makeRoomLocked(b.reserveBytes); err != nil {
		return err
	}
	if err := s.db.Apply(b.b, pebble.NoSync); err != nil {
		return fmt.Errorf("coldstate: commit: %w", err)
	}
	if err := s.guard.err(); err != nil {
		return err
	}
	s.memtable.usedBytes += b.usedBytes
	s.metrics.Commits.Inc()
	b.Reset()
	return nil
}

// makeRoomLocked rotates the memtable before it is full, so that Pebble never has to, and waits first until the previous
// one is durable and level 0 is not too deep.
func (s *Store) makeRoomLocked(reserveBytes int64) error {
	if s.memtable.usedBytes == 0 || s.memtable.usedBytes+reserveBytes <= s.memtable.arenaBytes-arenaReserveBytes {
		return s.guard.err()
	}
	if err := s.waitRoom(s.memtable.flushing); err != nil {
		return err
	}
	if err := s.waitCompacted(); err != nil {
		return err
	}
	return s.rotateLocked()
}

// waitRoom waits out a full disk, unless EndWaits was called: then the next failure ends the wait.
func (s *Store) waitRoom(flushed <-chan struct{}) error {
	select {
	case <-s.hurry:
	default:
		if flushed == nil {
			return s.guard.err()
		}
		select {
		case <-flushed:
			return s.guard.err()
		case <-s.guard.dead:
			return s.guard.err()
		case <-s.stopping:
			return ErrClosed
		case <-s.hurry:
		}
	}
	return s.waitFlushed(flushed, s.stopping, s.guard.failures())
}

// waitCompacted waits until level 0 has few enough sublevels for another flush, or nobody is at work on it. Pebble starts
// a compaction by how many tables lie above one key at most, which can be far less than there are sublevels: then there
// is none to wait for, and a look-up costs no more for it.
func (s *Store) waitCompacted() error {
	hurry := s.hurry
	var failed <-chan struct{}
	for {
		changed := s.guard.changes()
		if s.db.Metrics().Levels[0].Sublevels < level0SublevelsMax || !s.slot.busy() {
			return nil
		}
		s.metrics.CompactionWaits.Inc()
		select {
		case <-changed:
		case <-s.guard.dead:
			return s.guard.err()
		case <-s.stopping:
			return ErrClosed
		case <-failed:
			return fmt.Errorf("coldstate: compaction: %w", s.guard.lastFailure())
		case <-hurry:
			hurry, failed = nil, s.guard.failures()
		}
	}
}

// BatchBytesMax is how large a batch may be (Batch.Bytes) to fit the memory budget.
func (s *Store) BatchBytesMax() int64 { return s.shares.memtableBytes / 8 }
