package pidstore

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// Partition is the producer state of one partition. It costs about 200 bytes.
type Partition struct {
	s          *Store
	num        uint64
	createdPID int64
	index      uint32 // in Store.parts

	// No key of ours above coldMax and below foreignMin has left memory.
	coldMax    atomic.Int64
	foreignMin atomic.Int64
	logStart   atomic.Int64
	loaded     atomic.Bool
	dropped    atomic.Bool // set under mu

	// What the keeper reads without the lock.
	pendingBytes atomic.Int64 // of queued appends, where their sizes are known
	pendingSince atomic.Int64 // when the oldest was queued or the last ones left, Unix nanoseconds
	syncAsked    atomic.Bool  // the log was asked for an fsync that has not come yet

	mu struct {
		sync.Mutex
		head, tail ref // queue of appends that are not in the cold store, by offset
		appending  uint32
		held       bool // latest waits for appending == 0
		urgent     bool // BeforeTrim waits for a checkpoint
		latest     coldstate.Checkpoint
		ready      coldstate.Checkpoint // all appends below it are in the queue
		written    int64                // offset of the checkpoint in the cold store
		replay     *replay              // while loading
	}

	// Links of intrusive lists; each guarded by its list.
	pendingPrev, pendingNext *Partition
	queueNext                *Partition
	queued                   bool // in Store.queue
	lazyNext                 *Partition
	lazy                     bool // applier's: its checkpoint is to be written before the next flush

	// Guarded by Store.sweep.mu.
	scannedStart int64
	scanAfter    uint32 // age before which a scan finds nothing to forget
	scanAgain    bool   // the last scan left entries that wait for their age
}

const noForeign = math.MaxInt64

// Pin holds an entry in memory and room for one append. The zero Pin holds nothing.
type Pin struct {
	// Bytes is the size of the batch, if the caller knows it, for the decision when
	// a log that does not sync by itself should. Set it before Applied.
	Bytes int32

	node  ref
	slot  ref
	state pinState
}

type pinState uint8

const (
	pinNone pinState = iota
	pinHeld
	pinAppending // Check said append
	pinApplied   // node and slot are the append's
)

// Num returns the partition's internal number.
func (p *Partition) Num() uint64 { return p.num }

// Lookup pins the entry of a producer, so that Check reads nothing. It makes at most
// one read, none for a producer in memory or a new id of ours, and waits while too
// many appends are in flight. Call it outside the partition's lock and with no other
// Pin held: whoever waits must not hold what others wait for.
func (p *Partition) Lookup(ctx context.Context, pid int64) (Pin, error) {
	if err := p.usable(pid); err != nil {
		return Pin{}, err
	}
	s := p.s
	if pid >= s.ids.Issued() {
		if err := s.ids.Raise(pid); err != nil {
			return Pin{}, err
		}
	}
	if err := p.passForeign(pid); err != nil {
		return Pin{}, err
	}
	slot, err := s.slab.acquire(ctx)
	if err != nil {
		return Pin{}, err
	}
	pin := Pin{slot: slot, state: pinHeld}
	hash := s.hash(p.index, pid)
	sh := s.shard(hash)
	sh.mu.Lock()
	pin.node = sh.findNodeLocked(s.slab, p.index, pid, hash)
	if pin.node == 0 {
		pin.node = p.newNodeLocked(sh, pid, hash)
	} else if s.slab.node(pin.node).state != loading {
		s.metrics.LookupHot.Inc()
	}
	n := s.slab.node(pin.node)
	n.pins++
	read := n.state == loading
	sh.mu.Unlock()
	if !read {
		return pin, nil
	}
	if err := p.readCold(n, sh); err != nil {
		p.Release(&pin)
		return Pin{}, err
	}
	return pin, nil
}

func (p *Partition) usable(pid int64) error {
	switch {
	case p.dropped.Load():
		return fmt.Errorf("partition %d: %w", p.num, ErrDropped)
	case !p.loaded.Load():
		return fmt.Errorf("partition %d: %w", p.num, ErrNotLoaded)
	case pid < 0 || pid > pidMax:
		return fmt.Errorf("partition %d: %w: got %d", p.num, ErrInvalidPID, pid)
	}
	return nil
}

// newNodeLocked brings a key into the overlay that is not there.
func (p *Partition) newNodeLocked(sh *shard, pid int64, hash uint64) ref {
	s := p.s
	r := s.slab.newNode()
	n := s.slab.node(r)
	n.pid, n.part, n.hash = pid, p.index, hash
	n.pins, n.pending, n.heat = 0, 0, 0
	n.forgotten, n.baseKnown, n.inBatch = false, false, false
	if heat, ok := sh.takeHotLocked(p.index, pid, hash, &n.ahead); ok {
		n.state, n.heat = known, min(heat+1, heatMax)
		s.metrics.LookupHot.Inc()
		s.hot.Add(-1)
	} else if p.isNew(pid) {
		n.state = absent
		s.metrics.LookupNew.Inc()
	} else {
		n.state = loading
	}
	sh.linkNodeLocked(s.slab, r)
	s.overlay.Add(1)
	return r
}

// isNew says whether an id that is not in memory is provably unknown. foreignMin is
// read first: passForeign raises coldMax before it.
func (p *Partition) isNew(pid int64) bool {
	foreignMin := p.foreignMin.Load()
	return pid > p.coldMax.Load() && pid < foreignMin && pid >= p.s.ids.First() && pid < p.s.ids.Limit()
}

// readCold reads the entry of a node that is loading. Several may do so at once.
func (p *Partition) readCold(n *node, sh *shard) error {
	var e producer.Entry
	found, err := getEntry(p.s.cold, p.num, n.pid, &e)
	if err != nil {
		return err
	}
	if found {
		p.s.metrics.LookupColdHit.Inc()
	} else {
		p.s.metrics.LookupColdMiss.Inc()
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n.state != loading {
		return nil // another reader was faster
	}
	n.state = absent
	if found {
		n.ahead, n.state = e, known
	}
	return nil
}

// Check judges a batch by everything appended before it. It reads nothing from disk.
// Call it under the lock that serialises the partition's appends. ErrRetryLookup
// asks the caller to drop the lock and look up again.
func (p *Partition) Check(pin *Pin, in producer.Incoming) (producer.Verdict, producer.Stored, error) {
	if pin.state == pinApplied {
		return producer.Append, producer.Stored{}, ErrRetryLookup
	}
	if pin.state == pinNone {
		panic("BUG: Check without a pin")
	}
	verdict, original, err := p.judge(pin, in)
	if err != nil || verdict != producer.Append {
		if verdict == producer.Duplicate || isDuplicate(err) {
			p.s.metrics.Duplicates.Inc()
		}
		return verdict, original, err
	}
	if pin.state == pinHeld {
		p.mu.Lock()
		p.mu.appending++
		p.mu.Unlock()
		pin.state = pinAppending
	}
	return verdict, original, nil
}

func (p *Partition) judge(pin *Pin, in producer.Incoming) (producer.Verdict, producer.Stored, error) {
	n := p.s.slab.node(pin.node)
	sh := p.s.shard(n.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch n.state {
	case known:
		return producer.Check(&n.ahead, in, false)
	case absent:
		recent := in.BaseSequence != 0 && p.s.ids.RecentlyIssued(n.pid, p.createdPID, p.s.Age(), p.s.expirationSeconds)
		return producer.Check(nil, in, recent)
	}
	panic("BUG: Check of an entry that is being read")
}

// Applied remembers a batch that was written to the log after Check said append.
// Call it under the same hold of the partition's lock.
func (p *Partition) Applied(pin *Pin, in producer.Incoming, stored producer.Stored) {
	if pin.state != pinAppending {
		panic("BUG: Applied without Check")
	}
	s, age := p.s, p.s.Age()
	n := s.slab.node(pin.node)
	sh := s.shard(n.hash)
	sh.mu.Lock()
	if n.pending == 0 {
		n.base, n.baseKnown = n.ahead, n.state == known
	}
	if n.state != known {
		n.ahead, n.state = producer.Entry{Epoch: in.Epoch}, known
	}
	n.ahead.Apply(in, stored, age)
	n.forgotten = false
	n.pending++
	n.pins-- // the append holds the node now, as it holds the slot: there are as many of both
	sh.mu.Unlock()

	*s.slab.slot(pin.slot) = slot{stored: stored, node: pin.node, bytes: pin.Bytes, age: age, epoch: in.Epoch}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped.Load() {
		// Nothing of a deleted partition is written; Release gives slot and node back.
		sh.mu.Lock()
		n.pending--
		n.pins++
		sh.mu.Unlock()
		pin.state = pinHeld
		p.doneAppendingLocked()
		return
	}
	p.pushLocked(pin.slot)
	pin.state = pinApplied
	p.doneAppendingLocked()
}

func (p *Partition) pushLocked(r ref) {
	if p.mu.tail == 0 {
		p.mu.head = r
		p.s.startPending(p)
	} else {
		p.s.slab.slot(p.mu.tail).next = r
	}
	p.mu.tail = r
	behind := p.pendingBytes.Add(int64(p.s.slab.slot(r).bytes))
	if !p.syncAsked.Load() && (behind >= behindBytesMax || p.s.slab.aboveHalf()) {
		p.s.keeper.nudge()
	}
}

// doneAppendingLocked ends an append; a position that was held back for it counts now.
func (p *Partition) doneAppendingLocked() {
	p.mu.appending--
	if p.mu.appending == 0 && p.mu.held {
		p.readyLocked()
	}
}

// Release gives the pin back. Call it once for every successful Lookup.
func (p *Partition) Release(pin *Pin) {
	if pin.state == pinNone || pin.state == pinApplied {
		*pin = Pin{}
		return
	}
	if pin.state == pinAppending { // the append failed
		p.mu.Lock()
		p.doneAppendingLocked()
		p.mu.Unlock()
	}
	s := p.s
	n := s.slab.node(pin.node)
	sh := s.shard(n.hash)
	sh.mu.Lock()
	n.pins--
	unused := s.retireLocked(sh, pin.node)
	sh.mu.Unlock()
	if unused {
		s.slab.releaseNodes(pin.node)
	}
	s.slab.releaseSlots(pin.slot)
	*pin = Pin{}
}

// retireLocked moves an entry that nobody uses any more out of the overlay: to the hot
// table if it is in the cold store. It reports whether the node is free.
func (s *Store) retireLocked(sh *shard, r ref) bool {
	n := s.slab.node(r)
	if n.pins > 0 || n.pending > 0 {
		return false
	}
	sh.unlinkNodeLocked(s.slab, r)
	s.overlay.Add(-1)
	if n.state == known && !n.forgotten && s.partition(n.part) != nil {
		s.putHotLocked(sh, n)
	}
	return true
}

// Durable says that the log is durable up to c. It never blocks.
func (p *Partition) Durable(c coldstate.Checkpoint) {
	p.mu.Lock()
	bytes := c.Position
	if c.SegmentBase == p.mu.latest.SegmentBase {
		bytes -= p.mu.latest.Position
	}
	p.mu.latest = c
	if p.mu.appending > 0 {
		p.mu.held = true
	} else {
		p.readyLocked()
	}
	p.mu.Unlock()
	p.s.keeper.logged(max(bytes, 0))
}

func (p *Partition) readyLocked() {
	p.mu.held = false
	p.mu.ready = p.mu.latest
	p.queueLocked()
}

func (p *Partition) queueLocked() {
	if p.loaded.Load() {
		p.s.enqueue(p, p.mu.urgent || p.pendingBytes.Load() >= applyBytes)
	}
}

// LogStartMoved says that the log durably begins at start: entries whose data is
// gone may be forgotten once they are old enough.
func (p *Partition) LogStartMoved(start int64) {
	for {
		old := p.logStart.Load()
		if start <= old || p.logStart.CompareAndSwap(old, start) {
			return
		}
	}
}
