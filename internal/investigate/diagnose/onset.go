package diagnose

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// newTopicsMax is the longest list of topics that are younger than the onset.
const newTopicsMax = 20

// onset puts the clock's kink into words and finds the topics that began since.
func (f *findings) onset() Onset {
	k := &f.kink
	o := Onset{
		Known: k.known, PIDError: pidError(f.counter.model, len(f.scan.Brokers)), Why: k.why, Curve: k.curve,
		Before: finite(k.before), After: finite(k.last),
	}
	if !k.known {
		if len(k.curve) == 0 {
			o.Before, o.After = 0, 0
		}
		f.undated(&o)
		return o
	}
	o.At, o.Earliest, o.Latest = momentOf(k.at), momentOf(k.earliest), momentOf(k.latest)
	type young struct {
		name  string
		first int64
	}
	var topics []young
	for i := range f.scan.Topics {
		t := &f.scan.Topics[i]
		if t.FirstTime > 0 && float64(t.FirstTime) >= k.earliest && !t.Internal && !f.cutByRetention(t, float64(f.scan.Ended.UnixMilli()-t.FirstTime)/1000) {
			topics = append(topics, young{t.Name, t.FirstTime})
		}
	}
	sort.Slice(topics, func(i, j int) bool {
		if topics[i].first != topics[j].first {
			return topics[i].first < topics[j].first
		}
		return topics[i].name < topics[j].name
	})
	for _, t := range topics[:min(len(topics), newTopicsMax)] {
		o.NewTopics = append(o.NewTopics, t.name)
	}
	return o
}

// undated says what is known of a leak that the clock does not date: when it was over, or, of a young one, since when there can be one.
func (f *findings) undated(o *Onset) {
	now := f.scan.Ended
	if leaking := f.leaking(); len(leaking) > 0 {
		t := leaking[0]
		if begun := f.begun(t); begun > 0 && now.Sub(momentOf(begun)) < day {
			o.Earliest = momentOf(begun)
			o.Why = fmt.Sprintf("it is not older than %s, the first record of %s; %s", moment(o.Earliest, now), t.name, o.Why)
		}
		return
	}
	if !f.births.Known || f.births.PerSecond >= birthsPerSecondMin || f.leaks() || f.kink.whole < birthsPerSecondMin && len(f.ranked) == 0 {
		return
	}
	last := int64(0)
	for _, t := range f.topics {
		last = max(last, t.lastBirth)
	}
	for i := range f.scan.Clock {
		if p := &f.scan.Clock[i]; !p.AtLeast {
			last = max(last, p.Time)
		}
	}
	if last > 0 && last <= now.UnixMilli() {
		o.Why = "no leak goes on: the last newborn producer was seen on " + moment(momentOf(float64(last)), now)
	}
}

// begun is the time of a topic's first record, in ms since 1970, where nothing was deleted since; 0 if that is not known.
func (f *findings) begun(t *topicFacts) float64 {
	if t.topic == nil || t.topic.FirstTime <= 0 || t.topic.FirstTime > f.scan.Ended.UnixMilli() || len(f.partitions[t.name]) == 0 {
		return 0
	}
	for _, p := range f.partitions[t.name] {
		if p.Start != 0 {
			return 0
		}
	}
	return float64(t.topic.FirstTime)
}

// momentOf keeps within the years 1 to 9999, which have a form in JSON.
func momentOf(ms float64) time.Time {
	const first, last = -62_135_596_800_000, 253_402_300_799_999
	return time.UnixMilli(int64(math.Max(first, math.Min(ms, last)))).UTC()
}
