package group

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClassicScripts plays conversations with a classic group. Calls are numbered; time stands still but for "tick".
func TestClassicScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/classic", func(t *testing.T, path string) {
		s := newClassicScript()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
	})
}

type classicScript struct {
	cfg     Config
	g       *Group
	now     time.Time
	call    Call
	ids     int
	out     Output
	records []Record
}

var scriptStart = time.UnixMilli(1_700_000_000_000)

func newClassicScript() *classicScript {
	s := &classicScript{now: scriptStart}
	s.cfg = Config{
		InitialRebalanceDelay: 3 * time.Second, SessionTimeoutMin: 6 * time.Second, SessionTimeoutMax: 30 * time.Minute,
		MembersMax: 100, MetadataBytesMax: 1000,
		UUID: func() string { s.ids++; return fmt.Sprintf("u%d", s.ids) },
	}
	s.g = New("g", &s.cfg)
	return s
}

func (s *classicScript) run(t *testing.T, d *datadriven.TestData) string {
	s.out = Output{}
	switch d.Cmd {
	case "config":
		return s.config(t, d)
	case "join":
		s.call++
		s.g.Step(s.now, s.call, joinArgs(t, d), Client{ID: arg(d, "client", "c"), Host: "/h"}, nil, &s.out)
	case "sync":
		s.call++
		s.g.Step(s.now, s.call, syncArgs(t, d), Client{}, nil, &s.out)
	case "heartbeat":
		s.call++
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.InstanceID = 4, "g", arg(d, "member", ""), optional(arg(d, "instance", ""))
		r.Generation = number(t, arg(d, "gen", "1"))
		s.g.Step(s.now, s.call, r, Client{}, nil, &s.out)
	case "leave":
		s.call++
		s.g.Step(s.now, s.call, leaveArgs(t, d), Client{}, nil, &s.out)
	case "tick":
		s.tick(t, duration(t, d.CmdArgs[0].Key))
	case "drop":
		s.g.Drop(Call(number(t, d.CmdArgs[0].Key)))
	case "abandon":
		s.g.Abandon(kerr.NotCoordinator.Code, &s.out)
	case "restart":
		s.restart(t)
		return s.state()
	case "state":
		return s.state()
	case "commit":
		c := CommitCheck{Member: arg(d, "member", ""), Instance: optional(arg(d, "instance", "")), Epoch: number(t, arg(d, "gen", "-1")), Version: 9}
		c.Txn = d.HasArg("txn")
		return "commit " + codeName(s.g.CommitAllowed(c, s.now)) + "\n"
	case "topic":
		name := d.CmdArgs[0].Key
		from, expires := s.g.OffsetsExpireFrom(name, scriptStart.Add(-time.Hour))
		return fmt.Sprintf("subscribed=%v delete-offsets=%s delete-group=%s expires=%v from=%v\n", s.g.Subscribed(name),
			codeName(s.g.OffsetDeleteAllowed(name)), codeName(s.g.DeleteAllowed()), expires, expires && from.Equal(scriptStart.Add(-time.Hour)))
	case "delete":
		s.g.Tombstones(&s.out)
	default:
		t.Fatalf("no command %q", d.Cmd)
	}
	s.records = append(s.records, s.out.Records...)
	return s.said()
}

func (s *classicScript) config(t *testing.T, d *datadriven.TestData) string {
	cfg := s.cfg
	cfg.InitialRebalanceDelay = duration(t, arg(d, "delay", "3s"))
	cfg.MembersMax = int(number(t, arg(d, "members", "100")))
	s.cfg = cfg
	s.g.SetConfig(&s.cfg)
	return ""
}

// tick moves the time, stopping at every deadline on the way as a host does.
func (s *classicScript) tick(t *testing.T, d time.Duration) {
	end := s.now.Add(d)
	for range 10_000 {
		at, set := s.g.Deadline()
		if !set || at.After(end) {
			s.now = end
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		n := len(s.out.Replies)
		s.g.Tick(s.now, nil, &s.out)
		for i := n; i < len(s.out.Replies); i++ {
			s.out.Replies[i].Call |= Call(s.now.Sub(end)+d) << 20 // when, for said
		}
	}
	t.Fatal("the deadline does not move")
}

func (s *classicScript) restart(t *testing.T) {
	s.g = New("g", &s.cfg)
	for _, r := range s.records {
		if err := s.g.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	s.g.Loaded(s.now, nil)
}

func (s *classicScript) state() string {
	l := s.g.Listing()
	var b strings.Builder
	fmt.Fprintf(&b, "%s type=%q exists=%v idle=%v", l.State, l.ProtocolType, s.g.Exists(), s.g.Idle())
	c := s.g.classic
	if c == nil {
		return b.String() + "\n"
	}
	protocol := "-"
	if c.protocol != nil {
		protocol = *c.protocol
	}
	fmt.Fprintf(&b, " gen=%d protocol=%s pending=%d", c.generation, protocol, len(c.pending))
	if at, set := s.g.Deadline(); set {
		fmt.Fprintf(&b, " deadline=%v", at.Sub(s.now))
	}
	b.WriteString("\n")
	c.all(func(m *classicMember) {
		fmt.Fprintf(&b, "  %s", m.id)
		for _, p := range m.protocols {
			fmt.Fprintf(&b, " %s", p.Name)
		}
		if m.instance != nil {
			fmt.Fprintf(&b, " instance=%s", *m.instance)
		}
		if c.leader == m {
			b.WriteString(" leader")
		}
		if m.join.set {
			b.WriteString(" joining")
		}
		if m.needsSync {
			b.WriteString(" needs-sync")
		}
		fmt.Fprintf(&b, " assigned=%q\n", m.assignment)
	})
	return b.String()
}

// said is the replies and records of one command, replies sorted by call where they came at one moment.
func (s *classicScript) said() string {
	var b strings.Builder
	slices.SortStableFunc(s.out.Replies, func(x, y Reply) int { return cmp.Compare(x.Call, y.Call) })
	for _, r := range s.out.Replies {
		if at := time.Duration(r.Call >> 20); at > 0 {
			fmt.Fprintf(&b, "+%v ", at)
		}
		fmt.Fprintf(&b, "#%d %s\n", r.Call&(1<<20-1), replyText(r.Response))
	}
	for _, r := range s.out.Records {
		b.WriteString(recordText(r) + "\n")
	}
	if b.Len() == 0 {
		return "(waits)\n"
	}
	return b.String()
}

func codeName(code int16) string {
	if code == 0 {
		return "ok"
	}
	var ke *kerr.Error
	if err := kerr.ErrorForCode(code); errors.As(err, &ke) {
		return ke.Message
	}
	return strconv.Itoa(int(code))
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func replyText(resp kmsg.Response) string {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		out := "join " + codeName(r.ErrorCode)
		if r.ErrorCode != 0 {
			return out + " member=" + r.MemberID
		}
		out += fmt.Sprintf(" gen=%d %s:%s leader=%s member=%s", r.Generation, text(r.ProtocolType), text(r.Protocol), r.LeaderID, r.MemberID)
		if r.SkipAssignment {
			out += " skip"
		}
		for _, m := range r.Members {
			out += fmt.Sprintf(" %s=%q", m.MemberID, m.ProtocolMetadata)
		}
		return out
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != 0 {
			return "sync " + codeName(r.ErrorCode)
		}
		return fmt.Sprintf("sync ok %s:%s assigned=%q", text(r.ProtocolType), text(r.Protocol), r.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		return "heartbeat " + codeName(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		out := "leave " + codeName(r.ErrorCode)
		for _, m := range r.Members {
			out += fmt.Sprintf(" [%s/%s %s]", m.MemberID, text(m.InstanceID), codeName(m.ErrorCode))
		}
		return out
	}
	return fmt.Sprintf("%T", resp)
}

func recordText(r Record) string {
	if r.Value == nil {
		return "tombstone"
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return err.Error()
	}
	out := fmt.Sprintf("record v%d %s:%s gen=%d leader=%s", v.Version, v.ProtocolType, text(v.Protocol), v.Generation, text(v.Leader))
	for _, m := range v.Members {
		out += fmt.Sprintf(" [%s/%s %s %q %d/%d]", m.MemberID, text(m.InstanceID), m.ClientHost, m.Assignment, m.SessionTimeoutMillis, m.RebalanceTimeoutMillis)
	}
	return out
}

func arg(d *datadriven.TestData, key, otherwise string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return otherwise
}

func number(t *testing.T, s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// joinArgs: member, client, instance, v, type, session, rebalance, protocols=(name:metadata,...).
func joinArgs(t *testing.T, d *datadriven.TestData) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.InstanceID = "g", arg(d, "member", ""), optional(arg(d, "instance", ""))
	r.Version = int16(number(t, arg(d, "v", "9")))
	r.ProtocolType = arg(d, "type", "consumer")
	r.SessionTimeoutMillis = int32(duration(t, arg(d, "session", "10s")).Milliseconds())
	r.RebalanceTimeoutMillis = int32(duration(t, arg(d, "rebalance", "60s")).Milliseconds())
	protocols := []string{"range:r"}
	for _, a := range d.CmdArgs {
		if a.Key == "protocols" {
			protocols = a.Vals
		}
	}
	for _, p := range protocols {
		if p == "" {
			continue
		}
		name, metadata, _ := strings.Cut(p, ":")
		one := kmsg.NewJoinGroupRequestProtocol()
		one.Name, one.Metadata = name, []byte(metadata)
		if topics, found := strings.CutPrefix(metadata, "topics/"); found {
			one.Metadata = subscription(strings.Split(topics, "/")...)
		}
		r.Protocols = append(r.Protocols, one)
	}
	return r
}

// subscription is what a consumer says it wants to consume.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 3, topics
	return m.AppendTo(nil)
}

// syncArgs: member, instance, gen, v, type, protocol, assign=(member:assignment,...).
func syncArgs(t *testing.T, d *datadriven.TestData) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.InstanceID = "g", arg(d, "member", ""), optional(arg(d, "instance", ""))
	r.Version = int16(number(t, arg(d, "v", "5")))
	r.Generation = number(t, arg(d, "gen", "1"))
	if r.Version >= 5 {
		r.ProtocolType, r.Protocol = optional(arg(d, "type", "consumer")), optional(arg(d, "protocol", "range"))
	}
	for _, a := range d.CmdArgs {
		if a.Key != "assign" {
			continue
		}
		for _, v := range a.Vals {
			one := kmsg.NewSyncGroupRequestGroupAssignment()
			member, assignment, _ := strings.Cut(v, ":")
			one.MemberID, one.MemberAssignment = member, []byte(assignment)
			r.GroupAssignment = append(r.GroupAssignment, one)
		}
	}
	return r
}

// leaveArgs: v, members=(member/instance,...).
func leaveArgs(t *testing.T, d *datadriven.TestData) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.Version = "g", int16(number(t, arg(d, "v", "5")))
	for _, a := range d.CmdArgs {
		if a.Key != "members" {
			continue
		}
		for _, v := range a.Vals {
			one := kmsg.NewLeaveGroupRequestMember()
			member, instance, _ := strings.Cut(v, "/")
			one.MemberID, one.InstanceID = member, optional(instance)
			r.Members = append(r.Members, one)
			r.MemberID = member
		}
	}
	return r
}
