package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// cleaner compacts logs: always the one with the largest share of what was not compacted yet, as Kafka's LogCleaner does.
type cleaner struct {
	n *Node
	// Both may change while the node runs.
	backoff func() time.Duration
	rate    func() float64 // bytes a second, of all threads

	mu struct {
		sync.Mutex
		busy        map[*partition.Partition]bool
		uncleanable map[*partition.Partition]bool
		resting     map[*partition.Partition]time.Time // failed; until when it is left alone
	}
	paced struct {
		sync.Mutex
		free time.Time // when all bytes so far are paid for
	}
}

// cleanLoop runs log.cleaner.threads cleaners until ctx ends.
func (n *Node) cleanLoop(ctx context.Context) {
	if !n.config.Bool("log.cleaner.enable") {
		return
	}
	c, threads := n.newCleaner(), n.config.Int("log.cleaner.threads")
	var all sync.WaitGroup
	for range threads {
		all.Go(func() { c.run(ctx, n.config.Int("log.cleaner.dedupe.buffer.size")/threads) })
	}
	all.Wait()
}

func (n *Node) newCleaner() *cleaner {
	c := &cleaner{n: n}
	c.backoff = func() time.Duration {
		millis := min(number(n, cleanerBackoff, n.config.Int, parseInt), math.MaxInt64/int64(time.Millisecond))
		return time.Duration(millis) * time.Millisecond
	}
	c.rate = func() float64 { return number(n, cleanerRate, n.config.Float, parseFloat) }
	c.mu.busy, c.mu.uncleanable = map[*partition.Partition]bool{}, map[*partition.Partition]bool{}
	c.mu.resting = map[*partition.Partition]time.Time{}
	return c
}

// run cleans one log after the other. The buffer for keys goes when there is nothing to do.
func (c *cleaner) run(ctx context.Context, bufferBytes int64) {
	var m *seglog.OffsetMap
	timer := time.NewTimer(c.backoff())
	defer timer.Stop()
	for ctx.Err() == nil {
		p := c.pick(ctx)
		if p == nil {
			m = nil
			timer.Reset(c.backoff())
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			continue
		}
		if m == nil {
			m = seglog.NewOffsetMap(bufferBytes)
		}
		c.clean(ctx, p, m)
	}
}

// pick finds the log that is to be cleaned next and takes it.
func (c *cleaner) pick(ctx context.Context) *partition.Partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	var best *partition.Partition
	bestRatio, maxRatio := -1.0, 0.0
	known := map[*partition.Partition]bool{}
	c.n.eachPartition(ctx, func(p *partition.Partition) {
		if !p.Settings().Log.Compact {
			return
		}
		known[p] = true
		if c.mu.busy[p] || c.mu.uncleanable[p] || now.Before(c.mu.resting[p]) {
			return
		}
		todo, due, err := p.Cleanable(c.n.background.load, now)
		if err != nil {
			c.failedLocked(ctx, p, err)
			return
		}
		maxRatio = max(maxRatio, todo.Ratio())
		if due && todo.Ratio() > bestRatio {
			best, bestRatio = p, todo.Ratio()
		}
	})
	for p := range c.mu.uncleanable {
		if !known[p] {
			delete(c.mu.uncleanable, p)
		}
	}
	for p, until := range c.mu.resting {
		if !known[p] || !now.Before(until) {
			delete(c.mu.resting, p)
		}
	}
	if best != nil {
		c.mu.busy[best] = true
	}
	m := c.n.metrics.Cleaner
	m.MaxDirtyRatio.Set(maxRatio)
	m.Uncleanable.Set(float64(len(c.mu.uncleanable)))
	m.LastLookSeconds.Set(float64(now.Unix()))
	return best
}

func (c *cleaner) clean(ctx context.Context, p *partition.Partition, m *seglog.OffsetMap) {
	began := time.Now()
	stats, err := p.Clean(ctx, began, partition.CleanTools{Map: m, Throttle: c.throttle})
	took := time.Since(began)
	c.count(stats, took, m)
	c.mu.Lock()
	delete(c.mu.busy, p)
	if err != nil {
		c.failedLocked(ctx, p, err)
	}
	c.mu.Unlock()
	if err != nil {
		return
	}
	c.n.metrics.Cleaner.Runs.Inc()
	c.n.logger.Info("compacted", "partition", p.Dir(), "up_to", stats.FirstDirty, "keys", stats.Keys, "map_full", stats.MapFull,
		"segments", stats.Segments, "bytes_before", stats.BytesRead, "bytes_after", stats.BytesWritten,
		"records_kept", stats.Kept, "superseded", stats.Superseded, "tombstones", stats.Tombstones, "without_key", stats.KeyLess,
		"took", took.Round(time.Millisecond))
}

func (c *cleaner) count(stats seglog.CleanStats, took time.Duration, buffer *seglog.OffsetMap) {
	m := c.n.metrics.Cleaner
	m.Seconds.Observe(took.Seconds())
	m.BytesRead.Add(float64(stats.MapBytes + stats.BytesRead))
	m.BytesWritten.Add(float64(stats.BytesWritten))
	m.RecordsRemoved.Add(float64(stats.Superseded + stats.Tombstones + stats.KeyLess))
	m.BufferUtilization.Set(buffer.Utilization())
}

// failedLocked leaves a log alone for a while, or for good if it is damaged. That is said once.
func (c *cleaner) failedLocked(ctx context.Context, p *partition.Partition, err error) {
	if ctx.Err() != nil || errors.Is(err, partition.ErrDeleted) || errors.Is(err, seglog.ErrClosed) || errors.Is(err, seglog.ErrOffline) {
		c.mu.resting[p] = time.Now().Add(c.backoff())
		return
	}
	c.n.metrics.Cleaner.Errors.Inc()
	if errors.Is(err, seglog.ErrCorrupt) || errors.Is(err, seglog.ErrMapTooSmall) {
		c.mu.uncleanable[p] = true
		c.n.metrics.Cleaner.Uncleanable.Set(float64(len(c.mu.uncleanable)))
		c.n.logger.Error(fmt.Sprintf("%s is not compacted any more until the next start", p.Dir()), "error", err)
		return
	}
	c.mu.resting[p] = time.Now().Add(c.backoff())
	c.n.logger.Warn("compaction failed; it is tried again", "partition", p.Dir(), "error", err)
}

// throttle returns how long to wait so that no more bytes a second are read and written than log.cleaner.io.max.bytes.per.second.
func (c *cleaner) throttle(bytes int) time.Duration {
	rate := c.rate()
	if rate >= maxPacedRate {
		return 0
	}
	c.paced.Lock()
	defer c.paced.Unlock()
	now := time.Now()
	if c.paced.free.Before(now) {
		c.paced.free = now
	}
	wait := c.paced.free.Sub(now)
	cost := float64(bytes) / max(rate, 1) * float64(time.Second)
	c.paced.free = c.paced.free.Add(time.Duration(min(cost, float64(time.Hour))))
	return wait
}

// maxPacedRate is the rate, in bytes a second, from which on nothing is held back.
const maxPacedRate = 1 << 40
