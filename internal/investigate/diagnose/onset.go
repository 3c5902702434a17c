package diagnose

import (
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

// momentOf keeps within the years 1 to 9999, which have a form in JSON.
func momentOf(ms float64) time.Time {
	const first, last = -62_135_596_800_000, 253_402_300_799_999
	return time.UnixMilli(int64(math.Max(first, math.Min(ms, last)))).UTC()
}
