package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
)

// Markdown prints the verdict for a ticket: everything that Terminal prints, with its ledger, in GitHub's dialect.
func Markdown(w io.Writer, v *diagnose.Verdict) error {
	m := &markdown{w: bufio.NewWriter(w)}
	m.line("## %s: %s", strings.ToUpper(string(v.Level)), Sentence(v))
	for _, d := range v.Details {
		m.line("%s\n", d)
	}
	m.table([]string{"", ""}, [][]string{
		{"cluster", fmt.Sprintf("%s (%s %s)", or(v.Cluster.ID, strings.Join(v.Bootstrap, ",")), v.Cluster.Vendor, v.Version)},
		{"scanned", fmt.Sprintf("%s by %s: %s, %s, %s", phrase.Clock(v.At), v.Tool, plural(v.Brokers, "broker"), plural(v.Topics, "topic"), plural(v.Partitions, "partition"))},
		{"births", birthsLine(&v.Births)}, {"onset", onsetLine(&v.Onset)}, {"an entry", lifeLine(&v.Life)},
	})
	m.section("Findings", []string{"rule", "state", "confidence", "what was seen"}, horsemanRows(v))
	m.section("Suspects", suspectHead, suspectRows(v))
	var who [][]string
	for i := range v.Suspects {
		for _, s := range v.Suspects[i].Who {
			who = append(who, []string{v.Suspects[i].Name, s.What + " " + s.Name, string(s.Confidence), s.Source, s.Why})
		}
	}
	m.section("Who", []string{"topic", "suspect", "confidence", "source", "why"}, who)
	m.heap(v)
	var others [][]string
	for _, o := range v.Others {
		others = append(others, []string{o.Name, string(o.Status), o.Why})
	}
	m.section("What else it could be", []string{"cause", "state", "why"}, others)
	m.remedies(v)
	var blind [][]string
	for _, b := range v.Blind {
		blind = append(blind, []string{b.Source, string(b.State), b.Why, b.Permission, b.Matters})
	}
	m.section("Could not be seen", []string{"source", "state", "why", "what would allow it", "without it"}, blind)
	m.section("Ledger", []string{"number", "value", "source", "how"}, ledgerRows(v))
	return m.w.Flush()
}

type markdown struct{ w *bufio.Writer }

func (m *markdown) line(format string, args ...any) {
	for i, a := range args {
		if s, is := a.(string); is {
			args[i] = escape(s)
		}
	}
	fmt.Fprintf(m.w, format+"\n", args...)
}

func (m *markdown) section(title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	m.line("\n### %s\n", title)
	m.table(head, rows)
}

func (m *markdown) table(head []string, rows [][]string) {
	m.row(head)
	m.row(slicesOf("---", len(head)))
	for _, r := range rows {
		m.row(r)
	}
}

func (m *markdown) row(cells []string) {
	for _, c := range cells {
		_, _ = m.w.WriteString("| " + strings.ReplaceAll(escape(c), "|", "\\|") + " ")
	}
	_, _ = m.w.WriteString("|\n")
}

func (m *markdown) heap(v *diagnose.Verdict) {
	if v.Life.Bounded != "" {
		return
	}
	var rows [][]string
	for i := range v.Heap {
		rows = append(rows, []string{heapLine(&v.Heap[i])})
	}
	m.section("Heap", []string{"by broker, fullest first"}, rows)
	if v.Worst == nil {
		return
	}
	if len(v.Worst.Sizes) > 0 {
		m.section("If the heap is", []string{"-Xmx", "plateau takes", "full in"}, sizeRows(v.Worst))
	}
	if v.Worst.BombBytes > 0 {
		m.line("\n%s", bombLine(v.Worst))
	}
}

func (m *markdown) remedies(v *diagnose.Verdict) {
	if len(v.Remedies) == 0 {
		return
	}
	m.line("\n### What to do\n")
	for i := range v.Remedies {
		r := &v.Remedies[i]
		m.line("%d. **%s**: %s", i+1, r.Kind, r.Title)
		for _, part := range remedyParts(r) {
			m.line("   - %s: %s", part[0], part[1])
		}
		if r.Command != "" {
			fence := "```"
			for strings.Contains(r.Command, fence) {
				fence += "`"
			}
			_, _ = fmt.Fprintf(m.w, "\n   %ssh\n", fence)
			for line := range strings.Lines(r.Command) {
				_, _ = m.w.WriteString("   " + Clean(strings.TrimRight(line, "\n")) + "\n")
			}
			_, _ = fmt.Fprintf(m.w, "   %s\n\n", fence)
		}
	}
}

func horsemanRows(v *diagnose.Verdict) [][]string {
	var rows [][]string
	for i := range v.Horsemen {
		h := &v.Horsemen[i]
		text := h.Sentence
		if h.Why != "" {
			text = strings.TrimSpace(text + " (" + h.Why + ")")
		}
		rows = append(rows, []string{h.ID + " " + h.Name, string(h.Status), string(h.Confidence), text})
	}
	return rows
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// escape keeps a stranger's name from being markup: what begins a link, a tag, emphasis or code.
func escape(s string) string {
	return markup.Replace(Clean(s))
}

var markup = strings.NewReplacer("\\", "\\\\", "<", "&lt;", ">", "&gt;", "[", "\\[", "]", "\\]", "`", "\\`", "*", "\\*", "_", "\\_")
