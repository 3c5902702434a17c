package report

import (
	"math"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for want, v := range map[string]float64{
		"0": 0, "5": 5, "999": 999, "1,000": 1000, "1,230": 1234, "92,000": 92047, "10,000,000": 1e7, "1.50": 1.5, "0.987": 0.98712, "0.00123": 0.001234,
		"10.0": 9.996, "100": 99.96, "1.00": 0.9999, "12.3": 12.34, "-12.3": -12.34, "1e+20": 1e20, "1.5e-05": 1.5e-5, "∞": math.Inf(1), "-∞": math.Inf(-1), "?": math.NaN(),
	} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestNumberRoundsUpToAThousand(t *testing.T) {
	for _, v := range []float64{999.5, 999.7, 999.99} {
		if got := number(v); got != "1,000" {
			t.Errorf("%v is %q", v, got)
		}
	}
}

func TestAxisNumber(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "0.1": 0.1, "2.5": 2.5, "1,000": 1000, "10 k": 1e4, "500 k": 5e5, "2.5 M": 2.5e6, "1 G": 1e9, "0.00001": 1e-5} {
		if got := axisNumber(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	if got := plain("a|b\n<i>*x*_y_ `z` [l](u)"); got != "a\\|b &lt;i>\\*x\\*\\_y\\_ \\`z\\` \\[l](u)" {
		t.Error(got)
	}
	if got := slug("Produce: 1 KiB, p99.9 (fsync)"); got != "produce-1-kib-p999-fsync" {
		t.Error(got)
	}
	if got := fileWord("../P99.9 ms/"); got != "p99.9-ms" {
		t.Error(got)
	}
	lines := wrap("1 KiB, 12 partitions, lz4, librdkafka, and a word of enormous-length-that-no-line-holds", 20, 3)
	if got := strings.Join(lines, "/"); got != "1 KiB, 12/partitions, lz4,/librdkafka, and a w…" {
		t.Error(got)
	}
	if got := wrap("enormous-length-that-no-line-holds", 20, 3); len(got) != 1 || got[0] != "enormous-length-tha…" {
		t.Error(got)
	}
	if got := wrap("", 20, 3); got != nil {
		t.Error(got)
	}
}
