package coldstate

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets Pebble run one compaction at a time, and none once the store is dead: a compaction that fails is tried
// again at once.
//
// Lock order: Pebble calls TrySchedule with its mutex held, so the scheduler never calls Pebble with its own held.
type scheduler struct {
	guard *guard
	db    pebble.DBForCompaction
	mu    struct {
		sync.Mutex
		idle         *sync.Cond // no grant is being made
		running      bool
		granting     bool
		unregistered bool
	}
}

func newScheduler(g *guard) *scheduler {
	c := &scheduler{guard: g}
	c.mu.idle = sync.NewCond(&c.mu)
	return c
}

// Register implements pebble.CompactionScheduler.
func (c *scheduler) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister implements pebble.CompactionScheduler: no call into the database is made after it returns.
func (c *scheduler) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.unregistered = true
	for c.mu.granting {
		c.mu.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (c *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if c.guard.err() != nil {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.unregistered || c.mu.running {
		return false, nil
	}
	c.mu.running = true
	return true, c
}

// busy says whether a compaction runs, or is about to.
func (c *scheduler) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.running
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler; what is allowed never changes.
func (c *scheduler) UpdateGetAllowedWithoutPermission() {}

// Started implements pebble.CompactionGrantHandle.
func (c *scheduler) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle: the slot goes to a compaction that was refused it, if one waits.
func (c *scheduler) Done() {
	dead := c.guard.err() != nil
	defer c.guard.notifyChanged() // runs after the unlock: whoever waits for a compaction looks whether there still is one
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.running = false
	for c.mu.granting {
		c.mu.idle.Wait()
	}
	if dead || c.mu.unregistered || c.mu.running {
		return
	}
	// The slot is taken while the database is asked, so that nobody else gets it.
	c.mu.granting, c.mu.running = true, true
	c.mu.Unlock()
	waiting, _ := c.db.GetWaitingCompaction()
	accepted := waiting && c.db.Schedule(c)
	c.mu.Lock()
	// A compaction that was accepted may already be done and have given the slot back: only a refusal frees it here.
	if !accepted {
		c.mu.running = false
	}
	c.mu.granting = false
	c.mu.idle.Broadcast()
}
