package phrase

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// unknown stands for what is no number.
const unknown = "?"

// Number rounds to what can be read in a sentence: one digit behind the point below ten, else none. "3.4", "38", "1,234".
func Number(n float64) string {
	switch {
	case !finite(n):
		return unknown
	case math.Abs(n) >= 9.95:
		return Exact(n)
	}
	return trimmed(n, 1)
}

// Significant keeps three digits, or all before the point, for tables: "3.42", "38.2", "1,234".
func Significant(n float64) string {
	switch abs := math.Abs(n); {
	case !finite(n):
		return unknown
	case abs < 9.995:
		return trimmed(n, 2)
	case abs < 99.95:
		return trimmed(n, 1)
	}
	return Exact(n)
}

// Exact is a whole number with all its digits: "33,476,789".
func Exact(n float64) string {
	if !finite(n) {
		return unknown
	}
	s := trimmed(math.Round(n), 0)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// trimmed has at most digits digits behind the point and no zeros at its end.
func trimmed(n float64, digits int) string {
	s := strconv.FormatFloat(n, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// Count is a number of things: exact below a million, then "33.5 million", "2.5 billion".
func Count(n float64) string {
	switch abs := math.Abs(n); {
	case abs < 999_999.5 || !finite(n):
		return Exact(n)
	case abs < 999.5e6:
		return Significant(n/1e6) + " million"
	}
	return Significant(n/1e9) + " billion"
}

// Plural is a number of things with their name: "1 batch", "2.5 batches".
func Plural(n float64, one, many string) string {
	if s := Number(n); s != "1" {
		return s + " " + many
	}
	return "1 " + one
}

// Bytes is a size in binary units: "1.25 GiB".
func Bytes(b float64) string {
	if !finite(b) {
		return unknown
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for math.Abs(b) >= 1023.5 && i < len(units)-1 {
		b /= 1024
		i++
	}
	if i == 0 {
		b = math.Round(b)
	}
	return Significant(b) + " " + units[i]
}

// Percent is a share: "96 %", "0.4 %", "< 0.1 %".
func Percent(share float64) string {
	switch p := share * 100; {
	case !finite(p) || p < 0:
		return unknown
	case p > 0 && p < 0.05:
		return "< 0.1 %"
	default:
		return Number(p) + " %"
	}
}

// Clock is a moment in UTC, to the minute.
func Clock(t time.Time) string { return clock(t, "2006-01-02 15:04") }

// ClockSeconds is a moment in UTC, to the second.
func ClockSeconds(t time.Time) string { return clock(t, time.DateTime) }

func clock(t time.Time, layout string) string {
	if t.IsZero() {
		return unknown
	}
	return t.UTC().Format(layout) + " UTC"
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
