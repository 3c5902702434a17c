package broker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/group"
	"ottla/internal/wire"
)

// Tests of the group APIs, over a real coordinator. The codes are those that Apache Kafka 4.3.1 answered to the same requests.

// withOffsets is a stack whose coordinator can be asked at once.
func withOffsets(tb testing.TB) *stack {
	tb.Helper()
	s := newStack(tb)
	if err := s.groups.EnsureTopic(); err != nil {
		tb.Fatal(err)
	}
	for { // the new partitions are loaded in the background
		err := s.groups.List(tb.Context(), nil, nil, func(group.Listing) error { return nil })
		if err == nil {
			return s
		}
		if !errors.Is(err, coordinator.ErrLoading) {
			tb.Fatal(err)
		}
		runtime.Gosched()
	}
}

// commitRequest commits offset for partitions of one topic, from outside the group.
func commitRequest(group string, t *catalog.Topic, offset int64, partitions ...int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.RetentionTimeMillis = group, -1, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = t.Name, t.ID
	for _, index := range partitions {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = index, offset, kmsg.StringPtr("m")
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchOffsetsRequest asks for the offsets of a group; no partitions: all.
func fetchOffsetsRequest(version int16, group string, t *catalog.Topic, partitions ...int32) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = version, group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = group, -1
	if len(partitions) > 0 {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: t.Name, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.Name, TopicID: t.ID, Partitions: partitions}}
	}
	req.Groups = append(req.Groups, g)
	return req
}

// offsetsText shows an answer to fetchOffsetsRequest, the same in all versions.
func offsetsText(resp *kmsg.OffsetFetchResponse, t *catalog.Topic) string {
	var out []string
	if resp.Version < 8 {
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				out = append(out, fmt.Sprintf("%s-%d=%d %d", rt.Topic, p.Partition, p.Offset, p.ErrorCode))
			}
		}
		return fmt.Sprintf("%d: %s", resp.ErrorCode, strings.Join(out, ", "))
	}
	g := &resp.Groups[0]
	for _, rt := range g.Topics {
		if resp.Version >= 10 && rt.TopicID == t.ID {
			rt.Topic = t.Name
		}
		for _, p := range rt.Partitions {
			out = append(out, fmt.Sprintf("%s-%d=%d %d", rt.Topic, p.Partition, p.Offset, p.ErrorCode))
		}
	}
	return fmt.Sprintf("%d: %s", g.ErrorCode, strings.Join(out, ", "))
}

// TestOffsets commits and fetches in every version of both.
func TestOffsets(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 2)
	offset := int64(0)
	for version := int16(2); version <= 10; version++ {
		offset++
		resp := s.do(commitRequest("g", topic, offset, 0, 1, 7), version).(*kmsg.OffsetCommitResponse)
		got := ""
		for _, p := range resp.Topics[0].Partitions {
			got += fmt.Sprintf("%d=%d ", p.Partition, p.ErrorCode)
		}
		if want := "0=0 1=0 7=3 "; got != want || version >= 10 != (resp.Topics[0].TopicID == topic.ID) || version < 10 != (resp.Topics[0].Topic == "orders") {
			t.Errorf("commit %d: %q of %+v", version, got, resp.Topics[0])
		}
		for fetch := int16(1); fetch <= 10; fetch++ {
			want := fmt.Sprintf("0: orders-0=%d 0, orders-9=-1 0", offset)
			if got := offsetsText(s.do(fetchOffsetsRequest(fetch, "g", topic, 0, 9), fetch).(*kmsg.OffsetFetchResponse), topic); got != want {
				t.Errorf("fetch %d: %q, want %q", fetch, got, want)
			}
			if fetch < 2 {
				continue // cannot ask for all
			}
			want = fmt.Sprintf("0: orders-0=%d 0, orders-1=%d 0", offset, offset)
			if got := offsetsText(s.do(fetchOffsetsRequest(fetch, "g", nil), fetch).(*kmsg.OffsetFetchResponse), topic); got != want {
				t.Errorf("fetch all %d: %q, want %q", fetch, got, want)
			}
			if got := offsetsText(s.do(fetchOffsetsRequest(fetch, "nobody", nil), fetch).(*kmsg.OffsetFetchResponse), topic); got != "0: " {
				t.Errorf("fetch %d of nobody: %q", fetch, got)
			}
		}
	}
}

func TestOffsetsOfTopicsThatDoNotExist(t *testing.T) {
	s := withOffsets(t)
	topic, gone := s.topic("orders", 1), &catalog.Topic{Name: "gone", ID: [16]byte{1, 2, 3}}
	for version, want := range map[int16]int16{2: 3, 9: 3, 10: 100} {
		resp := s.do(commitRequest("g", gone, 5, 0), version).(*kmsg.OffsetCommitResponse)
		if got := resp.Topics[0].Partitions[0].ErrorCode; got != want {
			t.Errorf("commit %d: code %d, want %d", version, got, want)
		}
	}
	if g := s.do(kmsg.NewPtrListGroupsRequest(), 5).(*kmsg.ListGroupsResponse).Groups; len(g) != 0 {
		t.Errorf("a commit of nothing makes a group: %+v", g)
	}
	empty := commitRequest("g", topic, 1)
	if resp := s.do(empty, 9).(*kmsg.OffsetCommitResponse); len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 0 {
		t.Errorf("got %+v", resp)
	}
	for version, want := range map[int16]string{7: "0: gone-0=-1 0", 9: "0: gone-0=-1 0", 10: "0: -0=-1 100"} {
		if got := offsetsText(s.do(fetchOffsetsRequest(version, "g", gone, 0), version).(*kmsg.OffsetFetchResponse), topic); got != want {
			t.Errorf("fetch %d: %q, want %q", version, got, want)
		}
	}
}

// TestOffsetsGoWithTheTopic: what was committed for a topic that is deleted is not there for one of the same name.
func TestOffsetsGoWithTheTopic(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 1)
	s.do(commitRequest("g", topic, 5, 0), 9)
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"orders"}
	if resp := s.do(del, 5).(*kmsg.DeleteTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("got %+v", resp)
	}
	again := s.topic("orders", 1)
	fetch := func(version int16) string {
		return offsetsText(s.do(fetchOffsetsRequest(version, "g", again, 0), version).(*kmsg.OffsetFetchResponse), again)
	}
	if got := fetch(10); got != "0: orders-0=-1 0" {
		t.Errorf("by id: %q", got)
	}
	for fetch(9) != "0: orders-0=-1 0" { // they go in the background
		runtime.Gosched()
	}
}

// member is one member of the classic protocol in a test.
type member struct {
	s          *stack
	group, id  string
	generation int32
}

func joinRequest(group, id string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte{0, 0, 0, 0, 0, 1, 0, 6, 'o', 'r', 'd', 'e', 'r', 's', 0xff, 0xff, 0xff, 0xff}
	req.Protocols = append(req.Protocols, p)
	return req
}

// join brings one member into a group that has no other.
func (s *stack) join(group string, version int16) *member {
	s.tb.Helper()
	resp := s.do(joinRequest(group, ""), version).(*kmsg.JoinGroupResponse)
	if version >= 4 {
		if resp.ErrorCode != 79 || resp.MemberID == "" { // MEMBER_ID_REQUIRED
			s.tb.Fatalf("join %d: %+v", version, resp)
		}
		resp = s.do(joinRequest(group, resp.MemberID), version).(*kmsg.JoinGroupResponse)
	}
	if resp.ErrorCode != 0 || resp.LeaderID != resp.MemberID || len(resp.Members) != 1 || resp.Protocol == nil || *resp.Protocol != "range" {
		s.tb.Fatalf("join %d: %+v", version, resp)
	}
	return &member{s: s, group: group, id: resp.MemberID, generation: resp.Generation}
}

func (m *member) syncRequest(assignment string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = m.id, []byte(assignment)
	req.GroupAssignment = append(req.GroupAssignment, a)
	return req
}

func (m *member) heartbeat(version int16) int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	return m.s.do(req, version).(*kmsg.HeartbeatResponse).ErrorCode
}

func (m *member) leave(version int16) *kmsg.LeaveGroupResponse {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.group, m.id
	x := kmsg.NewLeaveGroupRequestMember()
	x.MemberID = m.id
	req.Members = append(req.Members, x)
	return m.s.do(req, version).(*kmsg.LeaveGroupResponse)
}

// TestClassicGroup takes a group through its life in every version of its APIs.
func TestClassicGroup(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 1)
	for version := int16(0); version <= 9; version++ {
		name := fmt.Sprintf("g%d", version)
		m := s.join(name, version)
		sync := s.do(m.syncRequest("mine"), min(version, 5)).(*kmsg.SyncGroupResponse)
		if sync.ErrorCode != 0 || string(sync.MemberAssignment) != "mine" {
			t.Fatalf("sync: %+v", sync)
		}
		if code := m.heartbeat(min(version, 4)); code != 0 {
			t.Fatalf("heartbeat: code %d", code)
		}
		commit := commitRequest(name, topic, 3, 0)
		commit.MemberID, commit.Generation = m.id, m.generation
		if resp := s.do(commit, 9).(*kmsg.OffsetCommitResponse); resp.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatalf("commit: %+v", resp)
		}
		commit.Generation++
		if resp := s.do(commit, 9).(*kmsg.OffsetCommitResponse); resp.Topics[0].Partitions[0].ErrorCode != 22 { // ILLEGAL_GENERATION
			t.Fatalf("commit of the future: %+v", resp)
		}
		d := s.describeGroup(name, min(version, 6))
		if d.State != "Stable" || len(d.Members) != 1 || d.Members[0].ClientID != "test" || d.Members[0].ClientHost != "/127.0.0.1" || string(d.Members[0].MemberAssignment) != "mine" {
			t.Fatalf("describe: %+v", d)
		}
		if resp := s.deleteGroups(name); resp.Groups[0].ErrorCode != 68 { // NON_EMPTY_GROUP
			t.Fatalf("delete: %+v", resp)
		}
		if resp := m.leave(min(version, 5)); resp.ErrorCode != 0 || version >= 3 && resp.Members[0].ErrorCode != 0 {
			t.Fatalf("leave: %+v", resp)
		}
		if code := m.heartbeat(4); code != 25 { // UNKNOWN_MEMBER_ID
			t.Fatalf("heartbeat after leaving: code %d", code)
		}
		if d := s.describeGroup(name, 6); d.State != "Empty" {
			t.Fatalf("describe: %+v", d)
		}
		if resp := s.deleteGroups(name, name); len(resp.Groups) != 1 || resp.Groups[0].ErrorCode != 0 {
			t.Fatalf("delete: %+v", resp)
		}
		if d := s.describeGroup(name, 6); d.State != "Dead" || d.ErrorCode != codeGroupIDNotFound {
			t.Fatalf("describe: %+v", d)
		}
	}
}

func (s *stack) describeGroup(name string, version int16) kmsg.DescribeGroupsResponseGroup {
	s.tb.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = []string{name}, true
	d := s.do(req, version).(*kmsg.DescribeGroupsResponse).Groups[0]
	if asked := version >= 3 && d.ErrorCode == 0; asked != (d.AuthorizedOperations == operationsGroup) {
		s.tb.Errorf("version %d: operations %b", version, d.AuthorizedOperations)
	}
	return d
}

func (s *stack) deleteGroups(names ...string) *kmsg.DeleteGroupsResponse {
	s.tb.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = names
	return s.do(req, 2).(*kmsg.DeleteGroupsResponse)
}

// TestGroupRefusals: wrong group, member, generation, epoch and protocol, for each API.
func TestGroupRefusals(t *testing.T) {
	s := withOffsets(t)
	s.topic("orders", 1)
	m := s.join("g", 3)
	s.do(m.syncRequest("mine"), 5)
	stranger := &member{s: s, group: "g", id: "stranger", generation: m.generation}
	late := &member{s: s, group: "g", id: m.id, generation: m.generation - 1}
	nowhere := &member{s: s, group: "nowhere", id: "x"}
	for _, x := range []struct {
		name string
		got  int16
		want int16
	}{
		{"join the group of no name", s.do(joinRequest("", ""), 9).(*kmsg.JoinGroupResponse).ErrorCode, 24},
		{"join as a stranger", s.do(joinRequest("g", "stranger"), 9).(*kmsg.JoinGroupResponse).ErrorCode, 25},
		{"join with a session that is too short", s.joinWith(func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 100 }), 26},
		{"join without a protocol", s.joinWith(func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }), 23},
		{"join with another type", s.joinWith(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }), 23},
		{"join without a type", s.joinWith(func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }), 23},
		{"sync the group of no name", s.do((&member{s: s}).syncRequest(""), 5).(*kmsg.SyncGroupResponse).ErrorCode, 24},
		{"sync as a stranger", s.do(stranger.syncRequest(""), 3).(*kmsg.SyncGroupResponse).ErrorCode, 25},
		{"sync late", s.do(late.syncRequest(""), 3).(*kmsg.SyncGroupResponse).ErrorCode, 22},
		{"sync nowhere", s.do(nowhere.syncRequest(""), 3).(*kmsg.SyncGroupResponse).ErrorCode, 25},
		{"heartbeat of the group of no name", (&member{s: s}).heartbeat(4), 24},
		{"heartbeat of a stranger", stranger.heartbeat(4), 25},
		{"heartbeat late", late.heartbeat(4), 22},
		{"heartbeat nowhere", nowhere.heartbeat(0), 25},
		{"leave the group of no name", (&member{s: s}).leave(5).ErrorCode, 24},
		{"leave as a stranger", stranger.leave(5).Members[0].ErrorCode, 25},
		{"leave nowhere", nowhere.leave(3).Members[0].ErrorCode, 25},
		{"leave nowhere, old", nowhere.leave(2).ErrorCode, 25},
	} {
		if x.got != x.want {
			t.Errorf("%s: code %d, want %d", x.name, x.got, x.want)
		}
	}
	mute := m.syncRequest("")
	mute.Protocol = nil
	for version, want := range map[int16]int16{4: 0, 5: 23} {
		if got := s.do(mute, version).(*kmsg.SyncGroupResponse).ErrorCode; got != want {
			t.Errorf("sync %d without a protocol: code %d, want %d", version, got, want)
		}
	}
	if code := m.heartbeat(4); code != 0 {
		t.Errorf("the member suffered: code %d", code)
	}
}

func (s *stack) joinWith(change func(*kmsg.JoinGroupRequest)) int16 {
	s.tb.Helper()
	req := joinRequest("g", "")
	change(req)
	return s.do(req, 3).(*kmsg.JoinGroupResponse).ErrorCode
}

// TestConsumerGroup: one member of the consumer protocol, and who must not be heard.
func TestConsumerGroup(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 2)
	beat := func(version int16, group, id string, epoch int32) *kmsg.ConsumerGroupHeartbeatResponse {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = group, id, epoch
		if epoch == 0 {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 10_000, []string{"orders"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		}
		return s.do(req, version).(*kmsg.ConsumerGroupHeartbeatResponse)
	}
	if r := beat(1, "", "m", 0); r.ErrorCode != 42 {
		t.Errorf("the group of no name: %+v", r)
	}
	if r := beat(1, "c", "", 0); r.ErrorCode != 42 {
		t.Errorf("no member id: %+v", r)
	}
	if r := beat(0, "c", "m", 5); r.ErrorCode != 69 {
		t.Errorf("no such group: %+v", r)
	}
	r := beat(1, "c", "m", 0)
	if r.ErrorCode != 0 || r.Assignment == nil || len(r.Assignment.Topics) != 1 || r.Assignment.Topics[0].TopicID != topic.ID || len(r.Assignment.Topics[0].Partitions) != 2 {
		t.Fatalf("got %+v", r)
	}
	if r := beat(0, "c", "stranger", 5); r.ErrorCode != 25 {
		t.Errorf("a stranger: %+v", r)
	}
	if stale := beat(1, "c", "m", r.MemberEpoch+7); stale.ErrorCode != 110 { // FENCED_MEMBER_EPOCH
		t.Errorf("an epoch of the future: %+v", stale)
	}
	for version := int16(0); version <= 1; version++ {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups, req.IncludeAuthorizedOperations = []string{"c", "", "nobody"}, true
		groups := s.do(req, version).(*kmsg.ConsumerGroupDescribeResponse).Groups
		if len(groups) != 3 || groups[0].ErrorCode != 0 || len(groups[0].Members) != 1 || groups[0].AuthorizedOperations != operationsGroup {
			t.Fatalf("got %+v", groups)
		}
		if groups[1].ErrorCode != 24 || groups[2].ErrorCode != 69 || groups[2].AuthorizedOperations != operationsNotAsked {
			t.Errorf("got %+v", groups[1:])
		}
	}
	if d := s.describeGroup("c", 6); d.ErrorCode != 69 || d.ErrorMessage == nil {
		t.Errorf("DescribeGroups of a consumer group: %+v", d)
	}
	fetch := fetchOffsetsRequest(9, "c", topic, 0)
	fetch.Groups[0].MemberID, fetch.Groups[0].MemberEpoch = kmsg.StringPtr("m"), r.MemberEpoch+1
	if g := s.do(fetch, 9).(*kmsg.OffsetFetchResponse).Groups[0]; g.ErrorCode != 113 || len(g.Topics) != 0 { // STALE_MEMBER_EPOCH
		t.Errorf("got %+v", g)
	}
	if r := beat(1, "c", "m", -1); r.ErrorCode != 0 || r.MemberEpoch != -1 {
		t.Errorf("leaving: %+v", r)
	}
}

func TestListGroups(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 1)
	s.do(commitRequest("offsets", topic, 1, 0), 9)
	m := s.join("classic", 3)
	s.do(m.syncRequest("mine"), 5)
	for version := int16(0); version <= 5; version++ {
		req := kmsg.NewPtrListGroupsRequest()
		resp := s.do(req, version).(*kmsg.ListGroupsResponse)
		byName := map[string]kmsg.ListGroupsResponseGroup{}
		for _, g := range resp.Groups {
			byName[g.Group] = g
		}
		g := byName["classic"]
		if resp.ErrorCode != 0 || len(byName) != 2 || g.ProtocolType != "consumer" || (g.GroupState == "Stable") != (version >= 4) || (g.GroupType == "classic") != (version >= 5) {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	for _, x := range []struct{ state, kind, want string }{
		{"", "", "classic offsets"}, {"stable", "", "classic"}, {"EMPTY", "", "offsets"}, {"Foo", "", ""}, {"", "Consumer", ""}, {"", "classic", "classic offsets"},
	} {
		req := kmsg.NewPtrListGroupsRequest()
		if x.state != "" {
			req.StatesFilter = []string{x.state}
		}
		if x.kind != "" {
			req.TypesFilter = []string{x.kind}
		}
		var names []string
		for _, name := range []string{"classic", "offsets"} {
			for _, g := range s.do(req, 5).(*kmsg.ListGroupsResponse).Groups {
				if g.Group == name {
					names = append(names, name)
				}
			}
		}
		if got := strings.Join(names, " "); got != x.want {
			t.Errorf("%+v: got %q", x, got)
		}
	}
}

func TestOffsetDelete(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 2)
	s.do(commitRequest("g", topic, 1, 0, 1), 9)
	del := func(group string, topics ...string) string {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		for _, name := range topics {
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic = name
			for _, index := range []int32{0, 9} {
				p := kmsg.NewOffsetDeleteRequestTopicPartition()
				p.Partition = index
				rt.Partitions = append(rt.Partitions, p)
			}
			req.Topics = append(req.Topics, rt)
		}
		resp := s.do(req, 0).(*kmsg.OffsetDeleteResponse)
		out := fmt.Sprint(resp.ErrorCode)
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				out += fmt.Sprintf(" %s-%d=%d", rt.Topic, p.Partition, p.ErrorCode)
			}
		}
		return out
	}
	for _, x := range []struct {
		group  string
		topics []string
		want   string
	}{
		{"", []string{"orders"}, "24"},
		{"nobody", []string{"orders", "nope"}, "69"},
		{"g", []string{"orders", "nope"}, "0 orders-9=3 orders-0=0 nope-0=3 nope-9=3"},
		{"g", nil, "0"},
	} {
		if got := del(x.group, x.topics...); got != x.want {
			t.Errorf("%+v: got %q", x, got)
		}
	}
	if got := offsetsText(s.do(fetchOffsetsRequest(9, "g", nil), 9).(*kmsg.OffsetFetchResponse), topic); got != "0: orders-1=1 0" {
		t.Errorf("left: %q", got)
	}
}

// TestDrainingEndsAJoin: a server that stops does not wait for the other members of a group.
func TestDrainingEndsAJoin(t *testing.T) {
	s := withOffsets(t)
	first := s.join("g", 3)
	s.do(first.syncRequest("mine"), 5)
	draining := make(chan struct{})
	r := s.request(joinRequest("g", ""), 3) // waits until the first one joins again
	r.Session.Draining = draining
	reply := s.b.Handle(t.Context(), r)
	if reply.(wire.Poller).Done() {
		t.Fatal("a join does not wait for the others")
	}
	close(draining)
	resp, err := reply.Wait(t.Context())
	if err != nil || resp.(*kmsg.JoinGroupResponse).ErrorCode != codeCoordinatorNotAvailable {
		t.Fatalf("got %+v, %v", resp, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	r = s.request(joinRequest("g", ""), 3)
	r.Session.Draining = make(chan struct{})
	reply = s.b.Handle(t.Context(), r)
	cancel()
	if resp, err := reply.Wait(gone); resp != nil || err == nil {
		t.Fatalf("the connection is gone: %+v, %v", resp, err)
	}
}

// TestGroupAnswersAreBounded: what does not fit the memory for answers is refused, and nothing of it is kept.
func TestGroupAnswersAreBounded(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 2)
	for i := range 40 {
		s.do(commitRequest(fmt.Sprintf("g%d", i), topic, 1, 0, 1), 9)
	}
	oneGroup := int64(groupAnswerBytes + coordinator.OffsetTopicAnswerBytes + coordinator.OffsetAnswerBytes + 20)
	budget, others := wire.NewBudget(oneGroup), int64(0)
	ask := func(req kmsg.Request, version int16) wire.Response {
		t.Helper()
		r := s.request(req, version)
		r.Session.Responses = budget
		resp, err := s.b.Handle(t.Context(), r).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		resp.(wire.Releaser).Release()
		if used := budget.Used(); used != others {
			t.Errorf("%d bytes are kept", used-others)
		}
		return resp.(accounted).Response
	}
	fetch := fetchOffsetsRequest(9, "g0", topic, 0)
	for range 3 {
		fetch.Groups = append(fetch.Groups, fetch.Groups[0])
	}
	groups := ask(fetch, 9).(*kmsg.OffsetFetchResponse).Groups
	if groups[0].ErrorCode != 0 || len(groups[0].Topics) != 1 || groups[3].ErrorCode != codeCoordinatorLoadInProgress || len(groups[3].Topics) != 0 {
		t.Errorf("got %+v", groups)
	}
	budget = wire.NewBudget(groupAnswerBytes * 2)
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"g1", "g2", "g3"}
	described := ask(describe, 6).(*kmsg.DescribeGroupsResponse).Groups
	if described[0].ErrorCode != 0 || described[2].ErrorCode != codeCoordinatorLoadInProgress || described[2].Group != "g3" {
		t.Errorf("got %+v", described)
	}
	others = groupAnswerBytes
	budget.TryAcquire(others)
	if resp, ok := ask(kmsg.NewPtrListGroupsRequest(), 5).(*kmsg.ListGroupsResponse); !ok || resp.ErrorCode != codeCoordinatorLoadInProgress {
		t.Errorf("got %+v", resp)
	}
	budget, others = wire.NewBudget(64<<20), 0
	if l, ok := ask(kmsg.NewPtrListGroupsRequest(), 5).(*listedGroups); !ok || l.count != 40 {
		t.Errorf("got %+v", l)
	}
}

// TestOffsetsTopicKeepsItsPartitions: groups are found by their number.
func TestOffsetsTopicKeepsItsPartitions(t *testing.T) {
	s := withOffsets(t)
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: coordinator.Topic, Count: 10}, {Topic: "nope", Count: 10}}
	resp := s.do(req, 3).(*kmsg.CreatePartitionsResponse)
	if resp.Topics[0].ErrorCode != codeInvalidPartitions || resp.Topics[0].ErrorMessage == nil || resp.Topics[1].ErrorCode != codeUnknownTopicOrPartition {
		t.Errorf("got %+v", resp)
	}
	if topic, _ := s.catalog.Topic(coordinator.Topic); len(topic.Partitions) != 2 {
		t.Errorf("%d partitions", len(topic.Partitions))
	}
}

func TestJavaAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "::1": "0:0:0:0:0:0:0:1", "::ffff:10.0.0.1": "10.0.0.1", "fe80::a0b:1": "fe80:0:0:0:0:0:a0b:1",
	} {
		if got := javaAddress(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
