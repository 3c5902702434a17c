package catalog

import (
	"encoding/binary"
	"fmt"
	"math"

	"ottla/internal/pidstore"
)

// kind says what a change does. The numbers are on disk.
type kind byte

const (
	kindIdentity        kind = 1  // cluster id, directory id
	kindRun             kind = 2  // run number
	kindCounters        kind = 3  // next internal partition number
	kindTopicCreated    kind = 4  // topic with its first partitions and its configuration
	kindTopicDeleted    kind = 5  // topic is gone for clients; its files may remain
	kindTopicPurged     kind = 6  // nothing of a deleted topic remains
	kindPartitionsAdded kind = 7  // more partitions of a topic
	kindTopicConfig     kind = 8  // topic configuration, keys set and removed
	kindBrokerConfig    kind = 9  // dynamic broker configuration, keys set and removed
	kindProducerBlock   kind = 10 // producer ids below an end are reserved
	kindIssueMarks      kind = 11 // all issue marks, in place of those before
	kindGroupConfig     kind = 12 // configuration of one group, keys set and removed
)

var kindNames = map[kind]string{
	kindIdentity: "identity", kindRun: "run", kindCounters: "counters", kindTopicCreated: "topic-created",
	kindTopicDeleted: "topic-deleted", kindTopicPurged: "topic-purged", kindPartitionsAdded: "partitions-added",
	kindTopicConfig: "topic-config", kindBrokerConfig: "broker-config", kindProducerBlock: "producer-block",
	kindIssueMarks: "issue-marks", kindGroupConfig: "group-config",
}

// String names the kind as the dump shows it.
func (k kind) String() string { return kindNames[k] }

// setting is one key of a configuration; a removed one goes back to its default.
type setting struct {
	key, value string
	removed    bool
}

// change is one step of the catalog's history. Which fields count depends on the kind.
type change struct {
	kind     kind
	id       [16]byte // topic; cluster id for kindIdentity
	id2      [16]byte // directory id for kindIdentity
	name     string   // topic; broker resource ("" is the cluster-wide default) for kindBrokerConfig; group for kindGroupConfig
	num      uint64   // first internal number; next one for kindCounters
	count    int32    // partitions; run for kindRun
	pid      int64    // created-PID watermark; first id of a block
	end      int64    // end of a block
	age      uint32   // broker age at which a block was reserved
	settings []setting
	marks    []pidstore.IssueMark
}

// Limits of one change, so that a decoder allocates no more than the bytes it was given justify.
const (
	settingsMax    = 256
	stringBytesMax = math.MaxUint16
	marksMax       = 4 * pidstore.IssueMarksMax
)

func (c *change) encode(dst []byte) []byte {
	dst = append(dst, byte(c.kind))
	switch c.kind {
	case kindIdentity:
		dst = append(append(dst, c.id[:]...), c.id2[:]...)
	case kindRun:
		dst = binary.AppendUvarint(dst, uint64(c.count))
	case kindCounters:
		dst = binary.AppendUvarint(dst, c.num)
	case kindTopicCreated:
		dst = append(appendString(dst, c.name), c.id[:]...)
		dst = encodeSettings(c.encodeRange(dst), c.settings)
	case kindTopicDeleted, kindTopicPurged:
		dst = append(dst, c.id[:]...)
	case kindPartitionsAdded:
		dst = c.encodeRange(append(dst, c.id[:]...))
	case kindTopicConfig:
		dst = encodeSettings(append(dst, c.id[:]...), c.settings)
	case kindBrokerConfig, kindGroupConfig:
		dst = encodeSettings(appendString(dst, c.name), c.settings)
	case kindProducerBlock:
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.pid)), uint64(c.end))
		dst = binary.AppendUvarint(dst, uint64(c.age))
	case kindIssueMarks:
		dst = binary.AppendUvarint(dst, uint64(len(c.marks)))
		for _, m := range c.marks {
			dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.PID)), uint64(m.Age))
		}
	default:
		panic(fmt.Sprintf("BUG: catalog change of kind %d", c.kind))
	}
	return dst
}

func (c *change) encodeRange(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.pid))
	dst = binary.AppendUvarint(dst, c.num)
	return binary.AppendUvarint(dst, uint64(c.count))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func encodeSettings(dst []byte, settings []setting) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(settings)))
	for _, s := range settings {
		dst = appendString(dst, s.key)
		if s.removed {
			dst = append(dst, 0)
			continue
		}
		dst = appendString(append(dst, 1), s.value)
	}
	return dst
}

// decoder reads what encode wrote. After the first error everything reads as zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	d.b = nil
}

func (d *decoder) uvarint(max uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > max {
		d.fail("number out of range")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.b) {
		d.fail("record too short")
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) id() (id [16]byte) {
	copy(id[:], d.bytes(16))
	return id
}

func (d *decoder) string() string { return string(d.bytes(int(d.uvarint(stringBytesMax)))) }

func (d *decoder) settings() []setting {
	n := d.uvarint(settingsMax)
	out := make([]setting, 0, n)
	for range n {
		s := setting{key: d.string()}
		switch flag := d.bytes(1); {
		case d.err != nil:
			return nil
		case flag[0] == 0:
			s.removed = true
		case flag[0] == 1:
			s.value = d.string()
		default:
			d.fail("flag of a setting")
		}
		out = append(out, s)
	}
	return out
}

func (d *decoder) rangeOf(c *change) {
	c.pid = int64(d.uvarint(math.MaxInt64))
	c.num = d.uvarint(math.MaxInt64)
	c.count = int32(d.uvarint(math.MaxInt32))
}

// change reads one change. It is called with at least one byte left.
func (d *decoder) change() change {
	c := change{kind: kind(d.bytes(1)[0])}
	switch c.kind {
	case kindIdentity:
		c.id, c.id2 = d.id(), d.id()
	case kindRun:
		c.count = int32(d.uvarint(math.MaxInt32))
	case kindCounters:
		c.num = d.uvarint(math.MaxInt64)
	case kindTopicCreated:
		c.name, c.id = d.string(), d.id()
		d.rangeOf(&c)
		c.settings = d.settings()
	case kindTopicDeleted, kindTopicPurged:
		c.id = d.id()
	case kindPartitionsAdded:
		c.id = d.id()
		d.rangeOf(&c)
	case kindTopicConfig:
		c.id = d.id()
		c.settings = d.settings()
	case kindBrokerConfig, kindGroupConfig:
		c.name = d.string()
		c.settings = d.settings()
	case kindProducerBlock:
		c.pid, c.end = int64(d.uvarint(math.MaxInt64)), int64(d.uvarint(math.MaxInt64))
		c.age = uint32(d.uvarint(math.MaxUint32))
	case kindIssueMarks:
		for range d.uvarint(marksMax) {
			m := pidstore.IssueMark{PID: int64(d.uvarint(math.MaxInt64)), Age: uint32(d.uvarint(math.MaxUint32))}
			c.marks = append(c.marks, m)
		}
	default:
		d.fail(fmt.Sprintf("record of unknown kind %d", c.kind))
	}
	return c
}
