package diagnose

import (
	"fmt"

	"ottla/internal/investigate/evidence"
)

// ledger is every number that the verdict rests on, with how it was got.
func (f *findings) ledger(v *Verdict) []Number {
	out := []Number{{Name: "state life", Value: v.Life.Seconds, Unit: "s", Source: v.Life.Source, How: v.Life.Rule}}
	if v.Births.Known {
		out = append(out, Number{Name: "births of producer ids", Value: v.Births.PerSecond * 60, Unit: "/min", Error: v.Births.Error * 60, Source: v.Births.Source, How: v.Births.How})
	}
	if v.Births.Ever >= 0 {
		out = append(out, Number{Name: "producers ever made, about", Value: float64(v.Births.Ever), Unit: "ids", Source: evidence.SourceCounter, How: "highest id handed out to a probe"})
	}
	if f.counter.known && v.Births.Source != evidence.SourceCounter {
		out = append(out, Number{Name: "births by the counter", Value: f.counter.perSecond * 60, Unit: "/min", Error: f.counter.error * 60, Source: evidence.SourceCounter, How: f.counter.how})
	}
	if v.Onset.Known {
		out = append(out,
			Number{Name: "births before the onset", Value: v.Onset.Before * 60, Unit: "/min", Source: evidence.SourceClock, How: "slope of the first segment"},
			Number{Name: "births since the onset", Value: v.Onset.After * 60, Unit: "/min", Source: evidence.SourceClock, How: "slope of the second segment"},
			Number{Name: "error of the onset", Value: v.Onset.Latest.Sub(v.Onset.Earliest).Seconds() / 2, Unit: "s", Source: evidence.SourceClock, How: "id error / slope and the distance of readings"})
	}
	out = append(out, Number{Name: "covered by sampled topics", Value: f.covered, Unit: "share", Source: evidence.SourceOffsets, How: "records within the state's life and 10 minutes, internal topics left out"})
	for i := range v.Suspects {
		t := &v.Suspects[i]
		out = append(out,
			Number{Name: t.Name + ": newborn share", Value: t.NewbornShare, Unit: "share", Source: evidence.SourceTails, How: fmt.Sprintf("%d of %d ids", t.Newborn, t.Producers)},
			Number{Name: t.Name + ": births", Value: t.BirthsPerSecond * 60, Unit: "/min", Source: evidence.SourceTails, How: f.ranked[i].how()},
			Number{Name: t.Name + ": entries", Value: t.EntriesPerSecond * 60, Unit: "/min", Source: evidence.SourceTails, How: "a producer counts once for each partition"})
		if t.Live >= 0 {
			out = append(out, Number{Name: t.Name + ": live entries", Value: float64(t.Live), Unit: "ids", Source: t.LiveSource})
		}
		if t.LiveBound >= 0 {
			out = append(out, Number{Name: t.Name + ": live entries at most", Value: float64(t.LiveBound), Unit: "ids", Source: evidence.SourceOffsets, How: "records within the state's life and 10 minutes"})
		}
	}
	if w := v.Worst; w != nil {
		out = append(out,
			Number{Name: "bytes an entry", Value: w.EntryBytes, Unit: "bytes", Source: "computed", How: "measured for " + f.version.taken().String() + "'s classes, by batches remembered"},
			Number{Name: fmt.Sprintf("broker %d: entries now", w.Broker), Value: float64(w.Entries), Unit: "ids", Source: w.Source},
			Number{Name: fmt.Sprintf("broker %d: bytes now", w.Broker), Value: w.Bytes, Unit: "bytes", Source: "computed", How: "entries x bytes an entry"},
			Number{Name: fmt.Sprintf("broker %d: plateau", w.Broker), Value: w.Plateau, Unit: "bytes", Source: "computed", How: w.Source})
	}
	return out
}
