package coordinator

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// ErrNoTopic says that __consumer_offsets does not exist. Options.Partition returns it.
var ErrNoTopic = errors.New("coordinator: __consumer_offsets does not exist")

// Commit is one OffsetCommit, with the partitions that the broker found to exist.
type Commit struct {
	Request *kmsg.OffsetCommitRequest
	// Response is the whole answer. It has the partitions of Request in its order, those that were refused with their code.
	Response *kmsg.OffsetCommitResponse
	// Partitions are those to commit.
	Partitions []CommitPartition
}

// CommitPartition is one partition of a Commit.
type CommitPartition struct {
	Topic   string
	TopicID [16]byte // zero: not known
	// Request is what to commit.
	Request *kmsg.OffsetCommitRequestTopicPartition
	// Code is where in Commit.Response the partition's error code goes. It is written before the future is done, not later.
	Code *int16
}

// Start starts the background work: loading, applying, timers, expiry.
func (c *Coordinator) Start() {}

// Close answers everything that waits with COORDINATOR_NOT_AVAILABLE but what is durable already, and ends the background work. The
// log must still be open, so that what was appended can become durable; the cold store is closed by its owner afterwards.
func (c *Coordinator) Close() {}

// SetOffline has everything answered with COORDINATOR_NOT_AVAILABLE from now on: the data directory takes no more.
func (c *Coordinator) SetOffline(err error) {}

// EnsureTopic makes __consumer_offsets if it does not exist. It may wait for the disk.
func (c *Coordinator) EnsureTopic() error { return c.o.EnsureTopic() }

// PartitionFor is the partition of __consumer_offsets that holds a group; -1 while the topic does not exist.
func (c *Coordinator) PartitionFor(groupID string) int32 { return -1 }

// Group handles JoinGroup, SyncGroup, Heartbeat, LeaveGroup and ConsumerGroupHeartbeat. It waits for no disk but for one look-up of a
// group that is not in memory. The answer has the request's version. The request must not be changed afterwards; byte slices in it
// that alias a frame are copied.
func (c *Coordinator) Group(req kmsg.Request, groupID string, client group.Client) *Future {
	return nil
}

// CommitOffsets handles OffsetCommit. The future's answer is commit.Response. As Group it waits for at most one look-up.
func (c *Coordinator) CommitOffsets(commit Commit, client group.Client) *Future { return nil }

// FetchOffsets handles OffsetFetch for one group. Topics are found by name; nil asks for all. Where a TopicID is given, offsets
// committed for another topic of that name do not count. The answer has the names and ids of the request, names alone if all were
// asked for. It reads the disk, and with requireStable waits until offsets that are being committed are durable: call it from Wait.
// The error is ctx's.
func (c *Coordinator) FetchOffsets(ctx context.Context, req *kmsg.OffsetFetchRequestGroup, requireStable bool) (kmsg.OffsetFetchResponseGroup, error) {
	return kmsg.OffsetFetchResponseGroup{}, nil
}

// DeleteOffsets handles OffsetDelete for partitions that exist. It reads the disk and waits until the offsets are durably gone: call
// it from Wait. The error is ctx's.
func (c *Coordinator) DeleteOffsets(ctx context.Context, req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, error) {
	return nil, nil
}

// DeleteGroups handles DeleteGroups. It reads the disk and waits until the groups are durably gone: call it from Wait. The results
// are in the order of ids. The error is ctx's.
func (c *Coordinator) DeleteGroups(ctx context.Context, ids []string) ([]kmsg.DeleteGroupsResponseGroup, error) {
	return nil, nil
}

// List visits the groups whose state and type are among those given, ignoring case (empty: all), in no particular order. It reads
// the disk: call it from Wait. fn may not call the coordinator; an error of it ends the walk. ErrLoading while a part of the groups
// is still being loaded.
func (c *Coordinator) List(ctx context.Context, states, types []string, fn func(group.Listing) error) error {
	return nil
}

// ErrLoading says that a part of the groups is still being loaded, ErrOffline that none can be served: for a handler
// COORDINATOR_LOAD_IN_PROGRESS and COORDINATOR_NOT_AVAILABLE.
var (
	ErrLoading = errors.New("coordinator: groups are still loading")
	ErrOffline = errors.New("coordinator: not available")
)

// Describe handles DescribeGroups, in the order of ids, without what the version leaves out (see group.Group.Describe). It may read
// the disk: call it from Wait.
func (c *Coordinator) Describe(ctx context.Context, ids []string) []kmsg.DescribeGroupsResponseGroup {
	return nil
}

// DescribeConsumer handles ConsumerGroupDescribe, in the order of ids. It may read the disk: call it from Wait.
func (c *Coordinator) DescribeConsumer(ctx context.Context, ids []string) []kmsg.ConsumerGroupDescribeResponseGroup {
	return nil
}

// TopicDeleted has the offsets that were committed for a topic removed, in the background, as Kafka does
// (OffsetMetadataManager.onPartitionsDeleted). Those of a later topic of the same name stay.
func (c *Coordinator) TopicDeleted(name string, id [16]byte) {}

// CleanableUpTo is the offset of a partition of __consumer_offsets from which on a start after a power loss would read its log: a
// cleaner must not remove a tombstone at or above it. 0 if that is not known.
func (c *Coordinator) CleanableUpTo(index int32) int64 { return 0 }
