package batch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// testdata holds batches that the Java client 4.3.1 (kafka-clients'
// MemoryRecordsBuilder) wrote: java-VERSION-CODEC-COUNT.batch.
func javaRecords(n int) []Record {
	recs := make([]Record, n)
	for i := range recs {
		r := &recs[i]
		r.Timestamp = 1700000000000 + int64(i*37%1000)
		switch i % 3 {
		case 1:
			r.Key = []byte{}
		case 2:
			r.Key = fmt.Appendf(nil, "key-%d", i)
		}
		if i%4 != 3 {
			r.Value = []byte(strings.Repeat(fmt.Sprintf("value-%d-", i), i%50))
		}
		if i%2 == 1 {
			r.Headers = []RecordHeader{{"h", nil}, {"h", fmt.Appendf(nil, "v%d", i)}}
		}
	}
	return recs
}

func TestJavaBatches(t *testing.T) {
	names, _ := filepath.Glob("testdata/java-*.batch")
	if len(names) != 2*len(codecs) {
		t.Fatalf("%d files", len(names))
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(strings.TrimSuffix(filepath.Base(name), ".batch"), "-")
		codec, _ := CodecByName(parts[2])
		n, err := strconv.Atoi(parts[3])
		if err != nil {
			t.Fatal(err)
		}
		b, err := validate(t, bytes.Clone(raw), anything())
		if err != nil {
			t.Fatal(name, err)
		}
		h := b.Header()
		if !bytes.Equal(b.Bytes(), raw) || h.Codec() != codec || h.ProducerID != 4242 || h.ProducerEpoch != 3 || h.BaseSequence != 17 || int(h.RecordCount) != n {
			t.Fatalf("%s: %+v", name, h)
		}
		sameRecords(t, collect(t, b), javaRecords(n), 0)
		if codec != CodecNone {
			continue
		}
		// The same records encoded here are the same bytes.
		h.Attributes = 0
		if ours := build(t, h, CodecNone, javaRecords(n)...); !bytes.Equal(ours, raw) {
			t.Fatalf("%s: Build makes other bytes", name)
		}
	}
}
