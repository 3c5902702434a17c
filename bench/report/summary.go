package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"ottla/bench/results"
)

// summary is a line for each metric that compares or has a goal, and for each section without a value.
func summary(w *bytes.Buffer, run *results.Run, views []*view) {
	fmt.Fprint(w, "## Summary\n\nRatios are Ottla / Kafka. A throughput passes as well at 95 % of the null server's: there the client itself is the limit. Where Kafka is faster than the null server, that is no limit."+
		withDisk(run, " Rows near *Null, fsync* are counted beside the goals; that alone makes none of them met.")+"\n\n"+
		"| | Goal | Median of the rows | Worst row | Result |\n|---|---|---|---|---|\n")
	for _, v := range views {
		lines := 0
		for _, m := range v.Metrics {
			if m.Better == results.Fact {
				continue
			}
			if s := summarize(v, m); s.result != "" {
				fmt.Fprintf(w, "| %s: %s | %s | %s | %s | %s |\n", v.link(), plain(m.Title), goal(m), s.middle, s.worst, s.result+v.cutShort())
				lines++
			}
		}
		if lines == 0 && !v.measured() {
			fmt.Fprintf(w, "| %s | none | - | - | **not measured** |\n", v.link())
		}
	}
	fmt.Fprintln(w)
}

// cutShort is for the result of a section that was not measured to its end.
func (v *view) cutShort() string {
	if len(v.ended) > 0 && v.measured() {
		return "; **the section ended early**"
	}
	return ""
}

// open tells whether something is not known that the summary should know: a section that was not measured, or not to its end,
// or a goal without a row.
func (v *view) open() bool {
	return !v.measured() || len(v.ended) > 0 || slices.ContainsFunc(v.Metrics, func(m results.Metric) bool {
		return m.Reach > 0 && summarize(v, m).rows == 0
	})
}

func goal(m results.Metric) string {
	switch {
	case m.Reach == 0 && m.Better == results.Flat:
		return "flat"
	case m.Reach == 0:
		return "none"
	case m.Better == results.Flat:
		return "at most " + goalNumber(m.Reach) + " × the first row"
	case m.Better == results.Higher:
		return "at least " + goalNumber(m.Reach)
	}
	return "at most " + goalNumber(m.Reach)
}

// goalNumber has no zeros that say nothing: a goal is exact.
func goalNumber(f float64) string {
	text := number(f)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// summed is a line of the summary.
type summed struct {
	rows                  int // that are compared or should be
	middle, worst, result string
}

func summarize(v *view, m results.Metric) summed {
	var ratios []float64
	met, lost, better, missing, alone, null, near := 0, 0, 0, 0, 0, 0, 0
	all := v.verdicts(m)
	worst := verdict{}
	for _, d := range all {
		switch {
		case d.missingOttla:
			missing++
		case !d.compared:
			alone += btoi(d.ottla.number() && !d.kafka.number())
		default:
			ratios = append(ratios, d.ratio)
			met += btoi(!d.short)
			lost += btoi(d.lost)
			better += btoi(!d.lost && d.ratio != 1)
			null += btoi(d.savedByNull)
			near += btoi(d.closelyWon())
			if worst.row == nil || (d.ratio < worst.ratio) == (m.Better == results.Higher) && d.ratio != worst.ratio {
				worst = d
			}
		}
	}
	s := summed{rows: len(ratios) + missing, middle: "-", worst: "-"}
	if s.rows == 0 {
		s.result = v.uncompared(m)
		return s
	}
	if len(ratios) > 0 {
		s.middle, s.worst = number(spreadOf(ratios).median), number(worst.ratio)
		if len(all) > 1 {
			s.worst += ", " + plain(worst.row.name)
		}
	}
	s.result = result(m, met, lost, better, s.rows)
	if s.result == "" && len(ratios) > 0 {
		s.result = number(worst.ratio) + " × the first row at most"
	}
	for _, extra := range []struct {
		n    int
		text string
	}{{null, "%d at the client's limit"}, {near, "%d won within the spread of the rounds"}, {missing, "%d without a value of Ottla's"}, {alone, "%d without a value of Kafka's"}} {
		if extra.n > 0 {
			s.result = strings.TrimPrefix(s.result+"; "+fmt.Sprintf(extra.text, extra.n), "; ")
		}
	}
	s.result += besideDisk(m, all)
	return s
}

// besideDisk says of a goal how many rows are as good as client and disk allow. It counts none of them as met.
func besideDisk(m results.Metric, all []verdict) string {
	rows, near := 0, 0
	for _, d := range all {
		rows += btoi(d.ofNullDisk > 0)
		near += btoi(d.atDisk)
	}
	switch {
	case m.Reach == 0 || rows == 0:
		return ""
	case m.Better == results.Higher:
		return fmt.Sprintf("; %d of %d rows at %.0f %% of Null, fsync", near, rows, 100*nullDiskNear)
	}
	return fmt.Sprintf("; %d of %d rows at most %.0f %% of Null, fsync", near, rows, 100*nullDiskAbove)
}

// uncompared is the result of a metric without a row to compare: nothing, if it has no goal.
func (v *view) uncompared(m results.Metric) string {
	switch {
	case m.Reach == 0:
		return ""
	case v.hasNumber(m.Name, results.Ottla):
		return "**nothing of Kafka's beside it**"
	}
	return "**not measured**"
}

func result(m results.Metric, met, lost, better, rows int) string {
	switch {
	case m.Reach == 0 && m.Better == results.Flat:
		return "" // flat without a number: for the reader to judge
	case m.Reach == 0 && lost > 0:
		return fmt.Sprintf("**loses %d of %d rows**", lost, rows)
	case m.Reach == 0 && better > 0 && better < rows:
		return fmt.Sprintf("better in %d of %d, loses none", better, rows)
	case m.Reach == 0:
		return fmt.Sprintf("loses none of %d", rows)
	case met == rows && lost > 0:
		return fmt.Sprintf("met, **but loses %d to Kafka**", lost)
	case met == rows:
		return "met"
	case met == 0:
		return "**not met**" + loses(lost)
	}
	return fmt.Sprintf("**met in %d of %d rows**", met, rows) + loses(lost)
}

func loses(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", loses %d", n)
}

// losses lists every row that is lost or short of its goal: nobody has to look for them.
func losses(w *bytes.Buffer, views []*view) {
	lost, short, failed := &bytes.Buffer{}, &bytes.Buffer{}, &bytes.Buffer{}
	for _, v := range views {
		for _, r := range v.rows {
			if n := r.failed(results.Ottla); n > 0 {
				fmt.Fprintf(failed, "- %s: %s, %d of %d\n", v.link(), plain(r.name), n, len(r.samples[results.Ottla]))
			}
		}
		for _, m := range v.Metrics {
			for _, d := range v.verdicts(m) {
				at := v.link() + ": " + plain(d.row.name)
				switch {
				case d.missingOttla:
					fmt.Fprintf(lost, "| %s | %s | %s | no value | | %s | Kafka has a value, Ottla none |\n", at, plain(withUnit(m.Title, m.Unit)), kafkaText(d), goalKept(m, false))
				case !d.compared:
				case d.lost:
					note := ""
					if d.overlap {
						note = "the rounds of the two overlap"
					}
					if d.atLimit {
						note = strings.TrimPrefix(note+"; at the client's limit", "; ")
					}
					fmt.Fprintf(lost, "| %s | %s | %s | %s | %s | %s | %s |\n", at, plain(withUnit(m.Title, m.Unit)), number(d.kafka.median), number(d.ottla.median), number(d.ratio), goalKept(m, !d.short), note)
				case d.short:
					fmt.Fprintf(short, "| %s | %s | %s | %s |\n", at, plain(withUnit(m.Title, m.Unit)), number(d.ratio), goal(m))
				}
			}
		}
	}
	if lost.Len() > 0 {
		fmt.Fprintf(w, "### Rows that Ottla loses\n\n| | | Kafka | Ottla | Ratio | Goal | |\n|---|---|---|---|---|---|---|\n%s\n", lost)
	} else if slices.ContainsFunc(views, (*view).open) {
		fmt.Fprint(w, "Ottla loses no row that was compared; what was not is in the summary.\n\n")
	} else if failed.Len() == 0 {
		fmt.Fprint(w, "Ottla loses no row of this run.\n\n")
	}
	if failed.Len() > 0 {
		fmt.Fprintf(w, "### Rounds of Ottla's that failed\n\nThey have no values and are in no median; the notes below the tables say why.\n\n%s\n", failed)
	}
	if short.Len() > 0 {
		fmt.Fprintf(w, "### Rows that are short of their goal\n\nNot worse than Kafka, but less than what was aimed at.\n\n| | | Ratio | Goal |\n|---|---|---|---|\n%s\n", short)
	}
}

// goalKept is a row's goal and whether it is reached.
func goalKept(m results.Metric, met bool) string {
	switch {
	case m.Reach == 0:
		return goal(m)
	case met:
		return goal(m) + ", met"
	}
	return goal(m) + ", missed"
}

func kafkaText(d verdict) string {
	if !d.kafka.number() {
		return ""
	}
	return number(d.kafka.median)
}

// ownGoals are the goals for Ottla's value itself, whatever Kafka's is.
func ownGoals(w *bytes.Buffer, views []*view) {
	lines := &bytes.Buffer{}
	for _, v := range views {
		for _, m := range v.Metrics {
			if m.Most > 0 {
				highest, result := v.judgeOwn(m)
				fmt.Fprintf(lines, "| %s: %s | %s | %s | %s |\n", v.link(), plain(m.Title), ownGoal(m), highest, result+v.cutShort())
			}
		}
	}
	if lines.Len() > 0 {
		fmt.Fprintf(w, "### Goals for Ottla alone\n\n| | Goal | Highest median, and where | Result |\n|---|---|---|---|\n%s\n", lines)
	}
}

func ownGoal(m results.Metric) string {
	return strings.TrimSpace("at most " + goalNumber(m.Most) + " " + m.Unit)
}

// judgeOwn compares Ottla's highest median with the metric's own goal. The last row is the hardest: without it, the goal is
// not known to be met.
func (v *view) judgeOwn(m results.Metric) (highest, result string) {
	var at *row
	most := 0.0
	for _, r := range v.rows {
		if c := r.at(m.Name, results.Ottla); c.number() && (at == nil || c.median > most) {
			at, most = r, c.median
		}
	}
	if at == nil {
		return "-", "**not measured**"
	}
	highest, result = strings.TrimSpace(number(most)+" "+m.Unit)+", "+plain(at.name), "met"
	last := v.rows[len(v.rows)-1]
	unmeasured := !last.at(m.Name, results.Ottla).number()
	switch {
	case most > m.Most:
		result = "**not met**"
	case unmeasured:
		result = "met where measured"
	}
	if unmeasured {
		result += "; **not measured at " + plain(last.name) + "**"
	}
	return highest, result
}

// link is a section's title that leads to it.
func (v *view) link() string { return "[" + plain(v.Title) + "](#" + slug(v.Title) + ")" }
