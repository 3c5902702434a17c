package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"ottla/bench/results"
)

// markdown writes everything but what is kept by hand.
func markdown(run *results.Run) []byte {
	w := &bytes.Buffer{}
	var views []*view
	for _, s := range run.Sections {
		views = append(views, viewOf(s, run.Samples))
	}
	preface(w, run)
	summary(w, run, views)
	ownGoals(w, views)
	losses(w, views)
	machine(w, run)
	for _, v := range views {
		v.write(w, run)
	}
	return w.Bytes()
}

func preface(w *bytes.Buffer, run *results.Run) {
	fmt.Fprint(w, "# Ottla beside Apache Kafka\n\nOne program measured both, with the same client, on one machine. Each section is of one run, and says of which if that was not the last.\n"+
		"One broker at a time is loaded; in most sections the other one runs beside it and idles. Client and broker share the cores: what a broker does not use, the client has.\n"+
		"Each section says how many rounds it had. A cell is the median of its rounds, with the least and the greatest in brackets. A ratio is Ottla's median divided by Kafka's.\n"+
		"*Null* is a server that answers and stores nothing: what a client reaches against it is the limit of the client and of loopback. "+withDisk(run, "*Null, fsync* writes what it gets to one file over and over, all that waits at once, "+
		"and answers when it is durable: the limit of the client, of loopback and of the disk. ")+"**Bold** is where Ottla loses.\n\n"+
		"To measure it again, on your machine (with Go, a C compiler, Java, Maven and npm; the report is written anew, from JSON beside it):\n\n```sh\nmake bench\n")
	if len(run.Sections) > 0 {
		names := []string{run.Sections[0].Name}
		if len(run.Sections) > 1 {
			names = append(names, run.Sections[len(run.Sections)-1].Name)
		}
		fmt.Fprintf(w, "go run ./bench --sections %s --merge   # some of it, the rest as it was; --help says more\n", strings.Join(names, ","))
	}
	fmt.Fprint(w, "```\n\n")
	if len(run.Sections) > 1 {
		var names []string
		for _, s := range run.Sections {
			names = append(names, "`"+s.Name+"`")
		}
		fmt.Fprintf(w, "Sections: %s.\n\n", strings.Join(names, ", "))
	}
}

// withDisk is a sentence about the null server with fsync, if the run has it.
func withDisk(run *results.Run, sentence string) string {
	if slices.ContainsFunc(run.Samples, func(s results.Sample) bool { return s.Broker == results.NullDisk }) {
		return sentence
	}
	return ""
}

func machine(w *bytes.Buffer, run *results.Run) {
	fmt.Fprintf(w, "## Machine and versions\n\n| | |\n|---|---|\n")
	for _, of := range []map[string]string{run.Machine, run.Versions} {
		for _, k := range sortedKeys(of) {
			fmt.Fprintf(w, "| %s | %s |\n", plain(k), plain(of[k]))
		}
	}
	fmt.Fprintf(w, "| began, ended | %s, %s |\n| rounds asked for | %d |\n", plain(run.Began), plain(run.Ended), run.Rounds)
	if run.Commit != "" {
		fmt.Fprintf(w, "| commit | %s |\n", plain(run.Commit))
	}
	if run.Command != "" {
		fmt.Fprintf(w, "| command | `%s` |\n", strings.NewReplacer("`", "'", "|", "\\|", "\n", " ").Replace(run.Command))
	}
	fmt.Fprintln(w)
	for _, s := range run.Setup {
		fmt.Fprintf(w, "- %s: %s\n", plain(s.Name), codeLines(s.Value))
	}
	if len(run.Setup) > 0 {
		fmt.Fprintln(w)
	}
}

// codeLines is what a program was given, as it was: each line in ticks.
func codeLines(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, code(line))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// code is a line in more ticks than it has itself in one place.
func code(line string) string {
	if !strings.Contains(line, "`") {
		return "`" + line + "`"
	}
	ticks := "``"
	for strings.Contains(line, ticks) {
		ticks += "`"
	}
	return ticks + " " + line + " " + ticks
}

func (v *view) write(w *bytes.Buffer, run *results.Run) {
	fmt.Fprintf(w, "## %s\n\n%s\n\n", v.Title, strings.TrimSpace(v.About))
	if v.Began != "" && v.Began != run.Began {
		fmt.Fprintf(w, "Measured in an earlier run, begun %s, at commit %s, %d rounds asked for.\n\n", plain(v.Began), plain(v.Commit), v.Rounds)
	}
	if len(v.rows) == 0 {
		fmt.Fprint(w, "Not measured in this run.\n\n")
		v.writeNotes(w)
		return
	}
	if text := v.roundsText(); text != "" {
		fmt.Fprintf(w, "%s\n\n", text)
	}
	for _, m := range v.Metrics {
		v.table(w, m)
		if svg, err := v.draw(m); err == nil && svg != nil && slices.Contains(v.Chart.Metric, m.Name) {
			fmt.Fprintf(w, "![%s: %s](%s/%s)\n\n", plain(v.Title), plain(m.Title), picturesDir, chartFile(v.Name, m.Name))
		}
	}
	if slices.ContainsFunc(v.rows, func(r *row) bool { return r.series }) {
		axis := v.Chart.XTitle
		if axis == "" {
			axis = "the axis"
		}
		fmt.Fprintf(w, "Sampled along %s: the tables have the last value of each round.\n\n", axis)
	}
	v.writeNotes(w)
}

// roundsText is how many rounds the rows really had, and who was first in them.
func (v *view) roundsText() string {
	least, most := 0, 0
	for _, r := range v.rows {
		if r.rounds > 0 && (least == 0 || r.rounds < least) {
			least = r.rounds
		}
		most = max(most, r.rounds)
	}
	text := fmt.Sprintf("%d rounds", most)
	switch {
	case most == 0:
		return ""
	case most == 1:
		text = "One round"
	case least < most:
		text = fmt.Sprintf("%d to %d rounds", least, most)
	}
	if v.warmed {
		text += ", after a warm-up that is not counted"
	}
	kafka, ottla := v.first[results.Kafka], v.first[results.Ottla]
	switch {
	case kafka && ottla && most > 1:
		text += ", some with Kafka first and some with Ottla first"
	case kafka && ottla:
		text += ", in some rows Kafka before Ottla, in others after it"
	case kafka:
		text += ", Kafka before Ottla where both are measured"
	case ottla:
		text += ", Ottla before Kafka where both are measured"
	}
	if most == 1 {
		text += ": how much another would differ is not known"
	}
	return text + "."
}

// table writes one metric: a row each, a column for each broker that has something.
func (v *view) table(w *bytes.Buffer, m results.Metric) {
	var shown []results.Broker
	for _, b := range brokers {
		if v.has(m.Name, b) {
			shown = append(shown, b)
		}
	}
	if len(shown) == 0 {
		return
	}
	head := []string{plain(v.Row)}
	for _, b := range shown {
		head = append(head, brokerNames[b])
	}
	all := v.verdicts(m)
	ratios := slices.ContainsFunc(all, func(d verdict) bool { return d.compared })
	nulls := m.Better == results.Higher && slices.ContainsFunc(all, func(d verdict) bool { return d.ofNull > 0 })
	if ratios && m.Better == results.Flat {
		head = append(head, "Ottla, × first row")
		if slices.Contains(shown, results.Kafka) {
			head = append(head, "Kafka, × first row")
		}
	} else if ratios {
		head = append(head, "Ottla / Kafka")
	}
	if nulls {
		head = append(head, "Ottla, of null")
	}
	disks := m.Reach > 0 && slices.ContainsFunc(all, func(d verdict) bool { return d.ofNullDisk > 0 })
	if disks {
		head = append(head, "Ottla / Null, fsync")
	}
	fmt.Fprintf(w, "**%s**%s\n\n| %s |\n|---%s|\n", plain(withUnit(m.Title, m.Unit)), better(m), strings.Join(head, " | "), strings.Repeat("|---", len(head)-1))
	for _, d := range all {
		line := []string{plain(d.row.name)}
		for _, b := range shown {
			line = append(line, cellText(d.row.at(m.Name, b), m.Better, b == results.Ottla && d.lost)+d.row.fewer(m, b))
		}
		line = append(line, ratioTexts(m, d, ratios, slices.Contains(shown, results.Kafka))...)
		if nulls {
			line = append(line, percent(d.ofNull))
		}
		if disks {
			line = append(line, times(d.ofNullDisk))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
	}
	fmt.Fprintln(w)
}

func better(m results.Metric) string {
	text := map[results.Better]string{results.Higher: "more is better", results.Lower: "less is better", results.Flat: "should not grow"}[m.Better]
	if text == "" {
		return ""
	}
	if m.Reach > 0 {
		text += "; goal: " + goal(m)
	}
	if m.Most > 0 {
		text += "; goal for Ottla alone: " + ownGoal(m)
	}
	return ", " + text
}

func ratioTexts(m results.Metric, d verdict, ratios, kafka bool) (out []string) {
	if !ratios {
		return nil
	}
	if m.Better == results.Flat {
		out = append(out, goalText(times(d.growth), d))
		if kafka {
			out = append(out, times(d.kafkG))
		}
		return out
	}
	if !d.compared {
		return []string{"-"}
	}
	text := number(d.ratio)
	if d.lost {
		text = "**" + text + "**"
	}
	return []string{goalText(text, d)}
}

func goalText(text string, d verdict) string {
	if d.short {
		return text + ", short"
	}
	return text
}

func times(f float64) string {
	if f == 0 {
		return "-"
	}
	return number(f)
}

func percent(share float64) string {
	if share == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", math.Round(share*100))
}

// cellText is a median with its range, a text, or both; of a fact, the text alone.
func cellText(c *cell, better results.Better, bold bool) string {
	if c.empty() {
		return "-"
	}
	var parts []string
	if c.n > 0 && (better != results.Fact || len(c.texts) == 0) {
		text := number(c.median)
		if bold {
			text = "**" + text + "**"
		}
		if c.n > 1 {
			text += " [" + number(c.min) + " - " + number(c.max) + "]"
		}
		parts = append(parts, text)
	}
	for _, t := range c.texts {
		parts = append(parts, plain(t))
	}
	return strings.Join(parts, "; ")
}

// fewer says of how many rounds a median is, where it is not of all that the row had.
func (r *row) fewer(m results.Metric, b results.Broker) string {
	if c := r.at(m.Name, b); c.number() && c.rounds < r.rounds {
		return fmt.Sprintf(" (%d of %d rounds)", c.rounds, r.rounds)
	}
	return ""
}

func (v *view) writeNotes(w *bytes.Buffer) {
	if v.notNumbers > 0 {
		fmt.Fprintf(w, "- %d values were not numbers and are left out.\n", v.notNumbers)
	}
	for _, why := range v.ended {
		fmt.Fprintf(w, "- The section was not measured to its end: %s\n", plain(shorten(why, noteRunesMax)))
	}
	for _, n := range v.notes {
		var rounds []string
		for _, r := range n.rounds {
			rounds = append(rounds, fmt.Sprint(r))
		}
		which := "round " + strings.Join(rounds, ", ")
		if len(rounds) == 1 && n.rounds[0] == 0 {
			which = "warm-up"
		}
		fmt.Fprintf(w, "- %s, %s, %s: %s\n", plain(n.row), brokerNames[n.broker], which, plain(shorten(n.text, noteRunesMax)))
	}
	if v.notNumbers > 0 || len(v.ended)+len(v.notes) > 0 {
		fmt.Fprintln(w)
	}
}
