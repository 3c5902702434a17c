package diagnose

import (
	"math"
	"slices"
	"sort"

	"ottla/internal/investigate/evidence"
)

// findings are what the rules have found so far; each rule reads what those before it left.
type findings struct {
	scan       *evidence.Scan
	version    releases
	life       life
	heapMax    int64 // of any broker, given or by metrics: decides the size of pointers
	partitions map[string][]*evidence.Partition
	sets       map[partitionKey]*evidence.ProducerSet
	counter    birthFacts
	kink       kink
	topics     []*topicFacts // every sampled topic, in the order of names
	byName     map[string]*topicFacts
	ranked     []*topicFacts // those that leak or may, and those with ids that churn: largest first
	births     Births
	heap       []Heap
	idempotent share // of the ranked topics' batches, or of all where none leaks
	covered    float64
	// birthsOfTopics: the rate of births is the sum of the sampled topics, so that what they explain of it says nothing.
	birthsOfTopics bool
}

// share is a part of a whole; known if the whole is not zero.
type share struct{ part, whole float64 }

func (s share) of() float64 {
	if s.whole <= 0 {
		return 0
	}
	return math.Min(s.part/s.whole, 1)
}

// examine applies the rules in their order.
func examine(s *evidence.Scan) *findings {
	f := &findings{
		scan: s, version: releasesOf(&s.Cluster, s.Given), life: lifeOf(&s.Cluster, s.Brokers, s.Given),
		partitions: map[string][]*evidence.Partition{}, byName: map[string]*topicFacts{}, sets: exactSets(s), heapMax: s.Given.HeapBytes,
	}
	for _, m := range metricsOf(s) {
		if s.Given.HeapBytes <= 0 {
			f.heapMax = max(f.heapMax, int64(math.Min(m.heapMax, 1e18)))
		}
	}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		f.partitions[p.Topic] = append(f.partitions[p.Topic], p)
	}
	f.counter = birthsOf(s)
	off := pidError(f.counter.model, len(s.Brokers))
	most := f.counter.counterMost(len(s.Brokers))
	f.kink = f.clock(most, off)
	for _, t := range samplesOf(s) {
		facts := factsOf(t, most)
		facts.stay = f.stay(facts)
		facts.judge(&f.counter, &f.kink, float64(off))
		f.topics = append(f.topics, facts)
		f.byName[t.name] = facts
	}
	f.rank()
	f.births = f.birthRate()
	f.countBatches()
	f.covered = f.coverage()
	f.heap = f.heaps()
	return f
}

// clock needs ids that come from one ascending counter.
func (f *findings) clock(most, off int64) kink {
	switch f.counter.model {
	case evidence.IDsRandom:
		return kink{why: "this cluster gives random ids: they tell no time"}
	case evidence.IDsUnknown:
		if len(f.scan.Clock) == 0 {
			return kink{why: "how this cluster gives ids is not known"}
		}
	}
	if len(f.scan.Clock) == 0 {
		return kink{why: "no batch of a newborn producer was read from the past"}
	}
	until := int64(0)
	if !f.scan.Ended.IsZero() {
		until = f.scan.Ended.UnixMilli() + 3_600_000
	}
	k := fitClock(cleaned(f.scan.Clock, most, until, off), off)
	if len(k.curve) > 0 && f.counter.most < everMax && k.curve[len(k.curve)-1].PID < everMax {
		first := k.curve[0]
		complete := false
		for _, p := range f.partitions[first.Topic] {
			complete = complete || p.Index == first.Partition && p.Start == 0
		}
		k.anchor(f.oldest(), complete, off)
	}
	return k
}

// oldest is the time of the oldest record that was seen anywhere, in ms since 1970: the cluster is at least that old. 0 if none was.
func (f *findings) oldest() int64 {
	oldest := int64(0)
	add := func(t int64) {
		if t > 0 && (oldest == 0 || t < oldest) {
			oldest = t
		}
	}
	for i := range f.scan.Topics {
		add(f.scan.Topics[i].FirstTime)
	}
	for i := range f.scan.Tails {
		add(f.scan.Tails[i].FirstTime)
	}
	return oldest
}

// stay is how long an entry of the topic stays: longer where its records are dated in the future.
func (f *findings) stay(t *topicFacts) float64 {
	stay := f.life.stay(t.topic)
	if t.future > 0 && t.batches > 0 {
		ahead := math.Max(float64(t.futureTime-t.at)/1000, 0)
		stay += math.Min(ahead, lifeMax.Seconds()) * math.Min(float64(t.future)/float64(t.batches), 1)
	}
	return stay
}

func (f *findings) rank() {
	for _, t := range f.topics {
		if t.leak != noLeak || t.churn {
			f.ranked = append(f.ranked, t)
		}
	}
	slices.SortStableFunc(f.ranked, func(a, b *topicFacts) int {
		switch {
		case a.leak != b.leak && (a.leak == realLeak || b.leak == realLeak):
			if a.leak == realLeak {
				return -1
			}
			return 1
		case a.entries > b.entries:
			return -1
		case a.entries < b.entries:
			return 1
		}
		return 0
	})
}

func (f *findings) countBatches() {
	count := func(topics []*topicFacts) {
		for _, t := range topics {
			f.idempotent.part += float64(t.idempotent)
			f.idempotent.whole += float64(t.batches)
		}
	}
	if len(f.ranked) > 0 {
		count(f.ranked)
	} else {
		count(f.topics)
	}
}

// coverage is the share of what could hold live producers that was sampled: partitions weighted by their bound, internal topics left out.
func (f *findings) coverage() float64 {
	internal := map[string]bool{}
	for i := range f.scan.Topics {
		internal[f.scan.Topics[i].Name] = f.scan.Topics[i].Internal
	}
	names := make([]string, 0, len(f.partitions))
	for name := range f.partitions {
		names = append(names, name)
	}
	sort.Strings(names)
	var c share
	for _, name := range names {
		if internal[name] {
			continue
		}
		for _, p := range f.partitions[name] {
			weight := float64(p.Bound())
			if weight < 0 {
				weight = 1
			}
			c.whole += weight
			if f.byName[name] != nil {
				c.part += weight
			}
		}
	}
	if c.whole == 0 {
		return 1
	}
	return c.of()
}

// leaks: some topic leaks for sure, producers or transactional ids.
func (f *findings) leaks() bool {
	return slices.ContainsFunc(f.ranked, func(t *topicFacts) bool { return t.leak == realLeak || t.churn })
}

// leaking are the topics that leak for sure.
func (f *findings) leaking() (out []*topicFacts) {
	for _, t := range f.ranked {
		if t.leak == realLeak {
			out = append(out, t)
		}
	}
	return out
}

func (f *findings) verdict() *Verdict {
	s := f.scan
	v := &Verdict{
		Schema: VerdictSchema, Tool: s.Tool, At: s.Ended, Cluster: s.Cluster, Bootstrap: s.Bootstrap, Version: f.version.String(),
		Brokers: len(s.Brokers), Topics: len(s.Topics), Partitions: len(s.Partitions) + max(s.PartitionsLeftOut, 0),
		Births: f.births, Life: f.life.StateLife, Heap: f.heap,
	}
	if v.Topics == 0 {
		v.Topics = len(f.partitions)
	}
	v.Onset = f.onset()
	v.Suspects, v.Explained = f.suspects()
	if len(v.Heap) > 0 {
		v.Worst = &v.Heap[0]
	}
	v.Horsemen = f.horsemen()
	v.Level = f.level(v)
	v.Exit = v.Level.Exit()
	v.Others = f.others()
	v.Blind = f.blind()
	v.Ledger = f.ledger(v)
	v.Sentence, v.Details = f.sentence(v)
	v.Remedies = remedies(s, v)
	return v
}
