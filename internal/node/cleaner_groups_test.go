package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"ottla/internal/coordinator"
	"ottla/internal/disk"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

const groupsOfTest, commitsOfTest = 6, 40

func commitOffsets(t *testing.T, n *Node, round int64) {
	t.Helper()
	admin := kadm.NewClient(client(t, n))
	for g := range groupsOfTest {
		os := kadm.Offsets{}
		os.AddOffset("t", 0, round*100+int64(g), -1)
		if _, err := admin.CommitOffsets(t.Context(), fmt.Sprint("group-", g), os); err != nil {
			t.Fatal(err)
		}
	}
}

// checkOffsets wants the last commit of every group but the first, which was deleted.
func checkOffsets(t *testing.T, n *Node, round int64) {
	t.Helper()
	admin := kadm.NewClient(client(t, n))
	for g := range groupsOfTest {
		os, err := admin.FetchOffsets(t.Context(), fmt.Sprint("group-", g))
		if err != nil {
			t.Fatal(err)
		}
		got, found := os.Lookup("t", 0)
		switch {
		case g == 0 && found && got.At >= 0:
			t.Errorf("the deleted group is back, with offset %d", got.At)
		case g > 0 && (!found || got.At != round*100+int64(g)):
			t.Errorf("group %d: offset %d, %v, want %d", g, got.At, found, round*100+int64(g))
		}
	}
}

// cleanOffsets closes the active segments of __consumer_offsets and compacts them; ahead makes them old enough.
func cleanOffsets(t *testing.T, n *Node, ahead time.Duration) (stats seglog.CleanStats) {
	t.Helper()
	topic, found := n.catalog.Topic(coordinator.Topic)
	if !found {
		t.Fatal("no topic of committed offsets")
	}
	for _, p := range topic.Partitions {
		if _, _, err := p.Cleanable(t.Context(), time.Now().Add(ahead)); err != nil {
			t.Fatal(err)
		}
		s, err := p.Clean(t.Context(), time.Now().Add(ahead), partition.CleanTools{Map: seglog.NewOffsetMap(0)})
		if err != nil {
			t.Fatal(err)
		}
		stats.Superseded += s.Superseded
		stats.Tombstones += s.Tombstones
	}
	return stats
}

// TestCommittedOffsetsAreCompacted: what groups have committed survives compaction, kills and the loss of their store; a
// deleted group does not come back, and its tombstones go only when the store has seen them durably.
func TestCommittedOffsetsAreCompacted(t *testing.T) {
	mem := disk.NewMem()
	settings := []string{noCleaning, "offsets.topic.num.partitions=2"}
	n := start(t, mem, settings...)
	createTopic(t, n, "t", 1)
	for round := range int64(commitsOfTest) {
		commitOffsets(t, n, round)
	}
	if _, err := kadm.NewClient(client(t, n)).DeleteGroup(t.Context(), "group-0"); err != nil {
		t.Fatal(err)
	}
	last := int64(commitsOfTest - 1)
	first := cleanOffsets(t, n, 30*24*time.Hour)
	if first.Superseded < (commitsOfTest-2)*groupsOfTest {
		t.Errorf("%d records were superseded", first.Superseded)
	}
	checkOffsets(t, n, last)

	removed := int64(0)
	for i, lose := range []bool{false, true, false} {
		mem = mem.KillClone()
		n.Kill()
		if lose {
			if err := mem.RemoveAll("data/" + groupsDir); err != nil {
				t.Fatal(err)
			}
		}
		n = start(t, mem, settings...)
		checkOffsets(t, n, last)
		last++
		for g := 1; g < groupsOfTest; g++ {
			os := kadm.Offsets{}
			os.AddOffset("t", 0, last*100+int64(g), -1)
			if _, err := kadm.NewClient(client(t, n)).CommitOffsets(t.Context(), fmt.Sprint("group-", g), os); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.groupsCold.Flush(); err != nil {
			t.Fatal(err)
		}
		removed += cleanOffsets(t, n, time.Duration(i+2)*30*24*time.Hour).Tombstones
		checkOffsets(t, n, last)
	}
	if removed == 0 {
		t.Error("the tombstones are there for ever")
	}
	stop(t, n)
}
