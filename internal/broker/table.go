package broker

import (
	"context"
	"math"

	"ottla/internal/wire"
)

// Frame limits, in bytes. Every API but Produce gets only what its largest honest
// request needs: 4 MiB name more than 80,000 partitions.
const (
	frameProduceBytesMax = math.MaxInt32 // holds records: socket.request.max.bytes alone bounds it
	frameTopicsBytesMax  = 4 << 20
	frameSmallBytesMax   = 64 << 10
)

// api is one row of what the broker serves.
type api struct {
	key           int16
	name          string // Kafka's
	min, max      int16  // versions; those of Kafka 4.3
	frameBytesMax int32
	handle        func(*Broker, context.Context, *wire.Request) wire.Reply
}

// apiTable is the one list of APIs, by ascending key. Produce 0 to 2 are advertised
// and refused (see 00_produce.go).
var apiTable = []api{
	{0, "Produce", 0, 13, frameProduceBytesMax, (*Broker).handleProduce},
	{1, "Fetch", 4, 18, frameTopicsBytesMax, (*Broker).handleFetch},
	{2, "ListOffsets", 1, 11, frameTopicsBytesMax, (*Broker).handleListOffsets},
	{3, "Metadata", 0, 13, frameTopicsBytesMax, (*Broker).handleMetadata},
	{10, "FindCoordinator", 0, 6, frameSmallBytesMax, (*Broker).handleFindCoordinator},
	{18, "ApiVersions", 0, 4, frameSmallBytesMax, (*Broker).handleApiVersions},
	{19, "CreateTopics", 2, 7, frameTopicsBytesMax, (*Broker).handleCreateTopics},
	{20, "DeleteTopics", 1, 6, frameTopicsBytesMax, (*Broker).handleDeleteTopics},
	{21, "DeleteRecords", 0, 2, frameTopicsBytesMax, (*Broker).handleDeleteRecords},
	{22, "InitProducerId", 0, 5, frameSmallBytesMax, (*Broker).handleInitProducerId},
	{23, "OffsetForLeaderEpoch", 2, 4, frameTopicsBytesMax, (*Broker).handleOffsetForLeaderEpoch},
	{32, "DescribeConfigs", 1, 4, frameTopicsBytesMax, (*Broker).handleDescribeConfigs},
	{33, "AlterConfigs", 0, 2, frameTopicsBytesMax, (*Broker).handleAlterConfigs},
	{35, "DescribeLogDirs", 1, 5, frameTopicsBytesMax, (*Broker).handleDescribeLogDirs},
	{37, "CreatePartitions", 0, 3, frameTopicsBytesMax, (*Broker).handleCreatePartitions},
	{44, "IncrementalAlterConfigs", 0, 1, frameTopicsBytesMax, (*Broker).handleIncrementalAlterConfigs},
	{60, "DescribeCluster", 0, 2, frameSmallBytesMax, (*Broker).handleDescribeCluster},
	{61, "DescribeProducers", 0, 0, frameTopicsBytesMax, (*Broker).handleDescribeProducers},
	{74, "ListConfigResources", 0, 1, frameSmallBytesMax, (*Broker).handleListConfigResources},
	{75, "DescribeTopicPartitions", 0, 0, frameTopicsBytesMax, (*Broker).handleDescribeTopicPartitions},
}
