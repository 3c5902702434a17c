package null

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// committer makes what connections hand over durable, all that waits with one write and one sync, and sends the answers
// itself: no other goroutine has to be woken for that.
type committer struct {
	ring *ring
	sync func(*os.File) error
	wake chan struct{} // has room for one: sent to when the committer rests

	taken  []*storing // what is being committed
	pieces [][]byte

	mu struct {
		sync.Mutex
		waiting []*storing // each once, in the order of their first piece
		rests   bool
	}
}

// piece is whole requests in a chunk, one behind the other.
type piece struct {
	of    *chunk
	bytes []byte
}

func newCommitter(r *ring, sync func(*os.File) error) *committer {
	return &committer{ring: r, sync: sync, wake: make(chan struct{}, 1)}
}

// run commits until the context ends. An error is that of the disk: what was not answered before it never is.
func (c *committer) run(ctx context.Context) error {
	for {
		total := c.take()
		if len(c.taken) == 0 {
			select {
			case <-c.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := c.ring.write(c.pieces, total); err != nil {
			return fmt.Errorf("null server: %w", err)
		}
		if err := c.sync(c.ring.file); err != nil {
			return fmt.Errorf("null server: sync: %w", err)
		}
		for _, k := range c.taken {
			k.committed()
		}
	}
}

// take takes what waits, as far as the ring holds it at once. One connection's chunks always fit.
func (c *committer) take() (total int64) {
	clear(c.taken) // of connections that may be gone
	c.taken, c.pieces = c.taken[:0], c.pieces[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.rests = len(c.mu.waiting) == 0
	for _, k := range c.mu.waiting {
		var bytes int64
		for _, p := range k.locked.pieces {
			bytes += int64(len(p.bytes))
		}
		if total+bytes > c.ring.size {
			break
		}
		total += bytes
		for _, p := range k.locked.pieces {
			c.pieces = append(c.pieces, p.bytes)
		}
		k.takeLocked()
		c.taken = append(c.taken, k)
	}
	left := copy(c.mu.waiting, c.mu.waiting[len(c.taken):])
	clear(c.mu.waiting[left:])
	c.mu.waiting = c.mu.waiting[:left]
	return total
}

// hand gives the committer whole requests, and the answers that leave when these are durable.
func (c *committer) hand(k *storing, p piece, answers []byte) {
	p.of.held.Add(int64(len(p.bytes)))
	c.mu.Lock()
	if !k.locked.waits {
		k.locked.waits = true
		c.mu.waiting = append(c.mu.waiting, k)
	}
	if n := len(k.locked.pieces) - 1; n >= 0 && k.locked.pieces[n].of == p.of { // it follows: nothing between them waits
		last := &k.locked.pieces[n].bytes
		*last = (*last)[:len(*last)+len(p.bytes)]
	} else {
		k.locked.pieces = append(k.locked.pieces, p)
	}
	k.locked.answers = append(k.locked.answers, answers...)
	wake := c.mu.rests
	c.mu.rests = false
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
}
