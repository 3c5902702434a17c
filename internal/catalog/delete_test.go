package catalog

import (
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
)

// TestDeletionIsResumed: what the disk refused to delete does not stay until the next start.
func TestDeletionIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := disk.NewFaults()
		n := startNode(t, disk.NewFaulty(disk.NewMem(), faults))
		n.append(n.create("orders", 1).Partitions[0])
		faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpRename, Path: "orders-0"})
		if err := n.c.DeleteTopic("orders"); err != nil {
			t.Fatal(err)
		}
		left := func() int {
			synctest.Wait()
			n.c.live.RLock()
			defer n.c.live.RUnlock()
			return len(n.c.live.deletions)
		}
		if got := left(); got != 1 {
			t.Fatalf("%d deletions are left after a failure, want 1", got)
		}
		n.c.ResumeDeletions()
		if got := left(); got != 0 {
			t.Fatalf("%d deletions are left, want none", got)
		}
		if offset := n.append(n.create("orders", 1).Partitions[0]); offset != 0 {
			t.Fatalf("the new topic starts at offset %d", offset)
		}
		n.stop()
	})
}
