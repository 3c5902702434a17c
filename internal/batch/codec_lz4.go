package batch

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// The LZ4 frame format, version 1, as far as Kafka's Java clients read it: one
// frame of independent blocks. What they would refuse is refused here too, since
// a stored batch must be readable by everybody.
const (
	lz4Magic           = 0x184D2204
	lz4FlagVersion     = 0x40 // bits 7 and 6: 01
	lz4FlagVersionMask = 0xC0
	lz4FlagIndependent = 0x20
	lz4FlagBlockSum    = 0x10
	lz4FlagContentSize = 0x08
	lz4FlagContentSum  = 0x04
	lz4FlagReserved    = 0x03
	lz4BlockPlain      = 1 << 31
	lz4BlockBytes      = 64 << 10 // what Java clients write
	lz4BlockCode       = 4        // 64 KiB
	lz4LevelMax        = 17
	lz4LevelFast       = 9 // Kafka's default level names the fast compressor
	lz4HeaderBytes     = 7
)

type lz4Frame struct {
	blockBytes int // of one block, decompressed, at most
	blockSum   bool
	contentSum bool
	header     int // bytes
}

func parseLZ4Frame(src []byte) (f lz4Frame, why string) {
	if len(src) < lz4HeaderBytes || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, "no frame magic"
	}
	flags, descriptor := src[4], src[5]
	switch {
	case flags&lz4FlagVersionMask != lz4FlagVersion:
		return f, "unknown frame version"
	case flags&lz4FlagIndependent == 0:
		return f, "blocks depend on each other"
	case flags&lz4FlagReserved != 0 || descriptor&0x8F != 0:
		return f, "reserved bits set"
	case descriptor>>4 < lz4BlockCode:
		return f, "unknown block size"
	}
	f.blockBytes = 1 << (8 + 2*int(descriptor>>4))
	f.blockSum, f.contentSum = flags&lz4FlagBlockSum != 0, flags&lz4FlagContentSum != 0
	at := 6
	if flags&lz4FlagContentSize != 0 {
		at += 8
	}
	if at >= len(src) {
		return f, "cut header"
	}
	if src[at] != byte(xxHash32(src[4:at])>>8) {
		return f, "wrong header checksum"
	}
	f.header = at + 1
	return f, ""
}

func decompressLZ4(dst, src []byte, maxBytes int64) ([]byte, error) {
	start := len(dst)
	f, why := parseLZ4Frame(src)
	if why != "" {
		return dst, corrupt(CodecLZ4, "%s", why)
	}
	src = src[f.header:]
	for {
		if len(src) < 4 {
			return dst[:start], corrupt(CodecLZ4, "no end mark")
		}
		word := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if word == 0 { // the end mark; a content checksum adds nothing to the batch's own
			return dst, nil
		}
		n := int(word &^ lz4BlockPlain)
		block := n
		if f.blockSum {
			n += 4
		}
		if block > f.blockBytes || n > len(src) {
			return dst[:start], corrupt(CodecLZ4, "block of %d bytes, %d left, at most %d", n, len(src), f.blockBytes)
		}
		if f.blockSum && binary.LittleEndian.Uint32(src[block:]) != xxHash32(src[:block]) {
			return dst[:start], corrupt(CodecLZ4, "wrong block checksum")
		}
		var err error
		if dst, err = f.appendBlock(dst, src[:block], word&lz4BlockPlain != 0, start, maxBytes); err != nil {
			return dst[:start], err
		}
		src = src[n:]
	}
}

// appendBlock unfolds one block, never into more room than the limit leaves.
func (f lz4Frame) appendBlock(dst, block []byte, plain bool, start int, maxBytes int64) ([]byte, error) {
	left := maxBytes - int64(len(dst)-start)
	if plain {
		if int64(len(block)) > left {
			return dst, tooLarge(CodecLZ4, maxBytes)
		}
		return append(dst, block...), nil
	}
	// A byte of input yields at most 255 of output, beyond a constant.
	room := min(f.blockBytes, 255*len(block)+64)
	dst = slices.Grow(dst, room)
	at := len(dst)
	n, err := lz4.UncompressBlock(block, dst[at:at+room])
	if err != nil {
		return dst, corrupt(CodecLZ4, "%v", err)
	}
	if int64(n) > left {
		return dst, tooLarge(CodecLZ4, maxBytes)
	}
	return dst[:at+n], nil
}

var (
	lz4Fast = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4High = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

func compressLZ4(level int, dst, src []byte) ([]byte, error) {
	if level < 0 || level > lz4LevelMax {
		return dst, fmt.Errorf("lz4 level %d, 1 to %d: %w", level, lz4LevelMax, ErrUnsupportedCompression)
	}
	var compress func(src, dst []byte) (int, error)
	if level == LevelDefault || level == lz4LevelFast {
		c := lz4Fast.Get().(*lz4.Compressor)
		defer lz4Fast.Put(c)
		compress = c.CompressBlock
	} else {
		c := lz4High.Get().(*lz4.CompressorHC)
		defer lz4High.Put(c)
		c.Level = lz4.CompressionLevel(1 << (8 + min(level, 9))) // the library's Level1 to Level9
		compress = c.CompressBlock
	}
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	at := len(dst)
	dst = append(dst, lz4FlagVersion|lz4FlagIndependent, lz4BlockCode<<4)
	dst = append(dst, byte(xxHash32(dst[at:])>>8))
	for block := range slices.Chunk(src, lz4BlockBytes) {
		dst = slices.Grow(dst, 4+len(block))
		at := len(dst)
		// Given less room than the block needs as it is, it reports 0 or an error
		// where compressing gains nothing.
		n, err := compress(block, dst[at+4:at+4+len(block)-1])
		if err != nil || n == 0 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(block))|lz4BlockPlain)
			dst = append(dst, block...)
			continue
		}
		binary.LittleEndian.PutUint32(dst[at:at+4], uint32(n))
		dst = dst[:at+4+n]
	}
	return append(dst, 0, 0, 0, 0), nil
}

// xxHash32 with seed 0, which frames use for their checksums.
func xxHash32(b []byte) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	round := func(acc, lane uint32) uint32 { return bits.RotateLeft32(acc+lane*p2, 13) * p1 }
	h := p5
	length := uint32(len(b))
	if len(b) >= 16 {
		var zero uint32
		v1, v2, v3, v4 := zero+p1+p2, p2, zero, zero-p1
		for ; len(b) >= 16; b = b[16:] {
			v1 = round(v1, binary.LittleEndian.Uint32(b))
			v2 = round(v2, binary.LittleEndian.Uint32(b[4:]))
			v3 = round(v3, binary.LittleEndian.Uint32(b[8:]))
			v4 = round(v4, binary.LittleEndian.Uint32(b[12:]))
		}
		h = bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) + bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18)
	}
	h += length
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*p3, 17) * p4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
