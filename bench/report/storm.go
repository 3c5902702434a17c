package report

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ottla/bench/results"
)

const (
	stormTable = "death"       // the section that says how the storms ended, in words: metrics "producers", "end", "restart"
	stormCurve = "death-curve" // the section with memory along X: a row for each number of entries
	stormFile  = "storm.svg"
)

// stormAhead is how far the picture goes on beyond Kafka's end, as a multiple; Ottla's storm is longer, and flat.
const stormAhead = 2.6

var errNoStorm = errors.New("the run has no section \"" + stormCurve + "\" with values of Kafka and of Ottla that can be drawn")

// Storm draws the memory of both brokers under the storm until Kafka dies of a small heap: of the sections "death-curve" and
// "death". The first metric of the chart is drawn solid, Kafka's others, such as its heap, dashed. It is an error if the
// run has no such section, or no samples of it that can be drawn.
func Storm(run *results.Run) ([]byte, error) {
	at := slices.IndexFunc(run.Sections, func(s results.Section) bool { return s.Name == stormCurve })
	if at < 0 {
		return nil, errNoStorm
	}
	s := &storm{view: viewOf(run.Sections[at], run.Samples), ends: map[results.Broker]string{}}
	s.view.Chart.LogX, s.view.Chart.LogY = false, false
	if !s.takeCurves() {
		return nil, errNoStorm
	}
	if at := slices.IndexFunc(run.Sections, func(s results.Section) bool { return s.Name == stormTable }); at >= 0 {
		s.takeEnds(viewOf(run.Sections[at], run.Samples))
	}
	return s.draw()
}

// storm is what the picture shows.
type storm struct {
	view   *view
	unit   string // of all its metrics
	curves []curve
	beyond string                    // how Ottla goes on where the picture ends
	ends   map[results.Broker]string // what became of the broker, in words
}

// takeCurves is false if a broker has none.
func (s *storm) takeCurves() bool {
	seen := map[results.Broker]bool{}
	for i, name := range s.view.Chart.Metric {
		m, ok := s.view.metric(name)
		if !ok || i > 0 && m.Unit != s.unit {
			continue
		}
		s.unit = m.Unit
		for _, c := range s.view.curves(m) {
			if seen[c.broker] && c.broker != results.Kafka || c.broker.Limit() {
				continue
			}
			seen[c.broker] = true
			c.name = brokerNames[c.broker] + ", " + m.Title // with a comma, further ones are dashed
			s.curves = append(s.curves, c)
		}
	}
	most := 0.0
	for _, c := range s.curves {
		if c.broker == results.Kafka {
			most = max(most, c.points[len(c.points)-1].x)
		}
	}
	for i, c := range s.curves {
		last := c.points[len(c.points)-1]
		inside := slices.DeleteFunc(slices.Clone(c.points), func(p point) bool { return p.x > stormAhead*most })
		if c.broker == results.Ottla && len(inside) > 0 && len(inside) < len(c.points) {
			s.beyond = number(last.median) + " " + s.unit + " at " + whole(last.x) + " entries"
			s.curves[i].points = inside
		}
	}
	return seen[results.Kafka] && seen[results.Ottla]
}

// takeEnds puts what the last row of a broker says into a sentence.
func (s *storm) takeEnds(v *view) {
	for _, b := range []results.Broker{results.Kafka, results.Ottla} {
		for _, r := range v.rows {
			end := texts(r.at("end", b))
			if end == "" {
				continue
			}
			if producers := r.at("producers", b); !producers.empty() {
				end = cellText(producers, results.Fact, false) + " producers: " + end
			}
			if restart := texts(r.at("restart", b)); restart != "" && b == results.Kafka {
				end += "; started again with that heap: " + restart
			}
			s.ends[b] = end
		}
	}
	if s.beyond != "" && s.ends[results.Ottla] != "" {
		s.ends[results.Ottla] += " (" + s.beyond + ")"
	}
}

func texts(c *cell) string {
	if c == nil {
		return ""
	}
	return strings.Join(c.texts, "; ")
}

var (
	deathWords = regexp.MustCompile(`(?i)\b(dead|died|dies|killed|outofmemory|crashed|not come back|no more answers)`)
	heapOption = regexp.MustCompile(`-Xmx(\d+)([mMgG])\b`)
)

// heapLimit is the heap that the section names, in its unit.
func (s *storm) heapLimit() (name string, value float64) {
	for _, text := range []string{s.view.Title, s.view.About} {
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
	x, okX := scaleOf(xs, false, linesLeftPx, linesRightPx-20)
	y, okY := scaleOf(ys, false, linesBottomPx, linesTopPx)
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
		return "The same storm against both, each producer a new one"
	}
	return "The same storm against both, each producer a new one; Kafka with " + limit
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
