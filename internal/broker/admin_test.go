package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/disk"
)

func createRequest(validateOnly bool, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.ValidateOnly = topics, validateOnly
	return req
}

func creatable(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

func text(s *string) string {
	if s == nil {
		return "<nil>"
	}
	return *s
}

func TestCreateTopics(t *testing.T) {
	s := newStack(t)
	for version := int16(2); version <= 7; version++ {
		name := fmt.Sprintf("t%d", version)
		resp := s.do(createRequest(false, creatable(name, 3, "retention.ms", "5"), creatable("dup", 1), creatable("dup", 1),
			creatable("bad name", 1), creatable("__cluster_metadata", 1)), version).(*kmsg.CreateTopicsResponse)
		var got []string
		for _, x := range resp.Topics {
			got = append(got, fmt.Sprintf("%s %d %s", x.Topic, x.ErrorCode, text(x.ErrorMessage)))
		}
		want := []string{
			name + " 0 <nil>",
			"bad name 17 Topic name is invalid: 'bad name' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
			"__cluster_metadata 42 Creation of internal topic __cluster_metadata is prohibited.",
			"dup 42 Duplicate topic name.",
		}
		if !slices.Equal(got, want) {
			t.Fatalf("version %d: got %q\nwant %q", version, got, want)
		}
		topic := s.b.topicByName(name)
		if topic == nil || len(topic.Partitions) != 3 {
			t.Fatalf("version %d: got %+v", version, topic)
		}
		ok := resp.Topics[0]
		if version >= 7 && ok.TopicID != topic.ID {
			t.Errorf("version %d: id %x, want %x", version, ok.TopicID, topic.ID)
		}
		if version < 5 {
			continue
		}
		if ok.NumPartitions != 3 || ok.ReplicationFactor != 1 || len(ok.Configs) < 20 || resp.Topics[1].NumPartitions != -1 {
			t.Errorf("version %d: got %+v", version, ok)
		}
		for _, c := range ok.Configs {
			if c.Name == "retention.ms" && (text(c.Value) != "5" || c.Source != 1) || c.Name == "segment.bytes" && (text(c.Value) != "1073741824" || c.Source != 5) {
				t.Errorf("got %s=%s from %d", c.Name, text(c.Value), c.Source)
			}
		}
	}
	resp := s.do(createRequest(true, creatable("only", 1)), 7).(*kmsg.CreateTopicsResponse)
	if resp.Topics[0].ErrorCode != 0 || s.b.topicByName("only") != nil {
		t.Errorf("validating made a topic: %+v", resp.Topics[0])
	}
	resp = s.do(createRequest(false, creatable("t2", 1)), 7).(*kmsg.CreateTopicsResponse)
	if x := resp.Topics[0]; x.ErrorCode != 36 || text(x.ErrorMessage) != "Topic 't2' already exists." {
		t.Errorf("got %d %s", x.ErrorCode, text(x.ErrorMessage))
	}
}

func deleteRequest(topics ...kmsg.DeleteTopicsRequestTopic) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = topics
	return req
}

func doomed(name string, id [16]byte) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	if name != "" {
		t.Topic = &name
	}
	t.TopicID = id
	return t
}

func TestDeleteTopics(t *testing.T) {
	s := newStack(t)
	a, b, c, d := s.topic("a", 1), s.topic("b", 1), s.topic("c", 1), s.topic("d", 1)
	unknown := [16]byte{3: 9}
	resp := s.do(deleteRequest(
		doomed("", [16]byte{}), doomed("a", a.ID), doomed("b", [16]byte{}), doomed("", c.ID), doomed("c", [16]byte{}),
		doomed("nope", [16]byte{}), doomed("d", [16]byte{}), doomed("d", [16]byte{}), doomed("", unknown),
		doomed("", [16]byte{7}), doomed("", [16]byte{7}),
	), 6).(*kmsg.DeleteTopicsResponse)
	var got []string
	for _, x := range resp.Topics {
		got = append(got, fmt.Sprintf("%s %x %d %s", text(x.Topic), x.TopicID[:4], x.ErrorCode, text(x.ErrorMessage)))
	}
	slices.Sort(got)
	want := []string{
		"<nil> 00000000 42 Neither topic name nor id were specified.",
		"<nil> 00000009 100 This server does not host this topic ID.",
		"<nil> 07000000 42 Duplicate topic id.",
		fmt.Sprintf("a %x 42 You may not specify both topic name and topic id.", a.ID[:4]),
		fmt.Sprintf("b %x 0 <nil>", b.ID[:4]),
		fmt.Sprintf("c %x 42 The provided topic name maps to an ID that was already supplied.", c.ID[:4]),
		"d 00000000 42 Duplicate topic name.",
		"nope 00000000 3 This server does not host this topic-partition.",
	}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("got %q\nwant %q", got, want)
		}
	}
	if s.b.topicByName("b") != nil || s.b.topicByName("c") != c || s.b.topicByName("d") != d {
		t.Error("the wrong topics are gone")
	}
	resp = s.do(deleteRequest(doomed("", c.ID)), 6).(*kmsg.DeleteTopicsResponse)
	if x := resp.Topics[0]; x.ErrorCode != 0 || text(x.Topic) != "c" || x.TopicID != c.ID || s.b.topicByName("c") != nil {
		t.Errorf("got %+v", x)
	}
	old := kmsg.NewPtrDeleteTopicsRequest()
	old.TopicNames = []string{"d", "nope"}
	resp = s.do(old, 1).(*kmsg.DeleteTopicsResponse)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != 3 || text(resp.Topics[1].Topic) != "d" || resp.Topics[1].ErrorCode != 0 {
		t.Errorf("got %+v", resp.Topics)
	}
}

func TestDeleteTopicsDisabled(t *testing.T) {
	fs := disk.NewMem()
	s := newStackOn(t, fs)
	s.topic("a", 1)
	if err := fs.MkdirAll("other"); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(catalog.Options{FS: fs, Dir: "other", NodeID: 1, Static: []catalog.StaticConfig{
		{Name: "delete.topic.enable", Value: "false", Default: "true", Explicit: true, Type: catalog.TypeBoolean}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	s.b.o.Catalog = cat
	for version, want := range map[int16]int16{1: 42, 3: 73, 6: 73} {
		req := deleteRequest(doomed("a", [16]byte{}))
		req.TopicNames = []string{"a"}
		resp := s.do(req, version).(*kmsg.DeleteTopicsResponse)
		if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != want || text(resp.Topics[0].Topic) != "a" {
			t.Errorf("version %d: got %+v", version, resp.Topics)
		}
	}
}

func TestDeleteRecords(t *testing.T) {
	s := newStack(t)
	topic := s.topic("a", 2)
	s.fill(topic, 0, 5, "x")
	ask := func(name string, index int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 0 // is for other replicas: there are none
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Partition, rp.Offset = index, offset
		rt.Topic, rt.Partitions = name, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp := s.do(req, 2).(*kmsg.DeleteRecordsResponse)
		return resp.Topics[0].Partitions[0]
	}
	for _, x := range []struct {
		topic  string
		index  int32
		offset int64
		code   int16
		low    int64
	}{
		{"a", 0, 3, 0, 3}, {"a", 0, 1, 0, 3}, {"a", 0, 6, 1, -1}, {"a", 0, -2, 1, -1}, {"a", 0, -1, 0, 5}, {"a", 1, -1, 0, 0},
		{"a", 9, 0, 3, -1}, {"nope", 0, 0, 3, -1}, {"a b", 0, 0, 3, -1},
	} {
		if p := ask(x.topic, x.index, x.offset); p.ErrorCode != x.code || p.LowWatermark != x.low || p.Partition != x.index {
			t.Errorf("%+v: got code %d, low watermark %d", x, p.ErrorCode, p.LowWatermark)
		}
	}
	s.topic("__consumer_offsets", 1)
	if p := ask("__consumer_offsets", 0, -1); p.ErrorCode != 17 {
		t.Errorf("records of an internal topic: code %d", p.ErrorCode)
	}
	s.topic("compacted", 1, "cleanup.policy", "compact")
	s.topic("both", 1, "cleanup.policy", "compact,delete")
	if p := ask("compacted", 0, -1); p.ErrorCode != codePolicyViolation || p.LowWatermark != -1 {
		t.Errorf("records of a topic that is only compacted: code %d", p.ErrorCode)
	}
	if p := ask("both", 0, -1); p.ErrorCode != 0 || p.LowWatermark != 0 {
		t.Errorf("records of a topic that is compacted and deleted: code %d", p.ErrorCode)
	}
}

func TestCreatePartitions(t *testing.T) {
	s := newStack(t)
	topic := s.topic("a", 2)
	s.fill(topic, 1, 3, "x")
	req := kmsg.NewPtrCreatePartitionsRequest()
	for _, x := range []struct {
		name  string
		count int32
	}{{"a", 5}, {"nope", 3}, {"twice", 2}, {"twice", 2}} {
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = x.name, x.count
		req.Topics = append(req.Topics, rt)
	}
	req.ValidateOnly = true
	s.do(req, 3)
	if got := s.b.topicByName("a"); len(got.Partitions) != 2 {
		t.Fatalf("validating made partitions: %d", len(got.Partitions))
	}
	req.ValidateOnly = false
	resp := s.do(req, 3).(*kmsg.CreatePartitionsResponse)
	var got []string
	for _, x := range resp.Topics {
		got = append(got, fmt.Sprintf("%s %d %s", x.Topic, x.ErrorCode, text(x.ErrorMessage)))
	}
	if want := []string{"twice 42 Duplicate topic name.", "a 0 <nil>", "nope 3 <nil>"}; !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
	grown := s.b.topicByName("a")
	if len(grown.Partitions) != 5 || grown.Partitions[1] != topic.Partitions[1] || len(topic.Partitions) != 2 {
		t.Fatal("growing changed the partitions that were there, or a topic that is in use")
	}
	s.fill(grown, 4, 1, "y")
}

func configRequest(typ kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = typ, name, keys
	req.Resources = append(req.Resources, r)
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	return req
}

func TestDescribeConfigs(t *testing.T) {
	s := newStack(t)
	s.topic("a", 1, "retention.ms", "1000")
	for version := int16(1); version <= 4; version++ {
		resp := s.do(configRequest(2, "a", "retention.ms", "segment.bytes", "nosuch"), version).(*kmsg.DescribeConfigsResponse)
		r := resp.Resources[0]
		if r.ErrorCode != 0 || text(r.ErrorMessage) != "" || len(r.Configs) != 2 {
			t.Fatalf("version %d: got %+v", version, r)
		}
		retention, segment := r.Configs[0], r.Configs[1]
		if text(retention.Value) != "1000" || retention.Source != kmsg.ConfigSourceDynamicTopicConfig || len(retention.ConfigSynonyms) != 1 {
			t.Errorf("version %d: got %+v", version, retention)
		}
		if text(segment.Value) != "1073741824" || segment.Source != kmsg.ConfigSourceDefaultConfig || segment.ConfigSynonyms[0].Name != "log.segment.bytes" {
			t.Errorf("version %d: got %+v", version, segment)
		}
		if version >= 3 && (segment.ConfigType != kmsg.ConfigTypeInt || text(segment.Documentation) == "") {
			t.Errorf("version %d: got type %d, doc %s", version, segment.ConfigType, text(segment.Documentation))
		}
	}
	for _, x := range []struct {
		typ     kmsg.ConfigResourceType
		name    string
		code    int16
		message string
	}{
		{2, "nope", 3, ""}, {2, "a b", 17, "Topic name is invalid: 'a b'"}, {2, "", 17, "Topic name is invalid: the empty string"},
		{4, "9", 42, "Unexpected broker id, expected 1 or empty string, but received 9"}, {4, "x", 42, "Broker id must be an integer, but it is: x"},
		{4, "1", 0, ""}, {4, "", 0, ""}, {8, "", 42, "Broker id must not be empty"}, {8, "7", 42, "Unexpected broker id, expected 1 but received 7"}, {8, "1", 0, ""},
		{16, "", 42, "Client metrics subscription name must not be empty"}, {16, "x", 0, ""}, {32, "", 42, "Group name must not be empty"},
		{0, "x", 42, "Unsupported resource type: 0"}, {77, "x", 42, "Unsupported resource type: 77"},
	} {
		r := s.do(configRequest(x.typ, x.name), 4).(*kmsg.DescribeConfigsResponse).Resources[0]
		if r.ErrorCode != x.code || !strings.HasPrefix(text(r.ErrorMessage), x.message) || r.ResourceName != x.name {
			t.Errorf("%d %q: got %d %s", x.typ, x.name, r.ErrorCode, text(r.ErrorMessage))
		}
	}
}

// TestDescribeConfigsIsBounded: a small request cannot make an answer of any size.
func TestDescribeConfigsIsBounded(t *testing.T) {
	s := newStack(t)
	s.topic("a", 1)
	req := configRequest(2, "a")
	for range 20_000 {
		req.Resources = append(req.Resources, req.Resources[0])
	}
	entries, refused := 0, 0
	for _, r := range s.do(req, 4).(*kmsg.DescribeConfigsResponse).Resources {
		entries += len(r.Configs)
		if r.ErrorCode == codePolicyViolation {
			refused++
		}
	}
	if entries > describedEntriesMax || entries < describedEntriesMax-100 || refused == 0 {
		t.Errorf("got %d entries, %d resources refused", entries, refused)
	}
}

// TestAlterIsInForce changes a topic and a broker default and sees the effect in the log, not only in the words.
func TestAlterIsInForce(t *testing.T) {
	s := newStack(t)
	topic := s.topic("a", 1)
	alter := func(typ kmsg.ConfigResourceType, name, key, value string) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = typ, name
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = key, &value
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		return s.do(req, 1).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}
	big := build(t, plain(1), 0, strings.Repeat("x", 5000))
	if p := s.produce(topic, 0, slices.Clone(big)); p.ErrorCode != 0 {
		t.Fatalf("code %d", p.ErrorCode)
	}
	if code := alter(4, "", "message.max.bytes", "4000"); code != 0 {
		t.Fatalf("code %d", code)
	}
	if p := s.produce(topic, 0, slices.Clone(big)); p.ErrorCode != codeMessageTooLarge {
		t.Fatalf("the broker's default is not in force: code %d", p.ErrorCode)
	}
	if code := alter(2, "a", "max.message.bytes", "9000"); code != 0 {
		t.Fatalf("code %d", code)
	}
	if p := s.produce(topic, 0, slices.Clone(big)); p.ErrorCode != 0 {
		t.Fatalf("the topic's value is not in force: code %d", p.ErrorCode)
	}
	if code := alter(2, "a", "nosuch", "1"); code != codeInvalidConfig {
		t.Errorf("an unknown key: code %d", code)
	}

	legacy := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "a"
	legacy.Resources = append(legacy.Resources, r)
	if x := s.do(legacy, 2).(*kmsg.AlterConfigsResponse).Resources[0]; x.ErrorCode != 0 || x.ErrorMessage != nil {
		t.Fatalf("got %+v", x)
	}
	if p := s.produce(topic, 0, slices.Clone(big)); p.ErrorCode != codeMessageTooLarge {
		t.Fatalf("an alter that names no key does not reset them: code %d", p.ErrorCode)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	s := newStack(t)
	a := s.topic("a", 3)
	s.topic("b", 1)
	s.fill(a, 1, 2, "hello")
	all := kmsg.NewPtrDescribeLogDirsRequest()
	dir := s.do(all, 5).(*kmsg.DescribeLogDirsResponse).Dirs[0]
	if dir.ErrorCode != 0 || dir.Dir != stackDir || len(dir.Topics) != 2 || len(dir.Topics[0].Partitions) != 3 || dir.UsableBytes <= 0 {
		t.Fatalf("got %+v", dir)
	}
	want, err := a.Partitions[1].SizeBytes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range dir.Topics[0].Partitions {
		if p.Partition != int32(i) || (p.Size > 0) != (i == 1) || i == 1 && p.Size != want {
			t.Errorf("got %+v, want %d bytes in 1", p, want)
		}
	}
	if a.Partitions[0].Loaded() {
		t.Error("asking for sizes loads partitions")
	}
	some := kmsg.NewPtrDescribeLogDirsRequest()
	for _, name := range []string{"a", "nope"} {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = name, []int32{0, 7, 0, -1}
		some.Topics = append(some.Topics, rt)
	}
	dir = s.do(some, 4).(*kmsg.DescribeLogDirsResponse).Dirs[0]
	if len(dir.Topics) != 1 || len(dir.Topics[0].Partitions) != 1 {
		t.Errorf("got %+v", dir.Topics)
	}
	some.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	if dir = s.do(some, 1).(*kmsg.DescribeLogDirsResponse).Dirs[0]; len(dir.Topics) != 0 {
		t.Errorf("got %+v", dir.Topics)
	}
}

func TestDescribeCluster(t *testing.T) {
	s := newStack(t)
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType, req.IncludeClusterAuthorizedOperations = 1, true
		resp := s.do(req, version).(*kmsg.DescribeClusterResponse)
		if resp.ErrorCode != 0 || resp.ClusterID != s.catalog.ClusterID() || resp.ControllerID != 1 || resp.ClusterAuthorizedOperations != operationsCluster {
			t.Fatalf("version %d: got %+v", version, resp)
		}
		if n := resp.Brokers[0]; n.NodeID != 1 || n.Host != "localhost" || n.Port != 9092 || n.IsFenced {
			t.Errorf("got %+v", n)
		}
	}
	for typ, want := range map[int8]int16{0: 115, 2: 114, 3: 115} {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType = typ
		resp := s.do(req, 1).(*kmsg.DescribeClusterResponse)
		if resp.ErrorCode != want || resp.ErrorMessage == nil || len(resp.Brokers) != 0 {
			t.Errorf("type %d: got %+v", typ, resp)
		}
	}
}

// configResources is what ListConfigResources answers.
func (s *stack) configResources(version int16, types ...int8) string {
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = types
	resp := s.do(req, version).(*kmsg.ListConfigResourcesResponse)
	out := fmt.Sprint(resp.ErrorCode)
	for _, r := range resp.ConfigResources {
		out += fmt.Sprint(" ", r.Type, " ", r.Name)
	}
	return out
}

func TestListConfigResources(t *testing.T) {
	s := newStack(t)
	s.topic("b", 1)
	s.topic("a", 1)
	if got := s.alterGroup("g", kmsg.IncrementalAlterConfigOpSet, "consumer.session.timeout.ms", "50000", false); got != "0" {
		t.Fatal(got)
	}
	for _, x := range []struct {
		version int16
		types   []int8
		want    string
	}{
		{0, nil, "0"}, {1, nil, "0 4 1 8 1 32 g 2 a 2 b"}, {1, []int8{2}, "0 2 a 2 b"}, {1, []int8{4, 8, 16, 32}, "0 4 1 8 1 32 g"},
		{1, []int8{77}, "35"},
	} {
		if got := s.configResources(x.version, x.types...); got != x.want {
			t.Errorf("%+v: got %s", x, got)
		}
	}
}

// TestDescribeTopicPartitions compares with what Apache Kafka 4.3.1 answered to the same requests.
func TestDescribeTopicPartitions(t *testing.T) {
	s := newStack(t)
	s.topic("a.b", 1)
	s.topic("t1", 3)
	s.topic("t2", 1)
	for _, x := range []struct {
		name   string
		limit  int32
		cursor string
		index  int32
		topics []string
		want   string
	}{
		{"all", 2000, "", 0, nil, "a.b[0] t1[0 1 2] t2[0]"},
		{"limit", 2, "", 0, nil, "a.b[0] t1[0] next t1 1"},
		{"limit 0 is 1", 0, "", 0, nil, "a.b[0] next t1 0"},
		{"names", 3, "", 0, []string{"t1", "nope", "a.b", "t1"}, "a.b[0] nope! 3 t1[0 1] next t1 2"},
		{"cursor", 2, "t1", 2, nil, "t1[2] t2[0]"},
		{"cursor in list", 2, "t1", 1, []string{"t1", "a.b"}, "t1[1 2]"},
		{"cursor not in list", 2, "zz", 1, []string{"t1"}, "t1! 42"},
		{"negative cursor", 2, "t1", -1, nil, ""},
		{"cursor past the end", 2, "t1", 50, []string{"t1"}, "t1[]"},
		{"cursor of no topic", 2, "b", 0, nil, "t1[0 1] next t1 2"},
		{"exactly full", 4, "", 0, []string{"a.b", "t1"}, "a.b[0] t1[0 1 2]"},
		{"full before an unknown one", 1, "", 0, []string{"a.b", "nope"}, "a.b[0] next nope 0"},
		{"bad name", 2, "", 0, []string{"a b"}, "a b! 17"},
	} {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = x.limit
		if x.cursor != "" {
			c := kmsg.NewDescribeTopicPartitionsRequestCursor()
			c.Topic, c.Partition = x.cursor, x.index
			req.Cursor = &c
		}
		for _, name := range x.topics {
			rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
			rt.Topic = name
			req.Topics = append(req.Topics, rt)
		}
		if got := describedText(s.do(req, 0).(*kmsg.DescribeTopicPartitionsResponse)); got != x.want {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

func describedText(resp *kmsg.DescribeTopicPartitionsResponse) string {
	var out []string
	for _, topic := range resp.Topics {
		if topic.ErrorCode != 0 {
			out = append(out, fmt.Sprintf("%s! %d", text(topic.Topic), topic.ErrorCode))
			continue
		}
		indexes := []int32{}
		for _, p := range topic.Partitions {
			if p.LeaderID != 1 || !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) {
				return fmt.Sprintf("bad partition %+v", p)
			}
			indexes = append(indexes, p.Partition)
		}
		out = append(out, fmt.Sprintf("%s%v", text(topic.Topic), indexes))
	}
	if resp.NextCursor != nil {
		out = append(out, fmt.Sprintf("next %s %d", resp.NextCursor.Topic, resp.NextCursor.Partition))
	}
	return strings.Join(out, " ")
}
