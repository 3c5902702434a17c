package collect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// Limits of the tails.
const (
	// tailBytesMax is the most of one partition that is read in one go; a cluster of many partitions gets less of each, but not less
	// than tailBytesMin.
	tailBytesMax = 64 << 10
	tailBytesMin = 16 << 10
	// tailsShare is the part of the budget's bytes, in percent, that each of the rounds may plan for: the rest is for others, and
	// for batches that are larger than asked for.
	tailsShare = 30
	// Of one topic, so that a topic of thousands of partitions leaves room for the others; more of one under suspicion.
	tailsOfTopicMax   = 64
	tailsOfSuspectMax = 256
	tailSuspectsMax   = 20 // topics of the second round
	// tailsAloneMax is how many partitions are read alone, each in a request of its own, because their batches are larger than
	// what was asked for: of such partitions brokers send nothing.
	tailsAloneMax = 100
	// tailBatchBytes is what an offset is taken for at first, in bytes: little, so that the first read ends at the end of the log.
	tailBatchBytes = 256
	// tailWaves is how often more partitions are taken because the others gave less than they might.
	tailWaves = 6
	// tailGrowth is how many times further back than the first read the second one goes, at most.
	tailGrowth = 32
	// The producers of one tail, and the share of all of them that the first round may fill, in percent.
	tailProducersMax   = 4_000
	tailProducersShare = 70
)

var sourceTails = source{
	name: evidence.SourceTails, twice: true,
	what:        "the last batch headers of partitions: newborn producers, idempotence, codecs, dates from the future",
	permissions: permissionRead,
	run:         runTails,
	most: func(s *step) (int64, int64) {
		n := int64(len(s.scan.Partitions))
		bytes := min(n*tailBytesMax*3, s.o.BytesMax*2*tailsShare/100)
		return n*3/8 + int64(len(s.scan.Brokers))*6 + tailsAloneMax, bytes
	},
}

// tailsRun is one round.
type tailsRun struct {
	*step
	alone int // partitions that were read alone
	mu    struct {
		sync.Mutex
		got  map[*evidence.Partition]*tailCounter
		room int // producers
	}
}

func runTails(ctx context.Context, s *step) error {
	r := &tailsRun{step: s}
	r.mu.got = map[*evidence.Partition]*tailCounter{}
	used := 0
	for i := range s.scan.Tails {
		used += len(s.scan.Tails[i].Producers)
	}
	r.mu.room = evidence.ProducersMax - used
	if s.round == 0 {
		r.mu.room = evidence.ProducersMax * tailProducersShare / 100
		r.wide(ctx)
	} else {
		r.read(ctx, r.suspects(ctx), r.fetchRequestBytes())
	}
	r.keep()
	return nil
}

// share is how many bytes this round may plan for.
func (r *tailsRun) share() int64 {
	return min(r.budget.left(), r.o.BytesMax*tailsShare/100)
}

// wide is the first round: the largest bound first, one partition of each topic before the second of any. Since most partitions give less
// than they might, it goes on until the bytes are used.
func (r *tailsRun) wide(ctx context.Context) {
	ends := r.ends(ctx, partitionsOf(r.scan, func(p *evidence.Partition) bool { return p.End < 0 }))
	var parts []*evidence.Partition
	for _, p := range partitionsOf(r.scan, func(p *evidence.Partition) bool { return p.Bound() != 0 }) {
		if end := max(p.End, ends[p]); end > 0 && end > p.Start {
			parts = append(parts, p)
		}
	}
	parts, left := choose(parts, tailsOfTopicMax)
	if len(parts) == 0 {
		return
	}
	share := r.share()
	// Half of it is for the first reads; what they teach is worth a second one.
	bytes := min(max(share/2/int64(len(parts)), tailBytesMin), tailBytesMax)
	for wave := 0; wave < tailWaves && len(parts) > 0 && share >= 2*bytes && ctx.Err() == nil; wave++ {
		n := min(int(share/2/bytes), len(parts))
		work := make([]stretch, n)
		for i, p := range parts[:n] {
			work[i] = stretch{p, max(p.Start, max(p.End, ends[p])-bytes/tailBatchBytes, 0), int32(bytes)}
		}
		parts = parts[n:]
		before := r.budget.used().Bytes
		r.read(ctx, work, r.fetchRequestBytes())
		again, alone := r.improve(work, share/2)
		r.read(ctx, again, r.fetchRequestBytes())
		r.read(ctx, alone, 0)
		share -= max(r.budget.used().Bytes-before, 1)
	}
	if left += len(parts); left > 0 {
		r.leftOut(fmt.Sprintf("%d partitions, those with the fewest records since the state's life, were not sampled", left))
	}
}

// suspects chooses what came since the first round in the topics that it points to.
func (r *tailsRun) suspects(ctx context.Context) []stretch {
	topics := diagnose.SuspectTopics(r.scan, tailSuspectsMax)
	parts := partitionsOf(r.scan, func(p *evidence.Partition) bool { return slices.Contains(topics, p.Topic) && p.Bound() != 0 })
	parts, left := choose(parts, tailsOfSuspectMax)
	if left > 0 {
		r.leftOut(fmt.Sprintf("%d partitions of the suspects were not sampled again", left))
	}
	ends := r.ends(ctx, parts)
	before := map[string]*evidence.Tail{}
	for i := range r.scan.Tails {
		t := &r.scan.Tails[i]
		before[fmt.Sprint(t.Topic, "/", t.Partition)] = t
	}
	var work []stretch
	share := r.share()
	for _, p := range parts {
		end, told := ends[p]
		if !told || share < tailBytesMax {
			continue
		}
		from := max(p.Start, p.End, 0)
		if t := before[fmt.Sprint(p.Topic, "/", p.Index)]; t != nil && t.To > 0 {
			from = max(from, t.To)
			if t.To > t.From { // no more than what fits, by what an offset took before
				from = max(from, end-max(tailBytesMax*(t.To-t.From)/max(t.Bytes, 1), 1))
			}
		}
		r.write(func(*evidence.Scan) { p.End = max(p.End, end) }) // what it may hold now
		if from >= end {                                          // nothing new, which is an answer too
			t := &r.counter(p).tail
			t.From, t.To, t.End = end, end, end
			continue
		}
		share -= tailBytesMax
		work = append(work, stretch{p, from, tailBytesMax})
	}
	return work
}

// improve says what to read again after the first read. A read that ended long before the end of the log was of an old stretch; one that
// came to the end with few bytes could have begun earlier. alone are those of which nothing came.
func (r *tailsRun) improve(work []stretch, share int64) (again, alone []stretch) {
	for _, w := range work {
		c := r.mu.got[w.part]
		if c == nil || share < int64(w.most) {
			continue
		}
		t := &c.tail
		end := max(w.part.End, t.To)
		switch span := t.To - t.From; {
		case t.Bytes == 0 && end > w.from:
			if r.alone < tailsAloneMax && share >= wholeBatch {
				r.alone++
				share -= wholeBatch
				alone = append(alone, stretch{w.part, max(end-1, w.part.Start), w.most})
			}
			continue
		case span <= 0:
			continue
		case end-t.To > span:
			w.from = max(w.part.Start, end-span)
		case t.Bytes < int64(w.most)/2 && t.From > max(w.part.Start, 0):
			times := min(int64(w.most)/max(t.Bytes, 1), tailGrowth)
			w.from = max(w.part.Start, end-span*times, 0)
		default:
			continue
		}
		share -= int64(w.most)
		again = append(again, w)
	}
	return again, alone
}

// read fetches, with several partitions in a request as long as they are not more than mostBytes together.
func (r *tailsRun) read(ctx context.Context, work []stretch, mostBytes int32) {
	perBroker(ctx, r.step, fetchRequests(work, mostBytes), func(ctx context.Context, broker int32, some []stretch) {
		r.fetch(ctx, broker, some, func(f fetched) {
			c := newTailCounter(f.part.Topic, f.part.Index, r.round, r.now().UTC())
			c.add(f.records)
			c.tail.End = max(f.end, c.tail.To)
			r.mu.Lock()
			defer r.mu.Unlock()
			if old := r.mu.got[f.part]; old == nil || c.tail.To > c.tail.From {
				r.mu.got[f.part] = c
			}
		})
	})
}

// counter is the partition's, made if there is none.
func (r *tailsRun) counter(p *evidence.Partition) *tailCounter {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.mu.got[p]
	if c == nil {
		c = newTailCounter(p.Topic, p.Index, r.round, r.now().UTC())
		r.mu.got[p] = c
		r.step.ok()
	}
	return c
}

// keep writes the round's tails into the scan, those of the largest partitions first: they get the room for producers.
func (r *tailsRun) keep() {
	parts := make([]*evidence.Partition, 0, len(r.mu.got))
	for p := range r.mu.got {
		parts = append(parts, p)
	}
	sortByBound(parts)
	r.write(func(scan *evidence.Scan) {
		if left := len(scan.Tails) + len(parts) - evidence.TailsMax; left > 0 {
			parts = parts[:len(parts)-left]
			r.leftOut(fmt.Sprintf("%d partitions that were read are above the limit of %d", left, evidence.TailsMax))
		}
		for _, p := range parts {
			t := r.mu.got[p].take(min(r.mu.room, tailProducersMax))
			r.mu.room -= len(t.Producers)
			scan.Tails = append(scan.Tails, t)
		}
	})
}

// ends asks for the ends of logs now.
func (s *step) ends(ctx context.Context, parts []*evidence.Partition) map[*evidence.Partition]int64 {
	out := make(map[*evidence.Partition]int64, len(parts))
	var mu sync.Mutex
	s.lookups(ctx, parts, latest, func(f found) {
		mu.Lock()
		defer mu.Unlock()
		if f.offset >= 0 {
			out[f.part] = f.offset
		}
	})
	return out
}

// partitionsOf are the scan's partitions with a leader, of topics that applications write to, that keep says yes to.
func partitionsOf(scan *evidence.Scan, keep func(*evidence.Partition) bool) []*evidence.Partition {
	internal := map[string]bool{}
	for i := range scan.Topics {
		internal[scan.Topics[i].Name] = scan.Topics[i].Internal
	}
	var out []*evidence.Partition
	for i := range scan.Partitions {
		p := &scan.Partitions[i]
		if p.Leader >= 0 && !internal[p.Topic] && keep(p) {
			out = append(out, p)
		}
	}
	return out
}

func sortByBound(parts []*evidence.Partition) {
	slices.SortFunc(parts, func(a, b *evidence.Partition) int {
		if x, y := a.Bound(), b.Bound(); x != y {
			return cmp.Compare(y, x)
		}
		if a.Topic != b.Topic {
			return cmp.Compare(a.Topic, b.Topic)
		}
		return cmp.Compare(a.Index, b.Index)
	})
}

// choose sorts by bound, one partition of each topic before all others, and takes at most most of a topic; left is how many it did not.
func choose(parts []*evidence.Partition, most int) (chosen []*evidence.Partition, left int) {
	parts = slices.Clone(parts)
	sortByBound(parts)
	seen := map[string]int{}
	var others []*evidence.Partition
	for _, p := range parts {
		switch n := seen[p.Topic]; {
		case n == 0:
			chosen = append(chosen, p)
		case n < most:
			others = append(others, p)
		default:
			left++
		}
		seen[p.Topic]++
	}
	return append(chosen, others...), left
}
