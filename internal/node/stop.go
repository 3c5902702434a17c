package node

import (
	"context"
	"errors"
	"fmt"

	"ottla/internal/coldstate"
)

// Stop stops accepting, lets what is in flight finish until ctx ends, makes everything durable and marks the data directory as
// clean. It works on a node that has started only in part. Later calls return what the first returned.
func (n *Node) Stop(ctx context.Context) error {
	n.stopping.Do(func() { n.stopErr = n.stop(ctx, ctx) })
	return n.stopErr
}

// stop gives clients time until drain ends, and the recovery of the partition that is under way until load ends.
func (n *Node) stop(drain, load context.Context) error {
	var cut error
	if n.server != nil {
		cut = n.server.Shutdown(drain)
	}
	if n.background.cancel != nil {
		n.background.cancel()
		defer context.AfterFunc(load, n.background.cancelLoad)()
	}
	n.stopHTTP()
	if n.cold != nil {
		// A disk that is full may be full for ever; what is not written is recovered by the next start.
		defer context.AfterFunc(load, n.cold.EndWaits)()
	}
	if n.groupsCold != nil {
		defer context.AfterFunc(load, n.groupsCold.EndWaits)()
	}
	if n.groups != nil {
		// What members wait for becomes durable while the log is open.
		n.groups.Close()
	}
	n.background.Wait()
	for _, l := range n.bound {
		_ = l.Close() // closed already unless the start failed before the server owned it
	}
	err := n.closeState()
	switch {
	case n.directory == nil:
	case err == nil && n.isRecovered():
		err = n.directory.finish()
	}
	if n.directory != nil {
		err = errors.Join(err, n.directory.unlock())
	}
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	// Connections that were cut off lose no acknowledged record: the stop is clean.
	return cut
}

// closeState closes from the top down. Everything is closed even after an error, but then the stop is not clean.
func (n *Node) closeState() error {
	var errs []error
	if n.catalog != nil {
		// First: it waits for deletions under way, which need the stores below.
		errs = append(errs, n.catalog.Close())
	}
	if n.logs != nil {
		errs = append(errs, n.logs.Close())
	}
	if n.producers != nil {
		errs = append(errs, n.producers.Close())
	}
	if n.ids != nil {
		n.ids.Close()
	}
	for _, cold := range []*coldstate.Store{n.groupsCold, n.cold} {
		if cold != nil {
			errs = append(errs, cold.Close())
		}
	}
	return errors.Join(errs...)
}

// isRecovered says whether every partition may be trusted as it is. One that no use and no background pass has recovered
// after an unclean start may still have a torn tail.
func (n *Node) isRecovered() bool {
	return n.directory.clean || n.recovered.done.Load()
}

// Kill ends the node as kill -9 would: nothing more reaches the disk. For tests, on a node that was started as Killable.
func (n *Node) Kill() {
	if n.faults == nil {
		panic("BUG: Kill of a node that is not Killable")
	}
	n.faults.Crash()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	// Every write fails by intention, so that nothing takes long.
	n.stopping.Do(func() { n.stopErr = n.stop(now, context.Background()) })
}
