package measure

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h, sum Histogram
	for us := 1; us <= 100_000; us++ {
		h.Record(time.Duration(us) * time.Microsecond)
	}
	sum.Add(&h)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		want := time.Duration(q*100_000) * time.Microsecond
		if got := sum.Quantile(q); got < want || got > want+want/8 {
			t.Errorf("quantile %v: got %v, want %v or up to an eighth more", q, got, want)
		}
	}
	if sum.Quantile(1) != 100*time.Millisecond || sum.Max != 100*time.Millisecond {
		t.Errorf("max %v", sum.Max)
	}
	for us := range 1 << 16 {
		d := time.Duration(us) * time.Microsecond
		if b := bucketOf(d); upperBound(b) < d || b > 0 && upperBound(b-1) >= d {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, b, upperBound(b))
		}
	}
}
