package autopsy

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
	"ottla/internal/investigate/report"
)

// msTime is the zero time for 0.
func msTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// finish puts the evidence in order at the end of reading.
func (r *reader) finish() {
	r.out.OneBatchIDs = r.once.count()
	// Whatever the order of the arguments, the last log is the newest one.
	slices.SortStableFunc(r.out.Logs, func(a, b TextLog) int { return a.Last.Compare(b.Last) })
	if r.out.Metadata != nil && len(r.out.Metadata.Configs) == 0 {
		r.out.Metadata.Configs = nil
	}
}

// JSON prints the report with its evidence, as docs/autopsy.md describes it.
func JSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Terminal prints the report for people: the sentence first, then why, then what to do.
func Terminal(w io.Writer, r *Report, s report.Style) error {
	p := report.NewPrinter(w, s)
	p.Headline(r.Level, r.Sentence)
	for _, d := range r.Details {
		p.Paragraph(d)
	}
	p.Line("")
	for _, fact := range r.facts() {
		p.Fact(fact[0], fact[1])
	}
	p.Line("")
	p.Section("What was found")
	for i := range r.Horsemen {
		h := &r.Horsemen[i]
		p.Finding(h.ID, h.Name, h.Status, statusText(h), finding(*h).text())
	}
	if head, rows := r.suspectTable(); len(rows) > 0 {
		p.Line("")
		p.Section("Where the entries are")
		p.Table(head, rows)
	}
	if head, rows := r.otherTable(s.Verbose); len(rows) > 0 {
		p.Line("")
		p.Section("What else is on the heap (estimates)")
		p.Table(head, rows)
	}
	r.printRemedies(p, s.Verbose)
	if len(r.Blind) > 0 {
		p.Line("")
		p.Section("Not seen")
		for _, b := range r.Blind {
			p.Item("-", fmt.Sprintf("%s (%s): %s", b.Matters, b.Source, b.Why))
		}
	}
	if s.Verbose {
		r.printLedger(p)
	}
	return p.Err()
}

// text is the finding in words.
func (h finding) text() string {
	if h.Why == "" {
		return h.Sentence
	}
	return strings.TrimSpace(h.Sentence + " (" + h.Why + ")")
}

func (r *Report) facts() (out [][2]string) {
	add := func(name, text string) { out = append(out, [2]string{name, text}) }
	kafka := "Kafka " + r.Version.Text()
	if r.Version.How != "" {
		kafka += " (" + r.Version.How + ")"
	}
	if len(r.Evidence.Ottla) > 0 && len(r.Evidence.Histograms) == 0 {
		add("version", "Ottla, in "+strings.Join(r.Evidence.Ottla, ", "))
		add("entries", fmt.Sprintf("%s, on disk", phrase.Count(float64(max(0, r.Heap.Entries)))))
		return out
	}
	add("version", kafka)
	if r.Life.Rule != "" && r.Version.How != "" {
		add("an entry", fmt.Sprintf("lives %s: %s", phrase.Span(r.Life.Seconds), r.Life.Rule))
	}
	h := &r.Heap
	if h.Entries >= 0 {
		add("entries", fmt.Sprintf("%s x %.0f bytes = %s (%s)", phrase.Count(float64(h.Entries)), h.EntryBytes, phrase.Bytes(h.Bytes), h.Source))
	}
	heap := "-Xmx not known"
	if h.Max > 0 {
		heap = fmt.Sprintf("-Xmx %s (%s)", phrase.Bytes(float64(h.Max)), h.MaxSource)
	}
	if h.Used > 0 {
		heap += fmt.Sprintf(", in use %s (%s)", phrase.Bytes(float64(h.Used)), h.UsedSource)
	}
	add("heap", heap)
	if r.Births.Ever > 0 {
		add("ids", fmt.Sprintf("about %s producers were ever made in this cluster", phrase.Count(float64(r.Births.Ever))))
	}
	if len(h.Sizes) > 0 && r.Level != diagnose.Healthy {
		var parts []string
		for _, s := range h.Sizes {
			part := fmt.Sprintf("%.0f GiB: %s", s.HeapMax/(1<<30), phrase.Percent(s.Share))
			if s.UntilFull >= 0 {
				part += ", full in " + phrase.Span(s.UntilFull)
			}
			parts = append(parts, part)
		}
		add("of a heap", strings.Join(parts, "; "))
	}
	return out
}

func (r *Report) suspectTable() (head []string, rows [][]string) {
	const shown = 10
	for i := range r.Suspects[:min(len(r.Suspects), shown)] {
		s := &r.Suspects[i]
		entries := phrase.Count(float64(s.Entries))
		if s.LowerBound {
			entries = ">= " + entries
		}
		ids, single, rate := "?", "?", "?"
		if s.PIDMin >= 0 {
			ids = fmt.Sprintf("%d to %d", s.PIDMin, s.PIDMax)
		}
		if s.SingleUse >= 0 {
			single = phrase.Percent(s.SingleUse)
		}
		if s.PerSecond >= 0 {
			rate = phrase.Rate(s.PerSecond)
		}
		rows = append(rows, []string{s.Name, entries, phrase.Percent(s.Share), phrase.Bytes(s.Bytes), ids, single, rate})
	}
	if more := r.SuspectsOf - len(rows); more > 0 && len(rows) > 0 {
		rows = append(rows, []string{fmt.Sprintf("(and %d more)", more)})
	}
	return []string{"PARTITION", "ENTRIES", "SHARE", "BYTES", "PRODUCER IDS", "USED ONCE", "BIRTHS"}, rows
}

func (r *Report) otherTable(all bool) (head []string, rows [][]string) {
	const shown = 6
	for i := range r.Others {
		o := &r.Others[i]
		if !all && len(rows) >= shown {
			break
		}
		rows = append(rows, []string{o.Name, phrase.Count(float64(o.Objects)), phrase.Bytes(o.Bytes), phrase.Percent(o.Share), string(o.Status), o.Means})
	}
	return []string{"WHAT", "OBJECTS", "BYTES", "SHARE", "STATUS", "MEANS"}, rows
}

func remedyNotes(m *diagnose.Remedy) (out [][2]string) {
	for _, note := range [][2]string{{"why", m.Why}, {"risk", m.Risk}, {"undo", m.Undo}, {"check", m.Check}} {
		if note[1] != "" {
			out = append(out, note)
		}
	}
	return out
}

// useless is the kind of remedies that people try and must not.
const useless = "does not help"

// printRemedies prints what to do with its commands and risks; all says everything of each, also of what does not help.
func (r *Report) printRemedies(p *report.Printer, all bool) {
	if len(r.Remedies) == 0 {
		return
	}
	p.Line("")
	p.Section("What to do")
	var not []string
	shown := 0
	for i := range r.Remedies {
		m := &r.Remedies[i]
		if m.Kind == useless && !all {
			not = append(not, m.Title)
			continue
		}
		shown++
		p.Item(fmt.Sprintf("%d.", shown), m.Kind+": "+m.Title)
		p.Command(m.Command)
		for _, note := range remedyNotes(m) {
			if all || note[0] == "risk" {
				p.Note(note[0], note[1])
			}
		}
	}
	if len(not) > 0 {
		p.Item("-", useless+": "+strings.Join(not, "; ")+" (-v says why)")
	}
}

func (r *Report) printLedger(p *report.Printer) {
	p.Line("")
	p.Section("Every number and its source")
	var rows [][]string
	for _, n := range r.Ledger {
		rows = append(rows, []string{n.Name, number64(n.Value) + " " + n.Unit, n.Source, n.How})
	}
	p.Table([]string{"NUMBER", "VALUE", "SOURCE", "HOW"}, rows)
	p.Line("")
	p.Section("What was read")
	rows = nil
	for _, in := range r.Evidence.Inputs {
		what := string(in.Kind)
		if in.Gzip {
			what += ", gzip"
		}
		for _, k := range []Kind{KindText, KindDump, KindSnapshot, KindSegment, KindMetadata, KindAccessory, KindUnknown, KindUnreadable} {
			if n := in.Files[k]; n > 0 {
				what += fmt.Sprintf(", %d %s", n, k)
			}
		}
		rows = append(rows, []string{in.Path, phrase.Bytes(float64(in.Bytes)), what})
	}
	p.Table([]string{"INPUT", "SIZE", "WHAT"}, rows)
	for _, problem := range r.Evidence.Problems {
		p.Item("!", problem.Path+": "+problem.Text)
	}
}

func number64(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d", int64(v))
	}
	return fmt.Sprintf("%.3g", v)
}

// Markdown prints the report for a ticket.
func Markdown(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Autopsy: %s\n\n**%s**\n\n", r.Level, escape(r.Sentence))
	for _, d := range r.Details {
		fmt.Fprintf(&b, "%s\n\n", escape(d))
	}
	for _, fact := range r.facts() {
		fmt.Fprintf(&b, "- **%s**: %s\n", fact[0], escape(fact[1]))
	}
	b.WriteString("\n### What was found\n\n")
	rows := [][]string{}
	for i := range r.Horsemen {
		h := &r.Horsemen[i]
		rows = append(rows, []string{h.ID + " " + h.Name, statusText(h), finding(*h).text()})
	}
	markdownTable(&b, []string{"horseman", "status", "why"}, rows)
	if head, rows := r.suspectTable(); len(rows) > 0 {
		b.WriteString("\n### Where the entries are\n\n")
		markdownTable(&b, head, rows)
	}
	if head, rows := r.otherTable(true); len(rows) > 0 {
		b.WriteString("\n### What else is on the heap (estimates)\n\n")
		markdownTable(&b, head, rows)
	}
	if len(r.Remedies) > 0 {
		b.WriteString("\n### What to do\n\n")
	}
	for i := range r.Remedies {
		m := &r.Remedies[i]
		fmt.Fprintf(&b, "%d. *%s*: %s\n", i+1, m.Kind, escape(m.Title))
		if m.Command != "" {
			b.WriteString("\n   ```sh\n")
			for line := range strings.Lines(m.Command) {
				b.WriteString("   " + strings.ReplaceAll(report.Clean(strings.TrimRight(line, "\n")), "```", "'") + "\n")
			}
			b.WriteString("   ```\n\n")
		}
		for _, note := range remedyNotes(m) {
			fmt.Fprintf(&b, "   - %s: %s\n", note[0], escape(note[1]))
		}
	}
	if len(r.Blind) > 0 {
		b.WriteString("\n### Not seen\n\n")
	}
	for _, blind := range r.Blind {
		fmt.Fprintf(&b, "- %s (%s): %s\n", escape(blind.Matters), escape(blind.Source), escape(blind.Why))
	}
	fmt.Fprintf(&b, "\n<sub>%s, %s</sub>\n", escape(r.Tool), r.At.Format(time.RFC3339))
	_, err := io.WriteString(w, b.String())
	return err
}

// escape keeps names of strangers from being taken for markup.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "`", "'", "_", `\_`, "[", `\[`).Replace(report.Clean(s))
}

func markdownTable(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) {
		for i := range head {
			cell := ""
			if i < len(cells) {
				cell = escape(cells[i])
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, row := range rows {
		line(row)
	}
}

// finding is a horseman that can say itself.
type finding diagnose.Horseman

func statusText(h *diagnose.Horseman) string {
	if h.Confidence == "" {
		return string(h.Status)
	}
	return fmt.Sprintf("%s, %s", h.Status, h.Confidence)
}
