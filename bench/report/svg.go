package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"ottla/bench/results"
)

// widthPx is that of all charts: GitHub's column, scaled down on phones.
const widthPx = 900

// charPx is about the width of a character of 13 px in a sans-serif font; nothing here can measure text.
const charPx = 6.9

// style has a ground of its own for light and dark, whichever the page has. The colours are told apart by people who see no red
// or green (Okabe and Ito's); markers and labels say the same without colour.
const style = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI","Liberation Sans",Arial,sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.mute{fill:#59636e}.small{font-size:12px}.strong{font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}.end{text-anchor:end}.mid{text-anchor:middle}
.ground{fill:#fff;stroke:#d0d7de}.grid{stroke:#e3e7eb}.axis{stroke:#59636e}.whisker{stroke:#1f2328;stroke-width:1.3}.limit{stroke:#59636e;stroke-dasharray:6 4;stroke-width:1.5}
.line{fill:none;stroke-width:2.5;stroke-linejoin:round}.kafka{fill:#d55e00}.ottla{fill:#0072b2}.null{fill:#8c959f}.null-disk{fill:#009e73}
.line.kafka,.stroke.kafka{fill:none;stroke:#d55e00}.line.ottla,.stroke.ottla{fill:none;stroke:#0072b2}.line.null,.stroke.null{fill:none;stroke:#8c959f}.line.null-disk,.stroke.null-disk{fill:none;stroke:#009e73}.stroke{stroke-width:1.3}.cross{stroke-width:5}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.strong{stroke:#0d1117}.mute{fill:#9da7b1}.ground{fill:#0d1117;stroke:#3d444d}.grid{stroke:#262c34}.axis,.limit{stroke:#9da7b1}.whisker{stroke:#e6edf3}
.kafka{fill:#f0883e}.ottla{fill:#56b4e9}.null{fill:#7d8590}.null-disk{fill:#3fb98f}.line.kafka,.stroke.kafka{stroke:#f0883e}.line.ottla,.stroke.ottla{stroke:#56b4e9}.line.null,.stroke.null{stroke:#7d8590}.line.null-disk,.stroke.null-disk{stroke:#3fb98f}}
</style>
`

// picture is an SVG being drawn; its height is known at the end.
type picture struct{ bytes.Buffer }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// px writes a coordinate; more than a tenth of a pixel is noise in a diff.
func px(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}

func (p *picture) text(x, y float64, class, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(p, "<text x=\"%s\" y=\"%s\"%s>%s</text>\n", px(x), px(y), class, escape(s))
}

func (p *picture) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(p, "<path class=\"%s\" d=\"M%s %sL%s %s\"/>\n", class, px(x1), px(y1), px(x2), px(y2))
}

// marker is a circle, a square or a triangle on its base or its tip: lines differ by more than colour.
func (p *picture) marker(x, y float64, b results.Broker) {
	switch b {
	case results.Kafka:
		fmt.Fprintf(p, "<rect class=\"kafka\" x=\"%s\" y=\"%s\" width=\"8\" height=\"8\"/>\n", px(x-4), px(y-4))
	case results.Ottla:
		fmt.Fprintf(p, "<circle class=\"ottla\" cx=\"%s\" cy=\"%s\" r=\"4.5\"/>\n", px(x), px(y))
	case results.NullDisk:
		fmt.Fprintf(p, "<path class=\"null-disk\" d=\"M%s %sl5 -9h-10z\"/>\n", px(x), px(y+5))
	default:
		fmt.Fprintf(p, "<path class=\"null\" d=\"M%s %sl5 9h-10z\"/>\n", px(x), px(y-5))
	}
}

// finish puts the head before what was drawn.
func (p *picture) finish(title, desc string, height float64) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %s\" width=\"%d\" height=\"%s\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n%s"+
		"<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%s\" rx=\"8\"/>\n", widthPx, px(height), widthPx, px(height), escape(title), escape(desc), style, widthPx-1, px(height-1))
	out.Write(p.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// heading is a chart's title, what it shows, and the brokers' keys.
func (p *picture) heading(title, subtitle string, keys []results.Broker) {
	p.text(20, 30, "title", shorten(title, 95))
	p.text(20, 51, "mute", shorten(subtitle, 125))
	x := 26.0
	for _, b := range keys {
		p.marker(x, 70, b)
		name := brokerNames[b]
		switch b {
		case results.Null:
			name = "a server that stores nothing"
		case results.NullDisk:
			name = "a server that only writes and fsyncs"
		}
		p.text(x+11, 74.5, "", name)
		x += 40 + charPx*float64(utf8.RuneCountInString(name))
	}
}

// wrap breaks a label into at most most lines.
func wrap(s string, width, most int) []string {
	var lines []string
	for _, word := range strings.Fields(s) {
		word = shorten(word, width)
		if n := len(lines); n > 0 && utf8.RuneCountInString(lines[n-1])+1+utf8.RuneCountInString(word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	if len(lines) > most {
		lines = append(lines[:most-1], shorten(strings.Join(lines[most-1:], " "), width))
	}
	return lines
}

// scale maps values to pixels.
type scale struct {
	lo, hi   float64 // values at from and to
	log      bool
	from, to float64 // pixels
	step     float64 // between the ticks of a linear scale
}

// logDecadesMax bounds a logarithmic axis: one stray value of 1e-300 must not make hundreds of ticks.
const logDecadesMax = 18

// scaleOf spans the values, which are finite. A linear scale has zero in it; a logarithmic one leaves out what is not
// above zero. It is false if there is nothing to span.
func scaleOf(values []float64, log bool, from, to float64) (scale, bool) {
	s := scale{log: log, from: from, to: to, lo: math.Inf(1), hi: math.Inf(-1)}
	for _, v := range values {
		if !log || v > 0 {
			s.lo, s.hi = min(s.lo, v), max(s.hi, v)
		}
	}
	if math.IsInf(s.lo, 0) {
		return s, false
	}
	if log {
		low, high := math.Floor(math.Log10(s.lo)+1e-9), math.Ceil(math.Log10(s.hi)-1e-9)
		low = max(low, high-logDecadesMax)
		if high <= low {
			high = low + 1
		}
		s.lo, s.hi = math.Pow(10, low), math.Pow(10, high)
		return s, true
	}
	s.lo, s.hi = min(s.lo, 0), max(s.hi, 0)
	if s.lo == s.hi {
		s.hi = 1
	}
	raw := (s.hi - s.lo) / 5
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, nice := range []float64{1, 2, 2.5, 5, 10} {
		if s.step = nice * unit; s.step >= raw {
			break
		}
	}
	s.lo, s.hi = math.Floor(s.lo/s.step)*s.step, math.Ceil(s.hi/s.step-1e-9)*s.step
	return s, true
}

// pos is where a value is; what lies below the scale is at its begin.
func (s scale) pos(v float64) float64 {
	v = min(max(v, s.lo), s.hi)
	if s.log {
		return s.from + (s.to-s.from)*(math.Log10(v)-math.Log10(s.lo))/(math.Log10(s.hi)-math.Log10(s.lo))
	}
	return s.from + (s.to-s.from)*(v-s.lo)/(s.hi-s.lo)
}

// ticks are the values that get a grid line and a number.
func (s scale) ticks() (out []float64) {
	if !s.log {
		for i := range int(math.Round((s.hi-s.lo)/s.step)) + 1 {
			out = append(out, s.lo+float64(i)*s.step)
		}
		return out
	}
	low, high := int(math.Round(math.Log10(s.lo))), int(math.Round(math.Log10(s.hi)))
	every := max(1, (high-low+7)/8)
	for d := low; d <= high; d += every {
		out = append(out, math.Pow(10, float64(d)))
		if high-low <= 2 && d < high {
			out = append(out, 2*math.Pow(10, float64(d)), 5*math.Pow(10, float64(d)))
		}
	}
	return out
}

// subtitle says what the axis is and what the whiskers are.
func (v *view) subtitle(m results.Metric, rounds int) string {
	text := withUnit(m.Title, m.Unit) + better(results.Metric{Better: m.Better})
	if rounds > 1 {
		text += fmt.Sprintf("; median of up to %d rounds, whiskers from the least to the greatest", rounds)
	}
	return text
}

// shownBrokers are those with something to draw.
func (v *view) shownBrokers(m results.Metric) (out []results.Broker) {
	for _, b := range brokers {
		if v.has(m.Name, b) {
			out = append(out, b)
		}
	}
	return out
}
