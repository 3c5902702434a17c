package coldstate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// readError classifies an error of Pebble's and reports damage.
func (s *Store) readError(err error) error {
	if pebble.IsCorruptionError(err) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		s.guard.fatal(err)
	}
	return fmt.Errorf("coldstate: read: %w", err)
}

func (s *Store) get(key, dst []byte) ([]byte, bool, error) {
	if err := s.enter(); err != nil {
		return dst, false, err
	}
	defer s.leave()
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, s.readError(err)
	}
	dst = append(dst, v...)
	if err := closer.Close(); err != nil {
		return dst, false, s.readError(err)
	}
	return dst, true, nil
}

// Get appends the value of an entry to dst.
func (s *Store) Get(part uint64, key int64, dst []byte) (val []byte, found bool, err error) {
	start := time.Now()
	k := makeEntryKey(part, key)
	val, found, err = s.get(k[:], dst)
	s.metrics.Reads.Inc()
	s.metrics.ReadSeconds.Observe(time.Since(start).Seconds())
	return val, found, err
}

// Meta returns a value that belongs to no partition.
func (s *Store) Meta(name string) ([]byte, bool, error) { return s.get(metaKey(name), nil) }

// Checkpoint returns the position up to which the partition's entries, as Get sees them, are complete.
func (s *Store) Checkpoint(part uint64) (Checkpoint, bool, error) {
	k := makePartKey(spaceCheckpoint, part)
	v, found, err := s.get(k[:], nil)
	if err != nil || !found {
		return Checkpoint{}, false, err
	}
	c, err := decodeCheckpoint(v)
	return c, err == nil, err
}

// FlushedCheckpoint returns the checkpoint that a power loss now would leave. It is read from the tables, so it costs a
// seek and no memory.
func (s *Store) FlushedCheckpoint(part uint64) (c Checkpoint, found bool, err error) {
	k := makePartKey(spaceCheckpoint, part)
	opts := &pebble.IterOptions{
		LowerBound: k[:], UpperBound: partEnd(spaceCheckpoint, part), OnlyReadGuaranteedDurable: true,
	}
	err = s.iterate(opts, func(it *pebble.Iterator) error {
		if !it.First() {
			return nil
		}
		found = true
		c, err = decodeCheckpoint(it.Value())
		return err
	})
	// A dead store takes for durable what it only tried to sync.
	err = errors.Join(err, s.guard.err())
	return c, found && err == nil, err
}

// iterate runs fn on an iterator and reports the iterator's own error if fn has none.
func (s *Store) iterate(opts *pebble.IterOptions, fn func(it *pebble.Iterator) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(opts)
	if err != nil {
		return s.readError(err)
	}
	defer func() {
		itErr := it.Error()
		if closeErr := it.Close(); itErr == nil {
			itErr = closeErr
		}
		if err == nil && itErr != nil {
			err = s.readError(itErr)
		}
	}()
	return fn(it)
}

func entryBounds(part uint64) *pebble.IterOptions {
	from := makePartKey(spaceEntry, part)
	return &pebble.IterOptions{LowerBound: from[:], UpperBound: partEnd(spaceEntry, part)}
}

// MaxKey returns the highest key of a partition that is at most notAbove, with one seek.
func (s *Store) MaxKey(part uint64, notAbove int64) (key int64, found bool, err error) {
	err = s.iterate(entryBounds(part), func(it *pebble.Iterator) error {
		if notAbove == math.MaxInt64 {
			found = it.Last()
		} else {
			k := makeEntryKey(part, notAbove+1)
			found = it.SeekLT(k[:])
		}
		if !found {
			return nil
		}
		_, key, err = decodeEntryKey(it.Key())
		return err
	})
	return key, found && err == nil, err
}

// Scan visits at most limit entries of a partition in key order, from fromKey on. If there are more, next is the key to go on
// from. val is valid during the call of fn only; an error of fn ends the scan and is returned.
func (s *Store) Scan(part uint64, fromKey int64, limit int, fn func(key int64, val []byte) error) (next int64, more bool, err error) {
	err = s.iterate(entryBounds(part), func(it *pebble.Iterator) error {
		k := makeEntryKey(part, fromKey)
		n := 0
		for ok := it.SeekGE(k[:]); ok; ok = it.Next() {
			_, key, err := decodeEntryKey(it.Key())
			if err != nil {
				return err
			}
			if n == limit {
				next, more = key, true
				return nil
			}
			val, err := it.ValueAndErr()
			if err != nil {
				return s.readError(err)
			}
			if err := fn(key, val); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return next, more && err == nil, err
}

// Partitions visits the number of every partition that has entries or a checkpoint, ascending. It costs a seek for each
// partition, however many entries there are; fn may use the store.
func (s *Store) Partitions(fn func(part uint64) error) error {
	for from := uint64(0); ; {
		part, found, err := s.nextPartition(from)
		if err != nil || !found {
			return err
		}
		if err := fn(part); err != nil {
			return err
		}
		if part == math.MaxUint64 {
			return nil
		}
		from = part + 1
	}
}

// nextPartition returns the lowest number at or above from in any space.
func (s *Store) nextPartition(from uint64) (part uint64, found bool, err error) {
	for _, space := range []byte{spaceCheckpoint, spaceEntry, spaceBytes} {
		lower := makePartKey(space, from)
		opts := &pebble.IterOptions{LowerBound: lower[:], UpperBound: []byte{space + 1}}
		err = s.iterate(opts, func(it *pebble.Iterator) error {
			if !it.First() {
				return nil
			}
			p, err := decodePart(it.Key())
			if err == nil && (!found || p < part) {
				part, found = p, true
			}
			return err
		})
		if err != nil {
			return 0, false, err
		}
	}
	return part, found, nil
}

// EntriesEstimate returns about how many entries the tables hold: overwritten and deleted ones count until compaction
// has dropped them, and those not yet flushed do not. It reads the tables' properties when they have changed.
func (s *Store) EntriesEstimate() (int64, error) {
	s.entries.Lock()
	defer s.entries.Unlock()
	tables := s.tables.Load()
	if s.entries.known && s.entries.tables == tables {
		return s.entries.estimate, nil
	}
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0, s.readError(err)
	}
	var n int64
	for _, t := range slices.Concat(levels...) {
		if t.Properties != nil {
			n += int64(t.Properties.NumEntries) - 2*int64(t.Properties.NumDeletions)
		}
	}
	s.entries.known, s.entries.tables, s.entries.estimate = true, tables, max(0, n)
	s.metrics.Entries.Set(float64(s.entries.estimate))
	return s.entries.estimate, nil
}

// DiskBytes returns the size of the store's files.
func (s *Store) DiskBytes() int64 {
	if s.enter() != nil {
		return 0
	}
	defer s.leave()
	n := int64(s.db.Metrics().DiskSpaceUsage())
	s.metrics.DiskBytes.Set(float64(n))
	return n
}
