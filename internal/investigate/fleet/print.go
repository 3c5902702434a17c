package fleet

import (
	"bufio"
	"cmp"
	_ "embed" // the page
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
	"ottla/internal/investigate/report"
)

// JSON prints the report in the form that docs/fleet.md describes.
func JSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// whyMax is the longest reason in a terminal's table, in characters.
const whyMax = 90

// line is a row in words.
type line struct {
	Cluster, Labels, Broker, Births, Topic, Heap, Until, Level, Change, Why string
	Class                                                                   string
}

func (r *Row) line() line {
	l := line{
		Cluster: report.Clean(r.Name), Labels: report.Clean(labelWords(r.Labels)), Broker: "?", Births: r.birthWords(), Topic: "-", Heap: "?", Until: r.untilWords(),
		Level: string(r.Level), Change: r.changeWords(), Why: report.Clean(cmp.Or(r.Why, r.note())), Class: string(r.Level),
	}
	if r.Vendor != "" && r.Vendor != evidence.VendorUnknown || r.Version != "" {
		l.Broker = report.Clean(strings.TrimSpace(string(r.Vendor) + " " + r.Version))
	}
	if r.TopTopic != "" {
		l.Topic = report.Clean(r.TopTopic)
		if r.TopExplains > 0 {
			l.Topic += " " + phrase.Percent(min(r.TopExplains, 1))
		}
	}
	if r.HeapShare >= 0 {
		l.Heap = about(r.HeapAssumed) + phrase.Percent(r.HeapShare)
	}
	return l
}

func about(assumed bool) string {
	if assumed {
		return "~"
	}
	return ""
}

func (r *Row) birthWords() string {
	switch {
	case !r.BirthsKnown:
		return "?"
	case r.Asked == LevelSweep:
		return phrase.Count(r.BirthsPerSecond*secondsPerDay) + "/day"
	}
	return phrase.Rate(r.BirthsPerSecond)
}

func (r *Row) untilWords() string {
	switch r.UntilFull {
	case Never:
		return "never"
	case Unknown:
		return "?"
	}
	return about(r.HeapAssumed) + phrase.Span(r.UntilFull)
}

func (r *Row) changeWords() string {
	if r.Was != "" && r.Was != string(r.Level) {
		return r.Change + " (" + r.Was + ")"
	}
	return r.Change
}

// note is what a row says beside its numbers.
func (r *Row) note() string {
	switch {
	case r.Asked == LevelSweep && r.Level == diagnose.Armed:
		return "ask at level 1, or with --escalate"
	case r.Resumed:
		return "as of " + phrase.Clock(r.At)
	case r.Escalated:
		return "escalated"
	}
	return ""
}

func labelWords(labels map[string]string) string {
	var out []string
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

var heading = []string{"CLUSTER", "VENDOR", "BIRTHS", "TOP TOPIC", "HEAP", "OUT OF MEMORY", "LEVEL", "CHANGE", ""}

func (l *line) cells() []string {
	why := l.Why
	if utf8.RuneCountInString(why) > whyMax {
		why = string([]rune(why)[:whyMax-3]) + "..."
	}
	return []string{l.Cluster, l.Broker, l.Births, l.Topic, l.Heap, l.Until, l.Level, l.Change, why}
}

const levelColumn = 6

var colours = map[diagnose.Level]string{
	diagnose.Healthy: "\x1b[32m", diagnose.Armed: "\x1b[33m", diagnose.Storm: "\x1b[31m", diagnose.Inconclusive: "\x1b[35m", Unreachable: "\x1b[35m",
}

// Terminal prints the sentence and one line for each cluster, the most urgent first.
func Terminal(w io.Writer, r *Report, colour bool) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n\n", report.Clean(r.Sentence))
	rows := [][]string{slices.Clone(heading)}
	assumed := false
	for i := range r.Rows {
		l := r.Rows[i].line()
		rows = append(rows, l.cells())
		assumed = assumed || r.Rows[i].HeapAssumed
	}
	if len(r.Changes) == 0 {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], levelColumn+1, levelColumn+2)
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			if colour && n > 0 && i == levelColumn {
				cell = colours[r.Rows[n-1].Level] + cell + "\x1b[0m"
			}
			text.WriteString(cell + pad)
		}
		fmt.Fprintln(out, strings.TrimRight(text.String(), " "))
	}
	if assumed {
		fmt.Fprintln(out, "\n~ nothing told the size of the heap: taken for 6 GiB. `heap:` in the list says it.")
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "\nnote: %s\n", report.Clean(note))
	}
	return out.Flush()
}

// Markdown prints the report for a ticket or a chat.
func Markdown(w io.Writer, r *Report) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "**%s** (%s)\n\n", markdownCell(r.Sentence), phrase.Clock(r.At))
	head := slices.Clone(heading)
	head[len(head)-1] = "WHY"
	fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for i := range r.Rows {
		l := r.Rows[i].line()
		cells := l.cells()
		cells[len(cells)-1] = l.Why
		for j := range cells {
			cells[j] = markdownCell(cells[j])
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "\nNote: %s\n", markdownCell(note))
	}
	return out.Flush()
}

// markdownCell keeps names from being markup.
func markdownCell(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`).Replace(report.Clean(s))
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("fleet").Parse(pageText))

// HTML prints one self-contained page: no network, no script, dark and light, legible on a phone.
func HTML(w io.Writer, r *Report) error {
	page := struct {
		Report *Report
		When   string
		Lines  []line
	}{r, phrase.Clock(r.At), nil}
	for i := range r.Rows {
		page.Lines = append(page.Lines, r.Rows[i].line())
	}
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, page); err != nil {
		return err
	}
	return out.Flush()
}
