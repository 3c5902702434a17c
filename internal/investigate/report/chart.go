package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// A chart is an SVG element of a fixed coordinate space that scales with the page. Colours are CSS classes, so that dark and light
// are the stylesheet's business.
const (
	chartWidth, chartHeight = 640, 260
	left, right             = 96, 16
	top, bottom             = 14, 34
	ticks                   = 4 // of values, about
	timeTicks               = 3 // their labels must fit beside each other on a phone
	barHeight               = 32
	barsMax                 = 12
)

type svg struct{ b strings.Builder }

// begin opens the element; the title is what a screen reader says.
func (s *svg) begin(height int, title string) {
	fmt.Fprintf(&s.b, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, height, html.EscapeString(Clean(title)))
}

func (s *svg) end() template.HTML {
	s.b.WriteString("</svg>")
	return template.HTML(s.b.String()) //nolint:gosec // every text in it went through text or begin, which escape
}

func (s *svg) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&s.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (s *svg) rect(class string, x, y, w, h float64) {
	fmt.Fprintf(&s.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, x, y, math.Max(0, w), math.Max(0, h))
}

func (s *svg) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(&s.b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, class, anchor, x, y, html.EscapeString(Clean(text)))
}

func (s *svg) polyline(class string, points [][2]float64) {
	fmt.Fprintf(&s.b, `<polyline class="%s" points="`, class)
	for _, p := range points {
		fmt.Fprintf(&s.b, "%.1f,%.1f ", p[0], p[1])
	}
	s.b.WriteString(`"/>`)
}

// scale maps values to coordinates.
type scale struct{ from, to, at, until float64 }

func (c scale) of(v float64) float64 {
	if c.to <= c.from {
		return c.at
	}
	share := (v - c.from) / (c.to - c.from)
	return c.at + math.Min(1, math.Max(0, share))*(c.until-c.at)
}

// short is a count for an axis: "20 M".
func short(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if n >= u.size {
			return phrase.Significant(n/u.size) + u.name
		}
	}
	return phrase.Significant(n)
}

// round125 is the least of 1, 2, 5 times a power of ten that is at least v.
func round125(v float64) float64 {
	if v <= 0 || !finite(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*0.999999 {
			return m * power
		}
	}
	return 10 * power
}

// axes draws a grid with labels and returns the scales. Times are seconds since 1970.
func (s *svg) axes(fromTime, toTime, most float64, label func(float64) string, step float64) (x, y scale) {
	x = scale{fromTime, toTime, left, chartWidth - right}
	y = scale{0, most, chartHeight - bottom, top}
	for v := 0.0; v <= most*1.0001; v += step {
		s.line("grid", left, y.of(v), chartWidth-right, y.of(v))
		s.text("tick", "end", left-6, y.of(v)+4, label(v))
	}
	layout := "2 Jan 15:04"
	if toTime-fromTime > 4*86400 {
		layout = "2 Jan"
	}
	for i := range timeTicks {
		at := fromTime + (toTime-fromTime)*float64(i)/(timeTicks-1)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case timeTicks - 1:
			anchor = "end"
		}
		s.text("tick", anchor, x.of(at), chartHeight-bottom+18, time.Unix(int64(at), 0).UTC().Format(layout))
	}
	return x, y
}

// clockChart draws the producer-id clock: how many producers were ever made, over time, and the onset.
func clockChart(o *diagnose.Onset) template.HTML {
	if len(o.Curve) < 2 {
		return ""
	}
	var s svg
	s.begin(chartHeight, "Producer ids handed out, over time")
	first, last := o.Curve[0], o.Curve[len(o.Curve)-1]
	most := float64(0)
	for _, p := range o.Curve {
		most = math.Max(most, float64(p.PID))
	}
	step := round125(most / ticks)
	x, y := s.axes(float64(first.Time)/1000, float64(last.Time)/1000, math.Max(step, math.Ceil(most/step)*step), short, step)
	if o.Known {
		from, to := x.of(seconds(o.Earliest)), x.of(seconds(o.Latest))
		s.rect("error", from, top, math.Max(1, to-from), chartHeight-bottom-top)
		at := x.of(seconds(o.At))
		s.line("onset", at, top, at, chartHeight-bottom)
		anchor, shift := "start", 6.0
		if at > chartWidth/2 {
			anchor, shift = "end", -6
		}
		s.text("label", anchor, at+shift, top+12, "onset "+phrase.Clock(o.At))
	}
	points := make([][2]float64, len(o.Curve))
	for i, p := range o.Curve {
		points[i] = [2]float64{x.of(float64(p.Time) / 1000), y.of(float64(p.PID))}
	}
	s.polyline("curve", points)
	return s.end()
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// heapChart draws a broker's entries from now on until they stop growing or fill the heap, whatever is later, against -Xmx.
func heapChart(h *diagnose.Heap, now time.Time, life float64) template.HTML {
	rate := h.PerSecond * h.EntryBytes
	if rate <= 0 || h.Plateau <= 0 {
		return ""
	}
	horizon := math.Max((h.Plateau-h.Bytes)/rate, life/10) * 1.25
	if h.UntilFull > 0 {
		horizon = math.Max(horizon, h.UntilFull*1.25)
	}
	if !finite(horizon) || horizon <= 0 {
		return ""
	}
	var s svg
	s.begin(chartHeight, "Heap taken by producer entries, projected")
	most := math.Max(h.Plateau, h.HeapMax) * 1.1
	unit := math.Pow(1024, math.Floor(math.Log(most)/math.Log(1024)))
	step := round125(most/unit/ticks) * unit
	from := seconds(now)
	x, y := s.axes(from, from+horizon, math.Ceil(most/step)*step, phrase.Bytes, step)
	if h.HeapMax > 0 {
		s.line("limit", left, y.of(h.HeapMax), chartWidth-right, y.of(h.HeapMax))
		s.text("label", "start", left+6, y.of(h.HeapMax)-5, "-Xmx "+phrase.Bytes(h.HeapMax))
	}
	until := math.Max(0, (h.Plateau-h.Bytes)/rate)
	s.polyline("curve", [][2]float64{{x.of(from), y.of(h.Bytes)}, {x.of(from + until), y.of(h.Plateau)}, {x.of(from + horizon), y.of(h.Plateau)}})
	if h.UntilFull >= 0 {
		at := x.of(from + h.UntilFull)
		s.line("onset", at, top, at, chartHeight-bottom)
		anchor, shift := "start", 6.0
		if at > chartWidth/2 {
			anchor, shift = "end", -6
		}
		s.text("label", anchor, at+shift, chartHeight-bottom-8, "full "+phrase.Clock(now.Add(time.Duration(h.UntilFull)*time.Second)))
	}
	return s.end()
}

// topicChart draws the suspects' shares of the leaked heap.
func topicChart(topics []diagnose.Topic) template.HTML {
	var names []string
	var shares []float64
	for i := range topics {
		if len(names) == barsMax {
			break
		}
		names, shares = append(names, topics[i].Name), append(shares, topics[i].HeapShare)
	}
	return bars("Share of the leaked heap, by topic", names, shares, phrase.Percent)
}

var lifeClasses = func() []string {
	out := make([]string, 0, len(evidence.AgeLimits)+1)
	for _, l := range evidence.AgeLimits {
		out = append(out, "< "+phrase.Span(l.Seconds()))
	}
	return append(out, "longer")
}()

// lifeChart draws how long the sampled producers of the first suspect lived.
func lifeChart(topics []diagnose.Topic) template.HTML {
	if len(topics) == 0 {
		return ""
	}
	var values []float64
	sum := 0.0
	for _, n := range topics[0].Lives {
		values = append(values, float64(n))
		sum += float64(n)
	}
	if sum == 0 {
		return ""
	}
	return bars("Lives of the producers of "+topics[0].Name, lifeClasses, values, phrase.Count)
}

func bars(title string, names []string, values []float64, label func(float64) string) template.HTML {
	most := 0.0
	for _, v := range values {
		most = math.Max(most, v)
	}
	if most <= 0 {
		return ""
	}
	const names0, nameRunes = 236, 21
	var s svg
	s.begin(len(names)*barHeight+12, title)
	width := scale{0, most, 0, chartWidth - names0 - 90}
	for i, name := range names {
		y := float64(i*barHeight) + 4
		s.text("name", "end", names0-8, y+20, cut(Clean(name), nameRunes))
		s.rect("bar", names0, y+4, width.of(values[i]), barHeight-8)
		s.text("value", "start", names0+width.of(values[i])+6, y+20, label(values[i]))
	}
	return s.end()
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
