package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/wire"
)

func TestProduceEveryVersion(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	offset := int64(0)
	for version := int16(0); version <= 13; version++ {
		req := produceRequest(acksAll, "orders", topic.ID, 1, build(t, plain(3), batch.CodecNone, "v"))
		p := s.do(req, version).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if version < produceRecordBatchMin {
			if p.ErrorCode != codeUnsupportedVersion {
				t.Errorf("version %d: code %d", version, p.ErrorCode)
			}
			continue
		}
		if p.Partition != 1 || p.ErrorCode != codeNone || p.BaseOffset != offset || p.LogAppendTime != -1 {
			t.Errorf("version %d: %+v, want offset %d", version, p, offset)
		}
		offset += 3
	}
}

// TestProduceRefusals: what is refused, with which code, and that nothing is appended.
func TestProduceRefusals(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1, "max.message.bytes", "1000")
	ok := func() []byte { return build(t, plain(1), batch.CodecNone, "v") }
	change := func(at int, to byte) []byte { b := ok(); b[at] = to; return b }
	transactional := idempotent(7, 0, 0, 1)
	transactional.Attributes = 1 << 4
	control := plain(1)
	control.Attributes = 1 << 5
	for _, c := range []struct {
		name    string
		version int16
		topic   string
		index   int32
		acks    int16
		records []byte
		code    int16
	}{
		{"no records", 9, "orders", 0, acksAll, nil, codeInvalidRecord},
		{"no bytes", 9, "orders", 0, acksAll, []byte{}, codeInvalidRecord},
		{"two batches", 9, "orders", 0, acksAll, append(ok(), ok()...), codeInvalidRecord},
		{"trailing bytes", 9, "orders", 0, acksAll, append(ok(), 1, 2, 3), codeInvalidRecord},
		{"half a batch", 9, "orders", 0, acksAll, ok()[:40], codeInvalidRecord},
		{"old format", 9, "orders", 0, acksAll, change(16, 1), codeInvalidRecord},
		{"unknown format", 9, "orders", 0, acksAll, change(16, 9), codeCorruptMessage},
		{"wrong crc", 9, "orders", 0, acksAll, change(17, 0xff), codeCorruptMessage},
		{"too large", 9, "orders", 0, acksAll, build(t, plain(1), batch.CodecNone, string(make([]byte, 2000))), codeMessageTooLarge},
		{"zstd before version 7", 6, "orders", 0, acksAll, build(t, plain(1), batch.CodecZstd, "v"), codeUnsupportedCompression},
		{"transactional batch", 9, "orders", 0, acksAll, build(t, transactional, batch.CodecNone, "v"), codeTransactionalIDAuth},
		{"control batch", 9, "orders", 0, acksAll, build(t, control, batch.CodecNone, "v"), codeInvalidRecord},
		{"negative sequence", 9, "orders", 0, acksAll, build(t, idempotent(7, 0, -1, 1), batch.CodecNone, "v"), codeInvalidRecord},
		{"acks 2", 9, "orders", 0, 2, ok(), codeInvalidRequiredAcks},
		{"unknown topic", 9, "nobody", 0, acksAll, ok(), codeUnknownTopicOrPartition},
		{"unknown topic beats acks", 9, "nobody", 0, 2, ok(), codeUnknownTopicOrPartition},
		{"unknown partition", 9, "orders", 1, acksAll, ok(), codeUnknownTopicOrPartition},
		{"negative partition", 9, "orders", -1, acksAll, ok(), codeUnknownTopicOrPartition},
		{"unknown id", 13, "", 0, acksAll, ok(), codeUnknownTopicID},
	} {
		p := s.do(produceRequest(c.acks, c.topic, [16]byte{1}, c.index, c.records), c.version).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != c.code || p.BaseOffset != -1 || p.Partition != c.index {
			t.Errorf("%s: %+v, want code %d", c.name, p, c.code)
		}
	}
	if p := s.produce(topic, 0, ok()); p.BaseOffset != 0 {
		t.Errorf("a refused batch was appended: the next offset is %d", p.BaseOffset)
	}
}

func TestProduceTransactionalID(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	req := produceRequest(acksAll, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
	id := "mover"
	req.TransactionID = &id
	if p := s.do(req, 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != codeInvalidTxnState || p.ErrorMessage == nil {
		t.Errorf("%+v", p)
	}
}

func TestProduceInternalTopic(t *testing.T) {
	s := newStack(t)
	topic := s.topic("__consumer_offsets", 1)
	req := produceRequest(acksAll, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
	if p := s.do(req, 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != codeInvalidTopic {
		t.Errorf("code %d", p.ErrorCode)
	}
	r := s.request(req, 9)
	r.ClientID = internalTopicsClientID
	resp := s.finish(s.b.Handle(t.Context(), r), kmsg.NewPtrProduceResponse(), 9).(*kmsg.ProduceResponse)
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != codeNone {
		t.Errorf("the admin client: code %d", p.ErrorCode)
	}
}

func TestProduceErrorRecords(t *testing.T) {
	s := newStack(t)
	topic := s.topic("fresh", 1, "message.timestamp.before.max.ms", "3600000")
	p := s.produce(topic, 0, stamped(t, 1000))
	if p.ErrorCode != codeInvalidTimestamp || len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 0 ||
		p.ErrorRecords[0].ErrorMessage == nil || p.ErrorMessage == nil {
		t.Errorf("%+v", p)
	}
	if p.LogStartOffset != 0 {
		t.Errorf("log start %d, Kafka tells it here", p.LogStartOffset)
	}
}

// TestProduceNoAnswer: acks 0 gets no answer, and an error ends the connection.
func TestProduceNoAnswer(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	good := produceRequest(acksNone, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
	if resp, err := s.b.Handle(t.Context(), s.request(good, 9)).Wait(t.Context()); resp != nil || err != nil {
		t.Errorf("answer %v, %v", resp, err)
	}
	bad := produceRequest(acksNone, "nobody", topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
	if resp, err := s.b.Handle(t.Context(), s.request(bad, 9)).Wait(t.Context()); resp != nil || !errors.Is(err, wire.ErrCloseConnection) {
		t.Errorf("answer %v, %v", resp, err)
	}
}

// TestProduceOrder: requests are in the log in the order of Handle, whoever waits first;
// a partition named twice in a request is appended to twice.
func TestProduceOrder(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	var replies []wire.Reply
	for range 10 {
		req := produceRequest(acksAll, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
		again := req.Topics[0].Partitions[0]
		again.Records = build(t, plain(2), batch.CodecNone, "w")
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, again)
		replies = append(replies, s.b.Handle(t.Context(), s.request(req, 9)))
	}
	for i := len(replies) - 1; i >= 0; i-- {
		parts := s.finish(replies[i], kmsg.NewPtrProduceResponse(), 9).(*kmsg.ProduceResponse).Topics[0].Partitions
		if len(parts) != 2 || parts[0].BaseOffset != int64(i)*3 || parts[1].BaseOffset != int64(i)*3+1 {
			t.Errorf("request %d: %+v", i, parts)
		}
	}
}

// TestProduceDuplicate: a retry is answered with the original offset.
func TestProduceDuplicate(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	init := s.do(kmsg.NewPtrInitProducerIDRequest(), 5).(*kmsg.InitProducerIDResponse)
	if init.ErrorCode != codeNone {
		t.Fatalf("code %d", init.ErrorCode)
	}
	for n, c := range []struct {
		epoch    int16
		sequence int32
		code     int16
		offset   int64
	}{
		{0, 0, codeNone, 0}, {0, 3, codeNone, 3}, {0, 0, codeNone, 0}, {0, 3, codeNone, 3},
		{0, 9, codeOutOfOrderSequence, -1}, {1, 0, codeNone, 6}, {0, 6, codeInvalidProducerEpoch, -1},
	} {
		p := s.produce(topic, 0, build(t, idempotent(init.ProducerID, c.epoch, c.sequence, 3), batch.CodecNone, "v"))
		if p.ErrorCode != c.code || p.BaseOffset != c.offset || p.LogStartOffset != 0 {
			t.Errorf("batch %d: %+v, want code %d offset %d", n, p, c.code, c.offset)
		}
	}
}

func TestProduceLogAppendTime(t *testing.T) {
	s := newStack(t)
	topic := s.topic("stamped", 1, "message.timestamp.type", "LogAppendTime")
	if p := s.produce(topic, 0, build(t, plain(1), batch.CodecNone, "v")); p.ErrorCode != codeNone || p.LogAppendTime < 1 {
		t.Errorf("%+v", p)
	}
}

// TestProduceWaitEnds: a reply whose connection is gone does not wait.
func TestProduceWaitEnds(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	reply := s.b.Handle(t.Context(), s.request(produceRequest(acksAll, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v")), 9))
	if resp, err := reply.Wait(ctx); err == nil && resp == nil {
		t.Error("neither answer nor error")
	}
}

func benchmarkProduce(b *testing.B, header func(i int) batch.Header) {
	s := newStack(b)
	topic := s.topic("orders", 1)
	req := produceRequest(acksLeader, topic.Name, topic.ID, 0, nil)
	r := s.request(req, 13)
	records := make([][]byte, 1024)
	body := r.Body.(*kmsg.ProduceRequest)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(records) == 0 {
			b.StopTimer()
			for j := range records {
				records[j] = build(b, header(i+j), batch.CodecNone, "a value of some twenty bytes")
			}
			b.StartTimer()
		}
		body.Topics[0].Partitions[0].Records = records[i%len(records)]
		resp, err := s.b.Handle(context.Background(), r).Wait(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		dst = resp.AppendTo(dst[:0])
		if resp.(*produceReply).parts[0].code != codeNone {
			b.Fatal("refused")
		}
	}
}

func BenchmarkProducePlain(b *testing.B) {
	benchmarkProduce(b, func(int) batch.Header { return plain(1) })
}

func BenchmarkProduceOneProducer(b *testing.B) {
	benchmarkProduce(b, func(i int) batch.Header { return idempotent(7, 0, int32(i), 1) })
}

// BenchmarkProduceSingleUse: every batch has a producer of its own.
func BenchmarkProduceSingleUse(b *testing.B) {
	benchmarkProduce(b, func(i int) batch.Header { return idempotent(1<<33+int64(i), 0, 0, 1) })
}

// TestProduceManyIsOneCommit: what a request appends to many partitions becomes durable in one pass, which starts when
// all is appended; flush.ms is longer than the test.
func TestProduceManyIsOneCommit(t *testing.T) {
	const partitions = 20
	s := newStack(t)
	topic := s.topic("orders", partitions, "flush.ms", "3600000")
	for round := range int32(3) {
		req := produceRequest(acksAll, topic.Name, topic.ID, 0, nil)
		parts := make([]kmsg.ProduceRequestTopicPartition, partitions)
		for i := range parts {
			parts[i].Partition, parts[i].Records = int32(i), build(t, idempotent(7, 0, round, 1), batch.CodecNone, "v")
		}
		req.Topics[0].Partitions = parts
		reply := s.b.Handle(t.Context(), s.request(req, 13)).(*produceReply)
		for i := range reply.parts {
			if !reply.parts[i].waits || reply.parts[i].ticket != reply.parts[0].ticket {
				t.Errorf("round %d: partition %d has a ticket of its own", round, i)
			}
		}
		for _, p := range s.finish(reply, req.ResponseKind(), 13).(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 || p.BaseOffset != int64(round) {
				t.Errorf("round %d: partition %d: code %d, offset %d", round, p.Partition, p.ErrorCode, p.BaseOffset)
			}
		}
	}
}
