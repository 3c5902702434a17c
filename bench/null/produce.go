package null

import (
	"bufio"
	"encoding/binary"
	"errors"
)

const keyProduce = 0

var errMalformed = errors.New("a Produce request is not understood")

// frame reads the rest of a request: from the connection, without holding it, or from memory. Its first error stays.
type frame struct {
	r        *bufio.Reader // nil: all of it is held
	held     []byte
	left     int
	flexible bool
	err      error
}

// take returns the next n bytes, valid until the next call; n is at most a few hundred.
func (f *frame) take(n int) []byte {
	if f.err == nil && n > f.left {
		f.err = errMalformed
	}
	if f.err != nil {
		return nil
	}
	if f.r == nil {
		b := f.held[:n]
		f.held, f.left = f.held[n:], f.left-n
		return b
	}
	b, err := f.r.Peek(n)
	if err != nil {
		f.err = err
		return nil
	}
	_, f.err = f.r.Discard(n)
	f.left -= n
	return b
}

func (f *frame) skip(n int) {
	if f.err == nil && (n < 0 || n > f.left) {
		f.err = errMalformed
	}
	switch {
	case f.err != nil:
		return
	case f.r == nil:
		f.held = f.held[n:]
	default:
		_, f.err = f.r.Discard(n)
	}
	f.left -= n
}

func (f *frame) int16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *frame) int32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (f *frame) uvarint() int {
	var out uint64
	for shift := 0; shift < 35; shift += 7 {
		b := f.take(1)
		if b == nil {
			return 0
		}
		out |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return int(out)
		}
	}
	f.err = errMalformed
	return 0
}

// length reads the length of an array or of bytes; null is -1.
func (f *frame) length() int {
	if f.flexible {
		return f.uvarint() - 1
	}
	return int(f.int32())
}

// stringLength reads the length of a string; null is -1.
func (f *frame) stringLength() int {
	if f.flexible {
		return f.uvarint() - 1
	}
	return int(f.int16())
}

func (f *frame) tags() {
	if !f.flexible {
		return
	}
	for n := f.uvarint(); n > 0 && f.err == nil; n-- {
		f.uvarint()
		f.skip(f.uvarint())
	}
}

// produce reads a Produce request to its last byte and builds its answer, if the client wants one. Of the batches nothing is
// looked at.
func (k *conn) produce(f *frame, version int16) (answered bool, err error) {
	if version < 0 || version > maxProduce {
		return false, errMalformed
	}
	f.skip(max(int(f.int16()), 0)) // client id
	f.flexible = version >= 9
	f.tags()
	if f.flexible {
		k.out = append(k.out, 0)
	}
	if version >= 3 {
		f.skip(max(f.stringLength(), 0)) // transactional id
	}
	acks := f.int16()
	f.skip(4) // timeout
	topics := f.length()
	k.appendLength(f.flexible, topics)
	for ; topics > 0 && f.err == nil; topics-- {
		k.producedTopic(f, version)
	}
	f.tags()
	if f.err == nil && f.left != 0 {
		return false, errMalformed
	}
	if f.err != nil {
		return false, f.err
	}
	if version >= 1 {
		k.out = append(k.out, 0, 0, 0, 0) // throttle
	}
	if f.flexible {
		k.out = append(k.out, 0)
	}
	return acks != 0, nil
}

func (k *conn) producedTopic(f *frame, version int16) {
	const topicNameMax, topicID = 249, 16
	if version >= 13 {
		k.out = append(k.out, f.take(topicID)...)
	} else {
		n := f.stringLength()
		if n < 0 || n > topicNameMax {
			f.err = errMalformed
			return
		}
		if f.flexible {
			k.out = binary.AppendUvarint(k.out, uint64(n)+1)
		} else {
			k.out = binary.BigEndian.AppendUint16(k.out, uint16(n))
		}
		k.out = append(k.out, f.take(n)...)
	}
	partitions := f.length()
	k.appendLength(f.flexible, partitions)
	for ; partitions > 0 && f.err == nil; partitions-- {
		k.out = append(k.out, f.take(4)...)
		f.skip(max(f.length(), 0))
		f.tags()
		k.producedPartition(version)
		if len(k.out) > maxAnswer {
			f.err = errTooLarge
		}
	}
	f.tags()
	if f.flexible {
		k.out = append(k.out, 0)
	}
}

// producedPartition answers one partition, whose number is written already.
func (k *conn) producedPartition(version int16) {
	k.out = append(k.out, 0, 0) // no error
	k.out = binary.BigEndian.AppendUint64(k.out, uint64(k.next))
	k.next += 1 << 20 // more than the records of any batch, so that offsets never go back
	if version >= 2 {
		k.out = append(k.out, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // no log append time
	}
	if version >= 5 {
		k.out = append(k.out, 0, 0, 0, 0, 0, 0, 0, 0) // log start offset
	}
	switch {
	case version >= 9:
		k.out = append(k.out, 1, 0, 0) // no record errors, no message, no tags
	case version == 8:
		k.out = append(k.out, 0, 0, 0, 0, 0xff, 0xff)
	}
}

func (k *conn) appendLength(flexible bool, n int) {
	n = max(n, 0)
	if flexible {
		k.out = binary.AppendUvarint(k.out, uint64(n)+1)
		return
	}
	k.out = binary.BigEndian.AppendUint32(k.out, uint32(n))
}
