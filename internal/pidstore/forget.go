package pidstore

import (
	"fmt"
	"sync"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

const (
	// SweepInterval is how often Sweep is to be called.
	SweepInterval = 10 * time.Second
	// sweepKeysMax bounds how many entries one Sweep reads: about 1 % of a core.
	sweepKeysMax = 1 << 16
	// sweepChunk bounds how many entries one read of the cold store visits.
	sweepChunk = 1024
	// rescanFraction of the expiration passes at least between two scans of a
	// partition, so that a log whose start moves all the time is not scanned all the time.
	rescanFraction = 16
)

// sweepState is where the one cursor of forgetting stands.
type sweepState struct {
	sync.Mutex
	last    time.Time // when the age last moved
	cursor  uint32    // index of the partition
	running bool      // the partition's scan has begun
	next    int64     // key from which it goes on
	start   int64     // the log start it was begun with
	waiting bool      // it has met entries without data that are too young
}

// Sweep moves the broker age on and takes one step of forgetting. It reads at most
// sweepKeysMax entries. An error stays within: what could not be read is not forgotten.
func (s *Store) Sweep(now time.Time) {
	s.sweep.Lock()
	defer s.sweep.Unlock()
	s.advanceAgeLocked(now)
	s.metrics.EntriesHot.Set(float64(s.hot.Load()))
	s.metrics.EntriesOverlay.Set(float64(s.overlay.Load()))
	s.metrics.CheckpointAgeSeconds.Set(s.keeper.lag().Seconds())
	if n, err := s.cold.EntriesEstimate(); err == nil {
		s.metrics.EntriesCold.Set(float64(n))
	}
	if err := s.forgetStepLocked(sweepKeysMax); err != nil && s.failed() == nil {
		s.logger.Warn("forgetting expired producers failed", "error", err)
	}
}

// advanceAgeLocked moves the age by the time since the last sweep, at most by two
// intervals: no jump of a clock, and no time that the machine slept, forgets anything.
func (s *Store) advanceAgeLocked(now time.Time) {
	if s.sweep.last.IsZero() || now.Before(s.sweep.last) {
		s.sweep.last = now
		return
	}
	passed := now.Sub(s.sweep.last)
	if passed > 2*SweepInterval {
		passed, s.sweep.last = 2*SweepInterval, now
	} else {
		s.sweep.last = s.sweep.last.Add(passed.Truncate(time.Second))
	}
	age := s.age.Add(uint32(passed / time.Second))
	s.ids.raiseAge(age)
}

// forgetStepLocked goes on where the last step ended, over the partitions that may
// have something to forget.
func (s *Store) forgetStepLocked(keysMax int) error {
	parts := *s.parts.Load()
	for visited := 0; visited <= len(parts) && keysMax > 0; {
		if int(s.sweep.cursor) >= len(parts) {
			s.sweep.cursor, s.sweep.running = 0, false
			visited++
			continue
		}
		p := parts[s.sweep.cursor].Load()
		if p == nil || !p.loaded.Load() || !(s.sweep.running || p.mayForgetLocked(s.Age())) {
			s.sweep.cursor++
			s.sweep.running = false
			visited++
			continue
		}
		keys, done, err := s.forgetInLocked(p, min(keysMax, sweepChunk))
		if err != nil {
			s.sweep.cursor++
			s.sweep.running = false
			return err
		}
		keysMax -= max(keys, 1)
		if done {
			s.sweep.cursor++
			s.sweep.running = false
			visited++
		}
	}
	return nil
}

func (p *Partition) mayForgetLocked(age uint32) bool {
	start := p.logStart.Load()
	return start > 0 && age >= p.scanAfter && (start > p.scannedStart || p.scanAgain)
}

// forgetInLocked scans one chunk of a partition.
func (s *Store) forgetInLocked(p *Partition, limit int) (keys int, done bool, err error) {
	w := &s.sweep
	if !w.running {
		w.running, w.next, w.waiting, w.start = true, 0, false, p.logStart.Load()
	}
	age := s.Age()
	var expired []int64
	next, more, err := s.cold.Scan(p.num, w.next, limit, func(pid int64, val []byte) error {
		keys++
		var e producer.Entry
		if err := producer.Decode(val, &e); err != nil {
			return fmt.Errorf("partition %d, producer %d: %w", p.num, pid, err)
		}
		switch {
		case !dataGone(&e, w.start):
		case s.idle(&e, age):
			expired = append(expired, pid)
		default:
			w.waiting = true
		}
		return nil
	})
	if err != nil {
		return keys, false, err
	}
	if err := s.forget(p, expired, w.start); err != nil {
		return keys, false, err
	}
	if more {
		w.next = next
		return keys, false, nil
	}
	p.scannedStart, p.scanAgain = w.start, w.waiting
	p.scanAfter = age + s.expirationSeconds/rescanFraction
	return keys, true, nil
}

func dataGone(e *producer.Entry, logStart int64) bool {
	last, ok := e.Last()
	return !ok || last.LastOffset < logStart
}

func (s *Store) idle(e *producer.Entry, age uint32) bool {
	return age >= e.LastSeen && age-e.LastSeen >= s.expirationSeconds
}

// forget removes entries that looked expired. The applier does it, so that no entry
// is written between the last look and the removal.
func (s *Store) forget(p *Partition, pids []int64, logStart int64) error {
	for len(pids) > 0 {
		n := min(len(pids), s.applier.chunk)
		chunk := pids[:n]
		pids = pids[n:]
		err := s.applier.do(func(b *coldstate.Batch) error { return s.forgetChunk(p, b, chunk, logStart) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) forgetChunk(p *Partition, b *coldstate.Batch, pids []int64, logStart int64) error {
	if p.dropped.Load() {
		return nil
	}
	var buf []byte
	gone := pids[:0]
	for _, pid := range pids {
		if s.inOverlay(p, pid) {
			continue
		}
		val, found, err := s.cold.Get(p.num, pid, buf[:0])
		if err != nil {
			return err
		}
		buf = val
		var e producer.Entry
		if !found {
			continue
		}
		if err := producer.Decode(val, &e); err != nil {
			return err
		}
		if dataGone(&e, logStart) && s.idle(&e, s.Age()) {
			b.Delete(p.num, pid)
			gone = append(gone, pid)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := s.applier.commitBatch(b); err != nil {
		return err
	}
	for _, pid := range gone {
		s.removeFromMemory(p, pid)
	}
	s.forgot.Add(int64(len(gone)))
	s.metrics.Forgotten.Add(float64(len(gone)))
	return nil
}

func (s *Store) inOverlay(p *Partition, pid int64) bool {
	hash := s.hash(p.index, pid)
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.findNodeLocked(s.slab, p.index, pid, hash) != 0
}

// removeFromMemory follows a removal from the cold store. A pin that came in the
// meantime may use the old entry; without an append it must not become hot again.
func (s *Store) removeFromMemory(p *Partition, pid int64) {
	hash := s.hash(p.index, pid)
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.dropHotLocked(p.index, pid, hash) {
		s.hot.Add(-1)
	}
	if r := sh.findNodeLocked(s.slab, p.index, pid, hash); r != 0 {
		if n := s.slab.node(r); n.pending == 0 {
			n.forgotten = true
		}
	}
}
