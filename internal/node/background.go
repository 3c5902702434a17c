package node

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

const (
	// offlineCheckInterval is how soon producers that wait for memory learn that the log takes no more.
	offlineCheckInterval = time.Second
	// returnMemoryDelay is when the garbage of the start is given back.
	returnMemoryDelay = 3 * time.Second
)

// recovery is the background pass over all partitions.
type recovery struct {
	done atomic.Bool   // every partition has been recovered
	over chan struct{} // closed when the pass has ended
}

func (n *Node) startBackground() {
	ctx, cancel := context.WithCancel(context.Background())
	n.background.cancel = cancel
	n.background.load, n.background.cancelLoad = context.WithCancel(context.Background())
	for _, task := range []func(context.Context){n.recoverAll, n.retainLoop, n.cleanLoop, n.sweepLoop, n.watchOffline, n.returnMemory} {
		n.background.Go(func() { task(ctx) })
	}
}

// recoverAll brings every partition to life once, so that none waits for its first client, and the next stop can be clean.
func (n *Node) recoverAll(ctx context.Context) {
	defer close(n.recovered.over)
	n.dropOrphans()
	started := time.Now()
	loaded, failed := 0, 0
	n.eachPartition(ctx, func(p *partition.Partition) {
		switch err := p.Load(n.background.load); {
		case err == nil:
			loaded++
		case errors.Is(err, partition.ErrDeleted) || n.background.load.Err() != nil:
		default:
			failed++
			n.logger.Error("a partition could not be recovered; its next use tries again", "partition", p.Dir(), "error", err)
		}
	})
	if ctx.Err() != nil {
		return
	}
	n.recovered.done.Store(failed == 0)
	n.logger.Info("all partitions are loaded", "partitions", loaded, "failed", failed, "took", time.Since(started).Round(time.Millisecond))
}

// dropOrphans forgets producer entries of partitions that no longer exist.
func (n *Node) dropOrphans() {
	var known func(num uint64) bool
	dropped, err := n.producers.DropOrphans(func(num uint64) bool {
		if known == nil {
			known = n.catalog.KnownPartitions() // once: it looks at all partitions
		}
		return known(num)
	})
	switch {
	case err != nil:
		n.logger.Warn("producer entries of deleted partitions were not dropped; the next start tries again", "error", err)
	case dropped > 0:
		n.logger.Info("producer entries of deleted partitions dropped", "partitions", dropped)
	}
}

// eachPartition visits the partitions one at a time until ctx ends.
func (n *Node) eachPartition(ctx context.Context, visit func(*partition.Partition)) {
	for _, t := range n.catalog.Topics() {
		for _, p := range t.Partitions {
			if ctx.Err() != nil {
				return
			}
			visit(p)
		}
	}
}

func (n *Node) retainLoop(ctx context.Context) {
	every(ctx, time.Duration(n.config.Int("log.retention.check.interval.ms"))*time.Millisecond, func(time.Time) {
		n.catalog.ResumeDeletions()
		n.eachPartition(ctx, func(p *partition.Partition) {
			_, err := p.Retain(n.background.load, time.Now())
			if err != nil && ctx.Err() == nil && !errors.Is(err, partition.ErrDeleted) && !errors.Is(err, seglog.ErrOffline) {
				n.logger.Warn("retention failed; the next check tries again", "partition", p.Dir(), "error", err)
			}
		})
	})
}

func (n *Node) sweepLoop(ctx context.Context) {
	every(ctx, pidstore.SweepInterval, n.producers.Sweep)
}

// watchOffline tells everybody else when the log has gone offline on its own.
func (n *Node) watchOffline(ctx context.Context) {
	every(ctx, offlineCheckInterval, func(time.Time) {
		if err := n.logs.Offline(); err != nil {
			n.goOffline(err) // does nothing the second time
		}
	})
}

// returnMemory gives what only the start needed back to the system, once.
func (n *Node) returnMemory(ctx context.Context) {
	timer := time.NewTimer(returnMemoryDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		debug.FreeOSMemory()
	case <-ctx.Done():
	}
}

func every(ctx context.Context, interval time.Duration, do func(now time.Time)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			do(now)
		case <-ctx.Done():
			return
		}
	}
}
