package pidstore

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

const (
	// chunkMax bounds how many entries and checkpoints go into one cold batch.
	chunkMax = 256
	// applyWait is how long a partition is in the queue before it is looked at, where nobody needs that at once: what a producer has
	// appended meanwhile is one entry. Nothing that is applied counts before the next flush, which applies all.
	applyWait = 50 * time.Millisecond
	// applyBytes are needed at once too: of much more the keeper would think that the log does not sync.
	applyBytes = behindBytesMax / 4
	// applyShare: with more than one in so many of the slots in use they are needed.
	applyShare = 16
	// entryBatchBytes is about what one entry takes in a cold batch.
	entryBatchBytes = producer.EncodedBytesMax + 96
)

// applier writes what is durable in the logs to the cold store, on one goroutine.
//
// A pass pops the durable appends of the queued partitions, folds them on the base
// of their nodes and commits one entry per producer together with the checkpoints
// of the partitions that are complete. Only when the batch is in the store are the
// appends finished and may their nodes leave the overlay. A partition without
// appends of producers moves its checkpoint just before the next flush: an unflushed
// checkpoint is worth nothing.
type applier struct {
	s     *Store
	batch *coldstate.Batch
	chunk int // entries and checkpoints of one batch

	wake  chan struct{}
	later *time.Timer // sends to wake
	armed atomic.Bool // later is set, and has not sent yet
	ops   chan applierOp
	quit  chan struct{}
	done  chan struct{}

	// Of the batch that is being built.
	slots       []ref // appends that are finished by it
	nodes       []ref // whose base is written
	checkpoints []writtenCheckpoint
	unused      []ref // nodes that are free when the batch is finished
	encoded     []byte
	writtenAge  uint32

	lazyHead *Partition // partitions whose checkpoint is due before the next flush
	progress signal     // after every commit
}

type applierOp struct {
	run  func(*coldstate.Batch) error
	done chan error
}

type writtenCheckpoint struct {
	p *Partition
	c coldstate.Checkpoint
}

func newApplier(s *Store) *applier {
	a := &applier{
		s:     s,
		batch: s.cold.NewBatch(),
		chunk: batchChunk(s.cold),
		wake:  make(chan struct{}, 1),
		ops:   make(chan applierOp),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	a.later = time.AfterFunc(applyWait, func() {
		a.armed.Store(false)
		signalOne(a.wake)
	})
	return a
}

// batchChunk is how many entries make one batch of a cold store.
func batchChunk(cold *coldstate.Store) int {
	return int(min(max(cold.BatchBytesMax()/entryBatchBytes, 8), chunkMax))
}

func (a *applier) start() { go a.run() }

func (a *applier) stop() {
	close(a.quit)
	<-a.done
}

func (a *applier) run() {
	defer close(a.done)
	defer a.batch.Close()
	defer a.later.Stop()
	for {
		select {
		case <-a.quit:
			return
		case <-a.wake:
			_ = a.drain() // SetOffline has told everybody
		case op := <-a.ops:
			err := a.drain()
			if err == nil {
				err = op.run(a.batch)
			}
			a.batch.Reset()
			op.done <- err
		}
	}
}

// do runs fn on the applier's goroutine with an empty batch, after all that is
// durable by then has been applied.
func (a *applier) do(fn func(*coldstate.Batch) error) error {
	op := applierOp{fn, make(chan error, 1)}
	select {
	case a.ops <- op:
	case <-a.done:
		return ErrClosed
	}
	select {
	case err := <-op.done:
		return err
	case <-a.done:
		return ErrClosed
	}
}

// enqueue puts a partition into the applier's queue, unless it is there. What the
// partition is ready for must be visible before. now says that somebody waits for it.
func (s *Store) enqueue(p *Partition, now bool) {
	s.queue.Lock()
	if !p.queued {
		p.queued = true
		if s.queue.tail == nil {
			s.queue.head = p
		} else {
			s.queue.tail.queueNext = p
		}
		s.queue.tail = p
	}
	s.queue.Unlock()
	a := s.applier
	if now || s.slab.used.Load() > int64(len(s.slab.slots)/applyShare) {
		signalOne(a.wake)
	} else if !a.armed.Load() && a.armed.CompareAndSwap(false, true) {
		a.later.Reset(applyWait)
	}
}

// dequeue takes the partition that waits longest.
func (s *Store) dequeue() *Partition {
	s.queue.Lock()
	defer s.queue.Unlock()
	p := s.queue.head
	if p == nil {
		return nil
	}
	s.queue.head, p.queueNext, p.queued = p.queueNext, nil, false
	if s.queue.head == nil {
		s.queue.tail = nil
	}
	return p
}

// drain applies all that the queue holds.
func (a *applier) drain() error {
	if err := a.s.failed(); err != nil {
		return err
	}
	for p := a.s.dequeue(); p != nil; p = a.s.dequeue() {
		if err := a.apply(p); err != nil {
			return err
		}
	}
	return a.commit()
}

// apply takes over one partition's durable appends and its checkpoint.
func (a *applier) apply(p *Partition) error {
	for touched := false; ; {
		popped, target, more, urgent := a.pop(p)
		a.fold(popped)
		touched = touched || len(popped) > 0
		if !more {
			a.checkpoint(p, target, touched || urgent)
			break
		}
		if err := a.commit(); err != nil {
			return err
		}
	}
	if len(a.nodes)+len(a.checkpoints) >= a.chunk || len(a.slots) >= a.chunk {
		return a.commit()
	}
	return nil
}

// pop takes durable appends from the partition's queue, as many as the batch has
// room for. Without more, all appends below target are taken.
func (a *applier) pop(p *Partition) (popped []ref, target coldstate.Checkpoint, more, urgent bool) {
	first := len(a.slots)
	bytes := int64(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	target = p.mu.ready
	slab := a.s.slab
	for p.mu.head != 0 && slab.slot(p.mu.head).stored.LastOffset < target.Offset {
		if len(a.slots) >= a.chunk {
			more = true
			break
		}
		st := slab.slot(p.mu.head)
		a.slots = append(a.slots, p.mu.head)
		p.mu.head = st.next
		bytes += int64(st.bytes)
	}
	if p.mu.head == 0 && p.mu.tail != 0 {
		p.mu.tail = 0
		a.s.endPending(p)
	}
	if !more {
		urgent, p.mu.urgent = p.mu.urgent, false
	}
	if len(a.slots) > first {
		p.pendingBytes.Add(-bytes)
		p.pendingSince.Store(time.Now().UnixNano())
	}
	p.syncAsked.Store(false)
	return a.slots[first:], target, more, urgent
}

// fold adds appends to the durable fold of their producers.
func (a *applier) fold(slots []ref) {
	for _, r := range slots {
		st := a.s.slab.slot(r)
		n := a.s.slab.node(st.node)
		if !n.baseKnown {
			n.base, n.baseKnown = producer.Entry{Epoch: st.epoch}, true
		}
		in := producer.Incoming{Epoch: st.epoch, BaseSequence: st.stored.BaseSequence, LastSequence: st.stored.LastSequence}
		n.base.Apply(in, st.stored, st.age)
		if !n.inBatch {
			n.inBatch = true
			a.nodes = append(a.nodes, st.node)
		}
	}
}

// checkpoint adds the partition's checkpoint to the batch, or puts it off.
func (a *applier) checkpoint(p *Partition, c coldstate.Checkpoint, now bool) {
	if p.dropped.Load() {
		return
	}
	if now {
		a.checkpoints = append(a.checkpoints, writtenCheckpoint{p, c})
		return
	}
	if !p.lazy {
		p.lazy = true
		p.lazyNext, a.lazyHead = a.lazyHead, p
	}
}

// commit writes the batch and finishes its appends.
func (a *applier) commit() error {
	s := a.s
	if len(a.nodes) == 0 && len(a.checkpoints) == 0 {
		return nil
	}
	for _, r := range a.nodes {
		n := s.slab.node(r)
		n.inBatch = false
		if p := s.partition(n.part); p != nil {
			a.encoded = n.base.Encode(a.encoded[:0])
			a.batch.Put(p.num, n.pid, a.encoded)
		}
	}
	for _, w := range a.checkpoints {
		if !w.p.dropped.Load() {
			a.batch.SetCheckpoint(w.p.num, w.c)
		}
	}
	if err := a.commitBatch(a.batch); err != nil {
		return err
	}
	for _, w := range a.checkpoints {
		w.p.mu.Lock()
		w.p.mu.written = max(w.p.mu.written, w.c.Offset)
		w.p.mu.Unlock()
	}
	a.finish()
	a.nodes, a.checkpoints = a.nodes[:0], a.checkpoints[:0]
	a.progress.notify()
	s.metrics.EntriesHot.Set(float64(s.hot.Load()))
	s.metrics.EntriesOverlay.Set(float64(s.overlay.Load()))
	return nil
}

// commitBatch commits together with the age, so that what was forgotten because of its
// age is not too young after a crash. Where it fails the store is offline: what the
// overlay holds can never leave it then.
func (a *applier) commitBatch(b *coldstate.Batch) error {
	if age := a.s.Age(); age != a.writtenAge {
		a.writtenAge = age
		b.SetMeta(metaAge, binary.BigEndian.AppendUint32(nil, age))
	}
	if err := b.Commit(); err != nil {
		a.s.SetOffline(err)
		return err
	}
	a.s.keeper.unflushed()
	return nil
}

// finish ends the appends of the batch: they are in the cold store.
func (a *applier) finish() {
	s := a.s
	for _, r := range a.slots {
		at := s.slab.slot(r).node
		n := s.slab.node(at)
		sh := s.shard(n.hash)
		sh.mu.Lock()
		n.pending--
		unused := s.retireLocked(sh, at)
		sh.mu.Unlock()
		if unused {
			a.unused = append(a.unused, at)
		}
	}
	s.slab.releaseNodes(a.unused...) // before the slots: who has a slot finds a node
	s.slab.releaseSlots(a.slots...)
	a.slots, a.unused = a.slots[:0], a.unused[:0]
}

// writeLazy writes the checkpoints that were put off.
func (a *applier) writeLazy(b *coldstate.Batch) error {
	for a.lazyHead != nil {
		p := a.lazyHead
		a.lazyHead, p.lazyNext, p.lazy = p.lazyNext, nil, false
		if c, ok := p.complete(); ok {
			a.checkpoints = append(a.checkpoints, writtenCheckpoint{p, c})
		}
		if len(a.checkpoints) >= a.chunk {
			if err := a.commit(); err != nil {
				return err
			}
		}
	}
	if len(a.checkpoints) == 0 && a.s.Age() != a.writtenAge {
		return a.commitBatch(b)
	}
	return a.commit()
}

// complete returns the partition's position if all below it is in the cold store. An
// offset that is checkpointed already may have moved to a new segment.
func (p *Partition) complete() (coldstate.Checkpoint, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped.Load() || p.mu.ready.Offset < p.mu.written {
		return coldstate.Checkpoint{}, false
	}
	head := p.mu.head
	return p.mu.ready, head == 0 || p.s.slab.slot(head).stored.LastOffset >= p.mu.ready.Offset
}

// discard ends the queued appends of a dropped partition.
func (a *applier) discard(p *Partition) {
	for more := true; more; {
		p.mu.Lock()
		for p.mu.head != 0 && len(a.slots) < a.chunk {
			a.slots = append(a.slots, p.mu.head)
			p.mu.head = a.s.slab.slot(p.mu.head).next
		}
		if more = p.mu.head != 0; !more && p.mu.tail != 0 {
			p.mu.tail = 0
			a.s.endPending(p)
		}
		p.mu.Unlock()
		a.finish()
	}
}

// Drop forgets everything of a deleted partition. Its hot entries age out: its
// number is never used again.
func (p *Partition) Drop() error {
	p.mu.Lock()
	if p.dropped.Swap(true) {
		p.mu.Unlock()
		return nil
	}
	p.mu.replay = nil
	p.mu.Unlock()
	p.s.removePartition(p)
	return p.s.applier.do(func(b *coldstate.Batch) error {
		p.s.applier.discard(p)
		b.DeletePartition(p.num)
		return p.s.applier.commitBatch(b)
	})
}
