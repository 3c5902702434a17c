package diagnose

import (
	"fmt"
	"math"
	"time"

	"ottla/internal/investigate/evidence"
)

const (
	// fixTolerance is how far live entries may lie above what was predicted.
	fixTolerance = 0.15
	fixStopped   = 0.05 // of the rate before: births have stopped
	fixFell      = 0.05 // of the entries before: the least that counts as falling
)

// reading is what one scan says of the leak that the first one found.
type reading struct {
	f         *findings
	at        time.Time
	births    float64 // per second, in the suspect topics
	entries   float64 // live, in the suspect topics; -1: not known
	measured  bool    // counted, not computed from rates
	source    string
	lastBirth int64
	life      float64
	unseen    bool // a suspect topic that is written to was not sampled, and the counter does not stand in for it
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
		rs = append(rs, read(f, first, first.ranked))
	}
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

// read sums up the suspect topics as one scan saw them, leaking or not.
func read(f, first *findings, suspects []*topicFacts) reading {
	r := reading{f: f, at: f.scan.Ended, life: f.life.Seconds, measured: true}
	seen := 0
	for _, t := range suspects {
		now := f.byName[t.name]
		if now == nil {
			if len(f.partitions[t.name]) == 0 {
				continue // the topic was deleted, and its entries with it
			}
			r.unseen = r.unseen || !f.silentSince(first, t.name)
			now = &topicFacts{topicSample: &topicSample{name: t.name, at: r.at.UnixMilli(), partitions: t.partitions, replicas: t.replicas}, stay: f.life.Seconds}
		} else {
			seen++
		}
		if now.leak == realLeak || now.churn {
			r.births += now.entries
		}
		r.lastBirth = max(r.lastBirth, now.lastBirth)
		live := f.live(now)
		if !live.exact {
			r.measured = false
			if live.bound >= 0 && float64(t.newborn) >= 0.9*float64(t.total) && t.batchesMedian <= 1 {
				// Where every record is another producer's, offsets count them.
				live = liveEntries{count: live.bound * t.entriesPerOffset(f.scan), source: evidence.SourceOffsets + ": records within the state's life"}
				r.measured = true
			}
		}
		r.entries += math.Max(live.count, 0)
		if live.source != "" {
			r.source = live.source
		}
	}
	if seen == 0 && f.counter.known {
		r.births, r.unseen = f.counter.perSecond, false
	}
	return r
}

// silentSince: nothing was written to a topic since an earlier scan, or within the state's life.
func (f *findings) silentSince(first *findings, topic string) bool {
	ends := map[int32]int64{}
	for _, p := range first.partitions[topic] {
		ends[p.Index] = p.End
	}
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
	for i, r := range rs[1:] {
		if r.births > fixStopped*p.rate {
			continue
		}
		// The last producer born is the end of it; without one, the middle between the scans.
		p.stopped = (seconds(rs[i].at) + seconds(r.at)) / 2
		if last := float64(r.lastBirth) / 1000; last >= p.firstAt-3600 && last <= seconds(r.at) {
			p.stopped = math.Max(last, p.firstAt)
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
	from := math.Max(p.onset, now-r.life-checkInterval.Seconds())
	return finite(math.Max(math.Min(p.stopped, now)-from, 0) * p.rate)
}

// gone is when the last entry goes, with the life of the last reading.
func (p *prediction) gone(r reading) time.Time {
	return momentOf((p.stopped + r.life + checkInterval.Seconds()) * 1000)
}

// starts is when the first entry goes.
func (p *prediction) starts(r reading) time.Time {
	return momentOf((p.onset + r.life) * 1000)
}

func (fix *Fix) judge(first *findings, rs []reading, p prediction) {
	// Sentences name the largest suspect only; the numbers are those of all.
	last, before := rs[len(rs)-1], rs[0]
	rate0 := before.births
	known := !last.unseen && (len(last.f.topics) > 0 || last.f.counter.known)
	fix.Stopped = known && last.births <= math.Max(fixStopped*rate0, 0) && !math.IsInf(p.stopped, 1)
	predicted := p.at(last)
	highest := before.entries
	for _, r := range rs[:len(rs)-1] {
		highest = math.Max(highest, r.entries)
	}
	fits := last.entries <= predicted*(1+fixTolerance)+newbornEnough
	fell := last.entries < highest*(1-fixFell)
	fix.Falling = last.measured && fits && fell
	name := first.ranked[0].name
	if fix.Stopped {
		fix.Done = p.gone(last)
	}
	switch {
	case !known && fix.Falling:
		fix.Exit = 1
		fix.Sentence = fmt.Sprintf("The live entries of %s fell from %s to %s, as they would if it got no new producers; neither its batches nor the counter could be read to confirm it.", name, count(highest), count(last.entries))
	case !known:
		fix.Exit, fix.Sentence = 3, "Cannot tell: the last scan could read neither "+name+" nor the counter."
	case fix.Stopped && first.life.Bounded != "":
		fix.Exit, fix.Sentence = 0, fmt.Sprintf("The fix works: %s gets no new producers any more.", name)
	case fix.Stopped && !last.measured:
		fix.Exit = 1
		fix.Sentence = fmt.Sprintf("%s gets no new producers any more; its live entries could not be counted, by the rule the last is gone on %s.", name, moment(fix.Done, last.at))
	case fix.Stopped && fix.Falling:
		fix.Exit = 0
		end := "the last is gone on " + moment(fix.Done, last.at)
		if last.entries < 1 {
			end = "none is left"
		}
		fix.Sentence = fmt.Sprintf("The fix works: %s gets no new producers any more, and its live entries fell from %s to %s as predicted (at most %s); %s.",
			name, count(highest), count(last.entries), count(predicted), end)
	case fix.Stopped && fits:
		fix.Exit = 1
		fix.Sentence = fmt.Sprintf("%s gets no new producers any more; its %s entries begin to go on %s and the last is gone on %s: look again then.",
			name, count(last.entries), moment(p.starts(last), last.at), moment(fix.Done, last.at))
	case fix.Stopped:
		fix.Exit = 2
		fix.Sentence = fmt.Sprintf("%s gets no new producers any more, but %s entries live where %s were predicted: they do not expire as they should.", name, count(last.entries), count(predicted))
	case fix.Falling || last.life < before.life:
		fix.Exit = 1
		fix.Sentence = fmt.Sprintf("%s still gets %s; entries now live %s instead of %s, so that they come to %s instead of %s.", name,
			spliced(last.births, "new entries"), span(last.life), span(before.life), count(last.births*(last.life+checkInterval.Seconds())), count(rate0*(before.life+checkInterval.Seconds())))
	default:
		fix.Exit = 2
		fix.Sentence = fmt.Sprintf("The fix does not work: %s still gets %s, and %s entries live.", name, spliced(last.births, "new entries"), count(last.entries))
	}
}
