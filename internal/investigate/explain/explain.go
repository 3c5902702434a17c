// Package explain holds one page for each horseman of a producer leak: what it is, how it is measured, how to confirm it by hand,
// how it is repaired in each client library, and what healthy looks like. It owns the words and nothing else.
//
// It must not know a cluster, a verdict or a terminal. Pages are Markdown that reads well as it is.
package explain

import (
	"embed"
	"strings"
)

//go:embed pages/*.md
var pages embed.FS

// ids in the order of a verdict's horsemen.
var ids = []string{"H1", "H2", "H3", "H4", "H4b", "H5"}

// IDs are the horsemen that have a page, in the order in which a verdict lists them.
func IDs() []string { return append([]string(nil), ids...) }

// Page is the page of a horseman, as Markdown; false if there is none of that name. Case does not matter.
func Page(id string) (string, bool) {
	for _, known := range ids {
		if strings.EqualFold(id, known) {
			text, err := pages.ReadFile("pages/" + known + ".md")
			return string(text), err == nil
		}
	}
	return "", false
}

// Title is the first line of a horseman's page without its mark; empty if there is none of that name.
func Title(id string) string {
	text, _ := Page(id)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "#"))
}
