package catalog

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ConfigType is the type of a configuration value; the numbers are those of the protocol.
type ConfigType int8

// The types in use.
const (
	TypeUnknown  ConfigType = 0
	TypeBoolean  ConfigType = 1
	TypeString   ConfigType = 2
	TypeInt      ConfigType = 3
	TypeLong     ConfigType = 5
	TypeDouble   ConfigType = 6
	TypeList     ConfigType = 7
	TypePassword ConfigType = 9
)

// synonym is a broker key that is the default of a topic key.
type synonym struct {
	name   string
	factor int64 // of its unit in the unit of the topic key
}

// topicKey is one row of the topic configuration: everything that a topic can be told and that is in force here.
type topicKey struct {
	name     string
	typ      ConfigType
	def      string
	synonyms []synonym // strongest first; the first one can be changed while the broker runs
	min, max int64     // of numbers; max 0: what the type holds
	choices  []string  // of strings and lists
	only     string    // the one value that is true here
	check    func(value string) (refused string)
	doc      string
}

const (
	hourMillis   = 3600 * 1000
	minuteMillis = 60 * 1000
	maxLong      = "9223372036854775807"
	// lazyFlushMillis is flush.ms where every acknowledged batch is fsynced: the time after which the others are.
	lazyFlushMillis = "100"
)

func same(names ...string) []synonym {
	var out []synonym
	for _, n := range names {
		out = append(out, synonym{n, 1})
	}
	return out
}

// topicKeys is sorted by name. Keys of Kafka's that would do nothing here are in unsupportedTopicKeys.
var topicKeys = []topicKey{
	{name: "cleanup.policy", typ: TypeList, def: "delete", synonyms: same("log.cleanup.policy"),
		choices: []string{"compact", "delete"},
		doc: "delete: old segments are removed by retention.ms and retention.bytes. compact: of each key the latest record is kept." +
			" Both: both. Empty: nothing is ever removed."},
	{name: "compression.gzip.level", typ: TypeInt, def: "-1", synonyms: same("compression.gzip.level"), min: -1, max: 9,
		check: checkGzipLevel, doc: "Level at which the broker compresses if compression.type is gzip."},
	{name: "compression.lz4.level", typ: TypeInt, def: "9", synonyms: same("compression.lz4.level"), min: 1, max: 17,
		doc: "Level at which the broker compresses if compression.type is lz4."},
	{name: "compression.type", typ: TypeString, def: "producer", synonyms: same("compression.type"),
		choices: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"},
		doc:     "Codec in which batches are stored. producer: as they arrive."},
	{name: "compression.zstd.level", typ: TypeInt, def: "3", synonyms: same("compression.zstd.level"), min: -131072, max: 22,
		doc: "Level at which the broker compresses if compression.type is zstd."},
	{name: "delete.retention.ms", typ: TypeLong, def: "86400000", synonyms: same("log.cleaner.delete.retention.ms"),
		doc: "Time for which a compacted topic keeps a record without a value after it has replaced the others of its key."},
	{name: "file.delete.delay.ms", typ: TypeLong, def: "60000", synonyms: same("log.segment.delete.delay.ms"),
		doc: "Time from removing a segment from the log to removing its files."},
	{name: "flush.messages", typ: TypeLong, def: "1", synonyms: same("log.flush.interval.messages"), min: 1,
		doc: "Records after which the log is fsynced. 1: before any batch is acknowledged with acks=all or seen by a consumer."},
	{name: "flush.ms", typ: TypeLong, def: maxLong, synonyms: same("log.flush.interval.ms"),
		doc: "Time after which what was written is fsynced. Where flush.messages is 1, the default is 100."},
	{name: "index.interval.bytes", typ: TypeInt, def: "4096", synonyms: same("log.index.interval.bytes"),
		doc: "Bytes of log from one entry of the offset index to the next."},
	{name: "max.compaction.lag.ms", typ: TypeLong, def: maxLong, synonyms: same("log.cleaner.max.compaction.lag.ms"), min: 1,
		doc: "Time after which a record of a compacted topic is compacted, however little else there is to do."},
	{name: "max.message.bytes", typ: TypeInt, def: "1048588", synonyms: same("message.max.bytes"),
		doc: "The largest record batch that is accepted, compressed if it is."},
	{name: "message.timestamp.after.max.ms", typ: TypeLong, def: "3600000", synonyms: same("log.message.timestamp.after.max.ms"),
		doc: "How far the timestamp of a record may be ahead of the broker's clock, if message.timestamp.type is CreateTime."},
	{name: "message.timestamp.before.max.ms", typ: TypeLong, def: maxLong, synonyms: same("log.message.timestamp.before.max.ms"),
		doc: "How far the timestamp of a record may be behind the broker's clock, if message.timestamp.type is CreateTime."},
	{name: "message.timestamp.type", typ: TypeString, def: "CreateTime", synonyms: same("log.message.timestamp.type"),
		choices: []string{"CreateTime", "LogAppendTime"},
		doc:     "Whose time a record carries: the producer's or the broker's."},
	{name: "min.cleanable.dirty.ratio", typ: TypeDouble, def: "0.5", synonyms: same("log.cleaner.min.cleanable.ratio"), max: 1,
		doc: "Share of a compacted log that was not compacted yet, in bytes, above which it is."},
	{name: "min.compaction.lag.ms", typ: TypeLong, def: "0", synonyms: same("log.cleaner.min.compaction.lag.ms"),
		doc: "Time for which a record of a compacted topic is not compacted."},
	{name: "min.insync.replicas", typ: TypeInt, def: "1", synonyms: same("min.insync.replicas"), min: 1, only: "1",
		doc: "Replicas that must have a batch before it is acknowledged with acks=all. There is one."},
	{name: "preallocate", typ: TypeBoolean, def: "false", synonyms: same("log.preallocate"), only: "false",
		doc: "Whether the files of a segment are made at full size. They are not."},
	{name: "retention.bytes", typ: TypeLong, def: "-1", synonyms: same("log.retention.bytes"), min: math.MinInt64,
		doc: "Size of a partition above which its oldest segments are removed. Negative: no limit."},
	{name: "retention.ms", typ: TypeLong, def: "604800000", min: -1,
		synonyms: []synonym{{"log.retention.ms", 1}, {"log.retention.minutes", minuteMillis}, {"log.retention.hours", hourMillis}},
		doc:      "Age of the newest record of a segment above which the segment is removed. -1: no limit."},
	{name: "segment.bytes", typ: TypeInt, def: "1073741824", synonyms: same("log.segment.bytes"), min: 1 << 20,
		doc: "Size at which a new segment begins."},
	{name: "segment.index.bytes", typ: TypeInt, def: "10485760", synonyms: same("log.index.size.max.bytes"), min: 4,
		doc: "Size of an index at which a new segment begins."},
	{name: "segment.jitter.ms", typ: TypeLong, def: "0",
		synonyms: []synonym{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", hourMillis}},
		doc:      "At most so much is taken from segment.ms at random, so that segments do not all begin at once."},
	{name: "segment.ms", typ: TypeLong, def: "604800000", min: 1,
		synonyms: []synonym{{"log.roll.ms", 1}, {"log.roll.hours", hourMillis}},
		doc:      "Age of its first record at which a segment is followed by a new one, even if it is not full."},
	{name: "unclean.leader.election.enable", typ: TypeBoolean, def: "false", synonyms: same("unclean.leader.election.enable"),
		only: "false", doc: "Whether a replica that lacks records may lead. There is one replica, so no election."},
}

// unsupportedTopicKeys are Kafka's other topic keys, with the reason why they are refused: what is shown is in force.
var unsupportedTopicKeys = map[string]string{
	"remote.storage.enable":                   "this broker has no tiered storage",
	"remote.log.copy.disable":                 "this broker has no tiered storage",
	"remote.log.delete.on.disable":            "this broker has no tiered storage",
	"local.retention.ms":                      "this broker has no tiered storage",
	"local.retention.bytes":                   "this broker has no tiered storage",
	"leader.replication.throttled.replicas":   "there is one replica, nothing is replicated",
	"follower.replication.throttled.replicas": "there is one replica, nothing is replicated",
}

var topicKeyByName = func() map[string]*topicKey {
	m := make(map[string]*topicKey, len(topicKeys))
	for i := range topicKeys {
		m[topicKeys[i].name] = &topicKeys[i]
	}
	return m
}()

// topicKeyByBroker finds the topic key that a broker key is the first default of.
var topicKeyByBroker = func() map[string]*topicKey {
	m := make(map[string]*topicKey, len(topicKeys))
	for i := range topicKeys {
		m[topicKeys[i].synonyms[0].name] = &topicKeys[i]
	}
	return m
}()

func checkGzipLevel(value string) string {
	if value == "0" {
		return "Value must be between 1 and 9 or equal to -1"
	}
	return ""
}

// parse returns the canonical text of a value. name is the key that the client used, in messages.
func (k *topicKey) parse(name, text string) (string, error) {
	text = strings.TrimSpace(text)
	value, refused := parseValue(k.typ, text)
	if refused == "" {
		refused = k.checkRange(value)
	}
	if bad, message := k.checkChoices(value); refused == "" && message != "" {
		value, refused = bad, message
	}
	if refused == "" && k.check != nil {
		refused = k.check(value)
	}
	if refused == "" && k.only != "" && value != k.only {
		refused = "this broker can do nothing but " + k.only + ". What the key says: " + k.doc
	}
	if refused != "" {
		return "", Refuse(ErrInvalidConfig, "Invalid value %s for configuration %s: %s", value, name, refused)
	}
	return value, nil
}

func (k *topicKey) checkRange(value string) (refused string) {
	switch k.typ {
	case TypeInt, TypeLong:
	case TypeDouble:
		return k.checkFraction(value)
	default:
		return ""
	}
	n, _ := strconv.ParseInt(value, 10, 64)
	switch {
	case k.name == "compression.gzip.level" && (n < k.min || n > k.max):
		return "Value must be between 1 and 9 or equal to -1"
	case n < k.min:
		return "Value must be at least " + strconv.FormatInt(k.min, 10)
	case k.max != 0 && n > k.max:
		return "Value must be no more than " + strconv.FormatInt(k.max, 10)
	}
	return ""
}

func (k *topicKey) checkFraction(value string) (refused string) {
	n, _ := strconv.ParseFloat(value, 64)
	switch {
	case !(n >= float64(k.min)): // NaN too
		return "Value must be at least " + strconv.FormatInt(k.min, 10)
	case n > float64(k.max):
		return "Value must be no more than " + strconv.FormatInt(k.max, 10)
	}
	return ""
}

func (k *topicKey) checkChoices(value string) (bad, refused string) {
	if k.choices == nil {
		return "", ""
	}
	items := []string{value}
	if k.typ == TypeList {
		items = splitList(value)
	}
	for _, item := range items {
		if !slices.Contains(k.choices, item) {
			return item, "String must be one of: " + strings.Join(k.choices, ", ")
		}
	}
	return "", ""
}

// parseValue does what ConfigDef.parseType does.
func parseValue(typ ConfigType, text string) (value, refused string) {
	switch typ {
	case TypeBoolean:
		if lower := strings.ToLower(text); lower == "true" || lower == "false" {
			return lower, ""
		}
		return text, "Expected value to be either true or false"
	case TypeInt:
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			return strconv.FormatInt(n, 10), ""
		}
		return text, "Not a number of type INT"
	case TypeLong:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return strconv.FormatInt(n, 10), ""
		}
		return text, "Not a number of type LONG"
	case TypeDouble:
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return text, ""
		}
		return text, "Not a number of type DOUBLE"
	case TypeList:
		items := splitList(text)
		var unique []string
		for _, item := range items {
			if !slices.Contains(unique, item) {
				unique = append(unique, item)
			}
		}
		return strings.Join(unique, ","), ""
	}
	return text, ""
}

func splitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// checkTopicConfig is LogConfig.validate: names first, then values.
func checkTopicConfig(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names {
		if topicKeyByName[name] != nil {
			continue
		}
		if reason, found := unsupportedTopicKeys[name]; found {
			return Refuse(ErrInvalidConfig, "Topic config %s is not supported: %s", name, reason)
		}
		return Refuse(ErrInvalidConfig, "Unknown topic config name: %s", name)
	}
	for _, name := range names {
		if _, err := topicKeyByName[name].parse(name, overrides[name]); err != nil {
			return err
		}
	}
	return nil
}

// checkTopicTogether is the part of LogConfig.validateValues that concerns more than one key. Where a request touches
// neither of them it is not to blame.
func (c *Catalog) checkTopicTogether(touched, overrides map[string]string) error {
	const least, most = "min.compaction.lag.ms", "max.compaction.lag.ms"
	_, one := touched[least]
	_, other := touched[most]
	if !one && !other {
		return nil
	}
	number := func(name string) int64 {
		v, found := overrides[name]
		if !found {
			v, _ = c.inherited(topicKeyByName[name])
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n
	}
	if from, to := number(least), number(most); from > to {
		return Refuse(ErrInvalidConfig, "conflict topic config setting %s (%d) > %s (%d)", least, from, most, to)
	}
	return nil
}

// canonicalConfig is what is stored of a checked configuration.
func canonicalConfig(overrides map[string]string) map[string]string {
	out := make(map[string]string, len(overrides))
	for name, text := range overrides {
		value, err := topicKeyByName[name].parse(name, text)
		if err != nil {
			panic("BUG: unchecked topic configuration: " + err.Error())
		}
		out[name] = value
	}
	return out
}
