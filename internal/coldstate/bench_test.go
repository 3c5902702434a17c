package coldstate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"
	"testing"
	"time"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

var benchMetrics = metrics.New().Cold

const (
	benchPartitions   = 16
	benchValueBytes   = 46
	benchBatchEntries = 500
)

// benchEntries is how many entries the large benchmarks hold; OTTLA_BENCH_ENTRIES overrides it.
func benchEntries() int {
	if n, err := strconv.Atoi(os.Getenv("OTTLA_BENCH_ENTRIES")); err == nil {
		return n
	}
	return 1_000_000
}

// heapBytes returns what the last collection found reachable; garbage made since does not count.
func heapBytes() int64 {
	runtime.GC()
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// benchKey spreads ascending keys over the partitions, a little out of order, as many connections do.
func benchKey(i int) (part uint64, key int64) {
	return uint64(i*7%benchPartitions) + 1, int64(i ^ 13)
}

// benchValue is like a producer entry of one batch: offsets, a timestamp, sequence numbers.
func benchValue(i int, v []byte) []byte {
	v = v[:0]
	v = fmt.Appendf(v, "\x01\x00\x01")
	for _, x := range []uint64{uint64(i) * 3, uint64(i)*3 + 1, 1_760_000_000_000 + uint64(i)/30} {
		for s := 0; s < 64; s += 8 {
			v = append(v, byte(x>>s))
		}
	}
	rng := rand.NewPCG(uint64(i), 1)
	for len(v) < benchValueBytes {
		v = append(v, byte(rng.Uint64()))
	}
	return v
}

// fill commits n entries and samples the heap while it does.
func fill(b testing.TB, s *Store, n int) (heapMax int64, sampling time.Duration) {
	batch := s.NewBatch()
	defer batch.Close()
	var v []byte
	perBatch := int(min(benchBatchEntries, s.BatchBytesMax()/200))
	for i := range n {
		part, key := benchKey(i)
		v = benchValue(i, v)
		batch.Put(part, key, v)
		if batch.Len() >= perBatch {
			for p := range uint64(benchPartitions) {
				batch.SetCheckpoint(p+1, Checkpoint{Offset: int64(i)})
			}
			if err := batch.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		if i%(n/200) == n/400 {
			start := time.Now()
			heapMax = max(heapMax, heapBytes())
			sampling += time.Since(start)
		}
	}
	if err := batch.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	return heapMax, sampling
}

// settle waits until no compaction runs or wants to.
func settle(s *Store) {
	for quiet := 0; quiet < 2; quiet++ {
		if m := s.db.Metrics(); m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 {
			quiet = -1
		}
		select {
		case <-s.guard.changes():
			quiet = -1
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// BenchmarkFill measures a store of many entries: time, heap, disk, opening it, look-ups. One iteration is one store.
func BenchmarkFill(b *testing.B) {
	for _, memory := range []int64{16 << 20, 4 << 20, 1 << 20, MemoryBytesMin} {
		b.Run(fmt.Sprintf("memory=%dKiB", memory>>10), func(b *testing.B) {
			for b.Loop() {
				benchFill(b, memory)
			}
		})
	}
}

func benchFill(b *testing.B, memory int64) {
	n := benchEntries()
	dir := filepath.Join(b.TempDir(), "cold")
	opts := Options{FS: disk.OS(), Dir: dir, MemoryBytes: memory, Metrics: benchMetrics}
	before := heapBytes()
	s, err := Open(opts)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(heapBytes()-before)/1024, "KiB-heap-empty")
	start := time.Now()
	heapMax, sampling := fill(b, s, n)
	b.ReportMetric(float64((time.Since(start)-sampling).Microseconds())/float64(n), "us/entry")
	b.ReportMetric(float64(heapMax-before)/1024, "KiB-heap-max")
	start = time.Now()
	settle(s)
	b.ReportMetric(time.Since(start).Seconds(), "s-settle")
	b.ReportMetric(float64(s.DiskBytes())/float64(n), "disk-B/entry")
	m := s.db.Metrics()
	b.ReportMetric(float64(m.Flush.Count), "flushes")
	b.ReportMetric(float64(m.Compact.Count), "compactions")
	total := m.Total()
	b.ReportMetric(total.WriteAmp(), "write-amp")
	b.Logf("memory %+v of %d", s.MemoryInUse(), memory)
	if testing.Verbose() {
		fmt.Println(m)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	start = time.Now()
	if s, err = Open(opts); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms-open")
	benchGets(b, s, n)
	b.ReportMetric(float64(heapBytes()-before)/1024, "KiB-heap-reading")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchGets(b *testing.B, s *Store, n int) {
	const gets = 20_000
	var v []byte
	for _, hit := range []bool{true, false} {
		start := time.Now()
		for i := range gets {
			part, key := benchKey(int(uint64(i) * 2654435761 % uint64(n)))
			if !hit {
				part = part%benchPartitions + 1
			}
			val, found, err := s.Get(part, key, v[:0])
			if err != nil || found != hit {
				b.Fatalf("Get(%d, %d): found %v, %v", part, key, found, err)
			}
			v = val
		}
		name := "us/get-miss"
		if hit {
			name = "us/get-hit"
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/gets, name)
	}
}

// TestMemoryStaysWithinBudget fills a store with much more than its budget.
func TestMemoryStaysWithinBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const budget = 4 << 20
	before := heapBytes()
	s, err := Open(Options{FS: disk.OS(), Dir: filepath.Join(t.TempDir(), "cold"), MemoryBytes: budget, Metrics: benchMetrics})
	if err != nil {
		t.Fatal(err)
	}
	heapMax, _ := fill(t, s, 400_000)
	// What the collector marks while others allocate counts as live: a quarter is for that. With cgo much is not on the heap.
	if used := heapMax - before; used < 256<<10 || used > budget*5/4 {
		t.Errorf("%d bytes of heap with a budget of %d", used, budget)
	}
	if m := s.MemoryInUse(); m.Total() <= fixedBytes || m.Total() > budget*5/4 {
		t.Errorf("MemoryInUse says %+v", m)
	}
	closeTest(t, s)
}
