package null

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// start serves on a port of the system's choice until the test ends.
func start(t testing.TB, o Options) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- ServeWith(ctx, l, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// exchange sends one request and reads its answer.
func exchange(t *testing.T, c net.Conn, req kmsg.Request) kmsg.Response {
	t.Helper()
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 77)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatalf("key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint32(body); got != 77 {
		t.Fatalf("correlation %d", got)
	}
	body = body[4:]
	if req.IsFlexible() && req.Key() != keyApiVersions {
		if body[0] != 0 {
			t.Fatalf("tags %d in the header of key %d version %d", body[0], req.Key(), req.GetVersion())
		}
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		t.Fatalf("key %d version %d: %d bytes of answer, %d of which are understood", req.Key(), req.GetVersion(), len(body), len(again))
	}
	return resp
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestVersions asks everything that is advertised in every version.
func TestVersions(t *testing.T) {
	c := dial(t, start(t, Options{Partitions: 3}))
	name, id := "a", idOf("a")
	for _, s := range spoken {
		for v := s.MinVersion; v <= s.MaxVersion; v++ {
			req := kmsg.RequestForKey(s.ApiKey)
			req.SetVersion(v)
			switch r := req.(type) {
			case *kmsg.MetadataRequest:
				r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
			case *kmsg.ListOffsetsRequest:
				r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 1, Timestamp: -2}}}}
			case *kmsg.FetchRequest:
				r.MaxBytes = 1 << 20
				r.Topics = []kmsg.FetchRequestTopic{{Topic: name, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{{FetchOffset: 5, PartitionMaxBytes: 200 << 10}, {Partition: 2}}}}
			case *kmsg.ProduceRequest:
				r.Acks = -1
				r.Topics = []kmsg.ProduceRequestTopic{{Topic: name, TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 2, Records: make([]byte, 300<<10)}, {Partition: 1}}}}
			case *kmsg.JoinGroupRequest:
				r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
			}
			if s.ApiKey == 8 || s.ApiKey == 9 || s.ApiKey == 14 {
				req = groupRequest(s.ApiKey, v)
			}
			check(t, exchange(t, c, req))
		}
	}
}

func groupRequest(key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	switch r := req.(type) {
	case *kmsg.OffsetCommitRequest:
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 1}}}}
	case *kmsg.OffsetFetchRequest:
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "a", Partitions: []int32{1}}}
		r.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "a", Partitions: []int32{1}}}}}
	case *kmsg.SyncGroupRequest:
		r.MemberID = "m"
		r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m", MemberAssignment: []byte("all")}}
	}
	req.SetVersion(version)
	return req
}

// check looks at what the tools rely on.
func check(t *testing.T, resp kmsg.Response) {
	t.Helper()
	fail := func(ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("key %d version %d: %+v", resp.Key(), resp.GetVersion(), resp)
		}
	}
	switch r := resp.(type) {
	case *kmsg.MetadataResponse:
		fail(len(r.Brokers) == 1 && len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 3 && r.Topics[0].Partitions[2].Leader == r.Brokers[0].NodeID)
	case *kmsg.ProduceResponse:
		fail(len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 2)
		p := r.Topics[0].Partitions
		fail(p[0].Partition == 2 && p[0].ErrorCode == 0 && p[1].Partition == 1 && p[1].BaseOffset > p[0].BaseOffset)
	case *kmsg.FetchResponse:
		p := r.Topics[0].Partitions
		fail(len(p) == 2 && len(p[0].RecordBatches) > 100<<10 && len(p[1].RecordBatches) == 0)
		batches := p[0].RecordBatches
		for want := int64(5); len(batches) > 0; want += 64 {
			fail(int64(binary.BigEndian.Uint64(batches)) == want)
			batches = batches[12+binary.BigEndian.Uint32(batches[8:]):]
		}
	case *kmsg.SyncGroupResponse:
		fail(string(r.MemberAssignment) == "all")
	case *kmsg.JoinGroupResponse:
		fail(r.LeaderID == r.MemberID && *r.Protocol == "range" && len(r.Members) == 1)
	}
}

func TestUnknownApiVersions(t *testing.T) {
	c := dial(t, start(t, Options{Partitions: 1}))
	b := kmsg.NewRequestFormatter().AppendRequest(nil, &kmsg.ApiVersionsRequest{Version: 3}, 1)
	binary.BigEndian.PutUint16(b[6:], 99)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 10)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	if code := binary.BigEndian.Uint16(head[8:]); code != unsupportedVersion {
		t.Errorf("error %d", code)
	}
}

// TestBadInput: the connection is closed, and no more than the limits is held.
func TestBadInput(t *testing.T) {
	addr := start(t, Options{Partitions: 1})
	for name, b := range map[string][]byte{
		"negative size":                {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0, 0},
		"huge":                         {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0, 0},
		"huge control request":         {0x01, 0x00, 0x00, 0x00, 0, 3, 0, 3, 0, 0, 0, 0},
		"unknown key":                  {0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
		"truncated metadata":           {0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0},
		"produce too short":            {0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 0, 0, 60, 0, 0},
		"produce of 2^31 topics":       {0, 0, 0, 22, 0, 0, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},
		"produce with bytes left over": {0, 0, 0, 24, 0, 0, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// TestClient produces and consumes with a client that checks what it gets.
func TestClient(t *testing.T) {
	for _, size := range []int{100, 1024} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			addr := start(t, Options{Partitions: 4, RecordBytes: size})
			client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("read"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DefaultProduceTopic("written"))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for range 1000 {
				client.Produce(ctx, &kgo.Record{Value: make([]byte, size)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			if err := client.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			next, read := map[int32]int64{}, 0
			for read < 20_000 && ctx.Err() == nil {
				got := client.PollFetches(ctx)
				got.EachError(func(topic string, p int32, err error) { t.Errorf("%s %d: %v", topic, p, err) })
				got.EachRecord(func(r *kgo.Record) {
					read++
					if r.Offset != next[r.Partition] || len(r.Value) != size {
						t.Fatalf("partition %d offset %d of %d bytes, want offset %d", r.Partition, r.Offset, len(r.Value), next[r.Partition])
					}
					next[r.Partition]++
				})
			}
			if len(next) != 4 {
				t.Errorf("records of %d partitions", len(next))
			}
		})
	}
}

func TestTopics(t *testing.T) {
	c := dial(t, start(t, Options{Partitions: 3}))
	name := "made"
	ask := func() int {
		req := &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}
		return len(exchange(t, c, req).(*kmsg.MetadataResponse).Topics[0].Partitions)
	}
	create := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 7, ReplicationFactor: 1}}}
	exchange(t, c, create)
	if n := ask(); n != 7 {
		t.Errorf("%d partitions after the topic was made with 7", n)
	}
	if code := exchange(t, c, create).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 36 {
		t.Errorf("error %d when made again", code)
	}
	remove := &kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}}
	if code := exchange(t, c, remove).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		t.Errorf("error %d when deleted", code)
	}
	if n := ask(); n != 0 {
		t.Errorf("%d partitions after it was deleted", n)
	}
	all := exchange(t, c, &kmsg.MetadataRequest{Version: 12}).(*kmsg.MetadataResponse)
	if len(all.Topics) != 0 {
		t.Errorf("all topics: %+v", all.Topics)
	}
}

// TestProduceAllocatesNothing: a request costs the same whatever it holds.
func TestProduceAllocatesNothing(t *testing.T) {
	req := &kmsg.ProduceRequest{Version: 12, Acks: -1, Topics: []kmsg.ProduceRequestTopic{{Topic: "a", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, 64<<10)}}}}}
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 77)
	c := dial(t, start(t, Options{Partitions: 1}))
	answer := make([]byte, 1024)
	one := func() {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(answer); err != nil {
			t.Error(err)
		}
	}
	one()
	if n := testing.AllocsPerRun(100, one); n > 1 {
		t.Errorf("%v allocations a request", n)
	}
}
