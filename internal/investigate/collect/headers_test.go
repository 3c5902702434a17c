package collect

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/investigate/evidence"
)

// made describes one batch of a test.
type made struct {
	offset     int64
	pid        int64
	epoch      int16
	sequence   int32
	records    int
	ms         int64
	attributes int16
	codec      int8
}

func build(t testing.TB, batches ...made) []byte {
	t.Helper()
	var out []byte
	for _, m := range batches {
		recs := make([]batch.Record, max(m.records, 1))
		for i := range recs {
			recs[i] = batch.Record{Offset: m.offset + int64(i), Timestamp: m.ms, Key: []byte("key"), Value: []byte(strings.Repeat("v", 20))}
		}
		h := batch.Header{BaseOffset: m.offset, Attributes: m.attributes, ProducerID: m.pid, ProducerEpoch: m.epoch, BaseSequence: m.sequence, MaxTimestamp: m.ms}
		var err error
		if out, err = batch.Build(out, h, m.codec, recs); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// oldMessage is one message of magic 0 or 1 with nothing in it.
func oldMessage(offset int64, magic byte, ms int64) []byte {
	length := oldMessageV0Min + int(magic)*8
	b := make([]byte, oldPrefixBytes+length)
	binary.BigEndian.PutUint64(b, uint64(offset))
	binary.BigEndian.PutUint32(b[8:], uint32(length))
	b[oldMagicAt] = magic
	if magic == 1 {
		binary.BigEndian.PutUint64(b[oldTimestampAt:], uint64(ms))
	}
	return b
}

var testNow = time.UnixMilli(1_700_000_000_000).UTC()

func ms(ago time.Duration) int64 { return testNow.Add(-ago).UnixMilli() }

func TestTailCounts(t *testing.T) {
	whole := build(t,
		made{offset: 10, pid: 7, records: 2, ms: ms(2 * time.Minute)},                                                   // newborn
		made{offset: 12, pid: 7, sequence: 2, ms: ms(time.Minute)},                                                      // its second batch
		made{offset: 13, pid: 8, epoch: 1, ms: ms(time.Minute), attributes: batch.AttributeTransactional},               // no newborn
		made{offset: 14, pid: 8, epoch: 1, sequence: -1, ms: ms(time.Minute), attributes: 0x30},                         // its commit
		made{offset: 15, pid: -1, epoch: -1, sequence: -1, ms: ms(0), codec: batch.CodecZstd},                           // not idempotent
		made{offset: 16, pid: 9, ms: ms(-48 * time.Hour), codec: batch.CodecLZ4},                                        // in two days
		made{offset: 17, pid: 10, sequence: 5, epoch: 3, ms: ms(time.Second), attributes: batch.AttributeLogAppendTime}, // an old one
	)
	c := newTailCounter("t", 3, 1, testNow)
	c.add(whole)
	got := c.take(10)
	want := evidence.Tail{
		Topic: "t", Partition: 3, Round: 1, At: testNow, From: 10, To: 18, Bytes: int64(len(whole)), FirstTime: ms(2 * time.Minute), LastTime: ms(0),
		Batches: 6, Idempotent: 5, Transactional: 1, Control: 1, Records: 7, Codecs: map[string]int64{"none": 4, "zstd": 1, "lz4": 1},
		Future: 1, FutureTime: ms(-48 * time.Hour), LogAppendTime: 1,
		Producers: []evidence.Producer{
			{PID: 7, Born: true, Batches: 2, Records: 3, FirstTime: ms(2 * time.Minute), LastTime: ms(time.Minute)},
			{PID: 8, Epoch: 1, Transactional: true, Batches: 1, Records: 1, FirstTime: ms(time.Minute), LastTime: ms(time.Minute)},
			{PID: 9, Born: true, Batches: 1, Records: 1, FirstTime: ms(-48 * time.Hour), LastTime: ms(-48 * time.Hour)},
			{PID: 10, Epoch: 3, FirstSequence: 5, Batches: 1, Records: 1, FirstTime: ms(time.Second), LastTime: ms(time.Second)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	cut := c.take(1)
	if len(cut.Producers) != 1 || !cut.Producers[0].Born || cut.ProducersLeftOut != 3 || cut.NewbornLeftOut != 1 {
		t.Errorf("with room for one: %+v", cut)
	}
}

func TestWalkStops(t *testing.T) {
	two := build(t, made{offset: 4, pid: 1, ms: 5}, made{offset: 5, pid: 2, ms: 6})
	first := len(build(t, made{offset: 4, pid: 1, ms: 5}))
	backwards := build(t, made{offset: 9, pid: 1, ms: 5}, made{offset: 8, pid: 2, ms: 5})
	lying := build(t, made{offset: 4, pid: 1, ms: 5})
	binary.BigEndian.PutUint32(lying[57:], 1_000_000) // more records than offsets
	mixed := append(append(oldMessage(1, 0, 0), oldMessage(2, 1, 77)...), two...)
	shortOld := oldMessage(1, 1, 5)
	binary.BigEndian.PutUint32(shortOld[8:], 3)
	huge := build(t, made{offset: math.MaxInt64 - 5, pid: 1, ms: 5})
	for _, test := range []struct {
		name string
		in   []byte
		want walked
	}{
		{"nothing", nil, walked{last: -1, oldTime: -1}},
		{"less than a prefix", two[:16], walked{last: -1, oldTime: -1}},
		{"cut in the second batch's records", two[:first+batch.HeaderSize], walked{batches: 2, last: 6, oldTime: -1}},
		{"cut in the second batch's header", two[:first+batch.HeaderSize-1], walked{batches: 1, last: 5, oldTime: -1}},
		{"zeroes behind", append(two[:len(two):len(two)], make([]byte, 30)...), walked{batches: 2, last: 6, oldTime: -1, invalid: 30}},
		{"offsets that go back", backwards, walked{batches: 1, last: 10, oldTime: -1, invalid: int64(len(backwards) - first)}},
		{"more records than offsets", lying, walked{last: -1, oldTime: -1, invalid: int64(len(lying))}},
		{"old messages first", mixed, walked{batches: 2, old: 2, last: 6, oldTime: 77}},
		{"old message of no length", shortOld, walked{last: -1, oldTime: -1, invalid: int64(len(shortOld))}},
		{"old message cut", oldMessage(1, 1, 5)[:20], walked{old: 1, last: 2, oldTime: -1}},
		{"offset at the end of numbers", huge, walked{last: -1, oldTime: -1, invalid: int64(len(huge))}},
		{"text", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), walked{last: -1, oldTime: -1, invalid: 28}},
	} {
		if got := walkHeaders(test.in, func(batch.Header) {}); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestReading(t *testing.T) {
	records := build(t,
		made{offset: 1, pid: 50, sequence: 9, ms: 1000},
		made{offset: 2, pid: 20, ms: 1001},
		made{offset: 3, pid: 30, ms: 1002},
		made{offset: 4, pid: 99, ms: 9000}, // mirrored: dated elsewhere
		made{offset: 5, pid: 60, epoch: 1, ms: 1003, attributes: batch.AttributeTransactional},
	)
	for _, test := range []struct{ from, to, pid int64 }{{0, 2000, 30}, {0, 10000, 99}, {1003, 2000, 60}, {1000, 1000, 50}, {2000, 3000, -1}} {
		h, found, born := reading(records, test.from, test.to)
		if !found {
			h.ProducerID = -1
		}
		if want := test.pid == 30 || test.pid == 99; h.ProducerID != test.pid || born != want {
			t.Errorf("%d..%d: pid %d, born %v, want %d", test.from, test.to, h.ProducerID, born, test.pid)
		}
	}
}

func FuzzWalkHeaders(f *testing.F) {
	f.Add(build(f, made{offset: 4, pid: 1, ms: 5}, made{offset: 5, pid: 2, ms: 6, codec: batch.CodecGzip}))
	f.Add(build(f, made{offset: 4, pid: 1, ms: 5})[:70])
	f.Add(append(oldMessage(1, 0, 0), oldMessage(2, 1, 77)...))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newTailCounter("t", 0, 0, testNow)
		c.add(b)
		tail := c.take(3)
		if tail.To < tail.From || tail.Batches < tail.Idempotent || tail.Batches > int64(len(b))/batch.HeaderSize+1 || tail.Invalid > int64(len(b)) {
			t.Errorf("%+v", tail)
		}
		if n := int64(len(tail.Producers)) + tail.ProducersLeftOut; n != int64(len(c.producers)) {
			t.Errorf("%d producers of %d accounted for", n, len(c.producers))
		}
		if _, found, _ := reading(b, math.MinInt64, math.MaxInt64); found != (tail.Idempotent > 0) {
			t.Errorf("reading found %v, tail %s", found, fmt.Sprint(tail.Idempotent))
		}
	})
}
