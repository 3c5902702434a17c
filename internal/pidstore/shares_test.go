package pidstore

import (
	"runtime"
	"testing"
	"unsafe"

	"ottla/internal/coldstate"
)

// TestPartitionIsSmall: 10,000 idle partitions cost about 2 MiB here.
func TestPartitionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Partition{}); size > 256 {
		t.Errorf("a partition takes %d bytes, want at most 256", size)
	}
}

func TestSplit(t *testing.T) {
	for _, budget := range []int64{BudgetBytesMin, BudgetBytesMin + 1, 5 << 20, 32 << 20, 1 << 30, 64 << 30} {
		s := Split(budget)
		if s.HotBytes+s.OverlayBytes+s.ColdBytes != budget {
			t.Errorf("budget %d: shares %+v", budget, s)
		}
		l := newLayout(s.HotBytes, s.OverlayBytes)
		if l.hotBytes() > s.HotBytes || l.overlayBytes() > s.OverlayBytes {
			t.Errorf("budget %d: %+v takes %d and %d of %+v", budget, l, l.hotBytes(), l.overlayBytes(), s)
		}
		if l.hotBytes() < s.HotBytes*9/10 || l.overlayBytes() < s.OverlayBytes*9/10 {
			t.Errorf("budget %d: %+v uses only %d and %d of %+v", budget, l, l.hotBytes(), l.overlayBytes(), s)
		}
		// The smallest budgets are mostly the cold store's: what it needs at least leaves an eighth.
		slots, units := 1000, 400
		if budget < 2<<20 {
			slots, units = 300, unitsPerShard
		}
		if l.hotSets*l.shards*cellsPerSet < slots || l.units < units {
			t.Errorf("budget %d: too few: %+v", budget, l)
		}
		if s.ColdBytes < coldstate.MemoryBytesMin {
			t.Errorf("budget %d: the cold store takes more than its share: %+v", budget, s)
		}
	}
}

// TestMemoryIsAsComputed: what Open allocates is what the shares say.
func TestMemoryIsAsComputed(t *testing.T) {
	const bytes = 64 << 20
	w := newWorld(t, tinyBytes, 0)
	before := heapBytes()
	o := w.s.o
	o.MemoryBytes = bytes
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	got := heapBytes() - before
	if st := s.Stats(); got > bytes+bytes/50 || st.HotBytes+st.OverlayBytes > bytes {
		t.Errorf("heap grew by %d for a share of %d; stats %+v", got, int64(bytes), st)
	}
	s.applier.stop()
	s.keeper.stop()
	runtime.KeepAlive(s)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
