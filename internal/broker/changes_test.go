package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// logged returns the lines that a request leaves in the broker's log, without their time.
func (s *stack) logged(req kmsg.Request, version int16) string {
	s.tb.Helper()
	var out bytes.Buffer
	before := s.b.log
	s.b.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	defer func() { s.b.log = before }()
	s.do(req, version)
	return strings.TrimSpace(out.String())
}

// retentionOnly sets retention.ms of a topic and unsets segment.bytes.
func retentionOnly(name, retention string, validateOnly bool) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
	set, unset := kmsg.NewIncrementalAlterConfigsRequestResourceConfig(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	set.Name, set.Value = "retention.ms", &retention
	unset.Name, unset.Op = "segment.bytes", kmsg.IncrementalAlterConfigOpDelete
	r.Configs = append(r.Configs, set, unset)
	req.Resources = append(req.Resources, r)
	return req
}

func TestChangesAreLogged(t *testing.T) {
	s := newStack(t)
	s.topic("old", 2)
	s.topic("doomed", 1)
	value := strings.Repeat("9", 2*changeValueBytesMax)
	hour := "3600000"
	alter := kmsg.NewPtrAlterConfigsRequest()
	resource := kmsg.NewAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "old"
	only := kmsg.NewAlterConfigsRequestResourceConfig()
	only.Name, only.Value = "retention.ms", &hour
	resource.Configs = append(resource.Configs, only)
	alter.Resources = append(alter.Resources, resource)
	deletion := kmsg.NewPtrDeleteTopicsRequest()
	deletion.TopicNames = []string{"doomed", "not there"}
	deletion.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("doomed")}, {Topic: kmsg.StringPtr("not there")}}
	many := make([]kmsg.CreateTopicsRequestTopic, changesNamedMax+3)
	for i := range many {
		many[i] = creatable("many"+string(rune('a'+i)), 1)
	}
	partitions := kmsg.NewPtrCreatePartitionsRequest()
	more := kmsg.NewCreatePartitionsRequestTopic()
	more.Topic, more.Count = "old", 5
	partitions.Topics = append(partitions.Topics, more)
	records := kmsg.NewPtrDeleteRecordsRequest()
	cut := kmsg.NewDeleteRecordsRequestTopic()
	cut.Topic, cut.Partitions = "old", []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 1, Offset: 0}, {Partition: 9}}
	records.Topics = append(records.Topics, cut)

	const who = `client=test address=127.0.0.1:5000`
	for _, c := range []struct {
		name    string
		req     kmsg.Request
		version int16
		want    string
	}{
		{"create", createRequest(false, creatable("new", 1), creatable("bad name", 1)), 7, `level=INFO msg="topics created" which=new ` + who},
		{"validate", createRequest(true, creatable("newer", 1)), 7, ""},
		{"refused", createRequest(false, creatable("new", 1)), 7, ""},
		{"configs", retentionOnly("old", hour, false), 1, `level=INFO msg="configuration changed" which="topic old: retention.ms=3600000, segment.bytes unset" ` + who},
		{"configs, validated", retentionOnly("old", hour, true), 1, ""},
		{"configs, all", alter, 2, `level=INFO msg="configuration changed" which="topic old: only retention.ms=3600000" ` + who},
		{"partitions", partitions, 3, `level=INFO msg="partitions added" which="old now 5" ` + who},
		{"records", records, 2, `level=INFO msg="records deleted" which="old-1 before 0" ` + who},
		{"delete", deletion, 6, `level=INFO msg="topics deleted" which=doomed ` + who},
		{"many", createRequest(false, many...), 7, ""},
	} {
		got := s.logged(c.req, c.version)
		if c.name == "many" {
			if !strings.Contains(got, "manya, manyb") || !strings.Contains(got, "manyt and 3 more") {
				t.Errorf("%s: got %q", c.name, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
	if got := clipped(value); len(got) != changeValueBytesMax+len("...") {
		t.Errorf("got %d bytes of a value", len(got))
	}
}

func TestTransactionsAreLogged(t *testing.T) {
	s := newStack(t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys, find.CoordinatorKey = coordinatorTransaction, []string{"payments"}, "payments"
	got := s.logged(find, 6)
	if !strings.Contains(got, "level=WARN") || !strings.Contains(got, "transactional_id=payments") {
		t.Errorf("got %q", got)
	}
}
