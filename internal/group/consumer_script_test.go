package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeTopics are topics whose ids are their names, so that they can be read in what comes out.
type fakeTopics struct {
	parts    map[string]int32
	revision uint64
}

func (f *fakeTopics) set(name string, partitions int32) {
	f.revision++
	if partitions == 0 {
		delete(f.parts, name)
		return
	}
	if f.parts == nil {
		f.parts = map[string]int32{}
	}
	f.parts[name] = partitions
}

func idOf(name string) (id topicID) {
	copy(id[:], name)
	return id
}

func nameOf(id topicID) string { return string(bytes.TrimRight(id[:], "\x00")) }

func (f *fakeTopics) Topic(name string) (TopicInfo, bool) {
	n, ok := f.parts[name]
	return TopicInfo{Name: name, ID: idOf(name), Partitions: n}, ok
}

func (f *fakeTopics) TopicByID(id [16]byte) (TopicInfo, bool) { return f.Topic(nameOf(id)) }

func (f *fakeTopics) Names(fn func(string) bool) {
	for name := range f.parts {
		if !fn(name) {
			return
		}
	}
}

func (f *fakeTopics) Revision() uint64 { return f.revision }

// consumerScript plays conversations with one group of the consumer protocol.
type consumerScript struct {
	cfg     Config
	group   *Group
	topics  fakeTopics
	now     time.Time
	out     Output
	records []Record
	calls   Call
	ids     int
}

func newConsumerScript() *consumerScript {
	s := &consumerScript{now: time.UnixMilli(1_000_000)}
	s.cfg = Config{
		SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, MembersMax: 100,
		ConsumerSessionTimeout: 45 * time.Second, ConsumerHeartbeatInterval: 5 * time.Second,
		MigrationPolicy: "bidirectional", MetadataBytesMax: 1 << 20,
		UUID: func() string { s.ids++; return fmt.Sprintf("made-%d", s.ids) },
	}
	s.group = New("g", &s.cfg)
	return s
}

func TestConsumerScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/consumer", func(t *testing.T, path string) {
		s := newConsumerScript()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out = Output{}
			said := s.run(t, d)
			s.records = append(s.records, s.out.Records...)
			checkConsumer(t, s.group)
			return said
		})
	})
}

func (s *consumerScript) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "topics":
		for _, a := range d.CmdArgs {
			s.topics.set(a.Key, int32(must(strconv.Atoi(a.Vals[0]))))
		}
		return ""
	case "config":
		return s.configure(d)
	case "join":
		return s.heartbeat(d, joinRequestOf(d))
	case "heartbeat", "leave":
		return s.heartbeat(d, s.heartbeatOf(d))
	case "after":
		s.now = s.now.Add(must(time.ParseDuration(d.CmdArgs[0].Key)))
		if at, ok := s.group.Deadline(); ok && !at.After(s.now) {
			s.group.Tick(s.now, &s.topics, &s.out)
		}
		return s.said()
	case "state":
		return describeGroup(s.group, &s.topics)
	case "restart":
		return s.restart(t, d)
	case "delete":
		if code := s.group.DeleteAllowed(); code != 0 {
			return errorName(code)
		}
		s.group.Tombstones(&s.out)
		return s.said()
	case "commit", "fetch":
		return s.offsets(d)
	}
	return s.classic(t, d)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func errorName(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.ErrorForCode(code).(*kerr.Error).Message
}

func argOf(d *datadriven.TestData, key string) (string, bool) {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, ","), true
		}
	}
	return "", false
}

func intOf(d *datadriven.TestData, key string, otherwise int) int {
	if v, ok := argOf(d, key); ok {
		return must(strconv.Atoi(v))
	}
	return otherwise
}

func stringOf(d *datadriven.TestData, key string) *string {
	if v, ok := argOf(d, key); ok {
		return &v
	}
	return nil
}

func split(s, by string) []string {
	if s == "" {
		return []string{}
	}
	return strings.Split(s, by)
}

func (s *consumerScript) configure(d *datadriven.TestData) string {
	if v, ok := argOf(d, "members"); ok {
		s.cfg.ConsumerMembersMax = must(strconv.Atoi(v))
	}
	if v, ok := argOf(d, "migration"); ok {
		s.cfg.MigrationPolicy = v
	}
	if v, ok := argOf(d, "metadata-bytes"); ok {
		s.cfg.MetadataBytesMax = must(strconv.Atoi(v))
	}
	if v, ok := argOf(d, "assignors"); ok {
		s.cfg.ConsumerAssignors = split(v, ",")
	}
	for key, field := range map[string]*time.Duration{
		"session": &s.cfg.ConsumerSessionTimeout, "heartbeat": &s.cfg.ConsumerHeartbeatInterval, "assignment": &s.cfg.ConsumerAssignmentInterval,
	} {
		if v, ok := argOf(d, key); ok {
			*field = must(time.ParseDuration(v))
		}
	}
	return ""
}

// heartbeatOf makes the request of "heartbeat m1 epoch=3 owned=a:0-1;b:2": without more only what is said is in it. Without an epoch
// it has the one the group expects.
func (s *consumerScript) heartbeatOf(d *datadriven.TestData) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group = int16(intOf(d, "version", 1)), "g"
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		r.MemberID = d.CmdArgs[0].Key
	}
	if m := s.memberOf(r.MemberID); m != nil {
		r.MemberEpoch = m.epoch
	}
	if d.Cmd == "leave" {
		r.MemberEpoch = epochLeave
	}
	r.MemberEpoch = int32(intOf(d, "epoch", int(r.MemberEpoch)))
	r.RebalanceTimeoutMillis = int32(intOf(d, "rebalance", -1))
	r.InstanceID, r.RackID, r.ServerAssignor = stringOf(d, "instance"), stringOf(d, "rack"), stringOf(d, "assignor")
	r.SubscribedTopicRegex = stringOf(d, "regex")
	if v, ok := argOf(d, "topics"); ok {
		r.SubscribedTopicNames = split(v, ",")
	}
	if v, ok := argOf(d, "owned"); ok {
		r.Topics = partitionsOf(v)
	}
	return r
}

func (s *consumerScript) memberOf(id string) *consumerMember {
	if s.group.consumer == nil {
		return nil
	}
	return s.group.consumer.members[id]
}

// joinRequestOf is a first heartbeat: complete, with epoch 0 and without partitions.
func joinRequestOf(d *datadriven.TestData) *kmsg.ConsumerGroupHeartbeatRequest {
	var none consumerScript
	none.group = New("g", nil)
	r := none.heartbeatOf(d)
	r.MemberEpoch = 0
	r.RebalanceTimeoutMillis = int32(intOf(d, "rebalance", 60000))
	if r.SubscribedTopicRegex == nil && r.SubscribedTopicNames == nil {
		r.SubscribedTopicNames = []string{}
	}
	if r.Topics == nil {
		r.Topics = ownedTopics{}
	}
	return r
}

// partitionsOf reads "a:0-2;b:1".
func partitionsOf(v string) ownedTopics {
	out := ownedTopics{}
	for _, one := range split(v, ";") {
		name, list, _ := strings.Cut(one, ":")
		t := kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: idOf(name)}
		for _, run := range split(list, ",") {
			from, to, ok := strings.Cut(run, "-")
			if !ok {
				to = from
			}
			for p := must(strconv.Atoi(from)); p <= must(strconv.Atoi(to)); p++ {
				t.Partitions = append(t.Partitions, int32(p))
			}
		}
		out = append(out, t)
	}
	return out
}

func (s *consumerScript) heartbeat(d *datadriven.TestData, r *kmsg.ConsumerGroupHeartbeatRequest) string {
	client := Client{ID: "client", Host: "/127.0.0.1"}
	if v, ok := argOf(d, "client"); ok {
		client.ID = v
	}
	s.calls++
	s.group.Step(s.now, s.calls, r, client, &s.topics, &s.out)
	return s.said()
}

// said is the answers and the records of a step.
func (s *consumerScript) said() string {
	var b strings.Builder
	for _, r := range s.out.Replies {
		b.WriteString(formatReply(r.Response) + "\n")
	}
	for _, r := range s.out.Records {
		b.WriteString("  " + formatRecord(r) + "\n")
	}
	return b.String()
}

func formatReply(resp kmsg.Response) string {
	switch r := resp.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.ErrorCode != 0 {
			return fmt.Sprintf("%s: %s", errorName(r.ErrorCode), *r.ErrorMessage)
		}
		line := fmt.Sprintf("%s epoch=%d", *r.MemberID, r.MemberEpoch)
		if r.Assignment != nil {
			var a assignment
			for _, t := range r.Assignment.Topics {
				a = append(a, topicParts{id: t.TopicID, parts: t.Partitions})
			}
			line += " assigned=" + a.String()
		}
		return line
	case *kmsg.JoinGroupResponse:
		return fmt.Sprintf("join: %s %s generation=%d", errorName(r.ErrorCode), r.MemberID, r.Generation)
	case *kmsg.SyncGroupResponse:
		a := kmsg.NewConsumerMemberAssignment()
		_ = a.ReadFrom(r.MemberAssignment)
		line := fmt.Sprintf("sync: %s", errorName(r.ErrorCode))
		for _, t := range a.Topics {
			line += fmt.Sprintf(" %s:%v", t.Topic, t.Partitions)
		}
		return line
	case *kmsg.HeartbeatResponse:
		return "heartbeat: " + errorName(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		line := "leave: " + errorName(r.ErrorCode)
		for _, m := range r.Members {
			line += fmt.Sprintf(" %s=%s", m.MemberID, errorName(m.ErrorCode))
		}
		return line
	}
	return fmt.Sprintf("%T", resp)
}

// String is "a:0-2 b:1"; with the epochs at which partitions were given, when there are any that differ.
func (a assignment) String() string {
	var topics []string
	for _, t := range a {
		var runs []string
		for i := 0; i < len(t.parts); {
			j := i
			for j+1 < len(t.parts) && t.parts[j+1] == t.parts[j]+1 && t.epoch(j+1) == t.epoch(i) {
				j++
			}
			run := strconv.Itoa(int(t.parts[i]))
			if j > i {
				run += "-" + strconv.Itoa(int(t.parts[j]))
			}
			if t.epochs != nil {
				run += "@" + strconv.Itoa(int(t.epochs[i]))
			}
			runs = append(runs, run)
			i = j + 1
		}
		topics = append(topics, nameOf(t.id)+":"+strings.Join(runs, ","))
	}
	return "[" + strings.Join(topics, " ") + "]"
}

func formatRecord(r Record) string {
	kind, _, err := recordKey(r.Key)
	if err != nil {
		return err.Error()
	}
	if kind == 2 {
		return map[bool]string{true: "classic group: deleted", false: "classic group"}[r.Value == nil]
	}
	second := must(splitConsumerKey(kind, r.Key))
	name := map[int16]string{3: "group", 4: "partition metadata", 5: "member", 6: "target", 7: "target of", 8: "assignment of", 16: "regex"}[kind]
	if second != "" {
		name += " " + second
	}
	if r.Value == nil {
		return name + ": deleted"
	}
	return name + ": " + formatValue(kind, r.Value)
}

func formatValue(kind int16, value []byte) string {
	var m memberData
	switch kind {
	case keyGroupMetadata:
		epoch, _, err := decodeEpochAndMillis(kind, value)
		return fmt.Sprintf("epoch %d%s", epoch, orError(err))
	case keyTargetMetadata:
		epoch, at, err := decodeEpochAndMillis(kind, value)
		return fmt.Sprintf("epoch %d at %d%s", epoch, at, orError(err))
	case keyTargetMember:
		a, err := decodeTargetMember(value)
		return a.String() + orError(err)
	case keyMemberMetadata:
		err := decodeMemberMetadata(value, &m)
		return formatMetadata(&m) + orError(err)
	case keyCurrentAssignment:
		err := decodeCurrentAssignment(value, &m)
		return formatAssignment(&m) + orError(err)
	case keyRegularExpression:
		topics, _, _, err := decodeRegex(value)
		return fmt.Sprint(topics) + orError(err)
	}
	return fmt.Sprintf("%d bytes", len(value))
}

func orError(err error) string {
	if err != nil {
		return " " + err.Error()
	}
	return ""
}

func formatMetadata(m *memberData) string {
	out := fmt.Sprintf("%v rebalance=%d", m.names, m.rebalanceMillis)
	for name, v := range map[string]*string{"instance": m.instance} {
		if v != nil {
			out += fmt.Sprintf(" %s=%s", name, *v)
		}
	}
	if m.rack != nil {
		out += " rack=" + *m.rack
	}
	if m.assignor != nil {
		out += " assignor=" + *m.assignor
	}
	if m.regex != "" {
		out += " regex=" + m.regex
	}
	if m.classic != nil {
		out += fmt.Sprintf(" classic=%s/%d", *m.classic.name(), m.classic.sessionMillis)
	}
	return out
}

func formatAssignment(m *memberData) string {
	state := map[memberState]string{stateReconciled: "STABLE", stateUnrevoked: "UNREVOKED", stateUnreleased: "UNRELEASED", unknownState: "UNKNOWN"}[m.state]
	out := fmt.Sprintf("epoch %d (was %d) %s %s", m.epoch, m.previous, state, m.owned)
	if len(m.revoking) > 0 {
		out += " revoking " + m.revoking.String()
	}
	return out
}

// describeGroup is the whole state that records must be able to bring back.
func describeGroup(g *Group, topics Topics) string {
	var b strings.Builder
	l := g.Listing()
	fmt.Fprintf(&b, "%s %s", l.Type, l.State)
	if g.consumer == nil {
		if g.classic != nil {
			fmt.Fprintf(&b, " generation=%d members=%d", g.classic.generation, len(g.classic.members))
		}
		return b.String()
	}
	c := g.consumer
	fmt.Fprintf(&b, " epoch=%d assignment=%d at %d assignor=%s\n", c.epoch, c.assignmentEpoch, c.assignmentMillis, c.assignorName())
	for _, id := range c.memberIDs() {
		m := c.members[id]
		fmt.Fprintf(&b, "%s: %s\n  %s\n  target %s\n", id, formatMetadata(&m.memberData), formatAssignment(&m.memberData), c.target[id])
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.regexes)) {
		r := c.regexes[pattern]
		fmt.Fprintf(&b, "regex %s of %d: %v\n", pattern, r.members, r.topics)
	}
	return b.String()
}

// restart makes the group again from its records: in the order of the log, and as a compacted log in the order of keys has them.
// Both must give what the group was.
func (s *consumerScript) restart(t *testing.T, d *datadriven.TestData) string {
	want := describeGroup(s.group, &s.topics)
	latest := map[string]Record{}
	again := New("g", &s.cfg)
	for _, r := range s.records {
		latest[string(r.Key)] = r
		if err := again.Replay(r); err != nil {
			d.Fatalf(t, "replay: %v", err)
		}
	}
	if got := describeGroup(again, &s.topics); got != want {
		d.Fatalf(t, "replayed:\n%s\nwas:\n%s", got, want)
	}
	again = New("g", &s.cfg)
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		if r := latest[key]; r.Value != nil {
			if err := again.Replay(r); err != nil {
				d.Fatalf(t, "replay: %v", err)
			}
		}
	}
	if got := describeGroup(again, &s.topics); got != want {
		d.Fatalf(t, "replayed in key order:\n%s\nwas:\n%s", got, want)
	}
	again.Loaded(s.now, &s.topics)
	s.group = again
	return want
}

func (s *consumerScript) offsets(d *datadriven.TestData) string {
	member := d.CmdArgs[0].Key
	epoch := int32(intOf(d, "epoch", -1))
	if d.Cmd == "fetch" {
		return errorName(s.group.FetchAllowed(member, epoch))
	}
	q := CommitCheck{Member: member, Epoch: epoch, Version: int16(intOf(d, "version", 9))}
	if member == "nobody" {
		q.Member = ""
	}
	code := s.group.CommitAllowed(q, s.now)
	if v, ok := argOf(d, "partition"); ok && code == 0 {
		p := partitionsOf(v)[0]
		code = s.group.CommitPartitionAllowed(q, p.TopicID, p.Partitions[0])
	}
	return errorName(code)
}

// classic is the requests of the classic protocol.
func (s *consumerScript) classic(t *testing.T, d *datadriven.TestData) string {
	var req kmsg.Request
	id := ""
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		id = d.CmdArgs[0].Key
	}
	generation := int32(intOf(d, "generation", 0))
	if m := s.memberOf(id); m != nil && generation == 0 {
		generation = m.epoch
	}
	if s.group.classic != nil && generation == 0 {
		generation = s.group.classic.generation
	}
	switch d.Cmd {
	case "classic-join":
		req = classicJoinOf(d, id)
	case "classic-sync":
		r := kmsg.NewPtrSyncGroupRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 5, "g", id, generation, stringOf(d, "instance")
		protocolType, protocol := "consumer", "range"
		r.ProtocolType, r.Protocol = &protocolType, &protocol
		for _, line := range split(d.Input, "\n") {
			member, parts, _ := strings.Cut(line, " ")
			a := kmsg.NewConsumerMemberAssignment()
			for _, p := range partitionsOf(parts) {
				a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: nameOf(p.TopicID), Partitions: p.Partitions})
			}
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: member, MemberAssignment: a.AppendTo(nil)})
		}
		req = r
	case "classic-heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.Generation, r.InstanceID = 4, "g", id, generation, stringOf(d, "instance")
		req = r
	case "classic-leave":
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version, r.Group = 5, "g"
		for _, a := range d.CmdArgs {
			m := kmsg.LeaveGroupRequestMember{MemberID: a.Key}
			if a.Key == "instance" {
				m = kmsg.LeaveGroupRequestMember{InstanceID: &a.Vals[0]}
			}
			r.Members = append(r.Members, m)
		}
		req = r
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	s.calls++
	s.group.Step(s.now, s.calls, req, Client{ID: "old", Host: "/127.0.0.1"}, &s.topics, &s.out)
	return s.said()
}

func classicJoinOf(d *datadriven.TestData, id string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.InstanceID = 9, "g", id, stringOf(d, "instance")
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10000, 30000
	r.ProtocolType = "consumer"
	if v, ok := argOf(d, "type"); ok {
		r.ProtocolType = v
	}
	sub := kmsg.NewConsumerMemberMetadata()
	sub.Version = 3
	if v, ok := argOf(d, "topics"); ok {
		sub.Topics = split(v, ",")
	}
	if v, ok := argOf(d, "owned"); ok {
		for _, p := range partitionsOf(v) {
			sub.OwnedPartitions = append(sub.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: nameOf(p.TopicID), Partitions: p.Partitions})
		}
	}
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", sub.AppendTo(nil)
	if v, ok := argOf(d, "protocol"); ok {
		p.Name = v
	}
	r.Protocols = append(r.Protocols, p)
	return r
}

// checkConsumer is what is true of a group after every step.
func checkConsumer(t testing.TB, g *Group) {
	t.Helper()
	if g.classic != nil && g.consumer != nil {
		t.Fatal("a group of both types")
	}
	c := g.consumer
	if c == nil {
		return
	}
	owners := map[partitionKey]string{}
	for id, m := range c.members {
		for _, a := range []assignment{m.owned, m.revoking} {
			a.each(func(topic topicID, p int32) {
				key := partitionKey{topic, p}
				if other, ok := owners[key]; ok {
					t.Fatalf("%s-%d is of %s and %s", nameOf(topic), p, other, id)
				}
				owners[key] = id
			})
		}
		if !c.timers.holds(m) || m.session.IsZero() {
			t.Fatalf("member %s has no session", id)
		}
		if m.at.After(m.earliest()) {
			t.Fatalf("member %s would be late: %v after %v", id, m.at, m.earliest())
		}
	}
	if !maps.Equal(owners, c.owners) {
		t.Fatalf("owners %v, of members %v", c.owners, owners)
	}
	derived := *c
	derived.underived = true
	derived.regexes = map[string]*regexSubscription{}
	for k, v := range c.regexes {
		copied := *v
		derived.regexes[k] = &copied
	}
	derived.derive()
	if !maps.Equal(derived.names, c.names) || !maps.Equal(derived.statics, c.statics) || !maps.Equal(derived.assignors, c.assignors) ||
		!maps.Equal(derived.protocols, c.protocols) || derived.classicMembers != c.classicMembers {
		t.Fatal("derived state is not what members make")
	}
	for k, v := range c.regexes {
		if derived.regexes[k].members != v.members || v.members == 0 {
			t.Fatalf("regex %s of %d members, counted %d", k, v.members, derived.regexes[k].members)
		}
	}
	for i := range c.timers {
		if i > 0 && c.timers[i].at.Before(c.timers[(i-1)/2].at) || c.timers[i].index != i {
			t.Fatal("the heap of timers is no heap")
		}
	}
}
