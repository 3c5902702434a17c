package pidstore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"ottla/internal/producer"
)

// growthRounds is how often each operation is measured at each number of entries.
const growthRounds = 5

// BenchmarkGrowth is the time of each operation with 10,000 entries, ten times as many, and so on up to
// OTTLA_GROWTH_ENTRIES (100,000): it must not grow with them. Work put off by an operation counts. Run it with a fixed
// number of operations that is small beside 10,000 (-benchtime 5000x), because new producers add to the entries.
func BenchmarkGrowth(b *testing.B) {
	most := 100_000
	if text := os.Getenv("OTTLA_GROWTH_ENTRIES"); text != "" {
		var err error
		if most, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	w, l := benchStore(b, 32<<20)
	g := &growth{w: w, l: l, first: w.ids.Issued()}
	for n := 10_000; n <= most; n *= 10 {
		g.from = w.ids.Issued()
		fill(w, l, n-int(g.from-g.first))
		g.to = w.ids.Issued()
		for round := range growthRounds {
			for _, op := range []struct {
				name string
				do   func(b *testing.B, i int)
			}{{"append-new", g.appendNew}, {"append-known", g.appendKnown}, {"retry-recent", g.retryRecent}, {"retry-any", g.retryAny}} {
				b.Run(fmt.Sprintf("entries=%d/%s/round=%d", n, op.name, round+1), func(b *testing.B) { g.run(b, op.do) })
			}
		}
	}
}

// growth is a store that grows.
type growth struct {
	w     *world
	l     *logFile
	first int64
	from  int64      // the producers of the last filling: nine tenths of all
	to    int64      // behind the last of them
	known [100]int64 // producers that write batch after batch
}

func (g *growth) run(b *testing.B, do func(b *testing.B, i int)) {
	for i := range g.known {
		g.known[i] = g.w.newPID()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		do(b, i)
		if i%benchPass == 0 {
			g.w.commit(g.l)
		}
	}
	g.w.commit(g.l)
	g.w.settle()
}

func (g *growth) appendNew(*testing.B, int) { g.w.benchSend(g.l, g.w.newPID(), 0) }

func (g *growth) appendKnown(b *testing.B, i int) {
	if v := g.w.benchSend(g.l, g.known[i%len(g.known)], int32(i/len(g.known))); v != producer.Append {
		b.Fatalf("answered %v", v)
	}
}

// retryRecent asks for producers that have just written: in memory.
func (g *growth) retryRecent(b *testing.B, i int) {
	if i < len(g.known) {
		g.w.benchSend(g.l, g.known[i], 0)
		return
	}
	g.retry(b, g.known[i%len(g.known)])
}

// retryAny asks for producers of any age: from a million on most are not in memory.
func (g *growth) retryAny(b *testing.B, _ int) { g.retry(b, g.from+rand.Int64N(g.to-g.from)) }

func (g *growth) retry(b *testing.B, pid int64) {
	if v := g.w.benchSend(g.l, pid, 0); v != producer.Duplicate {
		b.Fatalf("producer %d is not recognised: %v", pid, v)
	}
}
