package report

import (
	"math"
	"strconv"
	"strings"
)

// number writes three significant digits; whole numbers below 1,000 without decimals.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "-∞"
	case math.IsNaN(v):
		return "?"
	case v == 0:
		return "0"
	case a >= 1e15 || a < 1e-4:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a < 1000 && v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		decimals := 2 - int(math.Floor(math.Log10(a)))
		if decimals >= 0 {
			rounded := strconv.FormatFloat(v, 'f', decimals, 64)
			if r, _ := strconv.ParseFloat(rounded, 64); math.Abs(r) >= math.Pow(10, float64(3-decimals)) { // 9.996 became 10.00
				rounded = strconv.FormatFloat(v, 'f', max(0, decimals-1), 64)
			}
			return thousands(rounded)
		}
		unit := math.Pow(10, float64(-decimals))
		return thousands(strconv.FormatFloat(math.Round(v/unit)*unit, 'f', 0, 64))
	}
}

// whole writes a number of things without rounding it away.
func whole(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return number(v)
}

// thousands puts commas into the whole part.
func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	integer, fraction, dotted := strings.Cut(s, ".")
	for i := len(integer) - 3; i > 0; i -= 3 {
		integer = integer[:i] + "," + integer[i:]
	}
	if dotted {
		integer += "." + fraction
	}
	return sign + integer
}

// axisNumber is short: 10 k, 2.5 M.
func axisNumber(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e4, " k"}} {
		if math.Abs(v) >= u.size {
			if u.name == " k" {
				u.size = 1e3
			}
			return strconv.FormatFloat(v/u.size, 'g', 4, 64) + u.name
		}
	}
	return thousands(strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64))
}

// withUnit is the head of a column or the title of an axis.
func withUnit(title, unit string) string {
	if unit == "" {
		return title
	}
	return title + " (" + unit + ")"
}

var cellEscaper = strings.NewReplacer("\\", "\\\\", "|", "\\|", "\r", " ", "\n", " ", "<", "&lt;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[")

// plain makes others' words, such as an error, harmless in Markdown.
func plain(s string) string { return strings.TrimSpace(cellEscaper.Replace(s)) }

// noteRunesMax bounds a note: an error of a tool can carry its whole output.
const noteRunesMax = 400

func shorten(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}

// slug is GitHub's anchor of a heading.
func slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// fileWord is a name as a part of a file's name.
func fileWord(s string) string {
	word := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(word, "-.")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
