package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"ottla/internal/investigate/explain"
)

func TestPagesArePrintedPlain(t *testing.T) {
	for _, id := range explain.IDs() {
		page, found := explain.Page(id)
		if !found {
			t.Fatalf("no page on %s", id)
		}
		var out bytes.Buffer
		if err := plainPage(&out, page); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "    ") {
				continue // code
			}
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "```") || utf8.RuneCountInString(line) > explainWidth+2 {
				t.Errorf("%s: %q", id, line)
			}
		}
		if words(out.String()) < words(page)*8/10 {
			t.Errorf("%s: words are lost", id)
		}
	}
}

func TestWideTablesAreLists(t *testing.T) {
	var out bytes.Buffer
	long := strings.TrimSpace(strings.Repeat("long ", 12))
	if err := plainPage(&out, "| a | b | c |\n|---|---|---|\n| 1 | "+long+" | "+long+" |\n"); err != nil {
		t.Fatal(err)
	}
	if want := "- 1: " + long + "; c: long long long long long\n  long long long long long long long\n"; out.String() != want {
		t.Errorf("want:\n%s\ngot:\n%s", want, out.String())
	}
}

func words(s string) int { return len(strings.Fields(s)) }

func TestPlainPage(t *testing.T) {
	var out bytes.Buffer
	page := "# T\n\n- one\n  two\n- three\n\n| a | bb |\n|---|---|\n| ccc | d |\n\n### J\n\n```\nx = 1 // a very long line of code that is longer than any line of prose may be, and it is not wrapped at all\n\n  y\n```\n\n" + strings.Repeat("word ", 25)
	if err := plainPage(&out, page); err != nil {
		t.Fatal(err)
	}
	want := "T\n=\n\n- one two\n- three\n\n  a    bb\n  ccc  d\n\nJ\n\n    x = 1 // a very long line of code that is longer than any line of prose may be, and it is not wrapped at all\n\n      y\n\n" +
		strings.TrimSpace(strings.Repeat("word ", 19)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 6)) + "\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
