package storm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of the requests that are sent from prepared frames. Higher ones exist; these are the last that name topics by name and
// leave a transaction's partitions to AddPartitionsToTxn. Below Produce 3 there is no record batch v2 (Kafka 0.11).
const (
	initVersionMax    = 4
	produceVersionMax = 9
	produceVersionMin = 3
	clientID          = "ottla-storm"

	initFlexible    = 2 // from this version on
	produceFlexible = 9
)

// Positions in a record batch, from its first byte.
const (
	batchLength        = 8
	batchCRC           = 17
	batchAttributes    = 21
	batchBaseTimestamp = 27
	batchMaxTimestamp  = 35
	batchProducerID    = 43
	batchEpoch         = 51
	batchBaseSequence  = 53

	batchPrefix = 12 // base offset and length, which the length does not count

	attributeTransactional = 0x10
)

// wideOverhead is more than a batch of one record needs beside its value, with its place in the request.
const wideOverhead = 128

// produceTimeoutMillis is how long a leader may wait for its followers; Java's request.timeout.ms.
const produceTimeoutMillis = 30_000

const frameCorrelation = 8 // length 4, api key 2, version 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))

// template is an encoded Produce request with one batch of one record for each of its partitions, all of the same bytes. What differs
// from producer to producer lies at fixed places.
type template struct {
	frame      []byte
	batchAt    []int
	partitions []int32
}

// newTemplate makes a request for some partitions of a topic.
func newTemplate(version int16, topic string, partitions []int32, recordBytes, acks int) (template, error) {
	raw := oneRecordBatch(recordBytes)
	request := kmsg.NewPtrProduceRequest()
	request.Version = version
	request.Acks = int16(acks)
	request.TimeoutMillis = produceTimeoutMillis
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, partition := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = partition
		p.Records = raw
		t.Partitions = append(t.Partitions, p)
	}
	request.Topics = append(request.Topics, t)
	out := template{frame: formatter.AppendRequest(nil, request, 0), partitions: partitions}
	for at := 0; ; {
		next := bytes.Index(out.frame[at:], raw)
		if next < 0 {
			break
		}
		out.batchAt = append(out.batchAt, at+next)
		at += next + len(raw)
	}
	if len(out.batchAt) != len(partitions) {
		return out, errors.New("the encoded request does not hold each batch exactly once")
	}
	return out, nil
}

// initFrame is an encoded InitProducerId without a transactional id.
func initFrame(version int16) []byte {
	request := kmsg.NewPtrInitProducerIDRequest()
	request.Version = version
	request.TransactionTimeoutMillis = 60_000
	request.ProducerID, request.ProducerEpoch = -1, -1
	return formatter.AppendRequest(nil, request, 0)
}

func oneRecordBatch(recordBytes int) []byte {
	value := make([]byte, recordBytes)
	for i := range value {
		value[i] = 'a' + byte(i%26)
	}
	record := kmsg.NewRecord()
	record.Value = value
	body := record.AppendTo(nil)[1:] // without the length of zero
	record.Length = int32(len(body))
	records := record.AppendTo(nil)
	b := kmsg.NewRecordBatch()
	b.Magic = 2
	b.PartitionLeaderEpoch = -1
	b.NumRecords = 1
	b.Records = records
	b.Length = int32(len(b.AppendTo(nil)) - batchPrefix)
	return b.AppendTo(nil)
}

// batchID says which batch of which producer.
type batchID struct {
	pid        int64
	epoch      int16
	sequence   int32
	timeMillis int64
}

// patch writes the identity into an encoded batch and closes it with its checksum.
func (id batchID) patch(b []byte) {
	binary.BigEndian.PutUint64(b[batchBaseTimestamp:], uint64(id.timeMillis))
	binary.BigEndian.PutUint64(b[batchMaxTimestamp:], uint64(id.timeMillis))
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(id.pid))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(id.epoch))
	binary.BigEndian.PutUint32(b[batchBaseSequence:], uint32(id.sequence))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
}

// append writes the request for one batch of a producer in each partition to dst.
func (t *template) append(dst []byte, correlation int32, id batchID) []byte {
	start := len(dst)
	dst = append(dst, t.frame...)
	binary.BigEndian.PutUint32(dst[start+frameCorrelation:], uint32(correlation))
	first := dst[start+t.batchAt[0]:]
	first = first[:batchPrefix+binary.BigEndian.Uint32(first[batchLength:])]
	id.patch(first)
	for _, at := range t.batchAt[1:] {
		copy(dst[start+at:], first) // the checksum covers nothing of the partition
	}
	return dst
}

// appendInit writes the request for a producer id.
func appendInit(dst, frame []byte, correlation int32) []byte {
	start := len(dst)
	dst = append(dst, frame...)
	binary.BigEndian.PutUint32(dst[start+frameCorrelation:], uint32(correlation))
	return dst
}

var errAnswer = errors.New("the answer is not understood")

// cursor reads an answer. After the first thing that does not fit, all reads give zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if b := c.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > 1<<31-1 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		c.uvarint()
		c.take(c.uvarint())
	}
}

// length of an array or string; null counts as 0.
func (c *cursor) length(flexible bool) int {
	if flexible {
		return max(c.uvarint()-1, 0)
	}
	return max(int(c.int32()), 0)
}

// stringLength is length for strings, which are shorter in old versions.
func (c *cursor) stringLength(flexible bool) int {
	if flexible {
		return c.length(true)
	}
	return max(int(c.int16()), 0)
}

// parseInit reads the answer to InitProducerId, without its length.
func parseInit(version int16, b []byte) (correlation int32, code int16, pid int64, epoch int16, err error) {
	c := cursor{b: b}
	correlation = c.int32()
	if version >= initFlexible {
		c.tags()
	}
	c.int32() // throttle time
	code, pid, epoch = c.int16(), c.int64(), c.int16()
	if c.bad {
		return 0, 0, 0, 0, fmt.Errorf("%w: InitProducerId version %d, %d bytes", errAnswer, version, len(b))
	}
	return correlation, code, pid, epoch, nil
}

// produceAnswer reads the answer to a Produce request for one topic, partition by partition.
type produceAnswer struct {
	c           cursor
	version     int16
	bytes       int
	correlation int32
	left        int
}

func readProduce(version int16, b []byte) (produceAnswer, error) {
	a := produceAnswer{c: cursor{b: b}, version: version, bytes: len(b)}
	flexible := version >= produceFlexible
	a.correlation = a.c.int32()
	if flexible {
		a.c.tags()
	}
	if a.c.length(flexible) != 1 && !a.c.bad {
		a.c.bad = true
	}
	a.c.take(a.c.stringLength(flexible))
	a.left = a.c.length(flexible)
	return a, a.err()
}

func (a *produceAnswer) err() error {
	if a.c.bad {
		return fmt.Errorf("%w: Produce version %d, %d bytes", errAnswer, a.version, a.bytes)
	}
	return nil
}

// next reads one partition; false: there are no more, or the answer is broken, which err tells.
func (a *produceAnswer) next() (partition int32, code int16, offset int64, ok bool) {
	if a.left == 0 || a.c.bad {
		return 0, 0, 0, false
	}
	a.left--
	flexible := a.version >= produceFlexible
	partition, code, offset = a.c.int32(), a.c.int16(), a.c.int64()
	a.c.int64() // append time
	if a.version >= 5 {
		a.c.int64() // log start offset
	}
	if a.version >= 8 {
		for n := a.c.length(flexible); n > 0 && !a.c.bad; n-- { // errors of records
			a.c.int32()
			a.c.take(a.c.stringLength(flexible))
			if flexible {
				a.c.tags()
			}
		}
		a.c.take(a.c.stringLength(flexible)) // error message
	}
	if flexible {
		a.c.tags()
	}
	return partition, code, offset, !a.c.bad
}

// parseProduceOne reads the answer to a request for one partition.
func parseProduceOne(version int16, b []byte) (correlation int32, code int16, offset int64, err error) {
	a, err := readProduce(version, b)
	if err != nil {
		return 0, 0, 0, err
	}
	_, code, offset, ok := a.next()
	if !ok {
		a.c.bad = true
		return 0, 0, 0, a.err()
	}
	return a.correlation, code, offset, nil
}
