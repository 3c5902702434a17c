package autopsy

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"ottla/internal/investigate/diagnose"
)

const (
	// blocksFitted bounds the points of a curve that are fitted, whose cost is their square.
	blocksFitted = 400
	// onsetFactor is how much faster births must be after the onset than before it to be called one.
	onsetFactor = 4
	// onsetBlocks is the least number of points on either side.
	onsetBlocks = 2
	// idBlock is how many producer ids Kafka's controller gives a broker at a time (ProducerIdsBlock).
	idBlock = 1000
	// everMax is the highest producer id that is taken for the number of producers ever made.
	everMax = 1 << 40
	// fileTimesApart: the times of files that are closer tell when they were copied, in seconds.
	fileTimesApart = 60
	// heapUsable is the share of -Xmx that is in use when a broker does nothing but collect garbage.
	heapUsable = 0.9
	// growthSpan is the shortest time, in ms, that a date is projected from.
	growthSpan = int64(10 * time.Minute / time.Millisecond)
	// grownLeast and grownShare: so many more entries, and so large a part of those before, are a clear growth between two looks.
	grownLeast = burstEntries
	grownShare = 0.1
	// expiryCheck is how long after its time an entry may still be there: the interval of the check, in seconds.
	expiryCheck = 600
)

// births is how fast producers were made: by the blocks of ids in the metadata log or in logs, else by what is in the
// partitions themselves.
func (f *facts) births() {
	b := &f.r.Births
	b.Ever = -1
	blocks, how := f.blocks()
	if len(blocks) > 0 {
		b.Ever = blocks[len(blocks)-1].Next
	}
	if len(blocks) >= 2 {
		first, last := blocks[0], blocks[len(blocks)-1]
		if seconds := last.At.Sub(first.At).Seconds(); seconds > 0 {
			b.Known, b.PerSecond = true, float64(last.Next-first.Next)/seconds
			b.How = fmt.Sprintf("%s, over %s", how, last.At.Sub(first.At).Round(time.Second))
		}
		if at, before, after, ok := kink(blocks); ok {
			b.Onset, b.Before, b.After = at, before, after
			b.PerSecond, b.How = after, how+", since the onset"
			f.newTopics(at)
		}
		return
	}
	most := int64(-1)
	for i := range f.r.Suspects {
		s := &f.r.Suspects[i]
		most = max(most, s.PIDMax)
		if s.PerSecond > b.PerSecond { // one producer may write to all partitions: the busiest is a lower bound
			b.Known, b.PerSecond, b.How = true, s.PerSecond, fmt.Sprintf("%s of %s: at least", s.PerSecondHow, s.Name)
		}
	}
	if b.Ever = max(b.Ever, most); f.content.Entries > 0 {
		b.Ever = max(b.Ever, f.content.PIDMax)
	}
	if b.Ever > everMax { // ids that do not count from 0
		b.Ever = -1
	}
}

// blocks is the history of the counter of producer ids, ascending, from the source that has more of it.
func (f *facts) blocks() (blocks []Block, how string) {
	if f.e.Metadata != nil {
		blocks, how = f.e.Metadata.Blocks, "blocks of ids in the metadata log"
	}
	var logged []Block
	for i := range f.e.Logs {
		logged = append(logged, f.e.Logs[i].Blocks...)
	}
	if len(logged) > len(blocks) {
		blocks, how = logged, "blocks of ids in the logs"
	}
	blocks = slices.Clone(blocks)
	slices.SortStableFunc(blocks, func(a, b Block) int { return a.At.Compare(b.At) })
	kept := blocks[:0] // a log lists a record again when it is replayed
	for _, b := range blocks {
		if len(kept) == 0 || b.Next > kept[len(kept)-1].Next {
			kept = append(kept, b)
		}
	}
	return kept, how
}

// kink finds the best fit of two straight lines that meet, ids over time, and says whether the second is so much steeper
// that something began there.
func kink(blocks []Block) (at time.Time, before, after float64, ok bool) {
	for len(blocks) > blocksFitted {
		thin := blocks[:0:0]
		for i, b := range blocks {
			if i%2 == 0 || i == len(blocks)-1 {
				thin = append(thin, b)
			}
		}
		blocks = thin
	}
	n := len(blocks)
	if n < 2*onsetBlocks+1 {
		return at, 0, 0, false
	}
	x := func(i int) float64 { return blocks[i].At.Sub(blocks[0].At).Seconds() }
	y := func(i int) float64 { return float64(blocks[i].Next - blocks[0].Next) }
	best, where := math.Inf(1), -1
	for k := onsetBlocks - 1; k < n-onsetBlocks; k++ {
		sum := 0.0
		for i := range n {
			from, to := 0, k
			if i > k {
				from, to = k, n-1
			}
			line := y(from)
			if x(to) > x(from) {
				line += (y(to) - y(from)) * (x(i) - x(from)) / (x(to) - x(from))
			}
			sum += (y(i) - line) * (y(i) - line)
		}
		if sum < best {
			best, where = sum, k
		}
	}
	if where < 0 || x(where) <= 0 || x(n-1) <= x(where) {
		return at, 0, 0, false
	}
	before = y(where) / x(where)
	after = (y(n-1) - y(where)) / (x(n-1) - x(where))
	if after < onsetFactor*before || y(n-1)-y(where) < 2*idBlock {
		return at, 0, 0, false
	}
	return blocks[where].At, before, after, true
}

// newTopics names the topics that were made shortly before the onset or since.
func (f *facts) newTopics(onset time.Time) {
	const listed = 20
	margin := max(time.Hour, f.e.At.Sub(onset)/20)
	for _, t := range f.e.Metadata.topics() {
		if t.At.After(onset.Add(-margin)) && len(f.r.NewTopics) < listed {
			f.r.NewTopics = append(f.r.NewTopics, t)
		}
	}
}

func (m *Metadata) topics() []TopicMade {
	if m == nil {
		return nil
	}
	out := slices.Clone(m.Topics)
	slices.SortStableFunc(out, func(a, b TopicMade) int { return a.At.Compare(b.At) })
	return out
}

// growth is how fast entries became more, and when the heap is full if that goes on.
func (f *facts) growth() {
	h := &f.r.Heap
	f.growthOfHeap()
	if !h.Known {
		f.growthOfPartitions()
	}
	if !h.Known || h.PerSecond <= 0 || h.EntryBytes <= 0 {
		return
	}
	if h.Max <= 0 || h.Used <= 0 && h.Bytes <= 0 || h.projectable < growthSpan {
		return
	}
	used := float64(h.Used)
	if used == 0 || f.hist == nil {
		used = max(used, h.Bytes)
	}
	room := heapUsable*float64(h.Max) - used
	if f.r.Life.Seconds > 0 { // what is there expires as fast as more comes
		plateau := h.PerSecond * (f.r.Life.Seconds + expiryCheck) * h.EntryBytes
		if plateau < heapUsable*float64(h.Max)-(used-h.Bytes) {
			return
		}
	}
	h.UntilFull = max(0, room/(h.PerSecond*h.EntryBytes))
	if f.hist != nil && !f.hist.At.IsZero() && h.UntilFull < 100*365*86400 {
		h.FullAt = f.hist.At.Add(time.Duration(h.UntilFull * float64(time.Second)))
	}
}

// grown is how the entries changed from the first look at the heap to the last.
type grown struct {
	from, to int64
	seconds  float64
	guessed  bool // seconds are those between two files, which may have been copied one after the other
}

func (g *grown) perSecond() float64 {
	if g.seconds <= 0 {
		return 0
	}
	return float64(g.to-g.from) / g.seconds
}

// growing says that the heap was seen to gain entries so fast that they take a part of it that matters if that goes on for as
// long as an entry lives.
func (f *facts) growing() bool {
	h, more := &f.r.Heap, f.grown.to-f.grown.from
	if f.ottla() || more < grownLeast || float64(more) < grownShare*float64(f.grown.from) {
		return false
	}
	size := h.Max
	if size == 0 {
		size = max(h.Used, HeapDefault)
	}
	return f.grown.perSecond()*(f.r.Life.Seconds+expiryCheck)*h.EntryBytes > shareAbsent*float64(size)
}

// growthOfHeap compares the first and the last histogram. Those of one moment, or without one, say nothing.
func (f *facts) growthOfHeap() {
	hists := make([]*Histogram, 0, len(f.e.Histograms))
	for i := range f.e.Histograms {
		if !f.e.Histograms[i].At.IsZero() {
			hists = append(hists, &f.e.Histograms[i])
		}
	}
	slices.SortStableFunc(hists, func(a, b *Histogram) int { return a.At.Compare(b.At) })
	if len(hists) < 2 {
		return
	}
	first, last := hists[0], hists[len(hists)-1]
	seconds := last.At.Sub(first.At).Seconds()
	if seconds < 1 {
		return
	}
	f.grown = grown{from: first.Entries().Objects, to: last.Entries().Objects, seconds: seconds, guessed: seconds < fileTimesApart && first.AtHow == fileTime && last.AtHow == fileTime}
	if f.grown.guessed {
		return
	}
	h := &f.r.Heap
	h.Known, h.projectable = true, int64(seconds*1000)
	h.PerSecond = float64(last.Entries().Objects-first.Entries().Objects) / seconds
	h.GrowthHow = fmt.Sprintf("%d histograms from %s to %s (%s)", len(hists), first.At.Format(time.RFC3339), last.At.Format(time.RFC3339), last.AtHow)
}

// growthOfPartitions adds up the partitions' own rates.
func (f *facts) growthOfPartitions() {
	h := &f.r.Heap
	n := 0
	for i := range f.r.Suspects {
		if s := &f.r.Suspects[i]; s.PerSecond > 0 {
			h.PerSecond += s.PerSecond
			h.projectable = max(h.projectable, s.Last.Sub(s.First).Milliseconds())
			n++
		}
	}
	if n > 0 {
		h.Known, h.GrowthHow = true, fmt.Sprintf("births in %d of %d partitions, at the time of their last writes; what expires meanwhile is not subtracted", n, len(f.r.Suspects))
	}
}

// sizes answers for the usual heaps where -Xmx is not known.
func (f *facts) sizes() {
	h := &f.r.Heap
	if h.Max > 0 || h.Entries <= 0 || h.EntryBytes == 0 {
		return
	}
	for _, gib := range []float64{1, 4, 6, 8, 16, 31} {
		size := gib * (1 << 30)
		row := diagnose.HeapSize{HeapMax: size, Share: h.Bytes / size, UntilFull: -1}
		if h.Known && h.PerSecond > 0 && h.projectable >= growthSpan {
			row.UntilFull = max(0, (heapUsable*size-max(h.Bytes, float64(h.Used)))/(h.PerSecond*h.EntryBytes))
		}
		h.Sizes = append(h.Sizes, row)
	}
}

// suspectTopics are the suspects by topic, the largest first.
func (f *facts) suspectTopics() (names []string, share map[string]float64) {
	share = map[string]float64{}
	for i := range f.r.Suspects {
		name := cmp.Or(f.r.Suspects[i].Topic, f.r.Suspects[i].Name)
		if _, seen := share[name]; !seen {
			names = append(names, name)
		}
		share[name] += f.r.Suspects[i].Share
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(share[b], share[a]) })
	return names, share
}
