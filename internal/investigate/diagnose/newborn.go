package diagnose

import (
	"math"
	"slices"
	"sort"

	"ottla/internal/investigate/evidence"
)

// Thresholds of the first horseman; docs/horsemen say why.
const (
	shortLife         = 60.0 // seconds: a producer that lives less was made for a task
	newbornShareFound = 0.5
	newbornShareNone  = 0.01
	newbornEnough     = 50
	newbornFew        = 3
	// entriesPerSecondMin is one new entry in ten minutes: less is a job that runs now and then, whatever its share.
	entriesPerSecondMin = 1.0 / 600
	survivalHealthy     = 0.5 // of the newborns wrote again in the next round: they were restarted, not thrown away
	survivalEnough      = 5
	// overGaps is how many mean gaps between births may pass without one before they count as over.
	overGaps = 10
	// nowSigmas is how far the births between the rounds must be above what the tail's mean predicts to be taken instead.
	nowSigmas = 3
	// youngAge and youngBirths: what began less than this ago and made fewer than this may be a rolling restart.
	youngAge    = 15 * 60.0
	youngBirths = 1_000
)

// leak is what one topic's newborn producers amount to.
type leak string

const (
	noLeak    leak = ""
	maybeLeak leak = "maybe" // a burst that is over or has only begun: a restart looks the same
	realLeak  leak = "leak"
)

// topicFacts is what follows from one topic's sample.
type topicFacts struct {
	*topicSample
	leak  leak
	why   string
	churn bool // transactional ids that are used once

	newborn, total int64 // distinct ids; newborn ones without those of other clusters
	foreign        int64 // newborn ids that this cluster's counter has not reached: copied from another cluster byte by byte
	stable         int64 // ids with a transactional id or a risen epoch
	rose           int64 // newborn ids whose epoch rose later: the same producer comes back
	share          float64
	lifeMedian     float64
	batchesMedian  float64
	survival       float64 // -1: not known
	livedRatio     float64 // median of life over possible life; -1: not known
	firstBirth     int64
	lastBirth      int64
	older          bool // ids that are older than the first birth are in the sample
	lives          [9]int64
	least, most    int64
	births         float64 // per second, distinct ids
	entries        float64 // per second, over all partitions
	byOffsets      bool
	ofRounds       bool    // the rate is that between the two rounds
	stay           float64 // seconds that an entry of this topic stays
}

// factsOf judges a topic's sample. counterMost is the highest id that this cluster can have handed out; 0 if that is not known.
func factsOf(t *topicSample, counterMost int64) *topicFacts {
	f := &topicFacts{topicSample: t, survival: -1, livedRatio: -1, least: -1, most: -1}
	var lives, ratios, batches []float64
	var comparable, again, txnZero, txnAgain int64
	var txnLives []float64
	for i := range t.producers {
		p := &t.producers[i]
		f.total++
		if p.txn || p.epoch > 0 {
			f.stable++
		}
		if p.churned() {
			txnZero++
			if p.again {
				txnAgain++
			}
			txnLives = append(txnLives, math.Max(float64(p.last-p.first)/1000, 0))
		}
		if !p.born || p.txn {
			continue
		}
		f.newborn++
		if counterMost > 0 && p.pid > counterMost {
			f.foreign++
		}
		if p.epoch > 0 {
			f.rose++
		}
		f.pid(p)
		life := math.Max(float64(p.last-p.first)/1000, 0)
		lives, batches = append(lives, life), append(batches, float64(p.batches))
		f.lives[lifeClass(life)]++
		if possible := float64(t.at-p.first) / 1000; possible >= shortLife {
			ratios = append(ratios, math.Min(life/possible, 1))
		}
		if p.comparable {
			comparable++
			if p.again {
				again++
			}
		}
	}
	f.total += t.leftOut
	f.newborn += t.newbornLeftOut
	if f.total > 0 {
		f.share = math.Min(float64(f.newborn)/float64(f.total), 1)
	}
	f.lifeMedian, f.batchesMedian = median(lives), median(batches)
	if comparable >= survivalEnough {
		f.survival = float64(again) / float64(comparable)
	}
	if len(ratios) > 0 {
		f.livedRatio = median(ratios)
	}
	f.older = f.hasOlder()
	f.churn = txnZero >= newbornEnough && float64(txnZero) >= 0.9*float64(f.stable) && median(txnLives) < shortLife && float64(txnAgain) < survivalHealthy*float64(txnZero)
	f.rates()
	return f
}

func (f *topicFacts) pid(p *seen) {
	if f.least < 0 || p.pid < f.least {
		f.least = p.pid
	}
	f.most = max(f.most, p.pid)
	if f.firstBirth == 0 || p.first < f.firstBirth {
		f.firstBirth = p.first
	}
	f.lastBirth = max(f.lastBirth, p.first)
}

func (f *topicFacts) hasOlder() bool {
	for i := range f.producers {
		if p := &f.producers[i]; !p.born && p.first < f.firstBirth {
			return true
		}
	}
	return false
}

func lifeClass(seconds float64) int {
	for i, limit := range evidence.AgeLimits {
		if seconds < limit.Seconds() {
			return i
		}
	}
	return len(evidence.AgeLimits)
}

// rates scales the sampled partitions' rates to the topic. A producer that writes to many partitions is one birth and many
// entries; how many partitions it writes to is more than what a sample of the partitions shows.
func (f *topicFacts) rates() {
	if f.sampled == 0 {
		return
	}
	sum := 0.0
	for i, r := range f.entryRates {
		sum += r.perSecond
		if f.churn {
			sum += f.txnRates[i].perSecond
		}
		f.byOffsets = f.byOffsets || r.byOffsets
	}
	sum = f.ofNow(sum)
	f.entries = finite(sum / float64(f.sampled) * float64(f.partitions))
	f.births = finite(f.entries / f.fanOut())
}

// ofNow corrects a rate that is the mean over a long tail where the two rounds plainly show another one: a leak whose past had
// bursts or silence. What counts is the rate of now. sum is the rate over all sampled partitions.
func (f *topicFacts) ofNow(sum float64) float64 {
	if f.byOffsets || f.churn || f.laterPartitions == 0 {
		return sum
	}
	expected, seen := sum*f.laterSeconds, float64(f.laterEntries)
	if seen-expected <= nowSigmas*math.Sqrt(expected+1) {
		return sum // also where fewer came than expected: births that come in waves are still births
	}
	now := seen / f.laterSeconds * float64(f.sampled) / float64(f.laterPartitions)
	f.ofRounds = true
	for i := range f.entryRates {
		if sum > 0 {
			f.entryRates[i].perSecond *= now / sum
		} else {
			f.entryRates[i].perSecond = now / float64(f.sampled)
		}
	}
	return now
}

// fanOut is how many of the topic's partitions a newborn producer writes to, by the mean over those born in the time that
// all sampled tails cover.
func (f *topicFacts) fanOut() float64 {
	ids, in := 0.0, 0.0
	var allIDs, allIn float64
	for i := range f.producers {
		p := &f.producers[i]
		if !p.born || p.txn {
			continue
		}
		allIDs, allIn = allIDs+1, allIn+float64(p.bornIn)
		if p.first >= f.common {
			ids, in = ids+1, in+float64(p.bornIn)
		}
	}
	if ids < 20 {
		ids, in = allIDs, allIn
	}
	if ids == 0 {
		return 1
	}
	observed := in / ids
	if f.sampled >= f.partitions {
		return math.Max(observed, 1)
	}
	// observed = m q / (1 - (1-q)^m) for a producer of m partitions, each sampled with probability q: solved for m, which it rises with.
	q := float64(f.sampled) / float64(f.partitions)
	low, high := 1.0, float64(f.partitions)
	for range 60 {
		m := (low + high) / 2
		if m*q/(1-math.Pow(1-q, m)) < observed {
			low = m
		} else {
			high = m
		}
	}
	return low
}

// judge decides whether the newborn producers are a leak. births is the counter's word on whether any are made now.
func (f *topicFacts) judge(b *birthFacts, k *kink, off float64) {
	f.leak, f.why = noLeak, ""
	short := f.lifeMedian < shortLife && f.births >= birthsPerSecondMin && f.newborn >= newbornFew
	many := f.share >= newbornShareFound && f.newborn >= newbornEnough && f.entries >= entriesPerSecondMin
	switch {
	case !short && !many || f.share < newbornShareNone:
		return
	case f.livesOn() && f.goneOn(k, off):
		f.leak, f.why = maybeLeak, "its new producers live longer than the sample shows, but they have been made at this rate for longer than a restart takes"
		return
	case f.survival >= survivalHealthy:
		f.why = "its new producers wrote again in the second round: they live on"
		return
	case f.livedRatio >= survivalHealthy:
		f.why = "its new producers have been writing ever since they began"
		return
	case float64(f.rose) >= survivalHealthy*float64(f.newborn):
		f.why = "its producers come back with a risen epoch"
		return
	case !f.goesOn(b):
		f.why = "its new producers came in one burst that is over: a rolling restart looks like this"
		if f.newborn >= youngBirths {
			f.leak = maybeLeak
		}
	case f.justBegan(k) && !f.goneOn(k, off):
		f.leak, f.why = maybeLeak, "its new producers began within the last 15 minutes and are few: a rolling restart looks like this; look again"
	default:
		f.leak = realLeak
	}
	if f.leak == maybeLeak && f.newborn < newbornEnough {
		f.leak = noLeak
	}
}

// goesOn: births fill the time up to the fetch, and where the counter was watched it moved accordingly.
func (f *topicFacts) goesOn(b *birthFacts) bool {
	if b.exact && f.foreign == 0 {
		if expected := f.births * b.seconds; expected >= 10 && (b.perSecond+b.error) < 0.2*f.births {
			return false
		}
	}
	if f.laterBirths() > 0 {
		return true
	}
	whole, quiet := float64(f.at-f.firstBirth), float64(f.at-f.lastBirth)
	if whole <= 0 || f.newborn < newbornFew {
		return true
	}
	if float64(f.lastBirth-f.firstBirth) < 0.5*whole {
		return false
	}
	// Births that come in waves leave gaps like those before; silence that is longer than them is an end.
	meanGap := float64(f.lastBirth-f.firstBirth) / float64(f.newborn)
	return quiet <= overGaps*meanGap || quiet <= 2*float64(f.longestGap())
}

// livesOn: the newborns were restarted, for all that two rounds show.
func (f *topicFacts) livesOn() bool {
	return f.survival >= survivalHealthy || f.livedRatio >= survivalHealthy
}

// goneOn: until a quarter of an hour ago the clock rose as fast as this topic's births are now, over the shortest time in which that
// is told from the error of the ids, off, and from a restart.
func (f *topicFacts) goneOn(k *kink, off float64) bool {
	until := -1
	for i := len(k.curve) - 1; i >= 0; i-- {
		p := &k.curve[i]
		if age := float64(f.at-p.Time) / 1000; until < 0 && age >= youngAge {
			until = i
		} else if age > day.Seconds() {
			return false
		}
		if until < 0 {
			continue
		}
		last := &k.curve[until]
		if expected := f.births * float64(last.Time-p.Time) / 1000; expected >= 2*off+youngBirths {
			return float64(last.PID-p.PID) >= 0.5*expected
		}
	}
	return false
}

// longestGap is the longest time between two births, in ms.
func (f *topicFacts) longestGap() int64 {
	times := make([]int64, 0, len(f.producers))
	for i := range f.producers {
		if p := &f.producers[i]; p.born && !p.txn {
			times = append(times, p.first)
		}
	}
	slices.Sort(times)
	longest := int64(0)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i]-times[i-1])
	}
	return longest
}

// laterBirths counts newborns that only a later round showed.
func (f *topicFacts) laterBirths() (n int64) {
	for i := range f.producers {
		if f.producers[i].born && f.producers[i].later {
			n++
		}
	}
	return n
}

func (f *topicFacts) justBegan(k *kink) bool {
	age := math.Inf(1)
	if f.older || f.reached {
		age = float64(f.at-f.firstBirth) / 1000
	}
	if k.known {
		age = math.Min(age, (float64(f.at)-k.at)/1000)
	}
	return age < youngAge && f.births*math.Max(age, 0) < youngBirths && f.newborn < youngBirths
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	return values[len(values)/2]
}

// suspectTopics ranks the first round's topics by what they seem to leak.
func suspectTopics(s *evidence.Scan, most int) []string {
	if most <= 0 {
		return nil
	}
	var facts []*topicFacts
	for _, t := range samplesOf(s) {
		f := factsOf(t, 0)
		// One long-lived producer that began not long ago is newborn in every topic that it writes to: it takes several.
		if f.newborn >= newbornFew && f.share >= newbornShareNone || f.churn || f.future > 0 {
			facts = append(facts, f)
		}
	}
	slices.SortStableFunc(facts, func(a, b *topicFacts) int {
		switch {
		case a.entries != b.entries && a.entries > b.entries:
			return -1
		case a.entries != b.entries:
			return 1
		}
		return compare(b.newborn, a.newborn)
	})
	out := make([]string, 0, min(most, len(facts)))
	for _, f := range facts[:min(most, len(facts))] {
		out = append(out, f.name)
	}
	return out
}
