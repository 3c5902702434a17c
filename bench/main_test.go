package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"ottla/bench/bed"
	"ottla/bench/results"
	"ottla/bench/rows"
)

func TestChoose(t *testing.T) {
	all := rows.All()
	last := all[len(all)-1].Name
	got, err := choose(selectable(), last+",fetch")
	if err != nil || len(got) != 2 || got[0].Name != "fetch" || got[1].Name != last {
		t.Errorf("two: %v, %v", got, err)
	}
	if _, err := choose(selectable(), "fetch,nothing"); err == nil {
		t.Error("an unknown section is accepted")
	}
}

func TestSectionsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range selectable() {
		if s.Name == "" || seen[s.Name] || s.Measure == nil {
			t.Errorf("section %q is without a name or a measurement, or there twice", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestMergeReplacesASection(t *testing.T) {
	run := &results.Run{
		Sections: []results.Section{{Name: "fetch", Title: "old"}},
		Samples:  []results.Sample{{Section: "fetch", Row: "a"}, {Section: "produce-java", Row: "b"}},
	}
	replace(run, results.Section{Name: "produce-java"})
	replace(run, results.Section{Name: "fetch", Title: "new"})
	if len(run.Samples) != 0 || !slices.EqualFunc(run.Sections, []results.Section{{Name: "produce-java"}, {Name: "fetch", Title: "new"}}, func(a, b results.Section) bool {
		return a.Name == b.Name && a.Title == b.Title
	}) {
		t.Errorf("%+v", run)
	}
}

func TestWhyASectionEndedStaysInTheRun(t *testing.T) {
	run := &results.Run{}
	s := rows.Section{Section: results.Section{Name: "fetch"}, Measure: func(_ context.Context, _ *bed.Bed, _ rows.Plan, record func(results.Sample)) error {
		record(results.Sample{Row: "a", Broker: results.Ottla})
		return errors.New("no broker")
	}}
	if err := take(t.Context(), nil, rows.Plan{}, run, s, io.Discard); err == nil {
		t.Error("no error")
	}
	if n := len(run.Samples); n != 2 || run.Samples[0].Section != "fetch" || run.Samples[1].Section != "fetch" || run.Samples[1].Note != "no broker" || run.Samples[1].Row != "" {
		t.Errorf("%+v", run.Samples)
	}
}
