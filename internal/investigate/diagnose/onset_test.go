package diagnose

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// TestOnsetOfWhatIsOver: a storm that has ended did not begin before the oldest data; when it was last seen is what is known.
func TestOnsetOfWhatIsOver(t *testing.T) {
	h := newHistory(3, 1)
	h.topic("t", 1)
	h.topic("steady", 1)
	over := h.now.Add(-time.Hour)
	events := slices.DeleteFunc(h.leak("t", 2, h.now.Add(-3*time.Hour), 1, 1), func(e event) bool { return !e.at.Before(over) })
	h.run(append(events, h.singletons("steady", 1, h.now.Add(-2*time.Hour), time.Second, 10*time.Hour)...))
	v := Diagnose(h.scan())
	if v.Onset.Known || v.Onset.Why != "no leak goes on: the last newborn producer was seen on 7 Nov 10:59" {
		t.Errorf("%s: known %t: %s", v.Sentence, v.Onset.Known, v.Onset.Why)
	}
}

// TestOnsetOfAYoungLeak: a topic whose first record is young bounds a leak that the clock does not date.
func TestOnsetOfAYoungLeak(t *testing.T) {
	p := patient{perSecond: 100, onset: simulatedNow.Add(-5 * time.Minute), fixed: simulatedNow.Add(day), life: day}
	v := Diagnose(p.scan(simulatedNow))
	if v.Onset.Known || !v.Onset.Earliest.Equal(p.onset) || !strings.HasPrefix(v.Onset.Why, "it is not older than 7 Nov 11:55, the first record of t; ") || !strings.Contains(v.Sentence, "since 7 Nov 11:55 at the earliest") {
		t.Errorf("%s: %+v", v.Sentence, v.Onset)
	}
	s := p.scan(simulatedNow)
	s.Partitions[0].Start = 10 // what was there before is not known
	if v = Diagnose(s); !v.Onset.Earliest.IsZero() {
		t.Errorf("%+v", v.Onset)
	}
}

// TestEntrySizeAfterTheLeak: producers of one batch stay small when no more are born.
func TestEntrySizeAfterTheLeak(t *testing.T) {
	over := patient{perSecond: 1, onset: simulatedNow.Add(-2 * time.Hour), fixed: simulatedNow.Add(-time.Hour), life: day, sets: true}
	one, five := EntryBytes("3.6", 1, 0, false), EntryBytes("3.6", batchesRemembered, 0, false)
	for _, c := range []struct {
		name   string
		change func(s *evidence.Scan)
		want   float64
	}{
		{"tails", func(*evidence.Scan) {}, one},
		{"sets", func(s *evidence.Scan) { s.Tails, s.Sets[0].SequenceZero = nil, s.Sets[0].Producers }, one},
		{"neither", func(s *evidence.Scan) { s.Tails = nil }, five},
	} {
		s := over.scan(simulatedNow)
		c.change(s)
		v := Diagnose(s)
		if v.Worst == nil || v.Worst.EntryBytes != c.want || strings.Contains(v.Worst.Source, "at most") != (c.want == five) {
			t.Errorf("%s: want %v, got %+v", c.name, c.want, v.Worst)
		}
	}
}
