package diagnose

import "ottla/internal/investigate/evidence"

// dangerSoon: out of memory sooner than this is a storm.
const dangerSoon = 7 * 86400.0

func statusOf(hs []Horseman, id string) Status {
	for i := range hs {
		if hs[i].ID == id {
			return hs[i].Status
		}
	}
	return NotChecked
}

// level is the verdict in one word.
//
// A storm needs the cause (H1, or H4b, and H2) and the danger: more than a quarter of a broker's heap, or full within a week. A
// heap of unknown size is judged as 6 GiB, and the details say so. Where memory does not grow with producers there is no storm:
// on Ottla a leak is harmless, on Redpanda it costs other producers their state, which arms it. What H1 could not see decides between
// healthy and inconclusive.
func (f *findings) level(v *Verdict) Level {
	h1, h4b := statusOf(v.Horsemen, "H1"), statusOf(v.Horsemen, "H4b")
	leaks := h1 == Found || h4b == Found
	if f.scan.Cluster.Vendor == evidence.VendorOttla && f.life.Bounded != "" {
		if h1 == NotChecked {
			return Inconclusive
		}
		return Healthy
	}
	danger := f.danger()
	switch {
	case leaks && statusOf(v.Horsemen, "H2") == Found && danger && f.life.Bounded == "" && f.scan.Cluster.Vendor != evidence.VendorWarpStream:
		return Storm
	case leaks, h1 == Half, h4b == Half, statusOf(v.Horsemen, "H5") == Found, danger && f.life.Bounded == "":
		return Armed
	case h1 == NotChecked:
		return Inconclusive
	case f.covered < 0.5 && !f.counterAtRest() && f.tailsMissing():
		return Inconclusive
	}
	return Healthy
}

// tailsMissing: the topics that were not sampled were refused or failed, not left out as harmless.
func (f *findings) tailsMissing() bool {
	s := f.scan.Source(evidence.SourceTails)
	if s == nil {
		return true
	}
	switch s.State {
	case evidence.Denied, evidence.Failed, evidence.Partly:
		return true
	}
	return false
}

// danger: any broker's heap.
func (f *findings) danger() bool {
	for i := range f.heap {
		h := &f.heap[i]
		heapMax, guessed := f.judgedHeap(h)
		if shareOf(h.Plateau, heapMax) > shareFound || shareOf(h.Bytes, heapMax) > shareFound {
			return true
		}
		until := h.UntilFull
		if guessed {
			for _, row := range h.Sizes {
				if row.HeapMax == heapMax {
					until = row.UntilFull
				}
			}
		}
		if until >= 0 && until < dangerSoon {
			return true
		}
	}
	return false
}
