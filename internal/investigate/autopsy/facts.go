package autopsy

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ottla/internal/investigate/diagnose"
)

// facts are the numbers that the rules use, put together from all evidence.
type facts struct {
	e    *Evidence
	r    *Report
	hist *Histogram // the last one of the broker, also of a dump
	// single is the share of producers that wrote one batch, of how many, and from where.
	single    float64
	singleOf  int64
	singleHow string
	direct    bool // single is from entries or batches themselves, not from a ratio of objects
	// sum of what entries themselves said, of all partitions
	content Producers
	grown   grown
	expired int64 // entries of partitions that nobody wrote to for longer than an entry lives
}

func gather(e *Evidence) *facts {
	f := &facts{e: e, r: &Report{Schema: SchemaVersion, Tool: e.Tool, At: e.At, Evidence: e}, single: -1}
	f.r.Version = versionOf(e)
	f.r.Life = lifeOf(e, f.r.Version)
	f.lastHistogram()
	f.suspects()
	f.entries()
	f.contents()
	f.singleUse()
	f.heapSize()
	f.entryBytes()
	f.births()
	f.growth()
	f.share()
	return f
}

// ottla says that the remains are those of Ottla, not of a broker on a Java virtual machine.
func (f *facts) ottla() bool { return len(f.e.Ottla) > 0 && f.hist == nil }

// lastHistogram takes the latest look at the heap; of equal times the one with most objects.
func (f *facts) lastHistogram() {
	for i := range f.e.Histograms {
		h := &f.e.Histograms[i]
		if f.hist == nil || h.At.After(f.hist.At) || h.At.Equal(f.hist.At) && h.Total.Objects > f.hist.Total.Objects {
			f.hist = h
		}
	}
}

// suspects merges what is known of each partition; a heap dump knows better than a snapshot, a snapshot better than a log.
func (f *facts) suspects() {
	byName := map[string]*Suspect{}
	var order []*Suspect
	get := func(name string) *Suspect {
		s := byName[name]
		if s == nil {
			s = &Suspect{Name: name, Entries: -1, PIDMin: -1, PIDMax: -1, SingleUse: -1, PerSecond: -1}
			byName[name] = s
			order = append(order, s)
		}
		return s
	}
	for i := range f.e.Dumps {
		for j := range f.e.Dumps[i].Partitions {
			p := &f.e.Dumps[i].Partitions[j]
			name := fmt.Sprintf("%s-%d", p.Topic, p.Partition)
			if p.Topic == "" {
				name = fmt.Sprintf("(a partition whose name the dump lacks, number %d)", j+1)
			}
			get(name).fromDump(&f.e.Dumps[i], p)
		}
	}
	oldest := f.oldestAlive()
	for i := range f.e.Partitions {
		p := &f.e.Partitions[i]
		if p.lastWrite() < oldest {
			f.expired += p.entries()
			continue
		}
		name := p.Dir
		if p.Topic != "" {
			name = fmt.Sprintf("%s-%d", p.Topic, p.Partition)
		}
		get(name).fromFiles(p)
	}
	for _, p := range f.logged() {
		get(p.name).fromLog(p.path, p.first, p.last)
	}
	total := int64(0)
	for _, s := range order {
		total += max(0, s.Entries)
	}
	for _, s := range order {
		if s.Entries <= 0 {
			continue
		}
		s.Share = float64(s.Entries) / float64(total)
		f.r.Suspects = append(f.r.Suspects, *s)
	}
	slices.SortStableFunc(f.r.Suspects, func(a, b Suspect) int { return cmp.Compare(b.Entries, a.Entries) })
	f.r.SuspectsOf = len(f.r.Suspects)
}

// lastWrite is when a producer last wrote to the partition, ms since 1970. It is the latest time there is if that is not known, or
// lies in the future.
func (p *Partition) lastWrite() int64 {
	last := int64(0)
	if g := p.Segments; g != nil {
		if last = g.TimeMax; g.Future > 0 {
			return math.MaxInt64
		}
	}
	if s := p.snapshot(); s != nil {
		if s.Content == nil || s.Content.Future > 0 {
			return math.MaxInt64
		}
		last = max(last, s.Content.TimeMax)
	}
	if last <= 0 {
		return math.MaxInt64
	}
	return last
}

// snapshot is the newest one that can be believed, or nil.
func (p *Partition) snapshot() (last *Snapshot) {
	for i := range p.Snapshots {
		if one := &p.Snapshots[i]; one.Damaged == "" || one.Opened {
			last = one
		}
	}
	return last
}

func (p *Partition) entries() int64 {
	if s := p.snapshot(); s != nil {
		return s.Entries
	}
	return p.Segments.Producers
}

// oldestAlive is the time before which a partition's last write lies so long ago that its entries are gone, ms since 1970: a broker
// drops them while it runs and when it loads a snapshot (ProducerStateManager.removeExpiredProducers, loadFromSnapshot). It is
// measured from the newest write of all partitions, since the broker may be dead for long.
func (f *facts) oldestAlive() int64 {
	newest := int64(0)
	for i := range f.e.Partitions {
		if last := f.e.Partitions[i].lastWrite(); last < math.MaxInt64 {
			newest = max(newest, last)
		}
	}
	life := f.lifeSeconds()
	if life <= 0 || life > float64(newest)/1000 {
		return 0
	}
	return newest - int64((life+expiryCheck)*1000)
}

// lifeSeconds is how long an entry lives; the longest of all versions where that is not known.
func (f *facts) lifeSeconds() float64 {
	if f.r.Version.Least == "" {
		return max(f.r.Life.Seconds, lifeLongest)
	}
	return f.r.Life.Seconds
}

// lifeLongest is the default of transactional.id.expiration.ms, by which entries live before Kafka 3.4, in seconds.
const lifeLongest = 7 * 86400

func (s *Suspect) pids(p *Producers, how string) {
	if p == nil || p.Entries == 0 {
		return
	}
	if s.PIDHow != "" { // a sample may have missed the ends
		s.PIDMin, s.PIDMax = min(s.PIDMin, p.PIDMin), max(s.PIDMax, p.PIDMax)
		return
	}
	s.PIDMin, s.PIDMax, s.PIDHow = p.PIDMin, p.PIDMax, how
	s.First, s.Last = msTime(p.TimeMin), msTime(p.TimeMax)
}

func (s *Suspect) fromDump(d *Dump, p *DumpPartition) {
	s.Topic, s.Partition = p.Topic, p.Partition
	if s.Entries >= 0 && s.Entries >= p.Entries { // of several dumps the fullest
		return
	}
	s.Entries, s.Source, s.LowerBound = p.Entries, "heap dump "+d.Path, false
	how := "all its entries in the heap dump"
	if p.Sample != nil && p.Sample.Entries < p.Entries {
		how = fmt.Sprintf("%d entries of the heap dump, picked evenly", p.Sample.Entries)
	}
	s.pids(p.Sample, how)
	if p.Sample != nil && p.Sample.OneBatch >= 0 && p.Sample.Entries > 0 {
		// After a restart every entry has one batch; how many began at sequence 0 is known of all together.
		s.SingleUse = min(float64(p.Sample.OneBatch)/float64(p.Sample.Entries), float64(d.FirstBatches)/float64(max(1, d.All.Entries)))
		s.SingleOf, s.SingleHow = p.Sample.Entries, "entries with one batch, begun at sequence 0, in the heap dump"
	}
}

func (s *Suspect) fromFiles(p *Partition) {
	s.Topic, s.Partition = p.Topic, p.Partition
	if last := p.snapshot(); last != nil {
		if s.Entries < 0 {
			s.Entries, s.Source, s.LowerBound = last.Entries, "snapshot "+last.Path, last.Damaged != ""
		}
		s.fromSnapshot(last)
	}
	if p.Segments != nil {
		s.fromSegments(p.Segments, p.Dir)
	}
}

// singleLeast is how few producers a share is not told from.
const singleLeast = 50

func (s *Suspect) fromSnapshot(last *Snapshot) {
	c := last.Content
	if c == nil || c.Entries == 0 {
		return
	}
	s.pids(c, "snapshot "+last.Path)
	s.SingleUse, s.SingleOf, s.SingleHow = float64(c.OneBatch)/float64(c.Entries), c.Entries, "entries of the snapshot whose only batch began at sequence 0"
	if span := c.TimeMax - c.TimeMin; span >= 1000 && c.Entries >= singleLeast && s.SingleUse >= 0.5 {
		s.PerSecond, s.PerSecondHow = float64(c.Entries-c.Future)/(float64(span)/1000), "single-use entries over the time of their writes"
	}
}

func (s *Suspect) fromSegments(g *Segments, dir string) {
	if g.Idempotent == 0 {
		return
	}
	if s.Entries < 0 {
		s.Entries, s.Source, s.LowerBound = g.Producers, "producer ids in the segments of "+dir, true
	}
	if s.PIDHow == "" {
		s.PIDMin, s.PIDMax, s.PIDHow = g.PIDMin, g.PIDMax, "batch headers"
		s.First, s.Last = msTime(g.TimeMin), msTime(g.TimeMax)
	}
	if s.SingleUse < 0 || g.Producers >= singleLeast {
		s.SingleUse, s.SingleOf, s.SingleHow = float64(g.Newborn)/float64(max(1, g.Producers)), g.Producers, "producers whose first batch is in the segments"
	}
	if span := g.TimeMax - g.TimeMin; span >= 1000 && g.Newborn > 0 {
		s.PerSecond, s.PerSecondHow = float64(g.Newborn)/(float64(span)/1000), "newborn producers in the segments over their time"
	}
}

// logged is one partition in all text logs: the oldest and the newest point, and where that is.
type logged struct {
	name, path  string
	first, last Point
}

func (f *facts) logged() (out []logged) {
	at := map[string]int{}
	for _, l := range f.e.Logs {
		for _, p := range l.Partitions {
			if len(p.Points) == 0 {
				continue
			}
			first, last := p.Points[0], p.Points[len(p.Points)-1]
			i, seen := at[p.Name]
			if !seen {
				at[p.Name] = len(out)
				out = append(out, logged{p.Name, l.Path, first, last})
				continue
			}
			if first.At.Before(out[i].first.At) {
				out[i].first = first
			}
			if last.At.After(out[i].last.At) {
				out[i].last, out[i].path = last, l.Path
			}
		}
	}
	return out
}

func (s *Suspect) fromLog(path string, first, last Point) {
	if s.Entries < 0 {
		s.Entries, s.Source = last.Entries, "snapshot line of "+path
	}
	if s.First.IsZero() {
		s.First, s.Last = first.At, last.At
	}
	if seconds := last.At.Sub(first.At).Seconds(); s.PerSecond < 0 && seconds > 0 && last.Entries > first.Entries {
		s.PerSecond, s.PerSecondHow = float64(last.Entries-first.Entries)/seconds, "growth from snapshot line to snapshot line"
	}
}

// entries is how many the broker held, by the best source.
func (f *facts) entries() {
	h := &f.r.Heap
	h.Entries, h.BatchesPerEntry, h.UntilFull = -1, -1, -1
	sum := int64(0)
	lower := false
	for i := range f.r.Suspects {
		sum += f.r.Suspects[i].Entries
		lower = lower || f.r.Suspects[i].LowerBound
	}
	if f.hist != nil {
		n := f.hist.Entries()
		h.Entries, h.Source, h.LowerBound = n.Objects, f.hist.Source, f.hist.Cut
		f.withoutGarbage()
		if n.Objects > 0 && f.r.Version.Least != "0.11" {
			h.BatchesPerEntry = float64(f.hist.Batches().Objects) / float64(n.Objects)
		}
		return
	}
	if len(f.r.Suspects) > 0 || f.sawSnapshots() {
		h.Entries, h.Source, h.LowerBound = sum, "all partitions together", lower
		if len(f.r.Suspects) == 1 {
			h.Source = f.r.Suspects[0].Source
		}
	}
}

// withoutGarbage counts the entries that partitions hold where a dump shows them. A dump that was taken without a collection before it
// has objects that nobody refers to any more, and each append makes an entry for a moment (ProducerAppendInfo).
func (f *facts) withoutGarbage() {
	h := &f.r.Heap
	for i := range f.e.Dumps {
		d := &f.e.Dumps[i]
		if d.Path != f.hist.Source || d.Cut != "" || d.LeftOut > 0 || len(d.Partitions) == 0 {
			continue
		}
		held := int64(0)
		for j := range d.Partitions {
			held += d.Partitions[j].Entries
		}
		if held < h.Entries {
			h.Entries, h.Source = held, "maps of the partitions in "+d.Path
		}
	}
}

func (f *facts) sawSnapshots() bool {
	for i := range f.e.Partitions {
		if len(f.e.Partitions[i].Snapshots) > 0 || f.e.Partitions[i].Segments != nil {
			return true
		}
	}
	for i := range f.e.Logs {
		if len(f.e.Logs[i].Partitions) > 0 {
			return true
		}
	}
	return false
}

// contents adds up what entries said of themselves: of the last snapshot of each partition, or of a dump.
func (f *facts) contents() {
	for i := range f.e.Dumps {
		if f.e.Dumps[i].All.Entries > f.content.Entries {
			f.content = f.e.Dumps[i].All
			f.content.OneBatch = -1
		}
	}
	if f.content.Entries > 0 {
		return
	}
	oldest := f.oldestAlive()
	for i := range f.e.Partitions {
		if f.e.Partitions[i].lastWrite() < oldest {
			continue
		}
		snaps := f.e.Partitions[i].Snapshots
		for j := len(snaps) - 1; j >= 0; j-- {
			if snaps[j].Content != nil {
				f.content.merge(snaps[j].Content)
				break
			}
		}
	}
}

func (p *Producers) merge(q *Producers) {
	if q.Entries == 0 {
		return
	}
	if p.Entries == 0 {
		*p = *q
		return
	}
	p.Entries += q.Entries
	p.PIDMin, p.PIDMax = min(p.PIDMin, q.PIDMin), max(p.PIDMax, q.PIDMax)
	p.EpochZero += q.EpochZero
	p.OneBatch += q.OneBatch
	p.SequenceZero += q.SequenceZero
	p.Transactional += q.Transactional
	p.OpenTxn += q.OpenTxn
	if q.TimeMin > 0 && (p.TimeMin == 0 || q.TimeMin < p.TimeMin) {
		p.TimeMin = q.TimeMin
	}
	p.TimeMax = max(p.TimeMax, q.TimeMax)
	p.Future += q.Future
	p.FutureMax = max(p.FutureMax, q.FutureMax)
	for i := range p.Ages {
		p.Ages[i] += q.Ages[i]
	}
}

// singleUse is the share of single-use producers over all partitions, weighed by entries. Only without any entry that
// could be looked into, the ratio of batches to entries speaks: after a restart it is 1 for everybody.
func (f *facts) singleUse() {
	var share, of float64
	for i := range f.r.Suspects {
		if s := &f.r.Suspects[i]; s.SingleUse >= 0 {
			share += s.SingleUse * float64(s.Entries)
			of += float64(s.Entries)
			f.singleOf += s.SingleOf
			f.singleHow, f.direct = s.SingleHow, true
		}
	}
	if of > 0 {
		f.single = share / of
		return
	}
	if h := &f.r.Heap; h.BatchesPerEntry >= 0 && h.Entries > 0 {
		// Between 1 and 2 batches per entry: so many of them have one.
		f.single, f.singleOf = min(1, max(0, 2-h.BatchesPerEntry)), h.Entries
		f.singleHow = fmt.Sprintf("%.2f remembered batches per entry", h.BatchesPerEntry)
	}
}

// HeapDefault is what Kafka's own start script gives a broker, in bytes (kafka-server-start.sh).
const HeapDefault = 1 << 30

func (f *facts) heapSize() {
	h := &f.r.Heap
	if f.hist != nil {
		h.Used, h.UsedSource = f.hist.Total.Bytes, f.hist.Source
	}
	for i := range f.e.Logs {
		l := &f.e.Logs[i]
		if l.HeapMax > 0 {
			h.Max, h.MaxSource = l.HeapMax, l.Path
		}
		if l.LiveBytes > 0 && h.Used == 0 {
			h.Used, h.UsedSource = l.LiveBytes, "after the last full collection in "+l.Path
		}
		if l.OutOfMem > 0 {
			h.Died, h.DiedAt, h.DiedHow = true, l.OutFirst, fmt.Sprintf("OutOfMemoryError in %s: %s", l.Path, l.OutKind)
		}
	}
	if f.e.Given.HeapBytes > 0 {
		h.Max, h.MaxSource = f.e.Given.HeapBytes, "given"
	}
}

// entryBytes is what one entry takes with its node, key, deque and batches: measured in a dump, or known by version.
func (f *facts) entryBytes() {
	h := &f.r.Heap
	if f.ottla() {
		h.EntryHow = "Ottla keeps entries on disk"
		return
	}
	for i := range f.e.Dumps {
		if b := f.e.Dumps[i].EntryBytes; b > 0 {
			h.EntryBytes, h.EntryHow = b, "sizes of the objects in "+f.e.Dumps[i].Path
		}
	}
	if h.EntryBytes == 0 {
		batches := 1.0
		if h.BatchesPerEntry > 0 {
			batches = h.BatchesPerEntry
		}
		version := f.r.Version.Least
		if version == "" {
			version = f.r.Version.Most
		}
		heapMax, compact := h.Max, false
		if f.hist != nil {
			if n := f.hist.Classes["java.util.HashMap$Node"]; n.Objects > 0 {
				heapMax, compact = layoutOf(n.Bytes/n.Objects, heapMax)
			}
		}
		h.EntryBytes = diagnose.EntryBytes(version, batches, heapMax, compact)
		h.EntryHow = "measured on this version's classes in a laboratory"
		if f.hist != nil && f.hist.scala213() {
			h.EntryBytes, h.EntryHow = scala213Entry+scala213Batch*batches, "sizes of the classes of Scala 2.13"
		}
	}
	if h.EntryBytes == 0 {
		h.EntryBytes, h.EntryHow = entryBytesDefault, "measured on Kafka 4.3 in a laboratory"
	}
	h.Bytes = float64(max(0, h.Entries)) * h.EntryBytes
	for i := range f.r.Suspects {
		f.r.Suspects[i].Bytes = float64(f.r.Suspects[i].Entries) * h.EntryBytes
	}
}

// An entry of Kafka before 3.5 built with Scala 2.13, whose collections are others than those of 2.12, in bytes: entry 48,
// node 32, key 24, queue 24 with an array of 80, slots 8; and each batch.
const (
	scala213Entry = 216
	scala213Batch = 40
)

func (h *Histogram) scala213() bool {
	n := h.Classes[classEntryLog].Objects
	return n > 0 && h.Classes["scala.collection.mutable.HashMap$Node"].Objects >= n && h.Classes["scala.collection.mutable.LinkedList"].Objects < n
}

// entryBytesDefault is one entry with one batch on Kafka 3.5 and later with compressed pointers, in bytes.
const entryBytesDefault = 264

// pointersWide is the heap size from which a virtual machine cannot compress its pointers, in bytes.
const pointersWide = 32 << 30

// layoutOf reads off the size of a map's node how the virtual machine lays out objects: 32 bytes with compressed pointers, more
// without, less with compact headers.
func layoutOf(node, heapMax int64) (heap int64, compact bool) {
	switch {
	case node >= 40:
		return max(heapMax, pointersWide), false
	case node <= 24:
		return min(heapMax, pointersWide-1), true
	}
	return min(heapMax, pointersWide-1), false
}

// share is the entries' part of the heap: of -Xmx if that is known, else of what is on it, else of Kafka's default.
func (f *facts) share() {
	h := &f.r.Heap
	switch {
	case h.Max > 0:
		h.Share, h.ShareOf = h.Bytes/float64(h.Max), "the heap (-Xmx)"
	case h.Used > 0:
		h.Share, h.ShareOf = h.Bytes/float64(h.Used), "what is on the heap"
	default:
		h.Share, h.ShareOf = h.Bytes/HeapDefault, "Kafka's default heap of 1 GiB"
	}
	h.Share = min(h.Share, 1)
}
