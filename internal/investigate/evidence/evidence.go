// Package evidence is what an investigation saw of a cluster, as plain data: what collectors write, what rules read, what a scan
// is recorded as and replayed from. It owns the shape and its version, nothing else.
//
// It must not know how evidence is collected (collect), what follows from it (diagnose) or how that is shown (report).
// Evidence is counted, never copied whole: no list in a scan grows with the number of records or producers of a
// cluster, each has a limit named here, and what a limit cut off is counted.
package evidence

import "time"

// SchemaVersion is the version of a recorded scan. It rises when a field changes its meaning or goes away; new fields do not raise it.
const SchemaVersion = 1

// Limits of a scan's lists. Whoever appends checks them and counts what was left out beside the list.
const (
	BrokersMax           = 2_000
	TopicsMax            = 100_000
	PartitionsMax        = 200_000
	TailsMax             = PartitionsMax
	ProducersMax         = 200_000 // Producer values in all tails of a scan together
	ClockPointsMax       = 1_000
	CounterProbesMax     = 20_000
	ProducerSetsMax      = 20_000
	TransactionsMax      = 10_000
	ACLsMax              = 10_000
	FingerprintKeysMax   = 32 // header keys of one topic
	AttributionsMax      = 1_000
	MetricSeriesMax      = 5_000
	SourcesMax           = 100
	SourceErrorsMax      = 20 // of one source
	RecordedScanBytesMax = 256 << 20
)

// Scan is everything one investigation saw of one cluster. The zero value of each part means: not looked at; the
// Source of that name says why. Times are UTC, in milliseconds where they came from records.
type Scan struct {
	Schema  int       `json:"schema"`
	Tool    string    `json:"tool"` // "ottla v1.2.3"
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Interrupted: the caller ended it early. Sources that lack something because of that say so.
	Interrupted bool     `json:"interrupted,omitempty"`
	Bootstrap   []string `json:"bootstrap"` // as given, without credentials
	Given       Given    `json:"given"`

	Cluster    Cluster     `json:"cluster"`
	Brokers    []Broker    `json:"brokers,omitempty"`
	Topics     []Topic     `json:"topics,omitempty"`
	Partitions []Partition `json:"partitions,omitempty"`
	// PartitionsLeftOut were not listed because of PartitionsMax.
	PartitionsLeftOut int `json:"partitions_left_out,omitempty"`

	Counter      []CounterProbe    `json:"counter,omitempty"` // in the order of their times
	Tails        []Tail            `json:"tails,omitempty"`
	Clock        []ClockPoint      `json:"clock,omitempty"`
	Sets         []ProducerSet     `json:"sets,omitempty"`
	Transactions *TransactionsSeen `json:"transactions,omitempty"`
	ACLs         *ACLsSeen         `json:"acls,omitempty"`
	Fingerprints []Fingerprint     `json:"fingerprints,omitempty"`
	Attributions []Attribution     `json:"attributions,omitempty"`
	Metrics      []BrokerMetrics   `json:"metrics,omitempty"`

	// Sources says of every source what became of it, also of those that were not asked.
	Sources []Source `json:"sources"`
	Budget  Budget   `json:"budget"`
}

// Given is what the administrator said on the command line, because no protocol tells it.
type Given struct {
	HeapBytes      int64  `json:"heap_bytes,omitempty"`      // -Xmx of each broker; 0 if not said
	Version        string `json:"version,omitempty"`         // "3.6.2"; overrides what the API versions tell
	CompactHeaders bool   `json:"compact_headers,omitempty"` // brokers run with compact object headers (JDK 25)
	ClientConfig   string `json:"client_config,omitempty"`   // path of the client.properties, for commands to paste; never its content
}

// Vendor names an implementation of the protocol.
type Vendor string

// The vendors that are told apart. Whatever is none of them is VendorUnknown, and its rules are those of Apache Kafka.
const (
	VendorKafka      Vendor = "apache-kafka" // and what is built from its source: Confluent, MSK, Strimzi
	VendorRedpanda   Vendor = "redpanda"
	VendorOttla      Vendor = "ottla"
	VendorAutoMQ     Vendor = "automq"
	VendorWarpStream Vendor = "warpstream"
	VendorKfake      Vendor = "kfake"
	VendorUnknown    Vendor = "unknown"
)

// IDModel is how a cluster hands out producer ids, which decides what the counter proves.
type IDModel string

// The models. Kafka gives each broker blocks of 1000 ids; Redpanda has one counter; some give random ids.
const (
	IDsInBlocks IDModel = "blocks"
	IDsGlobal   IDModel = "global"
	IDsRandom   IDModel = "random"
	IDsUnknown  IDModel = ""
)

// Cluster is what was found out about the cluster as a whole.
type Cluster struct {
	ID         string `json:"id,omitempty"`
	Controller int32  `json:"controller"` // -1 if not told
	Vendor     Vendor `json:"vendor"`
	VendorWhy  string `json:"vendor_why,omitempty"` // the observation that it rests on
	// VersionLeast and VersionMost bound Kafka's version, by the APIs that the brokers offer: "3.5", "3.6". Most is empty if there
	// is no upper bound known. For other vendors: the Kafka version whose APIs they offer.
	VersionLeast string  `json:"version_least,omitempty"`
	VersionMost  string  `json:"version_most,omitempty"`
	VersionWhy   string  `json:"version_why,omitempty"`
	IDs          IDModel `json:"id_model,omitempty"`
	IDsWhy       string  `json:"id_model_why,omitempty"`
	// TransactionVersion is the finalized feature transaction.version: 2 means that each transaction bumps the
	// epoch (KIP-890), so that sequence 0 is normal. -1 if not told.
	TransactionVersion int16 `json:"transaction_version"`
}

// Value is one configuration value and where it came from, as DescribeConfigs names it ("default", "static", "dynamic-broker",
// "dynamic-topic", ...). Sensitive and unknown values are left out.
type Value struct {
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Broker is one broker of the cluster.
type Broker struct {
	ID       int32            `json:"id"`
	Host     string           `json:"host,omitempty"`
	Port     int32            `json:"port,omitempty"`
	Rack     string           `json:"rack,omitempty"`
	Answered bool             `json:"answered"`
	Error    string           `json:"error,omitempty"` // why it did not
	Configs  map[string]Value `json:"configs,omitempty"`
	// APIs is the highest version offered of each API key.
	APIs map[int16]int16 `json:"apis,omitempty"`
}

// Topic is one topic and those of its configs that matter: retention.ms, retention.bytes, cleanup.policy,
// message.timestamp.type, segment.ms, segment.bytes, delete.retention.ms.
type Topic struct {
	Name     string           `json:"name"`
	ID       string           `json:"id,omitempty"` // UUID
	Internal bool             `json:"internal,omitempty"`
	Configs  map[string]Value `json:"configs,omitempty"`
	// FirstTime is the time of the topic's oldest record, in ms since 1970; 0 if not looked up or empty.
	FirstTime int64 `json:"first_time_ms,omitempty"`
}

// Partition is one partition and the offsets that bound its producers: a partition cannot hold more live producers than it has
// records since the oldest that can still count.
type Partition struct {
	Topic    string  `json:"topic"`
	Index    int32   `json:"index"`
	Leader   int32   `json:"leader"` // -1: none
	Replicas []int32 `json:"replicas,omitempty"`
	Error    string  `json:"error,omitempty"`
	// Start, End: the first offset kept and the next one to be written; both -1 if not known.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Since is the first offset whose record is younger than the longest that an entry stays (its life and the wait for brokers to look
	// for idle ones); -1 if not known. It equals End if there is none.
	Since int64 `json:"since"`
}

// Bound is the most live producers that the partition can have, by its offsets; -1 if they are not known.
func (p *Partition) Bound() int64 {
	switch {
	case p.End < 0:
		return -1
	case p.Since >= 0:
		return p.End - p.Since
	case p.Start >= 0:
		return p.End - p.Start
	}
	return -1
}

// CounterProbe is one producer id that a broker was asked for, without a transactional id. It burns one id and leaves no state.
type CounterProbe struct {
	At     time.Time `json:"at"`
	Broker int32     `json:"broker"`
	PID    int64     `json:"pid"` // -1 if refused
	Epoch  int16     `json:"epoch"`
	Error  string    `json:"error,omitempty"`
	// Calibration marks the probes that were sent back to back, to learn the model of ids.
	Calibration bool `json:"calibration,omitempty"`
}

// Tail is what the batch headers of a stretch of one partition said. Nothing was decompressed.
type Tail struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Round     int       `json:"round"` // 0, 1: a leak must show in both; 1 has only what came after the stretch of 0, in topics under suspicion
	At        time.Time `json:"at"`    // when it was fetched
	From      int64     `json:"from"`  // first offset seen
	To        int64     `json:"to"`    // the next one after the last seen
	// End is where the partition ended when it was fetched: a fetch may stop before it, at the end of a segment. 0: not told.
	End   int64 `json:"end,omitempty"`
	Bytes int64 `json:"bytes"`
	// Times are those of the batches' max timestamps, ms since 1970.
	FirstTime int64 `json:"first_time_ms"`
	LastTime  int64 `json:"last_time_ms"`

	Batches       int64            `json:"batches"` // data batches of magic 2
	Idempotent    int64            `json:"idempotent"`
	Transactional int64            `json:"transactional"`
	Control       int64            `json:"control,omitempty"`    // not in Batches
	OldFormat     int64            `json:"old_format,omitempty"` // message sets of magic 0 and 1; not in Batches
	Invalid       int64            `json:"invalid,omitempty"`    // bytes that are no batch; the rest of that answer was not read
	Records       int64            `json:"records"`
	Codecs        map[string]int64 `json:"codecs,omitempty"` // batches by codec: none, gzip, snappy, lz4, zstd
	// Future counts batches dated more than an hour after At, and FutureTime is the latest of their dates.
	Future     int64 `json:"future,omitempty"`
	FutureTime int64 `json:"future_time_ms,omitempty"`
	// LogAppendTime counts batches dated by the broker, whose producers cannot date them in the future.
	LogAppendTime int64 `json:"log_append_time,omitempty"`

	Producers []Producer `json:"producers,omitempty"`
	// ProducersLeftOut were seen but not listed because of ProducersMax; NewbornLeftOut of them were newborn.
	ProducersLeftOut int64 `json:"producers_left_out,omitempty"`
	NewbornLeftOut   int64 `json:"newborn_left_out,omitempty"`
}

// Producer is one producer id in one tail.
type Producer struct {
	PID           int64 `json:"pid"`
	Epoch         int16 `json:"epoch"` // the highest seen
	Transactional bool  `json:"txn,omitempty"`
	// Born: a batch with sequence 0 in epoch 0, not transactional, was in the stretch. The producer began here.
	Born          bool  `json:"born,omitempty"`
	FirstSequence int32 `json:"first_sequence"`
	Batches       int32 `json:"batches"`
	Records       int32 `json:"records"`
	FirstTime     int64 `json:"first_time_ms"`
	LastTime      int64 `json:"last_time_ms"`
}

// ClockPoint is one reading of the producer-id clock: the highest id of a newborn producer among the batches near a
// time. Ids come from one ascending counter, so these points are the history of producer creation.
type ClockPoint struct {
	Time      int64  `json:"time_ms"` // of the batch, ms since 1970
	PID       int64  `json:"pid"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// Refined marks the points that were added around the first fit.
	Refined bool `json:"refined,omitempty"`
	// AtLeast: there was no newborn producer near that time, so this is the highest id of any: the counter had been there before.
	// A mirror's own id on old records is the exception: that can be younger than the time.
	AtLeast bool `json:"at_least,omitempty"`
}

// ProducerSet is what DescribeProducers said of one partition on one broker, counted.
type ProducerSet struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Broker    int32     `json:"broker"`
	At        time.Time `json:"at"`
	Error     string    `json:"error,omitempty"`
	Producers int64     `json:"producers"`
	LeastPID  int64     `json:"least_pid"`
	MostPID   int64     `json:"most_pid"`
	EpochZero int64     `json:"epoch_zero"`
	// SequenceZero: whose last sequence is 0: one batch of one record was all they ever wrote.
	SequenceZero int64 `json:"sequence_zero"`
	OpenTxn      int64 `json:"open_txn"` // with a transaction in progress
	Future       int64 `json:"future"`   // last timestamp more than an hour after At
	FutureTime   int64 `json:"future_time_ms,omitempty"`
	// Ages counts producers by the age of their last write at At: below 1 min, 10 min, 1 h, 6 h, 1 d, 2 d, 7 d, 30 d, and older.
	Ages [9]int64 `json:"ages"`
}

// AgeLimits are the upper limits of ProducerSet.Ages; the last class has none.
var AgeLimits = [8]time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// TransactionsSeen is what ListTransactions said.
type TransactionsSeen struct {
	Listed  int64            `json:"listed"`
	States  map[string]int64 `json:"states,omitempty"`
	LeftOut int64            `json:"left_out,omitempty"`
	// Known are those of the listed transactional ids, masked unless asked for, whose producer id is in a tail or a
	// set; Seen says how many of the tails' newborn ids were looked up.
	Known []Transaction `json:"known,omitempty"`
	Seen  int64         `json:"looked_up"`
	// Prefixes are the commonest beginnings of transactional ids, up to the first digit run, with their numbers: an id churn
	// shows as one prefix with very many ids.
	Prefixes map[string]int64 `json:"prefixes,omitempty"`
}

// Transaction is one transactional id.
type Transaction struct {
	ID    string `json:"id"`
	PID   int64  `json:"pid"`
	State string `json:"state"`
}

// ACLsSeen is who may write to the suspect topics.
type ACLsSeen struct {
	Topics []string `json:"topics"`
	ACLs   []ACL    `json:"acls,omitempty"`
	// NoAuthorizer: the cluster has none, so anybody may.
	NoAuthorizer bool `json:"no_authorizer,omitempty"`
}

// ACL is one access rule.
type ACL struct {
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Operation  string `json:"operation"`
	Permission string `json:"permission"`
	Resource   string `json:"resource"` // "topic:payments"
	Pattern    string `json:"pattern"`  // literal, prefixed
}

// Fingerprint is what one decompressed batch of a topic told about the application that wrote it. Values are never kept.
type Fingerprint struct {
	Topic      string           `json:"topic"`
	Partition  int32            `json:"partition"`
	Offset     int64            `json:"offset"`
	PID        int64            `json:"pid"`
	HeaderKeys map[string]int64 `json:"header_keys,omitempty"` // with the number of records that carry them
	KeyShape   string           `json:"key_shape,omitempty"`   // null, empty, uuid, integer, json, text, binary, schema
	ValueShape string           `json:"value_shape,omitempty"`
	SchemaID   int32            `json:"schema_id,omitempty"` // of the magic-0 wire format of schema registries
	Records    int32            `json:"records"`
	Codec      string           `json:"codec"`
	// Samples are header values, only if asked for.
	Samples map[string]string `json:"samples,omitempty"`
}

// Attribution ties producer ids to who asked for them, from a log or a broker that remembers it.
type Attribution struct {
	From      string `json:"from"` // "request log server.log", "ottla metrics", "redpanda connections"
	ClientID  string `json:"client_id,omitempty"`
	Principal string `json:"principal,omitempty"`
	Address   string `json:"address,omitempty"` // without the port
	Software  string `json:"software,omitempty"`
	Topic     string `json:"topic,omitempty"`
	Inits     int64  `json:"inits"`    // InitProducerId requests counted
	Produces  int64  `json:"produces"` // Produce requests counted
	// Matched counts those inits whose producer id is that of a newborn producer in a tail of Topic.
	Matched int64   `json:"matched,omitempty"`
	Seconds float64 `json:"seconds"` // over which time
}

// The names of values that a metrics endpoint gave: the same whatever its exporter calls them.
const (
	MetricHeapMax         = "heap_max_bytes"
	MetricHeapUsed        = "heap_used_bytes"
	MetricHeapAfterGC     = "heap_after_gc_bytes"    // of the old generation
	MetricProducerIDs     = "producer_ids"           // live entries; Kafka's ProducerIdCount
	MetricEvicted         = "producer_ids_evicted"   // since the start, by Redpanda's limit
	MetricIssued          = "producer_ids_issued"    // since the start
	MetricInits           = "init_producer_id_total" // requests since the start
	MetricProduces        = "produce_total"          // requests since the start
	MetricMemoryUsed      = "memory_used_bytes"      // where there is no JVM heap: Redpanda's allocator, Ottla's producer state
	MetricMemoryAvailable = "memory_available_bytes" // Redpanda: what may still be allocated; Ottla: the budget of the producer state
)

// BrokerMetrics are the values that a metrics endpoint gave for one broker, by the Metric* names, summed over labels.
type BrokerMetrics struct {
	Broker int32              `json:"broker"` // -1 if the endpoint does not say
	URL    string             `json:"url"`
	At     time.Time          `json:"at"`
	Values map[string]float64 `json:"values"`
}

// State is what became of a source.
type State string

// The states of a source.
const (
	Seen        State = "seen"        // everything that was asked was answered
	Partly      State = "partly"      // some of it; Why says what is missing
	Denied      State = "denied"      // a permission is missing: Permission names it
	Unsupported State = "unsupported" // the cluster does not have it
	Failed      State = "failed"      // timeouts, broken connections, answers that make no sense
	Skipped     State = "skipped"     // not asked: not needed, too costly (Why), or switched off
)

// Source is the ledger's line of one source.
type Source struct {
	Name       string   `json:"name"` // one of the Source* constants
	State      State    `json:"state"`
	Why        string   `json:"why,omitempty"`
	Permission string   `json:"permission,omitempty"` // "DESCRIBE on Cluster"
	Requests   int64    `json:"requests"`
	Bytes      int64    `json:"bytes"` // read from the network
	Millis     int64    `json:"millis"`
	Errors     []string `json:"errors,omitempty"`
}

// The names of sources.
const (
	SourceAPIVersions  = "api-versions"
	SourceMetadata     = "metadata"
	SourceConfigs      = "configs"
	SourceOffsets      = "offsets"
	SourceCounter      = "counter"
	SourceTails        = "tails"
	SourceClock        = "clock"
	SourceSets         = "describe-producers"
	SourceTransactions = "transactions"
	SourceACLs         = "acls"
	SourceFingerprint  = "fingerprint"
	SourceMetrics      = "metrics"
	SourceLogs         = "logs"
)

// Budget is what the scan was allowed and what it used.
type Budget struct {
	BytesMax    int64 `json:"bytes_max"`
	RequestsMax int64 `json:"requests_max"`
	Bytes       int64 `json:"bytes"`
	Requests    int64 `json:"requests"`
	Exhausted   bool  `json:"exhausted,omitempty"`
}

// Source returns the ledger's line of a source, or nil if the scan does not know it.
func (s *Scan) Source(name string) *Source {
	for i := range s.Sources {
		if s.Sources[i].Name == name {
			return &s.Sources[i]
		}
	}
	return nil
}
