package catalog

import (
	"errors"
	"fmt"
	"sync"
)

// groupBytesMax is where the leader of a group stops taking further proposals into its frame.
const groupBytesMax = 4 << 20

// committer turns proposals into durable steps, one fsync for all that arrived during the one before.
//
//	propose:  enqueue; take the write lock; if somebody wrote it meanwhile, done
//	lead:     take what is queued; evaluate each on the staged state; one frame; one fsync; publish; answer all
//
// Invariants:
//
//  1. A proposal sees all that was proposed before it, also what shares its frame: what is checked holds when the
//     change is made.
//  2. Readers see a change only after it is durable.
//  3. If the frame cannot be written, the staged state is folded from the file again: nothing of it remains.
//
// Holding the lock over evaluation and fsync for every single proposal would be simpler, but then ten thousand topics
// made over many connections cost ten thousand fsyncs.
type committer struct {
	queue struct {
		sync.Mutex
		pending []*proposal
	}
	write struct {
		sync.Mutex
		journal *journal
		staged  *state
		reload  bool // staged is ahead of the journal: fold it again first
	}
	publish       func([]change) // called in the order of the journal, after the fsync
	compactFailed func(error)    // a compaction failed, nothing is lost
}

// proposal is one request for changes. evaluate checks it and adds its changes; after an error it must have added none.
type proposal struct {
	evaluate func(*tx) error
	done     bool // guarded by the write lock
	err      error
}

// tx is the view of a proposal: the state as it will be when its changes are made.
type tx struct {
	*state
	changes []change
	encoded []byte
}

// add makes a change. It must be one that apply accepts.
func (t *tx) add(c change) {
	if err := t.apply(&c); err != nil {
		panic("BUG: catalog change does not apply: " + err.Error())
	}
	t.changes = append(t.changes, c)
	t.encoded = c.encode(t.encoded)
}

// propose returns when the changes are durable and published.
func (c *committer) propose(evaluate func(*tx) error) error {
	p := &proposal{evaluate: evaluate}
	c.queue.Lock()
	c.queue.pending = append(c.queue.pending, p)
	c.queue.Unlock()

	c.write.Lock()
	defer c.write.Unlock()
	for !p.done {
		c.leadLocked()
	}
	return p.err
}

// leadLocked writes one group.
func (c *committer) leadLocked() {
	if err := c.reloadLocked(); err != nil {
		c.failLocked(c.take(nil), err)
		return
	}
	t := &tx{state: c.write.staged}
	var group []*proposal
	for p := c.take(t); p != nil; p = c.take(t) {
		group = append(group, p...)
		for _, p := range p {
			before := len(t.changes)
			if p.err = p.evaluate(t); p.err != nil && len(t.changes) != before {
				panic("BUG: a refused proposal changed the catalog: " + p.err.Error())
			}
		}
	}
	if len(t.changes) > 0 {
		if err := c.write.journal.append(c.write.journal.revision, t.encoded); err != nil {
			c.write.reload = true
			c.failLocked(group, err)
			return
		}
		c.publish(t.changes)
		if c.write.journal.compactionDue() {
			if err := c.write.journal.rewrite(c.write.staged); err != nil {
				c.compactFailed(err)
			}
		}
	}
	for _, p := range group {
		p.done = true
	}
}

// take returns the next proposal for the frame of t, nil when there is none or the frame is full; all for a nil t.
func (c *committer) take(t *tx) []*proposal {
	c.queue.Lock()
	defer c.queue.Unlock()
	n := len(c.queue.pending)
	if t != nil {
		n = min(n, 1)
		if len(t.encoded) >= groupBytesMax {
			n = 0
		}
	}
	if n == 0 {
		return nil
	}
	out := c.queue.pending[:n:n]
	c.queue.pending = c.queue.pending[n:]
	return out
}

// failLocked answers a group whose frame was not written. What was refused anyway keeps its reason.
func (c *committer) failLocked(group []*proposal, err error) {
	for _, p := range group {
		p.done = true
		if p.err == nil {
			p.err = err
		}
	}
}

// reloadLocked makes the staged state equal to the journal again after a failed write.
func (c *committer) reloadLocked() error {
	j := c.write.journal
	if j.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, j.broken)
	}
	if !c.write.reload {
		return nil
	}
	if err := j.cut(); err != nil {
		return err
	}
	l, err := loadJournal(j.fs, j.dir)
	if err != nil {
		return err
	}
	if l.revision != j.revision {
		return fmt.Errorf("%w: got %d, expected %d", ErrStale, l.revision, j.revision)
	}
	c.write.staged, c.write.reload = l.state, false
	return nil
}

// compact rewrites the journal now.
func (c *committer) compact() error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.reloadLocked(); err != nil {
		return err
	}
	return c.write.journal.rewrite(c.write.staged)
}

func (c *committer) close() error {
	c.write.Lock()
	defer c.write.Unlock()
	if errors.Is(c.write.journal.broken, ErrClosed) {
		return nil
	}
	return c.write.journal.close()
}
