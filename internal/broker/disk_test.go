package broker

import (
	"context"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/disk"
	"ottla/internal/wire"
)

// Requests that meet a slow disk or one that fails.

// slowFS is a disk whose fsyncs of segments wait until the gate opens, and, if there
// is a gate for that, the look into a partition's directory too.
type slowFS struct {
	disk.FS
	gate     chan struct{}
	listGate chan struct{}
}

func (s *slowFS) List(dir string) ([]string, error) {
	if s.listGate != nil && strings.HasSuffix(dir, "orders-0") {
		<-s.listGate
	}
	return s.FS.List(dir)
}

func (s *slowFS) wrap(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return &slowFile{f, s.gate}, nil
}

func (s *slowFS) isSegment(name string) bool { return path.Ext(name) == ".log" }

func (s *slowFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	f, err := s.FS.OpenReadWrite(name, create)
	if !s.isSegment(name) {
		return f, err
	}
	return s.wrap(f, err)
}

func (s *slowFS) Create(name string) (disk.File, error) {
	f, err := s.FS.Create(name)
	if !s.isSegment(name) || strings.Contains(name, "cold") {
		return f, err
	}
	return s.wrap(f, err)
}

func (s *slowFS) SyncFS(dir string) error {
	<-s.gate
	return s.FS.SyncFS(dir)
}

type slowFile struct {
	disk.File
	gate chan struct{}
}

func (f *slowFile) Sync() error {
	<-f.gate
	return f.File.Sync()
}

// TestHandleNeverWaitsForTheDisk: with the disk standing still, requests are still
// taken in, acks 1 is answered, acks all is not done, and consumers see nothing of it.
func TestHandleNeverWaitsForTheDisk(t *testing.T) {
	fs := &slowFS{FS: disk.NewMem(), gate: make(chan struct{})}
	s := newStackOn(t, fs)
	topic := s.topic("orders", 1)
	request := func(acks int16, timeoutMillis int32) *kmsg.ProduceRequest {
		req := produceRequest(acks, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v"))
		req.TimeoutMillis = timeoutMillis
		return req
	}
	var replies []wire.Reply
	for range 50 {
		replies = append(replies, s.b.Handle(t.Context(), s.request(request(acksAll, 10_000), 9)))
	}
	for i, r := range replies {
		if r.(wire.Poller).Done() {
			t.Fatalf("request %d is done before its data is durable", i)
		}
	}
	if p := s.do(request(acksLeader, 0), 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != codeNone || p.BaseOffset != 50 {
		t.Errorf("acks 1: %+v", p)
	}
	// A client that does not want to wait is told so (and 0 is as good as any short time).
	if p := s.do(request(acksAll, 0), 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != codeRequestTimedOut || p.BaseOffset != -1 {
		t.Errorf("timeout: %+v", p)
	}
	if p := s.fetchOne(fetchRequest(topic, 0, 0), 12); p.HighWatermark != 0 || len(p.RecordBatches) != 0 {
		t.Errorf("a consumer sees what is not durable: %+v", p)
	}
	if p := s.do(listOffsetsRequest("orders", 0, timestampLatest), 7).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.Offset != 0 {
		t.Errorf("latest offset %d, nothing is durable", p.Offset)
	}
	close(fs.gate)
	for i, r := range replies {
		p := s.finish(r, kmsg.NewPtrProduceResponse(), 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != codeNone || p.BaseOffset != int64(i) {
			t.Errorf("request %d: %+v", i, p)
		}
	}
}

// TestPartitionStillLoading: a request does not wait for ever for a partition that is
// being recovered; the client is sent to look for its leader, which is this broker.
func TestPartitionStillLoading(t *testing.T) {
	fs := &slowFS{FS: disk.NewMem(), gate: make(chan struct{}), listGate: make(chan struct{})}
	close(fs.gate)
	s := newStackOn(t, fs)
	if err := fs.MkdirAll(stackDir + "/orders-0"); err != nil { // of a log without one there is nothing to recover
		t.Fatal(err)
	}
	topic := s.topic("orders", 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := s.request(produceRequest(acksAll, topic.Name, topic.ID, 0, build(t, plain(1), batch.CodecNone, "v")), 13)
	resp := s.finish(s.b.Handle(ended, r), kmsg.NewPtrProduceResponse(), 13).(*kmsg.ProduceResponse)
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != codeNotLeaderOrFollower || p.CurrentLeader.LeaderID != 1 || p.CurrentLeader.LeaderEpoch != 0 {
		t.Errorf("%+v", p)
	}
	if len(resp.Brokers) != 1 || resp.Brokers[0].Port != 9092 {
		t.Errorf("%+v", resp.Brokers)
	}
	close(fs.listGate)
	s.fill(topic, 0, 1, "v")
}

// faultyStack is a broker with a topic of one record, on a disk to be broken.
func faultyStack(t *testing.T) (*stack, *catalog.Topic, *disk.Faults) {
	t.Helper()
	faults := disk.NewFaults()
	s := newStackOn(t, disk.NewFaulty(disk.NewMem(), faults))
	s.broken = true
	topic := s.topic("orders", 1)
	// With acks=1 it has a file at once.
	one, err := batch.Parse(build(t, plain(1), batch.CodecNone, "v"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := topic.Partitions[0].Append(t.Context(), one, acksLeader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a.Ticket.Hurry()
	<-a.Ticket.Done()
	return s, topic, faults
}

// TestFailedSync: everything that waits is refused, and so is everything after it;
// what was durable can still be read. The client is not told what the disk said.
func TestFailedSync(t *testing.T) {
	s, topic, faults := faultyStack(t)
	faults.Add(disk.Fault{Times: disk.Forever, Ops: disk.OpSync | disk.OpSyncFS, Path: "orders-0"})
	faults.Add(disk.Fault{Times: disk.Forever, Ops: disk.OpSync, Path: "journal-"})
	faults.Add(disk.Fault{Times: disk.Forever, Ops: disk.OpSyncFS})
	for i := range 3 {
		p := s.produce(topic, 0, build(t, plain(1), batch.CodecNone, "v"))
		if p.ErrorCode != codeKafkaStorageError || p.BaseOffset != -1 || p.ErrorMessage != nil {
			t.Errorf("batch %d: %+v", i, p)
		}
	}
	if p := s.fetchOne(fetchRequest(topic, 0, 0), 12); p.ErrorCode != codeNone || !equalOffsets(offsetsIn(t, p.RecordBatches), 0) {
		t.Errorf("fetch: %+v", p)
	}
}

// TestFailedWrite: only the append that met it fails.
func TestFailedWrite(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		s, topic, faults := faultyStack(t)
		faults.Add(disk.Fault{Times: 1, Ops: disk.OpWrite, Kind: kind, Path: ".log"})
		large := strings.Repeat("v", 40<<10) // what is small waits in memory for its write
		if p := s.produce(topic, 0, build(t, idempotent(7, 0, 0, 1), batch.CodecNone, large)); p.ErrorCode != codeKafkaStorageError || p.BaseOffset != -1 {
			t.Errorf("fault %d: %+v", kind, p)
		}
		for range 2 { // the retry is appended, and the retry of the retry is a duplicate
			if p := s.produce(topic, 0, build(t, idempotent(7, 0, 0, 1), batch.CodecNone, large)); p.ErrorCode != codeNone || p.BaseOffset != 1 {
				t.Errorf("fault %d, retry: %+v", kind, p)
			}
		}
	}
}

// TestFailedRead: clients that do not know KAFKA_STORAGE_ERROR are told to look for
// another leader.
func TestFailedRead(t *testing.T) {
	s, topic, faults := faultyStack(t)
	faults.Add(disk.Fault{Times: disk.Forever, Ops: disk.OpRead, Path: ".log"})
	for version, want := range map[int16]int16{5: codeNotLeaderOrFollower, 6: codeKafkaStorageError, 18: codeKafkaStorageError} {
		if p := s.fetchOne(fetchRequest(topic, 0, 0), version); p.ErrorCode != want || p.HighWatermark != -1 {
			t.Errorf("version %d: %+v", version, p)
		}
	}
}
