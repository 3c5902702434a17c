package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	gzipLevelMax = 9
	// zstdWindowBytesMax is the largest window that Java clients take without being told.
	zstdWindowBytesMax = 128 << 20
	// zstdBlockRoomBytes holds the largest block, with what the decoder wants to
	// overshoot by.
	zstdBlockRoomBytes = 128<<10 + 64
	// zstdEncoderWindowBytes keeps an encoder small; batches rarely are larger.
	zstdEncoderWindowBytes = 1 << 20
)

type gzipDecoder struct {
	src    bytes.Reader
	reader gzip.Reader
}

var gzipDecoders = sync.Pool{New: func() any { return new(gzipDecoder) }}

func decompressGzip(dst, src []byte, maxBytes int64) ([]byte, error) {
	d := gzipDecoders.Get().(*gzipDecoder)
	defer gzipDecoders.Put(d)
	defer d.src.Reset(nil) // hold on to nobody's bytes
	d.src.Reset(src)
	if err := d.reader.Reset(&d.src); err != nil {
		return dst, corrupt(CodecGzip, "%v", err)
	}
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(512, min(len(dst)-start, 1<<20)))
		}
		// One byte over the limit is enough to know.
		room := int64(cap(dst) - len(dst))
		room = min(room, maxBytes-int64(len(dst)-start)+1)
		n, err := d.reader.Read(dst[len(dst) : len(dst)+int(room)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)-start) > maxBytes {
			return dst[:start], tooLarge(CodecGzip, maxBytes)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:start], corrupt(CodecGzip, "%v", err)
		}
	}
}

var gzipEncoders [gzipLevelMax + 1]sync.Pool // by level; 0 is the default

func compressGzip(level int, dst, src []byte) ([]byte, error) {
	if level < -1 || level > gzipLevelMax {
		return dst, fmt.Errorf("gzip level %d, 1 to %d: %w", level, gzipLevelMax, ErrUnsupportedCompression)
	}
	level = max(level, LevelDefault)
	out := bytes.NewBuffer(dst)
	w, _ := gzipEncoders[level].Get().(*gzip.Writer)
	if w == nil {
		flateLevel := level
		if level == LevelDefault {
			flateLevel = gzip.DefaultCompression
		}
		w, _ = gzip.NewWriterLevel(out, flateLevel) // the level was checked
	} else {
		w.Reset(out)
	}
	_, err := w.Write(src)
	if err = errors.Join(err, w.Close()); err != nil {
		panic(fmt.Sprintf("BUG: gzip into memory: %v", err))
	}
	w.Reset(io.Discard)
	gzipEncoders[level].Put(w)
	return out.Bytes(), nil
}

// A decoder that never writes past the capacity it is given: the only bound
// that can differ from call to call.
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindowBytesMax), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("BUG: zstd decoder: " + err.Error())
	}
	return d
})

func decompressZstd(dst, src []byte, maxBytes int64) ([]byte, error) {
	start := len(dst)
	declared := zstdContentBytes(src)
	if declared > uint64(maxBytes) {
		return dst, tooLarge(CodecZstd, maxBytes)
	}
	want := min(maxBytes, max(4*int64(len(src)), 4<<10))
	if declared > 0 { // believed only so far: a few bytes may declare anything
		want = min(int64(declared), 64*int64(len(src))+64<<10)
	}
	for {
		// With room for one block more than wanted, whatever fails before the
		// wanted size is reached did not fail for lack of room.
		dst = slices.Grow(dst[:start], int(want)+zstdBlockRoomBytes)
		room := int(min(int64(cap(dst)-start), maxBytes+zstdBlockRoomBytes))
		out, err := zstdDecoder().DecodeAll(src, dst[:start:start+room])
		produced := int64(len(out) - start)
		switch {
		case err == nil && produced <= maxBytes:
			return out, nil
		case err == nil || room >= int(maxBytes)+zstdBlockRoomBytes && produced > maxBytes:
			return dst[:start], tooLarge(CodecZstd, maxBytes)
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded) && produced <= int64(room-zstdBlockRoomBytes):
			return dst[:start], corrupt(CodecZstd, "%v", err)
		case want >= maxBytes: // a later frame declares too much
			return dst[:start], tooLarge(CodecZstd, maxBytes)
		}
		want = min(maxBytes, 4*max(want, int64(room)))
	}
}

// zstdContentBytes is the size that the first frame declares, 0 if none: a hint,
// since more frames may follow.
func zstdContentBytes(src []byte) uint64 {
	var h zstd.Header
	if err := h.Decode(src); err != nil || !h.HasFCS {
		return 0
	}
	return h.FrameContentSize
}

var zstdEncoders [zstd.SpeedBestCompression + 1]struct {
	once    sync.Once
	encoder *zstd.Encoder
}

func compressZstd(level int, dst, src []byte) ([]byte, error) {
	speed := zstd.SpeedDefault
	if level != LevelDefault {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	e := &zstdEncoders[speed]
	e.once.Do(func() {
		var err error
		e.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(2),
			zstd.WithWindowSize(zstdEncoderWindowBytes), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("BUG: zstd encoder: " + err.Error())
		}
	})
	return e.encoder.EncodeAll(src, dst), nil
}
