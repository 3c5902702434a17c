// Command report makes the report card of a run of the compatibility suites: JSON lines in, Markdown out.
// It judges nothing: every line that failed or was left out is in the card, with its reason.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// result is one check; only group, client and what are always there.
type result struct {
	Group   string `json:"group"`
	Client  string `json:"client"`
	Version string `json:"version"`
	What    string `json:"what"`
	OK      bool   `json:"ok"`
	Why     string `json:"why"`
	Area    string `json:"area"`   // what many similar checks are about
	Remark  string `json:"remark"` // what the reader should know of the client
	Skip    bool   `json:"skip"`   // left out: Why says why
}

// row sums up one client.
type row struct {
	group, client, version  string
	areas, remarks          []string
	passed, failed, skipped int
	failures, skips         []result
}

const (
	areasMax     = 12 // more are counted, not named
	whyMax       = 400
	lineBytesMax = 1 << 20
)

// sections are the groups in the order of the card; others follow.
var sections = []struct{ group, title, text string }{
	{"clients", "Clients", "Each with its default settings, in the current version of its package manager. What is written is read back record by record; " +
		"the broker is killed with -9 and restarted in between. In a group three members read while records are written: one is added, one is killed with -9, " +
		"one is restarted, the broker is killed. Every record must be seen, and none again that lies before an acknowledged commit."},
	{"tools", "Tools of Apache Kafka", "The classes behind the scripts, judged by what they print and how they end."},
	{"ecosystem", "Around the broker", "Systems that run on a broker, unmodified."},
	{"investigation", "Storm, investigation and autopsy", "A storm of producers against Apache Kafka of six versions, and against this broker; what the investigation says while it runs, " +
		"the autopsy of what is left, and the remedy, applied. The first column is the broker that was examined."},
	{"suites", "Test suites of others", "Run as their packages bring them."},
	{"broker", "The broker itself", ""},
}

func main() {
	in := flag.String("results", "", "`file` with JSON lines")
	out := flag.String("out", "docs/compatibility.md", "`file` to write")
	broker := flag.String("broker", "", "the broker's `name` and version")
	strict := flag.Bool("strict", false, "end with code 1 if a check failed")
	flag.Parse()
	failed, err := run(*in, *out, *broker)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	if failed > 0 && *strict {
		os.Exit(1)
	}
}

func run(in, out, broker string) (failed int, err error) {
	f, err := os.Open(in)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	rows, err := read(f)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return 0, errors.New("no results")
	}
	card, passed, failed, skipped := card(rows, broker)
	fmt.Printf("report card %s: %d passed, %d failed, %d left out\n", out, passed, failed, skipped)
	return failed, os.WriteFile(out, []byte(card), 0o644)
}

func read(r io.Reader) ([]*row, error) {
	byClient := map[string]*row{}
	var rows []*row
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineBytesMax)
	for n := 1; lines.Scan(); n++ {
		var res result
		if err := json.Unmarshal(lines.Bytes(), &res); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if res.Group == "" || res.Client == "" || res.What == "" {
			return nil, fmt.Errorf("line %d: no group, client or what", n)
		}
		key := res.Group + "\x00" + res.Client
		if byClient[key] == nil {
			byClient[key] = &row{group: res.Group, client: res.Client}
			rows = append(rows, byClient[key])
		}
		byClient[key].add(res)
	}
	return rows, lines.Err()
}

func (r *row) add(res result) {
	if r.version == "" {
		r.version = res.Version
	}
	skip := res.Skip || skippedByWord(res)
	if !skip {
		area := cmp.Or(res.Area, short(res))
		if res.Group == "suites" && res.Area == "" {
			area = "its tests, but those that are left out"
		}
		if !slices.Contains(r.areas, area) {
			r.areas = append(r.areas, area)
		}
	}
	if res.Remark != "" && !slices.Contains(r.remarks, res.Remark) {
		r.remarks = append(r.remarks, res.Remark)
	}
	switch {
	case skip:
		r.skipped++
		r.skips = append(r.skips, res)
	case res.OK:
		r.passed++
	default:
		r.failed++
		r.failures = append(r.failures, res)
	}
}

// short is what was checked without the client's name, which stands beside it.
func short(res result) string {
	name, _, _ := strings.Cut(res.Client, " (")
	for _, prefix := range []string{res.Client + ": ", res.Client + " ", name + ": ", name + " "} {
		if rest, found := strings.CutPrefix(res.What, prefix); found && rest != "" {
			return rest
		}
	}
	return res.What
}

// skippedByWord: some runners have no field for what they leave out.
func skippedByWord(res result) bool {
	return !res.OK && strings.HasPrefix(res.Why, "skipped")
}

func card(rows []*row, broker string) (text string, passed, failed, skipped int) {
	var b strings.Builder
	for _, r := range rows {
		passed, failed, skipped = passed+r.passed, failed+r.failed, skipped+r.skipped
	}
	b.WriteString("# Compatibility\n\n")
	b.WriteString("<!-- Generated by `make compat-all`; do not edit. -->\n\n")
	b.WriteString("Other people's clients, tools and tests against one Ottla broker, as `make compat-all` ran them. Nothing that failed is left out.\n\n")
	if broker != "" {
		fmt.Fprintf(&b, "Broker: %s. ", escape(broker))
	}
	fmt.Fprintf(&b, "%d checks passed, %d failed, %d were left out.\n", passed, failed, skipped)
	known := map[string]bool{}
	for _, s := range sections {
		known[s.group] = true
		section(&b, s.title, s.text, ofGroup(rows, s.group))
	}
	for _, r := range rows {
		if !known[r.group] {
			known[r.group] = true
			section(&b, r.group, "", ofGroup(rows, r.group))
		}
	}
	list(&b, "Failed", rows, func(r *row) []result { return r.failures })
	list(&b, "Left out", rows, func(r *row) []result { return r.skips })
	return b.String(), passed, failed, skipped
}

func ofGroup(rows []*row, group string) (out []*row) {
	for _, r := range rows {
		if r.group == group {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *row) int { return cmp.Compare(a.client, b.client) })
	return out
}

func section(b *strings.Builder, title, text string, rows []*row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if text != "" {
		fmt.Fprintf(b, "%s\n\n", text)
	}
	b.WriteString("| client | version | what was run | passed | failed | left out |\n| --- | --- | --- | ---: | ---: | ---: |\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %s | %d | %d | %d |\n", escape(r.client), escape(r.version), escape(r.whatWasRun()), r.passed, r.failed, r.skipped)
	}
}

func (r *row) whatWasRun() string {
	areas := r.areas
	more := ""
	if len(areas) > areasMax {
		more = fmt.Sprintf("; and %d more", len(areas)-areasMax)
		areas = areas[:areasMax]
	}
	text := strings.Join(areas, "; ") + more
	if len(r.remarks) > 0 {
		text += ". Of this client: " + strings.Join(r.remarks, "; ")
	}
	return text
}

func list(b *strings.Builder, title string, rows []*row, of func(*row) []result) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	empty := true
	for _, r := range rows {
		for _, res := range of(r) {
			empty = false
			fmt.Fprintf(b, "- %s: %s: %s\n", escape(res.Client), escape(short(res)), escape(cut(cmp.Or(res.Why, "no reason given"))))
		}
	}
	if empty {
		b.WriteString("Nothing.\n")
	}
}

func cut(s string) string {
	if len(s) <= whyMax {
		return s
	}
	return strings.ToValidUTF8(s[:whyMax], "") + " ..."
}

// escape makes one line of table text of anything.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`, "`", "'").Replace(strings.Join(strings.Fields(s), " "))
}
