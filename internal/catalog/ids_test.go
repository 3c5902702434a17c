package catalog

import (
	"math"
	"testing"

	"ottla/internal/disk"
)

type block struct{ start, end int64 }

func reserve(t *testing.T, c *Catalog, atLeast int64) block {
	t.Helper()
	start, end, err := c.ReserveProducerIDs(atLeast, 1000, 5)
	if err != nil {
		t.Fatal(err)
	}
	if end-start != 1000 || start < atLeast {
		t.Fatalf("got [%d, %d) for at least %d", start, end, atLeast)
	}
	return block{start, end}
}

func TestFirstBlock(t *testing.T) {
	seen := map[int64]bool{}
	for range 200 {
		c, err := openTest(disk.NewMem())
		if err != nil {
			t.Fatal(err)
		}
		b := reserve(t, c, 0)
		if b.start < 1<<32 || b.start >= 1<<48 || b.start%1000 != (1<<32)%1000 {
			t.Fatalf("a new cluster starts at %d", b.start)
		}
		seen[b.start] = true
	}
	if len(seen) < 190 {
		t.Fatalf("200 clusters started at only %d different ids", len(seen))
	}
}

// TestIDsNeverRepeat is case 32: restarts, kills, power losses, and a catalog that is put back to an older copy.
func TestIDsNeverRepeat(t *testing.T) {
	fs := disk.NewMem()
	var all []block
	add := func(b block) {
		for _, o := range all {
			if b.start < o.end && o.start < b.end {
				t.Fatalf("[%d, %d) was issued before as [%d, %d)", b.start, b.end, o.start, o.end)
			}
		}
		all = append(all, b)
	}
	for i := range 60 {
		c, err := openTest(fs)
		if err != nil {
			t.Fatal(err)
		}
		add(reserve(t, c, 0))
		old := fs.KillClone() // somebody makes a copy
		last := reserve(t, c, 0)
		add(last)
		add(reserve(t, c, last.end+int64(i)*100)) // a foreign id a little above ours
		switch i % 4 {
		case 0:
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		case 1:
			fs = fs.KillClone()
		case 2:
			fs = fs.CrashClone(0, int64(i))
		case 3:
			fs = old // and puts it back
		}
	}
}

// TestJumpPassesTheCopied: a process that starts from a copy passes, whatever the dice say, all that the copied process
// can have issued since, up to the least jump.
func TestJumpPassesTheCopied(t *testing.T) {
	fs := disk.NewMem()
	c, err := openTest(fs)
	if err != nil {
		t.Fatal(err)
	}
	end := reserve(t, c, 0).end
	for range 200 {
		again, err := openTest(fs.KillClone())
		if err != nil {
			t.Fatal(err)
		}
		if got := reserve(t, again, 0).start; got < end+jumpMin || got >= end+jumpMax {
			t.Fatalf("a copy that ends at %d goes on at %d", end, got)
		}
	}
}

func TestReserveRefusesNonsense(t *testing.T) {
	c, err := openTest(disk.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int64{0, -1, math.MinInt64} {
		if _, _, err := c.ReserveProducerIDs(0, count, 0); err == nil {
			t.Errorf("%d ids were reserved", count)
		}
	}
	if _, _, err := c.ReserveProducerIDs(math.MaxInt64-10, 1000, 0); err == nil {
		t.Error("ids above the largest were reserved")
	}
	reserve(t, c, 1<<62) // and nothing of it is left behind
}

func TestCreatedPID(t *testing.T) {
	c, err := openTest(disk.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	b := reserve(t, c, 0)
	create := func(name string) int64 {
		topic, err := c.CreateTopic(TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		return topic.ranges[0].createdPID
	}
	if got := create("a"); got != b.end {
		t.Errorf("got %d, want the end of the block %d: nobody said how much of it was issued", got, b.end)
	}
	c.SetIssued(func() int64 { return b.start + 10 })
	if got := create("b"); got != b.start+10 {
		t.Errorf("got %d, want %d", got, b.start+10)
	}
}
