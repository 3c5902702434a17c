package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	partitions     = 3
	createTime     = "CreateTime"
	logAppendTime  = "LogAppendTime"
	timestampNever = -1 // the client cannot set it: any of the run's time will do
)

type header struct {
	key   string
	value []byte
}

// record is what a producer was told or a consumer saw. Nil key, value and header value are null.
type record struct {
	partition     int32
	offset        int64
	timestampType string // "" where a client does not tell
	timestamp     int64
	key, value    []byte
	headers       []header
	rendered      *string // headers as kcat prints them, where nothing else is known of them
}

// manyShapes is the record set of a producer: keys, values and headers null, empty, small and large, text and noise.
// plain leaves out what kcat cannot send: timestamps, and headers that differ from record to record come in runs.
func manyShapes(seed uint64, plain bool) []record {
	r := rand.New(rand.NewPCG(seed, 1))
	sizes := []int{0, 1, 2, 10, 60, 64, 100, 127, 128, 500, 1000, 1024, 4000, 16384, 20000}
	base := time.Now().Add(-time.Hour).UnixMilli()
	var out []record
	for p := range int32(partitions) {
		for i := range 90 {
			rec := record{partition: p, timestamp: base + r.Int64N(3_000_000), timestampType: createTime}
			rec.key = someKey(i)
			if i%10 != 9 {
				rec.value = someBytes(r, sizes[r.IntN(len(sizes))], i%2 == 0)
			}
			rec.headers = someHeaders(i)
			if plain {
				rec.timestamp = timestampNever
				rec.headers = someHeaders(i / 30)
				if rec.key == nil && len(rec.value) == 0 {
					rec.value = []byte("kcat sends no empty value without a key")
				}
			}
			out = append(out, rec)
		}
		for _, n := range []int{100_000, 700_000, 900_000} {
			rec := record{partition: p, timestamp: base, timestampType: createTime, key: []byte("large"), value: someBytes(r, n, n == 100_000)}
			if plain {
				rec.timestamp = timestampNever
			}
			out = append(out, rec)
		}
	}
	return out
}

func someKey(i int) []byte {
	switch i % 4 {
	case 0:
		return nil
	case 1:
		return fmt.Appendf(nil, "key-%d", i)
	case 2:
		return fmt.Appendf(nil, "schlüssel-鍵-%d", i)
	}
	return []byte(strings.Repeat("k", i*7+1))
}

func someBytes(r *rand.Rand, n int, text bool) []byte {
	b := make([]byte, n)
	for i := range b {
		if text {
			b[i] = "abcdefgh "[r.IntN(9)]
		} else {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func someHeaders(i int) []header {
	switch i % 5 {
	case 1:
		return []header{{"trace", []byte("00-4bf92f3577b34da6")}}
	case 2:
		return []header{{"a", []byte("1")}, {"a", []byte("2")}, {"empty", []byte{}}, {"ключ", []byte("значение")}}
	case 3:
		return []header{{"null", nil}, {"long", bytes.Repeat([]byte("h"), 300)}}
	}
	return nil
}

// compare tells the first difference between what was sent and what was read, partition by partition.
func compare(got, want []record, after, before time.Time) error {
	next := map[int32]int64{}
	byPartition := func(a, b record) int { return int(a.partition - b.partition) }
	got, want = slices.Clone(got), slices.Clone(want)
	slices.SortStableFunc(got, byPartition)
	slices.SortStableFunc(want, byPartition)
	if len(got) != len(want) {
		return fmt.Errorf("%d records read, %d sent", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		w.offset = next[w.partition]
		next[w.partition]++
		if g.partition != w.partition || g.offset != w.offset {
			return fmt.Errorf("read %d-%d, expected %d-%d", g.partition, g.offset, w.partition, w.offset)
		}
		if why := difference(g, w, after, before); why != "" {
			return fmt.Errorf("%d-%d: %s", g.partition, g.offset, why)
		}
	}
	return nil
}

func difference(g, w record, after, before time.Time) string {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	if g.timestampType != "" && g.timestampType != w.timestampType {
		return fmt.Sprintf("timestamp type %s, expected %s", g.timestampType, w.timestampType)
	}
	if w.timestamp == timestampNever {
		if g.timestamp < after.UnixMilli() || g.timestamp > before.UnixMilli() {
			return fmt.Sprintf("timestamp %d, expected %d to %d", g.timestamp, after.UnixMilli(), before.UnixMilli())
		}
	} else if g.timestamp != w.timestamp {
		return fmt.Sprintf("timestamp %d, expected %d", g.timestamp, w.timestamp)
	}
	if !same(g.key, w.key) {
		return fmt.Sprintf("key %.60q (null: %v), expected %.60q (null: %v)", g.key, g.key == nil, w.key, w.key == nil)
	}
	if !same(g.value, w.value) {
		return fmt.Sprintf("value of %d bytes (null: %v), expected %d (null: %v)", len(g.value), g.value == nil, len(w.value), w.value == nil)
	}
	if g.rendered != nil {
		if want := kcatHeaders(w.headers); *g.rendered != want {
			return fmt.Sprintf("headers %.80q, expected %.80q", *g.rendered, want)
		}
		return ""
	}
	if !slices.EqualFunc(g.headers, w.headers, func(a, b header) bool { return a.key == b.key && same(a.value, b.value) }) {
		return fmt.Sprintf("headers %v, expected %v", g.headers, w.headers)
	}
	return ""
}

// The text form that java/Clients.java reads and writes.
func writeRecords(name string, recs []record) error {
	var b bytes.Buffer
	for _, r := range recs {
		fmt.Fprintf(&b, "%d\t%d\t%s\t%d\t%s\t%s", r.partition, r.offset, r.timestampType, r.timestamp, hexField(r.key), hexField(r.value))
		for _, h := range r.headers {
			fmt.Fprintf(&b, "\t%x=%s", h.key, hexField(h.value))
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(name, b.Bytes(), 0o600)
}

func hexField(b []byte) string {
	if b == nil {
		return "-"
	}
	return hex.EncodeToString(b)
}

func readRecords(name string) ([]record, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []record
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		r, err := parseRecord(fields)
		if err != nil {
			return nil, fmt.Errorf("line %.80q: %w", line, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRecord(f []string) (r record, err error) {
	if len(f) < 6 {
		return r, fmt.Errorf("%d fields", len(f))
	}
	number := func(s string) int64 {
		n, e := strconv.ParseInt(s, 10, 64)
		err = cmpErr(err, e)
		return n
	}
	bytesOf := func(s string) []byte {
		if s == "-" {
			return nil
		}
		b, e := hex.DecodeString(s)
		err = cmpErr(err, e)
		return append([]byte{}, b...)
	}
	r = record{partition: int32(number(f[0])), offset: number(f[1]), timestampType: f[2], timestamp: number(f[3]), key: bytesOf(f[4]), value: bytesOf(f[5])}
	for _, h := range f[6:] {
		key, value, _ := strings.Cut(h, "=")
		r.headers = append(r.headers, header{string(bytesOf(key)), bytesOf(value)})
	}
	return r, err
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
