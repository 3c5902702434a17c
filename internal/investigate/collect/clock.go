package collect

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// Limits of the producer-id clock.
const (
	clockProbes     = 40 // times, evenly over the history
	clockRecent     = 8  // times in the last of these gaps, each half as long ago as the one before: for a leak that is young
	clockRefined    = 8  // further times around the kink
	clockBytes      = 32 << 10
	clockSuspects   = 2     // topics under suspicion that are read, and partitions of each
	clockOthers     = 3     // further partitions with idempotent producers, those with the longest history
	clockTopicsMax  = 5_000 // topics whose history is looked up
	clockNow        = -1    // stands for the time of the tails
	clockSpacingMin = 1000  // ms between probes: a short history has fewer of them
)

var sourceClock = source{
	name:        evidence.SourceClock,
	what:        "if there is a leak: producer ids at some fifty times in the past, for the date of its beginning",
	permissions: permissionTopic + ", " + permissionRead,
	run:         runClock,
	most: func(s *step) (int64, int64) {
		parts := int64(min(len(s.scan.Partitions), clockTopicsMax))
		times, each := int64(clockProbes+clockRecent+clockRefined), int64(clockSuspects*clockSuspects+clockOthers)
		leaders := min(each, int64(len(s.scan.Brokers)))
		return parts/timesAtOnce + int64(len(s.scan.Brokers)) + 2*times*leaders, parts*lookupBytes + times*each*(clockBytes+2*fetchOverhead)
	},
}

// clock is the reading of one scan's clock.
type clock struct {
	*step
	parts   []*evidence.Partition
	first   map[*evidence.Partition]int64 // date of the oldest record, ms since 1970
	spacing int64                         // ms between probes
	mu      sync.Mutex
	taken   map[int64][]evidence.ClockPoint // by the time that was asked for
}

// probe reads some partitions of one leader at one time.
type probe struct {
	at      int64 // ms since 1970
	parts   []*evidence.Partition
	refined bool
}

func runClock(ctx context.Context, s *step) error {
	suspects := diagnose.SuspectTopics(s.scan, clockSuspects)
	if len(suspects) == 0 {
		return nil // there is no leak to date
	}
	idempotent := map[string]bool{}
	for i := range s.scan.Tails {
		if t := &s.scan.Tails[i]; t.Idempotent > 0 {
			idempotent[t.Topic] = true
		}
	}
	c := &clock{step: s, taken: map[int64][]evidence.ClockPoint{}}
	c.first = s.firstTimes(ctx, suspects, idempotent)
	c.choose(suspects)
	now := s.now().UnixMilli()
	from := now
	for _, p := range c.parts {
		from = min(from, c.first[p])
	}
	c.fromTails()
	c.spacing = max((now-from)/clockProbes, clockSpacingMin)
	var times []int64
	for at := from; at < now && len(times) < clockProbes; at += c.spacing {
		times = append(times, at)
	}
	for ago, n := c.spacing/2, 0; ago >= clockSpacingMin/2 && n < clockRecent; ago, n = ago/2, n+1 {
		times = append(times, now-ago)
	}
	c.read(ctx, times, false)
	c.refine(ctx)
	s.write(func(scan *evidence.Scan) { scan.Clock = c.points() })
	return nil
}

// firstTimes asks for the date of the oldest record of all partitions of suspects and of one of each other topic with idempotent producers. Where
// that is older than what the scan has of a topic it writes it there.
func (s *step) firstTimes(ctx context.Context, suspects []string, idempotent map[string]bool) map[*evidence.Partition]int64 {
	holds := func(p *evidence.Partition) bool { return p.End > p.Start }
	parts, _ := choose(partitionsOf(s.scan, func(p *evidence.Partition) bool {
		return holds(p) && idempotent[p.Topic] && !slices.Contains(suspects, p.Topic)
	}), 1)
	parts = parts[:min(len(parts), clockTopicsMax)]
	of, _ := choose(partitionsOf(s.scan, func(p *evidence.Partition) bool { return holds(p) && slices.Contains(suspects, p.Topic) }), tailsOfSuspectMax)
	parts = append(parts, of...)
	out := make(map[*evidence.Partition]int64, len(parts))
	var mu sync.Mutex
	s.lookups(ctx, parts, oldestRecord, func(f found) {
		mu.Lock()
		defer mu.Unlock()
		if f.offset >= 0 && f.time > 0 {
			out[f.part] = f.time
		}
	})
	topics := map[string]int64{}
	for p, ms := range out {
		if old, seen := topics[p.Topic]; !seen || ms < old {
			topics[p.Topic] = ms
		}
	}
	s.write(func(scan *evidence.Scan) {
		for i := range scan.Topics {
			t := &scan.Topics[i]
			if ms, asked := topics[t.Name]; asked && (t.FirstTime == 0 || ms < t.FirstTime) {
				t.FirstTime = ms
			}
		}
	})
	return out
}

// choose takes the partitions with the longest history, of the suspects and of the others.
func (c *clock) choose(suspects []string) {
	var all []*evidence.Partition
	now := c.now().UnixMilli()
	for p, ms := range c.first {
		if ms <= now {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *evidence.Partition) int {
		return cmp.Or(cmp.Compare(c.first[a], c.first[b]), cmp.Compare(b.Bound(), a.Bound()), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
	})
	taken := map[string]int{}
	var others []*evidence.Partition
	for _, p := range all {
		if slices.Contains(suspects, p.Topic) {
			if taken[p.Topic]++; taken[p.Topic] <= clockSuspects {
				c.parts = append(c.parts, p)
			}
		} else if len(others) < clockOthers {
			others = append(others, p)
		}
	}
	c.parts = append(c.parts, others...)
}

// fromTails takes the newest readings from where they have been read already.
func (c *clock) fromTails() {
	for i := range c.scan.Tails {
		t := &c.scan.Tails[i]
		best := evidence.ClockPoint{PID: -1, Topic: t.Topic, Partition: t.Partition, Offset: t.From}
		for _, p := range t.Producers {
			if p.Born && p.PID > best.PID && p.FirstTime > 0 && p.FirstTime <= t.At.UnixMilli() {
				best.PID, best.Time = p.PID, p.FirstTime
			}
		}
		chosen := slices.ContainsFunc(c.parts, func(p *evidence.Partition) bool { return p.Topic == t.Topic && p.Index == t.Partition })
		if best.PID >= 0 && chosen {
			c.taken[clockNow] = append(c.taken[clockNow], best)
		}
	}
}

// read takes readings at some times.
func (c *clock) read(ctx context.Context, times []int64, refined bool) {
	work := map[int32][]probe{}
	for _, at := range times {
		byLeader := map[int32][]*evidence.Partition{}
		for _, p := range c.parts {
			if c.first[p] < at+c.spacing { // else it had no record yet
				byLeader[p.Leader] = append(byLeader[p.Leader], p)
			}
		}
		for leader, parts := range byLeader {
			work[leader] = append(work[leader], probe{at, parts, refined})
		}
	}
	perBroker(ctx, c.step, work, c.probe)
}

func (c *clock) probe(ctx context.Context, broker int32, pr probe) {
	var stretches []stretch
	c.lookup(ctx, broker, pr.parts, pr.at, func(f found) {
		if f.offset >= 0 && f.time <= pr.at+c.spacing {
			stretches = append(stretches, stretch{f.part, f.offset, clockBytes})
		}
	})
	slices.SortFunc(stretches, func(a, b stretch) int { return slices.Index(c.parts, a.part) - slices.Index(c.parts, b.part) })
	if len(stretches) == 0 {
		return
	}
	// All in one request, the suspects' first: the first partition of an answer always gives a whole batch, others nothing if their first
	// batch is larger than asked for, which is no harm here.
	c.fetch(ctx, broker, stretches, func(f fetched) {
		h, found, born := reading(f.records, pr.at, pr.at+c.spacing)
		if !found {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.taken[pr.at] = append(c.taken[pr.at], evidence.ClockPoint{
			Time: h.MaxTimestamp, PID: h.ProducerID, Topic: f.part.Topic, Partition: f.part.Index, Offset: h.BaseOffset, Refined: pr.refined, AtLeast: !born,
		})
	})
}

// refine reads where the rules say that it would narrow the onset.
func (c *clock) refine(ctx context.Context) {
	for left := clockRefined; left > 0; {
		times := diagnose.RefineClock(c.points(), len(c.scan.Brokers), left)
		if len(times) == 0 {
			return
		}
		times = times[:min(len(times), left)]
		left -= len(times)
		before := len(c.taken)
		c.read(ctx, times, true)
		if len(c.taken) == before {
			return // nothing was written around then: the next answer would be the same
		}
	}
}

// points are the readings in the order of their times. Of those of one time only the highest newborn producer's is kept, if
// there is one: beside it the others say nothing.
func (c *clock) points() []evidence.ClockPoint {
	var out []evidence.ClockPoint
	for _, some := range c.taken {
		best := -1
		for i, p := range some {
			if !p.AtLeast && (best < 0 || p.PID > some[best].PID) {
				best = i
			}
		}
		if best >= 0 {
			some = some[best : best+1]
		}
		out = append(out, some...)
	}
	slices.SortFunc(out, func(a, b evidence.ClockPoint) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	out = slices.CompactFunc(out, func(a, b evidence.ClockPoint) bool {
		return a.Time == b.Time && a.PID == b.PID && a.Topic == b.Topic && a.Partition == b.Partition
	})
	return out[:min(len(out), evidence.ClockPointsMax)]
}
