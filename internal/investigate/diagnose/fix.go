package diagnose

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"ottla/internal/investigate/evidence"
)

const (
	// fixTolerance is how far live entries may lie above what was predicted.
	fixTolerance = 0.15
	fixStopped   = 0.05 // of the rate before: births have stopped
	fixFell      = 0.05 // of the entries before: the least that counts as falling
	// othersExplain is the share of the counter's births that may be left over where other topics' leaks explain the rest.
	othersExplain = 0.25
)

// reading is what one scan says of the leak that the first one found.
type reading struct {
	f         *findings
	at        time.Time
	births    float64      // per second, in the suspect topics
	still     []topicBirth // the suspect topics that still leak, most first
	byCounter bool         // births are the cluster's: the topics themselves were not read
	entries   float64      // live, in the suspect topics
	measured  bool         // counted or bounded, not computed from rates
	direct    bool         // brokers said how many there are; else entries is a bound
	source    string
	lastBirth int64
	life      float64
	stay      float64   // seconds that entries may stay at this time
	changed   time.Time // when the life was first seen to be what it is; zero: it always was
	unseen    bool      // a suspect topic that is written to was not sampled, and the counter does not stand in for it
	quiet     bool      // no suspect topic has a record that is young enough for an entry
}

type topicBirth struct {
	name      string
	perSecond float64
}

// verifyFix predicts the live entries from the first scan and compares. After births stop, those entries are alive whose last write
// is younger than the state's life (plus one check): with even births since the onset, a straight line down. A shortened life cuts
// the old end off at once.
func verifyFix(scans []*evidence.Scan) *Fix {
	fix := &Fix{Schema: VerdictSchema, Exit: 3}
	usable := scans[:0:0]
	for _, s := range scans {
		if s != nil {
			usable = append(usable, s)
		}
	}
	if len(usable) < 2 {
		fix.Sentence = "Cannot tell: it takes a scan from before the remedy and one from after it."
		return fix
	}
	first := examine(usable[0])
	if why := mismatch(usable); why != "" {
		fix.Sentence = "Cannot tell: " + why + "."
		return fix
	}
	if len(first.ranked) == 0 {
		fix.Sentence = "Cannot tell: the first scan shows no leak to compare with."
		return fix
	}
	var rs []reading
	for i, s := range usable {
		f := first
		if i > 0 {
			f = examine(s)
		}
		prev := first
		if i > 0 {
			prev = rs[i-1].f
		}
		rs = append(rs, read(f, prev, first.ranked))
	}
	settle(rs, first.ranked)
	comparable(rs)
	p := predictor(first, rs)
	for _, r := range rs {
		fix.Points = append(fix.Points, FixPoint{At: r.at, Entries: int64(math.Min(r.entries, 1e18)), Predicted: int64(math.Min(p.at(r), 1e18)), Births: finite(r.births), Source: r.source})
	}
	fix.judge(first, rs, p)
	return fix
}

func mismatch(scans []*evidence.Scan) string {
	for i, s := range scans[1:] {
		if a, b := scans[0].Cluster.ID, s.Cluster.ID; a != "" && b != "" && a != b {
			return fmt.Sprintf("scan %d is of another cluster (%s, not %s)", i+2, b, a)
		}
		if !s.Ended.After(scans[i].Ended) {
			return fmt.Sprintf("scan %d is not later than the one before it", i+2)
		}
	}
	return ""
}

// read sums up the suspect topics as one scan saw them, leaking or not. prev is the scan before it.
func read(f, prev *findings, suspects []*topicFacts) reading {
	r := reading{f: f, at: f.scan.Ended, life: f.life.Seconds, measured: true, direct: len(f.partitions) > 0, quiet: true}
	seen := 0
	for _, t := range suspects {
		now := f.byName[t.name]
		if now == nil {
			if len(f.partitions[t.name]) == 0 {
				continue // the topic was deleted, and its entries with it
			}
			r.unseen = r.unseen || !f.silentSince(prev, t.name)
			now = &topicFacts{topicSample: &topicSample{name: t.name, at: r.at.UnixMilli(), partitions: t.partitions, replicas: t.replicas}, stay: f.stay(t)}
		} else {
			seen++
		}
		if now.leak == realLeak || now.churn {
			r.births += now.entries
			r.still = append(r.still, topicBirth{t.name, now.entries})
		}
		r.lastBirth = max(r.lastBirth, now.lastBirth)
		r.count(t, now)
	}
	slices.SortStableFunc(r.still, func(a, b topicBirth) int { return cmp.Compare(b.perSecond, a.perSecond) })
	if seen == 0 && r.unseen {
		r.standIn(suspects)
	}
	if total, all := f.metered(); all {
		// No topic has more entries than all brokers together.
		if r.entries = math.Min(r.entries, total); total < 1 {
			r.measured, r.direct, r.source = true, true, evidence.SourceMetrics
		}
	}
	return r
}

// count adds a topic's live entries; first is what the first scan knew of it.
func (r *reading) count(first, now *topicFacts) {
	live := r.f.live(now)
	r.quiet = r.quiet && live.bound == 0
	if !live.exact {
		r.measured, r.direct = false, false
		if live.bound >= 0 && float64(first.newborn) >= allNewborn*float64(first.total) && first.batchesMedian <= 1 {
			// Where every record is another producer's, offsets bound them.
			live = liveEntries{count: live.bound, source: evidence.SourceOffsets + ": records within the state's life and 10 minutes, at most"}
			r.measured = true
		}
	}
	r.entries += math.Max(live.count, 0)
	if live.source != "" {
		r.source = live.source
	}
}

// standIn lets the counter speak for topics that were not sampled, as far as other topics do not explain what it counted.
func (r *reading) standIn(suspects []*topicFacts) {
	c := &r.f.counter
	if !c.known {
		return
	}
	others := 0.0
	for _, t := range newLeaks(r.f, suspects) {
		others += t.localBirths()
	}
	r.unseen, r.byCounter = false, true
	if r.births = c.perSecond - others; others > 0 && r.births <= othersExplain*c.perSecond+c.error {
		r.births, r.byCounter = 0, false
	}
}

// newLeaks are the topics that leak and are not among the suspects.
func newLeaks(f *findings, suspects []*topicFacts) (out []*topicFacts) {
	for _, t := range f.ranked {
		if (t.leak == realLeak || t.churn) && !slices.ContainsFunc(suspects, func(s *topicFacts) bool { return s.name == t.name }) {
			out = append(out, t)
		}
	}
	return out
}

// metered is the number of entries by the metrics of all brokers; all is false if one did not say.
func (f *findings) metered() (total float64, all bool) {
	metrics := metricsOf(f.scan)
	for i := range f.scan.Brokers {
		m, has := metrics[f.scan.Brokers[i].ID]
		if !has || m.entries < 0 {
			return 0, false
		}
		total += m.entries
	}
	return total, len(f.scan.Brokers) > 0
}

// settle says how long entries may stay at each reading. A shorter life works from the brokers' next check on: for ten minutes after it was
// first seen, entries of the longer one may still be there, and offsets within the shorter one do not bound them.
func settle(rs []reading, suspects []*topicFacts) {
	run := 0 // the first reading with the present life
	for i := range rs {
		r := &rs[i]
		if i > 0 && !r.f.life.read {
			r.life = rs[i-1].life // not known to have changed
		}
		if i > 0 && r.life != rs[i-1].life {
			run = i
		}
		r.stay = r.life + checkInterval.Seconds()
		if run == 0 {
			continue
		}
		r.changed = rs[run].at
		if r.life >= rs[run-1].life || r.at.Sub(r.changed) >= checkInterval {
			continue
		}
		r.stay, r.quiet = math.Max(r.stay, rs[run-1].stay), false
		if !r.direct {
			grown, known := r.f.grown(rs[i-1].f, suspects)
			r.entries = math.Max(r.entries, rs[i-1].entries+grown)
			r.measured = known && rs[i-1].measured
			r.source = evidence.SourceOffsets + ": those of the scan before and the records since, as brokers may not have looked for idle ones yet"
		}
	}
}

// grown is how many records the topics got since an earlier scan.
func (f *findings) grown(earlier *findings, topics []*topicFacts) (n float64, known bool) {
	for _, t := range topics {
		before := earlier.ends(t.name)
		for _, p := range f.partitions[t.name] {
			if p.End < 0 {
				return n, false
			}
			n += math.Max(float64(p.End-before[p.Index]), 0)
		}
	}
	return finite(n), true
}

// ends are the known ends of a topic's partitions.
func (f *findings) ends(topic string) map[int32]int64 {
	out := map[int32]int64{}
	for _, p := range f.partitions[topic] {
		if p.End >= 0 {
			out[p.Index] = p.End
		}
	}
	return out
}

// silentSince: nothing was written to a topic since an earlier scan, or within the state's life.
func (f *findings) silentSince(earlier *findings, topic string) bool {
	ends := earlier.ends(topic)
	for _, p := range f.partitions[topic] {
		if end, known := ends[p.Index]; p.Bound() != 0 && (!known || p.End < 0 || p.End != end) {
			return false
		}
	}
	return true
}

// comparable makes all readings count in one way: exact sets in one scan and offsets in another differ by what is no producer.
func comparable(rs []reading) {
	for i := range rs[1:] {
		if rs[0].entries > 0 && rs[i+1].source == "" && rs[i+1].entries == 0 {
			rs[i+1].source = rs[0].source
		}
	}
}

// prediction is a straight line: births at a rate from the onset until they stopped.
type prediction struct {
	rate            float64 // entries a second
	onset, stopped  float64 // seconds since 1970
	first           float64 // entries in the first scan
	firstAt, lifeAt float64
}

func predictor(first *findings, rs []reading) prediction {
	p := prediction{rate: rs[0].births, first: math.Max(rs[0].entries, 0), firstAt: seconds(rs[0].at), lifeAt: rs[0].life}
	p.stopped = math.Inf(1)
	for _, r := range rs[1:] {
		if r.births > fixStopped*p.rate {
			continue
		}
		// The last producer born is the end of it; without one, the latest that it can have been.
		p.stopped = seconds(r.at)
		if last := float64(r.lastBirth) / 1000; last >= p.firstAt-3600 && last <= seconds(r.at) {
			p.stopped = math.Max(last, p.firstAt)
		} else if r.quiet {
			p.stopped = math.Max(seconds(r.at)-r.stay, p.firstAt)
		}
		break
	}
	age := math.Inf(1)
	for _, t := range first.ranked {
		age = math.Min(age, first.leakAge(t))
	}
	if p.rate > 0 {
		// What is there was born at this rate, however long ago it began.
		age = math.Min(age, p.first/p.rate)
	}
	p.onset = p.firstAt - math.Min(age, p.lifeAt+checkInterval.Seconds())
	if p.rate <= 0 && p.firstAt > p.onset {
		p.rate = p.first / (p.firstAt - p.onset)
	}
	return p
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// at is the most that should be alive at a reading, with brokers looking for idle producers every ten minutes, if births stopped when they did and the life is what that scan says.
func (p *prediction) at(r reading) float64 {
	now := seconds(r.at)
	if now <= p.firstAt {
		return p.first
	}
	from := math.Max(p.onset, now-r.stay)
	return finite(math.Max(math.Min(p.stopped, now)-from, 0) * p.rate)
}

// gone is when the last entry has gone at the latest, with the life of the last reading: at the check after it ran out, or after the life
// was shortened.
func (p *prediction) gone(r reading) time.Time {
	due := p.stopped + r.life
	if !r.changed.IsZero() {
		due = math.Max(due, seconds(r.changed))
	}
	gone := momentOf((due + checkInterval.Seconds()) * 1000)
	if r.direct && r.entries < 1 && gone.After(r.at) {
		return r.at.UTC()
	}
	return gone
}

// starts is when the first entry goes.
func (p *prediction) starts(r reading) time.Time {
	return momentOf((p.onset + r.life) * 1000)
}
