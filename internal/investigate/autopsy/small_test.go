package autopsy

import (
	"bytes"
	"strings"
	"testing"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/report"
)

func TestParseHeap(t *testing.T) {
	for text, want := range map[string]int64{"6g": 6 << 30, "16m": 16 << 20, "1073741824": 1 << 30} {
		if got, err := ParseHeap(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"6", "6k", "6m"} {
		if got, err := ParseHeap(text); err == nil || !strings.Contains(err.Error(), "6g?") {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

// TestRemediesAreNumberedAsPrinted: what does not help is put together at the end and takes no number.
func TestRemediesAreNumberedAsPrinted(t *testing.T) {
	r := &Report{Remedies: []diagnose.Remedy{{Kind: useless, Title: "waiting"}, {Kind: "prevent", Title: "a quota"}, {Kind: useless, Title: "restarting"}, {Kind: "throttle", Title: "a limit"}}}
	var out bytes.Buffer
	p := report.NewPrinter(&out, report.Style{})
	if r.printRemedies(p, false); p.Err() != nil {
		t.Fatal(p.Err())
	}
	for _, want := range []string{"1. prevent: a quota", "2. throttle: a limit", "waiting; restarting"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}
