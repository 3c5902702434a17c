package batch

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func payloads() [][]byte {
	random := make([]byte, 300_000)
	_, _ = rand.Read(random)
	text := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog; ", 20_000))
	var out [][]byte
	for _, n := range []int{0, 1, 2, 15, 16, 100, 32<<10 - 1, 32 << 10, 64 << 10, 64<<10 + 1, 200_000, 300_000} {
		out = append(out, random[:n], text[:n], make([]byte, n))
	}
	return append(out, append(text, random...))
}

func TestCodecsRoundTrip(t *testing.T) {
	for _, codec := range codecs {
		for _, level := range []int{LevelDefault, 1, 2, 6, 9} {
			for _, src := range payloads() {
				packed, err := Compress(codec, level, []byte("before"), src)
				if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
					t.Fatal(err)
				}
				packed = packed[len("before"):]
				got, err := Decompress(codec, []byte("before"), packed, int64(len(src)))
				if err != nil || string(got) != "before"+string(src) {
					t.Fatalf("%s level %d: %d bytes became %d: %v", CodecName(codec), level, len(src), len(got), err)
				}
				if len(src) > 0 {
					got, err = Decompress(codec, nil, packed, int64(len(src))-1)
					wantErr(t, err, ErrTooLarge)
					if len(got) != 0 {
						t.Fatal("bytes with an error")
					}
				}
			}
		}
	}
}

func TestCodecLevels(t *testing.T) {
	src := payloads()[len(payloads())-1]
	for _, c := range []struct {
		codec  int8
		levels []int
		bad    []int
	}{
		{CodecGzip, []int{-1, 0, 1, 9}, []int{-2, 10}},
		{CodecLZ4, []int{0, 1, 9, 12, 17}, []int{-1, 18}},
		{CodecZstd, []int{-131072, -1, 0, 3, 22}, nil},
	} {
		for _, level := range c.levels {
			packed, err := Compress(c.codec, level, nil, src)
			if err != nil {
				t.Fatal(c.codec, level, err)
			}
			if got, err := Decompress(c.codec, nil, packed, 1<<30); err != nil || !bytes.Equal(got, src) {
				t.Fatal(c.codec, level, err)
			}
		}
		for _, level := range c.bad {
			_, err := Compress(c.codec, level, nil, src)
			wantErr(t, err, ErrUnsupportedCompression)
		}
	}
	for _, codec := range []int8{-1, 5, 7, 127} {
		_, err := Compress(codec, 0, nil, src)
		wantErr(t, err, ErrUnsupportedCompression)
		_, err = Decompress(codec, nil, src, 1<<30)
		wantErr(t, err, ErrUnsupportedCompression)
	}
}

func TestCodecNames(t *testing.T) {
	for _, codec := range codecs {
		if got, ok := CodecByName(CodecName(codec)); !ok || got != codec {
			t.Error(codec)
		}
	}
	if _, ok := CodecByName("producer"); ok {
		t.Error("producer is not a codec")
	}
}

func TestSnappyForms(t *testing.T) {
	src := bytes.Repeat([]byte("some text "), 10_000)
	raw := snappy.Encode(nil, src)
	framed := compressSnappy(nil, src)
	if got, err := Decompress(CodecSnappy, nil, raw, 1<<20); err != nil || !bytes.Equal(got, src) {
		t.Fatal("one raw block:", err)
	}
	two := append(bytes.Clone(framed), framed...)
	if got, err := Decompress(CodecSnappy, nil, two, 1<<20); err != nil || !bytes.Equal(got, append(bytes.Clone(src), src...)) {
		t.Fatal("two streams:", err)
	}
	for name, b := range map[string][]byte{
		"cut block":    framed[:len(framed)-1],
		"cut length":   append(bytes.Clone(framed), 0, 0),
		"long block":   append(bytes.Clone(framed), 0xFF, 0xFF, 0xFF, 0xFF, 1),
		"lying length": binary.AppendUvarint(nil, 1<<30),
		"empty":        {},
	} {
		_, err := Decompress(CodecSnappy, nil, b, 1<<31)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantErr(t, err, ErrCorrupt)
	}
}

func TestLZ4Forms(t *testing.T) {
	src := bytes.Repeat([]byte("some other text "), 50_000)
	for _, options := range [][]lz4.Option{
		nil,
		{lz4.BlockSizeOption(lz4.Block64Kb), lz4.BlockChecksumOption(true), lz4.ChecksumOption(true)},
		{lz4.BlockSizeOption(lz4.Block4Mb), lz4.SizeOption(uint64(len(src))), lz4.ChecksumOption(false)},
		{lz4.BlockSizeOption(lz4.Block256Kb), lz4.CompressionLevelOption(lz4.Level9)},
	} {
		var buf bytes.Buffer
		w := lz4.NewWriter(&buf)
		if err := w.Apply(options...); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(src)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(CodecLZ4, nil, buf.Bytes(), 1<<20); err != nil || !bytes.Equal(got, src) {
			t.Fatal(options, err)
		}
	}
	packed, _ := Compress(CodecLZ4, LevelDefault, nil, src)
	var back bytes.Buffer
	if _, err := back.ReadFrom(lz4.NewReader(bytes.NewReader(packed))); err != nil || !bytes.Equal(back.Bytes(), src) {
		t.Fatal("another decoder reads it not:", err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"magic":            func(b []byte) []byte { b[0]++; return b },
		"version":          func(b []byte) []byte { b[4] ^= 0xC0; return b },
		"dependent blocks": func(b []byte) []byte { b[4] &^= lz4FlagIndependent; b[6] = byte(xxHash32(b[4:6]) >> 8); return b },
		"dictionary":       func(b []byte) []byte { b[4] |= 1; b[6] = byte(xxHash32(b[4:6]) >> 8); return b },
		"block size":       func(b []byte) []byte { b[5] = 3 << 4; b[6] = byte(xxHash32(b[4:6]) >> 8); return b },
		"header checksum":  func(b []byte) []byte { b[6]++; return b },
		"no end mark":      func(b []byte) []byte { return b[:len(b)-4] },
		"cut block":        func(b []byte) []byte { return b[:len(b)-9] },
		"cut header":       func(b []byte) []byte { return b[:6] },
		"cut size":         func(b []byte) []byte { b[4] |= lz4FlagContentSize; return b[:7] },
		"bad block":        func(b []byte) []byte { copy(b[11:], bytes.Repeat([]byte{0xFF}, 40)); return b },
		"huge block":       func(b []byte) []byte { binary.LittleEndian.PutUint32(b[7:], 1<<30); return b },
	} {
		_, err := Decompress(CodecLZ4, nil, change(bytes.Clone(packed)), 1<<30)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantErr(t, err, ErrCorrupt)
	}
}

func TestXXHash32(t *testing.T) {
	for in, want := range map[string]uint32{
		"": 0x02CC5D05, "a": 0x550D7456, "abc": 0x32D153FF,
		"Nobody inspects the spammish repetition": 0xE2293B2F,
	} {
		if got := xxHash32([]byte(in)); got != want {
			t.Errorf("%q: %#x, want %#x", in, got, want)
		}
	}
}

// bombs unfold to bytes of zeros, 64 MiB each, from little.
func bombs(t testing.TB) map[int8][]byte {
	const unfolded = 64 << 20
	out := map[int8][]byte{}
	zeros := make([]byte, unfolded)
	for _, codec := range []int8{CodecGzip, CodecSnappy, CodecLZ4, CodecZstd} {
		b, err := Compress(codec, LevelDefault, nil, zeros)
		if err != nil {
			t.Fatal(err)
		}
		out[codec] = b
	}
	return out
}

// A crowd of bombs is refused in bounded memory: what is allocated in all is a
// few limits a bomb, what lives at a time is a few limits.
func TestBombs(t *testing.T) {
	all := bombs(t)
	for codec, bomb := range all {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := Decompress(codec, nil, bomb, 1<<20)
		wantErr(t, err, ErrTooLarge)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
			t.Errorf("%s: allocated %d bytes under a limit of 1 MiB", CodecName(codec), got)
		}
	}
	raw := withRecords(t, CodecNone, 1, nil)[:HeaderSize]
	var wg sync.WaitGroup
	for codec, bomb := range all {
		for range 4 {
			wg.Go(func() {
				b := append(bytes.Clone(raw), bomb...)
				b[atAttributes+1] = byte(codec)
				putInt32(b[atLength:], int32(len(b)-LengthPrefixSize))
				setCRC(b)
				v, err := Parse(b)
				if err != nil {
					t.Error(err)
					return
				}
				r := anything()
				r.DecompressedBytesMax = 4 << 20
				if _, err := Validate(v, r, now); err == nil || !isOne(err, ErrTooLarge) {
					t.Errorf("%s: %v", CodecName(codec), err)
				}
			})
		}
	}
	wg.Wait()
	if len(large) != 0 {
		t.Errorf("%d places for large batches were not given back", len(large))
	}
}

func isOne(err, want error) bool {
	for e := err; e != nil; {
		if e == want {
			return true
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		e = u.Unwrap()
	}
	return false
}

// A frame may declare any size: it is not believed.
func TestZstdLyingSize(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := e.EncodeAll([]byte("hello hello hello hello hello hello hello hello hello"), nil)
	lie, err := (&zstd.Header{HasFCS: true, FrameContentSize: 60 << 20, WindowSize: 1 << 20, SingleSegment: false}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	var old zstd.Header
	if err := old.Decode(frame); err != nil {
		t.Fatal(err)
	}
	lie = append(lie, frame[old.HeaderSize:]...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Decompress(CodecZstd, nil, lie, 64<<20)
	runtime.ReadMemStats(&after)
	wantErr(t, err, ErrCorrupt)
	t.Log(after.TotalAlloc-before.TotalAlloc, "bytes allocated")
}

// Large batches that are no bombs pass, also through the few places.
func TestLargeBatches(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	for _, codec := range codecs {
		raw := build(t, produced(), codec, Record{Value: value}, Record{Value: value[:10]})
		for _, target := range []string{"producer", "uncompressed", "zstd"} {
			r := anything()
			r.CompressionType = target
			b, err := validate(t, raw, r)
			if err != nil {
				t.Fatal(CodecName(codec), target, err)
			}
			if got := collect(t, b); !bytes.Equal(got[0].Value, value) || len(got) != 2 {
				t.Fatal(CodecName(codec), target)
			}
		}
	}
	if len(large) != 0 {
		t.Errorf("%d places for large batches were not given back", len(large))
	}
}

// What the broker compressed itself is read, however much it shrank.
func TestRecordsOfRecompressedGiant(t *testing.T) {
	raw := build(t, produced(), CodecNone, Record{Value: make([]byte, decompressedBytesMaxDefault+1)})
	r := anything()
	r.CompressionType = "lz4"
	b, err := validate(t, raw, r)
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, b); len(got) != 1 || len(got[0].Value) != decompressedBytesMaxDefault+1 {
		t.Fatal(len(got))
	}
}
