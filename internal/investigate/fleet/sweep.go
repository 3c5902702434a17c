package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

const (
	// DefaultBirthsPerDay is what a sweep lets pass: seven new producers a minute.
	DefaultBirthsPerDay = 10_000
	secondsPerDay       = 86_400.0
	// sweepLeast is the shortest time between two readings that makes a rate, in seconds.
	sweepLeast = 60
)

// sweep judges a reading of the counter, with an earlier one if there is: the difference is births per day.
func (r *Row) sweep(s *evidence.Scan, earlier *Record, most float64) {
	r.ofScan(s)
	r.Asked = LevelSweep
	now := *s
	if now.Cluster.IDs == evidence.IDsUnknown && earlier != nil {
		now.Cluster.IDs = earlier.IDs
	}
	alone := diagnose.BirthsByCounter(&now)
	r.Version = versionOf(&s.Cluster)
	if !slices.ContainsFunc(s.Counter, func(p evidence.CounterProbe) bool { return p.PID >= 0 }) {
		r.inconclusive("no broker gave a producer id" + sourceWhy(s, evidence.SourceCounter))
		return
	}
	if alone.Model == evidence.IDsRandom || alone.Model == evidence.IDsUnknown {
		r.inconclusive("how producer ids are handed out is not known here: a scan at level 1 tells more")
		r.counterTellsNothing = true
		return
	}
	r.Ever = alone.Most
	if src := s.Source(evidence.SourceCounter); src != nil && src.State == evidence.Partly {
		r.Why = "not all brokers told their counter: " + src.Why
	}
	if earlier != nil {
		now.Counter = append(slices.Clone(earlier.Probes), s.Counter...)
		b := diagnose.BirthsByCounter(&now)
		switch {
		case !b.Known:
			r.inconclusive("ids went down since the last reading: the cluster was made anew; ask again in a day")
			return
		case b.Seconds >= sweepLeast:
			r.births(&b, most)
			r.harmless(s)
			return
		}
	}
	if alone.Most >= 0 && float64(alone.Most) <= most {
		r.Level, r.UntilFull = diagnose.Healthy, Never
		r.Sentence = fmt.Sprintf("At most about %d producers were ever made here.", alone.Most)
		return
	}
	if earlier != nil {
		r.inconclusive("the last reading is not a minute old: too little for a rate")
		return
	}
	r.inconclusive("first reading: births are known from the second on")
}

// births judges by the rate.
func (r *Row) births(b *diagnose.CounterBirths, most float64) {
	perDay := b.Count / b.Seconds * secondsPerDay
	r.BirthsKnown, r.BirthsPerSecond, r.BirthsError, r.BirthsSeconds = true, b.Count/b.Seconds, b.Error/b.Seconds, b.Seconds
	if perDay <= most {
		r.Level, r.UntilFull = diagnose.Healthy, Never
		r.Sentence = fmt.Sprintf("%.0f new producers a day.", math.Round(perDay))
		return
	}
	r.Level = diagnose.Armed
	r.Sentence = fmt.Sprintf("%.0f new producers a day, above %.0f: a scan at level 1 says whose they are.", math.Round(perDay), most)
}

// harmless: where memory does not grow with producers, births are no danger, as a full scan says too.
func (r *Row) harmless(s *evidence.Scan) {
	life := diagnose.LifeOf(&s.Cluster, s.Brokers, s.Given)
	if r.Level != diagnose.Armed || s.Cluster.Vendor != evidence.VendorOttla || life.Bounded == "" {
		return
	}
	r.Level, r.UntilFull = diagnose.Healthy, Never
	r.Sentence = fmt.Sprintf("%.0f new producers a day, which does no harm here: %s.", math.Round(r.BirthsPerSecond*secondsPerDay), life.Bounded)
	r.Why = strings.TrimPrefix(r.Why+"; no harm: "+life.Bounded, "; ")
}

func (r *Row) inconclusive(why string) { r.Level, r.Why = diagnose.Inconclusive, why }

// suspicious: a full scan should follow.
func (r *Row) suspicious() bool {
	return r.Asked == LevelSweep && (r.Level == diagnose.Armed || r.counterTellsNothing)
}

func sourceWhy(s *evidence.Scan, name string) string {
	src := s.Source(name)
	if src == nil || src.Why == "" {
		return ""
	}
	if src.Permission != "" {
		return fmt.Sprintf(": %s; it takes %s", src.Why, src.Permission)
	}
	return ": " + src.Why
}

// versionOf is a version in one word where no verdict gives it.
func versionOf(c *evidence.Cluster) string {
	switch {
	case c.VersionLeast == "":
		return c.VersionMost
	case c.VersionMost == "" || c.VersionMost == c.VersionLeast:
		return c.VersionLeast
	}
	return c.VersionLeast + " to " + c.VersionMost
}

// isSweep: the scan looked at the counter alone.
func isSweep(s *evidence.Scan) bool {
	tails, counter := s.Source(evidence.SourceTails), s.Source(evidence.SourceCounter)
	offsets := s.Source(evidence.SourceOffsets)
	skipped := func(src *evidence.Source) bool { return src == nil || src.State == evidence.Skipped }
	return len(s.Tails) == 0 && len(s.Sets) == 0 && counter != nil && !skipped(counter) && skipped(tails) && skipped(offsets)
}
