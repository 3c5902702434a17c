package catalog

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ottla/internal/batch"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// ConfigSource says where a value in force comes from; the numbers are those of the protocol.
type ConfigSource int8

// The sources in use.
const (
	SourceTopic         ConfigSource = 1 // set on the topic
	SourceBroker        ConfigSource = 2 // set on this broker while it ran
	SourceDefaultBroker ConfigSource = 3 // set on all brokers while they ran
	SourceStatic        ConfigSource = 4 // given when the process was started
	SourceDefault       ConfigSource = 5
	SourceGroup         ConfigSource = 8 // set on the group
)

// StaticConfig is a broker key as the process was started with it.
type StaticConfig struct {
	Name     string
	Value    string // in force unless changed while the broker runs
	Default  string
	Explicit bool // Value was given, it is not just the default
	Null     bool // there is no value
	NoValue  bool // Default is not a value: there is none
	Type     ConfigType
	// Dynamic keys can be changed while the broker runs. The defaults of topic keys can be anyway.
	Dynamic   bool
	Sensitive bool
	Check     func(value string) error // beyond the type; nil: any
	Doc       string
}

// Synonym is one value that a key has somewhere, whether or not it is the one in force.
type Synonym struct {
	Name, Value string
	Source      ConfigSource
}

// ConfigEntry is one key with the value in force and where it comes from, as DescribeConfigs tells it.
type ConfigEntry struct {
	Name, Value         string
	Null                bool // there is no value
	Default             bool
	Source              ConfigSource
	Type                ConfigType
	Sensitive, ReadOnly bool
	Synonyms            []Synonym // strongest first
	Doc                 string
}

// brokerConfigs are the broker keys that were changed while a broker ran.
type brokerConfigs struct {
	own     map[string]string // of this node
	general map[string]string // of all
}

func (c *Catalog) nodeName() string { return strconv.Itoa(int(c.o.NodeID)) }

func (c *Catalog) brokerConfigsOf(all map[string]map[string]string) *brokerConfigs {
	return &brokerConfigs{own: all[c.nodeName()], general: all[""]}
}

// checkStatic refuses to start with a default that no topic could have.
func (c *Catalog) checkStatic() error {
	for i := range topicKeys {
		k := &topicKeys[i]
		if s, found := c.static[k.synonyms[0].name]; found && !s.Null {
			if _, err := k.parse(s.Name, s.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// brokerSynonyms lists the values of a key's broker defaults, as ConfigHelper.configSynonyms does: by source, then by
// name. Like there, what precedes the first name is left out, so that a plain default of log.retention.hours is not
// shown as a synonym; but what an operator has given is shown.
func (c *Catalog) brokerSynonyms(names []synonym) []Synonym {
	var out []Synonym
	b := c.brokers.Load()
	for _, layer := range []struct {
		values map[string]string
		source ConfigSource
	}{{b.own, SourceBroker}, {b.general, SourceDefaultBroker}} {
		if v, found := layer.values[names[0].name]; found {
			out = append(out, Synonym{names[0].name, v, layer.source})
		}
	}
	for _, n := range names {
		if s, found := c.static[n.name]; found && s.Explicit && !s.Null {
			out = append(out, Synonym{n.name, s.Value, SourceStatic})
		}
	}
	for _, n := range names {
		if v, found := c.brokerDefault(n.name); found && (len(out) > 0 || n == names[0]) {
			out = append(out, Synonym{n.name, v, SourceDefault})
		}
	}
	return out
}

// brokerDefault is the value of a broker key that nobody set.
func (c *Catalog) brokerDefault(name string) (string, bool) {
	if s, found := c.static[name]; found {
		return s.Default, !s.NoValue
	}
	if k := topicKeyByBroker[name]; k != nil && len(k.synonyms) == 1 && k.name != "flush.ms" {
		return k.def, true
	}
	return "", false
}

// inherited is the value of a topic key that the topic does not set, and its source.
func (c *Catalog) inherited(k *topicKey) (string, ConfigSource) {
	first := k.synonyms[0].name
	b := c.brokers.Load()
	if v, found := b.own[first]; found {
		return v, SourceBroker
	}
	if v, found := b.general[first]; found {
		return v, SourceDefaultBroker
	}
	for _, n := range k.synonyms {
		if s, found := c.static[n.name]; found && s.Explicit && !s.Null {
			return scale(s.Value, n.factor), SourceStatic
		}
	}
	for _, n := range k.synonyms {
		if v, found := c.brokerDefault(n.name); found {
			return scale(v, n.factor), SourceDefault
		}
	}
	return k.def, SourceDefault
}

// scale converts a value to the unit of the topic key. Negative ones mean "for ever" in every unit.
func scale(value string, factor int64) string {
	if factor == 1 {
		return value
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return value
	case n < 0:
		return "-1"
	case n > math.MaxInt64/factor:
		return maxLong
	}
	return strconv.FormatInt(n*factor, 10)
}

// values are all topic keys with the values in force.
type values map[string]string

func (c *Catalog) valuesOf(overrides map[string]string) values {
	out := make(values, len(topicKeys))
	unset := false
	for i := range topicKeys {
		k := &topicKeys[i]
		v, found := overrides[k.name]
		if !found {
			var source ConfigSource
			v, source = c.inherited(k)
			unset = unset || k.name == "flush.ms" && source == SourceDefault
		}
		out[k.name] = v
	}
	if unset && out["flush.messages"] == "1" {
		out["flush.ms"] = lazyFlushMillis
	}
	return out
}

func (v values) int(name string) int64 {
	n, err := strconv.ParseInt(v[name], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("BUG: topic configuration %s is not a number: %q", name, v[name]))
	}
	return n
}

func (v values) float(name string) float64 {
	n, err := strconv.ParseFloat(v[name], 64)
	if err != nil {
		panic(fmt.Sprintf("BUG: topic configuration %s is not a number: %q", name, v[name]))
	}
	return n
}

func (v values) duration(name string) time.Duration {
	if n := v.int(name); n <= math.MaxInt64/int64(time.Millisecond) {
		return time.Duration(n) * time.Millisecond
	}
	return -1 // any
}

// settings are what the values mean for a log.
func (v values) settings() *partition.Settings {
	s := &partition.Settings{
		Log: &seglog.Config{
			SegmentBytes:          v.int("segment.bytes"),
			SegmentMillis:         v.int("segment.ms"),
			SegmentJitterMillis:   v.int("segment.jitter.ms"),
			IndexBytesMax:         v.int("segment.index.bytes"),
			IndexIntervalBytes:    v.int("index.interval.bytes"),
			RetentionBytes:        max(v.int("retention.bytes"), -1),
			RetentionMillis:       max(v.int("retention.ms"), -1),
			FlushMessages:         v.int("flush.messages"),
			FlushMillis:           max(v.int("flush.ms"), 1),
			FileDeleteDelayMillis: v.int("file.delete.delay.ms"),
			LogAppendTime:         v["message.timestamp.type"] == "LogAppendTime",
			DeleteRetentionMillis: v.int("delete.retention.ms"),
			MinCompactionMillis:   v.int("min.compaction.lag.ms"),
			MaxCompactionMillis:   v.int("max.compaction.lag.ms"),
			MinDirtyRatio:         v.float("min.cleanable.dirty.ratio"),
		},
		Rules: batch.Rules{
			MaxBytes:             int32(v.int("max.message.bytes")),
			LogAppendTime:        v["message.timestamp.type"] == "LogAppendTime",
			TimestampBeforeMax:   v.duration("message.timestamp.before.max.ms"),
			TimestampAfterMax:    v.duration("message.timestamp.after.max.ms"),
			CompressionType:      v["compression.type"],
			CompressionGzipLevel: int(v.int("compression.gzip.level")),
			CompressionLZ4Level:  int(v.int("compression.lz4.level")),
			CompressionZstdLevel: int(v.int("compression.zstd.level")),
		},
	}
	if s.Rules.CompressionGzipLevel == -1 {
		s.Rules.CompressionGzipLevel = batch.LevelDefault
	}
	policy := splitList(v["cleanup.policy"])
	if slices.Contains(policy, "compact") {
		s.Log.Compact, s.Rules.RequireKey = true, true
		// What is in the active segment is never compacted (LogConfig.maxSegmentMs).
		s.Log.SegmentMillis = min(s.Log.SegmentMillis, s.Log.MaxCompactionMillis)
	}
	s.Log.Delete = slices.Contains(policy, "delete")
	if !s.Log.Delete {
		s.Log.RetentionBytes, s.Log.RetentionMillis = -1, -1
	}
	return s
}

const flushMessages = "flush.messages"

// pinned is the configuration that counts for a topic. What the broker writes to its own topics is acknowledged as durable, and
// taken into other stores as such: there every record is fsynced, whatever the broker's default is or an older version has stored.
func (c *Catalog) pinned(topic string, overrides map[string]string) map[string]string {
	if !IsInternal(topic) {
		return overrides
	}
	v, found := overrides[flushMessages]
	if !found {
		v, _ = c.inherited(topicKeyByName[flushMessages])
	}
	if v == "1" {
		return overrides
	}
	out := map[string]string{}
	maps.Copy(out, overrides)
	out[flushMessages] = "1"
	return out
}

// checkPinned refuses what pinned would not put in force.
func checkPinned(topic string, overrides map[string]string) error {
	if v, found := overrides[flushMessages]; found && IsInternal(topic) && strings.TrimSpace(v) != "1" {
		return Refuse(ErrInvalidConfig, "Topic config %s must be 1 for the internal topic %s", flushMessages, topic)
	}
	return nil
}

// settingsLocked shares one Settings between all topics of the same overrides.
func (c *Catalog) settingsLocked(overrides map[string]string) *partition.Settings {
	var key strings.Builder
	for _, s := range settingsOf(overrides) {
		fmt.Fprintf(&key, "%s=%s\n", s.key, s.value)
	}
	s := c.live.shared[key.String()]
	if s == nil {
		s = c.valuesOf(overrides).settings()
		c.live.shared[key.String()] = s
	}
	return s
}

// entries describe a topic configuration, by name.
func (c *Catalog) entries(overrides map[string]string) []ConfigEntry {
	out := make([]ConfigEntry, 0, len(topicKeys))
	all := c.valuesOf(overrides)
	for i := range topicKeys {
		k := &topicKeys[i]
		e := ConfigEntry{Name: k.name, Value: all[k.name], Type: k.typ, ReadOnly: k.only != "", Doc: k.doc}
		if _, found := overrides[k.name]; found {
			e.Source = SourceTopic
			e.Synonyms = []Synonym{{k.name, e.Value, SourceTopic}}
		} else {
			_, e.Source = c.inherited(k)
		}
		e.Default = e.Source == SourceDefault
		e.Synonyms = append(e.Synonyms, c.brokerSynonyms(k.synonyms)...)
		out = append(out, e)
	}
	return out
}

// TopicConfig describes the configuration of a topic, by name.
func (c *Catalog) TopicConfig(name string) ([]ConfigEntry, error) {
	if err := ValidateTopicName(name); err != nil {
		return nil, err
	}
	t, found := c.Topic(name)
	if !found {
		return nil, ErrUnknownTopic
	}
	return c.entries(c.pinned(name, t.overrides)), nil
}

// BrokerConfig describes the configuration of this broker, by name.
func (c *Catalog) BrokerConfig() []ConfigEntry {
	keys := make([]StaticConfig, 0, len(c.static)+len(topicKeys))
	for _, s := range c.static {
		keys = append(keys, s)
	}
	for i := range topicKeys {
		if s, known := c.brokerKey(topicKeys[i].synonyms[0].name); known && c.static[s.Name].Name == "" {
			keys = append(keys, s)
		}
	}
	slices.SortFunc(keys, func(a, b StaticConfig) int { return strings.Compare(a.Name, b.Name) })
	out := make([]ConfigEntry, 0, len(keys))
	for _, k := range keys {
		out = append(out, c.brokerEntry(k))
	}
	return out
}

func (c *Catalog) brokerEntry(k StaticConfig) ConfigEntry {
	e := ConfigEntry{
		Name: k.Name, Value: k.Value, Null: k.Null, Type: k.Type, Sensitive: k.Sensitive,
		ReadOnly: !c.dynamic(k.Name), Doc: k.Doc, Source: SourceDefault,
	}
	names := same(k.Name)
	if t := topicKeyByBroker[k.Name]; t != nil {
		names = t.synonyms
	}
	if all := c.brokerSynonyms(names); len(all) > 0 && all[0].Name == k.Name {
		e.Synonyms, e.Source = all, all[0].Source
		e.Value, e.Null = all[0].Value, false
	}
	e.Default = e.Source == SourceDefault
	if e.Sensitive {
		e.Value, e.Null = "", true
		for i := range e.Synonyms {
			e.Synonyms[i].Value = ""
		}
	}
	return e
}

// BrokerDefaultConfig describes what was set for all brokers while they ran.
func (c *Catalog) BrokerDefaultConfig() []ConfigEntry {
	general := c.brokers.Load().general
	out := make([]ConfigEntry, 0, len(general))
	for _, s := range settingsOf(general) {
		k, known := c.brokerKey(s.key)
		if !known {
			continue // set by another version
		}
		out = append(out, ConfigEntry{
			Name: s.key, Value: s.value, Type: k.Type, Sensitive: k.Sensitive, Doc: k.Doc, Source: SourceDefaultBroker,
			Synonyms: []Synonym{{s.key, s.value, SourceDefaultBroker}},
		})
	}
	return out
}

// brokerKey finds a broker key, also one that only the topic table knows.
func (c *Catalog) brokerKey(name string) (StaticConfig, bool) {
	if s, found := c.static[name]; found {
		return s, true
	}
	k := topicKeyByBroker[name]
	if k == nil {
		return StaticConfig{}, false
	}
	def, found := c.brokerDefault(name)
	return StaticConfig{Name: name, Value: def, Default: def, Null: !found, NoValue: !found, Type: k.typ, Doc: k.doc}, true
}

// dynamic says whether a broker key can be changed while the broker runs.
func (c *Catalog) dynamic(name string) bool {
	if k := topicKeyByBroker[name]; k != nil {
		return k.only == ""
	}
	return c.static[name].Dynamic
}

// BrokerValue returns the value in force of a broker key, empty if there is none.
func (c *Catalog) BrokerValue(name string) string {
	b := c.brokers.Load()
	if v, found := b.own[name]; found {
		return v
	}
	if v, found := b.general[name]; found {
		return v
	}
	k, _ := c.brokerKey(name)
	return k.Value
}

func (c *Catalog) defaultPartitions() int32 {
	if n, err := strconv.ParseInt(c.BrokerValue("num.partitions"), 10, 32); err == nil && n > 0 {
		return int32(n)
	}
	return 1
}

// DeletionEnabled says whether delete.topic.enable is in force.
func (c *Catalog) DeletionEnabled() bool { return c.BrokerValue("delete.topic.enable") != "false" }
