package diagnose

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// patient is a cluster with a leak whose producers' births are known, for scans at any time.
type patient struct {
	perSecond    float64
	onset, fixed time.Time // the leak's beginning and end
	life         time.Duration
	sets         bool
	cluster      string
}

// scan is what an investigation sees at a time: two rounds of tails, offsets, the counter, and sets if asked for.
func (p patient) scan(at time.Time) *evidence.Scan {
	h := newHistory(1, 1)
	h.now = at.Add(-simulatedInterval)
	h.topic("t", 1)
	gap := time.Duration(1e9 / p.perSecond)
	probed := 0
	live := int64(0)
	for born, pid := p.onset, int64(0); born.Before(at); born, pid = born.Add(gap), pid+1 {
		for probed < 2 && !born.Before(h.now.Add(time.Duration(probed)*simulatedInterval)) {
			h.probes = append(h.probes, evidence.CounterProbe{At: h.now.Add(time.Duration(probed) * simulatedInterval), PID: pid})
			probed, pid = probed+1, pid+1
		}
		if !born.Before(p.fixed) {
			continue
		}
		h.write("t", 0, stored{at: born, pid: pid, records: 1})
		if at.Sub(born) < p.life+checkInterval/2 {
			live++
		}
	}
	end := int64(len(h.logs["t"][0]))
	h.probes = []evidence.CounterProbe{{At: h.now, PID: end + 1}, {At: at, PID: end + 2}}
	if p.fixed.After(at) {
		h.probes[1].PID += int64(simulatedInterval.Seconds() * p.perSecond)
	}
	s := h.scan()
	s.Cluster.ID = p.cluster
	s.Given.HeapBytes = 1 << 20
	s.Brokers[0].Configs[keyProducerExpiration] = evidence.Value{Value: "86400000"}
	s.Brokers[0].Configs[keyProducerExpiration] = evidence.Value{Value: itoa(p.life.Milliseconds())}
	s.Partitions[0].Since = int64(cut(h.logs["t"][0], at.Add(-p.life-checkInterval)))
	if p.sets {
		s.Sets = []evidence.ProducerSet{{Topic: "t", At: at, Producers: live}}
	}
	return s
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestVerifyFix(t *testing.T) {
	t0 := simulatedNow
	life := 6 * time.Hour
	sick := patient{perSecond: 0.5, onset: t0.Add(-20 * time.Hour), fixed: t0.Add(365 * day), life: life, sets: true}
	cured := sick
	cured.fixed = t0.Add(5 * time.Minute)
	shorter := sick
	shorter.life = time.Hour
	other := cured
	other.cluster = "another"
	sick.cluster, cured.cluster, shorter.cluster = "one", "one", "one"
	stuck := cured
	stuck.life = 365 * day
	blind := func(s *evidence.Scan) *evidence.Scan { return deny(s, evidence.SourceTails, evidence.SourceCounter) }
	uncounted := blind(cured.scan(t0.Add(3 * time.Hour)))
	uncounted = deny(uncounted, evidence.SourceOffsets)
	uncounted.Sets = nil
	// elsewhere: the suspect topic was not sampled, another one was.
	elsewhere := func(s *evidence.Scan) *evidence.Scan {
		s.Tails = s.Tails[:1]
		s.Tails[0].Topic, s.Tails[0].Producers = "other", nil
		s.Counter, s.Clock = nil, nil
		return s
	}
	unread := elsewhere(sick.scan(t0.Add(3 * time.Hour)))
	unread.Sets = nil
	if fix := VerifyFix([]*evidence.Scan{sick.scan(t0), elsewhere(cured.scan(t0.Add(8 * time.Hour)))}); fix.Exit != 0 || !fix.Stopped {
		t.Errorf("not sampled because nothing was written: %d %s", fix.Exit, fix.Sentence)
	}
	for _, c := range []struct {
		name             string
		scans            []*evidence.Scan
		exit             int
		stopped, falling bool
		says             string
	}{
		{"works", []*evidence.Scan{sick.scan(t0), cured.scan(t0.Add(3 * time.Hour))}, 0, true, true, "The fix works"},
		{"works, three scans", []*evidence.Scan{sick.scan(t0), cured.scan(t0.Add(2 * time.Hour)), cured.scan(t0.Add(5 * time.Hour))}, 0, true, true, "The fix works"},
		{"all gone", []*evidence.Scan{sick.scan(t0), cured.scan(t0.Add(8 * time.Hour))}, 0, true, true, "The fix works"},
		{"goes on", []*evidence.Scan{sick.scan(t0), sick.scan(t0.Add(3 * time.Hour))}, 2, false, false, "does not work"},
		{"shorter life, births go on", []*evidence.Scan{sick.scan(t0), shorter.scan(t0.Add(time.Hour))}, 1, false, true, "entries now live 1 hour instead of 6 hours"},
		{"too early", []*evidence.Scan{young(sick, t0).scan(t0), young(cured, t0).scan(t0.Add(time.Hour))}, 1, true, false, "look again"},
		{"one scan", []*evidence.Scan{sick.scan(t0)}, 3, false, false, "it takes a scan from before"},
		{"nothing", nil, 3, false, false, "it takes a scan from before"},
		{"another cluster", []*evidence.Scan{sick.scan(t0), other.scan(t0.Add(time.Hour))}, 3, false, false, "another cluster"},
		{"wrong order", []*evidence.Scan{sick.scan(t0), cured.scan(t0)}, 3, false, false, "not later"},
		{"never sick", []*evidence.Scan{traps["plain"](1), traps["plain"](1)}, 3, false, false, "Cannot tell"},
		{"blind afterwards but for sets", []*evidence.Scan{sick.scan(t0), blind(cured.scan(t0.Add(3 * time.Hour)))}, 1, false, true, "as they would"},
		{"not sampled afterwards, goes on", []*evidence.Scan{sick.scan(t0), elsewhere(sick.scan(t0.Add(3 * time.Hour)))}, 3, false, false, "neither t nor the counter"},
		{"not sampled nor counted afterwards, goes on", []*evidence.Scan{sick.scan(t0), unread}, 3, false, false, "neither t nor the counter"},
		{"blind afterwards", []*evidence.Scan{sick.scan(t0), uncounted}, 3, false, false, "could read neither"},
	} {
		fix := VerifyFix(c.scans)
		if fix.Exit != c.exit || fix.Stopped != c.stopped || fix.Falling != c.falling || !strings.Contains(fix.Sentence, c.says) {
			t.Errorf("%s: exit %d, stopped %t, falling %t: %s\n%+v", c.name, fix.Exit, fix.Stopped, fix.Falling, fix.Sentence, fix.Points)
		}
		if c.exit != 0 {
			continue
		}
		if gone := cured.fixed.Add(life + checkInterval); fix.Done.Sub(gone).Abs() > 10*time.Minute {
			t.Errorf("%s: done %s, truly %s", c.name, fix.Done, gone)
		}
		for _, p := range fix.Points {
			if off := math.Abs(float64(p.Entries - p.Predicted)); off > 0.05*float64(fix.Points[0].Entries) {
				t.Errorf("%s: at %s %d entries, predicted %d", c.name, p.At, p.Entries, p.Predicted)
			}
		}
	}
}

// young is a leak that began an hour ago: nothing can have expired yet.
func young(p patient, now time.Time) patient {
	p.onset = now.Add(-time.Hour)
	return p
}

// TestVerifyFixByOffsets: without DescribeProducers, records of single-use producers count them.
func TestVerifyFixByOffsets(t *testing.T) {
	t0 := simulatedNow
	sick := patient{perSecond: 0.5, onset: t0.Add(-20 * time.Hour), fixed: t0.Add(365 * day), life: 6 * time.Hour}
	cured := sick
	cured.fixed = t0.Add(5 * time.Minute)
	fix := VerifyFix([]*evidence.Scan{sick.scan(t0), cured.scan(t0.Add(3 * time.Hour))})
	if fix.Exit != 0 || !fix.Falling || !strings.Contains(fix.Points[1].Source, evidence.SourceOffsets) {
		t.Errorf("exit %d: %s %+v", fix.Exit, fix.Sentence, fix.Points)
	}
}

// TestVerifyFixShortenedLife: brokers look for idle producers every ten minutes, so that a life that was just shortened has freed nothing yet.
func TestVerifyFixShortenedLife(t *testing.T) {
	t0 := simulatedNow
	sick := patient{perSecond: 100, onset: t0.Add(-36 * time.Second), fixed: t0.Add(365 * day), life: day}
	after := sick
	after.fixed, after.life = t0.Add(4*time.Minute), 10*time.Minute
	before, changed := sick.scan(t0), t0.Add(30*time.Minute)
	just, later := after.scan(changed), after.scan(changed.Add(15*time.Minute))
	counted := after.scan(changed.Add(15 * time.Minute))
	counted.Sets = []evidence.ProducerSet{{Topic: "t", At: counted.Ended}}
	metered := after.scan(changed)
	metered.Metrics = []evidence.BrokerMetrics{{Broker: 0, Values: map[string]float64{evidence.MetricProducerIDs: 0}}}
	full := after.scan(changed)
	full.Sets = []evidence.ProducerSet{{Topic: "t", At: full.Ended, Producers: 27_000}}
	for _, c := range []struct {
		name       string
		scans      []*evidence.Scan
		exit       int
		says, done string
	}{
		{"just now", []*evidence.Scan{before, just}, 1, "at most 27,6", "12:40"},
		{"counted just now", []*evidence.Scan{before, full}, 1, "but 27,000 entries", "12:40"},
		{"no count", []*evidence.Scan{before, just, later}, 0, "describe-producers or metrics would confirm", "12:40"},
		{"counted", []*evidence.Scan{before, just, counted}, 0, "none is left", "12:40"},
		{"by metrics", []*evidence.Scan{before, metered}, 0, "none is left", "12:30"},
	} {
		fix := VerifyFix(c.scans)
		if fix.Exit != c.exit || !fix.Stopped || !strings.Contains(fix.Sentence, c.says) || fix.Done.Format("15:04") != c.done {
			t.Errorf("%s: exit %d, done %s: %s\n%+v", c.name, fix.Exit, fix.Done, fix.Sentence, fix.Points)
		}
		if c.says != "none is left" && strings.Contains(fix.Sentence, "none is left") {
			t.Errorf("%s: nobody counted: %s", c.name, fix.Sentence)
		}
	}
	fix := VerifyFix([]*evidence.Scan{before, just})
	for _, want := range []string{"Not yet: ", "entries now live 10 minutes instead of 1 day (producer.id.expiration.ms)", "look again then", "of a heap of 1 MiB"} {
		if !strings.Contains(fix.Sentence, want) {
			t.Errorf("want %q in %s", want, fix.Sentence)
		}
	}
}

// TestVerifyFixOtherTopic: a leak into another topic is not that of the repaired one.
func TestVerifyFixOtherTopic(t *testing.T) {
	t0 := simulatedNow
	sick := patient{perSecond: 100, onset: t0.Add(-36 * time.Second), fixed: t0.Add(365 * day), life: 10 * time.Minute}
	next := sick
	next.onset = t0.Add(25 * time.Minute)
	for _, since := range []int64{27_000, 0} { // its records are too old for entries, or not
		s := next.scan(t0.Add(30 * time.Minute))
		for i := range s.Tails {
			s.Tails[i].Topic = "x"
		}
		s.Partitions[0].Topic, s.Topics[0].Name = "x", "x"
		s.Partitions = append(s.Partitions, evidence.Partition{Topic: "t", End: 27_000, Since: since, Replicas: []int32{0}})
		fix := VerifyFix([]*evidence.Scan{sick.scan(t0), s})
		if fix.Exit != 2 || !fix.Stopped || !strings.HasPrefix(fix.Sentence, "It does not work: t gets no new producers any more, but another topic leaks: x gets 100 new entries a second") {
			t.Errorf("since %d: exit %d %s %+v", since, fix.Exit, fix.Sentence, fix.Points)
		}
	}
}

// TestVerifyFixNamesWhoLeaks: of two topics that leaked, the one that goes on is named, also where the other was not read.
func TestVerifyFixNamesWhoLeaks(t *testing.T) {
	t0 := simulatedNow
	two := func(at time.Time, big patient, small patient) *evidence.Scan {
		s, other := big.scan(at), small.scan(at)
		for i := range other.Tails {
			other.Tails[i].Topic = "small"
		}
		other.Partitions[0].Topic, other.Topics[0].Name = "small", "small"
		s.Tails, s.Partitions, s.Topics = append(s.Tails, other.Tails...), append(s.Partitions, other.Partitions...), append(s.Topics, other.Topics...)
		s.Counter = nil // each patient has its own
		return s
	}
	small := patient{perSecond: 20, onset: t0.Add(-20 * time.Minute), fixed: t0.Add(365 * day), life: day}
	big := small
	big.perSecond = 50
	cured := big
	cured.fixed = t0.Add(time.Minute)
	later := two(t0.Add(30*time.Minute), cured, small)
	unread := two(t0.Add(30*time.Minute), cured, small)
	unread.Tails = unread.Tails[2:]
	for i, s := range []*evidence.Scan{later, unread} {
		fix := VerifyFix([]*evidence.Scan{two(t0, big, small), s})
		if fix.Exit != 2 || fix.Stopped || !strings.HasPrefix(fix.Sentence, "It does not work: small still gets 20 new entries a second") {
			t.Errorf("%d: exit %d: %s", i, fix.Exit, fix.Sentence)
		}
	}
}
