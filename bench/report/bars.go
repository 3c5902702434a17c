package report

import (
	"fmt"
	"strings"

	"ottla/bench/results"
)

const (
	barPx      = 15.0
	groupGapPx = 14.0
	barsTopPx  = 96.0
	labelPx    = 262.0 // the column of the rows' names
	labelRunes = 36
	barsEndPx  = 810.0 // the numbers stand to the right of the longest bar
)

// bars draws a group of horizontal bars for each row, a bar for each broker: names of rows are long and there may be many.
// It is nil if there is no value.
func (v *view) bars(m results.Metric) []byte {
	shown := v.shownBrokers(m)
	var values []float64
	rounds := 0
	for _, r := range v.rows {
		for _, b := range shown {
			if c := r.at(m.Name, b); c != nil && c.n > 0 {
				values = append(values, c.min, c.max)
				rounds = max(rounds, c.n)
			}
		}
	}
	s, ok := scaleOf(values, v.Chart.LogY, labelPx+14, barsEndPx)
	if !ok {
		return nil
	}
	var groups []*row
	for _, r := range v.rows {
		for _, b := range shown {
			if !r.at(m.Name, b).empty() {
				groups = append(groups, r)
				break
			}
		}
	}
	var bars picture
	y := barsTopPx
	for _, r := range groups {
		y = bars.group(r, m, shown, s, y)
	}
	var p picture
	p.heading(v.Title, v.subtitle(m, rounds), shown)
	for _, t := range s.ticks() {
		p.line(s.pos(t), barsTopPx-8, s.pos(t), y-4, "grid")
		p.text(s.pos(t), y+13, "mute small mid", axisNumber(t))
	}
	p.line(s.from, barsTopPx-8, s.from, y-4, "axis")
	p.Write(bars.Bytes())
	axis := withUnit(m.Title, m.Unit)
	if s.log {
		axis += ", logarithmic"
	}
	p.text((s.from+s.to)/2, y+33, "mute small mid", axis)
	return p.finish(v.Title+": "+withUnit(m.Title, m.Unit), v.describe(m, shown), y+48)
}

// group draws one row and returns where the next begins.
func (p *picture) group(r *row, m results.Metric, shown []results.Broker, s scale, y float64) float64 {
	label := wrap(r.name, labelRunes, 3)
	height := max(barPx*float64(len(shown)), 16*float64(len(label)))
	for i, line := range label {
		p.text(labelPx, y+height/2-8*float64(len(label))+16*float64(i)+12, "end", line)
	}
	at := y + (height-barPx*float64(len(shown)))/2
	for _, b := range shown {
		p.bar(r.at(m.Name, b), b, s, at)
		at += barPx
	}
	return y + height + groupGapPx
}

func (p *picture) bar(c *cell, b results.Broker, s scale, y float64) {
	middle := y + barPx/2
	if c == nil || c.n == 0 {
		text := "no value"
		if !c.empty() {
			text = strings.Join(c.texts, "; ")
		}
		p.text(s.from+5, middle+4.5, "mute small", brokerNames[b]+": "+shorten(text, 75))
		return
	}
	zero := s.from
	if !s.log {
		zero = s.pos(0)
	}
	left, right := min(zero, s.pos(c.median)), max(zero, s.pos(c.median))
	fmt.Fprintf(p, "<rect class=\"%s\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" rx=\"1.5\"/>\n", b, px(left), px(y+1), px(max(right-left, 1)), px(barPx-2))
	end := right
	if c.max > c.min {
		p.line(s.pos(c.min), middle, s.pos(c.max), middle, "whisker")
		p.line(s.pos(c.min), middle-3, s.pos(c.min), middle+3, "whisker")
		p.line(s.pos(c.max), middle-3, s.pos(c.max), middle+3, "whisker")
		end = max(end, s.pos(c.max))
	}
	p.text(end+6, middle+4.5, "small", number(c.median))
}

// describe says a chart in words, for those who cannot see it.
func (v *view) describe(m results.Metric, shown []results.Broker) string {
	var out []string
	for _, r := range v.rows {
		var of []string
		for _, b := range shown {
			if c := r.at(m.Name, b); c != nil && c.n > 0 {
				of = append(of, brokerNames[b]+" "+number(c.median))
			}
		}
		if len(of) > 0 {
			out = append(out, r.name+": "+strings.Join(of, ", "))
		}
	}
	return shorten(withUnit(m.Title, m.Unit)+". "+strings.Join(out, "; ")+".", describeRunesMax)
}

// describeRunesMax bounds a chart's description; the table beside it has everything.
const describeRunesMax = 2000
