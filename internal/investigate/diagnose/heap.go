package diagnose

import (
	"fmt"
	"math"
	"sort"
	"strconv"

	"ottla/internal/investigate/evidence"
)

const (
	fillable = 0.9 // of -Xmx: beyond that a broker does nothing but collect garbage
	// baseHeap is what a broker's heap holds after a collection without any producers, where no metric says it: measured at about 60 to
	// 110 MiB for brokers of 2.3 to 4.3; partitions come on top.
	baseHeap      = 100 << 20
	partitionHeap = 16 << 10
	// heapGuess is what a heap of unknown size is judged by: the size that guides to running Kafka recommend.
	heapGuess = 6 << 30
)

// heapSizes are the rows of the table for heaps of an unknown size, in GiB.
var heapSizes = []float64{1, 4, 6, 8, 16, 31}

func numberOf(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) {
		return 0
	}
	return math.Max(math.Min(n, 1e18), -1)
}

// load is what one broker carries.
type load struct {
	now, rate, plateau float64 // entries, entries a second, entries
	bytes, byteRate    float64
	plateauBytes       float64
	toPlateau          float64 // seconds until the last suspect topic is on its plateau
	partitions         int
	most               bool // bytes are the most that they can be: how many batches producers wrote is not known
	uncounted          bool // a topic's births are over, and neither sets nor records tell how many entries they left in some partition
}

// add counts entries that are there now, of so many bytes each.
func (l *load) add(entries, per float64) { l.now, l.bytes = l.now+entries, l.bytes+entries*per }

// heaps computes every broker's heap, fullest first: by time until full, then by share or bytes of the plateau.
func (f *findings) heaps() []Heap {
	loads := f.loads()
	metrics := metricsOf(f.scan)
	var out []Heap
	for _, id := range f.brokerIDs(loads) {
		l := loads[id]
		if l == nil {
			l = &load{}
		}
		out = append(out, f.heapOf(id, l, metrics[id], metrics))
	}
	f.bomb(out)
	sort.SliceStable(out, func(i, j int) bool { return fuller(&out[i], &out[j]) })
	return out
}

func fuller(a, b *Heap) bool {
	if (a.UntilFull >= 0) != (b.UntilFull >= 0) {
		return a.UntilFull >= 0
	}
	if a.UntilFull >= 0 && a.UntilFull != b.UntilFull {
		return a.UntilFull < b.UntilFull
	}
	if a.Share != b.Share {
		return a.Share > b.Share
	}
	if a.Plateau != b.Plateau {
		return a.Plateau > b.Plateau
	}
	if a.Bytes != b.Bytes {
		return a.Bytes > b.Bytes
	}
	return a.Broker < b.Broker
}

func (f *findings) brokerIDs(loads map[int32]*load) []int32 {
	seen := map[int32]bool{}
	var ids []int32
	add := func(id int32) {
		if !seen[id] && id >= 0 && len(ids) < evidence.BrokersMax {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for i := range f.scan.Brokers {
		add(f.scan.Brokers[i].ID)
	}
	for id := range loads {
		add(id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

// loads spreads the leaking topics' entries over the replicas of their partitions.
func (f *findings) loads() map[int32]*load {
	out := map[int32]*load{}
	at := func(id int32) *load {
		if out[id] == nil {
			out[id] = &load{}
		}
		return out[id]
	}
	for i := range f.scan.Partitions {
		for _, id := range f.scan.Partitions[i].Replicas {
			at(id).partitions++
		}
	}
	for _, t := range f.topics {
		if t.leak == noLeak && !t.churn {
			f.leftBehindToo(t, at)
			continue
		}
		live, per := f.live(t), f.entrySize(t)
		parts := f.partitions[t.name]
		rates := t.byPartition(parts)
		toPlateau := math.Max(t.stay-f.leakAge(t), 0)
		for j, p := range parts {
			now := f.liveIn(t, p, rates[j], &live)
			for _, id := range p.Replicas {
				l := at(id)
				l.rate, l.byteRate = l.rate+rates[j], l.byteRate+rates[j]*per
				l.plateau, l.plateauBytes = l.plateau+rates[j]*t.stay, l.plateauBytes+rates[j]*t.stay*per
				l.add(now, per)
				if rates[j] > 0 {
					l.toPlateau = math.Max(l.toPlateau, toPlateau)
				}
			}
		}
	}
	f.countedToo(at)
	return out
}

// leftBehindToo adds what births that are over have left in those partitions of a topic that no broker has counted: countedToo adds
// the others.
func (f *findings) leftBehindToo(t *topicFacts, at func(id int32) *load) {
	if t.newborn < newbornEnough || t.share < allNewborn {
		return
	}
	parts := f.partitions[t.name]
	n, known := f.leftBehind(t)
	per, left := f.entrySize(t), liveEntries{count: n}
	rates := t.byPartition(parts)
	for j, p := range parts {
		if f.sets[partitionKey{p.Topic, p.Index}] != nil {
			continue
		}
		now := f.liveIn(t, p, rates[j], &left)
		for _, id := range p.Replicas {
			l := at(id)
			l.add(now, per)
			l.uncounted = l.uncounted || !known
		}
	}
}

// countedToo adds the entries of topics that do not leak, as far as they were counted.
func (f *findings) countedToo(at func(id int32) *load) {
	replicas := make(map[partitionKey][]int32, len(f.scan.Partitions))
	for i := range f.scan.Partitions {
		p := &f.scan.Partitions[i]
		replicas[partitionKey{p.Topic, p.Index}] = p.Replicas
	}
	for key, set := range f.sets {
		if t := f.byName[key.topic]; t != nil && (t.leak != noLeak || t.churn) {
			continue
		}
		per, most := f.countedSize(key.topic, set)
		for _, id := range replicas[key] {
			l := at(id)
			l.add(float64(set.Producers), per)
			l.most = l.most || most && set.Producers > 0
		}
	}
}

// countedSize is the bytes of an entry in a topic that does not leak now. What is left of a leak that is over wrote few batches each, which
// its records or the set itself still show; else it is the most that an entry can have.
func (f *findings) countedSize(topic string, set *evidence.ProducerSet) (per float64, most bool) {
	if t := f.byName[topic]; t != nil && t.newborn > 0 && t.share >= allNewborn {
		return f.entrySize(t), false
	}
	batches := float64(batchesRemembered)
	if float64(set.SequenceZero) >= allNewborn*float64(set.Producers) {
		batches = 1
	}
	return entryBytes(f.version.taken(), batches, f.heapMax, f.scan.Given.CompactHeaders), batches > 1
}

// liveIn is the entries of one partition: its own set, or its part of the topic's.
func (f *findings) liveIn(t *topicFacts, p *evidence.Partition, rate float64, topic *liveEntries) float64 {
	if set := f.sets[partitionKey{p.Topic, p.Index}]; set != nil {
		return f.carriedOn(t, set)
	}
	if topic.count <= 0 || t.entries <= 0 {
		return 0
	}
	n := topic.count * rate / t.entries
	if bound := p.Bound(); bound >= 0 {
		n = math.Min(n, float64(bound)+rate*f.scanSeconds())
	}
	return n
}

// entrySize is the mean bytes of a topic's entries: the batches that a producer wrote to one partition.
func (f *findings) entrySize(t *topicFacts) float64 {
	batches, entries := 0.0, 0.0
	for i := range t.producers {
		p := &t.producers[i]
		if p.born || t.churn && p.txn {
			n := math.Max(float64(p.partitions), 1)
			batches, entries = batches+math.Min(float64(p.batches), batchesRemembered*n), entries+n
		}
	}
	if entries == 0 {
		return entryBytes(f.version.taken(), 1, f.heapMax, f.scan.Given.CompactHeaders)
	}
	return entryBytes(f.version.taken(), batches/entries, f.heapMax, f.scan.Given.CompactHeaders)
}

// byPartition is each partition's rate: the sampled ones' own, the others' the mean of those.
func (t *topicFacts) byPartition(parts []*evidence.Partition) []float64 {
	own := make(map[int32]float64, len(t.entryRates))
	for i, r := range t.entryRates {
		own[r.index] = r.perSecond
		if t.churn {
			own[r.index] += t.txnRates[i].perSecond
		}
	}
	mean := 0.0
	if t.partitions > 0 {
		mean = t.entries / float64(t.partitions)
	}
	out := make([]float64, len(parts))
	for i, p := range parts {
		if r, sampled := own[p.Index]; sampled {
			out[i] = finite(r)
		} else {
			out[i] = mean
		}
	}
	return out
}

// heapOf: the heap's size as given, else by metrics; else the table.
func (f *findings) heapOf(id int32, l *load, m brokerMetric, all map[int32]brokerMetric) Heap {
	per := entryBytes(f.version.taken(), 1, f.heapMax, f.scan.Given.CompactHeaders)
	if l.now > 0 && l.bytes > 0 {
		per = l.bytes / l.now
	} else if l.rate > 0 {
		per = l.byteRate / l.rate
	}
	h := Heap{
		Broker: id, EntryBytes: finite(per), Bytes: finite(l.bytes), PerSecond: finite(l.rate), Plateau: finite(l.plateauBytes),
		UntilFull: -1, Source: "computed: rate x (life + 10 min) x bytes an entry",
	}
	if l.most {
		h.Source += "; bytes an entry: at most, of topics that do not leak"
	}
	entries := l.now
	if _, counted := all[id]; counted && m.entries >= 0 {
		entries = m.entries
		h.Bytes, h.Source = finite(entries*per), h.Source+"; entries now: "+evidence.SourceMetrics
	} else if l.uncounted {
		h.Source += "; without what births that are over have left, which nothing tells here"
	}
	h.Entries = int64(math.Min(entries, 1e18))
	switch {
	case f.scan.Given.HeapBytes > 0:
		h.HeapMax, h.Source = float64(f.scan.Given.HeapBytes), h.Source+"; heap size: given"
	case m.heapMax > 0:
		h.HeapMax, h.Source = finite(m.heapMax), h.Source+"; heap size: "+evidence.SourceMetrics
	}
	if f.life.entriesMax > 0 {
		h.Plateau = math.Min(h.Plateau, float64(f.life.entriesMax)*per)
	}
	if f.life.Bounded != "" && f.life.entriesMax == 0 {
		h.Plateau, h.Bytes, h.Source = 0, 0, "bounded: "+f.life.Bounded
		return h
	}
	base := func(size float64) float64 {
		if m.afterGC > 0 && m.afterGC <= math.Max(m.heapMax, h.HeapMax) {
			return math.Max(m.afterGC-h.Bytes, baseHeap/2) // what lives after a collection, without the entries
		}
		// A broker that runs at all in a tiny heap leaves some of it free.
		return math.Min(baseHeap+float64(l.partitions)*partitionHeap, 0.4*size)
	}
	if h.HeapMax > 0 {
		h.Share, h.UntilFull = shareOf(h.Plateau, h.HeapMax), untilFull(&h, l, base(h.HeapMax), h.HeapMax)
		return h
	}
	for _, gib := range heapSizes {
		size := gib * (1 << 30)
		h.Sizes = append(h.Sizes, HeapSize{size, shareOf(h.Plateau, size), untilFull(&h, l, base(size), size)})
	}
	return h
}

func shareOf(bytes, heap float64) float64 {
	if heap <= 0 {
		return 0
	}
	return finite(math.Min(bytes/heap, 1e6))
}

// untilFull is the time until entries and base fill what can be filled; -1 if births stop short of it. Growth is that of the rate until
// the plateau is reached.
func untilFull(h *Heap, l *load, base, heapMax float64) float64 {
	room := fillable*heapMax - base - h.Bytes
	if room <= 0 && h.Bytes > 0 {
		return 0
	}
	if l.byteRate <= 0 || base+h.Plateau <= fillable*heapMax {
		return -1
	}
	return finite(math.Max(room, 0) / l.byteRate)
}

// bomb is what replaying the longest-retained suspect partition puts on a new replica at once: a replay looks at no times, so every
// producer that its log still holds comes back (LogLoader, ProducerStateManager).
func (f *findings) bomb(heaps []Heap) {
	best, name := 0.0, ""
	for _, t := range f.topics {
		if t.leak == noLeak && !t.churn || t.batches <= 0 {
			continue
		}
		per := f.entrySize(t)
		perRecord := t.entriesPerOffset(f.scan)
		for _, p := range f.partitions[t.name] {
			if p.End < 0 || p.Start < 0 || p.End <= p.Start {
				continue
			}
			bytes := float64(p.End-p.Start) * perRecord * per
			if bytes > best {
				best, name = bytes, fmt.Sprintf("%s-%d", t.name, p.Index)
			}
		}
	}
	if f.life.Bounded != "" {
		return
	}
	for i := range heaps {
		heaps[i].BombBytes, heaps[i].BombTopic = finite(best), name
	}
}

// entriesPerOffset is newborn entries per offset of the topic's tails.
func (t *topicFacts) entriesPerOffset(s *evidence.Scan) float64 {
	entries, offsets := 0.0, 0.0
	for i := range t.producers {
		if t.producers[i].born {
			entries += float64(max(t.producers[i].bornIn, 1))
		}
	}
	entries += float64(t.newbornLeftOut)
	offsets = t.offsets
	if offsets <= 0 {
		return 0
	}
	return math.Min(entries/offsets, 1)
}
