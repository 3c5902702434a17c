package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

func seeds(f *testing.F, add func(raw []byte)) {
	for _, codec := range codecs {
		add(build(f, produced(), codec, someRecords(5, 40)...))
		h := produced()
		h.Attributes = AttributeTransactional
		add(build(f, h, codec, Record{Timestamp: 1, Key: []byte("k"), Headers: []RecordHeader{{"a", nil}}}))
	}
	add(withRecords(f, CodecNone, 1, []byte{12, 0, 0, 0, 1, 1, 0}))
	add(nil)
}

func FuzzDecodeHeader(f *testing.F) {
	seeds(f, func(raw []byte) { f.Add(raw[:min(len(raw), HeaderSize)]) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := DecodeHeader(raw)
		if err != nil {
			oneSentinel(t, err)
			return
		}
		if h.Size() < HeaderSize || h.Magic != 2 {
			t.Fatalf("%+v", h)
		}
	})
}

// FuzzParse makes the checksum right, else nothing would get through.
func FuzzParse(f *testing.F) {
	seeds(f, func(raw []byte) { f.Add(raw) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		if v, err := ParseTrusted(raw); err == nil {
			setCRC(v.Bytes())
		}
		b, err := Parse(raw)
		if err != nil {
			oneSentinel(t, err)
			if !bytes.Equal(raw, before) {
				t.Fatal("an unreadable batch was changed")
			}
			return
		}
		h, n := b.Header(), 0
		if int64(b.Size()) != h.Size() || b.Size() > len(raw) {
			t.Fatalf("%d bytes of %d, header %+v", b.Size(), len(raw), h)
		}
		err = b.Records(func(r Record) error { n++; return nil })
		if err != nil {
			oneSentinel(t, err)
		} else if n != int(h.RecordCount) {
			t.Fatalf("%d records, header says %d", n, h.RecordCount)
		}
	})
}

// FuzzValidate holds whatever comes out of Validate to what is promised of a
// stored batch.
func FuzzValidate(f *testing.F) {
	seeds(f, func(raw []byte) {
		for target := range len(codecNames) + 2 {
			f.Add(raw, uint8(target), false)
		}
		f.Add(raw, uint8(0), true)
	})
	f.Fuzz(func(t *testing.T, raw []byte, target uint8, logAppendTime bool) {
		v, err := ParseTrusted(raw)
		if err != nil {
			return
		}
		putInt32(v.b[atBaseOffset:], 0)
		putInt32(v.b[atBaseOffset+4:], 0)
		setCRC(v.b)
		r := Rules{LogAppendTime: logAppendTime, TimestampBeforeMax: -1, TimestampAfterMax: -1, RequireKey: target&0x80 != 0,
			CompressionType: append(codecNames[1:], "", "uncompressed")[int(target&0x7F)%(len(codecNames)+1)], DecompressedBytesMax: 1 << 20}
		b, err := Validate(v, r, now)
		if err != nil {
			oneSentinel(t, err)
			return
		}
		b, err = ParseOne(b.Bytes())
		if err != nil {
			t.Fatal("a validated batch does not parse:", err)
		}
		h, n := b.Header(), int64(0)
		maxTimestamp := NoTimestamp
		if err := b.Records(func(rec Record) error {
			if rec.Offset != n || r.RequireKey && rec.Key == nil {
				return errors.New("bad record")
			}
			n++
			maxTimestamp = max(maxTimestamp, rec.Timestamp)
			return nil
		}); err != nil {
			t.Fatal("a validated batch does not read:", err)
		}
		if want, known := CodecByName(r.CompressionType); known && h.Codec() != want {
			t.Fatalf("codec %d, want %d", h.Codec(), want)
		}
		if n != int64(h.RecordCount) || h.LastOffset() != n-1 || h.LogAppendTime() != logAppendTime || h.MaxTimestamp != maxTimestamp {
			t.Fatalf("%d records, max timestamp %d, header %+v", n, maxTimestamp, h)
		}
		b.Patch(0, 0)
		if again, err := Validate(b, Rules{TimestampBeforeMax: -1, TimestampAfterMax: -1, DecompressedBytesMax: 1 << 20}, now.Add(time.Hour)); err != nil || &again.b[0] != &b.b[0] {
			if !logAppendTime || err != nil {
				t.Fatal("a validated batch is not valid as it is:", err)
			}
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for _, codec := range codecs {
		for _, src := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("abc"), 3000)} {
			packed, err := Compress(codec, LevelDefault, nil, src)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(codec), packed, uint32(len(src)))
		}
	}
	f.Add(uint8(CodecSnappy), binary.AppendUvarint(nil, 1<<31), uint32(1<<20))
	f.Fuzz(func(t *testing.T, codec uint8, src []byte, maxBytes uint32) {
		limit := int64(maxBytes % (4 << 20))
		got, err := Decompress(int8(codec%6), []byte("p"), src, limit)
		if len(got) == 0 || got[0] != 'p' {
			t.Fatal("what was in dst is gone")
		}
		if err != nil {
			oneSentinel(t, err)
			if len(got) != 1 {
				t.Fatal("bytes with an error")
			}
			return
		}
		if int64(len(got)-1) > limit {
			t.Fatalf("%d bytes over a limit of %d", len(got)-1, limit)
		}
		packed, err := Compress(int8(codec%6), LevelDefault, nil, got)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Decompress(int8(codec%6), nil, packed, int64(len(got))); err != nil || !bytes.Equal(again, got) {
			t.Fatal("round trip:", err)
		}
	})
}
