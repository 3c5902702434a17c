package main

import (
	"slices"
	"testing"

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
