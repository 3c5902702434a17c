package group

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func classicValue(version int16, edit func(*kmsg.GroupMetadataValue)) []byte {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Protocol, v.Generation, v.Leader = version, "consumer", kmsg.StringPtr("range"), 7, kmsg.StringPtr("b")
	v.CurrentStateTimestamp = 1234
	for _, id := range []string{"a", "b"} {
		m := kmsg.NewGroupMetadataValueMember()
		m.MemberID, m.InstanceID, m.ClientID, m.ClientHost = id, kmsg.StringPtr("i"+id), "c", "/h"
		m.SessionTimeoutMillis, m.RebalanceTimeoutMillis = 10_000, 60_000
		m.Subscription, m.Assignment = subscription("t"), []byte("A")
		v.Members = append(v.Members, m)
	}
	if edit != nil {
		edit(&v)
	}
	return v.AppendTo(nil)
}

func TestReplayClassicVersions(t *testing.T) {
	for version := range int16(classicValueNewest + 1) {
		g := New("g", benchConfig())
		if err := g.Replay(Record{newClassicGroup(g).key(), classicValue(version, nil)}); err != nil {
			t.Fatal(err)
		}
		c, b := g.classic, g.classic.members["b"]
		if c.state != stateStable || c.generation != 7 || *c.protocol != "range" || c.leader != b || !c.subscribed("t") || c.subscribed("u") {
			t.Errorf("version %d: %s", version, generationText(c))
		}
		if (b.instance != nil) != (version >= 3) || b.session != 10*time.Second {
			t.Errorf("version %d: instance %v, session %v", version, b.instance, b.session)
		}
		if want := map[bool]time.Duration{true: time.Minute, false: 10 * time.Second}[version >= 1]; b.rebalance != want {
			t.Errorf("version %d: rebalance timeout %v, want %v", version, b.rebalance, want)
		}
		if want := map[bool]int64{true: 1234, false: -1}[version >= 2]; c.changed != want {
			t.Errorf("version %d: changed at %d, want %d", version, c.changed, want)
		}
	}
}

func TestReplayClassicRefuses(t *testing.T) {
	good := classicValue(3, nil)
	flexible := classicValue(4, func(v *kmsg.GroupMetadataValue) { v.Members = nil }) // ends with their number and that of tags
	for name, value := range map[string][]byte{
		"nothing":             {},
		"version 5":           append([]byte{0, 5}, good[2:]...),
		"version -1":          append([]byte{255, 255}, good[2:]...),
		"cut":                 good[:len(good)-1],
		"no protocol":         classicValue(3, func(v *kmsg.GroupMetadataValue) { v.Protocol = nil }),
		"no protocol type":    classicValue(3, func(v *kmsg.GroupMetadataValue) { v.ProtocolType = "" }),
		"member twice":        classicValue(3, func(v *kmsg.GroupMetadataValue) { v.Members[1].MemberID = "a" }),
		"instance twice":      classicValue(3, func(v *kmsg.GroupMetadataValue) { v.Members[1].InstanceID = v.Members[0].InstanceID }),
		"members without end": append(flexible[:len(flexible)-2:len(flexible)-2], 0xff, 0xff, 0xff, 0xff, 0x0f),
		"tags without end":    append(flexible[:len(flexible)-1:len(flexible)-1], 0xff, 0xff, 0xff, 0xff, 0x0f),
	} {
		g := New("g", benchConfig())
		key := newClassicGroup(g).key()
		if err := g.Replay(Record{key, good}); err != nil {
			t.Fatal(err)
		}
		before := generationText(g.classic)
		if err := g.Replay(Record{key, value}); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		} else if after := generationText(g.classic); after != before {
			t.Errorf("%s changed the group: %s", name, after)
		}
	}
	// A leader that is no member is no reason to lose the group.
	g := New("g", benchConfig())
	value := classicValue(3, func(v *kmsg.GroupMetadataValue) { v.Leader = kmsg.StringPtr("gone") })
	if err := g.Replay(Record{newClassicGroup(g).key(), value}); err != nil || g.classic.leader.id != "a" {
		t.Errorf("%v, leader %v", err, g.classic.leader)
	}
}

func TestRecordGroup(t *testing.T) {
	named := func(version byte) []byte { return []byte{0, version, 0, 1, 'g', 1, 2} }
	for _, test := range []struct {
		key   []byte
		kind  Kind
		group string
		bad   bool
	}{
		{named(0), KindOffset, "g", false}, {named(1), KindOffset, "g", false}, {named(2), KindClassic, "g", false},
		{named(3), KindConsumer, "g", false}, {named(8), KindConsumer, "g", false}, {named(16), KindConsumer, "g", false},
		{named(9), KindUnknown, "", false}, {[]byte{1, 0}, KindUnknown, "", false}, {[]byte{255, 255, 9}, KindUnknown, "", false},
		{nil, KindUnknown, "", true}, {[]byte{0, 2, 0}, KindUnknown, "", true}, {[]byte{0, 2, 0, 2, 'g'}, KindUnknown, "", true},
		{[]byte{0, 2, 255, 255, 'g'}, KindUnknown, "", true}, {[]byte{0, 1, 0, 0}, KindOffset, "", false},
	} {
		kind, name, err := RecordGroup(test.key)
		if kind != test.kind || name != test.group || errors.Is(err, ErrRecord) != test.bad {
			t.Errorf("%x: %d %q %v", test.key, kind, name, err)
		}
	}
	g := New("g", benchConfig())
	for _, key := range [][]byte{nil, named(0), named(9), {0, 2, 0, 1, 'h'}} {
		if err := g.Replay(Record{Key: key}); !errors.Is(err, ErrRecord) {
			t.Errorf("replay of %x: %v", key, err)
		}
	}
}

func TestSubscriptionTopics(t *testing.T) {
	for _, test := range []struct {
		in   string
		want string // "": not readable
	}{
		{string(subscription("t", "u")), "map[t:true u:true]"},
		{string(subscription()), "map[]"},
		{"\xff\xff\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff", "map[t:true]"}, // any version
		{"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01u", "map[t:true]"},
		{"", ""}, {"garbage", ""}, {"\x00\x00\x7f\xff\xff\xff\x00\x01t", ""}, {"\x00\x00\xff\xff\xff\xff\x00\x00", ""},
		{"\x00\x00\x00\x00\x00\x01\x00\x09t\xff\xff\xff\xff", ""}, {"\x00\x00\x00\x00\x00\x01\x00\x01t", ""},
		{"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x09u", ""}, {"\x00\x00\x00\x00\x00\x02\x00\x01t\x00", ""},
	} {
		topics := map[string]bool{}
		got := ""
		if subscriptionTopics([]byte(test.in), topics) {
			got = fmt.Sprint(topics)
		}
		if got != test.want {
			t.Errorf("%q: %s, want %s", test.in, got, test.want)
		}
	}
}

func FuzzSubscriptionTopics(f *testing.F) {
	f.Add(subscription("t", "u"))
	f.Fuzz(func(t *testing.T, b []byte) {
		topics := map[string]bool{}
		subscriptionTopics(b, topics)
		if len(topics) > len(b) {
			t.Fatalf("%d topics in %d bytes", len(topics), len(b))
		}
	})
}

func TestGroupThatDoesNotExist(t *testing.T) {
	g := New("g", benchConfig())
	if g.Exists() || !g.Idle() || g.MembersCount() != 0 || g.ID() != "g" || g.Subscribed("t") {
		t.Error("it has something")
	}
	for _, test := range []struct {
		check CommitCheck
		want  *kerr.Error
	}{
		{CommitCheck{Epoch: 1, Version: 9}, kerr.GroupIDNotFound}, {CommitCheck{Epoch: 1, Version: 8}, kerr.IllegalGeneration},
		{CommitCheck{Epoch: 1, Version: 9, Txn: true}, kerr.IllegalGeneration},
	} {
		if got := g.CommitAllowed(test.check, scriptStart); got != test.want.Code {
			t.Errorf("%+v: %s", test.check, codeName(got))
		}
	}
	if g.CommitAllowed(CommitCheck{Epoch: -1}, scriptStart) != 0 || g.FetchAllowed("", -1) != 0 {
		t.Error("a commit or fetch from outside is refused")
	}
	if g.DeleteAllowed() != kerr.GroupIDNotFound.Code || g.OffsetDeleteAllowed("t") != kerr.GroupIDNotFound.Code {
		t.Error("it can be deleted")
	}
	if d := g.Describe(); d.State != "Dead" || d.ErrorCode != kerr.GroupIDNotFound.Code || *d.ErrorMessage != "Group g not found." {
		t.Errorf("%+v", d)
	}
	if d := g.DescribeConsumer(nil); d.ErrorCode != kerr.GroupIDNotFound.Code {
		t.Errorf("%+v", d)
	}

	g.Simple()
	at := scriptStart.Add(-time.Minute)
	from, expires := g.OffsetsExpireFrom("t", at)
	if l := g.Listing(); l != (Listing{"g", "", "Empty", "classic"}) || !g.Exists() || !g.Idle() || !expires || !from.Equal(at) {
		t.Errorf("a simple group: %+v, offsets expire %v from %v", l, expires, from)
	}
	if g.DeleteAllowed() != 0 || g.OffsetDeleteAllowed("t") != 0 || g.CommitAllowed(CommitCheck{Epoch: -1}, at) != 0 {
		t.Error("what is allowed with a simple group is not")
	}
	if got := g.CommitAllowed(CommitCheck{Epoch: 3, Member: "m"}, at); got != kerr.UnknownMemberID.Code {
		t.Error(codeName(got))
	}
}

// TestOffsetExpiry goes through the states of ClassicGroup.offsetExpirationCondition.
func TestOffsetExpiry(t *testing.T) {
	for _, test := range []struct {
		name                string
		edit                func(*kmsg.GroupMetadataValue)
		expires, fromCommit bool
		offsetDelete        int16
	}{
		{"consumers of other topics", nil, true, true, 0},
		{"consumers of this topic", func(v *kmsg.GroupMetadataValue) { v.Members[1].Subscription = subscription("other") }, false, false, kerr.GroupSubscribedToTopic.Code},
		{"consumers of who knows what", func(v *kmsg.GroupMetadataValue) { v.Members[1].Subscription = []byte("?") }, false, false, kerr.GroupSubscribedToTopic.Code},
		{"workers", func(v *kmsg.GroupMetadataValue) { v.ProtocolType = "connect" }, false, false, kerr.NonEmptyGroup.Code},
		{"empty", func(v *kmsg.GroupMetadataValue) { v.Members = nil }, true, false, 0},
		{"empty since who knows when", func(v *kmsg.GroupMetadataValue) { v.Members, v.CurrentStateTimestamp = nil, -1 }, true, true, 0},
	} {
		g := New("g", benchConfig())
		if err := g.Replay(Record{newClassicGroup(g).key(), classicValue(3, test.edit)}); err != nil {
			t.Fatal(err)
		}
		from, expires := g.OffsetsExpireFrom("other", scriptStart)
		if expires != test.expires || expires && from.Equal(scriptStart) != test.fromCommit {
			t.Errorf("%s: expires %v from %v", test.name, expires, from)
		}
		if got := g.OffsetDeleteAllowed("other"); got != test.offsetDelete {
			t.Errorf("%s: deleting offsets: %s", test.name, codeName(got))
		}
		since, known := g.EmptySince()
		if known != (test.expires && !test.fromCommit) || known && since.UnixMilli() != 1234 {
			t.Errorf("%s: empty since %v", test.name, since)
		}
	}
}

func TestDescribeClassic(t *testing.T) {
	g := New("g", benchConfig())
	if err := g.Replay(Record{newClassicGroup(g).key(), classicValue(3, nil)}); err != nil {
		t.Fatal(err)
	}
	d := g.Describe()
	if d.State != "Stable" || d.Protocol != "range" || d.ProtocolType != "consumer" || len(d.Members) != 2 || g.MembersCount() != 2 {
		t.Fatalf("%+v", d)
	}
	if m := d.Members[1]; m.MemberID != "b" || *m.InstanceID != "ib" || m.ClientHost != "/h" || string(m.MemberAssignment) != "A" || len(m.ProtocolMetadata) == 0 {
		t.Errorf("%+v", m)
	}
	// While it rebalances there is no protocol to show.
	g.Loaded(scriptStart, nil)
	g.classic.prepareRebalance(scriptStart, &Output{})
	if d := g.Describe(); d.State != "PreparingRebalance" || d.Protocol != "" || d.Members[1].ProtocolMetadata != nil {
		t.Errorf("%+v", d)
	}
}

func TestJoinLimits(t *testing.T) {
	long := strings.Repeat("x", stringMax+1)
	cfg := benchConfig()
	cfg.MetadataBytesMax = 1000
	for name, test := range map[string]struct {
		group, client string
		edit          func(*kmsg.JoinGroupRequest)
		want          *kerr.Error
	}{
		"no group":      {"", "c", nil, kerr.InvalidGroupID},
		"long group":    {long, "c", nil, kerr.InvalidRequest},
		"long client":   {"g", long[10:], nil, kerr.InvalidRequest},
		"long instance": {"g", "c", func(r *kmsg.JoinGroupRequest) { r.InstanceID = &long }, kerr.InvalidRequest},
		"long type":     {"g", "c", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = long }, kerr.InvalidRequest},
		"long protocol": {"g", "c", func(r *kmsg.JoinGroupRequest) { r.Protocols[1].Name = long }, kerr.InvalidRequest},
		"much metadata": {"g", "c", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = make([]byte, 1000) }, kerr.InvalidRequest},
	} {
		g, out := New(test.group, cfg), Output{}
		r := benchJoin(9, "")
		if test.edit != nil {
			test.edit(r)
		}
		g.Step(scriptStart, 1, r, Client{ID: test.client}, nil, &out)
		if got := out.Replies[0].Response.(*kmsg.JoinGroupResponse).ErrorCode; got != test.want.Code || g.Exists() {
			t.Errorf("%s: %s", name, codeName(got))
		}
	}
	// The other requests say so too when there is no group id.
	g, out := New("", cfg), Output{}
	g.Step(scriptStart, 1, kmsg.NewPtrSyncGroupRequest(), Client{}, nil, &out)
	g.Step(scriptStart, 2, kmsg.NewPtrHeartbeatRequest(), Client{}, nil, &out)
	g.Step(scriptStart, 3, kmsg.NewPtrLeaveGroupRequest(), Client{}, nil, &out)
	for _, r := range out.Replies {
		if !strings.Contains(replyText(r.Response), "INVALID_GROUP_ID") {
			t.Error(replyText(r.Response))
		}
	}
}

// TestGroupBytes: what members hold together is bounded, and so are assignments.
func TestGroupBytes(t *testing.T) {
	g, out := New("g", benchConfig()), Output{}
	r := benchJoin(3, "")
	r.Protocols[0].Metadata = make([]byte, 1<<20)
	var last *kmsg.JoinGroupResponse
	for i := range groupBytesMax>>20 + 1 {
		g.Step(scriptStart, Call(i), r, Client{ID: "c"}, nil, &out)
		if len(out.Replies) > 0 {
			last = out.Replies[0].Response.(*kmsg.JoinGroupResponse)
		}
	}
	if last == nil || last.ErrorCode != kerr.GroupMaxSizeReached.Code || g.classic.bytes > groupBytesMax {
		t.Errorf("%d members hold %d bytes, last answer %v", g.MembersCount(), g.classic.bytes, last)
	}

	g, out = New("g", &Config{SessionTimeoutMax: time.Hour}), Output{}
	g.Step(scriptStart, 1, benchJoin(3, ""), Client{}, nil, &out)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Generation, sync.MemberID = 1, g.classic.leader.id
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: sync.MemberID, MemberAssignment: make([]byte, groupBytesMax+1)}}
	out = Output{}
	g.Step(scriptStart, 2, sync, Client{}, nil, &out)
	if got := replyText(out.Replies[0].Response); got != "sync UNKNOWN_SERVER_ERROR" || len(out.Records) > 0 || g.classic.state != statePreparing {
		t.Errorf("%s, then %v with %d records", got, g.classic.state, len(out.Records))
	}
}

func TestPendingMembersAreBounded(t *testing.T) {
	g, out := New("g", benchConfig()), Output{}
	for i := range pendingMembersMax + 2 {
		g.Step(scriptStart, Call(i), benchJoin(4, ""), Client{ID: "c"}, nil, &out)
	}
	first := out.Replies[0].Response.(*kmsg.JoinGroupResponse).MemberID
	last := out.Replies[len(out.Replies)-1].Response.(*kmsg.JoinGroupResponse).MemberID
	if len(g.classic.pending) != pendingMembersMax || len(g.classic.timers) != pendingMembersMax {
		t.Errorf("%d pending, %d timers", len(g.classic.pending), len(g.classic.timers))
	}
	out = Output{}
	g.Step(scriptStart, 1, benchJoin(4, first), Client{}, nil, &out)
	g.Step(scriptStart, 2, benchJoin(4, last), Client{}, nil, &out)
	if len(out.Replies) != 1 || replyText(out.Replies[0].Response) != "join UNKNOWN_MEMBER_ID member="+first || g.MembersCount() != 1 {
		t.Errorf("%v, %d members", out.Replies, g.MembersCount())
	}
}

// TestPendingMemberBytes: a pending member holds its id, not a client id of any length; all of them leave room for members.
func TestPendingMemberBytes(t *testing.T) {
	g, out := New("g", benchConfig()), Output{}
	client := Client{ID: strings.Repeat("x", 32_000)}
	for i := range pendingMembersMax {
		g.Step(scriptStart, Call(i), benchJoin(4, ""), client, nil, &out)
	}
	last := out.Replies[len(out.Replies)-1].Response.(*kmsg.JoinGroupResponse)
	if last.ErrorCode != kerr.MemberIDRequired.Code || len(last.MemberID) != clientIDBytesMax+1+36 {
		t.Errorf("%d, an id of %d bytes", last.ErrorCode, len(last.MemberID))
	}
	const each = clientIDBytesMax + 1 + 36 + pendingMemberBytes
	if n := g.Bytes(); n != pendingMembersMax*each || g.MembersCount() != 0 {
		t.Errorf("%d bytes, %d members", n, g.MembersCount())
	}
	// Members take all the room there is, and pending ones go for them.
	r := benchJoin(3, "")
	r.Protocols = r.Protocols[:1]
	r.Protocols[0].Metadata = make([]byte, 1<<20-1<<10)
	for i := range groupBytesMax >> 20 {
		g.Step(scriptStart, Call(pendingMembersMax+i), r, client, nil, &out)
	}
	if g.MembersCount() != groupBytesMax>>20 || g.Bytes() > groupBytesMax || len(g.classic.pending) > (32<<10)/pendingMemberBytes {
		t.Errorf("%d bytes of %d members and %d pending", g.Bytes(), g.MembersCount(), len(g.classic.pending))
	}
	if id := g.classic.first().client.ID; len(id) != clientIDBytesMax {
		t.Errorf("kept %d bytes of a client id", len(id))
	}
	g.Step(scriptStart, 1<<20, benchJoin(4, ""), client, nil, &out)
	if g.Bytes() > groupBytesMax {
		t.Errorf("%d bytes", g.Bytes())
	}
}

func TestKeptID(t *testing.T) {
	for _, n := range []int{0, 1, 254, 255, 256, 300} {
		if got := keptID(strings.Repeat("x", n)); len(got) != min(n, clientIDBytesMax) {
			t.Errorf("%d of %d", len(got), n)
		}
		if got := keptID(strings.Repeat("é", n)); !utf8.ValidString(got) || len(got) != min(2*n, clientIDBytesMax-1) {
			t.Errorf("%d of %d", len(got), 2*n)
		}
	}
	keptID(strings.Repeat("\x80", 1000)) // no character begins
}

func TestMemberIDs(t *testing.T) {
	g := New("g", benchConfig())
	form := regexp.MustCompile(`^c-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	a, b := g.newMemberID("c"), g.newMemberID("c")
	if !form.MatchString(a) || a == b {
		t.Error(a, b)
	}
}
