package broker

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// hourMillis is a wait that no test sits out.
const hourMillis = 3_600_000

func fetchRequest(t *catalog.Topic, offset int64, indexes ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes = 1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = t.Name, t.ID
	for _, index := range indexes {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, offset, 1<<20
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchOne returns the only partition of the answer.
func (s *stack) fetchOne(req *kmsg.FetchRequest, version int16) kmsg.FetchResponseTopicPartition {
	s.tb.Helper()
	resp := s.do(req, version).(*kmsg.FetchResponse)
	if resp.ErrorCode != codeNone || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		s.tb.Fatalf("version %d: %+v", version, resp)
	}
	return resp.Topics[0].Partitions[0]
}

// offsetsIn returns the base offsets of the batches.
func offsetsIn(tb testing.TB, data []byte) (out []int64) {
	tb.Helper()
	for len(data) > 0 {
		b, err := batch.Parse(data)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b.Header().BaseOffset)
		data = data[b.Size():]
	}
	return out
}

func equalOffsets(a []int64, b ...int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestFetchEveryVersion(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	s.fill(topic, 1, 3, "v")
	for version := int16(4); version <= 18; version++ {
		p := s.fetchOne(fetchRequest(topic, 1, 1), version)
		if p.Partition != 1 || p.ErrorCode != codeNone || p.HighWatermark != 3 || p.LastStableOffset != 3 || p.AbortedTransactions != nil {
			t.Errorf("version %d: %+v", version, p)
		}
		if got := offsetsIn(t, p.RecordBatches); !equalOffsets(got, 1, 2) {
			t.Errorf("version %d: batches %v, want 1 2", version, got)
		}
	}
	req := fetchRequest(topic, 0, 1)
	req.IsolationLevel = isolationCommitted
	if p := s.fetchOne(req, 12); p.AbortedTransactions == nil || len(p.AbortedTransactions) != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("read committed: %+v", p)
	}
}

func TestFetchRefusals(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	s.fill(topic, 0, 3, "v")
	nobody := &catalog.Topic{Name: "nobody", ID: [16]byte{9}}
	for _, c := range []struct {
		name    string
		version int16
		topic   *catalog.Topic
		offset  int64
		index   int32
		edit    func(*kmsg.FetchRequest)
		code    int16
	}{
		{"unknown name", 12, nobody, 0, 0, nil, codeUnknownTopicOrPartition},
		{"unknown id", 13, nobody, 0, 0, nil, codeUnknownTopicID},
		{"unknown partition", 13, topic, 0, 1, nil, codeUnknownTopicOrPartition},
		{"before the start", 13, topic, -1, 0, nil, codeOffsetOutOfRange},
		{"behind the end", 13, topic, 4, 0, nil, codeOffsetOutOfRange},
		{"at the end", 13, topic, 3, 0, nil, codeNone},
		{"epoch ahead", 13, topic, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 }, codeUnknownLeaderEpoch},
		{"negative epoch", 13, topic, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = -2 }, codeNone},
		{"epoch in force", 13, topic, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 }, codeNone},
		{"replica", 12, topic, 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaID = 3 }, codeNotLeaderOrFollower},
		{"replica state", 16, topic, 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaState.ID = 3 }, codeNotLeaderOrFollower},
		{"debug consumer", 12, topic, 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaID = -2 }, codeNone},
	} {
		req := fetchRequest(c.topic, c.offset, c.index)
		req.MaxWaitMillis = 0
		if c.edit != nil {
			c.edit(req)
		}
		p := s.fetchOne(req, c.version)
		if p.ErrorCode != c.code {
			t.Errorf("%s: code %d, want %d", c.name, p.ErrorCode, c.code)
		}
		if c.code != codeNone && (p.HighWatermark != -1 || p.LogStartOffset != -1 || len(p.RecordBatches) != 0) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

// TestFetchErrorEndsTheWait, but a partition that cannot be found does not: else the
// consumer of a deleted topic would spin.
func TestFetchErrorEndsTheWait(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	req := fetchRequest(topic, 0, 0, 1)
	req.MaxWaitMillis = hourMillis
	req.Topics[0].Partitions[1].FetchOffset = 77
	parts := s.do(req, 12).(*kmsg.FetchResponse).Topics[0].Partitions
	if parts[0].ErrorCode != codeNone || parts[1].ErrorCode != codeOffsetOutOfRange {
		t.Errorf("%+v", parts)
	}
	req = fetchRequest(topic, 0, 0, 5)
	req.MaxWaitMillis = 20
	parts = s.do(req, 12).(*kmsg.FetchResponse).Topics[0].Partitions
	if parts[0].ErrorCode != codeNone || parts[1].ErrorCode != codeUnknownTopicOrPartition {
		t.Errorf("%+v", parts)
	}
}

// TestFetchLimits: max_bytes and partition_max_bytes bound the records, but the first
// batch always gets through (KIP-74), of the first partition that has one.
func TestFetchLimits(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 3)
	size := int32(len(build(t, plain(1), batch.CodecNone, "v")))
	s.fill(topic, 1, 4, "v")
	s.fill(topic, 2, 4, "v")
	for _, c := range []struct {
		bytesMax, partitionMax int32
		want                   [3]int
	}{
		{1 << 20, 1 << 20, [3]int{0, 4, 4}},
		{1 << 20, 2 * size, [3]int{0, 2, 2}},
		{3 * size, 2 * size, [3]int{0, 2, 1}},
		{3*size - 1, 1 << 20, [3]int{0, 2, 0}},
		{size, 1 << 20, [3]int{0, 1, 0}},
		{0, 0, [3]int{0, 1, 0}},
		{1, 1, [3]int{0, 1, 0}},
		{1 << 20, 0, [3]int{0, 1, 0}},
	} {
		req := fetchRequest(topic, 0, 0, 1, 2)
		req.MaxBytes = c.bytesMax
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = c.partitionMax
		}
		resp := s.do(req, 12).(*kmsg.FetchResponse)
		for i, p := range resp.Topics[0].Partitions {
			if got := len(offsetsIn(t, p.RecordBatches)); got != c.want[i] || p.ErrorCode != codeNone {
				t.Errorf("max %d, partition max %d: partition %d gave %d batches, want %d", c.bytesMax, c.partitionMax, i, got, c.want[i])
			}
		}
	}
}

func TestFetchBrokerLimit(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	s.fill(topic, 0, 4, "v")
	s.b.o.Limits.FetchBytesMax = int32(2 * len(build(t, plain(1), batch.CodecNone, "v")))
	req := fetchRequest(topic, 0, 0)
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 1<<30, 1<<30, hourMillis
	if got := offsetsIn(t, s.fetchOne(req, 12).RecordBatches); !equalOffsets(got, 0, 1) {
		t.Errorf("batches %v, want 0 1: fetch.max.bytes bounds the answer and the wait", got)
	}
}

// waiting starts a fetch and returns a channel with its answer.
func (s *stack) waiting(req *kmsg.FetchRequest) <-chan *kmsg.FetchResponse {
	out := make(chan *kmsg.FetchResponse, 1)
	reply := s.b.Handle(context.Background(), s.request(req, 12))
	go func() {
		resp, err := reply.Wait(context.Background())
		if err != nil {
			s.tb.Error(err)
			close(out)
			return
		}
		into := kmsg.NewPtrFetchResponse()
		into.Version = 12
		if err := into.ReadFrom(resp.AppendTo(nil)); err != nil {
			s.tb.Error(err)
		}
		out <- into
	}()
	return out
}

func TestFetchLongPoll(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	req := fetchRequest(topic, 0, 0, 1)
	req.MaxWaitMillis = hourMillis
	answer := s.waiting(req)
	s.fill(topic, 1, 1, "v")
	parts := (<-answer).Topics[0].Partitions
	if len(parts[0].RecordBatches) != 0 || !equalOffsets(offsetsIn(t, parts[1].RecordBatches), 0) {
		t.Errorf("%+v", parts)
	}
}

// TestFetchMinBytes: the answer waits until min_bytes are there, over all partitions.
func TestFetchMinBytes(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	size := int32(len(build(t, plain(1), batch.CodecNone, "v")))
	req := fetchRequest(topic, 0, 0, 1)
	req.MaxWaitMillis, req.MinBytes = hourMillis, 3*size
	answer := s.waiting(req)
	s.fill(topic, 0, 1, "v")
	s.fill(topic, 1, 1, "v")
	select {
	case <-answer:
		t.Fatal("answered with two of three batches")
	default:
	}
	s.fill(topic, 0, 1, "v")
	parts := (<-answer).Topics[0].Partitions
	if !equalOffsets(offsetsIn(t, parts[0].RecordBatches), 0, 1) || !equalOffsets(offsetsIn(t, parts[1].RecordBatches), 0) {
		t.Errorf("%v %v", offsetsIn(t, parts[0].RecordBatches), offsetsIn(t, parts[1].RecordBatches))
	}
}

// TestFetchMinBytesThatCannotFit: min_bytes between two sizes of whole batches is
// reached, because more is there than fits.
func TestFetchMinBytesThatCannotFit(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	size := int32(len(build(t, plain(1), batch.CodecNone, "v")))
	for _, waits := range []bool{true, false} {
		req := fetchRequest(topic, 0, 0)
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = hourMillis, 2*size-1, 2*size-1
		req.Topics[0].Partitions[0].PartitionMaxBytes = 2*size - 1
		answer := s.waiting(req)
		if waits {
			s.fill(topic, 0, 2, "v")
		}
		if got := offsetsIn(t, (<-answer).Topics[0].Partitions[0].RecordBatches); !equalOffsets(got, 0) {
			t.Errorf("batches %v", got)
		}
	}
}

func TestFetchWaitEnds(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	req := fetchRequest(topic, 0, 0)
	req.MaxWaitMillis = 10
	if p := s.fetchOne(req, 12); p.ErrorCode != codeNone || len(p.RecordBatches) != 0 {
		t.Errorf("after its time: %+v", p)
	}
	req.MaxWaitMillis = hourMillis
	draining := make(chan struct{})
	close(draining)
	s.session.Draining = draining
	if p := s.fetchOne(req, 12); p.ErrorCode != codeNone || len(p.RecordBatches) != 0 {
		t.Errorf("when the server stops: %+v", p)
	}
	s.session.Draining = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.b.Handle(t.Context(), s.request(req, 12)).Wait(ctx); err == nil {
		t.Error("a dead connection gets an answer")
	}
	answer := s.waiting(req)
	if err := s.catalog.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	if p := (<-answer).Topics[0].Partitions[0]; len(p.RecordBatches) != 0 {
		t.Errorf("deleted topic: %+v", p)
	}
}

// TestFetchSessionOverTheWire: a consumer with a session names nothing and gets only
// what is new; a small max_bytes goes around all partitions.
func TestFetchSessionOverTheWire(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 3)
	for index := range int32(3) {
		s.fill(topic, index, 1, "v")
	}
	req := fetchRequest(topic, 0, 0, 1, 2)
	req.SessionEpoch, req.MaxBytes = 0, 1
	resp := s.do(req, 13).(*kmsg.FetchResponse)
	if resp.SessionID == 0 || len(resp.Topics[0].Partitions) != 3 {
		t.Fatalf("%+v", resp)
	}
	// Nobody moves on: each answer holds the record of another partition.
	seen := map[int32]int{}
	for epoch := int32(1); epoch <= 6; epoch++ {
		next := kmsg.NewPtrFetchRequest()
		next.SessionID, next.SessionEpoch, next.MinBytes, next.MaxBytes = resp.SessionID, epoch, 1, 1
		got := s.do(next, 13).(*kmsg.FetchResponse)
		if got.ErrorCode != codeNone || got.SessionID != resp.SessionID || len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 {
			t.Fatalf("epoch %d: %+v", epoch, got)
		}
		seen[got.Topics[0].Partitions[0].Partition]++
	}
	if seen[0] != 2 || seen[1] != 2 || seen[2] != 2 {
		t.Errorf("turns %v, want two each", seen)
	}
}

// TestFetchSessionOfDeletedTopic tells a topic that is gone from one that came again.
func TestFetchSessionOfDeletedTopic(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	keep := s.topic("keep", 1)
	req := fetchRequest(topic, 0, 0)
	req.Topics = append(req.Topics, fetchRequest(keep, 0, 0).Topics...)
	req.SessionEpoch = 0
	id := s.do(req, 13).(*kmsg.FetchResponse).SessionID
	ask := func(epoch int32) int16 {
		next := kmsg.NewPtrFetchRequest()
		next.SessionID, next.SessionEpoch, next.MaxBytes = id, epoch, 1<<20
		resp := s.do(next, 13).(*kmsg.FetchResponse)
		if len(resp.Topics) != 1 || resp.Topics[0].TopicID != topic.ID {
			t.Fatalf("%+v", resp)
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	if err := s.catalog.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	if code := ask(1); code != codeUnknownTopicOrPartition {
		t.Errorf("deleted: code %d", code)
	}
	s.topic("orders", 1)
	if code := ask(2); code != codeInconsistentTopicID {
		t.Errorf("created again: code %d", code)
	}
}

// TestFetchDivergence: KIP-595's comparison of epochs.
func TestFetchDivergence(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	s.fill(topic, 0, 2, "v")
	ask := func(offset int64, epoch int32) kmsg.FetchResponseTopicPartition {
		req := fetchRequest(topic, offset, 0)
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		return s.fetchOne(req, 12)
	}
	if p := ask(1, 0); p.ErrorCode != codeNone || p.DivergingEpoch.Epoch != -1 || len(p.RecordBatches) == 0 {
		t.Errorf("same epoch: %+v", p)
	}
	if p := ask(9, 0); p.ErrorCode != codeNone || p.DivergingEpoch.Epoch != 0 || p.DivergingEpoch.EndOffset != 2 || len(p.RecordBatches) != 0 {
		t.Errorf("behind the end of the epoch: %+v", p)
	}
}

// TestFetchBudget: answers take their memory from the budget of the server and give
// all of it back.
func TestFetchBudget(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 3)
	value := string(bytes.Repeat([]byte("x"), 1000))
	for index := range int32(3) {
		s.fill(topic, index, 1, value)
	}
	s.session.Responses = wire.NewBudget(2500)
	req := fetchRequest(topic, 0, 0, 1, 2)
	for i := range req.Topics[0].Partitions {
		req.Topics[0].Partitions[i].PartitionMaxBytes = 1100
	}
	reply := s.b.Handle(t.Context(), s.request(req, 12))
	resp, err := reply.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held := s.session.Responses.Used()
	if held < 2000 || held > 2500 {
		t.Errorf("%d bytes held for two batches of 1000", held)
	}
	into := kmsg.NewPtrFetchResponse()
	into.Version = 12
	if err := into.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	if p := into.Topics[0].Partitions[2]; p.ErrorCode != codeNone || len(p.RecordBatches) != 0 || p.HighWatermark != 1 {
		t.Errorf("no memory for the third partition: %+v", p)
	}
	resp.(wire.Releaser).Release()
	if used := s.session.Responses.Used(); used != 0 {
		t.Errorf("%d bytes not given back", used)
	}
	// An answer larger than all of the budget goes out alone.
	s.session.Responses = wire.NewBudget(10)
	s.do(fetchRequest(topic, 0, 0), 12)
	if used := s.session.Responses.Used(); used != 0 {
		t.Errorf("%d bytes not given back", used)
	}
}

// TestFetchOldClientsAndZstd: a topic that compresses with zstd has no answer for
// clients from before.
func TestFetchOldClientsAndZstd(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1, "compression.type", "zstd")
	s.fill(topic, 0, 1, "v")
	if p := s.fetchOne(fetchRequest(topic, 0, 0), 9); p.ErrorCode != codeUnsupportedCompression {
		t.Errorf("version 9: code %d", p.ErrorCode)
	}
	if p := s.fetchOne(fetchRequest(topic, 0, 0), 10); p.ErrorCode != codeNone {
		t.Errorf("version 10: code %d", p.ErrorCode)
	}
}

// TestFetchBuffersAreUsedAgain, and never while an answer still holds them: many
// answers at once, each of them whole, whatever others do meanwhile.
func TestFetchBuffersAreUsedAgain(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 4)
	for index := range int32(4) {
		s.fill(topic, index, 2*backlogMin, string(bytes.Repeat([]byte{'a' + byte(index)}, 8000)))
	}
	var wg sync.WaitGroup
	for index := range int32(4) {
		wg.Go(func() {
			for range 30 {
				p := s.fetchOne(fetchRequest(topic, 0, index), 12)
				if n := len(offsetsIn(t, p.RecordBatches)); n < backlogMin || bytes.Count(p.RecordBatches, []byte{'a' + byte(index)}) < 8000*n {
					t.Errorf("partition %d: %d batches, or those of another", index, n)
				}
			}
		})
	}
	wg.Wait()
}

func benchmarkFetch(b *testing.B, partitions int32, records int, value string) {
	s := newStack(b)
	topic := s.topic("orders", partitions)
	indexes := make([]int32, partitions)
	for i := range indexes {
		indexes[i] = int32(i)
	}
	s.fill(topic, 0, records, value)
	r := s.request(fetchRequest(topic, 0, indexes...), 16)
	dst := make([]byte, 0, 4<<20)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := s.b.Handle(context.Background(), r).Wait(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if dst = resp.AppendTo(dst[:0]); len(dst) < records*len(value) {
			b.Fatal("records are missing")
		}
		resp.(wire.Releaser).Release()
	}
}

func BenchmarkFetchOneRecord(b *testing.B) { benchmarkFetch(b, 1, 1, "a value of some twenty bytes") }

func BenchmarkFetchMegabyte(b *testing.B) {
	benchmarkFetch(b, 1, 128, string(bytes.Repeat([]byte("x"), 8<<10-200)))
}

func BenchmarkFetchThousandPartitions(b *testing.B) { benchmarkFetch(b, 1000, 1, "v") }
