package coordinator

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// ErrLoading says that a part of the groups is still being loaded, ErrOffline that none can be served: for a handler
// COORDINATOR_LOAD_IN_PROGRESS and COORDINATOR_NOT_AVAILABLE.
var (
	ErrLoading = errors.New("coordinator: groups are still loading")
	ErrOffline = errors.New("coordinator: not available")
)

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

type deletedTopics struct{}

func newDeletedTopics() *deletedTopics { return nil }
func (c *Coordinator) expireLoop()     {}
func (c *Coordinator) deleteLoop()     {}
func (c *Coordinator) flushLoop()      {}
