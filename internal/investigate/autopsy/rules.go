package autopsy

import (
	"fmt"
	"strings"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
)

// Thresholds of the rules. Shares are of the heap unless said.
const (
	shareFound  = 0.25 // horseman 3, and a storm
	shareAbsent = 0.05
	singleFound = 0.5 // of producers
	singleNone  = 0.01
	// manyEntries are more than applications that keep their producers have on one broker; without a look into the entries
	// themselves, only so many are taken as evidence.
	manyEntries = 100_000
	// burstEntries: fewer single-use producers than these may be one restart of many applications, if they came at once.
	burstEntries = 1_000
	// fewEntries on a broker need no explanation when nothing but their number is known.
	fewEntries  = 10_000
	burstSpan   = int64(time.Hour / time.Millisecond)
	birthsFound = 1.0 / 60 // per second
	stableNone  = 0.95     // of entries with epoch 0
	fullSoon    = 7 * 86400
	otherFound  = 0.25
	otherHalf   = 0.10
)

// Judge gives the verdict on the evidence. It does not change it.
func Judge(e *Evidence) *Report {
	f := gather(e)
	r := f.r
	r.Horsemen = []diagnose.Horseman{f.recreated(), f.idempotent(), f.longLife(), f.noStableID(), f.idChurn(), f.immortal()}
	if f.horseman("H1").Status == diagnose.Absent { // the others are harmless without the first
		for i := range r.Horsemen {
			if h := &r.Horsemen[i]; (h.ID == "H2" || h.ID == "H4") && h.Status == diagnose.Found {
				h.Status = diagnose.Half
			}
		}
	}
	f.others()
	f.sizes()
	f.level()
	f.sentence()
	r.Remedies = f.remedies()
	f.blind()
	f.ledger()
	r.Suspects = r.Suspects[:min(len(r.Suspects), SuspectsMax)]
	return r
}

func (f *facts) horseman(id string) *diagnose.Horseman {
	for i := range f.r.Horsemen {
		if f.r.Horsemen[i].ID == id {
			return &f.r.Horsemen[i]
		}
	}
	return &diagnose.Horseman{Status: diagnose.NotChecked}
}

func (f *facts) found(id string) bool { return f.horseman(id).Status == diagnose.Found }

// confidence counts what speaks for the leak directly: entries themselves, headers of batches, growth.
func (f *facts) confidence(direct bool) diagnose.Confidence {
	independent := 0
	for _, seen := range []bool{len(f.e.Histograms) > len(f.e.Dumps), len(f.e.Dumps) > 0, f.hasSnapshots(), f.hasSegments(), len(f.e.Logs) > 0, f.e.Metadata != nil && len(f.e.Metadata.Blocks) > 1} {
		if seen {
			independent++
		}
	}
	switch {
	case direct && independent >= 2:
		return diagnose.Confirmed
	case direct:
		return diagnose.Likely
	}
	return diagnose.Possible
}

func (f *facts) hasSnapshots() bool {
	for i := range f.e.Partitions {
		if len(f.e.Partitions[i].Snapshots) > 0 {
			return true
		}
	}
	return false
}

func (f *facts) hasSegments() bool {
	for i := range f.e.Partitions {
		if g := f.e.Partitions[i].Segments; g != nil && g.Batches > 0 {
			return true
		}
	}
	return false
}

// recreated: a new producer for every few records.
func (f *facts) recreated() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H1", Name: "recreated producer", Status: diagnose.NotChecked}
	n := f.r.Heap.Entries
	if f.single < 0 {
		if h.Why = "nothing shows how often a producer was used: snapshots, segments or a heap dump would"; n == 0 {
			h.Status, h.Sentence, h.Why = diagnose.Absent, "there is no producer at all", ""
		}
		return h
	}
	least := ""
	if !f.direct && f.single > 0 && f.single < 0.95 { // others may have one batch too where some have many
		least = "at least "
	}
	h.Sentence = fmt.Sprintf("%s%s of %s producers were used once (%s)", least, phrase.Percent(f.single), phrase.Count(float64(f.singleOf)), f.singleHow)
	h.Evidence = []diagnose.Number{{Name: "single-use producers", Value: f.single, Unit: "share", Source: f.singleHow}}
	switch {
	case f.producers() < singleLeast && !f.fills():
		h.Status = diagnose.Absent
		h.Sentence = fmt.Sprintf("%d producers that were used once: too few to be a leak", f.producers())
	case f.single < singleNone:
		h.Status = diagnose.Absent
	case !f.direct && n < manyEntries && f.growing():
		h.Status, h.Confidence = diagnose.Half, diagnose.Possible
		h.Why = "entries became more between two looks: a restart of the broker does not explain that; a start of many applications does, and ends"
	case f.single < singleFound:
		h.Status, h.Confidence = diagnose.Half, f.confidence(f.direct)
	case !f.direct && n < manyEntries:
		h.Status, h.Confidence = diagnose.Half, diagnose.Possible
		h.Why = "after a restart every entry has one batch, and there are not so many that this cannot be the reason: snapshots or segments would tell"
		if n < fewEntries {
			h.Status, h.Confidence = diagnose.Absent, ""
		}
	case f.burst():
		h.Status, h.Confidence = diagnose.Half, f.confidence(f.direct)
		h.Why = "they came at once: it may have been a restart of many applications"
	case f.r.Births.Known && f.r.Births.PerSecond < birthsFound && n < manyEntries:
		h.Status, h.Confidence = diagnose.Half, f.confidence(f.direct)
		h.Why = "fewer than one new producer a minute"
	default:
		h.Status, h.Confidence = diagnose.Found, f.confidence(f.direct)
	}
	return h
}

// producers is how many different producers the share of single use is about: one that writes once to each of many
// partitions is one.
func (f *facts) producers() (n int64) {
	if n = f.e.OneBatchIDs; n > 0 {
		return min(n, f.singleOf) // those of expired entries are among them
	}
	for i := range f.e.Dumps {
		n = max(n, f.e.Dumps[i].IDs)
	}
	if n > 0 {
		return min(n, f.singleOf)
	}
	if f.direct {
		return 0
	}
	return f.singleOf
}

// fills says that the entries take so much of the heap that nothing else needs to be shown.
func (f *facts) fills() bool { return f.r.Heap.Share > shareFound }

// burst says that the producers are few and were all last seen within an hour, as after a rolling restart.
func (f *facts) burst() bool {
	if f.producers() >= burstEntries || f.fills() {
		return false
	}
	if f.content.Entries > 0 {
		return f.content.TimeMax-f.content.TimeMin < burstSpan
	}
	for i := range f.e.Partitions {
		if g := f.e.Partitions[i].Segments; g != nil && g.TimeMax-g.TimeMin >= burstSpan {
			return false
		}
	}
	return true
}

// idempotent: every entry was made by an idempotent batch, so entries are evidence enough.
func (f *facts) idempotent() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H2", Name: "idempotence on", Status: diagnose.NotChecked}
	var batches, idempotent int64
	for i := range f.e.Partitions {
		if g := f.e.Partitions[i].Segments; g != nil {
			batches += g.Batches
			idempotent += g.Idempotent
		}
	}
	switch {
	case f.r.Heap.Entries > 0:
		h.Status, h.Confidence = diagnose.Found, f.confidence(true)
		h.Sentence = fmt.Sprintf("%s entries: each was made by an idempotent producer", phrase.Count(float64(f.r.Heap.Entries)))
	case batches > 0 && idempotent == 0:
		h.Status, h.Sentence = diagnose.Absent, fmt.Sprintf("none of %s batches carries a producer id", phrase.Count(float64(batches)))
	case f.r.Heap.Entries == 0:
		h.Status, h.Sentence = diagnose.Absent, "no entry of a producer"
	default:
		h.Why = "no heap, no snapshot and no segment was looked at"
	}
	if batches > 0 && idempotent > 0 {
		h.Sentence += fmt.Sprintf("; %s of the batches in the segments carry a producer id", phrase.Percent(float64(idempotent)/float64(batches)))
	}
	return h
}

// longLife: the entries take a part of the heap that matters.
func (f *facts) longLife() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H3", Name: "long life", Status: diagnose.NotChecked}
	heap := &f.r.Heap
	if f.ottla() {
		h.Status, h.Sentence = diagnose.Absent, "Ottla keeps entries on disk and bounds what is in memory"
		return h
	}
	if heap.Entries < 0 {
		h.Why = "the number of entries is not known"
		return h
	}
	h.Sentence = fmt.Sprintf("the entries take %s, %s of %s", phrase.Bytes(heap.Bytes), phrase.Percent(heap.Share), heap.ShareOf)
	if f.r.Life.Rule != "" {
		h.Sentence += fmt.Sprintf("; one lives %s", phrase.Span(f.r.Life.Seconds))
	}
	switch {
	case heap.Share > shareFound:
		h.Status = diagnose.Found
	case heap.Share >= shareAbsent || heap.UntilFull >= 0 && heap.UntilFull < fullSoon:
		h.Status = diagnose.Half
	default:
		h.Status = diagnose.Absent
		return h
	}
	h.Confidence = diagnose.Likely
	if heap.Max == 0 && heap.Used == 0 {
		h.Confidence = diagnose.Possible
	}
	h.Evidence = []diagnose.Number{{Name: "heap share of entries", Value: heap.Share, Unit: "share", Source: heap.Source, How: "entries x bytes of one entry"}}
	return h
}

// noStableID: with a transactional id the same producer id comes back with a higher epoch.
func (f *facts) noStableID() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H4", Name: "no stable id", Status: diagnose.NotChecked}
	c := &f.content
	if c.Entries >= singleLeast {
		zero := float64(c.EpochZero) / float64(c.Entries)
		plain := 1 - float64(c.Transactional)/float64(c.Entries)
		h.Sentence = fmt.Sprintf("%s of the entries have epoch 0, %s were never in a transaction", phrase.Percent(zero), phrase.Percent(plain))
		switch {
		case zero >= stableNone && plain >= stableNone:
			h.Status, h.Confidence = diagnose.Found, f.confidence(true)
		case zero >= singleFound && plain >= singleFound:
			h.Status, h.Confidence = diagnose.Half, f.confidence(true)
		default:
			h.Status = diagnose.Absent
		}
		return h
	}
	if f.hist == nil && f.segmentIDs(&h) {
		return h
	}
	if f.hist == nil || f.r.Heap.Entries < singleLeast {
		h.Why = "no snapshot and no heap dump with enough entries was looked at"
		return h
	}
	ids := f.hist.simple("TransactionMetadata").Objects
	h.Sentence = fmt.Sprintf("%s transactional ids for %s entries", phrase.Count(float64(ids)), phrase.Count(float64(f.r.Heap.Entries)))
	h.Status, h.Confidence = diagnose.Half, diagnose.Possible
	if float64(ids) < 0.05*float64(f.r.Heap.Entries) {
		h.Status = diagnose.Found
	}
	return h
}

// segmentIDs tells from batches whether producers have stable ids: a newborn producer has none.
func (f *facts) segmentIDs(h *diagnose.Horseman) bool {
	var newborn, producers, batches, transactional int64
	for i := range f.e.Partitions {
		if g := f.e.Partitions[i].Segments; g != nil {
			newborn += g.Newborn
			producers += g.Producers
			batches += g.Batches
			transactional += g.Transactional
		}
	}
	if producers < singleLeast {
		return false
	}
	h.Sentence = fmt.Sprintf("%s of the producers in the segments began there with epoch 0, %s of the batches are transactional",
		phrase.Percent(float64(newborn)/float64(producers)), phrase.Percent(float64(transactional)/float64(max(1, batches))))
	switch share := float64(newborn) / float64(producers); {
	case share >= stableNone && float64(transactional) <= (1-stableNone)*float64(batches):
		h.Status, h.Confidence = diagnose.Found, f.confidence(true)
	case share >= singleFound:
		h.Status, h.Confidence = diagnose.Half, f.confidence(true)
	default:
		h.Status = diagnose.Absent
	}
	return true
}

// simple adds up the classes of a simple name, whatever their package.
func (h *Histogram) simple(names ...string) (c Count) {
	for class, n := range h.Classes {
		for _, name := range names {
			if simpleName(class) == name && (strings.HasPrefix(class, "kafka.") || strings.HasPrefix(class, "org.apache.kafka.")) {
				c.Objects += n.Objects
				c.Bytes += n.Bytes
			}
		}
	}
	return c
}

// idChurn: very many transactional ids.
func (f *facts) idChurn() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H4b", Name: "churn of transactional ids", Status: diagnose.NotChecked}
	if f.hist == nil {
		if c := &f.content; c.Entries >= singleLeast && c.Transactional*20 < c.Entries {
			h.Status, h.Sentence = diagnose.Absent, fmt.Sprintf("%s of %s entries belong to transactions", phrase.Count(float64(c.Transactional)), phrase.Count(float64(c.Entries)))
			return h
		}
		h.Why = "transactional ids are in the memory of their coordinator: a histogram or a heap dump shows them"
		return h
	}
	ids := f.hist.simple("TransactionMetadata").Objects
	h.Sentence = fmt.Sprintf("%s transactional ids in memory", phrase.Count(float64(ids)))
	switch cause := &causes[0]; {
	case ids >= cause.many:
		h.Status, h.Confidence = diagnose.Found, diagnose.Likely
	case ids >= cause.many/10:
		h.Status, h.Confidence = diagnose.Half, diagnose.Possible
	default:
		h.Status = diagnose.Absent
	}
	return h
}

// immortal: an entry dated in the future does not expire before that date.
func (f *facts) immortal() diagnose.Horseman {
	h := diagnose.Horseman{ID: "H5", Name: "immortal producers", Status: diagnose.NotChecked}
	n, latest, looked := f.content.Future, f.content.FutureMax, f.content.Entries > 0
	for i := range f.e.Partitions {
		if g := f.e.Partitions[i].Segments; g != nil && g.Batches > 0 {
			looked = true
			latest = max(latest, g.FutureMax)
			if n == 0 {
				n = g.Future
			}
		}
	}
	switch {
	case !looked:
		h.Why = "no timestamp was looked at: snapshots, segments or a heap dump have them"
	case n > 0:
		h.Status, h.Confidence = diagnose.Found, f.confidence(true)
		h.Sentence = fmt.Sprintf("%s entries or batches are dated in the future, up to %s: they outlive every expiration", phrase.Count(float64(n)), phrase.Clock(time.UnixMilli(latest)))
	default:
		h.Status, h.Sentence = diagnose.Absent, "no timestamp lies in the future"
	}
	return h
}
