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
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/group"
	"ottla/internal/metrics"
	"ottla/internal/partition"
)

// Topic is the name of the internal topic that holds groups and committed offsets.
const Topic = "__consumer_offsets"

// ErrNoTopic says that __consumer_offsets does not exist. Options.Partition returns it.
var ErrNoTopic = errors.New("coordinator: __consumer_offsets does not exist")

// Defaults of Limits.
const (
	LiveGroupsMaxDefault   = 50_000
	LiveMembersMaxDefault  = 100_000
	MemberBytesMaxDefault  = 128 << 20
	ParkedCallsMaxDefault  = 200_000
	PendingBytesMaxDefault = 64 << 20
)

// RetentionCheckMillisDefault is OffsetsConfig.RetentionCheckMillis where that is 0.
const RetentionCheckMillisDefault = 600_000

// groupIDBytesMax is the longest name that a record can hold.
const groupIDBytesMax = 1<<15 - 1

// Limits bound what the coordinator keeps in memory; a zero field means its default.
type Limits struct {
	// LiveGroupsMax is how many groups are in memory: those with members, parked calls or records not yet applied. Above it a
	// request for a group that is not is answered COORDINATOR_NOT_AVAILABLE.
	LiveGroupsMax int
	// LiveMembersMax is how many members all groups have together. Above it who wants to become a member is answered
	// GROUP_MAX_SIZE_REACHED.
	LiveMembersMax int
	// MemberBytesMax is how many bytes all members have told together: ids, metadata, assignments (group.Group.Bytes). Above it who
	// wants to become a member, or as one to say more than before, is answered GROUP_MAX_SIZE_REACHED, and a leader that assigns more
	// than before COORDINATOR_NOT_AVAILABLE, upon which it joins again. What is handled at the same moment, one request of each
	// shard, may exceed it; so may what a load finds in the log.
	MemberBytesMax int64
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
	// Config is what is in force for a group now. It is asked with every request, and so has to be cheap.
	Config  func(groupID string) *group.Config
	Limits  Limits
	Offsets OffsetsConfig
	Metrics *metrics.Groups
	Logger  *slog.Logger // nil: nothing is logged
}

// Coordinator hosts all groups. It is safe for concurrent use.
//
// Lock order: shard.mu, then the locks of queue, alarm and loads, under which nothing else is taken.
type Coordinator struct {
	o     Options
	log   *slog.Logger
	usage usage

	shards struct {
		sync.RWMutex
		count int32       // partitions of __consumer_offsets when it was first seen; groups stay where they hash to
		list  []*shard    // by index
		stale atomic.Bool // the topic is another one than it was: count again
		check atomic.Bool // alarm has to look whether the shards have their partitions still
	}
	calls   atomic.Uint64 // the last call number given
	queue   *queue
	alarm   *alarm
	loads   *loads
	deleted *deletedTopics

	offline  atomic.Bool
	warned   atomic.Int64    // when the last warning was logged, nanoseconds since 1970
	ctx      context.Context // ends when the coordinator closes
	cancel   context.CancelFunc
	stopOnce sync.Once
	running  sync.WaitGroup // but the queue, which ends last
}

// New returns a coordinator that answers nothing but COORDINATOR_NOT_AVAILABLE until Start.
func New(o Options) *Coordinator {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits.setDefaults()
	if o.Offsets.RetentionCheckMillis <= 0 {
		o.Offsets.RetentionCheckMillis = RetentionCheckMillisDefault
	}
	c := &Coordinator{o: o, log: o.Logger}
	c.usage.metrics, c.usage.log = o.Metrics, o.Logger
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.queue = newQueue(c)
	c.alarm = newAlarm(c)
	c.loads = newLoads(c)
	c.deleted = newDeletedTopics()
	c.offline.Store(true)
	return c
}

func (l *Limits) setDefaults() {
	if l.LiveGroupsMax <= 0 {
		l.LiveGroupsMax = LiveGroupsMaxDefault
	}
	if l.LiveMembersMax <= 0 {
		l.LiveMembersMax = LiveMembersMaxDefault
	}
	if l.MemberBytesMax <= 0 {
		l.MemberBytesMax = MemberBytesMaxDefault
	}
	if l.ParkedCallsMax <= 0 {
		l.ParkedCallsMax = ParkedCallsMaxDefault
	}
	if l.PendingBytesMax <= 0 {
		l.PendingBytesMax = PendingBytesMaxDefault
	}
}

// Start begins to answer. What is in the log is loaded in the background.
func (c *Coordinator) Start() {
	c.offline.Store(false)
	go c.queue.run()
	for _, task := range []func(){c.alarm.run, c.loads.run, c.expireLoop, c.deleteLoop, c.flushLoop} {
		c.running.Go(task)
	}
	c.loads.all()
}

// Close answers everything that waits with COORDINATOR_NOT_AVAILABLE, but for what is durable soon, and ends the background work.
// The log must still be open, so that what was appended becomes durable; the cold store is closed by its owner afterwards. It is
// called once, after Start.
func (c *Coordinator) Close() {
	c.stopOnce.Do(func() {
		c.offline.Store(true)
		c.cancel()
		c.running.Wait()
		c.abandonAll(codeNotAvailable)
		c.queue.close()
	})
}

// SetOffline has everything answered with COORDINATOR_NOT_AVAILABLE from now on: the data directory takes no more. It waits for
// nothing.
func (c *Coordinator) SetOffline(err error) {
	if !c.offline.Swap(true) {
		c.log.Error("consumer groups are offline until a restart", "error", err)
		c.alarm.ring() // which abandons all
	}
}

// newTopicWait bounds how long EnsureTopic waits until a new topic serves.
const newTopicWait = 5 * time.Second

// EnsureTopic makes __consumer_offsets if it does not exist, and waits a little until groups can use it: clients that do not expect
// to be told to try again are many. It waits for the disk.
func (c *Coordinator) EnsureTopic() error {
	if c.o.Partitions() > 0 {
		return nil
	}
	if err := c.o.EnsureTopic(); err != nil {
		return err
	}
	c.loads.all()
	c.loads.await(newTopicWait)
	return nil
}

// PartitionFor is the partition of __consumer_offsets that holds a group; -1 while the topic does not exist.
func (c *Coordinator) PartitionFor(groupID string) int32 {
	if n := c.partitions(); n > 0 {
		return shardOf(groupID, n)
	}
	return -1
}

// flushedUpTo is the offset of a partition of __consumer_offsets from which on a start after a power loss would read its log: a
// cleaner must not remove a tombstone at or above it. 0 if that is not known.
func (c *Coordinator) flushedUpTo(num uint64) int64 {
	check, found, err := c.o.Store.FlushedCheckpoint(num)
	if err != nil || !found {
		return 0
	}
	return check.Offset
}

func (c *Coordinator) partitions() int32 {
	c.shards.RLock()
	n := c.shards.count
	c.shards.RUnlock()
	if n > 0 && !c.shards.stale.Load() {
		return n
	}
	c.shards.Lock()
	defer c.shards.Unlock()
	if c.shards.stale.Swap(false) || c.shards.count == 0 {
		c.shards.count = c.o.Partitions()
		for i := len(c.shards.list); i < int(c.shards.count); i++ {
			c.shards.list = append(c.shards.list, newShard(c, int32(i)))
		}
	}
	return c.shards.count
}

// topicChanged has every shard look whether its partition is still there: nobody else tells those that wait in it. It takes no lock.
func (c *Coordinator) topicChanged() {
	c.shards.stale.Store(true)
	c.shards.check.Store(true)
	c.alarm.ring()
}

// checkPartitions has the shards whose partition is gone give up their groups.
func (c *Coordinator) checkPartitions() {
	for _, s := range c.everySeen() {
		s.mu.Lock()
		_, _ = s.checkPartitionLocked() // what there is no partition for has nothing to lose
		s.mu.Unlock()
	}
}

// everySeen returns all shards there ever were, those of a topic that is gone too.
func (c *Coordinator) everySeen() []*shard {
	c.shards.RLock()
	defer c.shards.RUnlock()
	return c.shards.list
}

// all returns the shards there are.
func (c *Coordinator) all() []*shard {
	n := c.partitions()
	c.shards.RLock()
	defer c.shards.RUnlock()
	return c.shards.list[:n:n]
}

// shard returns the shard of a group; nil while the topic does not exist.
func (c *Coordinator) shard(id string) *shard {
	n := c.partitions()
	if n <= 0 {
		return nil
	}
	c.shards.RLock()
	defer c.shards.RUnlock()
	return c.shards.list[shardOf(id, n)]
}

// warnAfter is how long nothing more is said after something went wrong: with a full disk every request does.
const warnAfter = 10 * time.Second

// warn logs what went wrong, unless something was said a moment ago.
func (c *Coordinator) warn(message string, args ...any) {
	now, last := time.Now().UnixNano(), c.warned.Load()
	if (last == 0 || now-last >= int64(warnAfter)) && c.warned.CompareAndSwap(last, now) {
		c.log.Warn(message, args...)
	}
}

// abandonAll gives up all groups of all shards.
func (c *Coordinator) abandonAll(code int16) {
	for _, s := range c.everySeen() {
		s.mu.Lock()
		s.abandonLocked(code)
		s.mu.Unlock()
	}
}
