package rows

import (
	"math"
	"reflect"
	"testing"
	"time"

	"ottla/bench/results"
	"ottla/internal/storm"
)

func TestHistogramTotal(t *testing.T) {
	const text = "28193:\n num     #instances         #bytes  class name (module)\n-------\n   1:         53201        5107296  [B (java.base@17)\nTotal        252413       16591234\n"
	if n, err := histogramTotal(text); err != nil || n != 16591234 {
		t.Errorf("%d, %v", n, err)
	}
	for _, text := range []string{"", "28193:\nCommand executed successfully", "\nTotal 1", "\nTotal 1 x"} {
		if n, err := histogramTotal(text); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func TestJstatHeap(t *testing.T) {
	titles := []string{"S0C", "S1C", "S0U", "S1U", "EC", "EU", "OC", "OU", "MC"}
	if n, ok := jstatHeap(titles, []string{"0.0", "1024.0", "0.0", "512.0", "14336.0", "100.5", "100352.0", "2000.0", "1.0"}); !ok || n != 2612.5*1024 {
		t.Errorf("%v, %v", n, ok)
	}
	if _, ok := jstatHeap(titles, []string{"0.0", "1024.0"}); ok {
		t.Error("half a line is none")
	}
	if _, ok := jstatHeap(titles, []string{"0", "0", "x", "0", "0", "0", "0", "0", "0"}); ok {
		t.Error("no number is none")
	}
}

func TestReadGroups(t *testing.T) {
	const text = "100000 committed offsets in 1.42 s: 70422/s\nbroker: 1.46 s of CPU, 14.6 us a committed offset; RSS 23 MiB before, 41 MiB after\nbroker: 102.8 % of one core\nlatency of a request: p50 6ms  p99 20ms  max 31ms\n"
	if d, err := readGroups(text); err != nil || d != (groupsDone{70422, 14.6, 41}) {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := readGroups("groups: no coordinator"); err == nil {
		t.Errorf("%+v", d)
	}
}

func TestReadGrowth(t *testing.T) {
	const text = `goos: linux
BenchmarkGrowth/entries=10000/append-new/round=1-2         	    5000	       438.6 ns/op	       0 B/op	       0 allocs/op
BenchmarkGrowth/entries=10000/retry-any/round=1-2          	    5000	       383.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkGrowth/entries=10000/append-new/round=2-2         	    5000	       1542.8 ns/op	       0 B/op	       0 allocs/op
BenchmarkGrowthPartitions/partitions=100/round=1-2       	   20000	      1454 ns/op	     839 B/op	       2 allocs/op
BenchmarkGrowthPartitions/partitions=1/round=1      	   20000	      1000 ns/op
PASS
`
	sample := func(row string, round int, x float64, values map[string]float64) results.Sample {
		for name, v := range values {
			values[name] = math.Round(v*1e4) / 1e4
		}
		return results.Sample{Section: "s", Row: row, Broker: results.Ottla, Round: round, X: x, Values: values}
	}
	want := []results.Sample{
		sample("10,000", 1, 10_000, map[string]float64{"append-new": 0.4386, "retry-any": 0.3835}), sample("10,000", 2, 10_000, map[string]float64{"append-new": 1.5428}),
		sample("100", 1, 100, map[string]float64{"append": 1.454}), sample("1", 1, 1, map[string]float64{"append": 1}),
	}
	got := readGrowth("s", text)
	for i := range got {
		got[i] = sample(got[i].Row, got[i].Round, got[i].X, got[i].Values)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRounded(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 25_000: "25,000", 100_000: "100,000", 10_000_000: "10,000,000"} {
		if got := rounded(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestExactSample(t *testing.T) {
	s := exactSample("row", results.Kafka, &storm.Retry{Producers: 2, Exact: 4, Duplicated: 1, Refused: map[string]int64{"45 OUT_OF_ORDER_SEQUENCE_NUMBER": 5}})
	if s.Values["exact"] != 4 || s.Texts["errors"] != "45 OUT_OF_ORDER_SEQUENCE_NUMBER" || s.Values["refused"] != 5 || s.Values["duplicates"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCurve(t *testing.T) {
	entries := [][2]float64{{0, 0}, {1, 100}, {2, 100}, {4, 300}}
	for _, c := range []struct {
		value, at float64
		ok        bool
	}{{0, 0, true}, {50, 0.5, true}, {100, 1, true}, {200, 3, true}, {300, 4, true}, {301, 0, false}} {
		if at, ok := reached(entries, c.value); at != c.at || ok != c.ok {
			t.Errorf("%v is reached at %v, %v", c.value, at, ok)
		}
	}
	for at, want := range map[float64]float64{-1: 0, 0.5: 50, 3: 200, 9: 300} {
		if v, ok := valueAt(entries, at); !ok || v != want {
			t.Errorf("at %v: %v", at, v)
		}
	}
	if _, ok := valueAt(nil, 1); ok {
		t.Error("no points have no value")
	}
}

// TestSections: names of sections, metrics and charts fit together.
func TestSections(t *testing.T) {
	all := append(All(), Storm100M())
	sections := map[string]bool{}
	for _, s := range all {
		if sections[s.Name] || s.Name == "" || s.About == "" || s.Measure == nil {
			t.Errorf("section %q", s.Name)
		}
		sections[s.Name] = true
		metrics := map[string]bool{}
		for _, m := range s.Metrics {
			if metrics[m.Name] || m.Title == "" {
				t.Errorf("section %s: metric %q", s.Name, m.Name)
			}
			metrics[m.Name] = true
		}
		for _, name := range s.Chart.Metric {
			if !metrics[name] {
				t.Errorf("section %s: a chart of %q, which is no metric", s.Name, name)
			}
		}
	}
}

// TestAttempts: what came after a pause is behind what came before, on one clock.
func TestAttempts(t *testing.T) {
	d, start := &storied{}, time.Unix(1_800_000_000, 0)
	attempt := func(after time.Duration, pushes int64) storm.Summary {
		return storm.Summary{
			Started: start.Add(after), Seconds: 2, Loads: []storm.Load{{Pushes: pushes, Entries: 1000 * pushes}},
			Series: []storm.Series{
				{Name: "wide entries", Unit: "entries", Points: [][2]float64{{0, 0}, {2, 1000 * float64(pushes)}}}, {Name: "broker memory", Unit: "bytes", Points: [][2]float64{{1, 7 << 20}}},
			},
		}
	}
	if d.add(attempt(0, 3)) != 3 || d.add(storm.Summary{}) != 3 || d.add(attempt(10*time.Second, 2)) != 5 || d.summary.Seconds != 12 {
		t.Errorf("%+v", d.summary)
	}
	want := [][2]float64{{0, 0}, {2, 3000}, {10, 3000}, {12, 5000}}
	if !reflect.DeepEqual(d.summary.Series[0].Points, want) {
		t.Errorf("%v", d.summary.Series[0].Points)
	}
	curve := d.curve(results.Ottla, []int64{0, 4000, 6000})
	if len(curve) != 2 || curve[1].X != 4000 || curve[1].Values["rss"] != 7 {
		t.Errorf("%+v", curve)
	}
}
