package partition

import (
	"context"
	"fmt"

	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// Waiter is one fetch that waits for records, on any number of partitions.
type Waiter struct {
	// C has room for one signal: that something was committed somewhere.
	C chan struct{}
}

// NewWaiter returns a waiter that no partition knows yet.
func NewWaiter() *Waiter { return &Waiter{C: make(chan struct{}, 1)} }

// notify never blocks: a signal that is already there says the same.
func (w *Waiter) notify() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// Watch has w signalled whenever records are committed, until Unwatch. Watch
// first and read afterwards, else a commit in between is missed.
func (p *Partition) Watch(w *Waiter) {
	p.watch.Lock()
	defer p.watch.Unlock()
	if p.watch.waiters == nil {
		p.watch.waiters = make(map[*Waiter]struct{}, 1)
	}
	if _, twice := p.watch.waiters[w]; !twice {
		p.watch.waiters[w] = struct{}{}
		p.o.Metrics.Waiters.Inc()
	}
}

// Unwatch ends Watch. A waiter that does not watch is ignored.
func (p *Partition) Unwatch(w *Waiter) {
	p.watch.Lock()
	defer p.watch.Unlock()
	if _, watches := p.watch.waiters[w]; watches {
		delete(p.watch.waiters, w)
		p.o.Metrics.Waiters.Dec()
	}
	if len(p.watch.waiters) == 0 {
		p.watch.waiters = nil // an idle partition keeps no map
	}
}

func (p *Partition) wake() {
	p.watch.Lock()
	defer p.watch.Unlock()
	for w := range p.watch.waiters {
		w.notify()
	}
}

// State are the offsets of a partition at one moment.
type State struct {
	LogStart      int64
	HighWatermark int64 // consumers see below it
	End           int64 // appended, perhaps not durable
}

// State loads the partition if need be and returns its offsets.
func (p *Partition) State(ctx context.Context) (State, error) {
	l, err := p.open(ctx)
	if err != nil {
		return State{}, err
	}
	return state(l), nil
}

// state reads the start first: the offsets only grow, so that start <= high
// watermark <= end holds in the answer whatever happens in between.
func state(l *seglog.Log) State {
	s := State{LogStart: l.Start()}
	s.HighWatermark = l.Committed()
	s.End = l.End()
	return s
}

// ReadResult is what one partition contributes to a fetch.
type ReadResult struct {
	Data []byte // the destination with whole batches appended
	State
}

// Read appends whole batches from offset to dst, up to the high watermark and to
// bytesMax bytes; the first batch may be larger if atLeastOne is set. An offset
// outside the log is seglog.ErrOffsetOutOfRange; State is valid in that case too.
func (p *Partition) Read(ctx context.Context, dst []byte, offset int64, bytesMax int, atLeastOne bool) (ReadResult, error) {
	l, err := p.open(ctx)
	if err != nil {
		return ReadResult{Data: dst}, err
	}
	data, err := l.Read(dst, offset, bytesMax, atLeastOne)
	// The offsets are taken after the read, so that the high watermark is never
	// behind the records that go with it.
	return ReadResult{Data: data, State: state(l)}, err
}

// OffsetForTimestamp returns the first record whose timestamp is at least ts.
func (p *Partition) OffsetForTimestamp(ctx context.Context, ts int64) (seglog.TimestampOffset, bool, error) {
	l, err := p.open(ctx)
	if err != nil {
		return seglog.TimestampOffset{}, false, err
	}
	return l.OffsetForTimestamp(ts)
}

// MaxTimestamp returns the record with the largest timestamp.
func (p *Partition) MaxTimestamp(ctx context.Context) (seglog.TimestampOffset, bool, error) {
	l, err := p.open(ctx)
	if err != nil {
		return seglog.TimestampOffset{}, false, err
	}
	return l.MaxTimestamp()
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch not above the asked one
// and the offset at which it ended.
func (p *Partition) EpochEnd(ctx context.Context, epoch int32) (epochOut int32, endOffset int64, err error) {
	l, err := p.open(ctx)
	if err != nil {
		return -1, -1, err
	}
	epochOut, endOffset = l.EpochEnd(epoch)
	return epochOut, endOffset, nil
}

// EpochAt returns the leader epoch under which the record at offset was written.
func (p *Partition) EpochAt(ctx context.Context, offset int64) (int32, error) {
	l, err := p.open(ctx)
	if err != nil {
		return -1, err
	}
	return l.EpochAt(offset), nil
}

// HighWatermarkOffset stands for the high watermark in DeleteRecords.
const HighWatermarkOffset = -1

// DeleteRecords moves the log start to before, or to the high watermark, durably,
// and returns it. The producers of the deleted records stay known until they have
// been idle for the expiration.
func (p *Partition) DeleteRecords(ctx context.Context, before int64) (low int64, err error) {
	l, err := p.open(ctx)
	if err != nil {
		return -1, err
	}
	hw := l.Committed()
	if before == HighWatermarkOffset {
		before = hw
	}
	if before < 0 || before > hw {
		return -1, fmt.Errorf("delete records before %d of [%d, %d]: %w", before, l.Start(), hw, seglog.ErrOffsetOutOfRange)
	}
	low, err = l.DeleteRecords(before)
	if err == nil {
		p.prod.LogStartMoved(low)
	}
	return low, err
}

// SizeBytes returns the size of the segments.
func (p *Partition) SizeBytes(ctx context.Context) (int64, error) {
	l, err := p.open(ctx)
	if err != nil {
		return 0, err
	}
	return l.SizeBytes(), nil
}

// DescribeProducers calls fn for the known producers, the most recently active
// first, at most limit of them. No lock is held while fn runs.
func (p *Partition) DescribeProducers(ctx context.Context, limit int, fn func(pid int64, e producer.Entry) error) error {
	if _, err := p.open(ctx); err != nil {
		return err
	}
	return p.prod.Describe(limit, fn)
}
