package autopsy

import (
	"bytes"
	"strings"
	"testing"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/report"
)

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
