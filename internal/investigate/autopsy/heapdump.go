package autopsy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// What an object is to the passes over a dump.
type objectKind uint8

const (
	kindNone    objectKind = iota
	kindManager            // ProducerStateManager: one for each partition
	kindMap                // the map of its producers
	kindNode               // a node of that map
	kindTopic              // TopicPartition
	kindString
	kindEntry
	kindBatch
	kindDeque // the batches of an entry
)

// kinds of classes, by the name that the dump has for them.
var kinds = map[string]objectKind{
	"kafka/log/ProducerStateManager":                              kindManager,
	"org/apache/kafka/storage/internals/log/ProducerStateManager": kindManager,
	"java/util/HashMap":                                           kindMap,
	"scala/collection/mutable/HashMap":                            kindMap,
	"java/util/HashMap$Node":                                      kindNode,
	"java/util/HashMap$TreeNode":                                  kindNode,
	"scala/collection/mutable/DefaultEntry":                       kindNode,
	"scala/collection/mutable/HashMap$Node":                       kindNode,
	"org/apache/kafka/common/TopicPartition":                      kindTopic,
	"java/lang/String":                                            kindString,
	"kafka/log/ProducerIdEntry":                                   kindEntry,
	"kafka/log/ProducerStateEntry":                                kindEntry,
	"org/apache/kafka/storage/internals/log/ProducerStateEntry":   kindEntry,
	"kafka/log/BatchMetadata":                                     kindBatch,
	"org/apache/kafka/storage/internals/log/BatchMetadata":        kindBatch,
	"java/util/ArrayDeque":                                        kindDeque,
	"scala/collection/mutable/Queue":                              kindDeque,
}

// fieldNames are the fields that are read. Scala may put the name of the class and dollar signs before the name of a private one.
var fieldNames = []string{
	"producers", "topicPartition", // ProducerStateManager
	"table", "size", "tableSize", "contentSize", // maps
	"value", "_value", // nodes, String
	"topic", "partition", "coder",
	"producerId", "producerEpoch", "lastTimestamp", "coordinatorEpoch", "batchMetadata",
	"lastSeq", "lastOffset", "offsetDelta", "timestamp",
	"head", "tail", "len", "start", "end", // deques
}

// class is one class of a dump.
type class struct {
	id, super, name uint64
	fields          []dumpField
	kind            objectKind
	entry011        bool // ProducerIdEntry, which holds its batch itself
	objects         int64
	arrayBytes      int64 // of arrays, without heads
	nearest         int64 // the least distance from one to the object behind it, which is its size where they touch; 0: not seen
	layout          map[string]int
	laid            bool
}

// classes finds classes by id, quickly: one look-up for each object of a dump.
type classes struct {
	all   []*class
	slots []int32 // open addressing; index into all plus one
	last  *class
}

const (
	// classesMax bounds the classes of a dump that are told apart; a broker has about 15,000.
	classesMax = 1 << 18
	// fieldsKept bounds the fields of all classes together; a broker's have about 50,000.
	fieldsKept = 1 << 20
	// namesMax bounds the names of classes and fields that are kept; a few hundred are of interest.
	namesMax = 1 << 14
)

func newClasses() *classes { return &classes{slots: make([]int32, 1<<12)} }

func (c *classes) find(id uint64) *class {
	if c.last != nil && c.last.id == id {
		return c.last
	}
	mask := uint64(len(c.slots) - 1)
	for i := hash(int64(id)) & mask; ; i = (i + 1) & mask {
		switch n := c.slots[i]; {
		case n == 0:
			return nil
		case c.all[n-1].id == id:
			c.last = c.all[n-1]
			return c.last
		}
	}
}

func (c *classes) get(id uint64) *class {
	if k := c.find(id); k != nil {
		return k
	}
	if len(c.all) >= classesMax {
		return &class{}
	}
	if 2*len(c.all) >= len(c.slots) {
		c.slots = make([]int32, 2*len(c.slots))
		for i, k := range c.all {
			c.put(k.id, int32(i+1))
		}
	}
	k := &class{id: id}
	c.all = append(c.all, k)
	c.put(id, int32(len(c.all)))
	return k
}

func (c *classes) put(id uint64, n int32) {
	mask := uint64(len(c.slots) - 1)
	i := hash(int64(id)) & mask
	for c.slots[i] != 0 {
		i = (i + 1) & mask
	}
	c.slots[i] = n
}

// heap is what the passes over one dump learn.
type heap struct {
	ids     int
	names   map[uint64]string // of classes and fields that matter
	classes *classes
	fields  int       // of all classes together
	prims   [12]Count // objects, elements in bytes

	managers []manager
	leftOut  int64

	all        *tally
	everyone   distinct
	firstBatch int64 // batches that began at sequence 0
	batchTimes bool  // entries have no time of their own: it is that of batches

	previous     uint64 // the last object, and its class if its size is wanted
	previousKind *class
}

// manager is one partition.
type manager struct {
	producers, topicRef, tableRef, nameRef, charsRef uint64
	entries                                          int64 // -1: its map is not in the dump
	slots                                            int64 // of the map's table
	quota, step, nextSlot                            int64 // how many nodes to sample, from every how many slots, and where next
	partition                                        int32
	latin                                            bool
	topic                                            string
	sample                                           *tally
}

func newHeap(nowMs int64) *heap {
	return &heap{names: map[uint64]string{}, classes: newClasses(), all: newTally(nowMs)}
}

// layoutOf says where in an instance the fields with known names are: own ones first, then those of the class above it.
func (h *heap) layoutOf(c *class) map[string]int {
	if c.laid {
		return c.layout
	}
	c.laid = true
	layout := map[string]int{}
	at, depth := 0, 0
	for k := c; k != nil && depth < 64; k, depth = h.classes.find(k.super), depth+1 {
		for _, f := range k.fields {
			if name, known := h.names[f.name]; known {
				if i := strings.LastIndexByte(name, '$'); i >= 0 {
					name = name[i+1:]
				}
				if _, hidden := layout[name]; !hidden {
					layout[name] = at
				}
			}
			at += typeSize(f.kind, h.ids)
		}
		if k.super == 0 {
			break
		}
	}
	c.layout = layout
	return layout
}

// The fields of one instance.
type instance struct {
	layout map[string]int
	b      []byte
	ids    int
}

func (i instance) bytes(n int, names ...string) []byte {
	for _, name := range names {
		if at, ok := i.layout[name]; ok && at+n <= len(i.b) {
			return i.b[at : at+n]
		}
	}
	return nil
}

func (i instance) ref(names ...string) uint64 {
	b := i.bytes(i.ids, names...)
	switch len(b) {
	case 8:
		return binary.BigEndian.Uint64(b)
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (i instance) long(name string) (int64, bool) {
	if b := i.bytes(8, name); b != nil {
		return int64(binary.BigEndian.Uint64(b)), true
	}
	return 0, false
}

func (i instance) int(names ...string) (int32, bool) {
	if b := i.bytes(4, names...); b != nil {
		return int32(binary.BigEndian.Uint32(b)), true
	}
	return 0, false
}

func (i instance) short(name string) int16 {
	if b := i.bytes(2, name); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// census is the first pass: counts every object, finds the managers and sums up entries and batches.
type census struct {
	*heap
}

func (c *census) text(id uint64, s []byte) {
	if len(c.names) < namesMax && wantedName(s) {
		c.names[id] = string(s)
	}
}

// wantedName knows the names of classes and fields that matter.
func wantedName(s []byte) bool {
	if _, ok := kinds[string(s)]; ok {
		return true
	}
	if slash := strings.IndexByte(string(s[:min(len(s), 32)]), '/'); slash > 0 || len(s) > 0 && s[0] == '[' {
		return knownClass(className(string(s)))
	}
	name := string(s)
	if i := strings.LastIndexByte(name, '$'); i >= 0 {
		name = name[i+1:]
	}
	return slices.Contains(fieldNames, name)
}

// className is a dump's name of a class as histograms have it.
func className(s string) string { return strings.ReplaceAll(s, "/", ".") }

func (c *census) load(id, name uint64) {
	k := c.classes.get(id)
	k.name = name
	c.name(k)
}

func (c *census) name(k *class) {
	if name, ok := c.names[k.name]; ok {
		k.kind = kinds[name]
		k.entry011 = strings.HasSuffix(name, "ProducerIdEntry")
	}
}

func (c *census) class(d *classDump) {
	k := c.classes.get(d.id)
	k.super = d.super
	if k.fields = nil; c.fields < fieldsKept {
		k.fields = slices.Clone(d.fields)
		c.fields += len(d.fields)
	}
	c.name(k)
}

func (c *census) instance(id, classID uint64, fields []byte) {
	c.touch(id)
	k := c.classes.get(classID)
	k.objects++
	if k.kind == kindNone {
		return
	}
	c.previousKind = k
	i := instance{nil, fields, c.ids}
	switch k.kind {
	case kindManager:
		i.layout = c.layoutOf(k)
		if len(c.managers) >= PartitionsMax {
			c.leftOut++
			return
		}
		c.managers = append(c.managers, manager{producers: i.ref("producers"), topicRef: i.ref("topicPartition"), entries: -1})
	case kindEntry:
		i.layout = c.layoutOf(k)
		e := c.entry(i)
		c.all.add(e)
		c.everyone.add(e.pid)
	case kindBatch:
		i.layout = c.layoutOf(k)
		c.batch(i)
	}
}

// touch measures the distance from the object before: where objects touch it is that one's size.
func (c *census) touch(id uint64) {
	if k := c.previousKind; k != nil {
		if d := int64(id - c.previous); id > c.previous && d < 1<<10 && (k.nearest == 0 || d < k.nearest) {
			k.nearest = d
		}
		c.previousKind = nil
	}
	c.previous = id
}

// entry reads an entry's own fields; what is in its batches is not known here.
func (h *heap) entry(i instance) entry {
	e := entry{lastOffset: -1, coordinatorEpoch: -1, txnFirstOffset: -1, timestamp: -1}
	e.pid, _ = i.long("producerId")
	e.epoch = i.short("producerEpoch")
	if n, ok := i.int("coordinatorEpoch"); ok {
		e.coordinatorEpoch = n
	}
	if t, ok := i.long("lastTimestamp"); ok {
		e.timestamp = t
	} else if t, ok := i.long("timestamp"); ok { // ProducerIdEntry of 0.11
		e.timestamp = t
		e.lastOffset, _ = i.long("lastOffset")
		e.lastSequence, _ = i.int("lastSeq")
		e.offsetDelta, _ = i.int("offsetDelta")
	} else {
		h.batchTimes = true
	}
	return e
}

func (c *census) batch(i instance) {
	last, ok1 := i.int("lastSeq")
	delta, ok2 := i.int("offsetDelta")
	if ok1 && ok2 && last == delta {
		c.firstBatch++
	}
	if last == 0 && ok1 {
		c.all.SequenceZero++
	}
	if t, ok := i.long("timestamp"); ok && c.batchTimes {
		c.all.addTime(t)
	}
}

func (c *census) objects(id, classID uint64, n int) bool {
	c.touch(id)
	k := c.classes.get(classID)
	k.objects++
	k.arrayBytes += int64(n)
	return false
}

func (c *census) primitives(id uint64, kind byte, n int) bool {
	c.touch(id)
	p := &c.prims[kind]
	p.Objects++
	p.Bytes += int64(n) * int64(typeSize(kind, c.ids))
	return false
}

func (*census) elements(int, []byte) {}
func (*census) content([]byte)       {}
func (*census) done() bool           { return false }

// wanted is a pass that looks for known objects.
type wanted struct {
	*heap
	left     int // not yet found
	maps     map[uint64][]int32
	topics   map[uint64][]int32
	tables   map[uint64][]int32
	strings  map[uint64][]int32
	chars    map[uint64][]int32
	nodes    map[uint64]int32
	entries  map[uint64]int32
	deques   map[uint64]int32
	nameIDs  map[uint64]bool
	found    func(kind objectKind, managers []int32, i instance)
	sampled  func(kind objectKind, m int32, i instance)
	table    func(m int32, slot int, ref uint64)
	reading  []int32 // the managers whose table or name is being read
	charKind byte
}

func (w *wanted) text(id uint64, s []byte) {
	if w.nameIDs[id] {
		w.names[id] = string(s)
	}
}
func (*wanted) load(uint64, uint64) {}
func (*wanted) class(*classDump)    {}

func (w *wanted) instance(id, classID uint64, fields []byte) {
	k := w.classes.find(classID)
	if k == nil || k.kind == kindNone {
		return
	}
	var many []int32
	one := int32(-1)
	switch k.kind {
	case kindMap:
		many = w.maps[id]
	case kindTopic:
		many = w.topics[id]
	case kindString:
		many = w.strings[id]
	case kindNode:
		one = lookup(w.nodes, id)
	case kindEntry:
		one = lookup(w.entries, id)
	case kindDeque:
		one = lookup(w.deques, id)
	}
	switch {
	case many != nil:
		w.found(k.kind, many, instance{w.layoutOf(k), fields, w.ids})
		w.left--
	case one >= 0:
		w.sampled(k.kind, one, instance{w.layoutOf(k), fields, w.ids})
		w.left--
	}
}

func lookup(m map[uint64]int32, id uint64) int32 {
	if n, ok := m[id]; ok {
		return n
	}
	return -1
}

func (w *wanted) objects(id, _ uint64, n int) bool {
	if w.tables == nil {
		return false
	}
	if w.reading = w.tables[id]; w.reading == nil {
		return false
	}
	for _, m := range w.reading {
		w.managers[m].slots = int64(n)
		w.managers[m].step = int64(n) / max(1, w.managers[m].quota)
		if w.managers[m].entries <= w.managers[m].quota {
			w.managers[m].step = 1
		}
	}
	w.left--
	return true
}

func (w *wanted) elements(first int, refs []byte) {
	for slot := first; len(refs) > 0; slot++ {
		ref := uint64(0)
		if w.ids == 8 {
			ref = binary.BigEndian.Uint64(refs)
		} else {
			ref = uint64(binary.BigEndian.Uint32(refs))
		}
		refs = refs[w.ids:]
		if ref != 0 {
			w.table(w.reading[0], slot, ref)
		}
	}
}

func (w *wanted) primitives(id uint64, kind byte, _ int) bool {
	if w.chars == nil || kind != typeByte && kind != typeChar {
		return false
	}
	w.reading, w.charKind = w.chars[id], kind
	return w.reading != nil
}

func (w *wanted) content(b []byte) {
	for _, n := range w.reading {
		m := &w.managers[n]
		var out []byte
		switch {
		case w.charKind == typeChar:
			for i := 1; i < len(b); i += 2 {
				out = append(out, b[i])
			}
		case m.latin:
			out = append(out, b...)
		default: // UTF-16 in the byte order of the machine: names of topics are ASCII, the other byte is 0
			for _, c := range b {
				if c != 0 {
					out = append(out, c)
				}
			}
		}
		m.topic = string(out[:min(len(out), topicNameMax)])
	}
	w.left--
}

// topicNameMax is the longest name of a topic, in bytes.
const topicNameMax = 249

func (w *wanted) done() bool { return w.left <= 0 }

// byEntries are the managers in the order of the size of their maps, the largest first.
func (h *heap) byEntries() []int32 {
	order := make([]int32, len(h.managers))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(h.managers[b].entries, h.managers[a].entries) })
	return order
}

func describeDamage(d *dumpReader, err error) string {
	var parts []string
	if err != nil {
		parts = append(parts, err.Error())
	}
	parts = append(parts, d.damage...)
	if len(d.damage) >= damageMax {
		parts = append(parts, fmt.Sprintf("and more after the first %d", damageMax))
	}
	return strings.Join(parts, "; ")
}
