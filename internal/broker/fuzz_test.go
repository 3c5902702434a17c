package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// fuzzVersionsMax bounds the versions that seeds are made for.
const fuzzVersionsMax = 32

// fuzzSeeds are frames of every API in every version.
func fuzzSeeds(f *testing.F, t *catalog.Topic) {
	id := "mover"
	seeds := []kmsg.Request{
		produceRequest(acksAll, t.Name, t.ID, 0, build(f, idempotent(7, 0, 0, 2), batch.CodecNone, "v")),
		produceRequest(acksNone, t.Name, t.ID, 1, build(f, plain(1), batch.CodecGzip, "v")),
		fetchRequest(t, 0, 0, 1, 2), listOffsetsRequest(t.Name, 0, timestampMax), metadataRequest(t.Name, "new"),
		describeProducersRequest(t.Name), &kmsg.InitProducerIDRequest{TransactionalID: &id, ProducerID: 4, ProducerEpoch: 1},
	}
	for _, a := range apiTable {
		seeds = append(seeds, kmsg.RequestForKey(a.key))
	}
	seeds = append(seeds, groupSeeds(t)...)
	for _, req := range seeds {
		for version := range int16(fuzzVersionsMax) {
			if version <= req.MaxVersion() {
				f.Add(frameOf(req, version))
			}
		}
	}
}

// groupSeeds are requests of the group and admin APIs with something in them.
func groupSeeds(t *catalog.Topic) []kmsg.Request {
	m := &member{group: "g", id: "m", generation: 1}
	member, instance := "m", "i"
	join := joinRequest("g", "m")
	join.InstanceID = &instance
	return []kmsg.Request{
		commitRequest("g", t, 7, 0, 9), fetchOffsetsRequest(9, "g", t, 0, 9), fetchOffsetsRequest(8, "g", nil),
		joinRequest("g", ""), join, m.syncRequest("mine"),
		&kmsg.HeartbeatRequest{Group: "g", MemberID: "m", Generation: 1},
		&kmsg.LeaveGroupRequest{Group: "g", MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}, {InstanceID: &instance}}},
		&kmsg.DescribeGroupsRequest{Groups: []string{"g", "c", ""}, IncludeAuthorizedOperations: true},
		&kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g", "c", ""}, IncludeAuthorizedOperations: true},
		&kmsg.ListGroupsRequest{StatesFilter: []string{"empty"}, TypesFilter: []string{"classic"}},
		&kmsg.DeleteGroupsRequest{Groups: []string{"g", "g", ""}},
		&kmsg.OffsetDeleteRequest{Group: "g", Topics: []kmsg.OffsetDeleteRequestTopic{
			{Topic: t.Name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}}, {Topic: "nope"}}},
		&kmsg.FindCoordinatorRequest{CoordinatorKey: "g", CoordinatorKeys: []string{"g"}},
		&kmsg.ConsumerGroupHeartbeatRequest{Group: "c", MemberID: "m", RebalanceTimeoutMillis: 1000,
			SubscribedTopicNames: []string{t.Name}, Topics: []kmsg.ConsumerGroupHeartbeatRequestTopic{}},
		&kmsg.ConsumerGroupHeartbeatRequest{Group: "c", MemberID: "m", MemberEpoch: -1, SubscribedTopicRegex: &member},
		&kmsg.AlterPartitionAssignmentsRequest{Topics: []kmsg.AlterPartitionAssignmentsRequestTopic{
			{Topic: t.Name, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: []int32{1, 1}}, {Replicas: nil}}}}},
		&kmsg.DescribeQuorumRequest{Topics: []kmsg.DescribeQuorumRequestTopic{
			{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}},
		&kmsg.UpdateFeaturesRequest{FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}}},
		&kmsg.PushTelemetryRequest{ClientInstanceID: [16]byte{7}, Metrics: []byte("m")},
		&kmsg.ListTransactionsRequest{StateFilters: []string{"Ongoing", "x"}, TransactionalIDPattern: &member},
	}
}

// FuzzHandle sends arbitrary frames through the decoder to the handlers: no panic, an
// answer that reads back, the same in one piece and in several.
func FuzzHandle(f *testing.F) {
	s := newStack(f)
	s.auto = true
	topic := s.topic("orders", 2)
	s.fill(topic, 0, 3, "v")
	fuzzSeeds(f, topic)
	d := s.b.decoder(f)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, frame []byte) {
		r := &wire.Request{Session: &wire.Session{Responses: wire.NewBudget(1 << 20)}}
		if d.Decode(frame, r) != nil {
			return
		}
		// The context has ended: whatever has to wait gives up.
		resp, err := s.b.Handle(context.Background(), r).Wait(done)
		switch {
		case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, wire.ErrCloseConnection):
			t.Fatalf("key %d: %v", r.Key, err)
		case resp != nil:
			readsBack(t, r, resp)
		}
		if used := r.Session.Responses.Used(); used != 0 {
			t.Fatalf("key %d keeps %d bytes of the budget", r.Key, used)
		}
	})
}

func readsBack(t *testing.T, r *wire.Request, resp wire.Response) {
	t.Helper()
	body := resp.AppendTo(nil)
	into := kmsg.ResponseForKey(r.Key)
	into.SetVersion(r.Version)
	if r.Unsupported {
		into.SetVersion(0)
	}
	if err := into.ReadFrom(body); err != nil {
		t.Fatalf("key %d version %d: %v", r.Key, r.Version, err)
	}
	if s, ok := resp.(wire.SegmentedResponse); ok {
		var joined []byte
		for _, piece := range s.AppendBuffers(net.Buffers{}) {
			joined = append(joined, piece...)
		}
		if string(joined) != string(body) {
			t.Fatalf("key %d version %d: the pieces differ from the whole", r.Key, r.Version)
		}
	}
	if held, ok := resp.(wire.Releaser); ok {
		held.Release()
	}
}

// FuzzOffsetBehind walks arbitrary bytes as batches.
func FuzzOffsetBehind(f *testing.F) {
	f.Add([]byte{}, int64(3))
	f.Add(build(f, plain(3), batch.CodecNone, "v"), int64(0))
	huge := build(f, plain(1), batch.CodecNone, "v")
	binary.BigEndian.PutUint32(huge[8:], 1<<31-1)
	f.Add(huge, int64(0))
	f.Fuzz(func(t *testing.T, data []byte, fallback int64) {
		if got := offsetBehind(data, fallback); len(data) < batch.HeaderSize && got != fallback {
			t.Fatalf("%d from nothing", got)
		}
	})
}
