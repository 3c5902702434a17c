package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/bench/results"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// exampleRun reads testdata/example.json: numbers that nobody measured, with everything in it that a run can have.
func exampleRun(t *testing.T) *results.Run {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	run, err := results.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// written are the files that Write makes, by their path.
func written(t *testing.T, run *results.Run) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := Write(run, filepath.Join(dir, "benchmarks.md")); err != nil {
		t.Fatal(err)
	}
	return filesIn(t, dir)
}

func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGolden(t *testing.T) {
	got := written(t, exampleRun(t))
	golden := filepath.Join("testdata", "golden")
	if *rewrite {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		for name, text := range got {
			path := filepath.Join(golden, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := filesIn(t, golden)
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s was not written", name)
		}
	}
	for name, text := range got {
		if want[name] != text {
			t.Errorf("%s differs from its golden file (go test ./bench/report -rewrite)", name)
		}
		if strings.HasSuffix(name, ".svg") {
			checkPicture(t, name, text)
		}
	}
}

// checkPicture holds a picture to what a page that shows it can rely on.
func checkPicture(t *testing.T, name, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	seen := map[string]int{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s is not well-formed: %v", name, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			seen[start.Name.Local]++
			for _, a := range start.Attr {
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("%s has the attribute %s", name, a.Name.Local)
				}
			}
		}
	}
	if seen["title"] != 1 || seen["desc"] != 1 || seen["script"]+seen["image"]+seen["foreignObject"] > 0 {
		t.Errorf("%s has the elements %v", name, seen)
	}
	for _, bad := range []string{"NaN", "Inf", "url(", "@import", "%!"} {
		if strings.Contains(text, bad) {
			t.Errorf("%s has %q in it", name, bad)
		}
	}
}

func TestMarkdownTablesAreWhole(t *testing.T) {
	columns := func(line string) int {
		return strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
	}
	lines := strings.Split(written(t, exampleRun(t))["benchmarks.md"], "\n")
	tables := 0
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if i == 0 || !strings.HasPrefix(lines[i-1], "|") {
			tables++
			if lines[i-1] != "" {
				t.Errorf("line %d: no empty line before the table", i+1)
			}
			continue
		}
		if columns(line) != columns(lines[i-1]) {
			t.Errorf("line %d has %d columns, the line before it %d: %s", i+1, columns(line), columns(lines[i-1]), line)
		}
	}
	if tables < 8 {
		t.Errorf("%d tables", tables)
	}
}

// sample is short for a value of the metric "m" in the row "r".
func sample(b results.Broker, round int, x, value float64) results.Sample {
	return results.Sample{Section: "s", Row: "r", Broker: b, Round: round, X: x, Values: map[string]float64{"m": value}}
}

// another is the same of another row.
func another(s results.Sample) results.Sample {
	s.Row = "another"
	return s
}

func runOf(m results.Metric, chart results.Chart, samples ...results.Sample) *results.Run {
	m.Name, m.Title, m.Unit = "m", "speed", "MB/s"
	chart.Metric = []string{"m"}
	return &results.Run{Rounds: 3, Sections: []results.Section{{Name: "s", Title: "A section", About: "About it.", Row: "row", Metrics: []results.Metric{m}, Chart: chart}}, Samples: samples}
}

// verdictTest is what the report says of some samples.
type verdictTest struct {
	name    string
	metric  results.Metric
	samples []results.Sample
	want    []string // in the Markdown
	not     []string
}

func (test verdictTest) check(t *testing.T) {
	got := written(t, runOf(test.metric, results.Chart{Kind: "bars"}, test.samples...))
	for _, want := range test.want {
		if !strings.Contains(got["benchmarks.md"], want) {
			t.Errorf("no %q in\n%s", want, got["benchmarks.md"])
		}
	}
	_, body, _ := strings.Cut(got["benchmarks.md"], "## Summary")
	for _, not := range test.not {
		for line := range strings.Lines(body) {
			if strings.Contains(line, not) && !strings.Contains(line, "![") && !strings.Contains(line, "](#") || strings.Contains(not, "](") && strings.Contains(line, not) {
				t.Errorf("%q in %s", not, line)
			}
		}
	}
	for name, text := range got {
		if strings.HasSuffix(name, ".svg") {
			checkPicture(t, name, text)
		}
	}
}

func TestVerdicts(t *testing.T) {
	const k, o, n = results.Kafka, results.Ottla, results.Null
	higher, lower := results.Metric{Better: results.Higher, Reach: 2}, results.Metric{Better: results.Lower, Reach: 0.5}
	for _, test := range []verdictTest{
		{"met", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 200)}, []string{"| at least 2 | 2 | 2 | met |", "| r | 100 | 200 | 2 |", "loses no row"}, []string{"short of"}},
		{"short", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 199)}, []string{"**not met** |", "| r | 100 | 199 | 1.99, short |", "loses no row", "short of their goal"}, nil},
		{"lost", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 99)}, []string{"**not met**, loses 1 |", "| r | 100 | **99** | **0.990**, short |", "Rows that Ottla loses", "| 100 | 99 | 0.990 | at least 2, missed |  |"}, []string{"loses no row", "overlap"}},
		{"lost within the noise", results.Metric{Better: results.Higher}, []results.Sample{sample(k, 1, 0, 100), sample(k, 2, 0, 90), sample(o, 1, 0, 99), sample(o, 2, 0, 80)},
			[]string{"**loses 1 of 1 rows** |", "| none | the rounds of the two overlap |"}, nil},
		{"won within the noise", results.Metric{Better: results.Lower}, []results.Sample{sample(k, 1, 0, 100), sample(k, 2, 0, 90), sample(o, 1, 0, 95), sample(o, 2, 0, 80)},
			[]string{"| loses none of 1; 1 won within the spread of the rounds |"}, nil},
		{"neither won nor lost", results.Metric{Better: results.Lower}, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 100)}, []string{"| loses none of 1 |"}, nil},
		{"as fast as the client can", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 114), sample(n, 1, 0, 120)}, []string{"| met; 1 at the client's limit |", "| 95 % |"}, []string{"short"}},
		{"not as fast as the client can", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 113), sample(n, 1, 0, 120)}, []string{"**not met** |", "| 94 % |"}, nil},
		{"Kafka is beyond the null server", higher, []results.Sample{sample(k, 1, 0, 121), sample(o, 1, 0, 119), sample(n, 1, 0, 120)},
			[]string{"**not met**, loses 1 |", "| **0.983**, short |"}, []string{"at the client's limit |"}},
		{"lost at the client's limit", higher, []results.Sample{sample(k, 1, 0, 119), sample(o, 1, 0, 115), sample(n, 1, 0, 120)},
			[]string{"| met, **but loses 1 to Kafka**; 1 at the client's limit |", "Rows that Ottla loses", "| at least 2, met | at the client's limit |"}, []string{"short"}},
		{"met in one row of two, lost", higher, []results.Sample{sample(k, 1, 0, 119), sample(o, 1, 0, 115), sample(n, 1, 0, 120), inRow(sample(k, 1, 0, 10), "x"), inRow(sample(o, 1, 0, 11), "x")},
			[]string{"| **met in 1 of 2 rows**, loses 1; 1 at the client's limit |"}, nil},
		{"lower met", lower, []results.Sample{sample(k, 1, 0, 6.6), sample(o, 1, 0, 2.2)}, []string{"| at most 0.5 | 0.333 | 0.333 | met |"}, nil},
		{"lower lost", lower, []results.Sample{sample(k, 1, 0, 1), sample(o, 1, 0, 1.5)}, []string{"| r | 1 | **1.50** | **1.50**, short |"}, nil},
		{"null is no limit of a cost", lower, []results.Sample{sample(k, 1, 0, 1), sample(o, 1, 0, 0.9), sample(n, 1, 0, 0.1)}, []string{"**not met** |"}, []string{"900 %"}},
	} {
		t.Run(test.name, test.check)
	}
}

// TestBesideTheDisk: what client and disk allow is said beside a goal, and makes none met.
func TestBesideTheDisk(t *testing.T) {
	const k, o, n, d = results.Kafka, results.Ottla, results.Null, results.NullDisk
	higher, lower := results.Metric{Better: results.Higher, Reach: 2}, results.Metric{Better: results.Lower, Reach: 1}
	for _, test := range []verdictTest{
		{"as much as the disk allows", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 114), sample(n, 1, 0, 200), sample(d, 1, 0, 120)},
			[]string{"| row | Kafka | Ottla | Null | Null, fsync | Ottla / Kafka | Ottla, of null | Ottla / Null, fsync |", "| r | 100 | 114 | 200 | 120 | 1.14, short | 57 % | 0.950 |",
				"| **not met**; 1 of 1 rows at 95 % of Null, fsync |", "*Null, fsync* writes", "Rows near *Null, fsync*"}, nil},
		{"less than the disk allows", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 113), sample(d, 1, 0, 120)},
			[]string{"| row | Kafka | Ottla | Null, fsync | Ottla / Kafka | Ottla / Null, fsync |", "| **not met**; 0 of 1 rows at 95 % of Null, fsync |"}, nil},
		{"as soon as the disk allows", lower, []results.Sample{sample(k, 1, 0, 1), sample(o, 1, 0, 1.05), sample(d, 1, 0, 1), inRow(sample(k, 1, 0, 1), "x"), inRow(sample(o, 1, 0, 1.06), "x"), inRow(sample(d, 1, 0, 1), "x")},
			[]string{"| r | 1 | **1.05** | 1 | **1.05**, short | 1.05 |", "| **not met**, loses 2; 1 of 2 rows at most 105 % of Null, fsync |"}, nil},
		{"met, and not of all rows", lower, []results.Sample{sample(k, 1, 0, 2), sample(o, 1, 0, 1), sample(d, 1, 0, 1), inRow(sample(k, 1, 0, 2), "x"), inRow(sample(o, 1, 0, 1), "x")},
			[]string{"| r | 2 | 1 | 1 | 0.500 | 1 |", "| x | 2 | 1 | - | 0.500 | - |", "| met; 1 of 1 rows at most 105 % of Null, fsync |"}, nil},
		{"no goal", results.Metric{Better: results.Lower}, []results.Sample{sample(k, 1, 0, 1), sample(o, 1, 0, 1), sample(d, 1, 0, 1)}, []string{"| row | Kafka | Ottla | Null, fsync | Ottla / Kafka |", "| loses none of 1 |"}, nil},
		{"none of Ottla's", higher, []results.Sample{sample(k, 1, 0, 1), sample(d, 1, 0, 1)}, []string{"| row | Kafka | Null, fsync |"}, []string{"95 % of Null", "Ottla / Null"}},
		{"not measured", higher, []results.Sample{sample(k, 1, 0, 1), sample(o, 1, 0, 2)}, []string{"| met |"}, []string{"Null, fsync"}},
	} {
		t.Run(test.name, test.check)
	}
	if text := string(markdown(runOf(higher, results.Chart{}, sample(k, 1, 0, 1), sample(o, 1, 0, 2)))); strings.Contains(text, "Null, fsync") {
		t.Errorf("a run without it speaks of it:\n%s", text)
	}
}

func TestVerdictsOfMissingValues(t *testing.T) {
	const k, o, n = results.Kafka, results.Ottla, results.Null
	higher := results.Metric{Better: results.Higher, Reach: 2}
	for _, test := range []verdictTest{
		{"Kafka alone", higher, []results.Sample{sample(k, 1, 0, 100)}, []string{"**not met**; 1 without a value of Ottla's", "| no value | | at least 2, missed | Kafka has a value, Ottla none"}, []string{"loses no row"}},
		{"Ottla alone", higher, []results.Sample{sample(o, 1, 0, 100)}, []string{"| r | 100 |", "| [A section](#a-section): speed | at least 2 | - | - | **nothing of Kafka's beside it** |", "no row that was compared"}, []string{"Kafka |", "no row of this run"}},
		{"Ottla alone, no goal", results.Metric{Better: results.Higher}, []results.Sample{sample(o, 1, 0, 100)}, []string{"no row of this run"}, []string{"A section](#a-section): speed"}},
		{"only null in a row", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 200), inRow(sample(n, 1, 0, 300), "other")}, []string{"| met |"}, []string{"without a value"}},
		{"only Ottla in a row", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 200), inRow(sample(o, 1, 0, 300), "other")}, []string{"| met; 1 without a value of Kafka's |"}, nil},
		{"ended early", higher, []results.Sample{sample(k, 1, 0, 100), sample(o, 1, 0, 200), {Section: "s", Note: "no *disk*"}},
			[]string{"| met; **the section ended early** |", "- The section was not measured to its end: no \\*disk\\*", "no row that was compared"}, []string{"no row of this run"}},
		{"ended before it began", higher, []results.Sample{sample(k, 0, 0, 100), {Section: "s", Note: "no disk"}},
			[]string{"| [A section](#a-section): speed | at least 2 | - | - | **not measured** |", "to its end: no disk"}, []string{"no row of this run", "ended early"}},
		{"ended without a row", results.Metric{Better: results.Lower}, []results.Sample{{Section: "s", Note: "no disk"}},
			[]string{"| [A section](#a-section) | none | - | - | **not measured** |", "Not measured in this run.\n\n- The section was not measured to its end: no disk\n"}, []string{"no row of this run"}},
		{"zero of Kafka's", higher, []results.Sample{sample(k, 1, 0, 0), sample(o, 1, 0, 5)}, []string{"| r | 0 | 5 | ∞ |", "met |"}, nil},
		{"zero of both", results.Metric{Better: results.Lower}, []results.Sample{sample(k, 1, 0, 0), sample(o, 1, 0, 0)}, []string{"| r | 0 | 0 | 1 |", "loses none"}, nil},
		{"better in one of two", results.Metric{Better: results.Lower}, []results.Sample{sample(k, 1, 0, 3), sample(o, 1, 0, 0), another(sample(k, 1, 0, 0)), another(sample(o, 1, 0, 0))}, []string{"better in 1 of 2, loses none"}, nil},
		{"warm-up", higher, []results.Sample{sample(k, 0, 0, 1), sample(k, 1, 0, 100), sample(o, 0, 0, 9), sample(o, 1, 0, 300)}, []string{"| r | 100 | 300 | 3 |"}, []string{"["}},
		{"warm-up alone", higher, []results.Sample{sample(k, 0, 0, 1), sample(o, 0, 0, 9)}, []string{"## A section", "| **not measured** |"}, []string{"| r |", "no row of this run"}},
		{"no numbers", higher, []results.Sample{sample(k, 1, 0, math.NaN()), sample(k, 2, 0, 50), sample(o, 1, 0, math.Inf(1)), sample(o, 2, 0, 100)},
			[]string{"| r | 50 (1 of 2 rounds) | 100 (1 of 2 rounds) | 2 |", "2 values were not numbers"}, []string{"NaN"}},
		{"spread", higher, []results.Sample{sample(k, 1, 0, 100), sample(k, 2, 0, 110), sample(k, 3, 0, 90), sample(o, 1, 0, 1234.5), sample(o, 2, 0, 1500)}, []string{"| r | 100 [90 - 110] | 1,370 [1,230 - 1,500] (2 of 3 rounds) | 13.7 |"}, nil},
		{"nothing", higher, nil, []string{"Not measured in this run.", "| **not measured** |"}, []string{"| r |", "no row of this run"}},
	} {
		t.Run(test.name, test.check)
	}
}

func TestFlat(t *testing.T) {
	at := func(row string, x, value float64) results.Sample {
		s := sample(results.Ottla, 1, x, value)
		s.Row = row
		return s
	}
	run := runOf(results.Metric{Better: results.Flat, Reach: 1.5}, results.Chart{Kind: "lines", LogX: true}, at("10", 10, 2), at("100", 100, 2.5), at("1000", 1000, 4))
	got := written(t, run)["benchmarks.md"]
	for _, want := range []string{"| 10 | 2 | 1 |", "| 100 | 2.50 | 1.25 |", "| 1000 | 4 | 2, short |", "at most 1.5 × the first row | 1.25 | 2, 1000 | **met in 2 of 3 rows**"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// inRow is a sample of another row than "r".
func inRow(s results.Sample, row string) results.Sample {
	s.Row = row
	return s
}

func TestGoalsForOttlaAlone(t *testing.T) {
	const k, o = results.Kafka, results.Ottla
	failed := results.Sample{Section: "s", Row: "100", Broker: o, Round: 1, Note: "too slow"}
	for want, samples := range map[string][]results.Sample{
		"| at most 128 MB/s | 120 MB/s, 100 | met |":             {inRow(sample(o, 1, 0, 90), "10"), inRow(sample(o, 1, 0, 120), "100")},
		"| at most 128 MB/s | 128 MB/s, r | met |":               {sample(k, 1, 0, 300), sample(o, 1, 0, 127), sample(o, 2, 0, 128), sample(o, 3, 0, 500)},
		"| at most 128 MB/s | 130 MB/s, 10 | **not met** |":      {inRow(sample(o, 1, 0, 130), "10"), inRow(sample(o, 1, 0, 20), "100")},
		"| at most 128 MB/s | - | **not measured** |":            {sample(k, 1, 0, 300), sample(o, 0, 0, 100)},
		"| met where measured; **not measured at 100** |":        {inRow(sample(o, 1, 0, 90), "10"), failed},
		"| **not met**; **not measured at 100** |":               {inRow(sample(o, 1, 0, 150), "10"), failed},
		"| at most 128 MB/s | -3 MB/s, r | met |":                {sample(o, 1, 0, -3)},
		"less is better; goal for Ottla alone: at most 128 MB/s": {sample(o, 1, 0, 1)},
	} {
		if got := string(markdown(runOf(results.Metric{Better: results.Lower, Most: 128}, results.Chart{}, samples...))); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := string(markdown(runOf(results.Metric{Better: results.Lower}, results.Chart{}, sample(o, 1, 0, 1)))); strings.Contains(got, "alone") {
		t.Error(got)
	}
}

func TestRoundsAreThoseOfTheSamples(t *testing.T) {
	const k, o, n = results.Kafka, results.Ottla, results.Null
	failed := results.Sample{Section: "s", Row: "r", Broker: o, Round: 2, Note: "too slow"}
	for want, samples := range map[string][]results.Sample{
		"About it.\n\nOne round: how much another would differ is not known.\n\n":                                             {sample(o, 1, 0, 1)},
		"\n\nOne round, Kafka before Ottla where both are measured: how much another would differ is not known.\n\n":          {sample(results.NullDisk, 1, 0, 1), sample(n, 1, 0, 1), sample(k, 1, 0, 1), sample(o, 1, 0, 1), inRow(sample(o, 1, 0, 1), "x")},
		"\n\nOne round, in some rows Kafka before Ottla, in others after it: how much another would differ is not known.\n\n": {sample(k, 1, 0, 1), sample(o, 1, 0, 1), inRow(sample(o, 1, 0, 1), "x"), inRow(sample(k, 1, 0, 1), "x")},
		"\n\n2 rounds.\n\n": {sample(o, 1, 0, 1), sample(o, 2, 0, 1)},
		"\n\n2 rounds, after a warm-up that is not counted, some with Kafka first and some with Ottla first.\n\n": {sample(o, 0, 0, 1), sample(k, 1, 0, 1), sample(o, 1, 0, 1), sample(o, 2, 0, 1), sample(k, 2, 0, 1)},
		"\n\n1 to 2 rounds, after a warm-up that is not counted, Ottla before Kafka where both are measured.\n\n": {sample(o, 1, 0, 1), sample(o, 2, 0, 1), sample(k, 1, 0, 1), sample(k, 2, 0, 1), inRow(sample(o, 1, 0, 1), "x"), inRow(sample(o, 0, 0, 1), "y")},
		"| r | 2 [1 - 3] | **1.50** [1 - 2] (2 of 3 rounds) | 5 (1 of 3 rounds) | **0.750** | 30 % |":             {sample(k, 1, 0, 1), sample(k, 2, 0, 2), sample(k, 3, 0, 3), sample(o, 1, 0, 1), failed, sample(o, 3, 0, 2), sample(n, 1, 0, 5)},
		"| r | 2 [1 - 3] (1 of 2 rounds) |": {sample(o, 1, 0, 1), sample(o, 1, 0, 3), failed}, // repeats in a round are not rounds
		"| rounds asked for | 3 |":          nil,
	} {
		if got := string(markdown(runOf(results.Metric{Better: results.Higher}, results.Chart{}, samples...))); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestSettings(t *testing.T) {
	run := runOf(results.Metric{}, results.Chart{})
	if _, text, _ := strings.Cut(string(markdown(run)), "## Machine"); strings.Contains(text, "- ") || !strings.Contains(text, "| 3 |\n\n## A section") {
		t.Error(text)
	}
	run.Setup = []results.Setting{{Name: "Java's *flags*", Value: "-Xmx1g -XX:+UseG1GC"}, {Name: "properties", Value: "a=1\n\nb=<2>|3\n"}, {Name: "nothing", Value: "\n"}, {Name: "ticks", Value: "a `b` ``c``"}}
	want := "| 3 |\n\n- Java's \\*flags\\*: `-Xmx1g -XX:+UseG1GC`\n- properties: `a=1`, `b=<2>|3`\n- nothing: none\n- ticks: ``` a `b` ``c`` ```\n\n## A section"
	if got := string(markdown(run)); !strings.Contains(got, want) {
		t.Error(got)
	}
}

func TestChartsOfOddValues(t *testing.T) {
	const k, o = results.Kafka, results.Ottla
	values := map[string][]results.Sample{
		"none":               nil,
		"NaN":                {sample(k, 1, 1, math.NaN()), sample(o, 1, 2, math.Inf(-1))},
		"zeros":              {sample(k, 1, 0, 0), sample(o, 1, 0, 0)},
		"some zeros":         {sample(k, 1, 0, 0), sample(k, 1, 10, 5), sample(o, 1, 100, 0), sample(o, 1, 1000, 7)},
		"negative":           {sample(k, 1, 1, -5), sample(o, 1, 2, 10)},
		"one":                {sample(o, 1, 1, 1)},
		"huge and tiny":      {sample(k, 1, 1e-300, 1e-300), sample(o, 1, 1e300, 1e300)},
		"warm-up":            {sample(o, 0, 1, 1)},
		"NaN as X":           {sample(o, 1, math.NaN(), 1), sample(o, 1, 3, 1), sample(o, 1, math.Inf(1), 1)},
		"the greatest there": {sample(o, 1, math.MaxFloat64, math.MaxFloat64), sample(k, 1, -math.MaxFloat64, -math.MaxFloat64)},
	}
	for name, samples := range values {
		for _, kind := range []string{"bars", "lines"} {
			for _, log := range []bool{false, true} {
				run := runOf(results.Metric{Better: results.Higher}, results.Chart{Kind: kind, LogX: log, LogY: log}, samples...)
				drawn, err := charts(run)
				if err != nil {
					t.Fatal(err)
				}
				drawable := name != "none" && name != "NaN" && name != "warm-up" && !(log && name == "zeros")
				if len(drawn) != btoi(drawable) && name != "the greatest there" {
					t.Errorf("%s, %s, log %v: %d charts", name, kind, log, len(drawn))
				}
				for _, c := range drawn {
					checkPicture(t, name+", "+kind, string(c.svg))
				}
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	unknown := runOf(results.Metric{}, results.Chart{Kind: "bars"})
	unknown.Sections[0].Chart.Metric = []string{"other"}
	two := runOf(results.Metric{Better: results.Higher}, results.Chart{Kind: "bars"}, sample(results.Ottla, 1, 0, 1))
	two.Sections = append(two.Sections, two.Sections[0])
	for name, run := range map[string]*results.Run{
		`draws "other"`:                unknown,
		"would have one file":          two,
		`wants a chart of kind "cake"`: runOf(results.Metric{}, results.Chart{Kind: "cake"}),
	} {
		if err := Write(run, path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a report was written of a run that was refused")
	}
}

func TestWriteKeepsWhatIsByHandAndRemovesOldCharts(t *testing.T) {
	dir := t.TempDir()
	path, old, other := filepath.Join(dir, "benchmarks.md"), filepath.Join(dir, "pictures", "bench-old-speed.svg"), filepath.Join(dir, "pictures", "terminal.svg")
	if err := os.Mkdir(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{old, other} {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("old\n\n"+byHand+"\n\n## Why\n\nBecause.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var texts [2][]byte
	for i := range texts {
		if err := Write(exampleRun(t), path); err != nil {
			t.Fatal(err)
		}
		texts[i], _ = os.ReadFile(path)
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("written twice, it differs")
	}
	if s := string(texts[0]); !strings.HasPrefix(s, "# ") || !strings.HasSuffix(s, byHand+"\n\n## Why\n\nBecause.\n") {
		t.Errorf("%s", s)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the chart of an earlier run is left")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestMergedSectionsSayWhenTheyWereMeasured(t *testing.T) {
	run := &results.Run{Began: "2026-01-02T00:00:00Z", Commit: "new", Sections: []results.Section{
		{Name: "a", Title: "Old", Began: "2026-01-01T00:00:00Z", Commit: "old", Rounds: 3},
		{Name: "b", Title: "New", Began: "2026-01-02T00:00:00Z", Commit: "new", Rounds: 1},
	}}
	text := string(markdown(run))
	if strings.Count(text, "earlier run, begun") != 1 || !strings.Contains(text, "## Old\n\n\n\nMeasured in an earlier run, begun 2026-01-01T00:00:00Z, at commit old, 3 rounds asked for.") {
		t.Error(text)
	}
}

func TestStormNeedsItsSection(t *testing.T) {
	run := exampleRun(t)
	if _, err := Storm(run); err != nil {
		t.Error(err)
	}
	for i := range run.Samples {
		if run.Samples[i].Section == stormCurve && run.Samples[i].Broker == results.Kafka {
			run.Samples[i].Round = 0
		}
	}
	if _, err := Storm(run); err == nil {
		t.Error("drawn without Kafka")
	}
	if _, err := Storm(&results.Run{}); err == nil {
		t.Error("drawn without a section")
	}
}
