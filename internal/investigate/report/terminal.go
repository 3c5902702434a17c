package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// Style says how a terminal wants it.
type Style struct {
	Colour  bool
	Width   int  // columns; 0: 100
	Verbose bool // also reasons, ways back, other causes one by one, and the ledger: every number with its source
}

// Terminal prints one screen: the sentence first, then why, then what to do.
func Terminal(w io.Writer, v *diagnose.Verdict, s Style) error {
	p := NewPrinter(w, s)
	p.Headline(v.Level, Sentence(v))
	for _, d := range v.Details {
		p.Paragraph(d)
	}
	p.Line("")
	facts(p, v)
	horsemen(p, v)
	suspects(p, v)
	heap(p, v)
	differential(p, v)
	remedies(p, v)
	blind(p, v)
	if s.Verbose {
		ledger(p, v)
	}
	return p.Err()
}

// Sentence is the verdict's sentence without the level that begins it, for places that show the level beside it.
func Sentence(v *diagnose.Verdict) string {
	head, rest, found := strings.Cut(v.Sentence, ": ")
	if found && strings.EqualFold(head, string(v.Level)) {
		return rest
	}
	return v.Sentence
}

func facts(p *Printer, v *diagnose.Verdict) {
	name := v.Cluster.ID
	if name == "" {
		name = strings.Join(v.Bootstrap, ",")
	}
	p.Fact("cluster", fmt.Sprintf("%s: %s %s, %s, %s, %s", name, v.Cluster.Vendor, v.Version,
		plural(v.Brokers, "broker"), plural(v.Topics, "topic"), plural(v.Partitions, "partition")))
	p.Fact("births", birthsLine(&v.Births))
	p.Fact("onset", onsetLine(&v.Onset))
	p.Fact("an entry", lifeLine(&v.Life))
	if v.Worst != nil && v.Life.Bounded == "" {
		p.Fact("heap", heapLine(v.Worst))
	}
	p.Line("")
}

func birthsLine(b *diagnose.Births) string {
	if !b.Known {
		return "not known: " + or(b.How, "no source told")
	}
	s := fmt.Sprintf("%s new producers (%s)", phrase.RateWithin(b.PerSecond, b.Error), b.Source)
	if b.Ever >= 0 {
		s += fmt.Sprintf("; about %s ever made", phrase.Count(float64(b.Ever)))
	}
	return s
}

func onsetLine(o *diagnose.Onset) string {
	if !o.Known {
		return "not known: " + or(o.Why, "the history of producer ids was not read")
	}
	clock := phrase.Clock
	if o.Latest.Sub(o.Earliest) < 5*time.Minute {
		clock = phrase.ClockSeconds
	}
	s := fmt.Sprintf("%s, between %s and %s; %s before, %s since", clock(o.At), clock(o.Earliest), clock(o.Latest), phrase.Rate(o.Before), phrase.Rate(o.After))
	if len(o.NewTopics) > 0 {
		s += "; topics that are new since: " + strings.Join(o.NewTopics, ", ")
	}
	return s
}

func lifeLine(l *diagnose.StateLife) string {
	if l.Bounded != "" {
		return l.Bounded
	}
	if l.Rule == "" {
		return "lives for a time that is not known"
	}
	s := fmt.Sprintf("lives %s: %s", phrase.Span(l.Seconds), l.Rule)
	if l.Key != "" {
		how := "static"
		if l.Dynamic {
			how = "dynamic"
		}
		s += fmt.Sprintf(" (%s, %s)", l.Key, how)
	}
	return s
}

func heapLine(h *diagnose.Heap) string {
	entries := phrase.Count(float64(h.Entries))
	if h.EntriesBound {
		entries = "at most " + entries
	}
	s := fmt.Sprintf("broker %d: %s entries of %.0f bytes, %s now; %s when it stops growing", h.Broker, entries, h.EntryBytes, phrase.Bytes(h.Bytes), phrase.Bytes(h.Plateau))
	if h.HeapMax <= 0 {
		return s + " (how large the heap is, no protocol tells: --heap)"
	}
	s += fmt.Sprintf(" = %s of %s", phrase.Percent(h.Share), phrase.Bytes(h.HeapMax))
	if h.UntilFull < 0 {
		return s + "; it fits"
	}
	return s + "; full in " + phrase.Span(h.UntilFull)
}

func horsemen(p *Printer, v *diagnose.Verdict) {
	if len(v.Horsemen) == 0 {
		return
	}
	for i := range v.Horsemen {
		h := &v.Horsemen[i]
		text := h.Sentence
		if h.Why != "" {
			text = strings.TrimSpace(text + " (" + h.Why + ")")
		}
		status := string(h.Status)
		if h.Confidence != "" {
			status += " " + string(h.Confidence)
		}
		p.Finding(h.ID, h.Name, h.Status, status, text)
	}
	p.Line("")
}

func suspects(p *Printer, v *diagnose.Verdict) {
	if len(v.Suspects) == 0 {
		return
	}
	title := "Suspects"
	if v.Explained >= 0 {
		title += fmt.Sprintf(": they explain %s of all births", phrase.Percent(v.Explained))
	}
	p.Section(title)
	p.Table(suspectHead, suspectRows(v))
	for i := range v.Suspects {
		for _, who := range v.Suspects[i].Who {
			p.Item("", fmt.Sprintf("%s: %s %s (%s, %s): %s", v.Suspects[i].Name, who.What, who.Name, who.Confidence, who.Source, who.Why))
		}
	}
	p.Line("")
}

var suspectHead = []string{"topic", "births", "explains", "newborn", "batches each", "life", "live entries", "of leaked heap"}

func suspectRows(v *diagnose.Verdict) [][]string {
	var rows [][]string
	for i := range v.Suspects {
		t := &v.Suspects[i]
		live := "?"
		switch {
		case t.Live >= 0:
			live = phrase.Count(float64(t.Live))
		case t.LiveBound >= 0:
			live = "≤ " + phrase.Count(float64(t.LiveBound))
		}
		rows = append(rows, []string{
			t.Name, phrase.Rate(t.BirthsPerSecond), phrase.Percent(t.Explains), fmt.Sprintf("%s of %s", phrase.Percent(t.NewbornShare), phrase.Exact(float64(t.Producers))),
			phrase.Significant(t.BatchesMedian), "≥ " + phrase.Span(t.LifeMedian), live, phrase.Percent(t.HeapShare),
		})
	}
	return rows
}

// heap prints the table for heaps of an unknown size, and the bomb.
func heap(p *Printer, v *diagnose.Verdict) {
	h := v.Worst
	if h == nil || v.Life.Bounded != "" || len(h.Sizes) == 0 && h.BombBytes == 0 {
		return
	}
	p.Section("Heap")
	if len(h.Sizes) > 0 {
		p.Table([]string{"if -Xmx is", "plateau takes", "full in"}, sizeRows(h))
	}
	if h.BombBytes > 0 {
		p.Item("", bombLine(h))
	}
	p.Line("")
}

func sizeRows(h *diagnose.Heap) [][]string {
	var rows [][]string
	for _, z := range h.Sizes {
		full := "never, it fits"
		if z.UntilFull >= 0 {
			full = phrase.Span(z.UntilFull)
		}
		rows = append(rows, []string{phrase.Bytes(z.HeapMax), phrase.Percent(z.Share), full})
	}
	return rows
}

func bombLine(h *diagnose.Heap) string {
	return fmt.Sprintf("reassignment bomb: replaying %s (a new replica, a reassignment, a recovery without snapshot) puts %s on a heap at once", h.BombTopic, phrase.Bytes(h.BombBytes))
}

// differential prints the other causes: in short only those that may be one, the rest by name.
func differential(p *Printer, v *diagnose.Verdict) {
	if len(v.Others) == 0 {
		return
	}
	p.Section("What else it could be")
	var not, unseen []string
	for _, o := range v.Others {
		switch {
		case p.style.Verbose || o.Status == diagnose.Found || o.Status == diagnose.Half:
			p.Finding("", o.Name, o.Status, string(o.Status), o.Why)
		case o.Status == diagnose.Absent:
			not = append(not, o.Name)
		default:
			unseen = append(unseen, o.Name)
		}
	}
	if len(not) > 0 {
		p.Item("not:", strings.Join(not, "; "))
	}
	if len(unseen) > 0 {
		p.Item("not checked:", strings.Join(unseen, "; "))
	}
	p.Line("")
}

// noHelp is the kind of remedies that are named to keep people from them.
const noHelp = "does not help"

// remedies prints what to do; in short without reasons and ways back, and what does not help by its titles.
func remedies(p *Printer, v *diagnose.Verdict) {
	if len(v.Remedies) == 0 {
		return
	}
	p.Section("What to do")
	var useless []string
	for i := range v.Remedies {
		r := &v.Remedies[i]
		if !p.style.Verbose && r.Kind == noHelp {
			useless = append(useless, r.Title)
			continue
		}
		p.Item(fmt.Sprintf("%d.", i+1), fmt.Sprintf("%s: %s", r.Kind, r.Title))
		for _, part := range remedyParts(r) {
			if p.style.Verbose || part[0] == "risk" {
				p.Note(part[0], part[1])
			}
		}
		p.Command(r.Command)
	}
	if len(useless) > 0 {
		p.Item("What does not help:", strings.Join(useless, "; "))
	}
	p.Line("")
}

func remedyParts(r *diagnose.Remedy) [][2]string {
	var out [][2]string
	for _, part := range [][2]string{{"why", r.Why}, {"risk", r.Risk}, {"undo", r.Undo}, {"check", r.Check}} {
		if part[1] != "" {
			out = append(out, part)
		}
	}
	return out
}

// blind prints what could not be seen; in short, what nobody asked for only by name.
func blind(p *Printer, v *diagnose.Verdict) {
	if len(v.Blind) == 0 {
		return
	}
	p.Section("Could not be seen")
	var skipped []string
	for _, b := range v.Blind {
		if !p.style.Verbose && b.State == evidence.Skipped {
			skipped = append(skipped, b.Source)
			continue
		}
		text := fmt.Sprintf("%s (%s): %s", b.Source, b.State, b.Why)
		if b.Permission != "" {
			text += "; " + b.Permission + " would allow it"
		}
		if b.Matters != "" {
			text += "; without it: " + b.Matters
		}
		p.Item("-", text)
	}
	if len(skipped) > 0 {
		p.Item("-", "not asked: "+strings.Join(skipped, ", "))
	}
	p.Line("")
	if !p.style.Verbose {
		p.Line(p.paint(dim, "-v: reasons, ways back, and every number with its source"))
	}
}

func ledger(p *Printer, v *diagnose.Verdict) {
	p.Section("Ledger")
	p.Table([]string{"number", "value", "source", "how"}, ledgerRows(v))
}

func ledgerRows(v *diagnose.Verdict) [][]string {
	var rows [][]string
	for _, n := range v.Ledger {
		rows = append(rows, []string{n.Name, numberText(n), n.Source, n.How})
	}
	return rows
}

// numberText prints a number of the ledger in its own unit.
func numberText(n diagnose.Number) string {
	print := func(v float64) string {
		switch n.Unit {
		case "bytes":
			return phrase.Bytes(v)
		case "s":
			return phrase.Span(v)
		case "share":
			return phrase.Percent(v)
		case "":
			return phrase.Count(v)
		}
		return phrase.Count(v) + " " + n.Unit
	}
	if n.Unit == "/s" {
		return phrase.RateWithin(n.Value, n.Error)
	}
	if n.Error > 0 {
		return print(n.Value) + " ± " + print(n.Error)
	}
	return print(n.Value)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// runes is how many columns a text takes, for scripts where a letter takes one.
func runes(s string) int { return utf8.RuneCountInString(s) }
