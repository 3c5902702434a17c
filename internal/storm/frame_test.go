package storm

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
)

// body checks a frame's length and header and returns what is left for the request.
func body(t *testing.T, frame []byte, request kmsg.Request, correlation int32) []byte {
	t.Helper()
	if int(binary.BigEndian.Uint32(frame)) != len(frame)-4 {
		t.Fatalf("the frame says %d bytes and has %d", binary.BigEndian.Uint32(frame), len(frame)-4)
	}
	c := cursor{b: frame[4:]}
	key, version, got := c.int16(), c.int16(), c.int32()
	if key != request.Key() || version != request.GetVersion() || got != correlation {
		t.Fatalf("header: key %d, version %d, correlation %d", key, version, got)
	}
	if id := c.take(int(c.int16())); string(id) != clientID {
		t.Fatalf("client id %q", id)
	}
	if request.IsFlexible() {
		c.tags()
	}
	if c.bad {
		t.Fatal("the header is too short")
	}
	return c.b
}

func TestInitFrames(t *testing.T) {
	for version := int16(0); version <= initVersionMax; version++ {
		request := kmsg.NewPtrInitProducerIDRequest()
		request.Version = version
		frame := appendInit(nil, initFrame(version), 77)
		if err := request.ReadFrom(body(t, frame, request, 77)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if request.TransactionalID != nil || request.ProducerID != -1 || request.ProducerEpoch != -1 {
			t.Errorf("version %d: %+v", version, request)
		}
	}
}

func TestProduceFrames(t *testing.T) {
	partitions := []int32{0, 7, 300}
	id := batchID{pid: 1 << 40, epoch: 3, sequence: 4, timeMillis: 1_700_000_000_123}
	for version := int16(produceVersionMin); version <= produceVersionMax; version++ {
		for _, recordBytes := range []int{0, 1, 100, 20_000} {
			tmpl, err := newTemplate(version, TopicPrefix+"x", partitions, recordBytes, 1)
			if err != nil {
				t.Fatal(err)
			}
			frame := tmpl.append([]byte("before"), 9, id)[len("before"):]
			request := kmsg.NewPtrProduceRequest()
			request.Version = version
			if err := request.ReadFrom(body(t, frame, request, 9)); err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			if request.Acks != 1 || request.TransactionID != nil || len(request.Topics) != 1 || request.Topics[0].Topic != TopicPrefix+"x" || len(request.Topics[0].Partitions) != 3 {
				t.Fatalf("version %d: %+v", version, request)
			}
			for i, p := range request.Topics[0].Partitions {
				if p.Partition != partitions[i] {
					t.Errorf("partition %d at %d", p.Partition, i)
				}
				checkBatch(t, p.Records, id, recordBytes)
			}
		}
	}
}

// checkBatch judges a batch as the broker does: with its checksum, its records and its times.
func checkBatch(t *testing.T, raw []byte, id batchID, recordBytes int) {
	t.Helper()
	b, err := batch.ParseOne(raw)
	if err == nil {
		b, err = batch.Validate(b, batch.Rules{}, time.UnixMilli(id.timeMillis))
	}
	if err != nil {
		t.Fatal(err)
	}
	h := b.Header()
	if h.ProducerID != id.pid || h.ProducerEpoch != id.epoch || h.BaseSequence != id.sequence || h.BaseTimestamp != id.timeMillis || h.MaxTimestamp != id.timeMillis || h.RecordCount != 1 {
		t.Errorf("header %+v", h)
	}
	if len(raw) < recordBytes || len(raw) > recordBytes+wideOverhead {
		t.Errorf("%d bytes for a record of %d", len(raw), recordBytes)
	}
}

// answerBytes encodes an answer as a broker would, without its length.
func answerBytes(r kmsg.Response, correlation int32) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(correlation))
	if r.IsFlexible() {
		out = append(out, 0)
	}
	return r.AppendTo(out)
}

func initAnswer(version int16) []byte {
	r := kmsg.NewPtrInitProducerIDResponse()
	r.Version, r.ThrottleMillis, r.ErrorCode, r.ProducerID, r.ProducerEpoch = version, 12, 51, 1<<33, 2
	return answerBytes(r, 5)
}

func TestInitAnswers(t *testing.T) {
	for version := int16(0); version <= initVersionMax; version++ {
		b := initAnswer(version)
		correlation, code, pid, epoch, err := parseInit(version, b)
		if err != nil || correlation != 5 || code != 51 || pid != 1<<33 || epoch != 2 {
			t.Errorf("version %d: %d %d %d %d %v", version, correlation, code, pid, epoch, err)
		}
		for cut := range 20 {
			if _, _, _, _, err := parseInit(version, b[:cut]); err == nil {
				t.Errorf("version %d: %d bytes were understood", version, cut)
			}
		}
	}
}

func producedAnswer(version int16, partitions int) []byte {
	r := kmsg.NewPtrProduceResponse()
	r.Version = version
	t := kmsg.NewProduceResponseTopic()
	t.Topic = TopicPrefix + "x"
	for i := range partitions {
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.ErrorCode, p.BaseOffset, p.LogStartOffset = int32(i), int16(i%3), int64(i)<<32, 3
		if i%2 == 1 {
			p.ErrorMessage = kmsg.StringPtr("why")
			e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			e.ErrorMessage = kmsg.StringPtr("this one")
			p.ErrorRecords = append(p.ErrorRecords, e, kmsg.NewProduceResponseTopicPartitionErrorRecord())
		}
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	return answerBytes(r, 6)
}

func TestProduceAnswers(t *testing.T) {
	for version := int16(produceVersionMin); version <= produceVersionMax; version++ {
		b := producedAnswer(version, 200)
		a, err := readProduce(version, b)
		if err != nil || a.correlation != 6 {
			t.Fatalf("version %d: %d %v", version, a.correlation, err)
		}
		for i := range 200 {
			partition, code, offset, ok := a.next()
			if !ok || int(partition) != i || int(code) != i%3 || offset != int64(i)<<32 {
				t.Fatalf("version %d, %d: %d %d %d %v", version, i, partition, code, offset, ok)
			}
		}
		if _, _, _, ok := a.next(); ok || a.err() != nil {
			t.Errorf("version %d: more than there is, %v", version, a.err())
		}
		for cut := range len(b) - 10 {
			a, err := readProduce(version, b[:cut])
			for ok := err == nil; ok; {
				_, _, _, ok = a.next()
			}
			if a.err() == nil {
				t.Errorf("version %d: %d of %d bytes were understood", version, cut, len(b))
			}
		}
		one := producedAnswer(version, 1)
		if correlation, code, offset, err := parseProduceOne(version, one); err != nil || correlation != 6 || code != 0 || offset != 0 {
			t.Errorf("version %d: %d %d %d %v", version, correlation, code, offset, err)
		}
		if _, _, _, err := parseProduceOne(version, producedAnswer(version, 0)); err == nil {
			t.Errorf("version %d: an answer without partitions was understood", version)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for version := int16(0); version <= produceVersionMax; version++ {
		f.Add(version, initAnswer(min(version, initVersionMax)))
		if version >= produceVersionMin {
			f.Add(version, producedAnswer(version, 3))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, b []byte) {
		if _, _, pid, _, err := parseInit(version, b); err != nil && pid != 0 {
			t.Error("an id from an answer that was not understood")
		}
		a, err := readProduce(version, b)
		read := 0
		for ok := err == nil; ok; read++ {
			_, _, _, ok = a.next()
		}
		if read > len(b)+1 {
			t.Errorf("%d partitions in %d bytes", read, len(b))
		}
	})
}
