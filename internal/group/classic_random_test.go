package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicPlay drives a group with decisions taken from bytes, and checks after each what must always hold.
type classicPlay struct {
	t       *testing.T
	data    []byte
	cfg     Config
	g       *Group
	now     time.Time
	call    Call
	ids     []string // that members were given
	waiting map[Call]bool
	records []Record
	minted  int
}

func newClassicPlay(t *testing.T, data []byte) *classicPlay {
	p := &classicPlay{t: t, data: data, now: scriptStart, waiting: map[Call]bool{}, ids: []string{"", "stranger"}}
	p.cfg = Config{
		InitialRebalanceDelay: time.Duration(p.next(3)) * time.Second, SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Minute,
		MembersMax: 6, MetadataBytesMax: 100,
		UUID: func() string { p.minted++; return fmt.Sprint(p.minted) },
	}
	p.g = New("g", &p.cfg)
	return p
}

// next is a decision: 0 to n-1.
func (p *classicPlay) next(n int) int {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b) % n
}

// id is mostly that of a member, else any that was given out, or none.
func (p *classicPlay) id() string {
	if p.g.classic != nil && p.next(4) > 0 {
		p.ids = slices.DeleteFunc(p.ids, func(id string) bool { return len(p.ids) > 20 && id != "" && p.g.classic.members[id] == nil })
		var members []string
		for _, id := range p.ids {
			if p.g.classic.members[id] != nil {
				members = append(members, id)
			}
		}
		if len(members) > 0 {
			return members[p.next(len(members))]
		}
	}
	return p.ids[max(0, len(p.ids)-1-p.next(8))]
}

func (p *classicPlay) instance() *string {
	if n := p.next(6); n < 2 {
		s := fmt.Sprintf("i%d", n)
		return &s
	}
	return nil
}

func (p *classicPlay) generation() int32 {
	if p.next(8) == 0 || p.g.classic == nil {
		return int32(p.next(3)) - 1
	}
	return p.g.classic.generation
}

func (p *classicPlay) joinRequest() *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = int16(p.next(10)), "g", p.id(), p.instance()
	r.ProtocolType = "consumer"
	if p.next(10) == 0 {
		r.ProtocolType = "connect"
	}
	if c := p.g.classic; c != nil && p.next(3) > 0 && c.members[r.MemberID] != nil {
		r.InstanceID = c.members[r.MemberID].instance
	}
	r.SessionTimeoutMillis = int32(5+p.next(10)) * 1000
	r.RebalanceTimeoutMillis = int32(p.next(20)) * 1000
	if p.next(8) > 0 {
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: subscription("t")})
	}
	for range p.next(3) {
		metadata := [][]byte{nil, {1, 2}, subscription("t"), subscription("t", "x")}[p.next(4)]
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: []string{"", "range", "rr"}[p.next(3)], Metadata: metadata})
	}
	return r
}

func (p *classicPlay) syncRequest() *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.Generation, r.MemberID = int16(p.next(6)), "g", p.generation(), p.id()
	if c := p.g.classic; c != nil && p.next(8) > 0 {
		r.ProtocolType, r.Protocol = &c.protocolType, c.protocol
	}
	for _, id := range p.ids[max(0, len(p.ids)-6):] {
		r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte("for " + id)})
	}
	return r
}

func (p *classicPlay) leaveRequest() *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group, r.MemberID = int16(p.next(6)), "g", p.id()
	for range p.next(3) {
		r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: p.id(), InstanceID: p.instance()})
	}
	return r
}

func (p *classicPlay) request() kmsg.Request {
	switch p.next(8) {
	case 0, 1, 2:
		return p.joinRequest()
	case 3, 4:
		return p.syncRequest()
	case 5:
		return p.leaveRequest()
	}
	r := kmsg.NewPtrHeartbeatRequest()
	r.Version, r.Group, r.Generation, r.MemberID = int16(p.next(5)), "g", p.generation(), p.id()
	return r
}

func (p *classicPlay) step() {
	var out Output
	switch p.next(12) {
	case 0, 1:
		p.now = p.now.Add(time.Duration(p.next(5000)) * 7 * time.Millisecond)
		p.g.Tick(p.now, nil, &out)
	case 2:
		p.g.CommitAllowed(CommitCheck{Member: p.id(), Epoch: p.generation(), Instance: p.instance(), Version: 9}, p.now)
	case 3:
		if drop := Call(p.next(256)); p.waiting[drop] {
			p.g.Drop(drop)
			delete(p.waiting, drop)
		}
	case 4:
		if p.next(10) == 0 {
			p.restart(&out)
		}
	default:
		p.call++
		p.waiting[p.call] = true
		p.g.Step(p.now, p.call, p.request(), Client{ID: "c", Host: "/h"}, nil, &out)
	}
	p.take(out)
	if p.g.classic != nil {
		p.check(p.g.classic)
	}
}

// restart gives the group up and makes it again from all its records.
func (p *classicPlay) restart(out *Output) {
	p.g.Abandon(kerr.NotCoordinator.Code, out)
	p.take(*out)
	*out = Output{}
	if len(p.waiting) > 0 {
		p.t.Fatalf("calls %v were not abandoned", p.waiting)
	}
	p.g = p.replay(p.records)
	p.g.Loaded(p.now, nil)
}

func (p *classicPlay) replay(records []Record) *Group {
	g := New("g", &p.cfg)
	for _, r := range records {
		if err := g.Replay(r); err != nil {
			p.t.Fatal(err)
		}
	}
	return g
}

func (p *classicPlay) take(out Output) {
	for _, r := range out.Replies {
		if !p.waiting[r.Call] {
			p.t.Fatalf("call %d is answered twice, or after it was dropped: %s", r.Call, replyText(r.Response))
		}
		delete(p.waiting, r.Call)
		if j, ok := r.Response.(*kmsg.JoinGroupResponse); ok && j.MemberID != "" {
			p.ids = append(p.ids, j.MemberID)
		}
	}
	p.records = append(p.records, out.Records...)
	if len(out.Records) > 0 {
		p.recorded()
	}
}

// recorded: the last record alone is the group, unless it went on in the same step.
func (p *classicPlay) recorded() {
	c := p.g.classic
	if c.state != stateStable && (c.state != stateEmpty || len(c.pending) > 0) {
		return
	}
	again := p.replay(p.records[len(p.records)-1:]).classic
	if a, b := generationText(c), generationText(again); a != b {
		p.t.Fatalf("the group is %s, its records say %s", a, b)
	}
}

func generationText(c *classicGroup) string {
	leader, protocol := "-", "-"
	if c.leader != nil {
		leader = c.leader.id
	}
	if c.protocol != nil {
		protocol = *c.protocol
	}
	out := fmt.Sprintf("%v %q/%q gen %d leader %s topics %v", c.state, c.protocolType, protocol, c.generation, leader, c.subscription)
	c.all(func(m *classicMember) {
		instance := "-"
		if m.instance != nil {
			instance = *m.instance
		}
		out += fmt.Sprintf(" [%s %s %v %v %v %q %q]", m.id, instance, m.client, m.session, m.rebalance, m.metadata(c.protocol), m.assignment)
	})
	return out
}

func (p *classicPlay) check(c *classicGroup) {
	fail := func(format string, args ...any) {
		p.t.Helper()
		p.t.Fatalf(format+"\n"+generationText(c), args...)
	}
	joining, syncing, bytes, static := 0, 0, 0, 0
	supports := map[string]int{}
	c.all(func(m *classicMember) {
		bytes += m.size()
		if m.join.set {
			joining++
		}
		if m.needsSync {
			syncing++
		}
		if m.instance != nil {
			static++
			if c.static[*m.instance] != m {
				fail("instance %s is not %s", *m.instance, m.id)
			}
		}
		for _, one := range m.protocols {
			supports[one.Name]++
		}
		if m.timer.index < 0 && !m.join.set && !m.sync.set {
			fail("nothing ends the session of %s", m.id)
		}
		if m.timer.index >= 0 && m.timer.due.Before(m.timer.at) {
			fail("the timer of %s is late", m.id)
		}
		if c.members[m.id] != m || c.pending[m.id] != nil {
			fail("%s is not the member of its id", m.id)
		}
	})
	pending := 0
	for _, m := range c.pending {
		pending += m.pendingSize()
	}
	bytes += pending
	switch {
	case pending != c.pendingBytes:
		fail("pending members hold %d bytes, kept %d", pending, c.pendingBytes)
	case c.order.Len() != len(c.members) || static != len(c.static) || c.waiting.Len() != len(c.pending):
		fail("%d members are %d, %d static are %d, %d pending are %d", c.order.Len(), len(c.members), static, len(c.static), c.waiting.Len(), len(c.pending))
	case joining != c.awaitingJoin || syncing != c.pendingSync || bytes != c.bytes:
		fail("counted %d joining, %d to sync, %d bytes; kept %d, %d, %d", joining, syncing, bytes, c.awaitingJoin, c.pendingSync, c.bytes)
	case fmt.Sprint(supports) != fmt.Sprint(c.supports):
		fail("counted %v, kept %v", supports, c.supports)
	case len(c.members) > 0 && (c.leader == nil || c.members[c.leader.id] != c.leader) || len(c.members) == 0 && c.leader != nil:
		fail("the leader is no member, or there is none")
	case len(c.members) > p.cfg.MembersMax:
		fail("%d members", len(c.members))
	case c.state == stateEmpty && len(c.members) > 0:
		fail("empty with members")
	case (c.state == statePreparing) != (c.joinTimer.index >= 0):
		fail("in %v, but the timer of the rebalance is at %d", c.state, c.joinTimer.index)
	case (syncing > 0) != (c.syncTimer.index >= 0):
		fail("%d have to sync, but the timer is at %d", syncing, c.syncTimer.index)
	case c.state == stateStable && len(c.parked) > 0:
		fail("calls wait in a stable group")
	case (c.state == stateStable || c.state == stateCompleting) && supports[*c.protocol] != len(c.members):
		fail("not all support %q", *c.protocol)
	}
	p.checkCalls(c, fail)
}

// checkCalls: a parked call is one that waits, or one whose caller is gone.
func (p *classicPlay) checkCalls(c *classicGroup, fail func(string, ...any)) {
	gone := 0
	c.all(func(m *classicMember) {
		for _, one := range []parkedCall{m.join, m.sync} {
			switch {
			case one.set && one.gone:
				gone++
			case one.set && !p.waiting[one.call]:
				fail("call %d is parked and not waiting", one.call)
			}
		}
	})
	if len(c.parked) != len(p.waiting)+gone {
		fail("%d calls are parked, %d wait", len(c.parked), len(p.waiting))
	}
}

// end lets time go by without a word from anybody: the group must become empty and every call must have been answered.
func (p *classicPlay) end() {
	for range 1000 {
		at, set := p.g.Deadline()
		if !set {
			break
		}
		if at.After(p.now) {
			p.now = at
		}
		var out Output
		p.g.Tick(p.now, nil, &out)
		p.take(out)
	}
	if !p.g.Idle() || len(p.waiting) > 0 {
		p.t.Fatalf("after all time: %s, calls %v", p.g.Listing().State, p.waiting)
	}
}

func (p *classicPlay) run() {
	for len(p.data) > 0 {
		p.step()
	}
	p.end()
}

func TestClassicRandom(t *testing.T) {
	games := 3000
	if testing.Short() {
		games = 300
	}
	for seed := range games {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		data := make([]byte, 200+rng.IntN(1500))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		p := newClassicPlay(t, data)
		if p.run(); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzClassicRequests(f *testing.F) {
	f.Add([]byte("a conversation"))
	f.Add([]byte{0, 5, 0, 3, 0, 1, 0, 0, 0, 0, 2, 1, 1, 5, 3, 5, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		newClassicPlay(t, data).run()
	})
}

// FuzzClassicReplay: a record of any bytes is refused or makes a group that can be recorded and goes on.
func FuzzClassicReplay(f *testing.F) {
	for version := range int16(5) {
		v := kmsg.NewGroupMetadataValue()
		v.Version, v.ProtocolType, v.Protocol, v.Generation, v.Leader = version, "consumer", kmsg.StringPtr("range"), 7, kmsg.StringPtr("m")
		one := kmsg.NewGroupMetadataValueMember()
		one.MemberID, one.SessionTimeoutMillis, one.Subscription = "m", 10_000, subscription("t")
		v.Members = append(v.Members, one)
		f.Add(v.AppendTo(nil))
	}
	cfg := Config{SessionTimeoutMax: time.Hour}
	f.Fuzz(func(t *testing.T, value []byte) {
		g := New("g", &cfg)
		key := newClassicGroup(g).key()
		if err := g.Replay(Record{key, value}); err != nil {
			return
		}
		g.Loaded(scriptStart, nil)
		var out Output
		if g.classic != nil {
			g.classic.record(&out)
			again := New("g", &cfg)
			if err := again.Replay(out.Records[0]); err != nil {
				t.Fatal(err)
			}
			if a, b := generationText(g.classic), generationText(again.classic); a != b {
				t.Fatalf("%s became %s", a, b)
			}
			g.Describe()
		}
		for range 100 {
			at, set := g.Deadline()
			if !set {
				return
			}
			g.Tick(at, nil, &out)
		}
	})
}

func FuzzRecordGroup(f *testing.F) {
	f.Add(newClassicGroup(New("g", &Config{})).key())
	f.Add([]byte{0, 9, 0})
	f.Fuzz(func(t *testing.T, key []byte) {
		kind, name, err := RecordGroup(key)
		if err == nil && kind != KindUnknown && string(key[4:4+len(name)]) != name {
			t.Fatalf("%d %q of %x", kind, name, key)
		}
		_ = New(name, &Config{SessionTimeoutMax: time.Hour}).Replay(Record{Key: key})
	})
}
