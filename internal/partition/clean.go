package partition

import (
	"context"
	"math"
	"time"

	"ottla/internal/batch"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// CleanTools are what one cleaning needs and several can share, one after the other.
type CleanTools struct {
	Map *seglog.OffsetMap
	// Throttle is told of bytes read or written, and returns how long to wait then. May be nil.
	Throttle func(bytes int) time.Duration
}

// SetTombstoneBound has the cleaner ask how far records without a value may be removed. They stay at and behind the
// offset that f returns: who keeps a view of the log elsewhere has not durably seen them yet. f may read, but
// must not wait for anybody.
func (p *Partition) SetTombstoneBound(f func() int64) { p.tombstoneBound.Store(&f) }

// tombstonesBelow is the bound in force. Where somebody must set one, nothing goes until then.
func (p *Partition) tombstonesBelow() int64 {
	if f := p.tombstoneBound.Load(); f != nil {
		return (*f)()
	}
	if p.o.HoldTombstones {
		return 0
	}
	return math.MaxInt64
}

// Cleanable looks whether the log is to be compacted, by the settings of the topic. It loads the partition if need be,
// and rolls a segment that is due, so that what is in it comes to be compacted.
func (p *Partition) Cleanable(ctx context.Context, now time.Time) (c seglog.Cleanable, due bool, err error) {
	l, err := p.open(ctx)
	if err != nil {
		return c, false, err
	}
	p.appendMu.Lock()
	err = l.RollIfDue(now)
	p.appendMu.Unlock()
	if err != nil {
		return c, false, err
	}
	c, err = l.Cleanable(now)
	return c, err == nil && c.Due(p.settings.Load().Log), err
}

// Clean compacts the log once, as far as its keys fit into the map. Appends and reads go on. No batch is removed that a
// replay from the durable checkpoint of the producers must see, and none of a producer's last five, even if no record of
// it remains, before it has been idle for the expiration and no record of any of them remains.
func (p *Partition) Clean(ctx context.Context, now time.Time, tools CleanTools) (seglog.CleanStats, error) {
	l, err := p.open(ctx)
	if err != nil {
		return seglog.CleanStats{}, err
	}
	todo, err := l.Cleanable(now)
	if err != nil || todo.DirtyBytes == 0 {
		return seglog.CleanStats{FirstDirty: todo.FirstDirty}, err
	}
	if err := p.prod.BeforeTrim(todo.FirstUncleanable); err != nil {
		return seglog.CleanStats{}, err
	}
	k := &headerKeeper{p: p, pid: batch.NoProducerID}
	return l.Clean(ctx, seglog.CleanOptions{
		Now: now, Map: tools.Map, UpTo: todo.FirstUncleanable, TombstonesBelow: p.tombstonesBelow(),
		KeepEmpty: k.keep, BeforeSwap: k.flush, Throttle: tools.Throttle,
	})
}

// headerKeeper decides which headers of empty batches a cleaning keeps: those of remembered batches. Producers come in
// runs, so it looks each one up once in a row.
type headerKeeper struct {
	p         *Partition
	pid       int64
	entry     producer.Entry
	found     bool
	forgotten bool // something was, and not flushed since
}

func (k *headerKeeper) keep(h batch.Header, live func(int64) (bool, error)) (bool, error) {
	if h.ProducerID != k.pid {
		if err := k.lookUp(h.ProducerID, live); err != nil {
			return false, err
		}
	}
	if !k.found || k.entry.Epoch != h.ProducerEpoch {
		return false, nil
	}
	for _, b := range k.entry.Window() {
		if b.BaseOffset == h.BaseOffset {
			return true, nil
		}
	}
	return false, nil
}

// lookUp learns what is remembered of a producer, and forgets it if it is time.
func (k *headerKeeper) lookUp(pid int64, live func(int64) (bool, error)) error {
	entry, idle, found, err := k.p.prod.Remembered(pid)
	if err != nil {
		return err
	}
	if found && idle {
		forgotten, err := k.forget(pid, &entry, live)
		if err != nil {
			return err
		}
		found = !forgotten
	}
	k.pid, k.entry, k.found = pid, entry, found
	return nil
}

// forget forgets an idle producer unless a record of its remembered batches is left.
func (k *headerKeeper) forget(pid int64, e *producer.Entry, live func(int64) (bool, error)) (bool, error) {
	for _, b := range e.Window() {
		if yes, err := live(b.BaseOffset); yes || err != nil {
			return false, err
		}
	}
	last, ok := e.Last()
	if !ok {
		return false, nil // only an epoch is known, of a marker: that stays
	}
	gone, err := k.p.prod.ForgetIdle(pid, last.LastOffset)
	k.forgotten = k.forgotten || gone
	return gone, err
}

// flush makes durable what was forgotten, before the headers that could bring it back are gone: else, after a crash, the
// store would know producers that no cleaning meets again.
func (k *headerKeeper) flush() error {
	if !k.forgotten {
		return nil
	}
	err := k.p.prod.FlushForgotten()
	k.forgotten = err != nil
	return err
}
