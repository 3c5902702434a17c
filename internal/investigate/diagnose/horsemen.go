package diagnose

import (
	"fmt"
	"math"
	"sort"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// Thresholds of horsemen 2 to 5.
const (
	idempotentFound = 0.5
	shareFound      = 0.25 // of the heap, by the plateau
	shareAbsent     = 0.05
	noStableFound   = 0.95
	churnFound      = 1_000 // transactional ids of one prefix
	churnArmed      = 200
	// counterEnough is how many births between probes are no accident of a tool or two that started.
	counterEnough = 20
	// counterSeconds is the shortest time over which a counter at rest speaks for health.
	counterSeconds = 5.0
	// initsFound is the share of InitProducerId in Produce requests from which on producers are made for few requests each.
	initsFound = 0.05
)

// confidence by the number of sources that say so.
func confidence(direct, indirect int) Confidence {
	switch {
	case direct >= 1 && direct+indirect >= 2:
		return Confirmed
	case direct >= 1:
		return Likely
	}
	return Possible
}

func (f *findings) horsemen() []Horseman {
	return []Horseman{f.recreated(), f.idempotence(), f.longLife(), f.noStableID(), f.idChurn(), f.immortal()}
}

// recreated is H1.
func (f *findings) recreated() Horseman {
	h := Horseman{ID: "H1", Name: "recreated producer", Status: NotChecked}
	leaks := f.leaking()
	switch {
	case len(leaks) > 0:
		f.recreatedFound(&h, leaks)
	case f.setsSayFresh():
		h.Status, h.Confidence = Half, Likely
		h.Sentence = "the brokers remember producers that wrote one record each, but no new ones were seen to be born"
	case len(f.ranked) > 0 && f.ranked[0].leak == maybeLeak:
		t := f.ranked[0]
		h.Status, h.Confidence = Half, Possible
		h.Sentence = fmt.Sprintf("%s: %s newborn producers; %s", t.name, phrase.Exact(float64(t.newborn)), t.why)
	case f.counterSaysLeak():
		h.Status, h.Confidence = Half, Likely
		h.Sentence = fmt.Sprintf("the cluster hands out %s, but no sampled topic shows who uses them", phrase.RateInWords(f.births.PerSecond, "new producer ids"))
		if len(f.topics) == 0 {
			h.Sentence = fmt.Sprintf("the cluster hands out %s; topics could not be read to see who uses them", phrase.RateInWords(f.births.PerSecond, "new producer ids"))
		}
	case len(f.topics) > 0:
		h.Status = Absent
		newborn, total := int64(0), int64(0)
		for _, t := range f.topics {
			newborn, total = newborn+t.newborn, total+t.total
		}
		h.Sentence = fmt.Sprintf("%s of %s producers were born in the sample, and none of the sampled topics (%d) keeps getting new ones", phrase.Exact(float64(newborn)), phrase.Exact(float64(total)), len(f.topics))
		for _, t := range f.topics {
			if h.Why == "" && t.why != "" {
				h.Why = t.name + ": " + t.why
			}
		}
		if f.covered < 0.5 {
			h.Why = fmt.Sprintf("only %s of the records that may hold live producers are in topics that could be sampled", phrase.Percent(f.covered))
		}
	case f.counterAtRest():
		h.Status = Absent
		h.Sentence = fmt.Sprintf("%s producer ids were handed out in %s", phrase.Count(f.counter.count), phrase.SpanInWords(f.counter.seconds))
	default:
		h.Sentence = "neither batches nor the counter of producer ids could be seen"
		h.Why = "READ on the topics, or IDEMPOTENT_WRITE for the counter, would tell"
	}
	if f.births.Known {
		h.Evidence = append(h.Evidence, Number{Name: "producer ids handed out", Value: f.births.PerSecond * 60, Unit: "/min", Error: f.births.Error * 60, Source: f.births.Source, How: f.births.How})
	}
	return h
}

func (f *findings) recreatedFound(h *Horseman, leaks []*topicFacts) {
	t := leaks[0]
	direct, indirect := 1, 0
	if f.counter.known && f.counter.perSecond-f.counter.error >= birthsPerSecondMin && t.foreign == 0 {
		direct++
	}
	if f.setsSayFresh() {
		direct++
	}
	if f.kink.known && f.kink.after >= birthsPerSecondMin {
		indirect++
	}
	if ratio, known := initsPerProduce(metricsOf(f.scan)); known && ratio >= initsFound {
		indirect++
		h.Evidence = append(h.Evidence, Number{Name: "InitProducerId per Produce request", Value: ratio, Source: evidence.SourceMetrics, How: "totals since the brokers' start; a healthy cluster is at about 0"})
	}
	h.Status, h.Confidence = Found, confidence(direct, indirect)
	h.Sentence = fmt.Sprintf("%s gets %s; each writes %s and lives %s (medians)", t.name, phrase.RateInWords(t.births, "new producers"), phrase.Plural(t.batchesMedian, "batch", "batches"), phrase.SpanInWords(t.lifeMedian))
	if t.foreign*2 > t.newborn {
		h.Why = "their ids were not handed out by this cluster: batches are copied here from another one, where these producers are made"
	}
	h.Evidence = append(h.Evidence,
		Number{Name: "newborn share of " + t.name, Value: t.share, Unit: "share", Source: evidence.SourceTails, How: fmt.Sprintf("%d of %d producer ids", t.newborn, t.total)},
		Number{Name: "new producers in " + t.name, Value: t.births * 60, Unit: "/min", Source: evidence.SourceTails, How: t.how()},
		Number{Name: "batches per producer, median", Value: t.batchesMedian, Source: evidence.SourceTails},
		Number{Name: "life of a producer, median, at least", Value: t.lifeMedian, Unit: "s", Source: evidence.SourceTails})
	if t.survival >= 0 {
		h.Evidence = append(h.Evidence, Number{Name: "newborns that wrote again in the next round", Value: t.survival, Unit: "share", Source: evidence.SourceTails})
	}
}

func (f *topicFacts) how() string {
	if f.ofRounds {
		return "newborns that only the second round showed / seconds between the rounds"
	}
	if f.byOffsets {
		return "newborns per record x records between the rounds / seconds"
	}
	return "newborns / time from the tail's first batch to the fetch"
}

// setsSayFresh: DescribeProducers shows very many producers that wrote one record.
func (f *findings) setsSayFresh() bool {
	all, fresh := int64(0), int64(0)
	for _, set := range f.sets {
		all, fresh = all+set.Producers, fresh+min(set.SequenceZero, set.EpochZero)
	}
	return all >= 10*newbornEnough && float64(fresh) >= newbornShareFound*float64(all)
}

// counterSaysLeak: the counter moves and no topic explains it, not even by producers that live on.
func (f *findings) counterSaysLeak() bool {
	c := &f.counter
	if !c.known || c.count < counterEnough || c.perSecond-c.error < birthsPerSecondMin {
		return false
	}
	explained := 0.0
	for _, t := range f.topics {
		explained += t.localBirths()
	}
	return explained < 0.5*c.perSecond
}

func (f *findings) counterAtRest() bool {
	c := &f.counter
	return c.known && c.seconds >= counterSeconds && c.count+c.error*c.seconds < counterEnough
}

// idempotence is H2.
func (f *findings) idempotence() Horseman {
	h := Horseman{ID: "H2", Name: "idempotence on", Status: NotChecked, Sentence: "no batch was read"}
	if f.idempotent.whole <= 0 {
		h.Why = "READ on the topics would tell"
		return h
	}
	part := f.idempotent.of()
	of := "all sampled batches"
	if len(f.ranked) > 0 {
		of = "the suspect topics' batches"
	}
	h.Sentence = fmt.Sprintf("%s of %s carry a producer id", phrase.Percent(part), of)
	h.Evidence = []Number{{Name: "batches with a producer id", Value: part, Unit: "share", Source: evidence.SourceTails}}
	switch {
	case part >= idempotentFound:
		h.Status, h.Confidence = Found, Likely
	case f.leaks():
		// What others write to these topics without ids makes the leak no smaller.
		h.Status, h.Confidence = Found, Likely
		h.Sentence += ", those of the short-lived producers among them"
	case part > 0:
		h.Status, h.Confidence = Half, Likely
	default:
		h.Status = Absent
	}
	return h
}

// longLife is H3.
func (f *findings) longLife() Horseman {
	h := Horseman{ID: "H3", Name: "long life", Status: NotChecked}
	lives := fmt.Sprintf("an entry lives %s (%s)", phrase.SpanInWords(f.life.Seconds), f.life.Key)
	if !f.life.read {
		lives = fmt.Sprintf("an entry lives %s by default (%s; the configuration was not read)", phrase.SpanInWords(f.life.Seconds), f.life.Key)
	}
	h.Evidence = []Number{{Name: "state life", Value: f.life.Seconds, Unit: "s", Source: f.life.Source, How: f.life.Rule}}
	switch {
	case f.life.Bounded != "":
		h.Status, h.Sentence, h.Why = Absent, lives, f.life.Bounded
		return h
	case len(f.heap) == 0 || len(f.topics) == 0 && f.heap[0].Bytes == 0:
		h.Sentence, h.Why = lives, "without the rate of new producers there is no plateau to compute"
		return h
	}
	worst := &f.heap[0]
	heapMax, guessed := f.judgedHeap(worst)
	part := shareOf(math.Max(worst.Plateau, worst.Bytes), heapMax)
	h.Sentence = fmt.Sprintf("%s; entries come to %s on broker %d, %s of a heap of %s", lives, phrase.Bytes(math.Max(worst.Plateau, worst.Bytes)), worst.Broker, phrase.Percent(part), phrase.Bytes(heapMax))
	if guessed {
		h.Sentence += " (its size is a guess: --heap tells)"
	}
	h.Evidence = append(h.Evidence, Number{Name: "plateau on the fullest broker", Value: worst.Plateau, Unit: "bytes", Source: "computed", How: worst.Source})
	switch {
	case part > shareFound:
		h.Status, h.Confidence = Found, Likely
	case part < shareAbsent:
		h.Status = Absent
	default:
		h.Status, h.Confidence = Half, Likely
	}
	if guessed && h.Confidence != "" {
		h.Confidence = Possible
	}
	return h
}

// judgedHeap is the heap that shares are taken of, and whether its size is a guess.
func (f *findings) judgedHeap(h *Heap) (float64, bool) {
	if h.HeapMax > 0 {
		return h.HeapMax, false
	}
	return heapGuess, true
}

// noStableID is H4.
func (f *findings) noStableID() Horseman {
	h := Horseman{ID: "H4", Name: "no stable id", Status: NotChecked, Sentence: "no newborn producers to ask it of"}
	newborn, stable, rose := int64(0), int64(0), int64(0)
	for _, t := range f.ranked {
		newborn, stable, rose = newborn+t.newborn, stable+t.stable, rose+t.rose
	}
	if newborn+stable == 0 {
		if len(f.topics) > 0 {
			h.Status = Absent
		} else {
			h.Why = "READ on the topics would tell"
		}
		return h
	}
	// A newborn id that turns out to belong to a transactional id has a stable one after all.
	part := share{math.Max(float64(newborn-rose-f.transactionsKnown()), 0), float64(newborn + stable)}.of()
	h.Sentence = fmt.Sprintf("%s of the suspect topics' %s short-lived producers have no transactional id and an epoch of 0: nothing ties them to those before", phrase.Percent(part), phrase.Exact(float64(newborn+stable)))
	h.Evidence = []Number{{Name: "newborn without a stable id", Value: part, Unit: "share", Source: evidence.SourceTails}}
	switch {
	case part >= noStableFound:
		h.Status = Found
		if t := f.scan.Transactions; t != nil && t.Seen > 0 {
			h.Confidence = Confirmed
		} else {
			h.Confidence = Likely
		}
	case newborn == 0:
		h.Status, h.Sentence = Absent, "the suspect topics' producers all have a transactional id"
	case float64(rose) >= 0.5*float64(newborn):
		h.Status, h.Sentence = Absent, "producers come back under the same id with a risen epoch"
	default:
		h.Status, h.Confidence = Half, Likely
	}
	return h
}

// transactionsKnown counts newborn ids that turned out to have a transactional id.
func (f *findings) transactionsKnown() int64 {
	if f.scan.Transactions == nil {
		return 0
	}
	ids := map[int64]bool{}
	for _, t := range f.ranked {
		for i := range t.producers {
			if p := &t.producers[i]; p.born && !p.txn {
				ids[p.pid] = true
			}
		}
	}
	n := int64(0)
	for _, known := range f.scan.Transactions.Known {
		if ids[known.PID] {
			n++
		}
	}
	return n
}

// idChurn is H4b.
func (f *findings) idChurn() Horseman {
	h := Horseman{ID: "H4b", Name: "churn of transactional ids", Status: NotChecked, Sentence: "no transactions were listed"}
	var churning *topicFacts
	for _, t := range f.ranked {
		if t.churn {
			churning = t
			break
		}
	}
	prefix, most := "", int64(0)
	if t := f.scan.Transactions; t != nil {
		names := make([]string, 0, len(t.Prefixes))
		for name := range t.Prefixes {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			if t.Prefixes[name] > most {
				prefix, most = name, t.Prefixes[name]
			}
		}
		h.Status, h.Sentence = Absent, fmt.Sprintf("%s transactional ids, at most %s of one prefix", phrase.Exact(math.Max(float64(t.Listed), 0)), phrase.Exact(float64(most)))
		h.Evidence = []Number{{Name: "transactional ids of one prefix", Value: float64(most), Unit: "ids", Source: evidence.SourceTransactions, How: prefix}}
	} else if len(f.topics) > 0 && churning == nil {
		h.Status, h.Sentence = Absent, "no topic is written by transactional producers that are used once"
	}
	switch {
	case churning != nil:
		h.Status, h.Confidence = Found, Likely
		if most >= churnArmed {
			h.Confidence = Confirmed
		}
		h.Sentence = fmt.Sprintf("%s is written by transactional producers in their first epoch, each used once", churning.name)
	case most >= churnFound:
		h.Status, h.Confidence = Half, Possible
		h.Sentence = fmt.Sprintf("%s transactional ids begin with %q; whether each is used once was not seen", phrase.Exact(float64(most)), prefix)
	}
	return h
}

// immortal is H5.
func (f *findings) immortal() Horseman {
	h := Horseman{ID: "H5", Name: "immortal producers", Status: NotChecked, Sentence: "no timestamps were read"}
	batches, latest, topic := int64(0), int64(0), ""
	for _, t := range f.topics {
		if t.future > 0 {
			batches += t.future
			if t.futureTime > latest || topic == "" {
				latest, topic = t.futureTime, t.name
			}
		}
	}
	held := int64(0)
	for _, p := range f.scan.Partitions {
		if set := f.sets[partitionKey{p.Topic, p.Index}]; set != nil && set.Future > 0 {
			held += set.Future
			if set.FutureTime > latest || topic == "" {
				latest, topic = set.FutureTime, set.Topic
			}
		}
	}
	switch {
	case batches > 0 || held > 0:
		h.Status, h.Confidence = Found, confidence(min(int(batches), 1)+min(int(held), 1), 0)
		h.Sentence = fmt.Sprintf("%s: records are dated up to %s; their producers are not forgotten before that", topic, momentOf(float64(latest)).Format("2 Jan 2006"))
		if held > 0 {
			h.Sentence += fmt.Sprintf(" (%s of them in memory)", phrase.Exact(float64(held)))
		}
		h.Evidence = []Number{{Name: "batches dated over an hour ahead", Value: float64(batches), Source: evidence.SourceTails}, {Name: "live producers with such a date", Value: float64(held), Source: evidence.SourceSets}}
	case len(f.topics) > 0 || len(f.sets) > 0:
		h.Status, h.Sentence = Absent, "no record is dated in the future"
	}
	return h
}
