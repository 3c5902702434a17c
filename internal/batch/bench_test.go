package batch

import (
	"bytes"
	"fmt"
	"testing"
)

func benchBatch(b *testing.B, codec int8) []byte {
	recs := make([]Record, 100)
	for i := range recs {
		recs[i] = Record{Timestamp: now.UnixMilli() + int64(i), Key: fmt.Appendf(nil, "key-%d", i),
			Value: bytes.Repeat(fmt.Appendf(nil, "value %d ", i), 16)}
	}
	return build(b, produced(), codec, recs...)
}

// BenchmarkValidate is the produce path: checksum, header, each of 100 records.
func BenchmarkValidate(b *testing.B) {
	for _, codec := range codecs {
		b.Run(CodecName(codec), func(b *testing.B) {
			raw := benchBatch(b, codec)
			r := anything()
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				v, err := ParseOne(raw)
				if err == nil {
					_, err = Validate(v, r, now)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	raw := benchBatch(b, CodecNone)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecompress(b *testing.B) {
	for _, codec := range codecs[1:] {
		b.Run(CodecName(codec), func(b *testing.B) {
			raw := benchBatch(b, CodecNone)
			r := anything()
			r.CompressionType = CodecName(codec)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				v, err := ParseOne(raw)
				if err == nil {
					_, err = Validate(v, r, now)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
