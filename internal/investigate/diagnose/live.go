package diagnose

import (
	"math"
	"slices"

	"ottla/internal/investigate/evidence"
)

// liveEntries is how many entries of one topic live now, on one replica.
type liveEntries struct {
	count  float64 // -1: not known
	bound  float64 // by offsets; -1: not known
	source string
	exact  bool
}

type partitionKey struct {
	topic string
	index int32
}

// exactSets are the largest answer of DescribeProducers for each partition: a follower may lag.
func exactSets(s *evidence.Scan) map[partitionKey]*evidence.ProducerSet {
	out := map[partitionKey]*evidence.ProducerSet{}
	for i := range s.Sets {
		set := &s.Sets[i]
		if set.Error != "" || set.Producers < 0 {
			continue
		}
		key := partitionKey{set.Topic, set.Partition}
		if before := out[key]; before == nil || set.Producers > before.Producers {
			out[key] = set
		}
	}
	return out
}

// leakAge is how long births have gone on in a topic, in seconds, as far as that can be told: the clock's onset, but not longer than
// the topic exists; +Inf if neither is known.
func (f *findings) leakAge(t *topicFacts) float64 {
	now := float64(f.scan.Ended.UnixMilli())
	age := math.Inf(1)
	if f.kink.known {
		age = math.Max(now-f.kink.at, 0) / 1000
	}
	if t.topic != nil && t.topic.FirstTime > 0 && now > float64(t.topic.FirstTime) {
		// The oldest record may be younger than the topic where retention cut it, which only matters below the state's life.
		if since := (now - float64(t.topic.FirstTime)) / 1000; !f.cutByRetention(t.topic, since) {
			age = math.Min(age, since)
		}
	}
	return age
}

func (f *findings) cutByRetention(t *evidence.Topic, since float64) bool {
	retention := numberOf(t.Configs["retention.ms"].Value) / 1000
	return retention > 0 && since > 0.5*retention
}

// live counts a topic's entries: exactly where DescribeProducers answered, by rate and age where not, never above the bound by offsets.
func (f *findings) live(t *topicFacts) liveEntries {
	out := liveEntries{count: -1, bound: -1}
	parts := f.partitions[t.name]
	exact, exactParts, bound, bounded := 0.0, 0, 0.0, 0
	for _, p := range parts {
		if set := f.sets[partitionKey{p.Topic, p.Index}]; set != nil {
			exact, exactParts = exact+f.carriedOn(t, set), exactParts+1
		}
		if b := p.Bound(); b >= 0 {
			bound, bounded = bound+float64(b), bounded+1
		}
	}
	if bounded > 0 && bounded == len(parts) {
		out.bound = finite(bound)
	}
	if exactParts > 0 {
		out.count = finite(exact * float64(len(parts)) / float64(exactParts))
		out.exact = exactParts == len(parts)
		out.source = evidence.SourceSets
		return out
	}
	if density := f.entriesPerRecord(t); density > 0 && out.bound >= 0 {
		out.count, out.source = finite(out.bound*density), evidence.SourceOffsets+": records within the state's life and 10 minutes x producers a record"
		return out
	}
	if t.entries > 0 {
		out.count = finite(t.entries * math.Min(f.leakAge(t), t.stay))
		out.source = "computed: rate x min(age, life)"
		// Offsets were read before the tails: what came since is allowed on top.
		if most := out.bound + t.entries*f.scanSeconds(); out.bound >= 0 && out.count > most {
			out.count, out.source = most, evidence.SourceOffsets+": no more than there are records"
		}
	}
	return out
}

// entriesPerRecord is how many entries a record of the topic stands for, where nearly all of its traffic is newborn and always was: then
// records count producers better than a rate, which varies. 0 where that is not so: a topic that was written to before the leak
// began may hold records of a healthy time.
func (f *findings) entriesPerRecord(t *topicFacts) float64 {
	if t.share < allNewborn || t.offsets <= 0 {
		return 0
	}
	begun := 0.0 // not known: as old as can be
	if t.topic != nil {
		begun = float64(t.topic.FirstTime)
	}
	life := float64(f.scan.Ended.UnixMilli()) - t.stay*1000
	if f.kink.known && f.kink.at > life && begun < f.kink.at-1000*onsetSlackSeconds {
		return 0
	}
	entries := int64(0)
	for i := range t.producers {
		entries += int64(max(1, t.producers[i].partitions))
	}
	return math.Min(float64(entries+t.leftOut)/t.offsets, 1)
}

// leftBehind is how many entries the births of a topic have left that are over. It is known where the topic began with the onset: then
// its records are theirs, and count them. In an older one a restart looks the same, and most records are of producers that live on.
func (f *findings) leftBehind(t *topicFacts) (n float64, known bool) {
	density, live := f.entriesPerRecord(t), f.live(t)
	if density <= 0 || live.bound < 0 || !f.kink.known || t.topic == nil || float64(t.topic.FirstTime) < f.kink.at-1000*onsetSlackSeconds {
		return 0, false
	}
	n = live.bound * density
	if most := f.counter.counterMost(len(f.scan.Brokers)); most > 0 {
		n = math.Min(n, float64(most)*t.fanOut())
	}
	return finite(n), true
}

const (
	// allNewborn is the share of newborn producers from which on a topic's records are those of the leak.
	allNewborn = 0.9
	// onsetSlackSeconds: a topic whose first record is this much older than the onset was there before it.
	onsetSlackSeconds = 600
)

// carriedOn is what a set has become by the end of the scan: a storm goes on while the other sources are asked.
func (f *findings) carriedOn(t *topicFacts, set *evidence.ProducerSet) float64 {
	n := float64(set.Producers)
	if t.leak != realLeak || t.partitions <= 0 {
		return n
	}
	perPartition := t.entries / float64(t.partitions)
	if i, sampled := slices.BinarySearchFunc(t.entryRates, set.Partition, func(r partitionRate, index int32) int { return compare(int64(r.index), int64(index)) }); sampled {
		perPartition = t.entryRates[i].perSecond
	}
	late := math.Max(math.Min(f.scan.Ended.Sub(set.At).Seconds(), f.scanSeconds()), 0)
	return math.Max(n, math.Min(n+perPartition*late, perPartition*t.stay))
}

// scanSeconds is how long the scan took, as far as that makes sense.
func (f *findings) scanSeconds() float64 {
	return math.Max(math.Min(f.scan.Ended.Sub(f.scan.Started).Seconds(), 3600), 0)
}

// brokerMetric is what a metrics endpoint said of one broker.
type brokerMetric struct {
	entries                float64 // -1: not known
	heapMax, used, afterGC float64 // 0: not known
	inits, produces        float64 // since the start; 0: not known
}

// metricsOf is the last reading of each broker. An endpoint that does not say its broker counts where there is one broker only.
func metricsOf(s *evidence.Scan) map[int32]brokerMetric {
	out := map[int32]brokerMetric{}
	for i := range s.Metrics {
		m := &s.Metrics[i]
		id := m.Broker
		if id < 0 {
			if len(s.Brokers) != 1 {
				continue
			}
			id = s.Brokers[0].ID
		}
		value := func(name string, missing float64) float64 {
			if n, has := m.Values[name]; has && !math.IsNaN(n) && n >= 0 {
				return finite(n)
			}
			return missing
		}
		out[id] = brokerMetric{
			entries: value(evidence.MetricProducerIDs, -1), heapMax: value(evidence.MetricHeapMax, 0), used: value(evidence.MetricHeapUsed, 0),
			afterGC: value(evidence.MetricHeapAfterGC, 0), inits: value(evidence.MetricInits, 0), produces: value(evidence.MetricProduces, 0),
		}
	}
	return out
}

// initsPerProduce is the share of InitProducerId requests in Produce requests on all brokers with metrics, since their start;
// known if there were enough. A healthy cluster is at about 0.
func initsPerProduce(metrics map[int32]brokerMetric) (ratio float64, known bool) {
	inits, produces := 0.0, 0.0
	for _, m := range metrics {
		if m.produces > 0 {
			inits, produces = inits+m.inits, produces+m.produces
		}
	}
	return finite(inits / math.Max(produces, 1)), produces >= 1000
}
