package diagnose

import (
	"fmt"
	"math"
	"strings"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

const detailsMax = 3

// sentence is the verdict in one sentence, and at most three more.
func (f *findings) sentence(v *Verdict) (string, []string) {
	var first string
	var details []string
	switch v.Level {
	case Storm:
		first = "STORM: " + f.leakWords(v) + "; " + f.heapWords(v) + "."
	case Armed:
		first = "ARMED: " + f.armedWords(v) + "."
	case Healthy:
		first = "Healthy: " + f.healthyWords(v) + "."
	default:
		first = "Inconclusive: " + f.blindWords(v) + "."
	}
	if v.Worst != nil && v.Worst.HeapMax == 0 && (v.Level == Storm || v.Level == Armed) && v.Worst.Plateau > 0 {
		details = append(details, "The brokers' heap size is not known; it was judged as 6 GiB, which is a guess: --heap or --metrics tells it.")
	}
	if len(v.Suspects) > 0 && v.Explained > 0 {
		details = append(details, f.explainedWords(v))
	}
	if who := f.whoWords(v); who != "" {
		details = append(details, who)
	}
	if len(v.Onset.NewTopics) > 0 && v.Onset.Known && len(f.ranked) > 0 {
		details = append(details, "Topics that began since: "+strings.Join(v.Onset.NewTopics[:min(len(v.Onset.NewTopics), 3)], ", ")+".")
	}
	if len(v.Suspects) > 0 && v.Worst != nil && v.Worst.BombBytes > 2*math.Max(v.Worst.Plateau, 64<<20) {
		details = append(details, fmt.Sprintf("Moving %s to another broker brings back every producer in its log at once: %s of heap.", v.Worst.BombTopic, phrase.Bytes(v.Worst.BombBytes)))
	}
	return first, details[:min(len(details), detailsMax)]
}

func (f *findings) leakWords(v *Verdict) string {
	if len(v.Suspects) == 0 {
		return "new producers are made at " + phrase.RateInWords(v.Births.PerSecond, "")
	}
	t := &v.Suspects[0]
	what := "new producers"
	if f.ranked[0].churn && f.ranked[0].leak != realLeak {
		what = "new transactional producers"
	}
	perSecond := t.BirthsPerSecond
	words := strings.TrimSpace(fmt.Sprintf("%s gets %s %s", t.Name, phrase.RateInWords(perSecond, what), f.since(v)))
	if first := f.ranked[0]; first.foreign*2 > first.newborn {
		words += ", made on another cluster and copied here"
	}
	return words
}

func (f *findings) since(v *Verdict) string {
	if !v.Onset.Known {
		if !v.Onset.Earliest.IsZero() {
			return "since " + moment(v.Onset.Earliest, v.At) + " at the earliest"
		}
		return ""
	}
	off := math.Max(v.Onset.Latest.Sub(v.Onset.At).Seconds(), v.Onset.At.Sub(v.Onset.Earliest).Seconds())
	return fmt.Sprintf("since %s (+-%s)", moment(v.Onset.At, v.At), phrase.Span(off))
}

func (f *findings) heapWords(v *Verdict) string {
	w := v.Worst
	if w == nil {
		return "the brokers' heap is not known"
	}
	heapMax, guessed := f.judgedHeap(w)
	until := w.UntilFull
	if guessed {
		for _, row := range w.Sizes {
			if row.HeapMax == heapMax {
				until = row.UntilFull
			}
		}
	}
	heap := fmt.Sprintf("broker heap of %s", phrase.Bytes(heapMax))
	if guessed {
		heap = fmt.Sprintf("a broker heap of %s (a guess)", phrase.Bytes(heapMax))
	}
	switch {
	case until == 0:
		return heap + " is full now"
	case until > 0:
		return heap + " is full in " + phrase.SpanInWords(until)
	}
	return fmt.Sprintf("producer state comes to %s, %s of %s", phrase.Bytes(math.Max(w.Plateau, w.Bytes)), phrase.Percent(shareOf(math.Max(w.Plateau, w.Bytes), heapMax)), heap)
}

func (f *findings) armedWords(v *Verdict) string {
	h1, h5 := statusOf(v.Horsemen, "H1"), statusOf(v.Horsemen, "H5")
	leaks := h1 == Found || statusOf(v.Horsemen, "H4b") == Found
	switch {
	case leaks && v.Cluster.Vendor == evidence.VendorRedpanda && f.life.Bounded != "":
		return f.leakWords(v) + "; Redpanda forgets the longest idle producers to make room, and those get out-of-order errors when they write again"
	case leaks && v.Cluster.Vendor == evidence.VendorWarpStream:
		return f.leakWords(v) + "; what that costs WarpStream is not known"
	case leaks:
		return f.leakWords(v) + "; " + f.heapWords(v)
	case h1 == Half:
		return sentenceOf(v.Horsemen, "H1")
	case h5 == Found:
		return sentenceOf(v.Horsemen, "H5")
	case statusOf(v.Horsemen, "H4b") == Half:
		return sentenceOf(v.Horsemen, "H4b")
	}
	return f.heapWords(v)
}

func sentenceOf(hs []Horseman, id string) string {
	for i := range hs {
		if hs[i].ID == id {
			return hs[i].Sentence
		}
	}
	return ""
}

func (f *findings) healthyWords(v *Verdict) string {
	if statusOf(v.Horsemen, "H1") == Found || statusOf(v.Horsemen, "H4b") == Found {
		return f.leakWords(v) + ", which does no harm here: " + f.life.Bounded
	}
	words := "no topic keeps getting new producers"
	if f.counter.known && f.births.Source == evidence.SourceCounter {
		if f.counter.count < 1 {
			words += fmt.Sprintf(", and not one producer id was handed out in %s", phrase.SpanInWords(f.counter.seconds))
		} else {
			words += fmt.Sprintf(", and %s producer ids were handed out in %s", phrase.Count(f.counter.count), phrase.SpanInWords(f.counter.seconds))
		}
	}
	if len(f.topics) == 0 {
		words = sentenceOf(v.Horsemen, "H1")
	}
	return words
}

func (f *findings) blindWords(v *Verdict) string {
	missing := ""
	for i := range v.Blind {
		b := &v.Blind[i]
		if b.Source == evidence.SourceTails || b.Source == evidence.SourceCounter {
			if missing != "" {
				missing += "; "
			}
			missing += b.Matters
			if b.Permission != "" {
				missing += " (" + b.Permission + ")"
			}
		}
	}
	if missing == "" {
		missing = "neither new producers nor the counter of producer ids could be seen"
	}
	return missing
}

func (f *findings) explainedWords(v *Verdict) string {
	if len(v.Suspects) == 1 {
		return fmt.Sprintf("%s explains %s of the producers that the cluster makes.", v.Suspects[0].Name, phrase.Percent(v.Explained))
	}
	return fmt.Sprintf("%s explains %s of the producers that the cluster makes, all %d suspects %s.", v.Suspects[0].Name, phrase.Percent(v.Suspects[0].Explains), len(v.Suspects), phrase.Percent(v.Explained))
}

func (f *findings) whoWords(v *Verdict) string {
	if len(v.Suspects) == 0 || len(v.Suspects[0].Who) == 0 {
		return ""
	}
	w := &v.Suspects[0].Who[0]
	return fmt.Sprintf("Suspect: %s %s (%s): %s.", w.What, w.Name, w.Confidence, w.Why)
}
