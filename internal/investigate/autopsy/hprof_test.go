package autopsy

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/internal/investigate/diagnose"
)

// dumpWriter writes heap dumps as HotSpot does: strings, classes, then objects one behind the other in memory.
type dumpWriter struct {
	b, seg bytes.Buffer
	ids    int
	next   uint64 // address
	names  map[string]uint64
	layout map[string][]dumpFieldOf
}

type dumpFieldOf struct {
	name string
	kind byte
}

func newDumpWriter(ids int) *dumpWriter {
	w := &dumpWriter{ids: ids, next: 0x10000, names: map[string]uint64{}, layout: map[string][]dumpFieldOf{}}
	w.b.WriteString("JAVA PROFILE 1.0.2\x00")
	w.u4(&w.b, uint32(ids))
	w.u8(&w.b, uint64(testNow.UnixMilli()))
	return w
}

func (*dumpWriter) u2(b *bytes.Buffer, v uint16) { b.Write(binary.BigEndian.AppendUint16(nil, v)) }
func (*dumpWriter) u4(b *bytes.Buffer, v uint32) { b.Write(binary.BigEndian.AppendUint32(nil, v)) }
func (*dumpWriter) u8(b *bytes.Buffer, v uint64) { b.Write(binary.BigEndian.AppendUint64(nil, v)) }

func (w *dumpWriter) id(b *bytes.Buffer, v uint64) {
	if w.ids == 8 {
		w.u8(b, v)
	} else {
		w.u4(b, uint32(v))
	}
}

func (w *dumpWriter) record(tag byte, body []byte) {
	w.b.WriteByte(tag)
	w.u4(&w.b, 0)
	w.u4(&w.b, uint32(len(body)))
	w.b.Write(body)
}

func (w *dumpWriter) name(s string) uint64 {
	if id := w.names[s]; id != 0 {
		return id
	}
	id := uint64(len(w.names) + 1)
	w.names[s] = id
	var b bytes.Buffer
	w.id(&b, id)
	b.WriteString(s)
	w.record(tagString, b.Bytes())
	return id
}

func (w *dumpWriter) classID(class string) uint64 { return 0x1000 + w.names[class]*8 }

// class writes the names and the class itself; super is the name of a class written before, or empty.
func (w *dumpWriter) class(class, super string, fields ...dumpFieldOf) {
	var load bytes.Buffer
	name := w.name(class)
	w.u4(&load, 1)
	w.id(&load, w.classID(class))
	w.u4(&load, 0)
	w.id(&load, name)
	w.record(tagLoadClass, load.Bytes())
	for _, f := range fields {
		w.name(f.name)
	}
	s := &w.seg
	s.WriteByte(subClass)
	w.id(s, w.classID(class))
	w.u4(s, 0)
	if super == "" {
		w.id(s, 0)
	} else {
		w.id(s, w.classID(super))
	}
	for range 5 {
		w.id(s, 0)
	}
	w.u4(s, 0)
	w.u2(s, 1) // a constant
	w.u2(s, 7)
	s.WriteByte(typeInt)
	w.u4(s, 9)
	w.u2(s, 1) // a static field
	w.id(s, name)
	s.WriteByte(typeLong)
	w.u8(s, 9)
	w.u2(s, uint16(len(fields)))
	for _, f := range fields {
		w.id(s, w.names[f.name])
		s.WriteByte(f.kind)
	}
	w.layout[class] = append(fields, w.layout[super]...)
}

// object writes an instance and returns its address; values are by field name, others are 0.
func (w *dumpWriter) object(class string, size uint64, values map[string]int64) uint64 {
	at := w.next
	w.next += size
	var data bytes.Buffer
	for _, f := range w.layout[class] {
		v := values[f.name]
		switch typeSize(f.kind, w.ids) {
		case 1:
			data.WriteByte(byte(v))
		case 2:
			w.u2(&data, uint16(v))
		case 4:
			w.u4(&data, uint32(v))
		case 8:
			w.u8(&data, uint64(v))
		}
	}
	s := &w.seg
	s.WriteByte(subInstance)
	w.id(s, at)
	w.u4(s, 0)
	w.id(s, w.classID(class))
	w.u4(s, uint32(data.Len()))
	s.Write(data.Bytes())
	return at
}

func (w *dumpWriter) array(refs []uint64) uint64 {
	at := w.next
	w.next += uint64(16 + 4*len(refs))
	s := &w.seg
	s.WriteByte(subObjects)
	w.id(s, at)
	w.u4(s, 0)
	w.u4(s, uint32(len(refs)))
	w.id(s, w.classID("[Ljava/lang/Object;"))
	for _, r := range refs {
		w.id(s, r)
	}
	return at
}

func (w *dumpWriter) bytes(b []byte) uint64 {
	at := w.next
	w.next += uint64(16 + len(b))
	s := &w.seg
	s.WriteByte(subPrimitives)
	w.id(s, at)
	w.u4(s, 0)
	w.u4(s, uint32(len(b)))
	s.WriteByte(typeByte)
	s.Write(b)
	return at
}

// flush ends a heap dump segment.
func (w *dumpWriter) flush() {
	w.record(tagHeapSegment, w.seg.Bytes())
	w.seg.Reset()
}

const javaLog = "org/apache/kafka/storage/internals/log/"

// javaClasses are those of Kafka 3.5 and later.
func (w *dumpWriter) javaClasses() {
	ref := func(names ...string) (out []dumpFieldOf) {
		for _, n := range names {
			out = append(out, dumpFieldOf{n, typeObject})
		}
		return out
	}
	w.class("java/lang/Object", "")
	w.class("[Ljava/lang/Object;", "java/lang/Object")
	w.class("java/util/AbstractMap", "java/lang/Object", ref("keySet", "values")...)
	w.class("java/util/HashMap", "java/util/AbstractMap", append(ref("table", "entrySet"), dumpFieldOf{"size", typeInt}, dumpFieldOf{"modCount", typeInt}, dumpFieldOf{"threshold", typeInt}, dumpFieldOf{"loadFactor", typeFloat})...)
	w.class("java/util/HashMap$Node", "java/lang/Object", append([]dumpFieldOf{{"hash", typeInt}}, ref("key", "value", "next")...)...)
	w.class("java/lang/String", "java/lang/Object", append(ref("value"), dumpFieldOf{"hash", typeInt}, dumpFieldOf{"coder", typeByte}, dumpFieldOf{"hashIsZero", typeBoolean})...)
	w.class("java/util/ArrayDeque", "java/lang/Object", append(ref("elements"), dumpFieldOf{"head", typeInt}, dumpFieldOf{"tail", typeInt})...)
	w.class("java/lang/Long", "java/lang/Object", dumpFieldOf{"value", typeLong})
	w.class("org/apache/kafka/common/TopicPartition", "java/lang/Object", dumpFieldOf{"hash", typeInt}, dumpFieldOf{"partition", typeInt}, dumpFieldOf{"topic", typeObject})
	w.class(javaLog+"ProducerStateManager", "java/lang/Object", append(ref("log", "topicPartition", "time", "producers"), dumpFieldOf{"producerIdCount", typeInt})...)
	w.class(javaLog+"ProducerStateEntry", "java/lang/Object", append([]dumpFieldOf{{"producerId", typeLong}, {"lastTimestamp", typeLong}, {"coordinatorEpoch", typeInt}, {"producerEpoch", typeShort}}, ref("batchMetadata", "currentTxnFirstOffset")...)...)
	w.class(javaLog+"BatchMetadata", "java/lang/Object", dumpFieldOf{"lastOffset", typeLong}, dumpFieldOf{"timestamp", typeLong}, dumpFieldOf{"lastSeq", typeInt}, dumpFieldOf{"offsetDelta", typeInt})
	w.flush()
}

// partition writes a partition with n producers of so many batches each, the first id being pid.
func (w *dumpWriter) partition(topic string, partition int, pid int64, n, batches int) {
	slots := 16
	for slots < 2*n {
		slots *= 2
	}
	table := make([]uint64, slots)
	for i := range n {
		elements := make([]uint64, 17)
		for b := range batches {
			elements[b] = w.object(javaLog+"BatchMetadata", 40, map[string]int64{"lastSeq": int64(b), "lastOffset": int64(i), "timestamp": testNow.UnixMilli() - 1000})
		}
		deque := w.object("java/util/ArrayDeque", 24, map[string]int64{"elements": int64(w.array(elements)), "tail": int64(batches)})
		entry := w.object(javaLog+"ProducerStateEntry", 48, map[string]int64{"producerId": pid + int64(i), "lastTimestamp": testNow.UnixMilli() - 1000, "coordinatorEpoch": -1, "batchMetadata": int64(deque)})
		key := w.object("java/lang/Long", 24, map[string]int64{"value": pid + int64(i)})
		table[i*slots/n] = w.object("java/util/HashMap$Node", 32, map[string]int64{"key": int64(key), "value": int64(entry)})
		if w.seg.Len() > 64<<10 {
			w.flush()
		}
	}
	producers := w.object("java/util/HashMap", 48, map[string]int64{"table": int64(w.array(table)), "size": int64(n)})
	name := w.object("java/lang/String", 24, map[string]int64{"value": int64(w.bytes([]byte(topic)))})
	tp := w.object("org/apache/kafka/common/TopicPartition", 24, map[string]int64{"topic": int64(name), "partition": int64(partition)})
	w.object(javaLog+"ProducerStateManager", 80, map[string]int64{"topicPartition": int64(tp), "producers": int64(producers)})
	w.flush()
}

func (w *dumpWriter) end() []byte {
	s := &w.seg
	for tag, bytes := range map[byte]int{subRootUnknown: w.ids, subRootSticky: w.ids, subRootMonitor: w.ids, subRootJNIGlobal: 2 * w.ids,
		subRootJNILocal: w.ids + 8, subRootFrame: w.ids + 8, subRootThread: w.ids + 8, subRootNative: w.ids + 4, subRootBlock: w.ids + 4} {
		s.WriteByte(tag)
		s.Write(make([]byte, bytes))
	}
	w.flush()
	w.record(0x05, make([]byte, 12)) // a stack trace
	w.record(0x2c, nil)
	return w.b.Bytes()
}

func readDumpBytes(t testing.TB, b []byte) (*Dump, *Histogram) {
	t.Helper()
	f := &file{path: "x.hprof", size: int64(len(b)), data: b}
	f.gzip = len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b
	d, h, err := readHeapDump(f, testNow.UnixMilli(), func(string) func(int64) error { return func(int64) error { return nil } })
	if err != nil {
		t.Fatal(err)
	}
	return d, h
}

func someDump(ids int) []byte {
	w := newDumpWriter(ids)
	w.javaClasses()
	w.partition("payments.audit", 3, 5000, 3000, 1)
	w.partition("orders", 0, 10, 2, 5)
	w.partition("empty", 1, 0, 0, 0)
	return w.end()
}

func TestHeapDump(t *testing.T) {
	for _, ids := range []int{8, 4} {
		d, h := readDumpBytes(t, someDump(ids))
		if d.Cut != "" || d.Of != 3 || d.IDSize != ids || len(d.Partitions) != 2 || !d.At.Equal(testNow) || d.ReferenceBytes != 4 {
			t.Fatalf("id size %d: %+v", ids, d)
		}
		p := d.Partitions[0]
		if p.Topic != "payments.audit" || p.Partition != 3 || p.Entries != 3000 || p.Sample.Entries != 3000 || p.Sample.PIDMin != 5000 || p.Sample.PIDMax != 7999 || p.Sample.OneBatch != 3000 {
			t.Errorf("id size %d: %+v %+v", ids, p, p.Sample)
		}
		if q := d.Partitions[1]; q.Topic != "orders" || q.Entries != 2 || q.Sample.OneBatch != 0 || q.Sample.PIDMax != 11 {
			t.Errorf("id size %d: %+v %+v", ids, q, q.Sample)
		}
		if d.All.Entries != 3002 || d.All.PIDMin != 10 || d.All.PIDMax != 7999 || d.All.EpochZero != 3002 || d.IDs != 3002 || d.FirstBatches != 3002 || d.All.OneBatch != 3002-8 {
			t.Errorf("id size %d: %+v", ids, d.All)
		}
		if h.Entries().Objects != 3002 || h.Batches().Objects != 3010 || ids == 8 && h.Entries().Bytes != 48*3002 {
			t.Errorf("id size %d: entries %v, batches %v", ids, h.Entries(), h.Batches())
		}
		// Entry 48, batch 40, node 32, key 24, deque 24, its array 88, and the slots of the table: 8192 for 3000, 16 for 2.
		if want := 256 + 40*8/3002. + 4*(8192+16)/3002.; ids == 8 && (d.EntryBytes < want-0.2 || d.EntryBytes > want+0.2) {
			t.Errorf("an entry takes %.1f bytes, want %.1f", d.EntryBytes, want)
		}
		r := checkReport(t, &Evidence{At: testNow, Dumps: []Dump{*d}, Histograms: []Histogram{*h}})
		if r.Level != diagnose.Storm || !strings.Contains(r.Sentence, "payments.audit-3") || !strings.Contains(r.Sentence, "5000 to 7999") {
			t.Errorf("%s: %s", r.Level, r.Sentence)
		}
	}
}

func TestWidePointers(t *testing.T) {
	w := newDumpWriter(8)
	w.javaClasses()
	for range 10 {
		w.object("java/util/HashMap$Node", 48, nil)
	}
	if d, h := readDumpBytes(t, w.end()); d.ReferenceBytes != 8 || h.Classes["java.util.HashMap$Node"].Bytes != 480 {
		t.Errorf("references of %d bytes, nodes %v", d.ReferenceBytes, h.Classes["java.util.HashMap$Node"])
	}
}

func TestZippedDump(t *testing.T) {
	plain := someDump(8)
	var members bytes.Buffer // HotSpot writes many members
	for part := range 3 {
		z := gzip.NewWriter(&members)
		if _, err := z.Write(plain[part*len(plain)/3 : (part+1)*len(plain)/3]); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := readDumpBytes(t, members.Bytes()); d.Cut != "" || d.Partitions[0].Entries != 3000 {
		t.Errorf("%+v", d)
	}
	d, h := readDumpBytes(t, members.Bytes()[:members.Len()/2])
	if d.Cut == "" || !h.Cut || d.All.Entries == 0 || d.All.Entries >= 3002 {
		t.Errorf("half of it: cut %q, %d entries", d.Cut, d.All.Entries)
	}
}

// A dump may end anywhere: the disk was full.
func TestCutDump(t *testing.T) {
	whole := someDump(8)
	last := int64(0)
	for _, n := range []int{40, 1000, 5000, 100_000, len(whole) / 2, len(whole) * 3 / 4, len(whole) - 30} {
		d, h := readDumpBytes(t, whole[:n])
		if d.Cut == "" || !h.Cut || d.All.Entries < last {
			t.Errorf("%d bytes: cut %q, %d entries, %d before", n, d.Cut, d.All.Entries, last)
		}
		last = d.All.Entries
		checkReport(t, &Evidence{At: testNow, Dumps: []Dump{*d}, Histograms: []Histogram{*h}})
	}
	if last != 3002 {
		t.Errorf("without its last bytes it has %d entries", last)
	}
}

// Java 8 writes a segment's length when it is whole: of one that was cut it is 0.
func TestSegmentWithoutLength(t *testing.T) {
	whole := someDump(8)
	at, last, longest := len("JAVA PROFILE 1.0.2")+1+12, 0, uint32(0)
	for at < len(whole) {
		if n := binary.BigEndian.Uint32(whole[at+5:]); whole[at] == tagHeapSegment && n > longest {
			last, longest = at, n
		}
		at += 9 + int(binary.BigEndian.Uint32(whole[at+5:]))
	}
	end := last + 9 + int(binary.BigEndian.Uint32(whole[last+5:]))
	want, _ := readDumpBytes(t, whole[:end])
	binary.BigEndian.PutUint32(whole[last+5:], 0)
	if d, _ := readDumpBytes(t, whole[:end]); d.Cut == "" || d.All.Entries < 1000 || d.All.Entries != want.All.Entries {
		t.Errorf("cut %q, %d entries, want %d", d.Cut, d.All.Entries, want.All.Entries)
	}
	closed := binary.BigEndian.AppendUint32(append(bytes.Clone(whole[:end]), tagHeapEnd, 0, 0, 0, 0), 0)
	if d, _ := readDumpBytes(t, closed); d.Cut != "" || d.All.Entries != want.All.Entries {
		t.Errorf("with its end: cut %q, %d entries", d.Cut, d.All.Entries)
	}
}

func TestDamagedDump(t *testing.T) {
	w := newDumpWriter(8)
	w.javaClasses()
	w.partition("a", 0, 1, 100, 1)
	w.seg.WriteByte(0x77) // no such tag
	w.seg.Write(make([]byte, 1000))
	w.flush()
	w.seg.WriteByte(subPrimitives) // longer than its segment
	w.seg.Write(bytes.Repeat([]byte{0x7f}, 16))
	w.seg.WriteByte(typeLong)
	w.flush()
	w.partition("b", 1, 1000, 50, 1)
	d, _ := readDumpBytes(t, w.end())
	if !strings.Contains(d.Cut, "damaged at byte") || strings.Count(d.Cut, "left out") != 2 || len(d.Partitions) != 2 || d.All.Entries != 150 {
		t.Errorf("cut %q, %d partitions, %d entries", d.Cut, len(d.Partitions), d.All.Entries)
	}
}

func TestNoDump(t *testing.T) {
	for _, s := range []string{"", "JAVA PROFILE 1.0", "JAVA PROFILE 1.0.2", "JAVA PROFILE 1.0.2\x00\x00\x00\x00\x07aaaaaaaaaaaaaaaaa", strings.Repeat("x", 100)} {
		f := &file{path: "x", data: []byte(s)}
		if _, _, err := readHeapDump(f, 0, func(string) func(int64) error { return nil }); err == nil {
			t.Errorf("%q is a dump", s)
		}
	}
}

// Thousands of partitions with many producers: samples are bounded, and still span the ids.
// Names and fields of a crafted dump take no more memory than their limits.
func TestNamesOfADumpAreBounded(t *testing.T) {
	c := &census{newHeap(0)}
	fields := make([]dumpField, fieldsMax)
	for i := range uint64(2 * namesMax) {
		c.text(i, fmt.Appendf(nil, "kafka/x%d/Log", i))
	}
	for i := range uint64(2 * fieldsKept / fieldsMax) {
		c.class(&classDump{id: i, fields: fields})
	}
	kept := 0
	for _, k := range c.classes.all {
		kept += len(k.fields)
	}
	if len(c.names) != namesMax || kept != fieldsKept {
		t.Errorf("%d names, %d fields", len(c.names), kept)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	w := newDumpWriter(8)
	w.javaClasses()
	w.partition("big", 0, 1_000_000, 120_000, 1)
	for i := range 50 {
		w.partition("small", i, int64(i*1000), 100, 1)
	}
	d, _ := readDumpBytes(t, w.end())
	if d.Cut != "" || len(d.Partitions) != 51 {
		t.Fatalf("%d partitions, cut %q", len(d.Partitions), d.Cut)
	}
	sampled := int64(0)
	for _, p := range d.Partitions {
		sampled += p.Sample.Entries
		if p.Sample.Entries < samplesLeast {
			t.Errorf("%s-%d: %d entries sampled", p.Topic, p.Partition, p.Sample.Entries)
		}
	}
	big := d.Partitions[0]
	if sampled > samplesMax+samplesMax/8 || big.Entries != 120_000 || big.Sample.PIDMin > 1_000_100 || big.Sample.PIDMax < 1_119_900 {
		t.Errorf("%d sampled, %+v", sampled, big.Sample)
	}
}

func FuzzDump(f *testing.F) {
	w := newDumpWriter(8)
	w.javaClasses()
	w.partition("a", 0, 1, 3, 2)
	whole := w.end()
	f.Add(whole)
	f.Add(whole[:len(whole)-100])
	small := newDumpWriter(4)
	small.class("java/lang/Object", "")
	f.Add(small.end())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, h, err := readHeapDump(&file{path: "fuzz", data: b, size: int64(len(b))}, testNow.UnixMilli(), func(string) func(int64) error { return nil })
		if err != nil {
			return
		}
		checkReport(t, &Evidence{At: testNow, Dumps: []Dump{*d}, Histograms: []Histogram{*h}})
	})
}

// BenchmarkHeapDump reads a dump of a broker full of single-use producers, all passes. MB/s are of one pass: bytes read over time.
func BenchmarkHeapDump(b *testing.B) {
	w := newDumpWriter(8)
	w.javaClasses()
	for i := range 20 {
		w.partition(fmt.Sprintf("t%d", i), 0, int64(i)*100_000, 15_000, 1)
	}
	data := w.end()
	name := filepath.Join(b.TempDir(), "x.hprof")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		b.Fatal(err)
	}
	f := &file{path: name, size: int64(len(data))}
	b.Run("first pass", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			h := newHeap(testNow.UnixMilli())
			if _, _, err := pass(f, &census{h}, func(d *dumpReader) { h.ids = d.ids }, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all passes", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, _, err := readHeapDump(f, testNow.UnixMilli(), func(string) func(int64) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
