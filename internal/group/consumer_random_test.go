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

// simClient is a client of one protocol or the other, as simple as a client can be: it owns what it was told to own, and gives up
// what it is no longer told to own some heartbeats later.
type simClient struct {
	id       string
	instance *string
	epoch    int32
	topics   []string
	regex    *string
	owned    assignment // what it has
	target   assignment // what it was told to have
	full     bool       // the last answer was lost: it says everything again
}

// simGroup drives a group with random clients, and looks after every step that no two clients have a partition at once.
type simGroup struct {
	t       *testing.T
	r       *rand.Rand
	script  *consumerScript
	clients map[string]*simClient
	next    int
	// calm: no answer is lost, and no restarts, which start the sessions of those who are gone again.
	calm bool
	note []string
}

func (s *simGroup) logf(format string, args ...any) {
	s.note = append(s.note, fmt.Sprintf(format, args...))
}

func (s *simGroup) fatalf(format string, args ...any) {
	s.t.Helper()
	for _, line := range s.note[max(0, len(s.note)-40):] {
		s.t.Log(line)
	}
	s.t.Log(describeGroup(s.script.group, &s.script.topics))
	s.t.Fatalf(format, args...)
}

// step gives the group one request and returns its answer; calls never stay parked while the group is a consumer group.
func (s *simGroup) step(req kmsg.Request) kmsg.Response {
	sc := s.script
	sc.out = Output{}
	sc.calls++
	sc.group.Step(sc.now, sc.calls, req, Client{ID: "sim", Host: "/127.0.0.1"}, &sc.topics, &sc.out)
	s.written()
	for _, r := range sc.out.Replies {
		if r.Call == sc.calls {
			return r.Response
		}
	}
	return nil
}

// written keeps the records of a step and replays all of them now and then.
func (s *simGroup) written() {
	sc := s.script
	sc.records = append(sc.records, sc.out.Records...)
	checkConsumer(s.t, sc.group)
	if s.t.Failed() {
		s.fatalf("after this")
	}
	if s.r.IntN(50) == 0 {
		s.replay()
	}
}

// replay makes the group again from a compacted log in random order of keys; what it is must be what it was. Every fifth time the
// new group takes the old one's place.
func (s *simGroup) replay() {
	sc := s.script
	latest := map[string]Record{}
	for _, r := range sc.records {
		latest[string(r.Key)] = r
	}
	keys := slices.Sorted(maps.Keys(latest))
	s.r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	again := New("g", &sc.cfg)
	for _, key := range keys {
		if r := latest[key]; r.Value != nil {
			if err := again.Replay(r); err != nil {
				s.fatalf("replay: %v", err)
			}
		}
	}
	if sc.group.Exists() != again.Exists() {
		s.fatalf("exists %v, replayed %v", sc.group.Exists(), again.Exists())
	}
	if sc.group.consumer == nil {
		return
	}
	if want, got := describeGroup(sc.group, &sc.topics), describeGroup(again, &sc.topics); want != got {
		s.fatalf("replayed:\n%s\nwas:\n%s", got, want)
	}
	if s.r.IntN(5) == 0 && !s.calm {
		again.Loaded(sc.now, &sc.topics)
		sc.group = again
		s.logf("restarted")
	}
}

// heartbeat is one heartbeat of a client of the new protocol.
func (s *simGroup) heartbeat(c *simClient) {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.InstanceID = 1, "g", c.id, c.epoch, c.instance
	if c.epoch == 0 {
		c.owned, c.target = nil, nil
		r.RebalanceTimeoutMillis = 20000
		r.Topics, r.SubscribedTopicNames, r.SubscribedTopicRegex = ownedTopics{}, c.topics, c.regex
	} else {
		if s.r.IntN(3) == 0 { // gives up what it has to
			c.owned = c.owned.intersect(c.target)
		}
		// Only once it has given up does a client take more, and says so.
		if len(c.owned.minus(c.target)) == 0 {
			c.owned = c.target
		}
		r.Topics = ownedOf(c.owned)
		if c.full || s.r.IntN(4) == 0 {
			r.SubscribedTopicNames, r.SubscribedTopicRegex, r.RebalanceTimeoutMillis = c.topics, c.regex, 20000
		}
	}
	resp := s.step(r).(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp.ErrorCode != 0 {
		s.logf("%s epoch %d refused: %s", c.id, r.MemberEpoch, *resp.ErrorMessage)
		c.epoch, c.owned, c.target = 0, nil, nil
		return
	}
	c.full = s.r.IntN(20) == 0 && r.MemberEpoch != 0 && !s.calm // the answer does not arrive
	s.logf("%s epoch %d -> %d lost=%v", c.id, r.MemberEpoch, resp.MemberEpoch, c.full)
	if c.full {
		return
	}
	c.epoch = resp.MemberEpoch
	if resp.Assignment != nil {
		c.target = nil
		for _, t := range resp.Assignment.Topics {
			c.target = append(c.target, topicParts{id: t.TopicID, parts: t.Partitions})
		}
		if len(c.owned.minus(c.target)) == 0 {
			c.owned = c.target
		}
	}
}

func ownedOf(a assignment) ownedTopics {
	out := ownedTopics{}
	for _, t := range a {
		out = append(out, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.id, Partitions: t.parts})
	}
	return out
}

func (a assignment) filter(keep func(topicID, int32) bool) assignment {
	var out []topicParts
	for _, t := range a {
		k := topicParts{id: t.id}
		for _, p := range t.parts {
			if keep(t.id, p) {
				k.parts = append(k.parts, p)
			}
		}
		out = append(out, k)
	}
	return newAssignment(out)
}

func (a assignment) intersect(b assignment) assignment { return a.filter(b.has) }
func (a assignment) minus(b assignment) assignment {
	return a.filter(func(id topicID, p int32) bool { return !b.has(id, p) })
}

// exclusive: no two clients have a partition at once. A client that the group has given up does not count: it was told so or will be.
func (s *simGroup) exclusive() {
	c := s.script.group.consumer
	if c == nil {
		return
	}
	owners := map[partitionKey]string{}
	for _, id := range slices.Sorted(maps.Keys(s.clients)) {
		m := c.members[id]
		if m == nil || m.classic != nil || m.epoch == epochLeaveStatic {
			continue
		}
		s.clients[id].owned.each(func(topic topicID, p int32) {
			key := partitionKey{topic, p}
			if other, ok := owners[key]; ok {
				s.fatalf("%s-%d is with %s and %s", nameOf(topic), p, other, id)
			}
			owners[key] = id
		})
	}
}

func (s *simGroup) newClient() *simClient {
	s.next++
	c := &simClient{id: fmt.Sprintf("c%03d", s.next)}
	s.subscribe(c)
	s.clients[c.id] = c
	return c
}

func (s *simGroup) subscribe(c *simClient) {
	c.topics, c.regex = []string{}, nil
	if s.r.IntN(4) == 0 {
		c.regex = []*string{kmsg.StringPtr("t[0-3]"), kmsg.StringPtr("t.*"), kmsg.StringPtr("")}[s.r.IntN(3)]
	}
	for i := range 6 {
		if s.r.IntN(2) == 0 {
			c.topics = append(c.topics, fmt.Sprintf("t%d", i))
		}
	}
	if c.regex == nil {
		c.regex = kmsg.StringPtr("")
	}
}

func (s *simGroup) leave(c *simClient) {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.InstanceID = 1, "g", c.id, epochLeave, c.instance
	s.logf("%s leaves", c.id)
	s.step(r)
	delete(s.clients, c.id)
}

func (s *simGroup) act() {
	ids := slices.Sorted(maps.Keys(s.clients))
	sc := s.script
	switch n := s.r.IntN(40); {
	case n < 3 && len(ids) < 12 || len(ids) == 0:
		s.heartbeat(s.newClient())
	case n == 3:
		s.leave(s.clients[ids[s.r.IntN(len(ids))]])
	case n == 4: // it is gone without a word
		delete(s.clients, ids[s.r.IntN(len(ids))])
	case n == 5: // it has lost its state, and its partitions
		c := s.clients[ids[s.r.IntN(len(ids))]]
		c.epoch, c.owned, c.target = 0, nil, nil
		s.heartbeat(c)
	case n == 6:
		s.subscribe(s.clients[ids[s.r.IntN(len(ids))]])
	case n == 7:
		name := fmt.Sprintf("t%d", s.r.IntN(6))
		sc.topics.set(name, sc.topics.parts[name]+int32(s.r.IntN(4)))
		s.logf("topic %s has %d", name, sc.topics.parts[name])
	case n == 8:
		s.pass(time.Duration(s.r.IntN(12)) * time.Second)
	default:
		s.heartbeat(s.clients[ids[s.r.IntN(len(ids))]])
	}
}

func (s *simGroup) pass(d time.Duration) {
	sc := s.script
	sc.now = sc.now.Add(d)
	if at, ok := sc.group.Deadline(); ok && !at.After(sc.now) {
		sc.out = Output{}
		sc.group.Tick(sc.now, &sc.topics, &sc.out)
		s.logf("after %v %d records", d, len(sc.out.Records))
		s.written()
	}
}

// converge: when nothing changes any more all clients come to rest, and together they have everything they subscribe to.
func (s *simGroup) converge() {
	sc := s.script
	s.calm = true
	for range 60 {
		s.pass(2 * time.Second)
		for _, id := range slices.Sorted(maps.Keys(s.clients)) {
			c := s.clients[id]
			s.heartbeat(c)
			s.exclusive()
		}
	}
	if len(s.clients) == 0 {
		return
	}
	g := sc.group
	if state := g.Listing().State; state != "Stable" {
		s.fatalf("state %s after the changes have ended", state)
	}
	want, got := map[partitionKey]bool{}, map[partitionKey]bool{}
	for id, c := range s.clients {
		m := g.consumer.members[id]
		resolver := subscriptionResolver{group: g.consumer, topics: &sc.topics}
		for _, t := range resolver.topicsOf(&m.memberData) {
			for p := range t.partitions {
				want[partitionKey{t.id, p}] = true
			}
		}
		if c.epoch != g.consumer.epoch && m.epoch != g.consumer.epoch {
			s.fatalf("%s is at epoch %d, the group at %d", id, c.epoch, g.consumer.epoch)
		}
		m.owned.each(func(t topicID, p int32) { got[partitionKey{t, p}] = true })
	}
	if !maps.Equal(want, got) {
		s.fatalf("members have %d partitions of %d", len(got), len(want))
	}
	if len(g.consumer.members) != len(s.clients) {
		s.fatalf("%d members of %d clients", len(g.consumer.members), len(s.clients))
	}
}

func TestConsumerRandom(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &simGroup{t: t, r: rand.New(rand.NewPCG(seed, 8)), script: newConsumerScript(), clients: map[string]*simClient{}}
			for i := range 4 {
				s.script.topics.set(fmt.Sprintf("t%d", i), int32(s.r.IntN(6)+1))
			}
			if seed%2 == 1 {
				s.script.cfg.ConsumerAssignors = []string{assignorRange}
			}
			for range 400 {
				s.act()
				s.exclusive()
			}
			s.converge()
		})
	}
}
