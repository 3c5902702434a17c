package main

import (
	"strings"
	"testing"
)

const lines = `{"group":"clients","client":"one","version":"1.2","what":"one: produces","ok":true,"why":""}
{"group":"clients","client":"one","version":"1.2","what":"one: reads","ok":false,"why":"lost | 3\nrecords"}
{"group":"clients","client":"two","version":"2","what":"group","ok":false,"skip":true,"why":"knows no groups"}
{"group":"extra","client":"three","version":"","what":"runs","ok":false,"why":""}
`

func TestCardHidesNothing(t *testing.T) {
	rows, err := read(strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	text, passed, failed, skipped := card(rows, "ottla 1")
	if passed != 1 || failed != 2 || skipped != 1 {
		t.Errorf("%d passed, %d failed, %d left out", passed, failed, skipped)
	}
	for _, want := range []string{"1 checks passed, 2 failed, 1 were left out", "| one | 1.2 | produces; reads | 1 | 1 | 0 |", `- one: reads: lost \| 3 records`,
		"- two: group: knows no groups", "## extra", "- three: runs: no reason given", "Broker: ottla 1."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestBadLinesAreErrors(t *testing.T) {
	for _, bad := range []string{"{", `{"group":"clients","client":"one"}`, `{"client":"one","what":"x"}`} {
		if _, err := read(strings.NewReader(bad + "\n")); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
