package report

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ottla/bench/results"
)

// stormSection is the section in which Kafka dies of a small heap.
const stormSection = "death"

// stormFile is the picture of it.
const stormFile = "storm.svg"

var errNoStorm = errors.New("the run has no section \"" + stormSection + "\" with values of Kafka and of Ottla that can be drawn")

// Storm draws the memory of both brokers under the storm until Kafka dies at -Xmx256m, of the section "death": of its first
// row with values of both, the first counted round. The first metric of the section's chart is drawn solid, its others dashed.
// It is an error if the run has no such section, or no samples of it that can be drawn.
func Storm(run *results.Run) ([]byte, error) {
	at := slices.IndexFunc(run.Sections, func(s results.Section) bool { return s.Name == stormSection })
	if at < 0 {
		return nil, errNoStorm
	}
	v := viewOf(run.Sections[at], run.Samples)
	for _, r := range v.rows {
		if s := stormOf(v, r); s != nil {
			return s.draw()
		}
	}
	return nil, errNoStorm
}

// storm is what the picture shows.
type storm struct {
	view   *view
	row    *row
	unit   string // of all its metrics
	curves []curve
	ends   map[results.Broker]string // what became of the broker, in words
}

// stormOf is nil if the row lacks one of the brokers.
func stormOf(v *view, r *row) *storm {
	s := &storm{view: v, row: r, ends: map[results.Broker]string{}}
	for _, b := range []results.Broker{results.Kafka, results.Ottla} {
		round := firstRound(r.samples[b])
		drawn := 0
		for _, name := range v.Chart.Metric {
			m, ok := v.metric(name)
			if !ok || s.unit != "" && m.Unit != s.unit {
				continue
			}
			points := pointsOf(round, name)
			points = slices.DeleteFunc(points, func(p point) bool { return v.Chart.LogX && p.x <= 0 || v.Chart.LogY && p.median <= 0 })
			if len(points) == 0 {
				continue
			}
			title := brokerNames[b]
			if len(v.Chart.Metric) > 1 {
				title += ", " + m.Title // the comma makes further ones dashed
			}
			s.unit = m.Unit
			s.curves = append(s.curves, curve{b, title, points})
			drawn++
		}
		if drawn == 0 {
			return nil
		}
		s.ends[b] = lastWords(v, round)
	}
	return s
}

// firstRound are the samples of the first counted round.
func firstRound(samples []results.Sample) (out []results.Sample) {
	for _, s := range samples {
		if len(out) == 0 || s.Round == out[0].Round {
			out = append(out, s)
		} else if s.Round < out[0].Round {
			out = []results.Sample{s}
		}
	}
	slices.SortStableFunc(out, func(a, b results.Sample) int { return cmp.Compare(a.X, b.X) })
	return out
}

// lastWords are the texts of the last sample that has any, in the order of the metrics.
func lastWords(v *view, samples []results.Sample) string {
	for i := len(samples) - 1; i >= 0; i-- {
		var out []string
		for _, m := range v.Metrics {
			if t := samples[i].Texts[m.Name]; t != "" {
				out = append(out, t)
			}
		}
		if len(out) > 0 {
			return strings.Join(out, "; ")
		}
	}
	return ""
}

var (
	deathWords = regexp.MustCompile(`(?i)\b(dead|died|dies|killed|outofmemory|crashed|not come back)`)
	heapOption = regexp.MustCompile(`-Xmx(\d+)([mMgG])\b`)
)

// heapLimit is the heap that the section names, in its unit.
func (s *storm) heapLimit() (name string, value float64) {
	for _, text := range []string{s.row.name, s.view.Title, s.view.About} {
		if m := heapOption.FindStringSubmatch(text); m != nil {
			mib, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				continue
			}
			if strings.EqualFold(m[2], "g") {
				mib *= 1024
			}
			per := map[string]float64{"MiB": 1, "GiB": 1.0 / 1024, "MB": 1.048576, "bytes": 1 << 20, "B": 1 << 20}[s.unit]
			return m[0], mib * per
		}
	}
	return "", 0
}

func (s *storm) draw() ([]byte, error) {
	limitName, limit := s.heapLimit()
	xs, ys := []float64{}, []float64{limit}
	for _, c := range s.curves {
		for _, p := range c.points {
			xs, ys = append(xs, p.x), append(ys, p.median)
		}
	}
	x, okX := scaleOf(xs, s.view.Chart.LogX, linesLeftPx, linesRightPx-20)
	y, okY := scaleOf(ys, s.view.Chart.LogY, linesBottomPx, linesTopPx)
	if !okX || !okY {
		return nil, errNoStorm
	}
	p := plot{x: x, y: y}
	p.heading("A storm of producers", s.subtitle(limitName), []results.Broker{results.Kafka, results.Ottla})
	xTitle := s.view.Chart.XTitle
	if xTitle == "" {
		xTitle = s.view.Row
	}
	p.axes(xTitle, withUnit("memory", s.unit))
	if limit > 0 {
		p.line(p.x.from, p.y.pos(limit), p.x.to, p.y.pos(limit), "limit")
		p.text(p.x.to-4, p.y.pos(limit)-6, "mute small end", "Kafka's heap, "+limitName)
	}
	drawn := map[results.Broker]int{}
	for _, c := range s.curves {
		p.curve(c, drawn[c.broker])
		drawn[c.broker]++
	}
	p.names(s.curves)
	for _, b := range []results.Broker{results.Kafka, results.Ottla} {
		p.end(s, b)
	}
	return p.finish("A storm of producers: memory of Apache Kafka and of Ottla", s.describe(xTitle), linesBottomPx+56), nil
}

func (s *storm) subtitle(limit string) string {
	if limit == "" {
		return "The same storm against both; " + s.row.name
	}
	return "The same storm against both, Kafka with " + limit + "; " + s.row.name
}

// end says what became of a broker where its first line ends, with a cross if it died.
func (p *plot) end(s *storm, b results.Broker) {
	words := s.ends[b]
	if words == "" {
		return
	}
	at := slices.IndexFunc(s.curves, func(c curve) bool { return c.broker == b })
	last := s.curves[at].points[len(s.curves[at].points)-1]
	x, y := p.x.pos(last.x), p.y.pos(last.median)
	if deathWords.MatchString(words) {
		fmt.Fprintf(p, "<path class=\"stroke cross %s\" d=\"M%s %sl18 18m0 -18l-18 18\"/>\n", b, px(x-9), px(y-9))
	}
	const wordsRunes = 44
	lines := wrap(words, wordsRunes, 3)
	class, textX, textY := "strong", x+2, y+30
	if x > (p.x.from+p.x.to)/2 {
		class, textX = "strong end", min(x, p.x.to)
	}
	if textY+float64(16*len(lines)) > p.y.from-6 {
		textY = y - 14 - float64(16*len(lines)-16)
	}
	for i, line := range lines {
		p.text(textX, textY+float64(16*i), class, line)
	}
}

func (s *storm) describe(xTitle string) string {
	text := describeCurves(results.Metric{Title: "memory", Unit: s.unit}, xTitle, s.curves)
	for _, b := range []results.Broker{results.Kafka, results.Ottla} {
		if s.ends[b] != "" {
			text += " " + brokerNames[b] + ": " + s.ends[b] + "."
		}
	}
	return text
}
