package catalog

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"ottla/internal/disk"
)

func mustOpen(t *testing.T) *Catalog {
	t.Helper()
	c, err := openTest(disk.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTopicConfigValues compares with what Apache Kafka 4.3.1 answered to the same values.
func TestTopicConfigValues(t *testing.T) {
	const ok = ""
	for _, c := range []struct{ key, value, message string }{
		{"retention.ms", "abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{"retention.ms", " 5 ", ok},
		{"retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "99999999999999999999", "Invalid value 99999999999999999999 for configuration retention.ms: Not a number of type LONG"},
		{"retention.bytes", "-7", ok},
		{"segment.bytes", "100", "Invalid value 100 for configuration segment.bytes: Value must be at least 1048576"},
		{"segment.bytes", "2147483648", "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT"},
		{"segment.ms", "0", "Invalid value 0 for configuration segment.ms: Value must be at least 1"},
		{"segment.jitter.ms", "-1", "Invalid value -1 for configuration segment.jitter.ms: Value must be at least 0"},
		{"segment.index.bytes", "2", "Invalid value 2 for configuration segment.index.bytes: Value must be at least 4"},
		{"flush.messages", "0", "Invalid value 0 for configuration flush.messages: Value must be at least 1"},
		{"flush.ms", "-1", "Invalid value -1 for configuration flush.ms: Value must be at least 0"},
		{"max.message.bytes", "-1", "Invalid value -1 for configuration max.message.bytes: Value must be at least 0"},
		{"max.message.bytes", "0", ok},
		{"index.interval.bytes", "-1", "Invalid value -1 for configuration index.interval.bytes: Value must be at least 0"},
		{"file.delete.delay.ms", "-1", "Invalid value -1 for configuration file.delete.delay.ms: Value must be at least 0"},
		{"cleanup.policy", "foo", "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"},
		{"cleanup.policy", "", ok},
		{"cleanup.policy", "delete,delete", ok},
		{"cleanup.policy", " Delete", "Invalid value Delete for configuration cleanup.policy: String must be one of: compact, delete"},
		{"compression.type", "GZIP", "Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.type", "none", "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.gzip.level", "0", "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{"compression.gzip.level", "10", "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{"compression.lz4.level", "0", "Invalid value 0 for configuration compression.lz4.level: Value must be at least 1"},
		{"compression.lz4.level", "18", "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17"},
		{"compression.zstd.level", "23", "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22"},
		{"compression.zstd.level", "-131073", "Invalid value -131073 for configuration compression.zstd.level: Value must be at least -131072"},
		{"message.timestamp.type", "createtime", "Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
		{"message.timestamp.before.max.ms", "-1", "Invalid value -1 for configuration message.timestamp.before.max.ms: Value must be at least 0"},
		{"message.timestamp.after.max.ms", "x", "Invalid value x for configuration message.timestamp.after.max.ms: Not a number of type LONG"},
		{"min.insync.replicas", "0", "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1"},
		{"min.insync.replicas", "1", ok},
		{"preallocate", "yes", "Invalid value yes for configuration preallocate: Expected value to be either true or false"},
		{"preallocate", "FALSE", ok},
		{"unclean.leader.election.enable", "1", "Invalid value 1 for configuration unclean.leader.election.enable: Expected value to be either true or false"},
		{"foo.bar", "1", "Unknown topic config name: foo.bar"},
		{"message.format.version", "2.0", "Unknown topic config name: message.format.version"},
		// Kafka takes these; here they would not be true.
		{"cleanup.policy", "compact,delete", ok},
		{"delete.retention.ms", "-1", "Invalid value -1 for configuration delete.retention.ms: Value must be at least 0"},
		{"min.compaction.lag.ms", "-1", "Invalid value -1 for configuration min.compaction.lag.ms: Value must be at least 0"},
		{"max.compaction.lag.ms", "0", "Invalid value 0 for configuration max.compaction.lag.ms: Value must be at least 1"},
		{"min.cleanable.dirty.ratio", "1.1", "Invalid value 1.1 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
		{"min.cleanable.dirty.ratio", "-0.1", "Invalid value -0.1 for configuration min.cleanable.dirty.ratio: Value must be at least 0"},
		{"min.cleanable.dirty.ratio", "NaN", "Invalid value NaN for configuration min.cleanable.dirty.ratio: Value must be at least 0"},
		{"min.cleanable.dirty.ratio", "x", "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
		{"min.cleanable.dirty.ratio", "1", ok},
		{"min.insync.replicas", "2", "Invalid value 2 for configuration min.insync.replicas: this broker can do nothing but 1"},
		{"preallocate", "true", "Invalid value true for configuration preallocate: this broker can do nothing but false"},
		{"remote.storage.enable", "true", "Topic config remote.storage.enable is not supported: this broker has no tiered storage"},
	} {
		err := checkTopicConfig(map[string]string{c.key: c.value})
		switch {
		case c.message == ok && err != nil:
			t.Errorf("%s=%q: %v", c.key, c.value, err)
		case c.message != ok && (!errors.Is(err, ErrInvalidConfig) || !strings.HasPrefix(err.Error(), c.message)):
			t.Errorf("%s=%q: got %v\nwant %s", c.key, c.value, err, c.message)
		}
	}
}

func TestTopicTable(t *testing.T) {
	names := make([]string, 0, len(topicKeys))
	for i := range topicKeys {
		k := &topicKeys[i]
		names = append(names, k.name)
		if value, err := k.parse(k.name, k.def); err != nil || value != k.def {
			t.Errorf("%s: its own default is refused: %v", k.name, err)
		}
		if k.doc == "" || len(k.synonyms) == 0 || k.synonyms[0].factor != 1 {
			t.Errorf("%s: incomplete row", k.name)
		}
		if _, found := unsupportedTopicKeys[k.name]; found {
			t.Errorf("%s is supported and not", k.name)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
	// The 33 keys that Kafka 4.3.1 describes are known, one way or the other.
	if n := len(topicKeys) + len(unsupportedTopicKeys); n != 33 {
		t.Errorf("got %d keys, Kafka has 33", n)
	}
}

func entry(t *testing.T, all []ConfigEntry, name string) ConfigEntry {
	t.Helper()
	for _, e := range all {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no %s", name)
	return ConfigEntry{}
}

func alterOne(t *testing.T, c *Catalog, typ ResourceType, resource, key string, op AlterOp, value string) error {
	t.Helper()
	x := ConfigChange{Name: key, Op: op, Value: &value}
	if op == OpDelete {
		x.Value = nil
	}
	return c.IncrementalAlterConfigs([]ResourceChange{{typ, resource, []ConfigChange{x}}}, false)[0]
}

// TestResolution walks retention.ms through all its layers; values and synonyms are those that Kafka 4.3.1 shows.
func TestResolution(t *testing.T) {
	c, err := Open(Options{FS: disk.NewMem(), Dir: testDir, NodeID: 1, Static: []StaticConfig{
		{Name: "log.retention.ms", Null: true, NoValue: true, Type: TypeLong},
		{Name: "log.retention.minutes", Null: true, NoValue: true, Type: TypeInt},
		{Name: "log.retention.hours", Value: "168", Default: "168", Type: TypeInt},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	check := func(value string, source ConfigSource, synonyms ...Synonym) {
		t.Helper()
		all, err := c.TopicConfig("t")
		if err != nil {
			t.Fatal(err)
		}
		e := entry(t, all, "retention.ms")
		if e.Value != value || e.Source != source || !slices.Equal(e.Synonyms, synonyms) || e.Default != (source == SourceDefault) {
			t.Errorf("got %q from %d, %v\nwant %q from %d, %v", e.Value, e.Source, e.Synonyms, value, source, synonyms)
		}
		topic, _ := c.Topic("t")
		if got := topic.settings.Log.RetentionMillis; value != "604800000" && got >= 604800000 {
			t.Errorf("in force is %d, shown is %s", got, value)
		}
	}
	hours := Synonym{"log.retention.hours", "168", SourceDefault}
	general := Synonym{"log.retention.ms", "66666", SourceDefaultBroker}
	own := Synonym{"log.retention.ms", "55555", SourceBroker}
	check("604800000", SourceDefault)
	alter := func(typ ResourceType, resource, key string, op AlterOp, value string) {
		t.Helper()
		if err := alterOne(t, c, typ, resource, key, op, value); err != nil {
			t.Fatal(err)
		}
	}
	alter(ResourceBroker, "", "log.retention.ms", OpSet, "66666")
	check("66666", SourceDefaultBroker, general, hours)
	alter(ResourceBroker, "1", "log.retention.ms", OpSet, "55555")
	check("55555", SourceBroker, own, general, hours)
	alter(ResourceTopic, "t", "retention.ms", OpSet, "2000")
	check("2000", SourceTopic, Synonym{"retention.ms", "2000", SourceTopic}, own, general, hours)

	e := entry(t, c.BrokerConfig(), "log.retention.ms")
	if e.Value != "55555" || e.ReadOnly || !slices.Equal(e.Synonyms, []Synonym{own, general, hours}) {
		t.Errorf("got %+v", e)
	}
	if e := entry(t, c.BrokerConfig(), "log.retention.hours"); !e.ReadOnly || e.Value != "168" || e.Source != SourceDefault {
		t.Errorf("got %+v", e)
	}
	if all := c.BrokerDefaultConfig(); len(all) != 1 || all[0].Value != "66666" || all[0].Source != SourceDefaultBroker {
		t.Errorf("got %+v", all)
	}
	alter(ResourceTopic, "t", "retention.ms", OpDelete, "")
	alter(ResourceBroker, "1", "log.retention.ms", OpDelete, "")
	check("66666", SourceDefaultBroker, general, hours)
	alter(ResourceBroker, "", "log.retention.ms", OpDelete, "")
	check("604800000", SourceDefault)
}

func TestStaticUnits(t *testing.T) {
	for _, x := range []struct{ name, value, want string }{
		{"log.retention.hours", "2", "7200000"}, {"log.retention.minutes", "-1", "-1"}, {"log.retention.ms", "9", "9"},
		{"log.retention.minutes", "3", "180000"},
	} {
		c, err := Open(Options{FS: disk.NewMem(), Dir: testDir, NodeID: 1, Static: []StaticConfig{
			{Name: "log.retention.hours", Value: "168", Default: "168", Type: TypeInt},
			{Name: x.name, Value: x.value, Explicit: true, Type: TypeLong, Default: "168", NoValue: x.name != "log.retention.hours"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		e := entry(t, c.entries(nil), "retention.ms")
		if e.Value != x.want || e.Source != SourceStatic || e.Synonyms[0] != (Synonym{x.name, x.value, SourceStatic}) {
			t.Errorf("%s=%s: got %+v", x.name, x.value, e)
		}
	}
	if _, err := Open(Options{FS: disk.NewMem(), Dir: testDir, Static: []StaticConfig{
		{Name: "log.cleanup.policy", Value: "shrink", Explicit: true, Type: TypeList}}}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("a default that no topic can have is accepted: %v", err)
	}
}

func TestSettings(t *testing.T) {
	c := mustOpen(t)
	s := c.valuesOf(nil).settings()
	if s.Log.FlushMessages != 1 || s.Log.FlushMillis != 100 || s.Rules.MaxBytes != 1048588 || s.Rules.CompressionType != "producer" {
		t.Errorf("got %+v, %+v", s.Log, s.Rules)
	}
	if s.Rules.TimestampBeforeMax >= 0 || s.Rules.TimestampAfterMax.Hours() != 1 || s.Log.RetentionMillis != 604800000 {
		t.Errorf("got %+v, %+v", s.Log, s.Rules)
	}
	s = c.valuesOf(map[string]string{"flush.messages": "5000", "cleanup.policy": "", "message.timestamp.type": "LogAppendTime"}).settings()
	if s.Log.FlushMillis != math.MaxInt64 || s.Log.RetentionMillis != -1 || !s.Log.LogAppendTime || !s.Rules.LogAppendTime {
		t.Errorf("got %+v, %+v", s.Log, s.Rules)
	}
}

// TestAlterRefusals compares kinds and messages with what Apache Kafka 4.3.1 answered.
func TestAlterRefusals(t *testing.T) {
	c := mustOpen(t)
	if _, err := c.CreateTopic(TopicSpec{Name: "t1", Partitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	set := func(kv ...string) []ConfigChange {
		var out []ConfigChange
		for i := 0; i < len(kv); i += 2 {
			out = append(out, ConfigChange{kv[i], OpSet, &kv[i+1]})
		}
		return out
	}
	op := func(op AlterOp, key, value string) []ConfigChange { return []ConfigChange{{key, op, &value}} }
	for _, x := range []struct {
		name    string
		r       ResourceChange
		kind    error
		message string
	}{
		{"set", ResourceChange{2, "t1", set("retention.ms", "2000")}, nil, ""},
		{"unknown topic", ResourceChange{2, "nope", set("retention.ms", "2000")}, ErrUnknownTopic, "The topic 'nope' does not exist."},
		{"empty name", ResourceChange{2, "", set("retention.ms", "1")}, ErrInvalidRequest, "Default topic resources are not allowed."},
		{"bad name", ResourceChange{2, "a b", set("retention.ms", "1")}, ErrInvalidTopicName, "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{"unknown key", ResourceChange{2, "t1", set("foo", "1")}, ErrInvalidConfig, "Unknown topic config name: foo"},
		{"delete unknown key", ResourceChange{2, "t1", []ConfigChange{{"foo", OpDelete, nil}}}, nil, ""},
		{"append to number", ResourceChange{2, "t1", op(OpAppend, "retention.ms", "1")}, ErrInvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST."},
		{"subtract from unknown", ResourceChange{2, "t1", op(OpSubtract, "foo", "1")}, ErrInvalidConfig, "Can't SUBTRACT to key foo because its type is not LIST."},
		{"append", ResourceChange{2, "t1", op(OpAppend, "cleanup.policy", "delete")}, nil, ""},
		{"subtract", ResourceChange{2, "t1", op(OpSubtract, "cleanup.policy", "delete")}, nil, ""},
		{"bad operation", ResourceChange{2, "t1", op(9, "retention.ms", "1")}, ErrInvalidRequest, "Unknown operations type 9"},
		{"null", ResourceChange{2, "t1", []ConfigChange{{"retention.ms", OpSet, nil}}}, ErrInvalidRequest, "Null value not supported for : retention.ms"},
		{"null append", ResourceChange{2, "t1", []ConfigChange{{"cleanup.policy", OpAppend, nil}}}, ErrInvalidRequest, "Null value not supported for : cleanup.policy"},
		{"twice", ResourceChange{2, "t1", set("retention.ms", "1", "retention.ms", "2")}, ErrInvalidRequest, "Error due to duplicate config keys"},
		{"type 0", ResourceChange{0, "t1", nil}, ErrInvalidRequest, "Unknown resource type 0"},
		{"type 77", ResourceChange{77, "t1", nil}, ErrInvalidRequest, "Unknown resource type 77"},
		{"read-only", ResourceChange{4, "1", set("num.partitions", "1")}, ErrInvalidRequest, "Cannot update these configs dynamically: [num.partitions]"},
		{"read-only default", ResourceChange{4, "", set("num.partitions", "1")}, ErrInvalidRequest, "Cannot update these configs dynamically: [num.partitions]"},
		{"delete read-only", ResourceChange{4, "1", []ConfigChange{{"num.partitions", OpDelete, nil}}}, nil, ""},
		{"unknown broker key", ResourceChange{4, "1", set("foo.bar", "1")}, ErrInvalidConfig, "Unknown config name: foo.bar"},
		{"other broker", ResourceChange{4, "7", set("log.retention.ms", "1")}, ErrInvalidRequest, "Unexpected broker id, expected 1, but received 7"},
		{"no number", ResourceChange{4, "x", set("log.retention.ms", "1")}, ErrInvalidRequest, "Node id must be an integer, but it is: x"},
		{"bad value", ResourceChange{4, "1", set("log.retention.ms", "abc")}, ErrInvalidRequest, "Invalid value abc for configuration log.retention.ms: Not a number of type LONG"},
		{"bad range", ResourceChange{4, "1", set("log.segment.bytes", "5")}, ErrInvalidRequest, "Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576"},
		{"broker append", ResourceChange{4, "1", op(OpAppend, "log.retention.ms", "5")}, ErrInvalidConfig, "Config value append is not allowed for config key: log.retention.ms"},
		{"broker", ResourceChange{4, "1", set("log.retention.ms", "55555")}, nil, ""},
		{"dynamic other", ResourceChange{4, "1", set("max.connections", "x")}, ErrInvalidRequest, "Invalid value x for configuration max.connections: Not a number of type INT"},
	} {
		for _, validateOnly := range []bool{true, false} {
			err := c.IncrementalAlterConfigs([]ResourceChange{x.r}, validateOnly)[0]
			if (x.kind == nil) != (err == nil) || x.kind != nil && (!errors.Is(err, x.kind) || err.Error() != x.message) {
				t.Errorf("%s: got %v\nwant %v %q", x.name, err, x.kind, x.message)
			}
		}
	}
	twice := ResourceChange{2, "t1", set("retention.ms", "1")}
	for _, err := range c.IncrementalAlterConfigs([]ResourceChange{twice, twice}, true) {
		if !errors.Is(err, ErrInvalidRequest) || err.Error() != "Each resource must appear at most once." {
			t.Errorf("got %v", err)
		}
	}
}

func TestAlterReplaces(t *testing.T) {
	c := mustOpen(t)
	spec := TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"retention.ms": text("1"), "segment.ms": text("2")}}
	if _, err := c.CreateTopic(spec, false); err != nil {
		t.Fatal(err)
	}
	overrides := func() map[string]string { topic, _ := c.Topic("t"); return topic.Overrides() }
	change := []ResourceChange{{ResourceTopic, "t", []ConfigChange{{"retention.ms", OpSet, text("9")}}}}
	if err := c.AlterConfigs(change, true)[0]; err != nil || len(overrides()) != 2 {
		t.Fatalf("validating changed something: %v, %v", overrides(), err)
	}
	if err := c.AlterConfigs(change, false)[0]; err != nil || !maps.Equal(overrides(), map[string]string{"retention.ms": "9"}) {
		t.Fatalf("got %v, %v", overrides(), err)
	}
	topic, _ := c.Topic("t")
	if topic.settings.Log.RetentionMillis != 9 || topic.settings.Log.SegmentMillis != 604800000 {
		t.Errorf("not in force: %+v", topic.settings.Log)
	}
}

func TestOnBrokerConfig(t *testing.T) {
	var heard []string
	c, err := Open(Options{FS: disk.NewMem(), Dir: testDir, NodeID: 1,
		Static:         []StaticConfig{{Name: "max.connections", Value: "10", Default: "10", Type: TypeInt, Dynamic: true}},
		OnBrokerConfig: func(name, value string) { heard = append(heard, name+"="+value) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"20", "20", "30"} {
		if err := alterOne(t, c, ResourceBroker, "1", "max.connections", OpSet, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := alterOne(t, c, ResourceBroker, "1", "max.connections", OpDelete, ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{"max.connections=20", "max.connections=30", "max.connections=10"}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

func TestSensitiveIsNeverShown(t *testing.T) {
	c, err := Open(Options{FS: disk.NewMem(), Dir: testDir, NodeID: 1,
		Static: []StaticConfig{{Name: "key.password", Value: "s3cret", Explicit: true, NoValue: true, Type: TypePassword, Sensitive: true}}})
	if err != nil {
		t.Fatal(err)
	}
	e := entry(t, c.BrokerConfig(), "key.password")
	if e.Value != "" || !e.Null || len(e.Synonyms) != 1 || e.Synonyms[0].Value != "" {
		t.Errorf("got %+v", e)
	}
}

func FuzzTopicConfig(f *testing.F) {
	f.Add("retention.ms", "5")
	f.Add("cleanup.policy", " delete , delete,")
	f.Add("segment.ms", "9223372036854775807")
	f.Add("flush.ms", "9223372036854775807")
	f.Fuzz(func(t *testing.T, name, value string) {
		m := map[string]string{name: value}
		if checkTopicConfig(m) != nil {
			return
		}
		canonical := canonicalConfig(m)
		if !maps.Equal(canonicalConfig(canonical), canonical) {
			t.Fatalf("%q is not canonical", canonical)
		}
		c := &Catalog{static: map[string]StaticConfig{}}
		c.brokers.Store(&brokerConfigs{})
		_ = c.valuesOf(canonical).settings()
	})
}
