package fleet

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

var sampleAt = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// sample is a report with one row of each kind, in no order.
func sample() *Report {
	kafka := func(name string, l diagnose.Level) Row {
		r := newRow(name, nil)
		r.At, r.Level, r.Vendor, r.Version, r.Asked, r.Brokers = sampleAt, l, evidence.VendorKafka, "3.6 (given)", LevelFull, 3
		return r
	}
	var rows []Row
	add := func(r Row, f func(r *Row)) {
		f(&r)
		rows = append(rows, r)
	}
	add(kafka("calm", diagnose.Healthy), func(r *Row) {
		r.BirthsKnown, r.BirthsPerSecond, r.HeapShare, r.UntilFull, r.Change, r.Was = true, 0.0001, 0, Never, ChangeSame, "healthy"
	})
	add(kafka("next week", diagnose.Storm), func(r *Row) {
		r.BirthsKnown, r.BirthsPerSecond, r.HeapShare, r.UntilFull, r.TopTopic, r.TopExplains = true, 38, 1.4, 6.5*86400, "payments.audit", 0.96
		r.Change, r.Was = ChangeWorse, "armed"
	})
	add(kafka("tonight", diagnose.Storm), func(r *Row) {
		r.BirthsKnown, r.BirthsPerSecond, r.HeapShare, r.UntilFull, r.HeapAssumed, r.TopTopic, r.Change = true, 310, 4, 9*3600, true, "evil|topic\x1b[31m<b>", ChangeNew
		r.Labels = map[string]string{"team": "example", "site": "north"}
	})
	add(kafka("fits", diagnose.Storm), func(r *Row) { r.HeapShare, r.UntilFull = 0.4, Never })
	add(kafka("seen before", diagnose.Armed), func(r *Row) { r.Resumed, r.HeapShare, r.UntilFull = true, 0.02, Never })
	add(newRow("dead", nil), func(r *Row) {
		r.Level, r.Why, r.Change, r.Was = Unreachable, "10.0.0.1:9092: connection refused "+strings.Repeat("again ", 40), ChangeLost, "healthy"
	})
	add(kafka("blind", diagnose.Inconclusive), func(r *Row) { r.Why = "tails: denied (READ on Topic)" })
	add(kafka("many births", diagnose.Armed), func(r *Row) {
		r.Asked, r.BirthsKnown, r.BirthsPerSecond = LevelSweep, true, 500_000/secondsPerDay
	})
	run := &run{o: Options{Tool: "ottla test", Now: func() time.Time { return sampleAt.Add(90 * time.Second) }}, started: sampleAt}
	run.note("calm: not remembered: no space left")
	return run.report(rows)
}

func TestPrint(t *testing.T) {
	datadriven.RunTest(t, "testdata/print", func(t *testing.T, d *datadriven.TestData) string {
		var out bytes.Buffer
		var err error
		switch r := sample(); d.Cmd {
		case "text":
			err = Terminal(&out, r, false)
		case "colour":
			err = Terminal(&out, r, true)
		case "unchanged":
			r.Changes = nil
			err = Terminal(&out, r, false)
		case "markdown":
			err = Markdown(&out, r)
		case "json":
			err = JSON(&out, r)
		case "html":
			err = HTML(&out, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(out.String(), "\n\n", "\n \n")
	})
}

func TestPrintedFormsAreSafe(t *testing.T) {
	var text, markdown, html bytes.Buffer
	_ = Terminal(&text, sample(), false)
	_ = Markdown(&markdown, sample())
	_ = HTML(&html, sample())
	if strings.Contains(text.String()+markdown.String()+html.String(), "\x1b") {
		t.Error("a topic's name reached the terminal as it was")
	}
	if strings.Contains(html.String(), "evil|topic\x1b") || strings.Contains(html.String(), "<b>") || strings.Contains(html.String(), "http") {
		t.Error("a topic's name became markup, or the page names an address")
	}
	if strings.Contains(markdown.String(), "evil|") || strings.Contains(markdown.String(), "<b>") {
		t.Error("a topic's name became markup")
	}
}

// TestJSONIsDocumented: every key of the JSON form stands in docs/fleet.md.
func TestJSONIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := JSON(&out, sample()); err != nil {
		t.Fatal(err)
	}
	full := newRow("a", map[string]string{"a": "b"})
	full.ClusterID, full.Escalated, full.BirthsSeconds, full.Sentence = "x", true, 1, "x"
	text, _ := json.Marshal(full)
	var doc struct {
		Rows []map[string]any `json:"rows"`
	}
	var top, row map[string]any
	for _, err := range []error{json.Unmarshal(out.Bytes(), &doc), json.Unmarshal(out.Bytes(), &top), json.Unmarshal(text, &row)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	keys := []map[string]any{top, row}
	keys = append(keys, doc.Rows...)
	for _, m := range keys {
		for key := range m {
			if !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("docs/fleet.md has no word on `%s`", key)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		levels                                  []diagnose.Level
		any, inconclusive, armed, storm, silent int
	}{
		{[]diagnose.Level{diagnose.Healthy}, 0, 0, 0, 0, 0},
		{[]diagnose.Level{diagnose.Healthy, Unreachable}, 4, 0, 0, 0, 0},
		{[]diagnose.Level{Unreachable, diagnose.Inconclusive}, 3, 3, 0, 0, 0},
		{[]diagnose.Level{Unreachable, diagnose.Inconclusive, diagnose.Armed}, 1, 1, 1, 0, 0},
		{[]diagnose.Level{diagnose.Armed, diagnose.Storm, diagnose.Inconclusive, Unreachable, diagnose.Healthy}, 2, 2, 2, 2, 0},
	} {
		r := Report{Levels: map[diagnose.Level]int{}}
		for _, l := range test.levels {
			r.Levels[l]++
		}
		got := [5]int{r.ExitFor("any"), r.ExitFor("inconclusive"), r.ExitFor("armed"), r.ExitFor("storm"), r.ExitFor("never")}
		if want := [5]int{test.any, test.inconclusive, test.armed, test.storm, test.silent}; got != want {
			t.Errorf("%v: %v, want %v", test.levels, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	at := func(l diagnose.Level, until, births float64, after time.Duration) Row {
		r := newRow("a", nil)
		r.Level, r.UntilFull, r.BirthsKnown, r.BirthsPerSecond, r.At = l, until, true, births, sampleAt.Add(after)
		return r
	}
	day := 24 * time.Hour
	for _, test := range []struct {
		name    string
		was, is Row
		want    string
	}{
		{"same", at(diagnose.Healthy, Never, 0, 0), at(diagnose.Healthy, Never, 0.001, day), ChangeSame},
		{"level up", at(diagnose.Healthy, Never, 1, 0), at(diagnose.Armed, Never, 1, day), ChangeWorse},
		{"level down", at(diagnose.Storm, 100, 1, 0), at(diagnose.Armed, Never, 1, day), ChangeBetter},
		{"now runs full", at(diagnose.Storm, Never, 1, 0), at(diagnose.Storm, 100, 1, day), ChangeWorse},
		{"a day less because a day went by", at(diagnose.Storm, 3*86400, 1, 0), at(diagnose.Storm, 2*86400, 1, day), ChangeSame},
		{"three days less in one", at(diagnose.Storm, 5*86400, 1, 0), at(diagnose.Storm, 2*86400, 1, day), ChangeWorse},
		{"births doubled", at(diagnose.Armed, Never, 1, 0), at(diagnose.Armed, Never, 2.1, day), ChangeWorse},
		{"births fell", at(diagnose.Armed, Never, 10, 0), at(diagnose.Armed, Never, 1, day), ChangeBetter},
		{"was inconclusive", at(diagnose.Inconclusive, Unknown, 1, 0), at(diagnose.Armed, Never, 5, day), ChangeKnown},
		{"still inconclusive", at(diagnose.Inconclusive, Unknown, 1, 0), at(diagnose.Inconclusive, Unknown, 1, day), ChangeSame},
		{"lost", at(diagnose.Healthy, Never, 1, 0), at(Unreachable, Unknown, 0, day), ChangeLost},
		{"back", at(Unreachable, Unknown, 0, 0), at(diagnose.Storm, 5, 0, day), ChangeBack},
		{"still away", at(Unreachable, Unknown, 0, 0), at(Unreachable, Unknown, 0, day), ChangeSame},
	} {
		is := test.is
		if is.compare(&test.was); is.Change != test.want || is.Was != string(test.was.Level) {
			t.Errorf("%s: %q (%q), want %q", test.name, is.Change, is.Was, test.want)
		}
	}
	is := at(diagnose.Healthy, Never, 0, 0)
	if is.compare(nil); is.Change != ChangeNew {
		t.Errorf("got %q, want new", is.Change)
	}
}
