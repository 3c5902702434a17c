package sim

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/wire"
)

const (
	dataDir     = "/data"
	smallBudget = 1 << 20 // the smallest producer.state.memory.bytes: evicts soonest
)

// A world is a broker on a disk that can crash, and the model of what it has
// acknowledged.
type world struct {
	t        testing.TB
	mem      *disk.Mem
	wrap     func(disk.FS) disk.FS // faults between broker and disk; nil: none
	settings map[string]string     // configuration keys of the broker
	b        *testBroker           // nil while stopped
	models   map[string]*model     // by topic; every topic here has one partition
	topicIDs map[string][16]byte
	issued   map[int64]bool  // ids that the broker gave out
	closings int             // of segments, for the cleaner
	lost     map[string]bool // topics whose producer state no log and no store has any more
}

func newWorld(t testing.TB, settings map[string]string) *world {
	return newWrappedWorld(t, settings, nil)
}

// newWrappedWorld is newWorld with something between broker and disk.
func newWrappedWorld(t testing.TB, settings map[string]string, wrap func(disk.FS) disk.FS) *world {
	w := &world{t: t, mem: disk.NewMem(), wrap: wrap, settings: settings, models: map[string]*model{}, issued: map[int64]bool{}, lost: map[string]bool{}}
	t.Cleanup(func() {
		if w.b != nil {
			w.b.stop(t)
		}
	})
	w.start()
	return w
}

func (w *world) fs() disk.FS {
	if w.wrap != nil {
		return w.wrap(w.mem)
	}
	return w.mem
}

func (w *world) start() {
	w.t.Helper()
	b, err := startBroker(w.fs(), w.settings)
	if err != nil {
		w.t.Fatalf("start: %v", err)
	}
	w.b = b
}

// The ways in which every case is run between its setup and its probe.
var ways = []struct {
	name    string
	disturb func(w *world)
}{
	{"hot", func(*world) {}},
	{"evicted", (*world).evict},
	{"after kill -9", func(w *world) { w.crash(w.mem.KillClone()) }},
	{"after power loss", func(w *world) { w.crash(w.mem.CrashClone(0, 1)) }},
	{"after the store was deleted", (*world).deleteStore},
}

func (w *world) crash(survivor *disk.Mem) {
	w.t.Helper()
	old := w.b
	w.mem, w.b = survivor, nil
	old.kill(w.t)
	w.start()
}

func (w *world) restart() {
	w.t.Helper()
	w.b.stop(w.t)
	w.b = nil
	w.start()
}

func (w *world) deleteStore() {
	w.t.Helper()
	w.b.stop(w.t)
	w.b = nil
	if err := w.mem.RemoveAll(coldDir(dataDir)); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// evict writes with so many other producers that the entries written before leave the
// hot table, however warm they are.
func (w *world) evict() {
	w.t.Helper()
	const others = "evict"
	w.create(others)
	for range evictRounds * w.b.hotCapacity() {
		w.post(others, w.init(), 0, 0, 1)
	}
	w.settle()
}

// evictRounds is how often the hot table is filled with single-use producers: the
// clock hand takes one degree of heat from an entry each time it passes, and some sets
// of the table get fewer than others.
const evictRounds = 8

func (w *world) coldHits() float64 {
	w.t.Helper()
	var m dto.Metric
	if err := w.b.m.Producers.LookupColdHit.Write(&m); err != nil {
		w.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func (w *world) do(req kmsg.Request, version int16) kmsg.Response {
	w.t.Helper()
	resp, err := w.try(req, version)
	if err != nil {
		w.t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return resp
}

func (w *world) try(req kmsg.Request, version int16) (kmsg.Response, error) {
	req.SetVersion(version)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := w.b.handler().Handle(ctx, &wire.Request{
		Key: req.Key(), Version: version, Body: req, ClientID: "sim", Session: &wire.Session{ID: 1}, Received: time.Now(),
	}).Wait(ctx)
	if err != nil || resp == nil {
		return nil, err
	}
	decoded := req.ResponseKind()
	decoded.SetVersion(version)
	if err := decoded.ReadFrom(resp.AppendTo(nil)); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return decoded, nil
}

func (w *world) create(topic string) {
	w.t.Helper()
	if _, known := w.models[topic]; known {
		return
	}
	if code := w.tryCreate(topic, nil); code != 0 {
		w.t.Fatalf("create %s: code %d", topic, code)
	}
}

func (w *world) tryCreate(topic string, configs map[string]string) int16 {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := w.try(req, 7)
	if err != nil {
		return codeStorage
	}
	r := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if r.ErrorCode == 0 {
		w.models[topic] = newModel()
	}
	return r.ErrorCode
}

func (w *world) delete(topic string) int16 {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	req.TopicNames = []string{topic}
	resp, err := w.try(req, 5)
	if err != nil {
		return codeStorage
	}
	code := resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode
	if code == 0 {
		delete(w.models, topic)
	}
	return code
}

// init gets a producer id.
func (w *world) init() int64 {
	w.t.Helper()
	pid, code := w.tryInit()
	if code != 0 {
		w.t.Fatalf("InitProducerId: code %d", code)
	}
	return pid
}

// batchOf builds what a client would send. Values name their record, so that a read
// shows which one it is.
func batchOf(pid int64, epoch int16, base int64, records int, timestamp int64) []byte {
	return buildBatch(pid, epoch, base, records, timestamp, 0)
}

// paddedBatch is batchOf with a key of pad bytes in the first record.
func paddedBatch(pid int64, epoch int16, base int64, records, pad int) []byte {
	return buildBatch(pid, epoch, base, records, 0, pad)
}

func buildBatch(pid int64, epoch int16, base int64, records int, timestamp int64, pad int) []byte {
	recs := make([]batch.Record, records)
	for i := range recs {
		recs[i] = batch.Record{Offset: int64(i), Timestamp: timestamp, Value: fmt.Appendf(nil, "%d/%d/%d", pid, epoch, (base+int64(i))%seqMod)}
	}
	recs[0].Key = make([]byte, pad)
	b, err := batch.Build(nil, batch.Header{
		ProducerID: pid, ProducerEpoch: epoch, BaseSequence: int32(base), LeaderEpoch: -1,
		BaseTimestamp: timestamp, MaxTimestamp: timestamp, LastOffsetDelta: int32(records - 1), RecordCount: int32(records),
	}, 0, recs)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func produceRequest(topic string, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// raw sends a batch with acks=all and returns what the broker said.
func (w *world) raw(topic string, records []byte) (code int16, offset int64, err error) {
	resp, err := w.try(produceRequest(topic, -1, records), 9)
	if err != nil {
		return codeStorage, -1, err
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	return p.ErrorCode, p.BaseOffset, nil
}

// send sends a batch and checks the answer against the model, which learns it.
func (w *world) send(topic string, pid int64, epoch int16, base, records int64) answer {
	w.t.Helper()
	return w.sendAt(topic, pid, epoch, base, records, time.Now().UnixMilli())
}

func (w *world) sendAt(topic string, pid int64, epoch int16, base, records, timestamp int64) answer {
	w.t.Helper()
	m := w.models[topic]
	want := m.expect(pid, epoch, base, records, w.issued[pid])
	code, offset, err := w.raw(topic, batchOf(pid, epoch, base, int(records), timestamp))
	if err != nil {
		w.t.Fatalf("produce: %v", err)
	}
	got := answer{code: code, offset: offset}
	if want.appended && code == codeNone {
		if offset != m.end {
			w.t.Fatalf("%s: producer %d epoch %d sequence %d: appended at %d, the log ended at %d", topic, pid, epoch, base, offset, m.end)
		}
		m.acknowledge(pid, epoch, base, records, offset)
		got = answer{appended: true}
	}
	if got != want {
		w.t.Fatalf("%s: producer %d epoch %d sequence %d, %d records: got %v, the model says %v", topic, pid, epoch, base, records, got, want)
	}
	return got
}

// post is send without a look at the model, for producers that are only a crowd.
func (w *world) post(topic string, pid int64, epoch int16, base, records int64) {
	w.t.Helper()
	code, offset, err := w.raw(topic, batchOf(pid, epoch, base, int(records), 0))
	if err != nil || code != codeNone {
		w.t.Fatalf("produce to %s: code %d, %v", topic, code, err)
	}
	w.models[topic].acknowledge(pid, epoch, base, records, offset)
}

// expect fails unless the broker, and so the model, answered with the code.
func (w *world) want(got answer, code int16) {
	w.t.Helper()
	if got.appended || got.code != code {
		w.t.Fatalf("got %v, want code %d", got, code)
	}
}

func (w *world) wantAppend(got answer) {
	w.t.Helper()
	if !got.appended {
		w.t.Fatalf("got %v, want append", got)
	}
}

// log reads the whole partition: the values of its records, in order.
func (w *world) log(topic string) []string {
	w.t.Helper()
	values, _ := w.read(topic, w.earliest(topic))
	return values
}

// read fetches from an offset to the high watermark, as a consumer does.
func (w *world) read(topic string, next int64) (values []string, headers []batch.Header) {
	w.t.Helper()
	for {
		p := w.fetch(topic, next)
		if p.ErrorCode != 0 {
			w.t.Fatalf("fetch %s at %d: code %d", topic, next, p.ErrorCode)
		}
		if len(p.RecordBatches) == 0 {
			if next != p.HighWatermark {
				w.t.Fatalf("fetch %s ends at %d, the high watermark is %d", topic, next, p.HighWatermark)
			}
			return values, headers
		}
		for data := p.RecordBatches; len(data) > 0; {
			b, err := batch.Parse(data)
			if err != nil {
				w.t.Fatalf("fetch %s at %d: %v", topic, next, err)
			}
			h := b.Header()
			data = data[b.Size():]
			if h.LastOffset() < next {
				continue // a fetch in the middle of a batch gets all of it
			}
			if len(headers) > 0 && h.BaseOffset != next {
				w.t.Fatalf("fetch %s: batch at %d, want %d", topic, h.BaseOffset, next)
			}
			headers = append(headers, h)
			if err := b.Records(func(r batch.Record) error {
				if r.Offset >= next {
					values = append(values, string(r.Value))
				}
				return nil
			}); err != nil {
				w.t.Fatal(err)
			}
			next = h.LastOffset() + 1
		}
	}
}

func (w *world) fetch(topic string, offset int64) kmsg.FetchResponseTopicPartition {
	w.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.ReplicaID, req.SessionEpoch = 1<<30, 0, -1, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes, rp.FetchOffset, rp.CurrentLeaderEpoch = 1<<30, offset, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return w.do(req, 11).(*kmsg.FetchResponse).Topics[0].Partitions[0]
}

func (w *world) earliest(topic string) int64 { return w.listOffset(topic, -2) }
func (w *world) latest(topic string) int64   { return w.listOffset(topic, -1) }

func (w *world) listOffset(topic string, timestamp int64) int64 {
	w.t.Helper()
	offset, code := w.tryListOffset(topic, timestamp)
	if code != 0 {
		w.t.Fatalf("list offsets of %s: code %d", topic, code)
	}
	return offset
}

func (w *world) tryListOffset(topic string, timestamp int64) (offset int64, code int16) {
	w.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp, rp.CurrentLeaderEpoch = timestamp, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	p := w.do(req, 5).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return p.Offset, p.ErrorCode
}

func (w *world) deleteRecords(topic string, before int64) {
	w.t.Helper()
	if code := w.tryDeleteRecords(topic, before); code != 0 {
		w.t.Fatalf("delete records of %s before %d: code %d", topic, before, code)
	}
}

// settle waits until everything acknowledged is in the cold store.
func (w *world) settle() {
	w.t.Helper()
	if err := w.b.settle(); err != nil {
		w.t.Fatal(err)
	}
}

var quiet = slog.New(slog.DiscardHandler)

func (w *world) tryInit() (pid int64, code int16) {
	resp, err := w.try(kmsg.NewPtrInitProducerIDRequest(), 4)
	if err != nil {
		return -1, codeStorage
	}
	r := resp.(*kmsg.InitProducerIDResponse)
	if r.ErrorCode == 0 {
		if w.issued[r.ProducerID] {
			w.t.Fatalf("producer id %d was given out twice", r.ProducerID)
		}
		w.issued[r.ProducerID] = true
	}
	return r.ProducerID, r.ErrorCode
}

// alter sets one key of a topic.
func (w *world) alter(topic, key, value string) int16 {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	rr := kmsg.NewIncrementalAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	rc.Name, rc.Value = key, kmsg.StringPtr(value)
	rr.Configs = append(rr.Configs, rc)
	req.Resources = append(req.Resources, rr)
	resp, err := w.try(req, 1)
	if err != nil {
		return codeStorage
	}
	return resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
}

// fill writes records that no producer remembers.
func (w *world) fill(topic string, size int) {
	w.t.Helper()
	const step = 256 << 10
	for ; size > 0; size -= step {
		code, _, err := w.raw(topic, paddedBatch(-1, -1, -1, 1, step))
		if err != nil || code != codeNone {
			w.t.Fatalf("fill %s: code %d, %v", topic, code, err)
		}
		w.models[topic].end++
	}
}

func (w *world) exists(topic string) bool {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, rt)
	return w.do(req, 8).(*kmsg.MetadataResponse).Topics[0].ErrorCode == 0
}

func (w *world) tryDeleteRecords(topic string, before int64) int16 {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Offset = before
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := w.try(req, 2)
	if err != nil {
		return codeStorage
	}
	return resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode
}

// A loggedBatch is one batch as a consumer sees it.
type loggedBatch struct {
	pid                   int64
	epoch                 int16
	base, records, offset int64
}

// readBatches reads a whole log as a consumer does.
func (w *world) readBatches(topic string) (out []loggedBatch, start int64, err error) {
	start, code := w.tryListOffset(topic, -2)
	if code != 0 {
		return nil, 0, fmt.Errorf("the partition does not load: code %d", code)
	}
	_, headers := w.read(topic, start)
	for _, h := range headers {
		out = append(out, loggedBatch{h.ProducerID, h.ProducerEpoch, int64(h.BaseSequence), int64(h.RecordCount), h.BaseOffset})
	}
	return out, start, nil
}

// probeProducers asks for everything that a producer may ask: each of its last five
// batches again, and then the next one.
func (w *world) probeProducers(topic string, m *model) error {
	w.models = map[string]*model{topic: m}
	m.end = w.latest(topic)
	for pid, batches := range m.batches {
		for _, b := range batches[max(0, len(batches)-windowBatches):] {
			code, offset, err := w.raw(topic, batchOf(pid, b.epoch, b.base, int(b.records), 0))
			if err != nil || code != codeNone || offset != b.offset {
				return fmt.Errorf("retry of producer %d sequence %d: code %d offset %d (%v), it is stored at %d", pid, b.base, code, offset, err, b.offset)
			}
		}
		last := batches[len(batches)-1]
		next := (last.last + 1) % seqMod
		code, offset, err := w.raw(topic, batchOf(pid, last.epoch, next, 1, 0))
		if err != nil || code != codeNone || offset != m.end {
			return fmt.Errorf("next batch of producer %d, sequence %d: code %d offset %d (%v), want it appended at %d", pid, next, code, offset, err, m.end)
		}
		m.end++
	}
	return nil
}
