package report

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"strings"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows: the verdict in words, tables and charts.
type page struct {
	V                                  *diagnose.Verdict
	Level, Sentence, Name, When, Scope string
	Facts                              [][2]string
	Horsemen                           []pageHorseman
	SuspectHead                        []string
	Suspects                           [][]string
	Who                                [][]string
	Clock, Heap, Topics, Life          template.HTML
	HeapLines                          []string
	Sizes                              [][]string
	Bomb                               string
	Remedies                           []pageRemedy
	Ledger                             [][]string
}

type pageHorseman struct {
	diagnose.Horseman
	Class, Text string
}

type pageRemedy struct {
	diagnose.Remedy
	Notes [][2]string
}

// HTML prints one self-contained page: no network, inline charts, dark and light, legible on a phone.
func HTML(w io.Writer, v *diagnose.Verdict) error {
	return pageTemplate.Execute(w, newPage(v))
}

func newPage(v *diagnose.Verdict) *page {
	p := &page{
		V: v, Level: string(v.Level), Sentence: Sentence(v), Name: Clean(or(v.Cluster.ID, strings.Join(v.Bootstrap, ","))), When: phrase.Clock(v.At),
		Scope:       fmt.Sprintf("%s %s, %s, %s, %s", v.Cluster.Vendor, v.Version, plural(v.Brokers, "broker"), plural(v.Topics, "topic"), plural(v.Partitions, "partition")),
		Facts:       [][2]string{{"Births", birthsLine(&v.Births)}, {"Onset", onsetLine(&v.Onset)}, {"An entry", lifeLine(&v.Life)}},
		SuspectHead: suspectHead, Suspects: suspectRows(v), Ledger: ledgerRows(v),
		Clock: clockChart(&v.Onset), Topics: topicChart(v.Suspects), Life: lifeChart(v.Suspects),
	}
	for i := range v.Horsemen {
		h := &v.Horsemen[i]
		p.Horsemen = append(p.Horsemen, pageHorseman{*h, statusClass(h.Status), horsemanRows(v)[i][3]})
	}
	for i := range v.Suspects {
		for _, s := range v.Suspects[i].Who {
			p.Who = append(p.Who, []string{v.Suspects[i].Name, s.What, s.Name, string(s.Confidence), s.Why})
		}
	}
	if v.Life.Bounded == "" {
		p.heap(v)
	}
	for i := range v.Remedies {
		p.Remedies = append(p.Remedies, pageRemedy{v.Remedies[i], remedyParts(&v.Remedies[i])})
	}
	return p
}

// heap is left out where memory does not grow with producers.
func (p *page) heap(v *diagnose.Verdict) {
	for i := range v.Heap {
		p.HeapLines = append(p.HeapLines, heapLine(&v.Heap[i]))
	}
	if v.Worst != nil {
		p.Heap = heapChart(v.Worst, v.At, v.Life.Seconds)
		p.Sizes = sizeRows(v.Worst)
		if v.Worst.BombBytes > 0 {
			p.Bomb = bombLine(v.Worst)
		}
	}
}

func statusClass(s diagnose.Status) string {
	switch s {
	case diagnose.Found:
		return "found"
	case diagnose.Half:
		return "armed"
	case diagnose.Absent:
		return "absent"
	}
	return "unseen"
}
