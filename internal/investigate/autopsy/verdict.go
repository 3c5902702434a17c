package autopsy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// others looks for the other things that fill a heap.
func (f *facts) others() {
	if f.hist == nil {
		return
	}
	total := float64(max(1, f.hist.Total.Bytes))
	for i := range causes {
		c := &causes[i]
		n := f.hist.simple(c.classes...)
		if n.Objects == 0 {
			continue
		}
		o := Other{ID: c.id, Name: c.name, Objects: n.Objects, Bytes: max(float64(n.Objects)*c.weight, float64(n.Bytes)), Status: diagnose.Absent}
		o.Share = min(1, o.Bytes/total)
		switch {
		case o.Share > otherFound && n.Objects > c.many/100:
			o.Status = diagnose.Found
		case o.Share > otherHalf && n.Objects > c.many/100 || n.Objects >= c.many:
			o.Status = diagnose.Half
		}
		if o.Status != diagnose.Absent {
			o.Means, o.Next = c.means, c.next
		}
		f.r.Others = append(f.r.Others, o)
	}
	if bytes := f.hist.Classes["[B"]; float64(bytes.Bytes) > otherFound*max(total, float64(f.r.Heap.Max), buffersLeast) {
		f.r.Others = append(f.r.Others, Other{ID: "buffers", Name: "byte arrays", Objects: bytes.Objects, Bytes: float64(bytes.Bytes), Share: float64(bytes.Bytes) / total, Status: diagnose.Half,
			Means: "requests and responses in memory, or decompression", Next: "queued.max.request.bytes, socket.request.max.bytes, RequestQueueSize"})
	}
	slices.SortStableFunc(f.r.Others, func(a, b Other) int { return cmp.Compare(b.Bytes, a.Bytes) })
}

// buffersLeast: on a smaller heap a broker's usual buffers look large, in bytes.
const buffersLeast = 2 << 30

// level is the verdict in one word.
func (f *facts) level() {
	h := &f.r.Heap
	fills := h.Share > shareFound || h.UntilFull >= 0 && h.UntilFull < fullSoon
	recreated := f.horseman("H1").Status
	switch {
	case f.ottla():
		f.r.Level = diagnose.Healthy
	case h.Entries < 0 && !f.found("H4b") && !f.found("H5"):
		f.r.Level = diagnose.Inconclusive
		if f.r.Births.Known && f.r.Births.PerSecond >= birthsFound {
			f.r.Level = diagnose.Armed
		}
	case f.found("H1") && f.found("H2") && fills:
		f.r.Level = diagnose.Storm
	case f.found("H1") || f.found("H4b") || f.found("H5") || fills:
		f.r.Level = diagnose.Armed
	case f.growing() && !f.direct:
		f.r.Level = diagnose.Armed
	case recreated == diagnose.Half && f.horseman("H3").Status != diagnose.Absent:
		f.r.Level = diagnose.Armed
	case h.LowerBound && f.hist != nil:
		f.r.Level = diagnose.Inconclusive
	default:
		f.r.Level = diagnose.Healthy
	}
	f.r.Exit = f.r.Level.Exit()
}

// sentence says it all in one.
func (f *facts) sentence() {
	h := &f.r.Heap
	switch {
	case f.ottla():
		f.r.Sentence = "No danger: this is a data directory of Ottla, which keeps producers' entries on disk and only a bounded number of them in memory."
		if f.found("H1") {
			f.r.Sentence += " An application does make a new producer for every few records, though: " + f.where() + "."
		}
	case h.Entries < 0:
		f.r.Sentence = "Nothing that was given shows producers' entries, so there is no verdict on them."
	case f.r.Level == diagnose.Healthy && f.other() != nil:
		o := f.other()
		f.r.Sentence = fmt.Sprintf("Not producers (%s entries, %s): it is %s, %s of them, about %s, %s of what is on the heap.",
			phrase.Count(float64(h.Entries)), phrase.Percent(h.Share), o.Name, phrase.Count(float64(o.Objects)), phrase.Bytes(o.Bytes), phrase.Percent(o.Share))
	case f.r.Level == diagnose.Healthy:
		f.r.Sentence = fmt.Sprintf("No producer leak: %s%s entries of producers take %s, %s of %s.", f.atLeast(), phrase.Count(float64(h.Entries)), phrase.Bytes(h.Bytes), phrase.Percent(h.Share), h.ShareOf)
	default:
		f.r.Sentence = f.leak()
	}
	f.details()
}

func (f *facts) atLeast() string {
	if f.r.Heap.LowerBound {
		return "at least "
	}
	return ""
}

// other is the largest other cause that is found.
func (f *facts) other() *Other {
	for i := range f.r.Others {
		if f.r.Others[i].Status == diagnose.Found {
			return &f.r.Others[i]
		}
	}
	return nil
}

func (f *facts) leak() string {
	h := &f.r.Heap
	var b strings.Builder
	if f.found("H4b") && !f.found("H1") && h.Share <= shareFound {
		fmt.Fprintf(&b, "%s: applications make new ones instead of keeping theirs; ", f.horseman("H4b").Sentence)
	}
	fmt.Fprintf(&b, "%s%s entries of producers take %s, %s of %s", f.atLeast(), phrase.Count(float64(h.Entries)), phrase.Bytes(h.Bytes), phrase.Percent(h.Share), h.ShareOf)
	if f.found("H1") {
		b.WriteString(": producers that were used once and thrown away")
	}
	if where := f.where(); where != "" {
		b.WriteString("; " + where)
	}
	b.WriteString(".")
	s := b.String()
	return strings.ToUpper(s[:1]) + s[1:]
}

// where names the topics and partitions that hold most of the entries.
func (f *facts) where() string {
	if len(f.r.Suspects) == 0 {
		return ""
	}
	top := &f.r.Suspects[0]
	names, share := f.suspectTopics()
	s := fmt.Sprintf("topic %s holds %s of them", names[0], phrase.Percent(share[names[0]]))
	if top.Topic == "" {
		return fmt.Sprintf("they are in %s", top.Name)
	}
	parts, least, most := 0, int64(-1), int64(-1)
	for i := range f.r.Suspects {
		p := &f.r.Suspects[i]
		if p.Topic != names[0] {
			continue
		}
		if parts++; p.PIDMin >= 0 && (least < 0 || p.PIDMin < least) {
			least = p.PIDMin
		}
		most = max(most, p.PIDMax)
	}
	switch {
	case parts == 1:
		s = fmt.Sprintf("partition %s holds %s of them", top.Name, phrase.Percent(top.Share))
	case top.Share >= 0.5: // of a topic whose other partitions hardly matter
		s = fmt.Sprintf("partition %s holds %s of them, topic %s %s", top.Name, phrase.Percent(top.Share), names[0], phrase.Percent(share[names[0]]))
	default:
		s += fmt.Sprintf(", in %d partitions", parts)
	}
	if least >= 0 {
		s += fmt.Sprintf(" (producer ids %d to %d)", least, most)
	}
	return s
}

// details are further sentences: the death, the rate, the date.
func (f *facts) details() {
	h, b := &f.r.Heap, &f.r.Births
	say := func(format string, args ...any) { f.r.Details = append(f.r.Details, fmt.Sprintf(format, args...)) }
	if s := f.unread(); s != "" {
		say("%s", s)
	}
	if h.Died {
		say("It ran out of memory at %s (%s).", phrase.Clock(h.DiedAt), h.DiedHow)
	}
	if b.Known && b.PerSecond > 0 {
		say("New producers: %s (%s).", phrase.Rate(b.PerSecond), b.How)
	}
	if !b.Onset.IsZero() {
		s := fmt.Sprintf("It began at %s: %s before, %s since", phrase.Clock(b.Onset), phrase.Rate(b.Before), phrase.Rate(b.After))
		var names []string
		for _, t := range f.r.NewTopics {
			names = append(names, t.Name)
		}
		if len(names) > 0 {
			s += "; topics made since shortly before: " + strings.Join(names, ", ")
		}
		say("%s.", s)
	}
	if f.expired > 0 && f.hist == nil {
		say("Not counted: %s entries of partitions without a write for longer than an entry lives here (%s); a broker drops those.", phrase.Count(float64(f.expired)), phrase.Span(f.lifeSeconds()))
	}
	if h.UntilFull >= 0 && !h.FullAt.IsZero() {
		say("At this rate, the heap of %s is full at %s (%s).", phrase.Bytes(float64(h.Max)), phrase.Clock(h.FullAt), h.GrowthHow)
	} else if f.growing() && h.projectable < growthSpan {
		say("%s", f.grownText())
	} else if h.Known && h.PerSecond > 0 && f.r.Level != diagnose.Healthy {
		say("Entries grow by %s (%s).", phrase.Rate(h.PerSecond), h.GrowthHow)
	}
}

// unread names what could not be read, or is empty: the verdict is on the rest.
func (f *facts) unread() string {
	var first *Problem
	n := 0
	for i := range f.e.Problems {
		if p := &f.e.Problems[i]; p.Unread {
			first = cmp.Or(first, p)
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("Not read: %s: %s.", first.Path, first.Text)
	}
	return fmt.Sprintf("%d inputs were not read; the first is %s: %s (-v names all).", n, first.Path, first.Text)
}

// grownText is the growth over a time that is too short for a date.
func (f *facts) grownText() string {
	h, g := &f.r.Heap, &f.grown
	size, of := float64(h.Max), "the heap of "+phrase.Bytes(float64(h.Max))
	if h.Max == 0 {
		size, of = HeapDefault, "a heap of 1 GiB"
	}
	s := fmt.Sprintf("Entries grew from %s to %s in %s: %s", phrase.Count(float64(g.from)), phrase.Count(float64(g.to)), phrase.Span(g.seconds), phrase.Rate(g.perSecond()))
	if g.guessed {
		s += ", if the files are as far apart as the histograms"
	}
	room := max(0, heapUsable*size-max(h.Bytes, float64(h.Used)))
	if seconds := room / (g.perSecond() * h.EntryBytes); seconds < f.r.Life.Seconds {
		s += fmt.Sprintf(". If that goes on, %s is full in %s", of, phrase.Span(seconds))
	}
	return s + ". Look again in 10 minutes: a start of many applications grows too, and ends."
}

// blind says what could not be seen and what would show it.
func (f *facts) blind() {
	add := func(source string, state evidence.State, why, matters string) {
		f.r.Blind = append(f.r.Blind, diagnose.Blind{Source: source, State: state, Why: why, Matters: matters})
	}
	if f.r.Heap.Max == 0 && !f.ottla() {
		add("-Xmx", evidence.Skipped, "no input says how large the heap may be: --heap 6g", "the share of the heap, and the date when it is full")
	}
	if f.hist == nil && !f.ottla() {
		add("heap", evidence.Skipped, "no histogram (jcmd PID GC.class_histogram) and no heap dump was given", "what else is on the heap")
	}
	if len(f.r.Suspects) == 0 && f.r.Heap.Entries > 0 {
		add("partitions", evidence.Skipped, "a histogram has no names: the log directory, a heap dump or server.log has", "which topic it is")
	}
	if !f.direct && f.r.Heap.Entries > 0 {
		add("entries", evidence.Skipped, "no entry was looked into: snapshots, segments or a heap dump show them", "how often a producer was used, producer ids, dates")
	}
	if !f.r.Heap.Known && f.r.Heap.Entries > 0 && !f.ottla() {
		why := "one look at one moment: a second histogram an hour later gives the rate"
		if len(f.e.Histograms) > 1 {
			why = "the histograms have no times of their own, and their files the same: a line with the date before each (date -Is) gives the rate"
		}
		add("growth", evidence.Skipped, why, "how fast it grows")
	}
	for i := range f.e.Dumps {
		if d := &f.e.Dumps[i]; d.Cut != "" {
			add("heap dump", evidence.Partly, d.Path+": "+d.Cut, "all counts of it are lower bounds")
		}
	}
	if n := len(f.e.Problems) + int(f.e.ProblemsLeftOut); n > 0 {
		why := fmt.Sprintf("%s: %s", f.e.Problems[0].Path, f.e.Problems[0].Text)
		if n > 1 {
			why += fmt.Sprintf("; and %d more problems (-v)", n-1)
		}
		add("files", evidence.Partly, why, "what is in some files")
	}
}

// ledger lists the numbers with their sources.
func (f *facts) ledger() {
	h, b := &f.r.Heap, &f.r.Births
	add := func(name string, value float64, unit, source, how string) {
		f.r.Ledger = append(f.r.Ledger, diagnose.Number{Name: name, Value: value, Unit: unit, Source: source, How: how})
	}
	if h.Entries >= 0 {
		add("entries of producers", float64(h.Entries), "", h.Source, "")
	}
	if h.Entries >= 0 && h.EntryBytes > 0 {
		add("bytes of one entry", h.EntryBytes, "bytes", h.EntryHow, "entry, node, key, deque, batches")
		add("bytes of all entries", h.Bytes, "bytes", "computed", "entries x bytes of one")
		add("share", h.Share, "share", "computed", "of "+h.ShareOf)
	}
	if h.BatchesPerEntry >= 0 {
		add("batches per entry", h.BatchesPerEntry, "", h.Source, "BatchMetadata over entries")
	}
	if h.Max > 0 {
		add("heap, at most", float64(h.Max), "bytes", h.MaxSource, "")
	}
	if h.Used > 0 {
		add("heap, in use", float64(h.Used), "bytes", h.UsedSource, "")
	}
	if h.Known {
		add("growth", h.PerSecond, "/s", h.GrowthHow, "")
	}
	if b.Known {
		add("births", b.PerSecond, "/s", b.How, "")
	}
	if b.Ever >= 0 {
		add("producers ever made, about", float64(b.Ever), "ids", "the highest producer id seen", "")
	}
	if c := &f.content; c.Entries > 0 {
		add("entries looked into", float64(c.Entries), "", "snapshots or heap dump", "")
		add("epoch 0", float64(c.EpochZero), "", "snapshots or heap dump", "")
		if c.OneBatch >= 0 {
			add("one batch", float64(c.OneBatch), "", "snapshots or heap dump", "last sequence = offset delta, in epoch 0")
		}
		add("last sequence 0", float64(c.SequenceZero), "", "snapshots or heap dump", "one record was all")
		add("dated in the future", float64(c.Future), "", "snapshots or heap dump", "")
		for i, n := range c.Ages {
			name := "older than 30 days"
			if i < len(evidence.AgeLimits) {
				name = "younger than " + phrase.Span(evidence.AgeLimits[i].Seconds())
			}
			if n > 0 {
				add("last write "+name, float64(n), "", "snapshots or heap dump", "before the newest of its partition")
			}
		}
	}
}
