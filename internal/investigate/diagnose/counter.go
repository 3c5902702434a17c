package diagnose

import "ottla/internal/investigate/evidence"

// CounterBirths is what probes of the producer-id counter say on their own.
type CounterBirths struct {
	Known   bool
	Exact   bool    // within one block of ids on every broker, or by one counter for all
	Count   float64 // ids handed out between the first and the last probe, own probes left out
	Error   float64 // plus or minus, of Count
	Seconds float64
	Most    int64 // highest id seen: about how many producers the cluster ever made; -1: none was seen
	Model   evidence.IDModel
	How     string
}

// BirthsByCounter judges the probes of a scan alone: a sweep of a fleet has nothing else. Of the scan it reads the
// probes, the number of brokers, and how ids are handed out.
func BirthsByCounter(s *evidence.Scan) CounterBirths {
	b := birthsOf(s)
	out := CounterBirths{Known: b.known, Exact: b.exact, Count: finite(b.count), Error: finite(b.error * b.seconds), Seconds: finite(b.seconds), Most: b.most, Model: b.model, How: b.how}
	if out.Most >= everMax {
		out.Most = -1
	}
	return out
}
