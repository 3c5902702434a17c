package diagnose

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// trueBirths is what the history handed out between the two rounds, own probes left out.
func (h *history) trueBirths() float64 {
	n := -float64(h.brokers) // the second round's probes end the interval; those of the first open it
	for _, id := range h.handed {
		if id.at.After(h.now) && !id.at.After(h.now.Add(simulatedInterval)) {
			n++
		}
	}
	return n / simulatedInterval.Seconds()
}

type stormCase struct {
	brokers, partitions, spread int
	perSecond                   float64
	since                       time.Duration
}

var storms = []stormCase{
	{1, 1, 1, 0.1, 7 * day},
	{1, 1, 1, 0.5, 2 * day},
	{1, 6, 1, 40, 20 * time.Minute},
	{3, 6, 1, 0.2, 10 * day},
	{3, 4, 1, 2, 24 * time.Hour},
	{3, 12, 3, 5, 4 * time.Hour},
	{3, 1, 1, 38, 40 * time.Minute},
	{5, 10, 2, 100, 10 * time.Minute},
	{12, 24, 1, 30, 40 * time.Minute},
}

func TestStormsAreFoundAndMeasured(t *testing.T) {
	for i, c := range storms {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%d/%d", i, seed), func(t *testing.T) {
				h := storm(seed+100, c.brokers, c.perSecond, c.since, c.partitions, c.spread)
				s := h.scan()
				s.Given.HeapBytes = 512 << 10 // a toy's heap: any leak endangers it
				v := Diagnose(s)
				if v.Level != Storm {
					t.Fatalf("%s: %s %+v", v.Level, v.Sentence, v.Horsemen)
				}
				if got, want := v.Suspects[0].Name, "payments.audit"; got != want || len(v.Suspects) != 1 {
					t.Errorf("suspects %+v, want %s alone", v.Suspects, want)
				}
				if truth := h.trueBirths(); v.Births.Source == evidence.SourceCounter && math.Abs(v.Births.PerSecond-truth) > v.Births.Error+1e-9 {
					t.Errorf("births %.3f +- %.3f a second, truly %.3f (%s)", v.Births.PerSecond, v.Births.Error, truth, v.Births.How)
				}
				if f := examine(s); f.counter.known && math.Abs(f.counter.perSecond-h.trueBirths()) > f.counter.error+1e-9 {
					t.Errorf("counter %.3f +- %.3f a second, truly %.3f", f.counter.perSecond, f.counter.error, h.trueBirths())
				}
				topic := v.Suspects[0]
				off := 5/math.Sqrt(float64(topic.Newborn)) + 0.05
				if math.Abs(topic.BirthsPerSecond/c.perSecond-1) > off || math.Abs(topic.EntriesPerSecond/c.perSecond/float64(c.spread)-1) > off {
					t.Errorf("topic's births %.3f, entries %.3f a second; truly %.3f and %.3f", topic.BirthsPerSecond, topic.EntriesPerSecond, c.perSecond, c.perSecond*float64(c.spread))
				}
				checkOnset(t, h, v, c)
			})
		}
	}
}

func checkOnset(t *testing.T, h *history, v *Verdict, c stormCase) {
	t.Helper()
	if c.perSecond*c.since.Seconds() < 4*float64(pidError(evidence.IDsInBlocks, c.brokers)) {
		return // too few ids to tell from the blocks' error
	}
	truth := ago(c.since)
	if !v.Onset.Known {
		t.Errorf("onset not known: %s", v.Onset.Why)
		return
	}
	if truth.Before(v.Onset.Earliest) || truth.After(v.Onset.Latest) {
		t.Errorf("onset %s between %s and %s, truly %s", v.Onset.At, v.Onset.Earliest, v.Onset.Latest, truth)
	}
	if width, most := v.Onset.Latest.Sub(v.Onset.Earliest).Seconds(), 2*float64(v.Onset.PIDError)/c.perSecond+0.1*c.since.Seconds(); width > most {
		t.Errorf("onset known to %.0f s, want at most %.0f s", width, most)
	}
}

func TestSameScanSameVerdict(t *testing.T) {
	s := storm(7, 3, 5, time.Hour, 6, 2).scan()
	before, _ := json.Marshal(s)
	a, _ := json.Marshal(Diagnose(s))
	after, _ := json.Marshal(s)
	if string(before) != string(after) {
		t.Error("Diagnose changed the scan")
	}
	var again evidence.Scan
	if err := json.Unmarshal(before, &again); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if b, _ := json.Marshal(Diagnose(&again)); string(a) != string(b) {
			t.Fatalf("two verdicts on one scan:\n%s\n%s", a, b)
		}
	}
}

// TestRateOfNow: a leak whose past had a burst is measured by what it makes now.
func TestRateOfNow(t *testing.T) {
	for seed := range uint64(5) {
		h := newHistory(seed+1, 1)
		h.topic("slow", 3)
		h.tail = 3000
		var ev []event
		for i := range 1500 {
			at := ago(6 * time.Hour).Add(time.Duration(i) * 10 * time.Millisecond)
			ev = append(ev, event{at, func(at time.Time) { h.write("slow", i%3, stored{at: at, pid: h.id(at), records: 1}) }})
		}
		h.run(append(ev, h.leak("slow", 1, ago(30*time.Second), 1, 1)...))
		v := Diagnose(h.scan())
		truth := h.trueBirths()
		if len(v.Suspects) != 1 || math.Abs(v.Suspects[0].BirthsPerSecond/truth-1) > 0.3 || v.Explained < 0.7 {
			t.Errorf("seed %d: %s; explained %v, truly %v a second", seed, v.Sentence, v.Explained, truth)
		}
	}
}

// TestPlateau fills a heap as brokers do: entries come at an even rate and go after their life at the next check.
func TestPlateau(t *testing.T) {
	for _, version := range []string{"2.3", "2.8", "3.6", "4.3"} {
		for _, perSecond := range []float64{0.2, 5} {
			h := newHistory(1, 1)
			h.topic("t", 1)
			n := int(1000 * perSecond)
			for i := range n + int(30*perSecond) {
				h.write("t", 0, stored{at: ago(1000 * time.Second).Add(time.Duration(float64(i) / perSecond * 1e9)), pid: int64(i), records: 1})
			}
			h.tail = n
			s := h.scan()
			s.Given = evidence.Given{Version: version, HeapBytes: 1 << 30}
			s.Brokers[0].Configs = map[string]evidence.Value{keyProducerExpiration: {Value: "7200000"}, keyTransactionalExpiration: {Value: "7200000"}}
			s.Topics[0].Configs["retention.ms"] = evidence.Value{Value: "-1"}
			v := Diagnose(s)
			alive := 0.0
			for at := 0.0; at < 7200+600; at += 1 / perSecond {
				alive++
			}
			want := alive * EntryBytes(version, 1, 1<<30, false)
			if len(v.Heap) != 1 || math.Abs(v.Heap[0].Plateau/want-1) > 0.01 {
				t.Errorf("%s at %v a second: plateau %+v, want %.0f", version, perSecond, v.Heap, want)
			}
		}
	}
}

// TestAgainstMeasured compares entry sizes with what brokers of each version were measured to take, on JDK 17.
func TestAgainstMeasured(t *testing.T) {
	for _, c := range []struct {
		version string
		batches float64
		bytes   float64
	}{
		{"2.3.1", 1, 210}, {"2.3.1", 2, 272}, {"2.3.1", 5, 464}, {"2.8.2", 1, 218}, {"2.8.2", 2, 280}, {"2.8.2", 5, 472}, {"3.3.2", 1, 218}, {"3.3.2", 5, 472},
		{"3.6.2", 1, 266}, {"3.6.2", 2, 304}, {"3.6.2", 5, 424}, {"4.3.1", 1, 266}, {"4.3.1", 5, 424}, {"", 1, 266}, {"4.3.1", 500, 424}, {"4.3.1", 0, 266},
	} {
		if got := EntryBytes(c.version, c.batches, 1<<30, false); math.Abs(got/c.bytes-1) > 0.02 {
			t.Errorf("%s with %v batches: %.0f bytes, measured %.0f", c.version, c.batches, got, c.bytes)
		}
	}
	if wide := EntryBytes("4.2", 1, 32<<30, false); math.Abs(wide-359) > 4 {
		t.Errorf("without compressed pointers: %.0f bytes, measured 356 to 362", wide)
	}
	if compact := EntryBytes("4.2", 1, 1<<30, true); compact != 222 {
		t.Errorf("with compact headers: %.0f bytes, measured 222", compact)
	}
}

// checkSane walks a value: every number is finite.
func checkSane(t *testing.T, v *Verdict) {
	t.Helper()
	switch v.Level {
	case Healthy, Armed, Storm, Inconclusive:
	default:
		t.Errorf("level %q", v.Level)
	}
	if v.Exit != v.Level.Exit() || v.Sentence == "" || len(v.Horsemen) != 6 || len(v.Details) > detailsMax || len(v.Suspects) > SuspectsMax {
		t.Errorf("exit %d, level %s, %q, %d horsemen, %d details, %d suspects", v.Exit, v.Level, v.Sentence, len(v.Horsemen), len(v.Details), len(v.Suspects))
	}
	if v.Explained > 1 || v.Explained < 0 && v.Explained != -1 {
		t.Errorf("explained share %v", v.Explained)
	}
	finiteAll(t, "verdict", reflect.ValueOf(v))
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

func finiteAll(t *testing.T, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			t.Errorf("%s is %v", path, f)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			finiteAll(t, path, v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Cluster" {
				finiteAll(t, path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			finiteAll(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	}
}
