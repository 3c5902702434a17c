package diagnose

import (
	"fmt"
	"math"
	"slices"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

const (
	blockSize = 1000 // ids in a block (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE)
	// everMax: ids above it were not counted up from zero.
	everMax = 1 << 32
	// restartAfter is the time between two probes of a broker from which on a restart in between, which drops the rest of its
	// blocks, is counted into the error.
	restartAfter = 600.0
)

// birthFacts is what the counter says. The zero value: nothing.
type birthFacts struct {
	exact            bool // every broker was probed twice within one block, or the counter is global
	known            bool
	seconds          float64 // between the first and the last probe
	count            float64
	perSecond, error float64
	most             int64 // highest id seen by a probe; -1
	model            evidence.IDModel
	how              string
}

// idModel is the model that was found, or what the vendor is known for.
func idModel(c *evidence.Cluster) evidence.IDModel {
	if c.IDs != evidence.IDsUnknown {
		return c.IDs
	}
	switch c.Vendor {
	case evidence.VendorKafka, evidence.VendorAutoMQ, evidence.VendorOttla:
		return evidence.IDsInBlocks
	case evidence.VendorRedpanda:
		return evidence.IDsGlobal
	}
	return evidence.IDsUnknown
}

func birthsOf(s *evidence.Scan) birthFacts {
	b := birthFacts{most: -1, model: idModel(&s.Cluster)}
	if b.model == evidence.IDsRandom || b.model == evidence.IDsUnknown {
		return b
	}
	probes := make([]evidence.CounterProbe, 0, min(len(s.Counter), evidence.CounterProbesMax))
	for _, p := range s.Counter {
		if p.PID >= 0 && len(probes) < evidence.CounterProbesMax {
			probes = append(probes, p)
			b.most = max(b.most, p.PID)
		}
	}
	slices.SortStableFunc(probes, func(a, b evidence.CounterProbe) int { return a.At.Compare(b.At) })
	if len(probes) < 2 {
		return b
	}
	if b.model == evidence.IDsGlobal {
		b.global(probes, failed(s))
	} else {
		b.blocks(probes, len(s.Brokers), failed(s))
	}
	return b
}

// failed counts probes that may have burned an id without telling which.
func failed(s *evidence.Scan) (n float64) {
	for _, p := range s.Counter {
		if p.PID < 0 && p.Error != "" {
			n++
		}
	}
	return n
}

// global: one ascending counter; own probes lie in between.
func (b *birthFacts) global(probes []evidence.CounterProbe, failed float64) {
	first, last := probes[0], probes[len(probes)-1]
	b.seconds = last.At.Sub(first.At).Seconds()
	moved := float64(last.PID) - float64(first.PID) - float64(len(probes)-1)
	if b.seconds <= 0 || moved < 0 {
		return
	}
	b.known, b.exact = true, true
	b.set(moved, failed)
	b.how = fmt.Sprintf("one counter: %s - %s, minus %d own probes, in %s", phrase.Exact(float64(last.PID)), phrase.Exact(float64(first.PID)), len(probes)-1, phrase.SpanInWords(b.seconds))
}

func (b *birthFacts) set(births, off float64) {
	b.count = births
	b.perSecond, b.error = finite(births/b.seconds), finite(off/b.seconds)
}

// blocks adds up what each broker handed out between its own first and last probe: exact within a block. A broker that went on to
// another block handed out the rest of the old one and the beginning of the new one; blocks that were fetched in the meantime
// and that no probe fell in were used up by one of those brokers, or lie ready.
func (b *birthFacts) blocks(probes []evidence.CounterProbe, brokers int, failed float64) {
	byBroker := map[int32][]evidence.CounterProbe{}
	ids := []int32{}
	for _, p := range probes {
		if byBroker[p.Broker] == nil {
			ids = append(ids, p.Broker)
		}
		byBroker[p.Broker] = append(byBroker[p.Broker], p)
	}
	slices.Sort(ids)
	w := walk{seen: map[int64]bool{}, off: failed}
	for _, id := range ids {
		if !w.broker(byBroker[id]) {
			return // ids went down: the model is wrong
		}
	}
	if w.probed == 0 || w.seconds <= 0 {
		return
	}
	if b.known, b.seconds = true, w.seconds; len(ids) == 1 && brokers <= 1 {
		// All blocks are this broker's: what lies between two probes was handed out, or dropped by a restart.
		b.alone(probes, failed)
		return
	}
	missing := math.Max(float64(brokers-w.probed), 0)
	unseen := w.unseen()
	if w.crossed > 0 || missing > 0 {
		w.births += float64(blockSize) * unseen
		w.off += blockSize * math.Min(unseen, float64(w.crossed)+missing)
	}
	if w.crossed > 0 && unseen > 0 {
		w.off += blockSize * float64(w.crossed) // fetched ahead before the first probe, used up before the last
	}
	w.off += 2 * blockSize * missing
	b.exact = w.crossed == 0 && missing == 0
	b.set(w.births, w.off)
	b.how = fmt.Sprintf("%d brokers probed over %s, %d of them within one block of ids: own probes left out", w.probed, phrase.SpanInWords(b.seconds), w.probed-w.crossed)
}

func (b *birthFacts) alone(probes []evidence.CounterProbe, failed float64) {
	first, last := probes[0], probes[len(probes)-1]
	off := failed
	if b.seconds > restartAfter && last.PID/blockSize != first.PID/blockSize {
		off += 2 * blockSize
	}
	b.exact = off == failed
	b.set(math.Max(float64(last.PID)-float64(first.PID)-float64(len(probes)-1), 0), off)
	b.how = fmt.Sprintf("one broker: %s - %s, minus %d own probes, in %s", phrase.Exact(float64(last.PID)), phrase.Exact(float64(first.PID)), len(probes)-1, phrase.SpanInWords(b.seconds))
}

// walk adds up brokers.
type walk struct {
	probed, crossed int
	births, off     float64
	seconds         float64 // the longest time of a broker; all are probed at about the same times
	seen            map[int64]bool
	firstMost       int64 // highest block at the brokers' first probes
	lastMost        int64
}

func (w *walk) broker(probes []evidence.CounterProbe) bool {
	first, last := probes[0], probes[len(probes)-1]
	w.firstMost, w.lastMost = max(w.firstMost, first.PID/blockSize), max(w.lastMost, last.PID/blockSize)
	for _, p := range probes {
		w.seen[p.PID/blockSize] = true
	}
	seconds := last.At.Sub(first.At).Seconds()
	if len(probes) < 2 || seconds <= 0 {
		return true
	}
	w.probed++
	crossed := false
	for i := 1; i < len(probes); i++ {
		a, b := probes[i-1].PID, probes[i].PID
		switch {
		case b <= a:
			return false
		case a/blockSize == b/blockSize:
			w.births += float64(b - a - 1)
		default:
			crossed = true
			w.births += float64(blockSize-1-a%blockSize) + float64(b%blockSize)
		}
	}
	if crossed {
		w.crossed++
		if seconds > restartAfter {
			w.off += 2 * blockSize
		}
	}
	w.seconds = math.Max(w.seconds, seconds)
	return true
}

// unseen counts blocks above the highest one of the first probes, up to the highest of the last, that no probe fell in.
func (w *walk) unseen() float64 {
	between := float64(w.lastMost - w.firstMost)
	for block := range w.seen {
		if block > w.firstMost && block <= w.lastMost {
			between--
		}
	}
	return math.Max(between, 0)
}

// counterMost is the highest id that the cluster can have handed out by the end of the scan; 0 if that is not known.
func (b *birthFacts) counterMost(brokers int) int64 {
	if b.most < 0 {
		return 0
	}
	return b.most + pidError(b.model, brokers) + int64(math.Min(4*b.count, 1e12))
}

// births chooses among the ways to know the rate: the counter where it is sharp enough, ids of newborn producers in two rounds, the
// clock's slope, and at last what the sampled topics show.
func (f *findings) birthRate() Births {
	b := Births{Ever: -1}
	if f.counter.most >= 0 && f.counter.most < everMax {
		b.Ever = f.counter.most
	}
	off := float64(pidError(f.counter.model, len(f.scan.Brokers)))
	sharp := func(rate, off float64) bool { return off <= 0.5*rate || off < birthsPerSecondMin }
	c := &f.counter
	if c.known && sharp(c.perSecond, c.error) {
		return withRate(b, c.perSecond, c.error, evidence.SourceCounter, c.how)
	}
	if rate, seconds := f.betweenRounds(); seconds > 0 && sharp(rate, off/seconds) {
		return withRate(b, rate, off/seconds, evidence.SourceTails, "highest newborn id of the second round minus that of the first")
	}
	k := &f.kink
	if n := len(k.curve); n >= 2 && f.counter.model != evidence.IDsRandom && f.counter.model != evidence.IDsUnknown {
		from := float64(k.curve[0].Time)
		if k.known {
			from = k.at
		}
		if seconds := (float64(k.curve[n-1].Time) - from) / 1000; seconds > 0 && sharp(k.last, off/seconds) {
			return withRate(b, math.Max(k.last, 0), off/seconds, evidence.SourceClock, "slope of the ids over time, a mean since then")
		}
	}
	if c.known {
		return withRate(b, c.perSecond, c.error, evidence.SourceCounter, c.how)
	}
	sum, sampled := 0.0, int64(0)
	for _, t := range f.topics {
		sum, sampled = sum+t.births, sampled+t.newborn
	}
	if sampled > 0 {
		f.birthsOfTopics = true
		return withRate(b, sum, sum/math.Sqrt(float64(sampled)), evidence.SourceTails, "newborn producers of the sampled topics by time: at least")
	}
	return b
}

func withRate(b Births, perSecond, off float64, source, how string) Births {
	b.Known, b.PerSecond, b.Error, b.Source, b.How = true, finite(perSecond), finite(off), source, how
	return b
}

// betweenRounds is the rise of the highest newborn id between the first and the last round of tails.
func (f *findings) betweenRounds() (perSecond, seconds float64) {
	if m := f.counter.model; m == evidence.IDsRandom || m == evidence.IDsUnknown {
		return 0, 0
	}
	type end struct {
		pid int64
		at  int64
	}
	rounds := map[int]*end{}
	limit := f.counter.counterMost(len(f.scan.Brokers))
	for i := range f.scan.Tails {
		t := &f.scan.Tails[i]
		for j := range t.Producers {
			p := &t.Producers[j]
			if !p.Born || p.Transactional || limit > 0 && p.PID > limit {
				continue
			}
			e := rounds[t.Round]
			if e == nil {
				e = &end{pid: -1}
				rounds[t.Round] = e
			}
			if p.PID > e.pid {
				e.pid, e.at = p.PID, t.At.UnixMilli()
			}
		}
	}
	first, last := rounds[0], rounds[1]
	if first == nil || last == nil || last.at <= first.at {
		return 0, 0
	}
	seconds = float64(last.at-first.at) / 1000
	return math.Max(float64(last.pid-first.pid)/seconds, 0), seconds
}
