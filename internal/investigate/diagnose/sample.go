package diagnose

import (
	"math"
	"slices"
	"sort"

	"ottla/internal/investigate/evidence"
)

// seen is one producer id in one topic, over all sampled partitions and rounds.
type seen struct {
	pid         int64
	born        bool // began in the sample, in epoch 0, without transactions
	txn         bool
	txnBorn     bool // its first batch was seen, in epoch 0 of a transactional id: an id that was used before has a higher one
	epoch       int16
	batches     int64
	first, last int64 // ms since 1970
	partitions  int32
	bornIn      int32 // partitions in which its first batch was seen
	comparable  bool  // was in a round after which its partition was written to, and looked at again
	again       bool  // and wrote again
	later       bool  // came only with a later round
}

// topicSample is what the tails of one topic say, merged: a producer counts once however many partitions and rounds it was in.
type topicSample struct {
	name       string
	topic      *evidence.Topic // nil if not described
	partitions int             // of the topic
	replicas   int             // of a partition, the most
	sampled    int             // partitions
	rounds     int
	reached    bool // some tail reaches the partition's beginning

	batches, idempotent, transactional int64
	leftOut, newbornLeftOut            int64
	future, futureTime                 int64
	logAppendTime                      int64
	offsets                            float64 // covered by the tails, each once
	at                                 int64   // of the last fetch, ms since 1970

	producers []seen // by id
	// entryRates are newborn entries per second of each sampled partition, by index.
	entryRates []partitionRate
	txnRates   []partitionRate // the same for transactional ids that began in the sample
	// laterEntries are newborn entries that only a later round showed, over laterPartitions that were read twice, laterSeconds apart.
	laterEntries    int64
	laterPartitions int
	laterSeconds    float64
	// common is the time from which on all sampled tails overlap.
	common int64
}

type partitionRate struct {
	index     int32
	perSecond float64
	byOffsets bool
}

// topicShape is a topic's partitions: number, replicas, first offsets.
type topicShape struct {
	partitions, replicas int
	start                map[int32]int64
}

func shapes(s *evidence.Scan) map[string]*topicShape {
	out := map[string]*topicShape{}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		t := out[p.Topic]
		if t == nil {
			t = &topicShape{start: map[int32]int64{}}
			out[p.Topic] = t
		}
		t.partitions++
		t.replicas = max(t.replicas, len(p.Replicas))
		t.start[p.Index] = p.Start
	}
	return out
}

// samplesOf merges the tails by topic, in the order of the topics' names.
func samplesOf(s *evidence.Scan) []*topicSample {
	byTopic := map[string][]*evidence.Tail{}
	left := evidence.ProducersMax
	for i := range s.Tails {
		t := &s.Tails[i]
		if left -= len(t.Producers); left < 0 {
			break // more than a scan may hold: it was not written by a collector
		}
		byTopic[t.Topic] = append(byTopic[t.Topic], t)
	}
	topics := make(map[string]*evidence.Topic, len(s.Topics))
	for i := range s.Topics {
		topics[s.Topics[i].Name] = &s.Topics[i]
	}
	shape := shapes(s)
	out := make([]*topicSample, 0, len(byTopic))
	for name, tails := range byTopic {
		t := &topicSample{name: name, topic: topics[name]}
		if sh := shape[name]; sh != nil {
			t.partitions, t.replicas = sh.partitions, sh.replicas
		} else {
			sh = &topicShape{}
			shape[name] = sh
		}
		t.merge(tails, shape[name].start)
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

func (t *topicSample) merge(tails []*evidence.Tail, start map[int32]int64) {
	slices.SortStableFunc(tails, func(a, b *evidence.Tail) int {
		if a.Partition != b.Partition {
			return compare(int64(a.Partition), int64(b.Partition))
		}
		return a.At.Compare(b.At)
	})
	merged := map[int64]*seen{}
	for len(tails) > 0 {
		n := 1
		for n < len(tails) && tails[n].Partition == tails[0].Partition {
			n++
		}
		first, known := start[tails[0].Partition]
		t.mergePartition(tails[:n], merged, known && tails[0].From <= first)
		tails = tails[n:]
	}
	t.producers = make([]seen, 0, len(merged))
	for _, p := range merged {
		t.producers = append(t.producers, *p)
	}
	slices.SortFunc(t.producers, func(a, b seen) int { return compare(a.pid, b.pid) })
	t.partitions = max(t.partitions, t.sampled)
	t.replicas = max(t.replicas, 1)
}

func (t *topicSample) mergePartition(tails []*evidence.Tail, merged map[int64]*seen, reached bool) {
	t.sampled++
	t.rounds = max(t.rounds, len(tails))
	t.reached = t.reached || reached
	t.common = max(t.common, tails[0].FirstTime)
	here := map[int64]*seen{}
	for i, tail := range tails {
		overlaps := i > 0 && tail.From < tails[i-1].To
		t.count(tail, overlaps, tails[max(i-1, 0)])
		moved := i+1 < len(tails) && tails[i+1].To > tail.To
		for j := range tail.Producers {
			addHere(here, &tail.Producers[j], i, overlaps, moved)
		}
	}
	born, churned := int64(0), int64(0)
	for pid, p := range here {
		if p.born {
			born++
			if p.later {
				t.laterEntries++
			}
		} else if p.churned() {
			churned++
		}
		all := merged[pid]
		if all == nil {
			copied := *p
			merged[pid] = &copied
			continue
		}
		all.join(p)
	}
	for _, tail := range tails {
		born += max(tail.NewbornLeftOut, 0)
	}
	if between := tails[len(tails)-1].At.Sub(tails[0].At).Seconds(); len(tails) > 1 && between > 0 {
		t.laterPartitions++
		t.laterSeconds = math.Max(t.laterSeconds, between)
	}
	index := tails[0].Partition
	t.entryRates = append(t.entryRates, partitionRateOf(index, tails, born, reached))
	t.txnRates = append(t.txnRates, partitionRateOf(index, tails, churned, reached))
}

// count adds a tail's totals; batches that an earlier round had already seen are left out in proportion.
func (t *topicSample) count(tail *evidence.Tail, overlaps bool, before *evidence.Tail) {
	fresh := 1.0
	if overlaps && tail.To > tail.From {
		fresh = math.Max(0, math.Min(1, float64(tail.To-before.To)/float64(tail.To-tail.From)))
	}
	part := func(n int64) int64 { return int64(math.Round(math.Max(float64(n), 0) * fresh)) }
	t.offsets += math.Max(float64(tail.To)-float64(tail.From), 0) * fresh
	t.batches += part(tail.Batches)
	t.idempotent += part(tail.Idempotent)
	t.transactional += part(tail.Transactional)
	t.logAppendTime += part(tail.LogAppendTime)
	t.future += part(tail.Future)
	t.futureTime = max(t.futureTime, tail.FutureTime)
	t.leftOut += part(tail.ProducersLeftOut)
	t.newbornLeftOut += part(tail.NewbornLeftOut)
	t.at = max(t.at, tail.At.UnixMilli())
}

func addHere(here map[int64]*seen, p *evidence.Producer, round int, overlaps, moved bool) {
	if p.PID < 0 {
		return
	}
	h := here[p.PID]
	if h == nil {
		h = &seen{
			pid: p.PID, epoch: p.Epoch, txn: p.Transactional, first: p.FirstTime, last: p.LastTime, partitions: 1,
			batches: int64(max(p.Batches, 0)), later: round > 0, comparable: moved,
		}
		here[p.PID] = h
	} else {
		if p.LastTime > h.last || !overlaps {
			h.again = h.again || round > 0
		}
		if overlaps {
			h.batches = max(h.batches, int64(p.Batches))
		} else {
			h.batches += int64(max(p.Batches, 0))
		}
		h.first, h.last = min(h.first, p.FirstTime), max(h.last, p.LastTime)
		h.epoch, h.txn = max(h.epoch, p.Epoch), h.txn || p.Transactional
	}
	if p.Born && !p.Transactional {
		h.born, h.bornIn = true, 1
	}
	h.txnBorn = h.txnBorn || p.Transactional && p.Epoch == 0 && p.FirstSequence == 0
}

// churned: a transactional id's first producer began here. One that lives on in epoch 0, as of a transactional id that was never used
// by a second process, is seen in the middle of its sequences.
func (s *seen) churned() bool { return s.txn && s.txnBorn && s.epoch == 0 }

func (s *seen) join(p *seen) {
	s.born, s.txn, s.txnBorn = s.born || p.born, s.txn || p.txn, s.txnBorn || p.txnBorn
	s.epoch, s.batches = max(s.epoch, p.epoch), s.batches+p.batches
	s.first, s.last = min(s.first, p.first), max(s.last, p.last)
	s.partitions, s.bornIn = s.partitions+p.partitions, s.bornIn+p.bornIn
	s.comparable, s.again = s.comparable || p.comparable, s.again || p.again
	s.later = s.later && p.later
}

// offsetsEnough is the fewest records between two rounds from which a rate is taken: it needs no producer's clock.
const offsetsEnough = 50

// partitionRateOf is entries per second in one partition: by the offsets that went by between the rounds, else by the
// batches' times up to the moment of the fetch, silence included.
func partitionRateOf(index int32, tails []*evidence.Tail, born int64, reached bool) partitionRate {
	out := partitionRate{index: index}
	if born <= 0 {
		return out
	}
	first, last := tails[0], tails[len(tails)-1]
	covered, to := 0.0, int64(math.MinInt64)
	for _, t := range tails {
		if t.To > t.From {
			covered += float64(t.To) - float64(max(t.From, to))
			to = max(to, t.To)
		}
	}
	between := last.At.Sub(first.At).Seconds()
	if moved := float64(endOf(last)) - float64(endOf(first)); len(tails) > 1 && moved >= offsetsEnough && between > 0 && covered > 0 {
		out.perSecond, out.byOffsets = float64(born)/covered*moved/between, true
		return out
	}
	seconds := 0.0
	for i, t := range tails {
		end := math.Max(float64(t.At.UnixMilli()), float64(min(t.LastTime, t.At.UnixMilli()+60_000)))
		begin := float64(t.FirstTime)
		if i > 0 {
			// Between the rounds nothing may be missing: then the time between counts too.
			if t.From <= tails[i-1].To {
				begin = float64(tails[i-1].At.UnixMilli())
			}
		}
		if t.FirstTime > 0 && end > begin {
			seconds += (end - begin) / 1000
		}
	}
	if seconds < 0.001 {
		return out
	}
	// The first of n births opens the interval that the others fall in, unless the log begins there anyway.
	n := float64(born)
	if n > 1 && !reached {
		n--
	}
	out.perSecond = n / seconds
	return out
}

// endOf is where the partition ended when the tail was fetched, as far as that is known.
func endOf(t *evidence.Tail) int64 { return max(t.End, t.To) }

// compacted says whether a topic's cleanup policy includes compaction, which keeps only a producer's last batch.
func compacted(t *evidence.Topic) bool {
	if t == nil {
		return false
	}
	switch t.Configs["cleanup.policy"].Value {
	case "compact", "compact,delete", "delete,compact", "[compact]", "[compact,delete]", "[delete,compact]":
		return true
	}
	return false
}
