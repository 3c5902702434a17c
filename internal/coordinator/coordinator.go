// Package coordinator hosts consumer groups: it loads them, gives their state machines one request at a time, appends their records to
// __consumer_offsets, parks each answer until what it says is durable, and owns the timers and the committed offsets.
//
// A shard is one partition of __consumer_offsets and everything that hashes to it. Its log is the truth; the cold store is the
// compacted view of it: for every record key the latest value, together with the offset up to which that holds, in one batch. So a
// start reads only the log's tail behind that offset, and groups without members cost no memory: they are made from the cold store
// when a request names them and forgotten when what they brought about is in the cold store.
//
// The package must not know sockets, request handlers, how a group decides, or how topics are kept.
//
// Invariants:
//
//  1. All that happens to a shard happens under its mutex. A group's state, and the order of the log, is the order of steps.
//  2. An answer leaves after the records of its step, and those of the group's steps before it, are durable in the log and applied to
//     the cold store. So whoever got an answer finds what it says in the cold store.
//  3. The cold store gets records in the order of the log, and never one that is not durable in the log.
//  4. A group whose append failed is ahead of its log. It is abandoned, and made again from the cold store when what it had appended
//     before is applied.
package coordinator

import (
	"log/slog"

	"ottla/internal/coldstate"
	"ottla/internal/group"
	"ottla/internal/metrics"
	"ottla/internal/partition"
)

// Topic is the name of the internal topic that holds groups and committed offsets.
const Topic = "__consumer_offsets"

// Defaults of Limits.
const (
	LiveGroupsMaxDefault   = 50_000
	LiveMembersMaxDefault  = 100_000
	ParkedCallsMaxDefault  = 200_000
	PendingBytesMaxDefault = 64 << 20
)

// Limits bound what the coordinator keeps in memory; a zero field means its default.
type Limits struct {
	// LiveGroupsMax is how many groups are in memory: those with members, parked calls or records not yet applied. Above it a
	// request for a group that is not is answered COORDINATOR_NOT_AVAILABLE.
	LiveGroupsMax int
	// LiveMembersMax is how many members all groups have together. Above it who wants to become a member is answered
	// GROUP_MAX_SIZE_REACHED.
	LiveMembersMax int
	// ParkedCallsMax is how many requests wait for an answer. Above it others are answered COORDINATOR_LOAD_IN_PROGRESS.
	ParkedCallsMax int
	// PendingBytesMax is how many bytes of records wait to be durable and applied. Above it what would append more is answered
	// COORDINATOR_LOAD_IN_PROGRESS.
	PendingBytesMax int64
}

// OffsetsConfig is what an operator may set about committed offsets.
type OffsetsConfig struct {
	RetentionMillis      int64 // offsets.retention.minutes
	RetentionCheckMillis int64 // offsets.retention.check.interval.ms
	MetadataBytesMax     int32 // offset.metadata.max.bytes, of one offset; Kafka counts UTF-16 units
}

// Options say what a coordinator is made of. All are required but Limits, Logger and EnsureTopic.
type Options struct {
	// Store is the cold store of groups; the coordinator is its only user.
	Store *coldstate.Store
	// Partition returns a partition of __consumer_offsets, ErrNoTopic while there is none. It is asked with every request, and so
	// has to be cheap; another answer than before means that the topic was deleted and made again.
	Partition func(index int32) (*partition.Partition, error)
	// Partitions is how many partitions __consumer_offsets has; 0 while it does not exist.
	Partitions func() int32
	// EnsureTopic makes __consumer_offsets if it does not exist.
	EnsureTopic func() error
	// Topics is the cluster's topics as they are now; the value is used for one step.
	Topics func() group.Topics
	// Config is what is in force for groups now.
	Config  func() *group.Config
	Limits  Limits
	Offsets OffsetsConfig
	Metrics *metrics.Groups
	Logger  *slog.Logger // nil: nothing is logged
}

// Coordinator hosts all groups. It is safe for concurrent use.
type Coordinator struct {
	o   Options
	log *slog.Logger
}

// New returns a coordinator that answers nothing but COORDINATOR_NOT_AVAILABLE until Start.
func New(o Options) *Coordinator {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Coordinator{o: o, log: o.Logger}
}
