package broker

import (
	"encoding/binary"

	"ottla/internal/wire"
)

// The answers to Produce and Fetch are encoded by hand: kmsg compares every
// partition with its defaults by reflection, which costs more than all the rest of
// such a request. The tests compare what is written here with what kmsg writes.

// encoder appends Kafka's primitive types; the flexible forms are KIP-482's.
type encoder struct {
	b        []byte
	flexible bool
}

func (e *encoder) int8(v int8)   { e.b = append(e.b, byte(v)) }
func (e *encoder) int16(v int16) { e.b = binary.BigEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) int32(v int32) { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) int64(v int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }

func (e *encoder) uvarint(v uint32) { e.b = binary.AppendUvarint(e.b, uint64(v)) }

func (e *encoder) id(v [16]byte) { e.b = append(e.b, v[:]...) }

// arrayLen writes the length of an array that is not null.
func (e *encoder) arrayLen(n int) {
	if e.flexible {
		e.uvarint(uint32(n) + 1)
		return
	}
	e.int32(int32(n))
}

// nullArray writes a null array.
func (e *encoder) nullArray() {
	if e.flexible {
		e.uvarint(0)
		return
	}
	e.int32(-1)
}

// bytesLen writes the length in front of bytes that are not null.
func (e *encoder) bytesLen(n int) { e.arrayLen(n) }

func (e *encoder) string(s string) {
	if e.flexible {
		e.uvarint(uint32(len(s)) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.b = append(e.b, s...)
}

func (e *encoder) nullableString(s *string) {
	switch {
	case s != nil:
		e.string(*s)
	case e.flexible:
		e.uvarint(0)
	default:
		e.int16(-1)
	}
}

// noTags ends a structure without tagged fields.
func (e *encoder) noTags() {
	if e.flexible {
		e.b = append(e.b, 0)
	}
}

// tag writes a tagged field whose content body appends.
func (e *encoder) tag(number uint32, body func(*encoder)) {
	content := encoder{flexible: e.flexible}
	body(&content)
	e.uvarint(number)
	e.uvarint(uint32(len(content.b)))
	e.b = append(e.b, content.b...)
}

// leaderTag writes who leads a partition, a LeaderIdAndEpoch.
func (e *encoder) leaderTag(number uint32, nodeID, epoch int32) {
	e.tag(number, func(e *encoder) {
		e.int32(nodeID)
		e.int32(epoch)
		e.noTags()
	})
}

// node is where this broker is reached, as told to the clients of one listener.
type node struct {
	id   int32
	host string
	port int32
	rack *string
}

func (b *Broker) node(s *wire.Session) node {
	n := node{id: b.o.NodeID, rack: b.rack()}
	listener := ""
	if s != nil {
		listener = s.Listener
	}
	if b.o.Advertised != nil {
		n.host, n.port = b.o.Advertised(listener)
	}
	return n
}

// rack returns the broker's rack, nil if it has none.
func (b *Broker) rack() *string {
	if b.o.Rack == "" {
		return nil
	}
	rack := b.o.Rack
	return &rack
}

// nodeTag writes the endpoints of the leaders that an answer names: this broker.
func (e *encoder) nodeTag(number uint32, n node) {
	e.tag(number, func(e *encoder) {
		e.arrayLen(1)
		e.int32(n.id)
		e.string(n.host)
		e.int32(n.port)
		e.nullableString(n.rack)
		e.noTags()
	})
}
