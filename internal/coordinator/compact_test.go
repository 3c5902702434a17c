package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/disk"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// clean compacts all partitions. A tombstone gets its horizon in one pass and goes in a later one that has something to do.
func clean(t *testing.T, w *world) (tombstones int64) {
	t.Helper()
	pauseFor(time.Minute)
	for _, p := range w.parts {
		stats, err := p.Clean(t.Context(), time.Now(), partition.CleanTools{Map: seglog.NewOffsetMap(1 << 20)})
		if err != nil {
			t.Fatal(err)
		}
		tombstones += stats.Tombstones
	}
	return tombstones
}

// TestCompaction: a log that is compacted between two starts, one of which is after a crash, gives the same groups.
func TestCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem()
		w := mustOpen(t, mem, worldOptions{partitions: 1, compact: true})
		play := func(round int64) {
			for i := range 40 {
				mustCommit(t, w, simple(fmt.Sprintf("g%d", i%8), "t0", int32(i%3), round*100+int64(i)))
			}
			gone := fmt.Sprintf("gone-%d", round)
			mustCommit(t, w, simple(gone, "t0", 0, round))
			if out, err := w.c.DeleteGroups(t.Context(), []string{gone}); err != nil || out[0].ErrorCode != 0 {
				t.Fatal(out, err)
			}
			for i := range 60 { // into the next segment
				mustCommit(t, w, simple("filler", "t0", 0, int64(i)))
			}
		}
		check := func(name string, w *world, round int64) {
			t.Helper()
			for i := 24; i < 40; i++ {
				wantOffset(t, w, fmt.Sprintf("g%d", i%8), "t0", int32(i%3), round*100+int64(i))
			}
			for r := range round {
				wantOffset(t, w, fmt.Sprintf("gone-%d", r), "t0", 0, -1)
			}
			if got := w.listed(t); len(got) != 9 {
				t.Errorf("%s: listed %v", name, got)
			}
			if err := w.close(); err != nil {
				t.Fatal(err)
			}
		}
		for round := range int64(3) {
			play(round)
			if n := clean(t, w); n != 0 && flushedUpTo(t, w) == 0 {
				t.Errorf("%d tombstones are gone that the cold store has not durably seen", n)
			}
		}
		if err := w.store.Flush(); err != nil {
			t.Fatal(err)
		}
		if flushedUpTo(t, w) == 0 {
			t.Error("nothing may be cleaned after a flush")
		}
		removed := int64(0)
		for round := range int64(3) {
			play(3 + round)
			removed += clean(t, w)
		}
		if removed == 0 {
			t.Error("no tombstone is gone after a flush")
		}
		left := mem.CrashClone(0, 1)
		lost := mem.CrashClone(0, 1)
		if err := lost.RemoveAll(storeDir); err != nil {
			t.Fatal(err)
		}
		check("running", w, 5)
		o := w.o
		o.unclean = true
		check("after a crash", mustOpen(t, left, o), 5)
		check("cold store lost", mustOpen(t, lost, o), 5)
	})
}

// flushedUpTo is how far the cold store has durably seen the first partition.
func flushedUpTo(t *testing.T, w *world) int64 {
	t.Helper()
	p, err := w.c.o.Partition(0)
	if err != nil {
		t.Fatal(err)
	}
	return w.c.flushedUpTo(p.Num())
}
