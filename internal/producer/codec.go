package producer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// An entry is kept as
//
//	byte     format version, 1
//	uvarint  epoch
//	uvarint  last seen, broker age in seconds
//	uvarint  run length
//	batches, oldest first, up to the end of the bytes, each
//	  uvarint  base sequence; from the second batch on (base - previous last - 1) mod 2^31, 0 without a gap
//	  uvarint  sequences - 1, that is (last - base) mod 2^31
//	  uvarint  base offset; from the second batch on base - previous last - 1
//	  uvarint  last offset - base offset
//	  varint   timestamp (zigzag); from the second batch on the difference to the previous, modulo 2^64
//
// Every varint is as short as it can be, so an entry has exactly one encoding and
// Decode accepts nothing else. A typical entry takes about 25 bytes with one batch
// and about 60 with five; none takes more than EncodedBytesMax.

const (
	formatVersion = 1
	// EncodedBytesMax bounds the encoding of any entry.
	EncodedBytesMax = 1 + 3 + 5 + 5 + WindowBatches*(5+5+binary.MaxVarintLen64+binary.MaxVarintLen64+binary.MaxVarintLen64)
)

// ErrCorruptEntry says that bytes are not the encoding of an entry.
var ErrCorruptEntry = errors.New("corrupt producer entry")

// Encode appends the entry's encoding to dst. The entry must hold its invariants.
func (e *Entry) Encode(dst []byte) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, uint64(uint16(e.Epoch)))
	dst = binary.AppendUvarint(dst, uint64(e.LastSeen))
	dst = binary.AppendUvarint(dst, uint64(e.RunLength))
	prev := beforeFirst
	for _, s := range e.Window() {
		dst = binary.AppendUvarint(dst, uint64(distance(follows(prev.LastSequence), s.BaseSequence)))
		dst = binary.AppendUvarint(dst, uint64(distance(s.BaseSequence, s.LastSequence)))
		dst = binary.AppendUvarint(dst, uint64(s.BaseOffset-prev.LastOffset-1))
		dst = binary.AppendUvarint(dst, uint64(s.LastOffset-s.BaseOffset))
		dst = binary.AppendVarint(dst, s.Timestamp-prev.Timestamp)
		prev = s
	}
	return dst
}

// beforeFirst is what the first batch's differences refer to: they are its own values.
var beforeFirst = Stored{LastSequence: sequenceMask, LastOffset: -1}

// Decode reads an entry that Encode wrote. It accepts nothing that Encode does not
// write; e is unspecified after an error.
func Decode(b []byte, e *Entry) error {
	d := decoder{rest: b}
	*e = Entry{}
	if v := d.uvarint(math.MaxUint8); v != formatVersion && !d.bad {
		return fmt.Errorf("%w: format version %d, want %d", ErrCorruptEntry, v, formatVersion)
	}
	e.Epoch = int16(d.uvarint(math.MaxInt16))
	e.LastSeen = uint32(d.uvarint(math.MaxUint32))
	e.RunLength = uint32(d.uvarint(RunLengthMax))
	prev := beforeFirst
	for len(d.rest) > 0 && !d.bad {
		if e.Count == WindowBatches {
			return fmt.Errorf("%w: more than %d batches", ErrCorruptEntry, WindowBatches)
		}
		prev = d.batch(prev)
		e.Batches[e.Count] = prev
		e.Count++
	}
	if d.bad || (e.Count == 0 && e.RunLength != 0) {
		return fmt.Errorf("%w: %d bytes", ErrCorruptEntry, len(b))
	}
	return nil
}

// decoder reads varints and remembers that one was bad.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) batch(prev Stored) Stored {
	var s Stored
	s.BaseSequence = int32((int64(follows(prev.LastSequence)) + int64(d.uvarint(sequenceMask))) & sequenceMask)
	s.LastSequence = int32((int64(s.BaseSequence) + int64(d.uvarint(sequenceMask))) & sequenceMask)
	// MaxInt64 - LastOffset - 1 keeps the sum below an overflow; there is no offset above MaxInt64.
	if prev.LastOffset == math.MaxInt64 {
		d.bad = true
		return s
	}
	s.BaseOffset = prev.LastOffset + 1 + int64(d.uvarint(uint64(math.MaxInt64-(prev.LastOffset+1))))
	s.LastOffset = s.BaseOffset + int64(d.uvarint(uint64(math.MaxInt64-s.BaseOffset)))
	u := d.uvarint(math.MaxUint64)
	s.Timestamp = prev.Timestamp + (int64(u>>1) ^ -int64(u&1))
	return s
}

// uvarint reads one number that is at most limit, in its shortest form.
func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > limit || (n > 1 && d.rest[n-1] == 0) {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}
