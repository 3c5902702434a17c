package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes prints a number of bytes in binary units with two or three significant digits: "1.2 GiB".
func Bytes(b float64) string {
	if !finite(b) {
		return "?"
	}
	if math.Abs(b) < 1024 {
		return fmt.Sprintf("%.0f B", b)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := -1
	for math.Abs(b) >= 1023.5 && i < len(units)-1 {
		b /= 1024
		i++
	}
	return significant(b) + " " + units[i]
}

// Count prints a number of things: exact below ten thousand, then "33.5 million".
func Count(n float64) string {
	switch abs := math.Abs(n); {
	case !finite(n):
		return "?"
	case abs < 10_000:
		return strconv.FormatFloat(math.Round(n), 'f', -1, 64)
	case abs < 999_500:
		return significant(n/1e3) + " thousand"
	case abs < 999.5e6:
		return significant(n/1e6) + " million"
	}
	return significant(n/1e9) + " billion"
}

// Rate prints so many a second in the unit that reads best: "38/s", "12/min", "3/h", "2/day".
func Rate(perSecond float64) string {
	if !finite(perSecond) {
		return "?"
	}
	factor, unit := rateUnit(perSecond)
	return significant(max(0, perSecond)*factor) + unit
}

// RateWithin prints a rate and its error in the same unit: "38.2 ± 0.05/s".
func RateWithin(perSecond, plusMinus float64) string {
	if !finite(perSecond) || !finite(plusMinus) || plusMinus <= 0 {
		return Rate(perSecond)
	}
	factor, unit := rateUnit(max(perSecond, plusMinus))
	return significant(max(0, perSecond)*factor) + " ± " + significant(plusMinus*factor) + unit
}

func rateUnit(perSecond float64) (factor float64, unit string) {
	switch {
	case perSecond <= 0 || perSecond >= 1:
		return 1, "/s"
	case perSecond*60 >= 1:
		return 60, "/min"
	case perSecond*3600 >= 1:
		return 3600, "/h"
	}
	return 86400, "/day"
}

// Seconds prints a length of time in one unit, the largest that gives at least one: "3.9 days". Negative means never.
func Seconds(s float64) string {
	switch {
	case !finite(s):
		return "?"
	case s < 0:
		return "never"
	case s < 1:
		return strconv.FormatFloat(math.Round(s*1000), 'f', -1, 64) + " ms"
	case s < 120:
		return significant(s) + " s"
	case s < 2*3600:
		return significant(s/60) + " min"
	case s < 2*86400:
		return significant(s/3600) + " h"
	case s < 730*86400:
		return significant(s/86400) + " days"
	}
	return Count(s/(365.25*86400)) + " years"
}

// Percent prints a share: "96 %", "0.4 %".
func Percent(share float64) string {
	switch p := share * 100; {
	case !finite(p) || share < 0:
		return "?"
	case p == 0 || p >= 9.95:
		return fmt.Sprintf("%.0f %%", p)
	case p < 0.05:
		return "< 0.1 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// Clock prints a moment in UTC, to the minute.
func Clock(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("2006-01-02 15:04") + " UTC"
}

// clockSeconds prints a moment in UTC, to the second.
func clockSeconds(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// significant prints two digits behind the point below ten, else one below a hundred, else none, without trailing zeros.
func significant(v float64) string {
	digits := 0
	switch abs := math.Abs(v); {
	case abs < 9.995:
		digits = 2
	case abs < 99.95:
		digits = 1
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
