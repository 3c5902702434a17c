package report

import (
	"math"
	"testing"
	"time"
)

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bytes(0), "0 B"}, {Bytes(1023), "1023 B"}, {Bytes(1024), "1 KiB"}, {Bytes(1.5 * 1024 * 1024), "1.5 MiB"},
		{Bytes(1023.9 * 1024), "1 MiB"}, {Bytes(6 << 30), "6 GiB"}, {Bytes(math.Inf(1)), "?"},
		{Count(9999), "9999"}, {Count(33_476_789), "33.5 million"}, {Count(999_999), "1 million"}, {Count(12_345), "12.3 thousand"}, {Count(2.5e9), "2.5 billion"},
		{Rate(38.21), "38.2/s"}, {Rate(0.5), "30/min"}, {Rate(0.001), "3.6/h"}, {Rate(0.00001), "0.86/day"}, {Rate(0), "0/s"}, {Rate(3300), "3300/s"},
		{RateWithin(38.2, 0.05), "38.2 ± 0.05/s"}, {RateWithin(0, 0.5), "0 ± 30/min"}, {RateWithin(2, 0), "2/s"},
		{Seconds(-1), "never"}, {Seconds(0.0123), "12 ms"}, {Seconds(60), "60 s"}, {Seconds(600), "10 min"}, {Seconds(86400), "24 h"}, {Seconds(4 * 86400), "4 days"}, {Seconds(1e9), "32 years"},
		{Percent(0), "0 %"}, {Percent(0.96), "96 %"}, {Percent(0.004), "0.4 %"}, {Percent(0.0001), "< 0.1 %"}, {Percent(-1), "?"}, {Percent(math.NaN()), "?"},
		{Clock(time.Time{}), "?"}, {Clock(time.Date(2026, 11, 3, 15, 10, 0, 0, time.FixedZone("x", 3600))), "2026-11-03 14:10 UTC"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
