package autopsy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	// samplesMax is how many entries of one dump are followed from a partition's map to their content, shared by the
	// partitions by their size; samplesEach is the most for one partition, samplesLeast the least for each of the largest.
	samplesMax   = 1 << 16
	samplesEach  = 1 << 15
	samplesLeast = 16
	// dumpPartitionsMax is how many partitions of a dump are named, the largest ones.
	dumpPartitionsMax = 1000
)

// dump reads a heap dump, several times: what refers to what is not in the order of the file, and memory is bounded.
func (r *reader) dump(f *file) error {
	d, hist, err := readHeapDump(f, r.o.Now.UnixMilli(), func(pass string) func(int64) error {
		return func(at int64) error {
			if r.o.Progress != nil {
				r.o.Progress(f.path, pass, at, f.size)
			}
			return r.ctx.Err()
		}
	})
	if r.o.Progress != nil {
		r.o.Progress(f.path, "", 1, 1)
	}
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if err != nil {
		r.problem(f.path, "%v", err)
		return nil
	}
	if d.Cut != "" {
		r.problem(f.path, "%s", d.Cut)
	}
	r.out.Dumps = append(r.out.Dumps, *d)
	if len(r.out.Histograms) < HistogramsMax {
		r.out.Histograms = append(r.out.Histograms, *hist)
	}
	return nil
}

// opener opens a dump from its beginning.
type opener interface{ open() (io.ReadCloser, error) }

// readHeapDump makes all passes over a dump.
func readHeapDump(f *file, nowMs int64, progress func(pass string) func(int64) error) (*Dump, *Histogram, error) {
	h := newHeap(nowMs)
	first, cut, err := pass(f, &census{h}, func(d *dumpReader) { h.ids = d.ids; h.all.now = min(nowMs, ms(d, nowMs)) }, progress("counting"))
	if err != nil {
		return nil, nil, err
	}
	out := &Dump{Path: f.path, At: first.time, IDSize: h.ids, Bytes: first.at, Cut: cut, Of: int64(len(h.managers)) + h.leftOut, LeftOut: h.leftOut, ReferenceBytes: 0}
	if len(h.managers) > 0 {
		if err := h.resolve(f, progress); err != nil {
			return nil, nil, err
		}
	}
	shape := h.shape()
	out.ReferenceBytes = shape.ref
	hist := h.histogram(f.path, shape)
	hist.At, hist.AtHow, hist.Cut = first.time, "heap dump", cut != ""
	out.All = *h.all.done()
	out.All.OneBatch, out.FirstBatches = h.oneBatch(hist), max(h.firstBatch, h.all.OneBatch)
	out.IDs = h.everyone.count()
	h.partitions(out)
	out.EntryBytes = h.entryBytes(hist, shape)
	return out, hist, nil
}

func ms(d *dumpReader, otherwise int64) int64 {
	if d.time.IsZero() {
		return otherwise
	}
	return d.time.UnixMilli()
}

// pass reads a dump once. A dump that is cut or damaged is no error: cut says it.
func pass(f opener, v dumpVisitor, begin func(*dumpReader), progress func(int64) error) (d *dumpReader, cut string, err error) {
	in, err := f.open()
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = in.Close() }() // read only
	var broken error                  // of the stream: a gzip that is cut
	stream := io.Reader(&watched{in, &broken})
	if s, ok := in.(io.Seeker); ok {
		stream = seekable{stream, s}
	}
	d, err = readDump(stream, v, begin, progress)
	switch {
	case errors.Is(err, errCut):
		if broken != nil {
			err = fmt.Errorf("%w (%w)", err, broken)
		}
		return d, describeDamage(d, err), nil
	case err != nil:
		return d, "", err
	case broken != nil:
		return d, describeDamage(d, broken), nil
	}
	return d, describeDamage(d, nil), nil
}

// watched keeps the error that ended a stream, where that was not its end.
type watched struct {
	io.Reader
	broken *error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		*w.broken = err
	}
	return n, err
}

// seekable is a stream that can be read with gaps: a file that is not compressed.
type seekable struct {
	io.Reader
	io.Seeker
}

// resolve follows the managers to their maps, names, tables, nodes and entries, one step a pass.
func (h *heap) resolve(f *file, progress func(string) func(int64) error) error {
	s := &sampler{heap: h, nodes: map[uint64]int32{}, entries: map[uint64]int32{}, deques: map[uint64]int32{}}
	steps := []struct {
		name string
		make func() *wanted
	}{{"maps and topics", h.wantMaps}, {"tables", h.wantTables}, {"names and nodes", s.wantNodes}, {"entries", s.wantEntries}, {"batches", s.wantDeques}}
	for _, step := range steps {
		w := step.make()
		w.found, w.sampled, w.table = s.found, s.sampled, s.slot
		if w.left == 0 {
			continue
		}
		if _, _, err := pass(f, w, nil, progress(step.name)); err != nil {
			return err
		}
	}
	return nil
}

func (h *heap) wantMaps() *wanted {
	w := &wanted{heap: h, maps: map[uint64][]int32{}, topics: map[uint64][]int32{}, nameIDs: h.largestClasses()}
	for i := range h.managers {
		m := &h.managers[i]
		w.want(w.maps, m.producers, int32(i))
		w.want(w.topics, m.topicRef, int32(i))
	}
	return w
}

func (w *wanted) want(in map[uint64][]int32, ref uint64, m int32) {
	if ref == 0 {
		return
	}
	if in[ref] == nil {
		w.left++
	}
	in[ref] = append(in[ref], m)
}

func (h *heap) wantTables() *wanted {
	w := &wanted{heap: h, tables: map[uint64][]int32{}, strings: map[uint64][]int32{}}
	total := int64(1)
	for i := range h.managers {
		total += max(0, h.managers[i].entries)
	}
	for _, i := range h.byEntries() {
		m := &h.managers[i]
		w.want(w.strings, m.nameRef, i)
		if m.entries > 0 && len(w.tables) < samplesMax/samplesLeast {
			m.quota = min(m.entries, samplesEach, max(samplesLeast, int64(samplesMax*float64(m.entries)/float64(total))))
			w.want(w.tables, m.tableRef, i)
		}
	}
	return w
}

func (s *sampler) wantNodes() *wanted {
	w := &wanted{heap: s.heap, chars: map[uint64][]int32{}, nodes: s.nodes, left: len(s.nodes)}
	for i := range s.managers {
		w.want(w.chars, s.managers[i].charsRef, int32(i))
	}
	return w
}

func (s *sampler) wantEntries() *wanted {
	s.nodes = nil
	return &wanted{heap: s.heap, entries: s.entries, left: len(s.entries)}
}

func (s *sampler) wantDeques() *wanted {
	s.entries = nil
	return &wanted{heap: s.heap, deques: s.deques, left: len(s.deques)}
}

// largestClasses are the names of the classes with most bytes, which the first pass could not know yet.
func (h *heap) largestClasses() map[uint64]bool {
	ids := map[uint64]bool{}
	for _, c := range h.classes.all {
		if c.objects > 0 && len(ids) < 1<<16 {
			ids[c.name] = true
		}
	}
	return ids
}

// sampler carries the sampled entries from pass to pass: each object's manager.
type sampler struct {
	*heap
	nodes, entries, deques map[uint64]int32
}

// found takes an object that managers refer to.
func (s *sampler) found(kind objectKind, managers []int32, i instance) {
	for _, n := range managers {
		m := &s.managers[n]
		switch kind {
		case kindMap:
			if size, ok := i.int("size", "tableSize", "contentSize"); ok && size >= 0 {
				m.entries = int64(size)
			}
			m.tableRef = i.ref("table")
		case kindTopic:
			m.partition, _ = i.int("partition")
			m.nameRef = i.ref("topic")
		case kindString:
			m.charsRef = i.ref("value")
			if coder := i.bytes(1, "coder"); coder != nil {
				m.latin = coder[0] == 0
			}
		}
	}
}

// slot is told of each slot of a wanted table that is not empty, and takes nodes evenly.
func (s *sampler) slot(n int32, slot int, ref uint64) {
	m := &s.managers[n]
	if int64(slot) < m.nextSlot || m.quota <= 0 {
		return
	}
	if _, twice := s.nodes[ref]; twice {
		return
	}
	s.nodes[ref] = n
	m.quota--
	m.nextSlot = int64(slot) + max(1, m.step)
}

// sampled takes an object that belongs to a sampled entry.
func (s *sampler) sampled(kind objectKind, n int32, i instance) {
	m := &s.managers[n]
	if m.sample == nil {
		m.sample = newTally(s.all.now)
	}
	switch kind {
	case kindNode:
		if ref := i.ref("value", "_value"); ref != 0 {
			s.entries[ref] = n
		}
	case kindEntry:
		e := s.entry(i)
		m.sample.add(e)
		if ref := i.ref("batchMetadata"); ref != 0 {
			s.deques[ref] = n
		}
	case kindDeque:
		if dequeSize(i) == 1 {
			m.sample.OneBatch++
		}
	}
}

// dequeSize is how many batches an entry remembers, at most five. Scala's queue counts them; Java's has two positions in an
// array of at least six.
func dequeSize(i instance) int {
	if n, ok := i.int("len"); ok {
		return int(n)
	}
	for _, ends := range [][2]string{{"head", "tail"}, {"start", "end"}} {
		from, ok1 := i.int(ends[0])
		to, ok2 := i.int(ends[1])
		if ok1 && ok2 {
			if to < from {
				return 2 // it wrapped; so it is not one, or hardly ever
			}
			return int(to - from)
		}
	}
	return 0
}

// shape is how the virtual machine lays out objects.
type shape struct{ head, ref int }

// shape reads the layout off the size of a map's node: four fields behind the head, three of them references.
func (h *heap) shape() shape {
	if h.ids == 4 {
		return shape{8, 4}
	}
	for _, c := range h.classes.all {
		if h.names[c.name] == "java/util/HashMap$Node" {
			switch {
			case c.nearest >= 48:
				return shape{16, 8}
			case c.nearest >= 40:
				return shape{12, 8}
			case c.nearest > 0 && c.nearest <= 24:
				return shape{8, 4}
			}
		}
	}
	return shape{12, 4}
}

// size is what an instance of a class takes.
func (h *heap) size(c *class, s shape) int64 {
	at, depth := s.head, 0
	for k := c; k != nil && depth < 64; k, depth = h.classes.find(k.super), depth+1 {
		for _, f := range k.fields {
			if f.kind == typeObject {
				at += s.ref
			} else {
				at += typeSize(f.kind, h.ids)
			}
		}
		if k.super == 0 {
			break
		}
	}
	return align(int64(at))
}

func align(n int64) int64 { return (n + 7) &^ 7 }

// primitiveNames are the names of arrays of numbers in histograms.
var primitiveNames = [12]string{typeBoolean: "[Z", typeChar: "[C", typeFloat: "[F", typeDouble: "[D", typeByte: "[B", typeShort: "[S", typeInt: "[I", typeLong: "[J"}

// histogram is the dump's classes in the form of a class histogram.
func (h *heap) histogram(path string, s shape) *Histogram {
	out := &Histogram{Source: path, Classes: map[string]Count{}}
	arrayHead := int64(s.head + 4)
	for _, c := range h.classes.all {
		if c.objects == 0 {
			continue
		}
		n := Count{c.objects, c.objects * h.size(c, s)}
		name := className(h.names[c.name])
		if c.arrayBytes > 0 || strings.HasPrefix(name, "[") {
			n.Bytes = c.objects*align(arrayHead) + c.arrayBytes*int64(s.ref)
		}
		if name == "" {
			name = fmt.Sprintf("class %#x", c.id)
		}
		out.Total.Objects += n.Objects
		out.Total.Bytes += n.Bytes
		out.keep(ClassCount{name, n})
	}
	for kind, p := range h.prims {
		if p.Objects == 0 {
			continue
		}
		n := Count{p.Objects, p.Objects*align(arrayHead) + p.Bytes}
		out.Total.Objects += n.Objects
		out.Total.Bytes += n.Bytes
		out.keep(ClassCount{primitiveNames[kind], n})
	}
	return out
}

// oneBatch is how many entries hold the first batch of their producer and no other, at least: so many batches began at
// sequence 0, and so many more batches than entries there are.
func (h *heap) oneBatch(hist *Histogram) int64 {
	for _, c := range h.classes.all {
		if c.entry011 && c.objects > 0 {
			return h.all.OneBatch
		}
	}
	extra := max(0, hist.Batches().Objects-hist.Entries().Objects)
	return max(0, h.firstBatch-extra)
}

// partitions puts the managers into the dump's evidence.
func (h *heap) partitions(out *Dump) {
	for _, i := range h.byEntries() {
		m := &h.managers[i]
		if m.entries <= 0 {
			continue
		}
		if len(out.Partitions) >= dumpPartitionsMax {
			out.LeftOut++
			continue
		}
		p := DumpPartition{Topic: m.topic, Partition: m.partition, Entries: m.entries}
		if m.sample != nil {
			p.Sample = m.sample.done()
		}
		out.Partitions = append(out.Partitions, p)
	}
}

// entryBytes adds up what belongs to an entry, by the sizes of this heap's objects.
func (h *heap) entryBytes(hist *Histogram, s shape) float64 {
	entries := hist.Entries()
	if entries.Objects == 0 {
		return 0
	}
	each := func(name string) float64 {
		n := hist.Classes[name]
		if n.Objects == 0 {
			return 0
		}
		return float64(n.Bytes) / float64(n.Objects)
	}
	n := float64(entries.Objects)
	batches := float64(hist.Batches().Objects) / n
	sum := float64(entries.Bytes)/n + float64(hist.Batches().Bytes)/n + each("java.lang.Long")
	switch {
	case hist.Classes[classEntryJava].Objects > 0:
		const dequeSlots = 17 // ArrayDeque's own default
		sum += each("java.util.HashMap$Node") + each("java.util.ArrayDeque") + float64(align(int64(s.head+4+dequeSlots*s.ref)))
	case hist.Classes["scala.collection.mutable.LinkedList"].Objects >= entries.Objects: // Scala 2.12: one node more than batches
		sum += each("scala.collection.mutable.DefaultEntry") + each("scala.collection.mutable.Queue") + (batches+1)*each("scala.collection.mutable.LinkedList")
	default: // Scala 2.13
		const dequeSlots = 16
		sum += each("scala.collection.mutable.HashMap$Node") + each("scala.collection.mutable.Queue") + float64(align(int64(s.head+4+dequeSlots*s.ref)))
	}
	slots, of := int64(0), int64(0)
	for i := range h.managers {
		if h.managers[i].slots > 0 {
			slots += h.managers[i].slots
			of += h.managers[i].entries
		}
	}
	if of > 0 {
		sum += float64(slots) * float64(s.ref) / float64(of)
	}
	return math.Round(sum*10) / 10
}
