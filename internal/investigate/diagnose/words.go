package diagnose

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// rate puts births a second into the unit that reads best.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 0.95:
		return count(perSecond) + " a second"
	case perSecond*60 >= 0.95:
		return count(perSecond*60) + " a minute"
	case perSecond*3600 >= 0.95:
		return count(perSecond*3600) + " an hour"
	}
	return count(perSecond*86400) + " a day"
}

// count rounds to what can be read: 3.4, 38, 1,234, 12 million.
func count(n float64) string {
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		return "unknown"
	case n < 0:
		return "-" + count(-n)
	case n >= 9.95e6:
		return grouped(math.Round(n/1e6)) + " million"
	case n >= 9.95:
		return grouped(math.Round(n))
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

func grouped(n float64) string {
	s := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n float64, one, many string) string {
	if s := count(n); s != "1" {
		return s + " " + many
	}
	return "1 " + one
}

// bytesOf is a size in the unit that reads best.
func bytesOf(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return shortNumber(n/u.size) + " " + u.name
		}
	}
	return shortNumber(n) + " B"
}

func shortNumber(n float64) string {
	if n >= 9.95 {
		return grouped(math.Round(n))
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

// span is a length of time in the unit that reads best.
func span(seconds float64) string {
	for _, u := range []struct {
		size float64
		one  string
		many string
	}{{365 * 86400, "year", "years"}, {86400, "day", "days"}, {3600, "hour", "hours"}, {60, "minute", "minutes"}} {
		if n := seconds / u.size; n >= 0.95 {
			if s := shortNumber(n); s != "1" {
				return s + " " + u.many
			}
			return "1 " + u.one
		}
	}
	if s := shortNumber(math.Max(seconds, 0)); s != "1" {
		return s + " seconds"
	}
	return "1 second"
}

func percent(share float64) string {
	if p := share * 100; p > 0 && p < 1 {
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", share*100)
}

// moment is a time in a sentence; the year only where it is another one than now's.
func moment(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Year() != now.Year() {
		return t.Format("2 Jan 2006 15:04")
	}
	return t.Format("2 Jan 15:04")
}

// finite keeps nonsense in evidence out of the verdict.
func finite(n float64) float64 {
	switch {
	case math.IsNaN(n):
		return 0
	case n > 1e300:
		return 1e300
	case n < -1e300:
		return -1e300
	}
	return n
}
