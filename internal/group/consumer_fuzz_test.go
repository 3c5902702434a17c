package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// program turns bytes into requests of both protocols, right and wrong ones, at one group.
type program struct {
	t    testing.TB
	s    *consumerScript
	data []byte
	ids  []string // ids that were made up or given
}

func (p *program) next(n int) int {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b) % n
}

func pick[T any](p *program, from ...T) T { return from[p.next(len(from))] }

func (p *program) id() string {
	if n := p.next(len(p.ids) + 3); n < len(p.ids) {
		return p.ids[n]
	}
	return pick(p, "", "x", "y", "z")
}

func (p *program) instance() *string {
	return pick(p, nil, nil, nil, kmsg.StringPtr("i1"), kmsg.StringPtr("i2"), kmsg.StringPtr(""))
}

// epoch is mostly the right one.
func (p *program) epoch(id string) int32 {
	right := int32(1)
	if m := p.s.memberOf(id); m != nil {
		right = m.epoch
	} else if p.s.group.classic != nil {
		right = p.s.group.classic.generation
	}
	return pick(p, right, right, right, right, 0, 0, -1, -2, -3, right-1, right+1, 1<<30)
}

func (p *program) names() []string {
	return pick(p, nil, nil, []string{"a"}, []string{"a", "b"}, []string{"b", "a", "a"}, []string{"none", "c"}, []string{})
}

// owned is mostly what the member was told to own, or some of it.
func (p *program) owned(id string) ownedTopics {
	var have assignment
	if m := p.s.memberOf(id); m != nil {
		have = m.owned
	}
	switch p.next(6) {
	case 0:
		return nil
	case 1:
		return ownedTopics{}
	case 2:
		return partitionsOf("a:0-3;none:9")
	case 3:
		return ownedTopics{{TopicID: idOf("a"), Partitions: []int32{-1, 1 << 30, 0, 0}}}
	}
	return ownedOf(have)
}

func (p *program) request() kmsg.Request {
	id := p.id()
	switch p.next(10) {
	default:
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.MemberEpoch = int16(p.next(2)), "g", id, p.epoch(id)
		r.RebalanceTimeoutMillis = pick[int32](p, -1, 1000, 20000, 0)
		r.InstanceID, r.SubscribedTopicNames, r.Topics = p.instance(), p.names(), p.owned(id)
		r.SubscribedTopicRegex = pick(p, nil, nil, kmsg.StringPtr("a|b"), kmsg.StringPtr("."), kmsg.StringPtr("("), kmsg.StringPtr(""))
		r.ServerAssignor = pick(p, nil, nil, kmsg.StringPtr("range"), kmsg.StringPtr("uniform"), kmsg.StringPtr("?"))
		if p.next(2) == 0 { // a proper join
			r.MemberEpoch, r.RebalanceTimeoutMillis, r.Topics = 0, 20000, ownedTopics{}
		}
		return r
	case 5, 6:
		return p.joinRequest(id)
	case 7:
		r := kmsg.NewPtrSyncGroupRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = int16(p.next(6)), "g", id, p.epoch(id), p.instance()
		if p.next(3) > 0 {
			r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), pick(p, kmsg.StringPtr("range"), kmsg.StringPtr("other"), nil)
		}
		for _, other := range p.ids {
			a := kmsg.NewConsumerMemberAssignment()
			a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: "a", Partitions: []int32{int32(p.next(4)), int32(p.next(4))}})
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: other, MemberAssignment: a.AppendTo(nil)})
		}
		return r
	case 8:
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, "g", id, p.epoch(id), p.instance()
		return r
	case 9:
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version, r.Group, r.MemberID = int16(p.next(6)), "g", id
		for range p.next(3) {
			r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: id, InstanceID: p.instance()})
			id = p.id()
		}
		return r
	}
}

func (p *program) joinRequest(id string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = int16(p.next(10)), "g", id, p.instance()
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10000, 20000
	r.ProtocolType = pick(p, "consumer", "consumer", "consumer", "connect")
	for range p.next(3) {
		sub := kmsg.NewConsumerMemberMetadata()
		sub.Version, sub.Topics = pick[int16](p, 0, 1, 3, 9), p.names()
		for _, o := range p.owned(id) {
			sub.OwnedPartitions = append(sub.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: nameOf(o.TopicID), Partitions: o.Partitions})
		}
		one := kmsg.NewJoinGroupRequestProtocol()
		one.Name, one.Metadata = pick(p, "range", "range", "other"), sub.AppendTo(nil)
		if p.next(10) == 9 {
			one.Metadata = one.Metadata[:len(one.Metadata)/2]
		}
		r.Protocols = append(r.Protocols, one)
	}
	return r
}

// run plays the whole program and checks the group after every step: its invariants, one answer for each call, and that its records
// make the same group again.
func (p *program) run() {
	s := p.s
	waiting := map[Call]bool{}
	for steps := 0; len(p.data) > 0 && steps < 400; steps++ {
		s.out = Output{}
		switch p.next(16) {
		case 0:
			s.topics.set(pick(p, "a", "b", "c"), int32(p.next(5)))
		case 1, 2:
			s.now = s.now.Add(time.Duration(p.next(60)) * 500 * time.Millisecond)
			if at, ok := s.group.Deadline(); ok && !at.After(s.now) {
				s.group.Tick(s.now, &s.topics, &s.out)
			}
		case 3:
			s.cfg.MigrationPolicy = pick(p, "bidirectional", "bidirectional", "upgrade", "downgrade", "disabled")
		default:
			s.calls++
			waiting[s.calls] = true
			s.group.Step(s.now, s.calls, p.request(), Client{ID: "c", Host: "/h"}, &s.topics, &s.out)
		}
		for _, r := range s.out.Replies {
			if !waiting[r.Call] {
				p.t.Fatalf("call %d is answered twice", r.Call)
			}
			delete(waiting, r.Call)
			p.learn(r.Response)
			if r.Response.AppendTo(nil) == nil {
				p.t.Fatal("an answer that cannot be written")
			}
		}
		if s.group.consumer != nil && len(waiting) > 0 {
			p.t.Fatalf("a consumer group leaves %d calls without an answer", len(waiting))
		}
		s.records = append(s.records, s.out.Records...)
		checkConsumer(p.t, s.group)
		p.replay()
	}
}

// learn remembers the ids of members.
func (p *program) learn(resp kmsg.Response) {
	id := ""
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		id = r.MemberID
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.MemberID != nil {
			id = *r.MemberID
		}
	}
	if id != "" && !slices.Contains(p.ids, id) && len(p.ids) < 8 {
		p.ids = append(p.ids, id)
	}
}

func (p *program) replay() {
	s := p.s
	if s.group.consumer == nil || len(s.out.Records) == 0 {
		return
	}
	latest := map[string]Record{}
	for _, r := range s.records {
		latest[string(r.Key)] = r
	}
	again := New("g", &s.cfg)
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		if r := latest[key]; r.Value != nil {
			if err := again.Replay(r); err != nil {
				p.t.Fatalf("replay of %x: %v", r.Key, err)
			}
		}
	}
	if want, got := describeGroup(s.group, &s.topics), describeGroup(again, &s.topics); again.consumer != nil && want != got {
		p.t.Fatalf("replayed:\n%s\nwas:\n%s", got, want)
	} else if again.consumer == nil && (len(s.group.consumer.members) > 0 || s.group.consumer.epoch != firstGroupEpoch) {
		p.t.Fatalf("nothing was recorded of:\n%s", want)
	}
}

func newProgram(t testing.TB, data []byte) *program {
	s := newConsumerScript()
	s.topics.set("a", 4)
	s.topics.set("b", 2)
	return &program{t: t, s: s, data: data}
}

// TestBothProtocolsRandom plays long random programs: members of both protocols at one group, conversions to and fro.
func TestBothProtocolsRandom(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			data := make([]byte, 6000)
			r := rand.New(rand.NewPCG(seed, 16))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			newProgram(t, data).run()
		})
	}
}

func FuzzBothProtocols(f *testing.F) {
	for seed := range uint64(8) {
		data := make([]byte, 300)
		r := rand.New(rand.NewPCG(seed, 32))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<13 {
			return
		}
		newProgram(t, data).run()
	})
}
