package catalog

import (
	"errors"
	"slices"
	"strconv"
	"testing"
)

// TestEnsureInternalTopic: it is made once, with its configuration, and what is there is left alone.
func TestEnsureInternalTopic(t *testing.T) {
	c := mustOpen(t)
	spec := TopicSpec{Name: "__consumer_offsets", Partitions: 5, ReplicationFactor: 1, Configs: map[string]*string{
		"cleanup.policy": text("compact"), "segment.bytes": text("104857600"), "compression.type": text("producer")}}
	if err := c.EnsureInternalTopic(spec); err != nil {
		t.Fatal(err)
	}
	made, found := c.Topic(spec.Name)
	if !found || !made.Internal || made.PartitionCount() != 5 {
		t.Fatalf("got %+v", made)
	}
	if s := c.valuesOf(made.Overrides()).settings(); !s.Log.Compact || !s.Rules.RequireKey || s.Log.SegmentBytes != 104857600 || s.Log.RetentionMillis != -1 {
		t.Errorf("settings %+v %+v", s.Log, s.Rules)
	}
	spec.Partitions = 7
	if err := c.EnsureInternalTopic(spec); err != nil {
		t.Fatal(err)
	}
	if again, _ := c.Topic(spec.Name); again.ID != made.ID || again.PartitionCount() != 5 {
		t.Errorf("made anew: %+v", again)
	}
	spec.Name, spec.Partitions = "__transaction_state", 0
	if err := c.EnsureInternalTopic(spec); !errors.Is(err, ErrInvalidPartitions) {
		t.Errorf("no partitions: %v", err)
	}
}

// TestInternalTopicIsFsynced: flush.messages is 1 in a topic of the broker, whatever others have, and is shown so.
func TestInternalTopicIsFsynced(t *testing.T) {
	c := mustOpen(t)
	const name = "__consumer_offsets"
	alter := func(r ResourceType, resource, key, value string) error {
		return c.IncrementalAlterConfigs([]ResourceChange{{Type: r, Name: resource, Changes: []ConfigChange{
			{Name: key, Value: &value}}}}, false)[0]
	}
	spec := TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"flush.messages": text("2")}}
	if err := c.EnsureInternalTopic(spec); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("create: %v", err)
	}
	spec.Configs = nil
	if err := c.EnsureInternalTopic(spec); err != nil {
		t.Fatal(err)
	}
	spec.Name = "other"
	if _, err := c.CreateTopic(spec, false); err != nil {
		t.Fatal(err)
	}
	if err := alter(ResourceTopic, name, "flush.messages", "7"); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("alter: %v", err)
	}
	check := func(topic string, want int64, source ConfigSource) {
		t.Helper()
		info, _ := c.Topic(topic)
		if got := info.settings.Log.FlushMessages; got != want {
			t.Errorf("%s: flush.messages in force is %d, want %d", topic, got, want)
		}
		entries, err := c.TopicConfig(topic)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(entries, func(e ConfigEntry) bool { return e.Name == "flush.messages" })
		if e := entries[i]; e.Value != strconv.FormatInt(want, 10) || e.Source != source {
			t.Errorf("%s: described as %+v", topic, e)
		}
	}
	check(name, 1, SourceDefault)
	if err := alter(ResourceBroker, "", "log.flush.interval.messages", "10000"); err != nil {
		t.Fatal(err)
	}
	check(name, 1, SourceTopic)
	check("other", 10000, SourceDefaultBroker)
	if err := alter(ResourceTopic, name, "flush.messages", "1"); err != nil {
		t.Error(err)
	}
	check(name, 1, SourceTopic)
}

// TestCompactionLags: the two lags are judged together, with what the topic has already, and what the broker sets.
func TestCompactionLags(t *testing.T) {
	c := mustOpen(t)
	both := map[string]*string{"min.compaction.lag.ms": text("10"), "max.compaction.lag.ms": text("9")}
	const want = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)"
	if _, err := c.CreateTopic(TopicSpec{Name: "a", Partitions: 1, ReplicationFactor: 1, Configs: both}, false); err == nil || err.Error() != want {
		t.Errorf("create: %v", err)
	}
	if _, err := c.CreateTopic(TopicSpec{Name: "a", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{
		"min.compaction.lag.ms": text("10")}}, false); err != nil {
		t.Fatal(err)
	}
	alter := func(key, value string) error {
		return c.IncrementalAlterConfigs([]ResourceChange{{Type: ResourceTopic, Name: "a", Changes: []ConfigChange{
			{Name: key, Value: &value}}}}, false)[0]
	}
	if err := alter("max.compaction.lag.ms", "9"); err == nil || err.Error() != want {
		t.Errorf("alter: %v", err)
	}
	if err := errors.Join(alter("max.compaction.lag.ms", "10"), alter("cleanup.policy", "compact,delete")); err != nil {
		t.Error(err)
	}
	if a, _ := c.Topic("a"); a.settings.Log.SegmentMillis != 10 {
		t.Errorf("a segment is closed after %d ms, max.compaction.lag.ms is 10", a.settings.Log.SegmentMillis)
	}
	if s := func() *Topic { a, _ := c.Topic("a"); return a }(); s.settings == nil || !s.settings.Log.Compact || s.settings.Log.RetentionMillis < 0 {
		t.Errorf("compact,delete: %+v", s.settings)
	}
}
