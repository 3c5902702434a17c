package pidstore

import (
	"fmt"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// flushForgottenMax bounds how long FlushForgotten waits.
const flushForgottenMax = 30 * time.Second

// Remembered returns what is known of a producer, and whether it has been idle for the
// expiration: for a compacted log, which keeps the headers of the batches that are
// remembered. It makes at most one read, and brings nothing into memory.
func (p *Partition) Remembered(pid int64) (e producer.Entry, idle, found bool, err error) {
	if err := p.usable(pid); err != nil {
		return producer.Entry{}, false, false, err
	}
	e, found, err = p.current(pid)
	if err != nil || !found {
		return producer.Entry{}, false, false, err
	}
	return e, p.s.idle(&e, p.s.Age()), true, nil
}

// ForgetIdle forgets a producer that is idle for the expiration and has not written
// since the batch that ends with lastOffset, of which the caller knows that no data is
// left of it. It says whether nothing is known of it now. Until FlushForgotten a crash
// may bring it back.
func (p *Partition) ForgetIdle(pid, lastOffset int64) (bool, error) {
	if err := p.usable(pid); err != nil {
		return false, err
	}
	err := p.s.applier.do(func(b *coldstate.Batch) error {
		return p.s.forgetChunk(p, b, []int64{pid}, lastOffset+1)
	})
	if err != nil {
		return false, err
	}
	_, found, err := p.current(pid)
	return !found, err
}

// FlushForgotten returns when what was forgotten before is forgotten durably.
func (p *Partition) FlushForgotten() error {
	k := p.s.keeper
	deadline := time.NewTimer(flushForgottenMax)
	defer deadline.Stop()
	// The first flush to end may have begun before the removal.
	for range 2 {
		flushed := k.flushed.wait()
		signalOne(k.kicked)
		select {
		case <-flushed:
		case <-deadline.C:
			return fmt.Errorf("partition %d: %w: the producer state could not be flushed", p.num, ErrTrimTimeout)
		case <-p.s.fatal.ch:
			return p.s.failed()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.flushErr != nil {
		return fmt.Errorf("partition %d: flush what was forgotten: %w", p.num, k.mu.flushErr)
	}
	return nil
}
