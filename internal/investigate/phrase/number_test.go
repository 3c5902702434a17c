package phrase

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct{ got, want string }{
		{Number(0), "0"}, {Number(3.44), "3.4"}, {Number(9.96), "10"}, {Number(38.2), "38"}, {Number(1234.4), "1,234"}, {Number(-0.01), "0"}, {Number(-38.4), "-38"}, {Number(nan), "?"},
		{Significant(3.424), "3.42"}, {Significant(38.21), "38.2"}, {Significant(99.97), "100"}, {Significant(1234.4), "1,234"}, {Significant(2), "2"}, {Significant(inf), "?"},
		{Exact(33_476_789), "33,476,789"}, {Exact(999), "999"}, {Exact(-1000), "-1,000"}, {Exact(-0.2), "0"}, {Exact(nan), "?"},
		{Count(9999), "9,999"}, {Count(12_345), "12,345"}, {Count(999_999), "999,999"}, {Count(999_999.6), "1 million"}, {Count(33_476_789), "33.5 million"}, {Count(2.5e9), "2.5 billion"}, {Count(-inf), "?"},
		{Plural(1, "batch", "batches"), "1 batch"}, {Plural(2.5, "batch", "batches"), "2.5 batches"}, {Plural(0, "batch", "batches"), "0 batches"},
		{Bytes(0), "0 B"}, {Bytes(12.4), "12 B"}, {Bytes(1023), "1,023 B"}, {Bytes(1024), "1 KiB"}, {Bytes(1.5 * 1024 * 1024), "1.5 MiB"}, {Bytes(1023.9 * 1024), "1 MiB"}, {Bytes(6 << 30), "6 GiB"}, {Bytes(nan), "?"},
		{Rate(38.21), "38.2/s"}, {Rate(0.5), "30/min"}, {Rate(0.97), "0.97/s"}, {Rate(0.001), "3.6/h"}, {Rate(0.00001), "0.86/day"}, {Rate(0), "0/s"}, {Rate(-1), "0/s"}, {Rate(3300), "3,300/s"}, {Rate(nan), "?"},
		{RateWithin(38.2, 0.05), "38.2 ± 0.05/s"}, {RateWithin(0, 0.5), "0 ± 30/min"}, {RateWithin(2, 0), "2/s"},
		{RateInWords(38.21, "new producers"), "38 new producers a second"}, {RateInWords(0.5, ""), "30 a minute"}, {RateInWords(0.001, "births"), "3.6 births an hour"}, {RateInWords(0.00001, ""), "0.9 a day"}, {RateInWords(0, ""), "0 a second"}, {RateInWords(inf, "x"), "? x a second"},
		{Span(-1), "never"}, {Span(0), "0 s"}, {Span(0.0123), "12 ms"}, {Span(60), "1 min"}, {Span(600), "10 min"}, {Span(86400), "1 day"}, {Span(100 * 60), "1.7 h"}, {Span(4 * 86400), "4 days"}, {Span(1e9), "32 years"}, {Span(inf), "?"},
		{SpanInWords(0), "0 seconds"}, {SpanInWords(1), "1 second"}, {SpanInWords(90), "1.5 minutes"}, {SpanInWords(3600), "1 hour"}, {SpanInWords(3.94 * 86400), "3.9 days"}, {SpanInWords(0.5), "500 milliseconds"}, {SpanInWords(-1), "never"},
		{Percent(0), "0 %"}, {Percent(0.01), "1 %"}, {Percent(0.052), "5.2 %"}, {Percent(0.96), "96 %"}, {Percent(0.004), "0.4 %"}, {Percent(0.0001), "< 0.1 %"}, {Percent(-1), "?"}, {Percent(nan), "?"},
		{Clock(time.Time{}), "?"}, {Clock(time.Date(2026, 11, 3, 15, 10, 0, 0, time.FixedZone("x", 3600))), "2026-11-03 14:10 UTC"}, {ClockSeconds(time.Date(2026, 11, 3, 15, 10, 7, 0, time.UTC)), "2026-11-03 15:10:07 UTC"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// A sentence and a table say the same of one number: the same unit, and the same number where both round.
func TestWordsAndTablesAgree(t *testing.T) {
	for s := 0.0001; s < 1e10; s *= 1.07 {
		table, words := strings.Fields(Span(s)), strings.Fields(SpanInWords(s))
		if table[0] != words[0] || table[1][0] != words[1][0] {
			t.Errorf("%v seconds: %v in a table, %v in a sentence", s, table, words)
		}
		rate := RateInWords(1/s, "")
		unit := rate[strings.LastIndexByte(rate, ' ')+1:]
		if short := Rate(1 / s); short[strings.IndexByte(short, '/')+1] != unit[0] {
			t.Errorf("%v a second: %s in a table, %s in a sentence", 1/s, short, rate)
		}
	}
}
