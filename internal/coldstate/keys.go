package coldstate

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Keys, all integers big-endian so that byte order is number order:
//
//	'c' part(8)          -> checkpoint: offset(8) segment base(8) position(8)
//	'e' part(8) key(8)   -> entry; the sign bit of key is flipped
//	'k' part(8) key      -> entry under a key of any bytes
//	'm' name             -> meta
const (
	spaceCheckpoint = 'c'
	spaceEntry      = 'e'
	spaceBytes      = 'k'
	spaceMeta       = 'm'

	partKeyBytes    = 1 + 8
	entryKeyBytes   = partKeyBytes + 8
	checkpointBytes = 3 * 8
	signBit         = 1 << 63
)

type entryKey [entryKeyBytes]byte

func makeEntryKey(part uint64, key int64) (k entryKey) {
	k[0] = spaceEntry
	binary.BigEndian.PutUint64(k[1:], part)
	binary.BigEndian.PutUint64(k[partKeyBytes:], uint64(key)^signBit)
	return k
}

func decodeEntryKey(b []byte) (part uint64, key int64, err error) {
	if len(b) != entryKeyBytes || b[0] != spaceEntry {
		return 0, 0, fmt.Errorf("%w: entry key %x", ErrCorrupt, b)
	}
	return binary.BigEndian.Uint64(b[1:]), int64(binary.BigEndian.Uint64(b[partKeyBytes:]) ^ signBit), nil
}

type partKey [partKeyBytes]byte

func makePartKey(space byte, part uint64) (k partKey) {
	k[0] = space
	binary.BigEndian.PutUint64(k[1:], part)
	return k
}

func decodePart(b []byte) (uint64, error) {
	if len(b) < partKeyBytes {
		return 0, fmt.Errorf("%w: key %x", ErrCorrupt, b)
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}

// partEnd returns the first key after all keys of a partition in one space.
func partEnd(space byte, part uint64) []byte {
	if part == math.MaxUint64 {
		return []byte{space + 1}
	}
	k := makePartKey(space, part+1)
	return k[:]
}

func metaKey(name string) []byte { return append([]byte{spaceMeta}, name...) }

func encodeCheckpoint(c Checkpoint) (b [checkpointBytes]byte) {
	binary.BigEndian.PutUint64(b[0:], uint64(c.Offset))
	binary.BigEndian.PutUint64(b[8:], uint64(c.SegmentBase))
	binary.BigEndian.PutUint64(b[16:], uint64(c.Position))
	return b
}

func decodeCheckpoint(b []byte) (Checkpoint, error) {
	if len(b) != checkpointBytes {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint of %d bytes, want %d", ErrCorrupt, len(b), checkpointBytes)
	}
	return Checkpoint{
		Offset:      int64(binary.BigEndian.Uint64(b[0:])),
		SegmentBase: int64(binary.BigEndian.Uint64(b[8:])),
		Position:    int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}
