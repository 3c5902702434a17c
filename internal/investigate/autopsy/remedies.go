package autopsy

import (
	"cmp"
	"strconv"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// remedies are what helps this broker, by its version: those of a live investigation, told what the remains say.
func (f *facts) remedies() []diagnose.Remedy {
	if f.r.Level != diagnose.Armed && f.r.Level != diagnose.Storm {
		return nil
	}
	cluster, brokers, given := clusterOf(f.e, f.r.Version)
	s := &evidence.Scan{Cluster: *cluster, Brokers: brokers, Given: given}
	v := &diagnose.Verdict{Level: f.r.Level, Horsemen: f.r.Horsemen, Life: f.r.Life}
	h := &f.r.Heap
	if broker, known := brokerID(brokers[0].Configs); known && h.Known && h.projectable >= growthSpan {
		v.Worst = &diagnose.Heap{Broker: broker, EntryBytes: h.EntryBytes, Entries: h.Entries, Bytes: h.Bytes, PerSecond: h.PerSecond, HeapMax: float64(h.Max), UntilFull: h.UntilFull,
			Plateau: h.PerSecond * (f.r.Life.Seconds + expiryCheck) * h.EntryBytes}
	}
	names, share := f.suspectTopics()
	for _, name := range names {
		t := diagnose.Topic{Name: name, HeapShare: share[name], Explains: share[name], BatchesMedian: 1}
		f.addPartitions(&t, s)
		if t.Partitions > 0 {
			v.Suspects = append(v.Suspects, t)
		}
	}
	return diagnose.Remedies(s, v)
}

// addPartitions adds what is known of a topic's partitions: how far their logs go, how often a producer was used, and whether
// anything is dated in the future.
func (f *facts) addPartitions(t *diagnose.Topic, s *evidence.Scan) {
	for i := range f.r.Suspects {
		if f.r.Suspects[i].Topic == t.Name {
			t.Partitions++
		}
	}
	for i := range f.e.Partitions {
		p := &f.e.Partitions[i]
		if p.Topic != t.Name {
			continue
		}
		if n := len(p.Snapshots); n > 0 && p.Snapshots[n-1].Offset > 0 && len(s.Partitions) < evidence.PartitionsMax {
			s.Partitions = append(s.Partitions, evidence.Partition{Topic: p.Topic, Index: p.Partition, Start: 0, End: p.Snapshots[n-1].Offset, Since: -1})
		}
		future := int64(0)
		if n := len(p.Snapshots); n > 0 && p.Snapshots[n-1].Content != nil {
			future = p.Snapshots[n-1].Content.Future
		}
		if g := p.Segments; g != nil {
			future = max(future, g.Future)
			if g.Newborn > 0 {
				t.BatchesMedian, t.LifeMedian = g.BatchesMedian, g.LifeMedian
			}
		}
		if future > 0 {
			s.Sets = append(s.Sets, evidence.ProducerSet{Topic: p.Topic, Partition: p.Partition, Future: future})
		}
	}
}

// brokerID reads the broker's number off what it printed when it started.
func brokerID(configs map[string]evidence.Value) (int32, bool) {
	text := cmp.Or(configs["node.id"].Value, configs["broker.id"].Value)
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && n >= 0 {
		return int32(n), true
	}
	n, err := strconv.ParseInt(configs["broker.id"].Value, 10, 32)
	return int32(n), err == nil && n >= 0
}
