package pidstore

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"

	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/producer"
)

// benchStore is a store on the real file system, with a budget divided as the broker does.
func benchStore(b testing.TB, budget int64) (*world, *logFile) {
	w := &world{t: b, blocks: &blocks{next: 1 << 33}, expirationMillis: 86_400_000}
	m, quiet := metrics.New(), slog.New(slog.DiscardHandler)
	shares := Split(budget)
	var err error
	w.cold, err = coldstate.Open(coldstate.Options{FS: disk.OS(), Dir: b.TempDir(), MemoryBytes: shares.ColdBytes, Metrics: m.Cold, Logger: quiet})
	w.must(err)
	w.ids, err = NewIDs(w.blocks, m.Producers)
	w.must(err)
	w.s, err = Open(Options{
		Cold: w.cold, MemoryBytes: shares.HotBytes + shares.OverlayBytes, ExpirationMillis: w.expirationMillis,
		IDs: w.ids, Metrics: m.Producers, Logger: quiet,
	})
	w.must(err)
	b.Cleanup(func() {
		_ = w.s.Close()
		_ = w.cold.Close()
	})
	return w, w.addLog(1)
}

// benchSend is send without the log.
func (w *world) benchSend(l *logFile, pid int64, seq int32) producer.Verdict {
	pin, err := l.p.Lookup(w.t.Context(), pid)
	w.must(err)
	in := producer.Incoming{BaseSequence: seq, LastSequence: seq}
	v, _, err := l.p.Check(&pin, in)
	w.must(err)
	if v == producer.Append {
		s := producer.Stored{BaseSequence: seq, LastSequence: seq, BaseOffset: l.end, LastOffset: l.end, Timestamp: 1_790_000_000_000 + l.end/30}
		l.end++
		l.p.Applied(&pin, in, s)
	}
	l.p.Release(&pin)
	return v
}

// benchPass is how many appends share one pass of the committer at 30,000 a second
// and 5 ms a pass.
const benchPass = 150

// BenchmarkNewProducer is the whole path of a single-use producer: id, look-up,
// check, overlay, applier, cold store, hot table.
func BenchmarkNewProducer(b *testing.B) {
	w, l := benchStore(b, 32<<20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.benchSend(l, w.newPID(), 0)
		if i%benchPass == 0 {
			w.commit(l)
		}
	}
	w.commit(l)
	w.settle()
	if hits, misses := w.coldReads(); hits+misses > 0 {
		b.Fatalf("%d reads", hits+misses)
	}
}

// BenchmarkHotProducer writes batch after batch.
func BenchmarkHotProducer(b *testing.B) {
	w, l := benchStore(b, 32<<20)
	pids := make([]int64, 100)
	for i := range pids {
		pids[i] = w.newPID()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.benchSend(l, pids[i%100], int32(i/100))
		if i%benchPass == 0 {
			w.commit(l)
		}
	}
	w.commit(l)
	w.settle()
}

// BenchmarkColdRetry asks for producers that left memory long ago, in random order.
func BenchmarkColdRetry(b *testing.B) {
	w, l := benchStore(b, 32<<20)
	const n = 1_000_000
	first := w.ids.Issued()
	fill(w, l, n)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if v := w.benchSend(l, first+int64(i)*7919%(n/2), 0); v != producer.Duplicate {
			b.Fatal("not recognised")
		}
	}
}

func fill(w *world, l *logFile, n int) {
	for i := range n {
		w.benchSend(l, w.newPID(), 0)
		if i%benchPass == 0 {
			w.commit(l)
		}
	}
	w.commit(l)
	w.settle()
	w.must(w.s.keeper.flush())
}

// BenchmarkReplay is the recovery of a partition whose store is lost.
func BenchmarkReplay(b *testing.B) {
	w, _ := benchStore(b, 32<<20)
	l := &logFile{num: 2}
	l.p = w.s.AddPartition(2, 0)
	_, _, err := l.p.Load()
	w.must(err)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		w.must(l.p.Replay(1<<33+i, producer.Incoming{}, producer.Stored{BaseOffset: i, LastOffset: i, Timestamp: i}))
	}
	w.must(l.p.ReplayDone(coldstate.Checkpoint{Offset: int64(b.N) + 1}))
}

// TestMemoryByEntries shows the resident memory with OTTLA_PIDSTORE_ENTRIES entries
// and the default budget, and their size on disk.
func TestMemoryByEntries(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("OTTLA_PIDSTORE_ENTRIES"))
	if err != nil {
		t.Skip("set OTTLA_PIDSTORE_ENTRIES to a number of entries")
	}
	w, l := benchStore(t, 32<<20)
	step := max(n/10, 1)
	for done := 0; done < n; done += step {
		fill(w, l, step)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%9d entries: %s resident, heap %d MiB, %d MiB on disk", done+step, resident(t), m.HeapAlloc>>20, w.cold.DiskBytes()>>20)
	}
	t.Logf("%+v", w.s.Stats())
	t.Logf("%.1f bytes of disk an entry", float64(w.cold.DiskBytes())/float64(n))
}

func resident(t *testing.T) string {
	f, err := disk.OS().Open("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc")
	}
	defer f.Close()
	buf := make([]byte, 100)
	n, _ := f.ReadAt(buf, 0)
	var total, pages int64
	if _, err := fmt.Sscan(string(buf[:n]), &total, &pages); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d MiB", pages*int64(os.Getpagesize())>>20)
}
