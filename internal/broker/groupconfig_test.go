package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describedGroup is one key of a group, and the sources of its synonyms.
func (s *stack) describedGroup(group, key string) string {
	req := configRequest(kmsg.ConfigResourceTypeGroupConfig, group, key)
	r := s.do(req, 4).(*kmsg.DescribeConfigsResponse).Resources[0]
	if r.ErrorCode != 0 || len(r.Configs) != 1 {
		return fmt.Sprintf("%d %s, %d keys", r.ErrorCode, text(r.ErrorMessage), len(r.Configs))
	}
	c := r.Configs[0]
	out := fmt.Sprintf("%s from %d, read-only %v, type %d:", text(c.Value), c.Source, c.ReadOnly, c.ConfigType)
	for _, y := range c.ConfigSynonyms {
		out += fmt.Sprintf(" %s=%s from %d", y.Name, text(y.Value), y.Source)
	}
	return out
}

func (s *stack) alterGroup(group string, op kmsg.IncrementalAlterConfigOp, key, value string, validateOnly bool) string {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op = key, op
	if op != kmsg.IncrementalAlterConfigOpDelete {
		c.Value = &value
	}
	r.Configs = append(r.Configs, c)
	req.Resources, req.ValidateOnly = append(req.Resources, r), validateOnly
	x := s.do(req, 1).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
	return strings.TrimSuffix(fmt.Sprint(x.ErrorCode, " ", text(x.ErrorMessage)), " <nil>")
}

// replaceGroup sets what is named and takes back what is not.
func (s *stack) replaceGroup(group string, validateOnly bool, kv ...string) string {
	req := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	for i := 0; i < len(kv); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = kv[i], &kv[i+1]
		r.Configs = append(r.Configs, c)
	}
	req.Resources, req.ValidateOnly = append(req.Resources, r), validateOnly
	x := s.do(req, 2).(*kmsg.AlterConfigsResponse).Resources[0]
	return strings.TrimSuffix(fmt.Sprint(x.ErrorCode, " ", text(x.ErrorMessage)), " <nil>")
}

// TestGroupConfig compares with what Apache Kafka 4.3.1 answered to the same requests. The group does not exist.
func TestGroupConfig(t *testing.T) {
	const (
		session, beat = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"
		set, del      = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete
		without       = "45000 from 5, read-only false, type 3: group.consumer.session.timeout.ms=45000 from 5"
		with          = "50000 from 8, read-only false, type 3: consumer.session.timeout.ms=50000 from 8 group.consumer.session.timeout.ms=45000 from 5"
		beatless      = "5000 from 5, read-only false, type 3: group.consumer.heartbeat.interval.ms=5000 from 5"
	)
	s := newStack(t)
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %s\nwant %s", what, got, want)
		}
	}
	all := s.do(configRequest(kmsg.ConfigResourceTypeGroupConfig, "g"), 4).(*kmsg.DescribeConfigsResponse).Resources[0]
	if all.ErrorCode != 0 || text(all.ErrorMessage) != "" || len(all.Configs) != 17 {
		t.Errorf("got %+v", all)
	}
	check("before", s.describedGroup("g", session), without)
	check("unknown key", s.describedGroup("g", "nosuch"), "0 , 0 keys")
	check("no name", s.alterGroup("", set, session, "50000", false), "42 Default group resources are not allowed.")
	check("unknown", s.alterGroup("g", set, "foo", "1", false), "40 Unknown group config name: foo")
	check("too small", s.alterGroup("g", set, session, "1", false), "40 consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms")
	check("no number", s.alterGroup("g", set, session, "x", false), "40 Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT")
	check("append", s.alterGroup("g", kmsg.IncrementalAlterConfigOpAppend, session, "x", false), "40 Can't APPEND to key consumer.session.timeout.ms because its type is not LIST.")
	check("validate", s.alterGroup("g", set, session, "50000", true), "0")
	check("after validate", s.describedGroup("g", session), without)
	check("no list", s.configResources(1, 32), "0")

	check("set", s.alterGroup("g", set, session, " 50000", false), "0")
	check("after set", s.describedGroup("g", session), with)
	check("another group", s.describedGroup("h", session), without)
	check("listed", s.configResources(1, 32), "0 32 g")
	check("share", s.alterGroup("g", set, "share.isolation.level", "read_committed", false), "0")
	check("after share", s.describedGroup("g", "share.isolation.level"), "read_committed from 8, read-only false, type 2: share.isolation.level=read_committed from 8 share.isolation.level=read_uncommitted from 5")

	check("replace, validate", s.replaceGroup("g", true, beat, "7000"), "0")
	check("after validate", s.describedGroup("g", session), with)
	check("replace, too small", s.replaceGroup("g", false, beat, "1"), "40 consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms")
	check("replace", s.replaceGroup("g", false, beat, "7000"), "0")
	check("after replace", s.describedGroup("g", session), without)
	check("delete", s.alterGroup("g", del, beat, "", false), "0")
	check("after delete", s.describedGroup("g", beat), beatless)
	check("delete again", s.alterGroup("g", del, beat, "", false), "0")
	check("not listed", s.configResources(1, 32), "0")
}
