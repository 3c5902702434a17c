package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions used: supported by every Kafka from 2.8 on, and the last that name topics by name.
const (
	initVersion    = 4
	produceVersion = 9
	clientID       = "churn"
)

// Positions in a record batch, from its first byte.
const (
	batchCRC           = 17
	batchAttributes    = 21
	batchBaseTimestamp = 27
	batchMaxTimestamp  = 35
	batchProducerID    = 43
	batchEpoch         = 51
	batchBaseSequence  = 53
)

const frameCorrelation = 8 // length 4, api key 2, version 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// template is an encoded produce request with one batch of one record. Everything that differs from producer to
// producer lies at a fixed place.
type template struct {
	frame   []byte
	batchAt int
}

// newTemplates makes one template for each partition.
func newTemplates(topic string, partitions, recordBytes, acks int) ([]template, error) {
	raw := oneRecordBatch(recordBytes)
	var out []template
	for partition := range partitions {
		request := kmsg.NewPtrProduceRequest()
		request.Version = produceVersion
		request.Acks = int16(acks)
		request.TimeoutMillis = 30_000
		t := kmsg.NewProduceRequestTopic()
		t.Topic = topic
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = int32(partition)
		p.Records = raw
		t.Partitions = append(t.Partitions, p)
		request.Topics = append(request.Topics, t)
		frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, 0)
		at := bytes.Index(frame, raw)
		if at < 0 || bytes.Count(frame, raw) != 1 {
			return nil, errors.New("the encoded request does not hold its batch exactly once")
		}
		out = append(out, template{frame, at})
	}
	return out, nil
}

func initFrame() []byte {
	request := kmsg.NewPtrInitProducerIDRequest()
	request.Version = initVersion
	request.TransactionTimeoutMillis = 60_000
	request.ProducerID, request.ProducerEpoch = -1, -1
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, 0)
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
	const lengthAndOffset = 12
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - lengthAndOffset)
	return b.AppendTo(nil)
}

// batchID says which batch of which producer.
type batchID struct {
	pid        int64
	epoch      int16
	sequence   int32
	timeMillis int64
}

// append writes the request for one batch to dst.
func (t template) append(dst []byte, correlation int32, id batchID) []byte {
	start := len(dst)
	dst = append(dst, t.frame...)
	binary.BigEndian.PutUint32(dst[start+frameCorrelation:], uint32(correlation))
	b := dst[start+t.batchAt:]
	b = b[:12+binary.BigEndian.Uint32(b[8:])]
	binary.BigEndian.PutUint64(b[batchBaseTimestamp:], uint64(id.timeMillis))
	binary.BigEndian.PutUint64(b[batchMaxTimestamp:], uint64(id.timeMillis))
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(id.pid))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(id.epoch))
	binary.BigEndian.PutUint32(b[batchBaseSequence:], uint32(id.sequence))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return dst
}

// appendInit writes the request for a producer id.
func appendInit(dst, frame []byte, correlation int32) []byte {
	start := len(dst)
	dst = append(dst, frame...)
	binary.BigEndian.PutUint32(dst[start+frameCorrelation:], uint32(correlation))
	return dst
}

var errShortAnswer = errors.New("answer is too short")

// parseInit reads the answer to InitProducerId, without its length.
func parseInit(b []byte) (correlation int32, code int16, pid int64, epoch int16, err error) {
	const size = 4 + 1 + 4 + 2 + 8 + 2
	if len(b) < size {
		return 0, 0, 0, 0, fmt.Errorf("%w: InitProducerId has %d bytes, want %d", errShortAnswer, len(b), size)
	}
	return int32(binary.BigEndian.Uint32(b)), int16(binary.BigEndian.Uint16(b[9:])),
		int64(binary.BigEndian.Uint64(b[11:])), int16(binary.BigEndian.Uint16(b[19:])), nil
}

// parseProduce reads the answer for the one partition of a produce request. The topic's name has a known length, so that the
// partition's part stands at a known place.
func parseProduce(b []byte, topicBytes int) (correlation int32, code int16, offset int64, err error) {
	// correlation, tags, one topic, its name (compact: length in one or two bytes), one partition, its number
	at := 4 + 1 + 1 + uvarintBytes(topicBytes+1) + topicBytes + 1 + 4
	if len(b) < at+10 {
		return 0, 0, 0, fmt.Errorf("%w: Produce has %d bytes, want %d", errShortAnswer, len(b), at+10)
	}
	return int32(binary.BigEndian.Uint32(b)), int16(binary.BigEndian.Uint16(b[at:])), int64(binary.BigEndian.Uint64(b[at+2:])), nil
}

func uvarintBytes(n int) int { return len(binary.AppendUvarint(nil, uint64(n))) }
