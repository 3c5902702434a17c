package pidstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/coldstate"
)

const (
	// flushLogBytes is how much log may lie behind the flushed checkpoints: what a
	// recovery has to read.
	flushLogBytes = 256 << 20
	// flushAgeMax is how old unflushed entries get.
	flushAgeMax = 60 * time.Second
	// behindBytesMax and behindAgeMax bound how far a log that does not sync by
	// itself gets ahead of what may be applied.
	behindBytesMax = 16 << 20
	behindAgeMax   = time.Second
	// trimWaitMax bounds how long BeforeTrim waits for a log to become durable.
	trimWaitMax = 30 * time.Second
)

// keeper asks for what the applier depends on: fsyncs of logs that do not sync by
// themselves, and flushes of the cold store.
type keeper struct {
	s      *Store
	nudged chan struct{} // look now
	arm    chan struct{} // appends are queued: look again soon
	armed  atomic.Bool
	kicked chan struct{} // flush now
	quit   chan struct{}
	wg     sync.WaitGroup

	flushing  sync.Mutex   // one flush at a time
	flushed   signal       // after every flush
	logBytes  atomic.Int64 // logged since the last flush
	dirtyFrom atomic.Int64 // Unix nanoseconds of the first commit that is not flushed; 0: none

	mu struct {
		sync.Mutex
		flushErr error // of the last flush
	}
}

func newKeeper(s *Store) *keeper {
	return &keeper{
		s:      s,
		nudged: make(chan struct{}, 1),
		arm:    make(chan struct{}, 1),
		kicked: make(chan struct{}, 1),
		quit:   make(chan struct{}),
	}
}

func (k *keeper) start() {
	k.wg.Go(k.watchBehind)
	k.wg.Go(k.flushDue)
}

func (k *keeper) stop() {
	close(k.quit)
	k.wg.Wait()
}

// signalOne leaves one signal in a channel that has room for one.
func signalOne(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// nudge makes the keeper look at once whether a log should sync.
func (k *keeper) nudge() { signalOne(k.nudged) }

// logged counts log that is durable, for the next flush.
func (k *keeper) logged(bytes int64) {
	if n := k.logBytes.Add(bytes); n >= flushLogBytes && n-bytes < flushLogBytes {
		signalOne(k.kicked)
	}
}

// unflushed notes that the cold store holds something that is not durable.
func (k *keeper) unflushed() {
	if k.dirtyFrom.Load() == 0 {
		k.dirtyFrom.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// lag returns how long something has been waiting for a flush.
func (k *keeper) lag() time.Duration {
	from := k.dirtyFrom.Load()
	if from == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, from)), 0)
}

// startPending puts a partition on the list of those with queued appends.
func (s *Store) startPending(p *Partition) {
	p.pendingSince.Store(time.Now().UnixNano())
	s.pending.Lock()
	p.pendingPrev, p.pendingNext = nil, s.pending.head
	if s.pending.head != nil {
		s.pending.head.pendingPrev = p
	}
	s.pending.head = p
	s.pending.Unlock()
	if s.keeper.armed.CompareAndSwap(false, true) {
		signalOne(s.keeper.arm)
	}
}

// endPending takes it off the list.
func (s *Store) endPending(p *Partition) {
	s.pending.Lock()
	defer s.pending.Unlock()
	if p.pendingPrev != nil {
		p.pendingPrev.pendingNext = p.pendingNext
	} else {
		s.pending.head = p.pendingNext
	}
	if p.pendingNext != nil {
		p.pendingNext.pendingPrev = p.pendingPrev
	}
	p.pendingPrev, p.pendingNext = nil, nil
}

// watchBehind asks logs for an fsync when their appends keep the overlay full, or
// are too much log or too old to be left to the log's own rhythm.
func (k *keeper) watchBehind() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-k.nudged:
			k.askBehind()
		case <-k.arm:
			timer.Reset(behindAgeMax / 2)
		case <-timer.C:
			k.armed.Store(false)
			if k.askBehind() && k.armed.CompareAndSwap(false, true) {
				timer.Reset(behindAgeMax / 2)
			}
		}
	}
}

// askBehind asks once per need: again only after the applier has seen the log move.
func (k *keeper) askBehind() (pending bool) {
	var ask []uint64
	now, half := time.Now().UnixNano(), k.s.slab.aboveHalf()
	k.s.pending.Lock()
	for p := k.s.pending.head; p != nil; p = p.pendingNext {
		pending = true
		due := half || p.pendingBytes.Load() >= behindBytesMax || now-p.pendingSince.Load() >= int64(behindAgeMax)
		if due && p.syncAsked.CompareAndSwap(false, true) {
			ask = append(ask, p.num)
		}
	}
	k.s.pending.Unlock()
	for _, num := range ask {
		k.s.syncLog(num)
	}
	return pending
}

func (s *Store) syncLog(num uint64) {
	if s.o.SyncLog != nil {
		s.o.SyncLog(num)
	}
}

func (k *keeper) flushDue() {
	ticker := time.NewTicker(flushAgeMax)
	defer ticker.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-ticker.C:
		case <-k.kicked:
		}
		err := k.flush()
		if err != nil && k.s.failed() == nil {
			// Nothing is lost: the log holds it, and the next flush includes it.
			k.s.logger.Warn("producer state could not be flushed", "error", err)
		}
		k.mu.Lock()
		k.mu.flushErr = err
		k.mu.Unlock()
		k.flushed.notify()
	}
}

// flush makes the checkpoints of all that is applied durable. On a full disk it may take
// as long as the disk is full, so nobody but flushDue waits for it without a limit.
func (k *keeper) flush() error {
	k.flushing.Lock()
	defer k.flushing.Unlock()
	k.logBytes.Store(0)
	if err := k.s.applier.do(k.s.applier.writeLazy); err != nil {
		return err
	}
	from := k.dirtyFrom.Swap(0)
	if from == 0 {
		return nil
	}
	if err := k.s.cold.Flush(); err != nil {
		k.dirtyFrom.Store(from)
		return err
	}
	return nil
}

// BeforeTrim returns when the producers of everything below newStart are durable in
// the cold store, so that the log may be trimmed up to there.
func (p *Partition) BeforeTrim(newStart int64) error {
	s := p.s
	deadline := time.NewTimer(trimWaitMax)
	defer deadline.Stop()
	for asked := false; ; {
		if done, err := p.flushedTo(newStart); done || err != nil {
			return err
		}
		progress := s.applier.progress.wait()
		written, ready := p.urge(newStart)
		if written >= newStart {
			return p.flushBeforeTrim(newStart, deadline.C)
		}
		if ready < newStart && !asked {
			asked = true
			s.syncLog(p.num)
		}
		select {
		case <-progress:
		case <-deadline.C:
			return fmt.Errorf("partition %d: %w: durable up to %d, want %d", p.num, ErrTrimTimeout, ready, newStart)
		case <-s.fatal.ch:
			return s.failed()
		}
	}
}

// flushBeforeTrim returns when a checkpoint that is in the cold store is durable there.
func (p *Partition) flushBeforeTrim(newStart int64, deadline <-chan time.Time) error {
	k := p.s.keeper
	// The first flush to end may have begun before the checkpoint was there.
	for range 2 {
		flushed := k.flushed.wait()
		signalOne(k.kicked)
		select {
		case <-flushed:
		case <-deadline:
			return fmt.Errorf("partition %d: %w: the producer state could not be flushed", p.num, ErrTrimTimeout)
		case <-p.s.fatal.ch:
			return p.s.failed()
		}
		if done, err := p.flushedTo(newStart); done || err != nil {
			return err
		}
		k.mu.Lock()
		err := k.mu.flushErr
		k.mu.Unlock()
		if err != nil {
			return fmt.Errorf("partition %d: flush before trim: %w", p.num, err)
		}
	}
	return fmt.Errorf("partition %d: a checkpoint at or behind %d was flushed and is not there: %w", p.num, newStart, coldstate.ErrCorrupt)
}

func (p *Partition) flushedTo(offset int64) (bool, error) {
	if offset <= 0 {
		return true, nil
	}
	c, found, err := p.s.cold.FlushedCheckpoint(p.num)
	switch {
	case err != nil:
		return false, err
	case found && c.Offset >= offset:
		return true, nil
	case p.dropped.Load():
		return false, fmt.Errorf("partition %d: %w", p.num, ErrDropped)
	case !p.loaded.Load():
		return false, fmt.Errorf("partition %d: %w: checkpoint at %d, want %d", p.num, ErrNotLoaded, c.Offset, offset)
	}
	return false, nil
}

// urge has the applier write a checkpoint as soon as the log is durable up to offset.
func (p *Partition) urge(offset int64) (written, ready int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.written < offset {
		p.mu.urgent = true
		if p.mu.ready.Offset >= offset {
			p.queueLocked()
		}
	}
	return p.mu.written, p.mu.ready.Offset
}

// signal tells everybody who waits that something has happened.
type signal struct {
	mu struct {
		sync.Mutex
		ch chan struct{}
	}
}

// wait returns a channel that closes with the next notify. Take it before looking at
// what one waits for.
func (g *signal) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.ch == nil {
		g.mu.ch = make(chan struct{})
	}
	return g.mu.ch
}

func (g *signal) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.ch != nil {
		close(g.mu.ch)
		g.mu.ch = nil
	}
}
