package autopsy

import (
	"bytes"
	"sort"
	"strconv"
	"time"
)

// The classes that hold producers, by the name of their time.
const (
	classEntry011  = "kafka.log.ProducerIdEntry"
	classEntryLog  = "kafka.log.ProducerStateEntry"
	classBatchLog  = "kafka.log.BatchMetadata"
	classEntryJava = "org.apache.kafka.storage.internals.log.ProducerStateEntry"
	classBatchJava = "org.apache.kafka.storage.internals.log.BatchMetadata"
)

// fileTime says that a histogram's time is that of its file.
const fileTime = "time of the file"

// histogramParser takes the lines of a text and keeps the histograms in it: what `jcmd PID GC.class_histogram` and `jmap
// -histo` print, one after another if a loop appended them to one file.
type histogramParser struct {
	path     string
	fallback time.Time // of histograms with no time printed before them
	out      []Histogram
	cur      *Histogram
	sum      Count
	total    bool
	printed  time.Time // the last line that was a date
	leftOut  int64
}

// line reads one line and says whether it belongs to a histogram.
func (p *histogramParser) line(b []byte) bool {
	rank, c, ok := histogramLine(b)
	if ok {
		if p.cur == nil || rank == 1 {
			p.begin()
		}
		p.add(c)
		return true
	}
	f := bytes.Fields(b)
	if len(f) >= 3 && bytes.EqualFold(f[0], []byte("Total")) && p.cur != nil {
		objects, err1 := strconv.ParseInt(string(f[1]), 10, 64)
		size, err2 := strconv.ParseInt(string(f[2]), 10, 64)
		if err1 == nil && err2 == nil && objects >= 0 && size >= 0 {
			p.cur.Total, p.total = Count{objects, size}, true
			p.end()
			return true
		}
	}
	return false
}

// histogramLine reads `rank: instances bytes class`, with a module in parentheses behind it since Java 9.
func histogramLine(b []byte) (rank int64, c ClassCount, ok bool) {
	f := bytes.Fields(b)
	if len(f) < 4 || len(f) > 8 || len(f[0]) < 2 || f[0][len(f[0])-1] != ':' || len(f[3]) > classNameMax {
		return 0, c, false
	}
	rank, err1 := strconv.ParseInt(string(f[0][:len(f[0])-1]), 10, 64)
	objects, err2 := strconv.ParseInt(string(f[1]), 10, 64)
	size, err3 := strconv.ParseInt(string(f[2]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || rank < 1 || objects < 0 || size < 0 {
		return 0, c, false
	}
	return rank, ClassCount{string(f[3]), Count{objects, size}}, true
}

const (
	// classNameMax is the longest name of a class that is kept, in bytes.
	classNameMax = 1 << 10
	// knownClassesMax bounds the classes of one histogram that rules know. The same name in other packages is another class.
	knownClassesMax = 256
)

func (p *histogramParser) begin() {
	p.end()
	p.cur = &Histogram{Source: p.path, Index: len(p.out), Classes: map[string]Count{}}
	switch {
	case !p.printed.IsZero():
		p.cur.At, p.cur.AtHow = p.printed, "printed before it"
	case !p.fallback.IsZero():
		p.cur.At, p.cur.AtHow = p.fallback, fileTime
	}
}

func (p *histogramParser) add(c ClassCount) {
	p.sum.Objects += c.Objects
	p.sum.Bytes += c.Bytes
	p.cur.keep(c)
}

// keep takes a class into the histogram: by name if a rule knows it, and among the largest.
func (h *Histogram) keep(c ClassCount) {
	old, seen := h.Classes[c.Class]
	if seen || len(h.Classes) < knownClassesMax && knownClass(c.Class) {
		h.Classes[c.Class] = Count{old.Objects + c.Objects, old.Bytes + c.Bytes}
	}
	if len(h.Top) < TopClassesMax || c.Bytes > h.Top[len(h.Top)-1].Bytes {
		h.Top = append(h.Top, c)
		sort.SliceStable(h.Top, func(i, j int) bool { return h.Top[i].Bytes > h.Top[j].Bytes })
		h.Top = h.Top[:min(len(h.Top), TopClassesMax)]
	}
}

// end finishes the histogram that is being read, if any.
func (p *histogramParser) end() {
	if p.cur == nil {
		return
	}
	if !p.total {
		p.cur.Total, p.cur.Cut = p.sum, true
	}
	if len(p.out) < HistogramsMax {
		p.out = append(p.out, *p.cur)
	} else { // the first and the newest tell the growth
		p.out[HistogramsMax-1] = *p.cur
		p.leftOut++
	}
	p.cur, p.sum, p.total, p.printed = nil, Count{}, false, time.Time{}
}

// Entries is how many entries of producers the heap holds and what those objects take by themselves.
func (h *Histogram) Entries() Count {
	return h.of(classEntryJava, classEntryLog, classEntry011)
}

// Batches is how many remembered batches there are. Before Kafka 1.0 an entry held its one batch in itself.
func (h *Histogram) Batches() Count { return h.of(classBatchJava, classBatchLog) }

func (h *Histogram) of(names ...string) (c Count) {
	for _, n := range names {
		c.Objects += h.Classes[n].Objects
		c.Bytes += h.Classes[n].Bytes
	}
	return c
}
