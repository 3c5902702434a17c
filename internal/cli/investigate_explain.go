package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/explain"
)

// explainWidth is how wide the prose of a page is printed; code is never wrapped.
const explainWidth = 96

func newInvestigateExplain() *cobra.Command {
	markdown := false
	cmd := &cobra.Command{
		Use: "explain [HORSEMAN]", Short: "What each horseman is, how to confirm it by hand, and the repair for each client library",
		Example:           "  ottla investigate explain\n  ottla investigate explain H1\n  ottla investigate explain --markdown H1 > H1.md",
		ValidArgsFunction: cobra.FixedCompletions(explain.IDs(), cobra.ShellCompDirectiveNoFileComp),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage64Error{fmt.Errorf("ottla investigate explain takes one horseman, got %q", args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return explainIndex(cmd.OutOrStdout())
			}
			page, found := explain.Page(args[0])
			switch {
			case !found:
				return usage64Error{fmt.Errorf("no page on %q: there are %s", args[0], strings.Join(explain.IDs(), ", "))}
			case markdown:
				_, err := io.WriteString(cmd.OutOrStdout(), page)
				return err
			}
			return plainPage(cmd.OutOrStdout(), page)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage64Error{err} })
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the page as Markdown")
	return cmd
}

func explainIndex(w io.Writer) error {
	var out strings.Builder
	for _, id := range explain.IDs() {
		fmt.Fprintf(&out, "%s\n", explain.Title(id))
	}
	_, err := io.WriteString(w, out.String()+"\n`ottla investigate explain H1` prints one page.\n")
	return err
}

// plainPage prints a page without Markdown's marks: headings underlined, code indented, tables in columns, prose wrapped.
func plainPage(w io.Writer, page string) error {
	p := pagePrinter{w: bufio.NewWriter(w)}
	for line := range strings.Lines(page) {
		p.line(strings.TrimRight(line, "\r\n"))
	}
	p.flush()
	return p.w.Flush() // a bufio.Writer keeps its first error
}

// pagePrinter holds the paragraph or table that is not complete yet.
type pagePrinter struct {
	w     *bufio.Writer
	code  bool
	prose []string
	item  bool
	rows  [][]string
}

func (p *pagePrinter) line(line string) {
	switch {
	case strings.HasPrefix(line, "```"):
		p.flush()
		p.code = !p.code
	case p.code:
		fmt.Fprintln(p.w, strings.TrimRight("    "+line, " "))
	case line == "":
		p.flush()
		fmt.Fprintln(p.w)
	case strings.HasPrefix(line, "#"):
		p.flush()
		p.heading(line)
	case strings.HasPrefix(line, "|"):
		if strings.Trim(line, "|-: ") != "" {
			p.rows = append(p.rows, cells(line))
		}
	case strings.HasPrefix(line, "- "):
		p.flush()
		p.item, p.prose = true, strings.Fields(line)
	default:
		p.prose = append(p.prose, strings.Fields(line)...)
	}
}

func cells(line string) []string {
	var out []string
	for _, c := range strings.Split(strings.Trim(line, "| "), "|") {
		out = append(out, strings.TrimSpace(c))
	}
	return out
}

func (p *pagePrinter) heading(line string) {
	text := strings.TrimSpace(strings.TrimLeft(line, "#"))
	fmt.Fprintln(p.w, text)
	switch {
	case strings.HasPrefix(line, "# "):
		fmt.Fprintln(p.w, strings.Repeat("=", utf8.RuneCountInString(text)))
	case strings.HasPrefix(line, "## "):
		fmt.Fprintln(p.w, strings.Repeat("-", utf8.RuneCountInString(text)))
	}
}

func (p *pagePrinter) flush() {
	p.table()
	column, hang := 0, ""
	if p.item {
		hang = "  "
	}
	for i, word := range p.prose {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > explainWidth:
			fmt.Fprint(p.w, "\n", hang)
			column = len(hang)
		default:
			fmt.Fprint(p.w, " ")
			column++
		}
		fmt.Fprint(p.w, word)
		column += n
	}
	if len(p.prose) > 0 {
		fmt.Fprintln(p.w)
	}
	p.prose, p.item = nil, false
}

// table prints columns, or a list if they would be wider than a page.
func (p *pagePrinter) table() {
	rows := p.rows
	p.rows = nil
	var widths []int
	total := 0
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := utf8.RuneCountInString(c); n > widths[i] {
				total, widths[i] = total+n-widths[i], n
			}
		}
	}
	if total+2*len(widths) > explainWidth {
		p.list(rows)
		return
	}
	for _, row := range rows {
		var out strings.Builder
		for i, c := range row {
			out.WriteString("  " + c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		fmt.Fprintln(p.w, strings.TrimRight(out.String(), " "))
	}
}

// list prints each row as "- first: second; heading of the third: third".
func (p *pagePrinter) list(rows [][]string) {
	for _, row := range rows[1:] {
		text := "- " + row[0] + ":"
		for i, c := range row[1:] {
			if i > 0 && i+1 < len(rows[0]) {
				text += "; " + rows[0][i+1] + ":"
			}
			text += " " + c
		}
		p.item, p.prose = true, strings.Fields(text)
		p.flush()
	}
}
