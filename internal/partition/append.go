package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ottla/internal/batch"
	"ottla/internal/pidstore"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// lookupsMax bounds how often an append looks its producer up again because the
// entry was evicted between the look-up and the check. Each time needs the whole
// hot table to turn over within microseconds, so more than a few is a sign of a
// table far too small.
const lookupsMax = 64

// AcksAll is the acks value that waits for durability.
const AcksAll = -1

// Appended is the outcome of an accepted batch.
type Appended struct {
	BaseOffset    int64
	LogAppendTime int64 // milliseconds since 1970; -1 where the topic keeps the producer's times
	LogStart      int64
	Duplicate     bool // the batch was stored before; BaseOffset is the original one
	// Ticket is done when the batch is durable. It is the zero ticket, which is
	// done, for a duplicate of what is durable already. It comes with
	// producer.ErrDuplicateSequence too.
	Ticket seglog.Ticket
}

// Append validates the batch and appends it, or recognises it as stored. It waits
// for no disk but for the recovery of a partition at its first use and for at most
// one look-up of a producer that is not in memory. Batches of one caller are
// appended in the order of its calls. The bytes of b are patched in place and are
// the caller's again when Append returns.
func (p *Partition) Append(ctx context.Context, b batch.Batch, acks int16, now time.Time) (Appended, error) {
	return p.append(ctx, b, how{wait: acks == AcksAll, hurry: acks == AcksAll, now: now})
}

// AppendOfMany is Append of one of several batches that are waited for together. It
// makes none durable at once: when all are appended the caller calls Hurry on the
// tickets, so that they share one pass over the disk.
func (p *Partition) AppendOfMany(ctx context.Context, b batch.Batch, acks int16, now time.Time) (Appended, error) {
	return p.append(ctx, b, how{wait: acks == AcksAll, now: now})
}

// how says what becomes of a batch after it is appended.
type how struct {
	wait  bool // somebody waits for the ticket
	hurry bool // from now on
	now   time.Time
}

func (h how) options() seglog.AppendOptions {
	return seglog.AppendOptions{Wait: h.hurry, Held: h.wait, Now: h.now}
}

func (p *Partition) append(ctx context.Context, b batch.Batch, o how) (Appended, error) {
	l, err := p.open(ctx)
	if err != nil {
		return Appended{}, err
	}
	s := p.settings.Load()
	if b, err = batch.Validate(b, s.Rules, o.now); err != nil {
		return Appended{}, err
	}
	if !b.Header().HasProducer() {
		return p.appendPlain(l, b, o)
	}
	for range lookupsMax {
		a, err := p.appendIdempotent(ctx, l, b, o)
		if !errors.Is(err, pidstore.ErrRetryLookup) {
			return a, err
		}
	}
	return Appended{}, fmt.Errorf("%s: producer %d: %w", p.Dir(), b.Header().ProducerID, ErrContended)
}

func (p *Partition) appendPlain(l *seglog.Log, b batch.Batch, o how) (Appended, error) {
	p.appendMu.Lock()
	defer p.appendMu.Unlock()
	if p.log.Load() != l {
		return Appended{}, ErrDeleted
	}
	base, t, err := l.Append(b, o.options())
	if err != nil {
		return Appended{}, err
	}
	return p.appended(l, b.Header(), base, t), nil
}

// appendIdempotent is the promise in one function: look up outside the lock, then
// check, append and remember under it. Keep this order: a producer is judged by
// what was appended, and remembered only when it was.
func (p *Partition) appendIdempotent(ctx context.Context, l *seglog.Log, b batch.Batch, o how) (Appended, error) {
	h := b.Header()
	pin, err := p.prod.Lookup(ctx, h.ProducerID)
	if err != nil {
		return Appended{}, err
	}
	defer p.prod.Release(&pin)
	pin.Bytes = int32(b.Size())

	p.appendMu.Lock()
	defer p.appendMu.Unlock()
	if p.log.Load() != l {
		return Appended{}, ErrDeleted
	}
	if err := p.o.Logs.Offline(); err != nil {
		// Nothing is judged any more: a batch behind one that failed for this would be
		// called out of order, which sounds as if the client were to blame.
		return Appended{}, err
	}
	in := incoming(h)
	verdict, original, err := p.prod.Check(&pin, in)
	if err != nil {
		return p.refused(l, err, o.wait), fmt.Errorf("%s: producer %d: %w", p.Dir(), h.ProducerID, err)
	}
	if verdict == producer.Duplicate {
		return p.duplicate(l, original, o.wait), nil
	}
	base, t, err := l.Append(b, o.options())
	if err != nil {
		return Appended{}, err
	}
	h.BaseOffset = base
	p.prod.Applied(&pin, in, stored(h))
	return p.appended(l, h, base, t), nil
}

func (p *Partition) appended(l *seglog.Log, h batch.Header, base int64, t seglog.Ticket) Appended {
	a := Appended{BaseOffset: base, LogAppendTime: -1, LogStart: l.Start(), Ticket: t}
	if h.LogAppendTime() {
		a.LogAppendTime = h.MaxTimestamp
	}
	return a
}

// duplicate answers with the original. If that is not durable yet, the retry joins
// the tickets that are pending, so that it is never acknowledged before its data.
func (p *Partition) duplicate(l *seglog.Log, original producer.Stored, wait bool) Appended {
	a := Appended{BaseOffset: original.BaseOffset, LogAppendTime: -1, LogStart: l.Start(), Duplicate: true}
	if p.settings.Load().Rules.LogAppendTime {
		a.LogAppendTime = original.Timestamp
	}
	if wait && original.LastOffset >= l.Committed() {
		a.Ticket = l.PendingTicket()
	}
	return a
}

// refused goes with the error of a producer check. That a batch is stored, at an offset
// that is not remembered any more, holds when the ticket is done.
func (p *Partition) refused(l *seglog.Log, err error, wait bool) Appended {
	if wait && errors.Is(err, producer.ErrDuplicateSequence) {
		return Appended{Ticket: l.PendingTicket()}
	}
	return Appended{}
}

func incoming(h batch.Header) producer.Incoming {
	return producer.Incoming{
		Epoch:         h.ProducerEpoch,
		BaseSequence:  h.BaseSequence,
		LastSequence:  h.LastSequence(),
		Transactional: h.Transactional(),
	}
}

func stored(h batch.Header) producer.Stored {
	return producer.Stored{
		BaseSequence: h.BaseSequence,
		LastSequence: h.LastSequence(),
		BaseOffset:   h.BaseOffset,
		LastOffset:   h.LastOffset(),
		Timestamp:    h.MaxTimestamp,
	}
}
