package node

import (
	"context"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/disk"
)

// TestOffsetsSurvive commits offsets through a client, kills the node, and fetches them from the next one.
func TestOffsetsSurvive(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem, "offsets.topic.num.partitions=4")
	createTopic(t, n, "orders", 3)
	admin := kadm.NewClient(client(t, n))
	want := kadm.Offsets{}
	want.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 11, LeaderEpoch: -1, Metadata: "noted"})
	want.Add(kadm.Offset{Topic: "orders", Partition: 2, At: 22, LeaderEpoch: 0})
	for _, id := range []string{"a", "b", "c"} {
		if _, err := admin.CommitOffsets(t.Context(), id, want); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"kill", "stop"} {
		if how == "kill" {
			n.Kill()
			mem = mem.CrashClone(0, 1)
		} else {
			stop(t, n)
		}
		n = start(t, mem, "offsets.topic.num.partitions=4")
		admin = kadm.NewClient(client(t, n))
		for _, id := range []string{"a", "b", "c"} {
			got, err := admin.FetchOffsets(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			offsets := kadm.Offsets{}
			got.Each(func(r kadm.OffsetResponse) {
				r.TopicID = [16]byte{} // of the version of the request
				offsets.Add(r.Offset)
			})
			if !reflect.DeepEqual(offsets, want) {
				t.Errorf("%s, group %s: %v, want %v", how, id, offsets, want)
			}
		}
	}
}

// TestConsumeAsGroup: a member of a classic group consumes, commits, and is followed by another after a restart.
func TestConsumeAsGroup(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=4")
	createTopic(t, n, "orders", 1)
	consume := func(want string) {
		t.Helper()
		c := client(t, n, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records := fetches.Records()
		if len(records) != 1 || string(records[0].Value) != want {
			t.Fatalf("got %d records, want %q", len(records), want)
		}
		if err := c.CommitRecords(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
		if err := c.LeaveGroupContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	produce(t, n, "orders", "one")
	consume("one")
	stop(t, n)
	n = start(t, mem, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=4")
	produce(t, n, "orders", "two")
	consume("two")
}

// TestConfigOfOneGroup: what a group is told reaches its members, survives a kill, and stays within what the broker allows now.
func TestConfigOfOneGroup(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem, "offsets.topic.num.partitions=2")
	createTopic(t, n, "orders", 1)
	interval := func(group string) int32 {
		t.Helper()
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.RebalanceTimeoutMillis = group, "m", 10_000
		req.SubscribedTopicNames, req.Topics = []string{"orders"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		c := client(t, n)
		for {
			resp, err := req.RequestWith(t.Context(), c)
			switch {
			case err != nil || resp.ErrorCode != 0 && resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code:
				t.Fatalf("%v, %+v", err, resp)
			case resp.ErrorCode == 0:
				return resp.HeartbeatIntervalMillis
			}
		}
	}
	expect := func(when string, told, other int32) {
		t.Helper()
		if got, rest := interval("told"), interval("other"); got != told || rest != other {
			t.Errorf("%s: every %d and %d ms, want %d and %d", when, got, rest, told, other)
		}
	}
	expect("at first", 5000, 5000)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "told"
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.heartbeat.interval.ms", Value: kmsg.StringPtr("7000")}}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(t.Context(), client(t, n))
	if err != nil || len(resp.Resources) != 1 || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("%v, %+v", err, resp)
	}
	expect("told", 7000, 5000)
	n.Kill()
	mem = mem.CrashClone(0, 1)
	n = start(t, mem, "offsets.topic.num.partitions=2")
	expect("after a kill", 7000, 5000)
	stop(t, n)
	n = start(t, mem, "offsets.topic.num.partitions=2", "group.consumer.max.heartbeat.interval.ms=6000")
	expect("with another broker", 6000, 5000)
}
