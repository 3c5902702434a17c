package report

import (
	"bufio"
	"io"
	"strings"
	"unicode"

	"ottla/internal/investigate/diagnose"
)

const (
	widthDefault = 100
	widthLeast   = 40
	cellMax      = 60 // columns of one table cell; longer ones are cut with an ellipsis
)

// Printer lays out text for a terminal: paragraphs, facts, findings, tables, commands. It removes control characters from everything it is given, since
// names of topics, clients and principals come from strangers. Not for use by several goroutines.
type Printer struct {
	w     *bufio.Writer
	style Style
}

// NewPrinter returns a printer that writes to w. Err must be called at the end.
func NewPrinter(w io.Writer, s Style) *Printer {
	if s.Width == 0 {
		s.Width = widthDefault
	}
	s.Width = max(s.Width, widthLeast)
	return &Printer{w: bufio.NewWriter(w), style: s}
}

// Err writes out what is buffered and returns the first error of writing.
func (p *Printer) Err() error { return p.w.Flush() }

// The colours, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
	cyan   = "36"
)

func (p *Printer) paint(colour, s string) string {
	if !p.style.Colour || s == "" || colour == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// Clean removes what could move a terminal's cursor or end a line.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '·'
		}
		return r
	}, s)
}

// Line writes one line as it is.
func (p *Printer) Line(s string) { _, _ = p.w.WriteString(s + "\n") }

var levelColours = map[diagnose.Level]string{diagnose.Healthy: green, diagnose.Armed: yellow, diagnose.Storm: red, diagnose.Inconclusive: yellow}

// Headline writes the level and the sentence that is the verdict.
func (p *Printer) Headline(l diagnose.Level, sentence string) {
	head := strings.ToUpper(string(l))
	p.wrap(p.paint(levelColours[l], head), runes(head), 2, sentence, bold)
}

// Paragraph writes wrapped text.
func (p *Printer) Paragraph(s string) { p.wrap("", 0, 0, s, "") }

// Section writes a heading.
func (p *Printer) Section(s string) { p.Line(p.paint(bold, Clean(s))) }

// Fact writes a named line, its text hanging behind the name.
func (p *Printer) Fact(name, text string) {
	const column = 11
	p.wrap("  "+p.paint(cyan, name)+strings.Repeat(" ", max(0, column-2-runes(name))), column, 1, text, "")
}

var statusColours = map[diagnose.Status]string{diagnose.Found: red, diagnose.Half: yellow, diagnose.Absent: green, diagnose.NotChecked: dim}

// Finding writes one rule's outcome. A long status moves the text only on its own line.
func (p *Printer) Finding(id, name string, status diagnose.Status, statusText, text string) {
	left := strings.TrimSpace(id + " " + name)
	const names, column = 28, 48
	head := "  " + Clean(left) + strings.Repeat(" ", max(1, names-2-runes(left)))
	width := runes(head) + runes(statusText)
	head += p.paint(statusColours[status], statusText)
	head += strings.Repeat(" ", max(0, column-1-width))
	if p.style.Width < 2*column {
		p.Line(strings.TrimRight(head, " "))
		p.wrap("     ", 5, 0, text, "")
		return
	}
	p.wrap(head, max(width, column-1), 1, text, "")
}

// Item writes a list item behind its mark, which may be empty.
func (p *Printer) Item(mark, text string) {
	head := "  " + mark
	p.wrap(head, runes(head), 1, text, "")
}

// Note writes a named remark below an item.
func (p *Printer) Note(name, text string) {
	head := "     " + name + ":"
	p.wrap(p.paint(dim, head), runes(head), 1, text, "")
}

// Command writes lines to paste, never wrapped.
func (p *Printer) Command(s string) {
	if s == "" {
		return
	}
	for line := range strings.Lines(s) {
		p.Line("       " + p.paint(cyan, Clean(strings.TrimRight(line, "\n"))))
	}
}

// wrap writes head, a gap, and text in the columns behind them; further lines hang below the text. width is how many columns head
// takes.
func (p *Printer) wrap(head string, width, gap int, text, colour string) {
	hang := min(width+gap, p.style.Width/2)
	before, used, first := head+strings.Repeat(" ", gap), width+gap, true
	var words strings.Builder
	flush := func() {
		p.Line(strings.TrimRight(before+p.paint(colour, words.String()), " "))
		words.Reset()
	}
	for _, word := range strings.Fields(Clean(text)) {
		n := runes(word)
		if !first && used+1+n > p.style.Width {
			flush()
			before, used, first = strings.Repeat(" ", hang), hang, true
		}
		if !first {
			words.WriteByte(' ')
			used++
		}
		words.WriteString(word)
		used, first = used+n, false
	}
	flush()
}

// Table writes rows under a head, columns as wide as their widest cell up to cellMax.
func (p *Printer) Table(head []string, rows [][]string) {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = runes(h)
	}
	clean := make([][]string, len(rows))
	for r, row := range rows {
		clean[r] = make([]string, len(head))
		for i := range head {
			if i < len(row) {
				clean[r][i] = cut(Clean(row[i]), cellMax)
			}
			widths[i] = max(widths[i], runes(clean[r][i]))
		}
	}
	p.row(head, widths, dim)
	for _, row := range clean {
		p.row(row, widths, "")
	}
}

func (p *Printer) row(cells []string, widths []int, colour string) {
	var line strings.Builder
	for i, c := range cells {
		line.WriteString("  " + c + strings.Repeat(" ", widths[i]-runes(c)))
	}
	text := strings.TrimRight(line.String(), " ")
	if colour != "" {
		text = p.paint(colour, text)
	}
	p.Line(text)
}

func cut(s string, columns int) string {
	if runes(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-1]) + "…"
}
