package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ottla/bench/results"
)

const (
	linesLeftPx   = 84.0
	linesRightPx  = 770.0 // the names of the lines stand to the right
	linesTopPx    = 100.0
	linesBottomPx = 400.0
)

// curve is one line: a broker, and a row if the rows are not the line's points.
type curve struct {
	broker results.Broker
	name   string
	points []point
}

type point struct {
	x float64
	spread
}

// curves are the section's lines of a metric. Where each row has one X, the rows are the points; otherwise each row is a line
// for each broker, and also each round if rounds were not sampled at the same X.
func (v *view) curves(m results.Metric) (out []curve) {
	along := slices.ContainsFunc(v.rows, func(r *row) bool { return r.series })
	for _, b := range brokers {
		var all []results.Sample
		for _, r := range v.rows {
			if along {
				for _, c := range apart(r.samples[b], m.Name) {
					c.broker, c.name = b, brokerNames[b]
					if len(v.rows) > 1 {
						c.name += ", " + r.name
					}
					out = append(out, c)
				}
				continue
			}
			all = append(all, r.samples[b]...)
		}
		if points := pointsOf(all, m.Name); len(points) > 0 {
			out = append(out, curve{b, brokerNames[b], points})
		}
	}
	return out
}

// apart makes one curve of all rounds if they share their X, else one of each.
func apart(samples []results.Sample, metric string) (out []curve) {
	byRound := map[int][]results.Sample{}
	for _, s := range samples {
		byRound[s.Round] = append(byRound[s.Round], s)
	}
	most := 0
	var each []curve
	for _, round := range sortedKeys(byRound) {
		if points := pointsOf(byRound[round], metric); len(points) > 0 {
			each = append(each, curve{points: points})
			most = max(most, len(points))
		}
	}
	if all := pointsOf(samples, metric); len(all) > 0 && len(all) == most {
		return []curve{{points: all}}
	}
	return each
}

func pointsOf(samples []results.Sample, metric string) (out []point) {
	at := map[float64][]float64{}
	for _, s := range samples {
		if value, has := s.Values[metric]; has && finite(value) && finite(s.X) {
			at[s.X] = append(at[s.X], value)
		}
	}
	for x, values := range at {
		out = append(out, point{x, spreadOf(values)})
	}
	slices.SortFunc(out, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	return out
}

// plot is a pair of axes and what does not fit on them.
type plot struct {
	picture
	x, y    scale
	dropped int // points of 0 or less on a logarithmic axis
}

// lines draws a line for each broker along X. It is nil if there is no value, or none that logarithmic axes can show.
func (v *view) lines(m results.Metric) []byte {
	curves := v.curves(m)
	var xs, ys []float64
	rounds := 0
	for _, c := range curves {
		for _, p := range c.points {
			if v.Chart.LogX && p.x <= 0 || v.Chart.LogY && p.min <= 0 {
				continue
			}
			xs, ys = append(xs, p.x), append(ys, p.min, p.max)
			rounds = max(rounds, p.n)
		}
	}
	x, okX := scaleOf(xs, v.Chart.LogX, linesLeftPx, linesRightPx)
	y, okY := scaleOf(ys, v.Chart.LogY, linesBottomPx, linesTopPx)
	if !okX || !okY {
		return nil
	}
	p := plot{x: x, y: y}
	p.heading(v.Title, v.subtitle(m, rounds), v.shownBrokers(m))
	xTitle := v.Chart.XTitle
	if xTitle == "" {
		xTitle = v.Row
	}
	p.axes(xTitle, withUnit(m.Title, m.Unit))
	for i, c := range curves {
		p.curve(c, i)
	}
	p.names(curves)
	height := linesBottomPx + 56
	if p.dropped > 0 {
		p.text(linesLeftPx, height, "mute small", fmt.Sprintf("Not drawn: %d points of 0, which a logarithmic axis does not have.", p.dropped))
		height += 18
	}
	return p.finish(v.Title+": "+withUnit(m.Title, m.Unit), describeCurves(m, xTitle, curves), height)
}

func (p *plot) axes(xTitle, yTitle string) {
	for _, t := range p.y.ticks() {
		p.line(p.x.from, p.y.pos(t), p.x.to, p.y.pos(t), "grid")
		p.text(p.x.from-8, p.y.pos(t)+4.5, "mute small end", axisNumber(t))
	}
	for _, t := range p.x.ticks() {
		p.line(p.x.pos(t), p.y.from, p.x.pos(t), p.y.from+5, "axis")
		p.text(p.x.pos(t), p.y.from+19, "mute small mid", axisNumber(t))
	}
	p.line(p.x.from, p.y.from, p.x.to, p.y.from, "axis")
	if p.x.log {
		xTitle += ", logarithmic"
	}
	if p.y.log {
		yTitle += ", logarithmic"
	}
	p.text((p.x.from+p.x.to)/2, p.y.from+39, "mute small mid", xTitle)
	middle := (p.y.from + p.y.to) / 2
	fmt.Fprintf(p, "<text class=\"mute small mid\" transform=\"translate(22 %s)rotate(-90)\">%s</text>\n", px(middle), escape(yTitle))
}

// pointMarkersMax is how many points of a line have markers; more would hide it.
const pointMarkersMax = 24

// dashes tell the lines of one broker apart.
var dashes = []string{"", "7 4", "2 4", "10 3 2 3"}

func (p *plot) curve(c curve, index int) {
	var path strings.Builder
	var drawn []point
	for _, at := range c.points {
		if p.x.log && at.x <= 0 || p.y.log && at.median <= 0 {
			p.dropped++
			continue
		}
		fmt.Fprintf(&path, "%c%s %s", "ML"[btoi(len(drawn) > 0)], px(p.x.pos(at.x)), px(p.y.pos(at.median)))
		drawn = append(drawn, at)
	}
	if len(drawn) == 0 {
		return
	}
	dash := ""
	if strings.Contains(c.name, ", ") && index%len(dashes) > 0 {
		dash = ` stroke-dasharray="` + dashes[index%len(dashes)] + `"`
	}
	fmt.Fprintf(p, "<path class=\"line %s\"%s d=\"%s\"/>\n", c.broker, dash, path.String())
	for i, at := range drawn {
		x := p.x.pos(at.x)
		if at.max > at.min {
			p.line(x, p.y.pos(at.min), x, p.y.pos(at.max), "stroke "+string(c.broker))
			p.line(x-4, p.y.pos(at.min), x+4, p.y.pos(at.min), "stroke "+string(c.broker))
			p.line(x-4, p.y.pos(at.max), x+4, p.y.pos(at.max), "stroke "+string(c.broker))
		}
		if len(drawn) <= pointMarkersMax || i == len(drawn)-1 {
			p.marker(x, p.y.pos(at.median), c.broker)
		}
	}
}

// names writes each line's name and last value at its end, moved apart where lines end together.
func (p *plot) names(curves []curve) {
	type label struct {
		x, y float64
		text string
	}
	var labels []label
	for _, c := range curves {
		for i := len(c.points) - 1; i >= 0; i-- {
			at := c.points[i]
			if p.x.log && at.x <= 0 || p.y.log && at.median <= 0 {
				continue
			}
			labels = append(labels, label{p.x.pos(at.x) + 9, p.y.pos(at.median) + 4.5, c.name + " " + number(at.median)})
			break
		}
	}
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for i, l := range labels {
		if i > 0 && l.y < labels[i-1].y+15 && l.x < labels[i-1].x+150 {
			l.y = labels[i-1].y + 15
			labels[i] = l
		}
		most := int((widthPx - 8 - l.x) / (charPx * 0.95))
		p.text(l.x, l.y, "small strong", shorten(l.text, max(most, 10)))
	}
}

func describeCurves(m results.Metric, xTitle string, curves []curve) string {
	var out []string
	for _, c := range curves {
		first, last := c.points[0], c.points[len(c.points)-1]
		out = append(out, fmt.Sprintf("%s: %s at %s %s, %s at %s", c.name, number(first.median), xTitle, whole(first.x), number(last.median), whole(last.x)))
	}
	return shorten(withUnit(m.Title, m.Unit)+" along "+xTitle+". "+strings.Join(out, "; ")+".", describeRunesMax)
}
