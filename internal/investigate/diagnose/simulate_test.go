package diagnose

import (
	"math/rand/v2"
	"slices"
	"time"

	"ottla/internal/investigate/evidence"
)

// history is a cluster's past, made up: producers come and go, ids are handed out in blocks, batches lie in logs. scan samples
// it as collectors would. All randomness is the seed's.
type history struct {
	rng     *rand.Rand
	now     time.Time
	brokers int
	next    int64           // first id of the next block
	blocks  map[int32]int64 // next id of each broker
	handed  []handed        // every id, in the order of time
	logs    map[string][][]stored
	topics  []evidence.Topic
	tail    int // batches that one tail holds
	probes  []evidence.CounterProbe
}

type handed struct {
	at  time.Time
	pid int64
}

// stored is one batch.
type stored struct {
	at       time.Time
	pid      int64 // -1: not idempotent
	epoch    int16
	sequence int32
	txn      bool
	records  int32
	future   time.Duration
}

var simulatedNow = time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)

func newHistory(seed uint64, brokers int) *history {
	return &history{
		rng: rand.New(rand.NewPCG(seed, 1)), now: simulatedNow, brokers: brokers, blocks: map[int32]int64{}, logs: map[string][][]stored{}, tail: 900,
	}
}

// id asks a random broker for a producer id.
func (h *history) id(at time.Time) int64 { return h.idFrom(at, int32(h.rng.IntN(h.brokers))) }

func (h *history) idFrom(at time.Time, broker int32) int64 {
	next, has := h.blocks[broker]
	if !has || next%blockSize == 0 {
		next = h.next
		h.next += blockSize
	}
	h.blocks[broker] = next + 1
	h.handed = append(h.handed, handed{at, next})
	return next
}

func (h *history) topic(name string, partitions int) {
	h.topics = append(h.topics, evidence.Topic{Name: name, Configs: map[string]evidence.Value{"cleanup.policy": {Value: "delete"}, "retention.ms": {Value: "-1"}}})
	h.logs[name] = make([][]stored, partitions)
}

func (h *history) write(topic string, partition int, b stored) {
	h.logs[topic][partition] = append(h.logs[topic][partition], b)
}

// event is something that happens at a time; ids must be asked for in the order of time.
type event struct {
	at time.Time
	do func(at time.Time)
}

func (h *history) run(events []event) {
	events = append(events, h.probing()...)
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		e.do(e.at)
	}
	for _, parts := range h.logs {
		for _, log := range parts {
			slices.SortStableFunc(log, func(a, b stored) int { return a.at.Compare(b.at) })
		}
	}
}

// singletons are long-lived producers that write batches every so often, from a time on.
func (h *history) singletons(topic string, n int, from time.Time, every time.Duration, lasting time.Duration) (out []event) {
	for range n {
		start := from.Add(time.Duration(h.rng.Int64N(int64(every))))
		out = append(out, event{start, func(at time.Time) {
			pid, sequence := h.id(at), int32(0)
			part := h.rng.IntN(len(h.logs[topic]))
			for t := at; t.Before(h.now.Add(time.Minute)) && t.Before(at.Add(lasting)); t = t.Add(every) {
				h.write(topic, part, stored{at: t, pid: pid, sequence: sequence, records: 10})
				sequence += 10
			}
		}})
	}
	return out
}

// leak makes single-use producers at a rate, each with some batches, over a random spread of partitions.
func (h *history) leak(topic string, perSecond float64, from time.Time, batches, spread int) (out []event) {
	end := h.now.Add(25 * time.Second)
	for t := from; t.Before(end); t = t.Add(time.Duration(h.rng.ExpFloat64() / perSecond * 1e9)) {
		out = append(out, event{t, func(at time.Time) {
			pid := h.id(at)
			parts := h.rng.Perm(len(h.logs[topic]))[:spread]
			for _, p := range parts {
				for i := range batches {
					h.write(topic, p, stored{at: at.Add(time.Duration(i) * 10 * time.Millisecond), pid: pid, sequence: int32(i), records: 1})
				}
			}
		}})
	}
	return out
}

const simulatedInterval = 20 * time.Second

// scan samples the history: tails and the counter twice, offsets, the clock.
func (h *history) scan() *evidence.Scan {
	later := h.now.Add(simulatedInterval)
	s := &evidence.Scan{
		Schema: evidence.SchemaVersion, Tool: "ottla test", Started: h.now, Ended: later, Bootstrap: []string{"localhost:9092"},
		Cluster: evidence.Cluster{ID: "simulated", Controller: 1, Vendor: evidence.VendorKafka, VersionLeast: "3.6", VersionMost: "3.6", IDs: evidence.IDsInBlocks, TransactionVersion: -1},
		Topics:  slices.Clone(h.topics),
	}
	for b := range h.brokers {
		s.Brokers = append(s.Brokers, evidence.Broker{ID: int32(b), Answered: true, Configs: map[string]evidence.Value{keyProducerExpiration: {Value: "86400000", Source: "default"}}})
	}
	for _, name := range []string{evidence.SourceAPIVersions, evidence.SourceMetadata, evidence.SourceConfigs, evidence.SourceOffsets, evidence.SourceCounter, evidence.SourceTails, evidence.SourceClock} {
		s.Sources = append(s.Sources, evidence.Source{Name: name, State: evidence.Seen})
	}
	for i := range s.Topics {
		name := s.Topics[i].Name
		for p, log := range h.logs[name] {
			h.scanPartition(s, name, p, log, later)
			if n := cut(log, later); n > 0 && (s.Topics[i].FirstTime == 0 || log[0].at.UnixMilli() < s.Topics[i].FirstTime) {
				s.Topics[i].FirstTime = log[0].at.UnixMilli()
			}
		}
	}
	s.Counter = slices.Clone(h.probes)
	h.readClock(s)
	return s
}

func cut(log []stored, at time.Time) int {
	n, _ := slices.BinarySearchFunc(log, at, func(b stored, t time.Time) int { return b.at.Compare(t) })
	return n
}

func (h *history) scanPartition(s *evidence.Scan, name string, p int, log []stored, later time.Time) {
	end := cut(log, later)
	part := evidence.Partition{Topic: name, Index: int32(p), Leader: int32(p % h.brokers), End: int64(end), Since: int64(cut(log, h.now.Add(-day)))}
	for r := range min(3, h.brokers) {
		part.Replicas = append(part.Replicas, int32((p+r)%h.brokers))
	}
	s.Partitions = append(s.Partitions, part)
	for round, at := range []time.Time{h.now, later} {
		to := cut(log, at)
		if from := max(to-h.tail, 0); to > from {
			s.Tails = append(s.Tails, tailOf(name, p, round, at, int64(from), log[from:to]))
		}
	}
}

func tailOf(name string, p, round int, at time.Time, from int64, batches []stored) evidence.Tail {
	t := evidence.Tail{Topic: name, Partition: int32(p), Round: round, At: at, From: from, To: from + int64(len(batches)), FirstTime: batches[0].at.UnixMilli(), LastTime: batches[len(batches)-1].at.UnixMilli()}
	index := map[int64]int{}
	for _, b := range batches {
		t.Batches++
		t.Records += int64(b.records)
		if b.future > time.Hour {
			t.Future++
			t.FutureTime = max(t.FutureTime, b.at.Add(b.future).UnixMilli())
		}
		if b.txn {
			t.Transactional++
		}
		if b.pid < 0 {
			continue
		}
		t.Idempotent++
		i, has := index[b.pid]
		if !has {
			i = len(t.Producers)
			index[b.pid] = i
			t.Producers = append(t.Producers, evidence.Producer{PID: b.pid, Epoch: b.epoch, Transactional: b.txn, FirstSequence: b.sequence, FirstTime: b.at.UnixMilli()})
		}
		pr := &t.Producers[i]
		pr.Batches++
		pr.Records += b.records
		pr.LastTime, pr.Epoch = b.at.UnixMilli(), max(pr.Epoch, b.epoch)
		pr.Born = pr.Born || b.sequence == 0 && b.epoch == 0 && !b.txn
	}
	return t
}

// probing are the events of asking each broker for an id at both rounds.
func (h *history) probing() (out []event) {
	for _, at := range []time.Time{h.now, h.now.Add(simulatedInterval)} {
		for b := range h.brokers {
			out = append(out, event{at, func(at time.Time) {
				h.probes = append(h.probes, evidence.CounterProbe{At: at, Broker: int32(b), PID: h.idFrom(at, int32(b))})
			}})
		}
	}
	return out
}

func (h *history) readClock(s *evidence.Scan) {
	if len(h.handed) == 0 {
		return
	}
	const probes = 48
	from := h.handed[0].at
	spacing := s.Ended.Sub(from) / probes
	readAt := func(t time.Time, refined bool) {
		best := evidence.ClockPoint{PID: -1}
		for _, topic := range h.topics {
			for p, log := range h.logs[topic.Name] {
				i := cut(log, t)
				for j := i; j < min(i+100, len(log)); j++ {
					if b := log[j]; b.sequence == 0 && b.epoch == 0 && !b.txn && b.pid > best.PID && b.at.Before(s.Ended) && b.at.Before(t.Add(spacing)) {
						best = evidence.ClockPoint{Time: b.at.UnixMilli(), PID: b.pid, Topic: topic.Name, Partition: int32(p), Offset: int64(j), Refined: refined}
					}
				}
			}
		}
		if best.PID >= 0 {
			s.Clock = append(s.Clock, best)
		}
	}
	for i := range probes {
		readAt(from.Add(spacing*time.Duration(i)), false)
	}
	for ago := spacing / 2; ago >= 30*time.Second; ago /= 2 {
		readAt(s.Ended.Add(-ago), false)
	}
	slices.SortStableFunc(s.Clock, func(a, b evidence.ClockPoint) int { return compare(a.Time, b.Time) })
	for _, t := range RefineClock(s.Clock, h.brokers, 8) {
		readAt(time.UnixMilli(t), true)
	}
	slices.SortStableFunc(s.Clock, func(a, b evidence.ClockPoint) int { return compare(a.Time, b.Time) })
}
