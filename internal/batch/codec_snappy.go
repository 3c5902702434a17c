package batch

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// Java clients frame snappy as snappy-java's streams do: a header, then blocks,
// each with its compressed length before it. librdkafka and others send one raw
// snappy block. Brokers and clients read both.
const (
	snappyHeaderBytes = 16
	snappyBlockBytes  = 32 << 10
)

// Magic, version 1, compatible version 1.
var snappyHeader = [snappyHeaderBytes]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const snappyMagicBytes = 8

func hasSnappyMagic(src []byte) bool {
	return len(src) >= snappyHeaderBytes && string(src[:snappyMagicBytes]) == string(snappyHeader[:snappyMagicBytes])
}

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, snappyHeader[:]...)
	for block := range slices.Chunk(src, snappyBlockBytes) {
		bound := snappy.MaxEncodedLen(len(block))
		dst = slices.Grow(dst, 4+bound)
		at := len(dst)
		encoded := snappy.Encode(dst[at+4:at+4+bound], block)
		binary.BigEndian.PutUint32(dst[at:at+4], uint32(len(encoded)))
		dst = dst[:at+4+len(encoded)]
	}
	return dst
}

func decompressSnappy(dst, src []byte, maxBytes int64) ([]byte, error) {
	start := len(dst)
	if !hasSnappyMagic(src) {
		return decompressSnappyBlock(dst, src, start, maxBytes)
	}
	for len(src) > 0 {
		if hasSnappyMagic(src) { // streams may follow each other
			src = src[snappyHeaderBytes:]
			continue
		}
		if len(src) < 4 {
			return dst[:start], corrupt(CodecSnappy, "%d bytes after the last block", len(src))
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return dst[:start], corrupt(CodecSnappy, "block of %d bytes, %d left", n, len(src))
		}
		var err error
		if dst, err = decompressSnappyBlock(dst, src[:n], start, maxBytes); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

// decompressSnappyBlock appends one block; maxBytes counts from start.
func decompressSnappyBlock(dst, src []byte, start int, maxBytes int64) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return dst[:start], corrupt(CodecSnappy, "%v", err)
	}
	if int64(len(dst)-start)+int64(n) > maxBytes {
		return dst[:start], tooLarge(CodecSnappy, maxBytes)
	}
	// A two-byte copy yields 64 bytes at most: more is a lie, not worth the memory.
	if int64(n) > 32*int64(len(src)) {
		return dst[:start], corrupt(CodecSnappy, "%d bytes cannot unfold to %d", len(src), n)
	}
	dst = slices.Grow(dst, n)
	at := len(dst)
	if _, err := snappy.Decode(dst[at:at+n], src); err != nil {
		return dst[:start], corrupt(CodecSnappy, "%v", err)
	}
	return dst[:at+n], nil
}
