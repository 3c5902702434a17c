package batch

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// Codec numbers, the low three bits of the attributes.
const (
	CodecNone   int8 = 0
	CodecGzip   int8 = 1
	CodecSnappy int8 = 2
	CodecLZ4    int8 = 3
	CodecZstd   int8 = 4

	codecMax = CodecZstd
)

// LevelDefault asks for the codec's own compression level, as -1 does for gzip.
const LevelDefault = 0

const (
	// decompressedBytesMaxDefault bounds what a batch unfolds to where the topic
	// says nothing; a batch larger than a fourth of it may unfold to four times
	// its size, so that a topic of huge messages works.
	decompressedBytesMaxDefault = 64 << 20
	// storedBytesMax bounds what a batch of the log unfolds to. The broker itself
	// may have compressed it, so its size says nothing.
	storedBytesMax = 1 << 30
	// Up to this size validation decompresses with no more ado, into buffers
	// that are pooled.
	pooledBufferBytesMax = 1 << 20
	// largeDecompressionsMax bounds how many larger ones hold memory at a time:
	// they are all CPU, so waiting for a place costs no throughput.
	largeDecompressionsMax = 2
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// CodecName is Kafka's name of a codec number.
func CodecName(codec int8) string {
	if codec < 0 || codec > codecMax {
		return fmt.Sprintf("codec %d", codec)
	}
	return codecNames[codec]
}

// CodecByName is the codec number of a Kafka name; "uncompressed" is none, as in
// compression.type.
func CodecByName(name string) (codec int8, ok bool) {
	if name == "uncompressed" {
		return CodecNone, true
	}
	for i, n := range codecNames {
		if n == name {
			return int8(i), true
		}
	}
	return 0, false
}

// Compress appends src, compressed as Kafka's Java clients read it, to dst.
// Snappy has no level.
func Compress(codec int8, level int, dst, src []byte) ([]byte, error) {
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		return compressGzip(level, dst, src)
	case CodecSnappy:
		return compressSnappy(dst, src), nil
	case CodecLZ4:
		return compressLZ4(level, dst, src)
	case CodecZstd:
		return compressZstd(level, dst, src)
	}
	return dst, fmt.Errorf("%s: %w", CodecName(codec), ErrUnsupportedCompression)
}

// compressedEstimate is a capacity that usually saves growing.
func compressedEstimate(codec int8, srcBytes int) int {
	if codec == CodecNone {
		return srcBytes
	}
	return srcBytes/2 + 64
}

// Decompress appends what src unfolds to to dst. More than maxBytes (2 GiB at
// most) is ErrTooLarge, found without holding much more than that; bad data is
// ErrCorrupt.
func Decompress(codec int8, dst, src []byte, maxBytes int64) ([]byte, error) {
	maxBytes = min(maxBytes, math.MaxInt32)
	switch codec {
	case CodecNone:
		if int64(len(src)) > maxBytes {
			return dst, tooLarge(codec, maxBytes)
		}
		return append(dst, src...), nil
	case CodecGzip:
		return decompressGzip(dst, src, maxBytes)
	case CodecSnappy:
		return decompressSnappy(dst, src, maxBytes)
	case CodecLZ4:
		return decompressLZ4(dst, src, maxBytes)
	case CodecZstd:
		return decompressZstd(dst, src, maxBytes)
	}
	return dst, fmt.Errorf("%s: %w", CodecName(codec), ErrUnsupportedCompression)
}

func tooLarge(codec int8, maxBytes int64) error {
	return fmt.Errorf("%s data unfolds to more than %d bytes: %w", CodecName(codec), maxBytes, ErrTooLarge)
}

func corrupt(codec int8, format string, args ...any) error {
	return fmt.Errorf("%s data: %s: %w", CodecName(codec), fmt.Sprintf(format, args...), ErrCorrupt)
}

func decompressedBytesMax(limitBytes int64, batchBytes int) int64 {
	if limitBytes > 0 {
		return limitBytes
	}
	return max(decompressedBytesMaxDefault, 4*int64(batchBytes))
}

var (
	buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}
	large   = make(chan struct{}, largeDecompressionsMax)
)

// unfolded is decompressed data in memory that release gives back.
type unfolded struct {
	data   []byte
	buffer *[]byte // of the pool
	large  bool    // holds a place
}

func (u unfolded) release() {
	if u.buffer != nil {
		buffers.Put(u.buffer)
	}
	if u.large {
		<-large
	}
}

// decompressPooled is Decompress into a pooled buffer. What does not fit one
// waits for one of a few places, so that a crowd of bombs holds no more memory
// than that.
//
// Bytes that carry a right checksum and do not decompress were sent that way: a
// retry would not help, so they are ErrInvalidRecord and not ErrCorrupt.
func decompressPooled(codec int8, src []byte, maxBytes int64) (unfolded, error) {
	buffer := buffers.Get().(*[]byte)
	data, err := Decompress(codec, (*buffer)[:0], src, min(maxBytes, pooledBufferBytesMax))
	if cap(data) <= 2*pooledBufferBytesMax {
		*buffer = data[:0]
	}
	if err == nil {
		return unfolded{data: data, buffer: buffer}, nil
	}
	buffers.Put(buffer)
	if errors.Is(err, ErrTooLarge) && maxBytes > pooledBufferBytesMax {
		large <- struct{}{}
		if data, err = Decompress(codec, nil, src, maxBytes); err == nil {
			return unfolded{data: data, large: true}, nil
		}
		<-large
	}
	if errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%v: %w", err, ErrInvalidRecord)
	}
	return unfolded{}, err
}
