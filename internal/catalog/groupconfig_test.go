package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ottla/internal/disk"
)

const shareResetRefused = "Invalid value %[1]s for configuration share.auto.offset.reset: Invalid value `%[1]s` for configuration share.auto.offset.reset." +
	" The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."

// groupValues are what Apache Kafka 4.3.1 answered to values of groups; nothing where it took them.
var groupValues = []struct{ key, value, message string }{
	{"foo", "1", "Unknown group config name: foo"},
	{"retention.ms", "1", "Unknown group config name: retention.ms"},
	{"consumer.assignor.offload.enable", "true", "Unknown group config name: consumer.assignor.offload.enable"},
	{"consumer.session.timeout.ms", "abc", "Invalid value abc for configuration consumer.session.timeout.ms: Not a number of type INT"},
	{"consumer.session.timeout.ms", "", "Invalid value  for configuration consumer.session.timeout.ms: Not a number of type INT"},
	{"consumer.session.timeout.ms", "99999999999", "Invalid value 99999999999 for configuration consumer.session.timeout.ms: Not a number of type INT"},
	{"consumer.session.timeout.ms", "0", "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1"},
	{"consumer.session.timeout.ms", "44999", "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
	{"consumer.session.timeout.ms", "45000", ""},
	{"consumer.session.timeout.ms", " +60000 ", ""},
	{"consumer.session.timeout.ms", "60001", "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"},
	{"consumer.heartbeat.interval.ms", "4999", "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
	{"consumer.heartbeat.interval.ms", "15000", ""},
	{"consumer.heartbeat.interval.ms", "15001", "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms"},
	{"consumer.assignment.interval.ms", "-1", "Invalid value -1 for configuration consumer.assignment.interval.ms: Value must be at least 0"},
	{"consumer.assignment.interval.ms", "0", ""},
	{"consumer.assignment.interval.ms", "15001", "consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms"},
	{"share.record.lock.duration.ms", "100", "Invalid value 100 for configuration share.record.lock.duration.ms: Value must be at least 1000"},
	{"share.record.lock.duration.ms", "14999", "share.record.lock.duration.ms must be greater than or equal to group.share.min.record.lock.duration.ms"},
	{"share.record.lock.duration.ms", "20000", ""},
	{"share.delivery.count.limit", "1", "Invalid value 1 for configuration share.delivery.count.limit: Value must be at least 2"},
	{"share.delivery.count.limit", "11", "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit"},
	{"share.partition.max.record.locks", "4001", "share.partition.max.record.locks must be less than or equal to group.share.max.partition.max.record.locks"},
	{"share.auto.offset.reset", "earliest", ""},
	{"share.auto.offset.reset", "by_duration:P1DT2H3M4.5S", ""},
	{"share.auto.offset.reset", "by_duration:-PT1H", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:P", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:PT", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:P1DT", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:P99999999999999999999D", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:PT" + strings.Repeat("0", durationBytesMax) + "1S", shareResetRefused},
	{"share.auto.offset.reset", "by_duration:PT-0.5S", shareResetRefused},
	{"share.auto.offset.reset", "BY_DURATION:PT1H", shareResetRefused},
	{"share.auto.offset.reset", "Latest", shareResetRefused},
	{"share.isolation.level", "read_committed", ""},
	{"share.isolation.level", "READ_COMMITTED", "Invalid value READ_COMMITTED for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted"},
	{"share.renew.acknowledge.enable", "TRUE", ""},
	{"share.renew.acknowledge.enable", "no", "Invalid value no for configuration share.renew.acknowledge.enable: Expected value to be either true or false"},
	{"streams.num.standby.replicas", "3", "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"},
	{"streams.num.standby.replicas", "2", ""},
	{"streams.initial.rebalance.delay.ms", "2147483647", ""},
	{"streams.session.timeout.ms", "60001", "streams.session.timeout.ms must be less than or equal to group.streams.max.session.timeout.ms"},
}

func TestGroupConfigValues(t *testing.T) {
	c := mustOpen(t)
	for _, x := range groupValues {
		err := alterOne(t, c, ResourceGroup, "g", x.key, OpSet, x.value)
		if x.message == shareResetRefused {
			x.message = fmt.Sprintf(shareResetRefused, x.value)
		}
		switch {
		case x.message == "" && err != nil:
			t.Errorf("%s=%q: %v", x.key, x.value, err)
		case x.message != "" && (!errors.Is(err, ErrInvalidConfig) || err.Error() != x.message):
			t.Errorf("%s=%q: got %v\nwant %s", x.key, x.value, err, x.message)
		}
	}
	want := map[string]string{
		"consumer.session.timeout.ms": "60000", "consumer.heartbeat.interval.ms": "15000", "consumer.assignment.interval.ms": "0",
		"share.record.lock.duration.ms": "20000", "share.auto.offset.reset": "by_duration:P1DT2H3M4.5S", "share.isolation.level": "read_committed",
		"share.renew.acknowledge.enable": "true", "streams.num.standby.replicas": "2", "streams.initial.rebalance.delay.ms": "2147483647",
	}
	if got := c.GroupOverrides("g"); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestGroupTable(t *testing.T) {
	for i := range groupKeys {
		k := &groupKeys[i]
		if value, err := k.parse(k.def); err != nil || value != k.def || k.doc == "" {
			t.Errorf("%s: %q, %v", k.name, value, err)
		}
	}
	if len(groupKeys) != 17 || len(groupKeyByName) != 17 {
		t.Errorf("got %d keys, Kafka 4.3.1 has 17", len(groupKeys))
	}
}

// TestGroupConfigObeysTheBroker: bounds and defaults are those that the process was started with.
func TestGroupConfigObeysTheBroker(t *testing.T) {
	static := func(name, value string) StaticConfig {
		return StaticConfig{Name: name, Value: value, Default: "1", Explicit: true, Type: TypeInt}
	}
	c, err := Open(Options{FS: disk.NewMem(), Dir: testDir, NodeID: 1, Static: []StaticConfig{
		static("group.consumer.session.timeout.ms", "20000"), static("group.consumer.min.session.timeout.ms", "100"),
		static("group.consumer.max.session.timeout.ms", "20000"), static("group.consumer.heartbeat.interval.ms", "6000"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ key, value, message string }{
		{"consumer.session.timeout.ms", "6000", "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"},
		{"consumer.session.timeout.ms", "99", "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{"consumer.session.timeout.ms", "20001", "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"},
		{"consumer.session.timeout.ms", "6001", ""},
		{"consumer.heartbeat.interval.ms", "6001", "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"},
	} {
		err := alterOne(t, c, ResourceGroup, "g", x.key, OpSet, x.value)
		if (x.message == "") != (err == nil) || err != nil && err.Error() != x.message {
			t.Errorf("%s=%s: got %v, want %s", x.key, x.value, err, x.message)
		}
	}
	check := func(group, value string, source ConfigSource, synonyms ...Synonym) {
		t.Helper()
		e := entry(t, c.GroupConfig(group), "consumer.session.timeout.ms")
		if e.Value != value || e.Source != source || e.ReadOnly || !slices.Equal(e.Synonyms, synonyms) {
			t.Errorf("got %+v", e)
		}
	}
	given, def := Synonym{"group.consumer.session.timeout.ms", "20000", SourceStatic}, Synonym{"group.consumer.session.timeout.ms", "1", SourceDefault}
	check("g", "6001", SourceGroup, Synonym{"consumer.session.timeout.ms", "6001", SourceGroup}, given, def)
	check("other", "20000", SourceStatic, given, def)
	if e := entry(t, c.GroupConfig("g"), "share.session.timeout.ms"); e.Value != "45000" || !e.Default ||
		!slices.Equal(e.Synonyms, []Synonym{{"group.share.session.timeout.ms", "45000", SourceDefault}}) {
		t.Errorf("got %+v", e)
	}
}

// TestGroupConfigRefusals: kinds and messages are those of Apache Kafka 4.3.1, but for the last.
func TestGroupConfigRefusals(t *testing.T) {
	c := mustOpen(t)
	value := "50000"
	one := func(name string, x ConfigChange) []error {
		return c.IncrementalAlterConfigs([]ResourceChange{{ResourceGroup, name, []ConfigChange{x}}}, false)
	}
	const session = "consumer.session.timeout.ms"
	for _, x := range []struct {
		name    string
		change  ConfigChange
		kind    error
		message string
	}{
		{"", ConfigChange{session, OpSet, &value}, ErrInvalidRequest, "Default group resources are not allowed."},
		{"g", ConfigChange{session, OpAppend, &value}, ErrInvalidConfig, "Can't APPEND to key consumer.session.timeout.ms because its type is not LIST."},
		{"g", ConfigChange{"cleanup.policy", OpSubtract, &value}, ErrInvalidConfig, "Can't SUBTRACT to key cleanup.policy because its type is not LIST."},
		{"g", ConfigChange{session, OpSet, nil}, ErrInvalidRequest, "Null value not supported for : consumer.session.timeout.ms"},
		{"g", ConfigChange{"foo", OpDelete, nil}, nil, ""},
		{strings.Repeat("g", 32768), ConfigChange{session, OpSet, &value}, ErrInvalidRequest, "The name of a group can have 32767 bytes, not 32768."},
	} {
		if err := one(x.name, x.change)[0]; (x.kind == nil) != (err == nil) || err != nil && (!errors.Is(err, x.kind) || err.Error() != x.message) {
			t.Errorf("%.9s: got %v", x.name, err)
		}
	}
	if all := c.ConfigResources(ResourceGroup); len(all) != 0 {
		t.Errorf("got %v", all)
	}
}

// TestGroupConfigsAreBounded: neither many names nor long ones make the catalog grow without end; what is there can be changed and
// taken back at the limit.
func TestGroupConfigsAreBounded(t *testing.T) {
	c := mustOpen(t)
	set := func(value string, names ...string) []error {
		var all []ResourceChange
		for _, name := range names {
			all = append(all, ResourceChange{ResourceGroup, name, []ConfigChange{{"consumer.session.timeout.ms", OpSet, &value}}})
		}
		return c.IncrementalAlterConfigs(all, false)
	}
	var names []string
	for i := range GroupConfigsMax + 2 {
		names = append(names, fmt.Sprint("console-consumer-", i))
	}
	refused := 0
	for _, err := range set("50000", names...) {
		if errors.Is(err, ErrPolicyViolation) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.ConfigResources(ResourceGroup)); refused != 2 || n != GroupConfigsMax {
		t.Fatalf("got %d groups, %d refused", n, refused)
	}
	if err := set("51000", names[0])[0]; err != nil {
		t.Errorf("a group that is known: %v", err)
	}
	if err := c.AlterConfigs([]ResourceChange{{ResourceGroup, names[0], nil}}, false)[0]; err != nil {
		t.Error(err)
	}
	if err := set("50000", "new")[0]; err != nil {
		t.Errorf("there is room again: %v", err)
	}

	c = mustOpen(t)
	long := strings.Repeat("x", 32000)
	made := 0
	for i := range 1000 {
		switch err := set("50000", fmt.Sprint(long, i))[0]; {
		case err == nil:
			made++
		case !errors.Is(err, ErrPolicyViolation):
			t.Fatal(err)
		}
	}
	s := c.committer.write.staged
	if made == 1000 || made < 200 || s.groupBytes > GroupConfigBytesMax {
		t.Errorf("made %d, %d bytes", made, s.groupBytes)
	}
	if err := set("51000", fmt.Sprint(long, 0))[0]; err != nil {
		t.Errorf("a value of the same size at the limit: %v", err)
	}
	for _, r := range c.ConfigResources(ResourceGroup) {
		if err := c.AlterConfigs([]ResourceChange{{ResourceGroup, r.Name, nil}}, false)[0]; err != nil {
			t.Fatal(err)
		}
	}
	if s.groupBytes != 0 || len(s.groups) != 0 {
		t.Errorf("after all was taken back: %d bytes, %d groups", s.groupBytes, len(s.groups))
	}
}

// TestGroupConfigSurvives: a start shows what the last run stored, from steps and from a snapshot; validating stores nothing.
func TestGroupConfigSurvives(t *testing.T) {
	mem := disk.NewMem()
	c, err := openTest(mem)
	if err != nil {
		t.Fatal(err)
	}
	value := "7000"
	change := []ResourceChange{{ResourceGroup, "h", []ConfigChange{{"consumer.heartbeat.interval.ms", OpSet, &value}}}}
	if err := c.AlterConfigs(change, true)[0]; err != nil || c.GroupOverrides("h") != nil {
		t.Fatalf("validating: %v, %v", err, c.GroupOverrides("h"))
	}
	for _, x := range [][3]string{{"g", "consumer.session.timeout.ms", "50000"}, {"g", "consumer.heartbeat.interval.ms", "6000"}, {"h", "consumer.session.timeout.ms", "50000"}} {
		if err := alterOne(t, c, ResourceGroup, x[0], x[1], OpSet, x[2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AlterConfigs(change, false)[0]; err != nil {
		t.Fatal(err)
	}
	if err := alterOne(t, c, ResourceGroup, "g", "consumer.session.timeout.ms", OpDelete, ""); err != nil {
		t.Fatal(err)
	}
	for _, compact := range []bool{false, true} {
		if compact {
			if err := c.Compact(); err != nil {
				t.Fatal(err)
			}
		}
		again, err := openTest(mem.CrashClone(0, 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Catalog{c, again} {
			g, h := x.GroupOverrides("g"), x.GroupOverrides("h")
			if !maps.Equal(g, map[string]string{"consumer.heartbeat.interval.ms": "6000"}) || !maps.Equal(h, map[string]string{"consumer.heartbeat.interval.ms": "7000"}) {
				t.Errorf("compacted %v: got %v, %v", compact, g, h)
			}
		}
	}
}

func FuzzGroupConfig(f *testing.F) {
	f.Add("consumer.session.timeout.ms", " 50000")
	f.Add("share.auto.offset.reset", "by_duration:P1DT2H3M-4.5S")
	f.Add("share.renew.acknowledge.enable", "True")
	f.Fuzz(func(t *testing.T, name, text string) {
		k := groupKeyByName[name]
		if k == nil {
			return
		}
		value, err := k.parse(text)
		if err != nil {
			return
		}
		if again, err := k.parse(value); err != nil || again != value || len(value) > stringBytesMax {
			t.Fatalf("%q is not canonical: %q, %v", value, again, err)
		}
	})
}
