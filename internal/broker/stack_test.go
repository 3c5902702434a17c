package broker

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/coordinator"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// stack is a broker on everything below it, over a disk in memory.
type stack struct {
	tb      testing.TB
	b       *Broker
	session *wire.Session
	logs    *seglog.Store
	catalog *catalog.Catalog
	groups  *coordinator.Coordinator
	auto    bool
	broken  bool // the disk fails: so may the end
}

const stackDir = "data"

func newStack(tb testing.TB) *stack { return newStackOn(tb, disk.NewMem()) }

func newStackOn(tb testing.TB, fs disk.FS) *stack { return newStackWith(tb, fs, 0) }

// newStackWith keeps that many segment files open; 0 is the store's default.
func newStackWith(tb testing.TB, fs disk.FS, openFiles int) *stack {
	tb.Helper()
	m := metrics.New()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	must(fs.MkdirAll(stackDir))
	cat, err := catalog.Open(catalog.Options{FS: fs, Dir: stackDir, NodeID: 1, Metrics: m.Partitions, Static: []catalog.StaticConfig{
		{Name: "group.consumer.heartbeat.interval.ms", Value: "5000", Default: "5000", Type: catalog.TypeInt},
		{Name: "group.consumer.session.timeout.ms", Value: "45000", Default: "45000", Type: catalog.TypeInt},
	}})
	must(err)
	logs, err := seglog.OpenStore(seglog.Options{FS: fs, Dir: stackDir, OpenFilesMax: openFiles, FreeBytesMin: -1, JournalBytes: 1 << 20, Metrics: m.Log})
	must(err)
	must(fs.MkdirAll(stackDir + "/cold"))
	cold, err := coldstate.Open(coldstate.Options{FS: fs, Dir: stackDir + "/cold", MemoryBytes: 4 << 20, Metrics: m.Cold})
	must(err)
	ids, err := pidstore.NewIDs(cat, m.Producers)
	must(err)
	pids, err := pidstore.Open(pidstore.Options{Cold: cold, MemoryBytes: 4 << 20, ExpirationMillis: 86_400_000, IDs: ids,
		SyncLog: func(num uint64) { syncLog(cat, num) }, Metrics: m.Producers})
	must(err)
	must(cat.Attach(logs, pids, false))
	s := &stack{tb: tb, logs: logs, catalog: cat, session: &wire.Session{ID: 1, Listener: "PLAINTEXT", RemoteAddr: netip.MustParseAddrPort("127.0.0.1:5000")}}
	var closeGroups func() error
	s.groups, closeGroups = newGroups(tb, fs, cat, m)
	s.b = New(Options{Catalog: cat, Producers: pids, IDs: ids, Groups: s.groups, NodeID: 1, ClusterID: cat.ClusterID(), DataDir: stackDir, Metrics: m,
		AutoCreate: func() bool { return s.auto },
		Advertised: func(string) (string, int32) { return "localhost", 9092 }})
	tb.Cleanup(func() {
		s.groups.Close()
		for _, close := range []func() error{logs.Close, pids.Close, cat.Close, cold.Close, closeGroups} {
			if err := close(); err != nil && !s.broken {
				tb.Error(err)
			}
		}
	})
	return s
}

// syncLog is what the composition root gives the producer store.
func syncLog(cat *catalog.Catalog, num uint64) {
	for _, t := range cat.Topics() {
		for _, p := range t.Partitions {
			if p.Num() == num {
				p.RequestSync()
			}
		}
	}
}

// topic creates a topic with configs given as name, value, name, value ...
func (s *stack) topic(name string, partitions int32, configs ...string) *catalog.Topic {
	s.tb.Helper()
	spec := catalog.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: map[string]*string{}}
	for i := 0; i < len(configs); i += 2 {
		spec.Configs[configs[i]] = &configs[i+1]
	}
	t, err := s.catalog.CreateTopic(spec, false)
	if err != nil {
		s.tb.Fatal(err)
	}
	return t
}

// decoder reads frames as the server does.
func (b *Broker) decoder(tb testing.TB) *wire.Decoder {
	tb.Helper()
	d, err := wire.NewDecoder(b.APIs(), 100<<20)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// frameOf is a request as it comes from a client, without its size.
func frameOf(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 1)[wire.SizeBytes:]
}

// request is what the server hands to Handle.
func (s *stack) request(req kmsg.Request, version int16) *wire.Request {
	s.tb.Helper()
	connection := *s.session // each request has a connection of its own
	r := &wire.Request{Session: &connection, Received: time.Now()}
	if err := s.b.decoder(s.tb).Decode(frameOf(req, version), r); err != nil {
		s.tb.Fatalf("key %d version %d: %v", req.Key(), version, err)
	}
	return r
}

// do sends a request and reads the bytes of its answer back.
func (s *stack) do(req kmsg.Request, version int16) kmsg.Response {
	s.tb.Helper()
	return s.finish(s.b.Handle(context.Background(), s.request(req, version)), req.ResponseKind(), version)
}

func (s *stack) finish(reply wire.Reply, into kmsg.Response, version int16) kmsg.Response {
	s.tb.Helper()
	resp, err := reply.Wait(context.Background())
	if err != nil || resp == nil {
		s.tb.Fatalf("key %d: answer %v, %v", into.Key(), resp, err)
	}
	into.SetVersion(version)
	if resp.Key() != into.Key() || resp.IsFlexible() != into.IsFlexible() {
		s.tb.Fatalf("key %d flexible %v, want %d, %v", resp.Key(), resp.IsFlexible(), into.Key(), into.IsFlexible())
	}
	if err := into.ReadFrom(resp.AppendTo(nil)); err != nil {
		s.tb.Fatalf("key %d version %d: the answer is not readable: %v", into.Key(), version, err)
	}
	if r, ok := resp.(wire.Releaser); ok {
		r.Release()
	}
	return into
}

// plain describes a batch without a producer.
func plain(records int) batch.Header {
	return batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, LastOffsetDelta: int32(records) - 1, RecordCount: int32(records)}
}

// idempotent describes a batch of a producer.
func idempotent(pid int64, epoch int16, sequence int32, records int) batch.Header {
	h := plain(records)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = pid, epoch, sequence
	return h
}

// build makes the bytes of a batch whose records have the given value.
func build(tb testing.TB, h batch.Header, codec int8, value string) []byte {
	tb.Helper()
	now := time.Now().UnixMilli()
	records := make([]batch.Record, h.RecordCount)
	for i := range records {
		records[i] = batch.Record{Offset: int64(i), Timestamp: now, Value: []byte(value)}
	}
	h.BaseTimestamp, h.MaxTimestamp = now, now
	out, err := batch.Build(nil, h, codec, records)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func produceRequest(acks int16, topic string, id [16]byte, index int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = index, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produce appends with acks=all in the newest version and returns the outcome.
func (s *stack) produce(t *catalog.Topic, index int32, records []byte) kmsg.ProduceResponseTopicPartition {
	s.tb.Helper()
	resp := s.do(produceRequest(acksAll, t.Name, t.ID, index, records), 13).(*kmsg.ProduceResponse)
	return resp.Topics[0].Partitions[0]
}

// fill appends n batches of one record and fails on any error.
func (s *stack) fill(t *catalog.Topic, index int32, n int, value string) {
	s.tb.Helper()
	for range n {
		if p := s.produce(t, index, build(s.tb, plain(1), batch.CodecNone, value)); p.ErrorCode != 0 {
			s.tb.Fatalf("produce: code %d", p.ErrorCode)
		}
	}
}
