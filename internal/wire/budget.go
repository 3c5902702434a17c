package wire

import (
	"context"
	"sync"
)

// Budget shares an amount of memory, in bytes, among those who ask for parts of it. Who finds it used up
// waits, first come first served. A part larger than the whole budget is given when nothing else is out, so
// that a big request is slow and never stuck.
//
// Nobody may wait for a Budget while holding a part of the same one: two who both hold and both wait
// would wait for ever.
type Budget struct {
	bytesMax int64
	mu       struct {
		sync.Mutex
		used    int64
		waiters []*waiter // in order of arrival
	}
}

type waiter struct {
	bytes int64
	given chan struct{} // closed under mu when the part is the waiter's
}

// NewBudget makes a budget of bytesMax, at least 1.
func NewBudget(bytesMax int64) *Budget {
	return &Budget{bytesMax: max(bytesMax, 1)}
}

// Acquire takes n bytes, waiting for them until ctx ends.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if b == nil || n <= 0 {
		return nil
	}
	b.mu.Lock()
	if len(b.mu.waiters) == 0 && b.fitsLocked(n) {
		b.mu.used += n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{bytes: n, given: make(chan struct{})}
	b.mu.waiters = append(b.mu.waiters, w)
	b.mu.Unlock()
	select {
	case <-w.given:
		return nil
	case <-ctx.Done():
		return b.abandon(ctx, w)
	}
}

// abandon takes a waiter out of the line. If the part was given in the meantime it goes back.
func (b *Budget) abandon(ctx context.Context, w *waiter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.mu.waiters {
		if other == w {
			b.mu.waiters = append(b.mu.waiters[:i], b.mu.waiters[i+1:]...)
			b.grantLocked() // the one behind may fit where w did not
			return context.Cause(ctx)
		}
	}
	b.mu.used -= w.bytes
	b.grantLocked()
	return context.Cause(ctx)
}

// TryAcquire takes n bytes if nobody has to wait for that.
func (b *Budget) TryAcquire(n int64) bool {
	if b == nil || n <= 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.waiters) > 0 || !b.fitsLocked(n) {
		return false
	}
	b.mu.used += n
	return true
}

// Release gives n bytes back; a part may go back in pieces.
func (b *Budget) Release(n int64) {
	if b == nil || n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.used -= n
	if b.mu.used < 0 {
		panic("BUG: budget: more released than acquired")
	}
	b.grantLocked()
}

// Used is the number of bytes that are out.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.used
}

func (b *Budget) fitsLocked(n int64) bool {
	return b.mu.used == 0 || n <= b.bytesMax-b.mu.used
}

func (b *Budget) grantLocked() {
	for len(b.mu.waiters) > 0 && b.fitsLocked(b.mu.waiters[0].bytes) {
		w := b.mu.waiters[0]
		b.mu.waiters[0] = nil
		b.mu.waiters = b.mu.waiters[1:]
		b.mu.used += w.bytes
		close(w.given)
	}
	if len(b.mu.waiters) == 0 {
		b.mu.waiters = nil
	}
}
