// Package group is the state machines of consumer groups: the classic protocol (JoinGroup, SyncGroup), the consumer protocol of
// KIP-848 (ConsumerGroupHeartbeat), and the way from one to the other.
//
// It owns who is a member, what generation or epoch a group has, who is assigned what, when a member is given up, and the records
// from which all of that is made again. It is pure: no clock, no goroutine, no I/O, no lock. Time comes as an argument, answers
// leave as values, and an answer that has to wait for other members stays parked in the group until a later step releases it.
//
// It must not know logs, stores, offsets that were committed, connections, or topics beyond what Topics tells.
//
// The one who hosts it (package coordinator) appends Output.Records to the log as one batch, and only when they are durable lets
// Output.Replies leave. A step has changed the group already when it returns: if the append fails the host throws the group away
// and makes it again from its records.
package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Client says who sent a request.
type Client struct {
	ID   string // client.id
	Host string // Kafka's form of an address: "/127.0.0.1"
}

// Call stands for one request whose answer may come in a later step. The host makes them; here they are only kept and given back.
type Call uint64

// Reply is the answer to a Call.
type Reply struct {
	Call     Call
	Response kmsg.Response
}

// Record is one record of Kafka's __consumer_offsets format; a nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Output collects what steps bring about. The host empties it.
type Output struct {
	Records []Record
	Replies []Reply
}

// TopicInfo is what a group has to know of a topic.
type TopicInfo struct {
	Name       string
	ID         [16]byte
	Partitions int32
}

// Topics is the cluster's topics at one moment.
type Topics interface {
	Topic(name string) (TopicInfo, bool)
	TopicByID(id [16]byte) (TopicInfo, bool)
	// Names visits all topics, internal ones too, in any order, until fn returns false.
	Names(fn func(name string) bool)
	// Revision changes whenever any answer above may.
	Revision() uint64
}

// Config is what an operator may set; Kafka's keys are in the comments. It is immutable once used.
type Config struct {
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	SessionTimeoutMin     time.Duration // group.min.session.timeout.ms
	SessionTimeoutMax     time.Duration // group.max.session.timeout.ms
	MembersMax            int           // group.max.size; one group, classic protocol
	MetadataBytesMax      int           // protocol metadata and assignments of one member, both protocols

	UUID func() string // the random part of member ids, Java's form of a UUID; nil: a random one

	ConsumerSessionTimeout    time.Duration // group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration // group.consumer.heartbeat.interval.ms
	// ConsumerAssignmentInterval is the time from one target to the next, at least; a large group may wait for longer.
	// Kafka's consumer.assignment.interval.ms of a group.
	ConsumerAssignmentInterval time.Duration
	ConsumerMembersMax         int      // group.consumer.max.size
	ConsumerAssignors          []string // group.consumer.assignors, by preference: uniform, range
	MigrationPolicy            string   // group.consumer.migration.policy: bidirectional, upgrade, downgrade, disabled
}
