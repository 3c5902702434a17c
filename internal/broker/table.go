package broker

import (
	"context"
	"math"

	"ottla/internal/wire"
)

// Frame limits, in bytes. Every API but Produce gets only what its largest honest
// request needs: 4 MiB name more than 80,000 partitions, or hold what one member of a group
// says of itself.
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
	groups        bool // served only where there is a coordinator of groups
}

// apiTable is the one list of APIs, by ascending key. Produce 0 to 2 are advertised
// and refused (see 00_produce.go). Of Kafka's others, those of transactions, share groups and
// streams groups are not served, nor those of a quorum that can change.
var apiTable = []api{
	{0, "Produce", 0, 13, frameProduceBytesMax, (*Broker).handleProduce, false},
	{1, "Fetch", 4, 18, frameTopicsBytesMax, (*Broker).handleFetch, false},
	{2, "ListOffsets", 1, 11, frameTopicsBytesMax, (*Broker).handleListOffsets, false},
	{3, "Metadata", 0, 13, frameTopicsBytesMax, (*Broker).handleMetadata, false},
	{8, "OffsetCommit", 2, 10, frameTopicsBytesMax, (*Broker).handleOffsetCommit, true},
	{9, "OffsetFetch", 1, 10, frameTopicsBytesMax, (*Broker).handleOffsetFetch, true},
	{10, "FindCoordinator", 0, 6, frameSmallBytesMax, (*Broker).handleFindCoordinator, false},
	{11, "JoinGroup", 0, 9, frameTopicsBytesMax, (*Broker).handleJoinGroup, true},
	{12, "Heartbeat", 0, 4, frameSmallBytesMax, (*Broker).handleHeartbeat, true},
	{13, "LeaveGroup", 0, 5, frameTopicsBytesMax, (*Broker).handleLeaveGroup, true},
	{14, "SyncGroup", 0, 5, frameTopicsBytesMax, (*Broker).handleSyncGroup, true},
	{15, "DescribeGroups", 0, 6, frameTopicsBytesMax, (*Broker).handleDescribeGroups, true},
	{16, "ListGroups", 0, 5, frameSmallBytesMax, (*Broker).handleListGroups, true},
	{17, "SaslHandshake", 0, 1, frameSmallBytesMax, (*Broker).handleSaslHandshake, false},
	{18, "ApiVersions", 0, 4, frameSmallBytesMax, (*Broker).handleApiVersions, false},
	{19, "CreateTopics", 2, 7, frameTopicsBytesMax, (*Broker).handleCreateTopics, false},
	{20, "DeleteTopics", 1, 6, frameTopicsBytesMax, (*Broker).handleDeleteTopics, false},
	{21, "DeleteRecords", 0, 2, frameTopicsBytesMax, (*Broker).handleDeleteRecords, false},
	{22, "InitProducerId", 0, 5, frameSmallBytesMax, (*Broker).handleInitProducerId, false},
	{23, "OffsetForLeaderEpoch", 2, 4, frameTopicsBytesMax, (*Broker).handleOffsetForLeaderEpoch, false},
	{29, "DescribeAcls", 1, 3, frameSmallBytesMax, (*Broker).handleDescribeACLs, false},
	{30, "CreateAcls", 1, 3, frameTopicsBytesMax, (*Broker).handleCreateACLs, false},
	{31, "DeleteAcls", 1, 3, frameTopicsBytesMax, (*Broker).handleDeleteACLs, false},
	{32, "DescribeConfigs", 1, 4, frameTopicsBytesMax, (*Broker).handleDescribeConfigs, false},
	{33, "AlterConfigs", 0, 2, frameTopicsBytesMax, (*Broker).handleAlterConfigs, false},
	{34, "AlterReplicaLogDirs", 1, 2, frameTopicsBytesMax, (*Broker).handleAlterReplicaLogDirs, false},
	{35, "DescribeLogDirs", 1, 5, frameTopicsBytesMax, (*Broker).handleDescribeLogDirs, false},
	{36, "SaslAuthenticate", 0, 2, frameSmallBytesMax, (*Broker).handleSaslAuthenticate, false},
	{37, "CreatePartitions", 0, 3, frameTopicsBytesMax, (*Broker).handleCreatePartitions, false},
	{38, "CreateDelegationToken", 1, 3, frameSmallBytesMax, (*Broker).handleCreateDelegationToken, false},
	{39, "RenewDelegationToken", 1, 2, frameSmallBytesMax, (*Broker).handleRenewDelegationToken, false},
	{40, "ExpireDelegationToken", 1, 2, frameSmallBytesMax, (*Broker).handleExpireDelegationToken, false},
	{41, "DescribeDelegationToken", 1, 3, frameSmallBytesMax, (*Broker).handleDescribeDelegationToken, false},
	{42, "DeleteGroups", 0, 2, frameTopicsBytesMax, (*Broker).handleDeleteGroups, true},
	{43, "ElectLeaders", 0, 2, frameTopicsBytesMax, (*Broker).handleElectLeaders, false},
	{44, "IncrementalAlterConfigs", 0, 1, frameTopicsBytesMax, (*Broker).handleIncrementalAlterConfigs, false},
	{45, "AlterPartitionReassignments", 0, 1, frameTopicsBytesMax, (*Broker).handleAlterPartitionReassignments, false},
	{46, "ListPartitionReassignments", 0, 0, frameTopicsBytesMax, (*Broker).handleListPartitionReassignments, false},
	{47, "OffsetDelete", 0, 0, frameTopicsBytesMax, (*Broker).handleOffsetDelete, true},
	{48, "DescribeClientQuotas", 0, 1, frameSmallBytesMax, (*Broker).handleDescribeClientQuotas, false},
	{49, "AlterClientQuotas", 0, 1, frameTopicsBytesMax, (*Broker).handleAlterClientQuotas, false},
	{50, "DescribeUserScramCredentials", 0, 0, frameSmallBytesMax, (*Broker).handleDescribeUserScramCredentials, false},
	{51, "AlterUserScramCredentials", 0, 0, frameSmallBytesMax, (*Broker).handleAlterUserScramCredentials, false},
	{55, "DescribeQuorum", 0, 2, frameSmallBytesMax, (*Broker).handleDescribeQuorum, false},
	{57, "UpdateFeatures", 0, 2, frameSmallBytesMax, (*Broker).handleUpdateFeatures, false},
	{60, "DescribeCluster", 0, 2, frameSmallBytesMax, (*Broker).handleDescribeCluster, false},
	{61, "DescribeProducers", 0, 0, frameTopicsBytesMax, (*Broker).handleDescribeProducers, false},
	{65, "DescribeTransactions", 0, 0, frameTopicsBytesMax, (*Broker).handleDescribeTransactions, false},
	{66, "ListTransactions", 0, 2, frameSmallBytesMax, (*Broker).handleListTransactions, false},
	{68, "ConsumerGroupHeartbeat", 0, 1, frameTopicsBytesMax, (*Broker).handleConsumerGroupHeartbeat, true},
	{69, "ConsumerGroupDescribe", 0, 1, frameTopicsBytesMax, (*Broker).handleConsumerGroupDescribe, true},
	{71, "GetTelemetrySubscriptions", 0, 0, frameSmallBytesMax, (*Broker).handleGetTelemetrySubscriptions, false},
	{72, "PushTelemetry", 0, 0, frameTopicsBytesMax, (*Broker).handlePushTelemetry, false},
	{74, "ListConfigResources", 0, 1, frameSmallBytesMax, (*Broker).handleListConfigResources, false},
	{75, "DescribeTopicPartitions", 0, 0, frameTopicsBytesMax, (*Broker).handleDescribeTopicPartitions, false},
}
