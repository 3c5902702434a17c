package group

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// loaded is a group made of records, as after a restart.
func loaded(t *testing.T, s *consumerScript, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := s.group.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	s.group.Loaded(s.now, &s.topics)
}

func record(kind int16, second string, value []byte) Record {
	key := consumerKey(kind, "g")
	if second != "" {
		key = consumerKey(kind, "g", second)
	}
	return Record{Key: key, Value: value}
}

func memberRecords(id string, m memberData) []Record {
	return []Record{record(keyMemberMetadata, id, encodeMemberMetadata(&m)), record(keyCurrentAssignment, id, encodeCurrentAssignment(&m))}
}

func parts(id string, epoch int32, partitions ...int32) assignment {
	return newAssignment([]topicParts{{id: idOf(id), parts: partitions}}).withEpoch(epoch)
}

func (s *consumerScript) beat(id string, epoch int32, owned ownedTopics) *kmsg.ConsumerGroupHeartbeatResponse {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.Topics = 1, "g", id, epoch, owned
	s.out = Output{}
	s.group.Step(s.now, 1, r, Client{}, &s.topics, &s.out)
	return s.out.Replies[0].Response.(*kmsg.ConsumerGroupHeartbeatResponse)
}

func TestSubscribed(t *testing.T) {
	s := newConsumerScript()
	for _, name := range []string{"named", "matched", "other"} {
		s.topics.set(name, 1)
	}
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.RebalanceTimeoutMillis, r.Topics = 1, "g", "m", 1000, ownedTopics{}
	r.SubscribedTopicNames, r.SubscribedTopicRegex = []string{"named"}, kmsg.StringPtr("match.*")
	s.group.Step(s.now, 1, r, Client{}, &s.topics, &s.out)
	for name, want := range map[string]bool{"named": true, "matched": true, "other": false} {
		if s.group.Subscribed(name) != want {
			t.Errorf("%s: subscribed %v", name, !want)
		}
		if code := s.group.OffsetDeleteAllowed(name); (code == kerr.GroupSubscribedToTopic.Code) != want {
			t.Errorf("%s: its offsets may be deleted: %d", name, code)
		}
	}
	if code := s.group.DeleteAllowed(); code != kerr.NonEmptyGroup.Code || s.group.MembersCount() != 1 || s.group.Idle() {
		t.Errorf("delete %d, %d members, idle %v", code, s.group.MembersCount(), s.group.Idle())
	}
	if code := s.group.FetchAllowed("", -1); code != 0 {
		t.Errorf("fetch from outside: %d", code)
	}
	s.beat("m", epochLeave, nil)
	if s.group.Subscribed("named") || s.group.Subscribed("matched") || !s.group.Idle() {
		t.Error("subscribed without members")
	}
}

func TestDescribeConsumer(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("a", 4)
	old := memberData{
		rebalanceMillis: 1000, epoch: 3, previous: 2, state: stateUnrevoked, names: []string{"a"},
		owned: parts("a", 2, 0), revoking: parts("a", 2, 1), clientID: "c", clientHost: "/h", instance: kmsg.StringPtr("i"), rack: kmsg.StringPtr("r"),
		classic: &classicMetadata{sessionMillis: 1000, protocols: []classicProtocol{{name: "range"}}},
	}
	loaded(t, s, append(memberRecords("m", old), record(keyGroupMetadata, "", encodeGroupMetadata(4, 0)),
		record(keyTargetMetadata, "", encodeTargetMetadata(4, 0)),
		record(keyTargetMember, "m", encodeTargetMember(newAssignment([]topicParts{{id: idOf("a"), parts: []int32{0}}, {id: idOf("gone"), parts: []int32{1}}}))))...)
	d := s.group.DescribeConsumer(&s.topics)
	if d.State != "Reconciling" || d.Epoch != 4 || d.AssignmentEpoch != 4 || d.AssignorName != "uniform" || len(d.Members) != 1 {
		t.Fatalf("%+v", d)
	}
	m := d.Members[0]
	if m.MemberID != "m" || *m.InstanceID != "i" || *m.RackID != "r" || m.MemberEpoch != 3 || m.MemberType != memberTypeClassic ||
		m.ClientID != "c" || m.ClientHost != "/h" || len(m.SubscribedTopics) != 1 {
		t.Errorf("%+v", m)
	}
	if a := m.Assignment.TopicPartitions; len(a) != 1 || a[0].Topic != "a" || len(a[0].Partitions) != 2 {
		t.Errorf("assignment %+v: what it has to give up is still its own", a)
	}
	if a := m.TargetAssignment.TopicPartitions; len(a) != 1 || len(a[0].Partitions) != 1 {
		t.Errorf("target %+v: topics that are gone are let out", a)
	}
}

// A state that a later version wrote: the member must come back with nothing.
func TestUnknownMemberState(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("a", 2)
	strange := memberData{rebalanceMillis: 1000, epoch: 3, previous: 3, state: 9, names: []string{"a"}, owned: parts("a", 3, 0, 1)}
	loaded(t, s, append(memberRecords("m", strange), record(keyGroupMetadata, "", encodeGroupMetadata(3, 0)))...)
	if resp := s.beat("m", 3, partitionsOf("a:0-1")); resp.ErrorCode != kerr.FencedMemberEpoch.Code || len(s.out.Records) > 0 {
		t.Errorf("code %d, %d records", resp.ErrorCode, len(s.out.Records))
	}
	if resp := s.beat("m", 3, ownedTopics{}); resp.ErrorCode != 0 || s.memberOf("m").state != stateReconciled {
		t.Errorf("code %d, state %d", resp.ErrorCode, s.memberOf("m").state)
	}
	checkConsumer(t, s.group)
}

// Kafka before 4.1 kept what it knew of topics in a record of its own; it is deleted with the first heartbeat.
func TestOldPartitionMetadata(t *testing.T) {
	s := newConsumerScript()
	m := memberData{rebalanceMillis: 1000, epoch: 3, previous: 3}
	loaded(t, s, append(memberRecords("m", m), record(keyPartitionMetadata, "", []byte{0, 0, 1, 0}),
		record(keyGroupMetadata, "", encodeGroupMetadata(3, 0)), record(keyTargetMetadata, "", encodeTargetMetadata(3, 0)))...)
	for _, want := range []string{"partition metadata: deleted", ""} {
		s.beat("m", 3, nil)
		if got := strings.Join(strings.Fields(strings.Join(formatRecords(s.out.Records), " ")), " "); got != want {
			t.Errorf("wrote %q, want %q", got, want)
		}
	}
}

func formatRecords(records []Record) (out []string) {
	for _, r := range records {
		out = append(out, formatRecord(r))
	}
	return out
}

// What a damaged log may say: two owners of a partition, a classic member without protocols, a target of nobody, an assignment without
// its member. None of it stays for ever.
func TestDamagedLog(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("a", 2)
	one := memberData{rebalanceMillis: 1000, epoch: 3, names: []string{"a"}, owned: parts("a", 3, 0, 1)}
	two := memberData{rebalanceMillis: 1000, epoch: 4, names: []string{"a"}, owned: parts("a", 4, 0), classic: &classicMetadata{sessionMillis: 1000}}
	records := append(memberRecords("one", one), memberRecords("two", two)...)
	records = append(records, record(keyTargetMember, "nobody", encodeTargetMember(parts("a", 0, 1))))
	ghost := memberData{epoch: 2, owned: parts("gone", 2, 0)}
	records = append(records, record(keyCurrentAssignment, "ghost", encodeCurrentAssignment(&ghost)))
	loaded(t, s, records...)
	c := s.group.consumer
	if got := c.owners[partitionKey{idOf("a"), 0}]; got != "two" {
		t.Errorf("a-0 is of %s", got)
	}
	if c.target["nobody"] != nil {
		t.Error("a target of nobody")
	}
	for _, req := range []kmsg.Request{
		&kmsg.HeartbeatRequest{Version: 4, Group: "g", MemberID: "two", Generation: 4},
		&kmsg.SyncGroupRequest{Version: 4, Group: "g", MemberID: "two", Generation: 4},
	} {
		s.group.Step(s.now, 1, req, Client{}, &s.topics, &s.out)
	}
	s.now = s.now.Add(s.cfg.ConsumerSessionTimeout)
	s.group.Tick(s.now, &s.topics, &s.out)
	if !s.group.Idle() || len(c.owners) != 0 {
		t.Errorf("left: %s", describeGroup(s.group, &s.topics))
	}
}

// A member that has left the epoch for which it had to give up partitions is not taken out when that time is over.
func TestRebalanceClockOfAnOldEpoch(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("a", 2)
	m := memberData{rebalanceMillis: 10_000, epoch: 3, state: stateUnrevoked, names: []string{"a"}, owned: parts("a", 3, 0), revoking: parts("a", 3, 1)}
	loaded(t, s, memberRecords("m", m)...)
	s.memberOf("m").rebalanceEpoch = 2
	s.now = s.now.Add(10 * time.Second)
	s.group.Tick(s.now, &s.topics, &s.out)
	if s.memberOf("m") == nil || len(s.out.Records) > 0 {
		t.Fatal("taken out")
	}
	if at, ok := s.group.Deadline(); !ok || at.Before(s.now) {
		t.Errorf("next deadline %v", at)
	}
	checkConsumer(t, s.group)
}

// A member in UNREVOKED_PARTITIONS that unsubscribes gives up more, and still waits.
func TestUnsubscribeWhileRevoking(t *testing.T) {
	s := newConsumerScript()
	s.topics.set("a", 2)
	s.topics.set("b", 1)
	m := memberData{rebalanceMillis: 10_000, epoch: 3, state: stateUnrevoked, names: []string{"a", "b"}, owned: parts("a", 3, 0).union(parts("b", 3, 0)), revoking: parts("a", 3, 1)}
	loaded(t, s, append(memberRecords("m", m), record(keyGroupMetadata, "", encodeGroupMetadata(3, 0)))...)
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.Topics, r.SubscribedTopicNames = 1, "g", "m", 3, partitionsOf("a:0-1;b:0"), []string{"a"}
	s.group.Step(s.now, 1, r, Client{}, &s.topics, &s.out)
	if got, want := formatAssignment(&s.memberOf("m").memberData), "epoch 3 (was 3) UNREVOKED [a:0@3] revoking [a:1@3 b:0@3]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	checkConsumer(t, s.group)
}

func TestRegexLimits(t *testing.T) {
	for pattern, good := range map[string]bool{
		"orders-.*": true, `\p{L}+`: true, `\Qa.b\E`: true, "(?i)Orders": true, "": true,
		"(": false, "a)|(b": false, "(?=a)": false, `(a)\1`: false, strings.Repeat("a", regexBytesMax+1): false, strings.Repeat("x{1000}", 5): false,
	} {
		if _, err := compileRegex(pattern); (err == nil) != good {
			t.Errorf("%.40q: %v", pattern, err)
		}
	}
	re, _ := compileRegex("a|b")
	for name, match := range map[string]bool{"a": true, "b": true, "ab": false, "xa": false, "a\n": false} {
		if re.match(name) != match {
			t.Errorf("%q matches: %v", name, !match)
		}
	}
}
