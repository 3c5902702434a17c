// Package partition joins a partition's log with its producer state.
//
// It owns the one lock that makes "check the producer, append the batch, remember
// the batch" a single step, the loading of a partition at its first use, and the
// fetches that wait for records. It must not know requests, error codes, topics
// as a collection, or how bytes and entries are stored.
package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/metrics"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

var (
	// ErrLoading says that the partition is still being recovered and that the
	// caller's context ended first. The client may retry.
	ErrLoading = errors.New("partition is still loading")
	// ErrDeleted says that the partition's topic was deleted.
	ErrDeleted = errors.New("partition is deleted")
	// ErrContended says that a producer's entry was evicted again and again
	// between its look-up and its check. The client may retry.
	ErrContended = errors.New("producer entry evicted during every look-up")
)

// Settings are what the topic's configuration means for its partitions. They are
// immutable and shared by all partitions of the topic.
type Settings struct {
	Log   *seglog.Config
	Rules batch.Rules
}

// Options say what a partition is made of. Logs, Producers and Metrics are shared
// by the whole broker.
type Options struct {
	Topic       string
	Index       int32
	TopicID     [16]byte
	Num         uint64 // internal number, never reused
	CreatedPID  int64  // every producer id below it was issued before the partition existed
	Logs        *seglog.Store
	Producers   *pidstore.Store
	Settings    *Settings
	LeaderEpoch int32 // the broker's run number
	Unclean     bool  // the previous run did not stop cleanly: recover before use
	Metrics     *metrics.Partitions
	// HoldTombstones keeps records without a value in a compacted log until SetTombstoneBound says how far they may go.
	HoldTombstones bool
	// LoadSlots bounds how many partitions are recovered at the same time, so that
	// the rebuild of a lost store reads the disk sequentially. Nil: no bound.
	LoadSlots chan struct{}
}

// Partition is one partition of a topic. It costs no I/O until its first use. All
// methods are safe for concurrent use.
//
// Invariants:
//
//  1. appendMu is held from the producer check until the append is remembered, so
//     that no two batches of a producer are judged by the same state.
//  2. No lock is held while waiting for durability: Append returns a ticket.
//  3. State changes only after the write succeeded: a failed append leaves no trace.
type Partition struct {
	o        Options
	settings atomic.Pointer[Settings]
	log      atomic.Pointer[seglog.Log] // nil until loaded
	prod     *pidstore.Partition

	appendMu sync.Mutex

	tombstoneBound atomic.Pointer[func() int64] // see SetTombstoneBound

	load struct {
		sync.Mutex
		running chan struct{} // closed when the load under way ends; nil: none
		err     error         // of the last load
		deleted bool
		dying   *seglog.Log // being deleted, until that has succeeded
	}
	watch struct {
		sync.Mutex
		waiters map[*Waiter]struct{} // nil when nobody waits
	}
}

// New returns the partition without touching the disk.
func New(o Options) *Partition {
	p := &Partition{o: o, prod: o.Producers.AddPartition(o.Num, o.CreatedPID)}
	p.settings.Store(o.Settings)
	return p
}

// Topic returns the name of the partition's topic.
func (p *Partition) Topic() string { return p.o.Topic }

// Index returns the partition's number within its topic.
func (p *Partition) Index() int32 { return p.o.Index }

// Num returns the internal number, which is unique in the life of a data directory.
func (p *Partition) Num() uint64 { return p.o.Num }

// Dir returns the name of the partition's directory, as Kafka names it.
func (p *Partition) Dir() string { return fmt.Sprintf("%s-%d", p.o.Topic, p.o.Index) }

// LeaderEpoch returns the epoch under which this broker leads the partition.
func (p *Partition) LeaderEpoch() int32 { return p.o.LeaderEpoch }

// Settings returns the settings in force.
func (p *Partition) Settings() *Settings { return p.settings.Load() }

// SetSettings puts new settings in force for everything that follows.
func (p *Partition) SetSettings(s *Settings) {
	p.settings.Store(s)
	if l := p.log.Load(); l != nil {
		l.SetConfig(s.Log)
	}
}

// Loaded says whether the partition has been recovered and is in use.
func (p *Partition) Loaded() bool { return p.log.Load() != nil }

// Load recovers the partition if nobody has: the log from its checkpoint, and the
// producer state from the batches behind it. It returns ErrLoading when ctx ends
// first; the recovery goes on. A failed load is tried again by the next call.
func (p *Partition) Load(ctx context.Context) error {
	_, err := p.open(ctx)
	return err
}

func (p *Partition) open(ctx context.Context) (*seglog.Log, error) {
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	running, err := p.startLoad()
	if err != nil {
		return nil, err
	}
	select {
	case <-running:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", p.Dir(), ErrLoading)
	}
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	p.load.Lock()
	defer p.load.Unlock()
	if p.load.deleted {
		return nil, ErrDeleted
	}
	return nil, p.load.err
}

// startLoad returns a channel that closes when the load under way has ended.
func (p *Partition) startLoad() (chan struct{}, error) {
	p.load.Lock()
	defer p.load.Unlock()
	if p.load.deleted {
		return nil, ErrDeleted
	}
	if p.load.running != nil {
		return p.load.running, nil
	}
	running := make(chan struct{})
	if p.log.Load() != nil {
		close(running)
		return running, nil
	}
	p.load.running = running
	go p.runLoad(running)
	return running, nil
}

func (p *Partition) runLoad(running chan struct{}) {
	if p.o.LoadSlots != nil {
		p.o.LoadSlots <- struct{}{}
		defer func() { <-p.o.LoadSlots }()
	}
	began := time.Now()
	l, err := p.recover()
	p.o.Metrics.LoadSeconds.Observe(time.Since(began).Seconds())
	p.load.Lock()
	defer p.load.Unlock()
	if err != nil {
		p.o.Metrics.LoadErrors.Inc()
		err = fmt.Errorf("load %s: %w", p.Dir(), err)
	}
	p.load.err = err
	if err == nil {
		p.o.Metrics.Loaded.Inc()
		p.log.Store(l)
		// Settings may have changed between the open and the store above.
		l.SetConfig(p.settings.Load().Log)
	}
	p.load.running = nil
	close(running)
}

// recover opens the log at the checkpoint of the producer state and folds what
// follows it. The same code serves a clean start, a crash and a lost store: they
// differ only in where the checkpoint is.
func (p *Partition) recover() (*seglog.Log, error) {
	c, found, err := p.prod.Load()
	if err != nil {
		return nil, err
	}
	l, err := p.o.Logs.OpenLog(seglog.OpenOptions{
		Name:          p.Dir(),
		TopicID:       p.o.TopicID,
		Config:        p.settings.Load().Log,
		Checkpoint:    seglog.Position{Offset: c.Offset, SegmentBase: c.SegmentBase, Position: c.Position},
		HasCheckpoint: found,
		Unclean:       p.o.Unclean,
		LeaderEpoch:   p.o.LeaderEpoch,
		Replay:        p.replay,
		Listener:      p,
		BeforeTrim:    p.prod.BeforeTrim,
	})
	if err != nil {
		return nil, err
	}
	p.prod.LogStartsAt(l.Start())
	if err := p.prod.ReplayDone(checkpoint(l.Position())); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p.prod.LogStartMoved(l.Start())
	return l, nil
}

func (p *Partition) replay(h batch.Header) error {
	if !h.HasProducer() || h.Control() {
		return nil
	}
	return p.prod.Replay(h.ProducerID, incoming(h), stored(h))
}

// Committed implements seglog.Listener: consumers may now see more.
func (p *Partition) Committed(int64) { p.wake() }

// Durable implements seglog.Listener: what lies below the position may be written
// to the cold store.
func (p *Partition) Durable(pos seglog.Position) { p.prod.Durable(checkpoint(pos)) }

func checkpoint(p seglog.Position) coldstate.Checkpoint {
	return coldstate.Checkpoint{Offset: p.Offset, SegmentBase: p.SegmentBase, Position: p.Position}
}

// Close releases the log. What is appended must be durable before (the store's
// final pass does that).
func (p *Partition) Close() error {
	if l := p.swapOut(); l != nil {
		return l.Close()
	}
	return nil
}

func (p *Partition) swapOut() *seglog.Log {
	l := p.log.Swap(nil)
	if l != nil {
		p.o.Metrics.Loaded.Dec()
	}
	return l
}

// Delete removes the partition's data and every memory of its producers. Readers
// that are under way finish on the unlinked files. The caller has already made the
// deletion of the topic durable.
func (p *Partition) Delete() error {
	p.load.Lock()
	p.load.deleted = true
	running := p.load.running
	p.load.Unlock()
	if running != nil {
		<-running
	}
	p.appendMu.Lock()
	l := p.swapOut()
	p.appendMu.Unlock()
	p.wake()
	return errors.Join(p.deleteLog(l), p.prod.Drop())
}

// deleteLog deletes the log, or tries again with the one of the last attempt: its name
// is taken until it is deleted.
func (p *Partition) deleteLog(l *seglog.Log) error {
	p.load.Lock()
	if l != nil {
		p.load.dying = l
	}
	l = p.load.dying
	p.load.Unlock()
	err := p.o.Logs.DeleteLog(p.Dir(), l)
	if err == nil {
		p.load.Lock()
		p.load.dying = nil
		p.load.Unlock()
	}
	return err
}

// Retain applies retention by time and size and rolls a segment that is due. It
// loads the partition if need be.
func (p *Partition) Retain(ctx context.Context, now time.Time) (deletedSegments int, err error) {
	l, err := p.open(ctx)
	if err != nil {
		return 0, err
	}
	p.appendMu.Lock()
	err = l.RollIfDue(now)
	p.appendMu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := l.Retain(now)
	if n > 0 {
		p.prod.LogStartMoved(l.Start())
	}
	return n, err
}

// RequestSync asks for an fsync of the log, if it is in use.
func (p *Partition) RequestSync() {
	if l := p.log.Load(); l != nil {
		l.RequestSync()
	}
}

// Settle returns when the producers of everything below offset are durable in the
// cold store, so that a start after a crash replays none of it.
func (p *Partition) Settle(offset int64) error { return p.prod.BeforeTrim(offset) }
