package diagnose

import (
	"testing"
	"time"
)

func ago(d time.Duration) time.Time { return simulatedNow.Add(-d) }

// storm is a cluster with some singletons for weeks, and a leak since a while.
func storm(seed uint64, brokers int, perSecond float64, since time.Duration, partitions, spread int) *history {
	h := newHistory(seed, brokers)
	h.topic("orders", 3)
	h.topic("payments.audit", partitions)
	ev := h.singletons("orders", 12, ago(3*since), time.Hour, 10*365*day)
	ev = append(ev, h.leak("payments.audit", perSecond, ago(since), 1, spread)...)
	h.run(ev)
	return h
}

func TestStorm(t *testing.T) {
	h := storm(1, 3, 2, 24*time.Hour, 4, 1)
	s := h.scan()
	s.Given.HeapBytes = 64 << 20
	v := Diagnose(s)
	t.Log(v.Sentence, v.Details)
	t.Logf("%+v", v.Births)
	t.Logf("%+v %v", v.Onset.At, v.Onset.Why)
	for _, hm := range v.Horsemen {
		t.Logf("%+v", hm)
	}
	if v.Level != Storm {
		t.Errorf("level %s", v.Level)
	}
}
