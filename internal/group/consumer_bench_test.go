package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func crowdJoin(s *consumerScript, g *Group, id string, topics []string) {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.RebalanceTimeoutMillis = 1, g.id, id, 60000
	r.SubscribedTopicNames, r.Topics = topics, ownedTopics{}
	s.calls++
	g.Step(s.now, s.calls, r, Client{ID: "c", Host: "/127.0.0.1"}, &s.topics, &s.out)
}

// BenchmarkHeartbeats is 5,000 members in 500 groups that say they live; one operation is one heartbeat.
func BenchmarkHeartbeats(b *testing.B) {
	s := newConsumerScript()
	s.cfg.ConsumerSessionTimeout = 24 * time.Hour // setting up takes longer than a session
	for i := range 10 {
		s.topics.set(fmt.Sprintf("topic-%d", i), 12)
	}
	type one struct {
		g *Group
		r *kmsg.ConsumerGroupHeartbeatRequest
	}
	var all []one
	for i := range 500 {
		g := New(fmt.Sprintf("group-%d", i), &s.cfg)
		for j := range 10 {
			crowdJoin(s, g, fmt.Sprintf("member-%d-%d", i, j), []string{"topic-1", "topic-2"})
		}
		settle(b, s, g)
		for id, m := range g.consumer.members {
			r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, g.id, id, m.epoch
			all = append(all, one{g, r})
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.now = s.now.Add(time.Millisecond)
		o := all[i%len(all)]
		s.out.Records, s.out.Replies = s.out.Records[:0], s.out.Replies[:0]
		o.g.Step(s.now, Call(i), o.r, Client{ID: "c", Host: "/127.0.0.1"}, &s.topics, &s.out)
		if len(s.out.Records) > 0 {
			b.Fatal("a heartbeat changed something")
		}
		if at, ok := o.g.Deadline(); ok && !at.After(s.now) {
			o.g.Tick(s.now, &s.topics, &s.out)
		}
	}
}

// settle lets all members heartbeat, and own what they were told to, until the group is stable.
func settle(b testing.TB, s *consumerScript, g *Group) (rounds int) {
	for ; g.consumer.stateName() != "Stable"; rounds++ {
		if rounds > 20 {
			b.Fatalf("not stable after %d rounds", rounds)
		}
		s.now = s.now.Add(time.Second)
		for _, id := range g.consumer.memberIDs() {
			m := g.consumer.members[id]
			r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, g.id, id, m.epoch
			r.Topics = ownedOf(m.owned)
			s.calls++
			s.out = Output{}
			g.Step(s.now, s.calls, r, Client{ID: "c", Host: "/127.0.0.1"}, &s.topics, &s.out)
		}
	}
	return rounds
}

// BenchmarkRebalance is a group of 200 members on 1,000 partitions, from the first join to all of them stable.
func BenchmarkRebalance(b *testing.B) {
	for b.Loop() {
		s := newConsumerScript()
		s.topics.set("topic", 1000)
		g := New("g", &s.cfg)
		for i := range 200 {
			crowdJoin(s, g, fmt.Sprintf("member-%03d", i), []string{"topic"})
		}
		b.ReportMetric(float64(settle(b, s, g)), "rounds")
	}
}

// TestLargeGroupConverges: what a large group puts off it does not forget.
func TestLargeGroupConverges(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("topic", 3000)
	g := New("g", &s.cfg)
	for i := range 300 {
		crowdJoin(s, g, fmt.Sprintf("member-%03d", i), []string{"topic"})
	}
	computed := 0
	for _, r := range s.out.Records {
		if kind, _, _ := recordKey(r.Key); kind == keyTargetMetadata {
			computed++
		}
	}
	if computed > 10 {
		t.Errorf("%d targets for one crowd", computed)
	}
	settle(t, s, g)
	for id, m := range g.consumer.members {
		if m.owned.size() != 10 {
			t.Errorf("%s has %d partitions", id, m.owned.size())
		}
	}
	checkConsumer(t, g)
}
