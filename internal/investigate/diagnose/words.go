package diagnose

import (
	"math"
	"time"
)

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
