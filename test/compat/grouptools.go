package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The tools of groups and of the cluster, by the names of their scripts.
const (
	kafkaConsumerGroups     = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	kafkaShareGroups        = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
	kafkaGroups             = "org.apache.kafka.tools.GroupsCommand"
	kafkaVerifiableProducer = "org.apache.kafka.tools.VerifiableProducer"
	kafkaVerifiableConsumer = "org.apache.kafka.tools.VerifiableConsumer"
	kafkaConsumerPerf       = "org.apache.kafka.tools.ConsumerPerformance"
	kafkaACLs               = "org.apache.kafka.tools.AclCommand"
	kafkaMetadataQuorum     = "org.apache.kafka.tools.MetadataQuorumCommand"
	kafkaLeaderElection     = "org.apache.kafka.tools.LeaderElectionCommand"
	kafkaReassign           = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	kafkaClientMetrics      = "org.apache.kafka.tools.ClientMetricsCommand"
)

const groupedRecords = 100 // half of them in each partition of topic grouped

// groupTools are the tools that read in groups, and that look at groups.
func (s *suite) groupTools(ctx context.Context) {
	s.check(ctx, "franz-go produces to grouped", func(ctx context.Context) error {
		if err := s.createTopic(ctx, "grouped", 2, map[string]string{"retention.ms": "-1"}); err != nil {
			return err
		}
		var recs []record
		for i := range groupedRecords {
			recs = append(recs, record{partition: int32(i % 2), timestamp: int64(1_700_000_000_000 + i*1000), key: []byte("k"), value: fmt.Appendf(nil, "%d", i)})
		}
		return (&franzClient{s}).produce(ctx, "grouped", "", recs)
	})
	s.steps(ctx, []step{
		{"kafka-console-consumer --group", kafkaConsole, "--topic grouped --group console --from-beginning --max-messages 100 --timeout-ms 60000", 0,
			[]string{`^0$`, `^99$`, `Processed a total of 100 messages`}},
		{"kafka-console-consumer --group, nothing is left", kafkaConsole, "--topic grouped --group console --from-beginning --max-messages 1 --timeout-ms 8000", 0,
			[]string{`Processed a total of 0 messages`}},
		{"kafka-console-consumer group.protocol=consumer", kafkaConsole,
			"--topic grouped --group console-848 --from-beginning --max-messages 100 --timeout-ms 60000 --command-property group.protocol=consumer", 0,
			[]string{`^0$`, `^99$`, `Processed a total of 100 messages`}},
		{"kafka-console-consumer without a group", kafkaConsole, "--topic grouped --from-beginning --max-messages 100 --timeout-ms 60000", 0,
			[]string{`^0$`, `^99$`, `Processed a total of 100 messages`}},
		{"kafka-verifiable-producer", kafkaVerifiableProducer, "--topic verifiable --max-messages 1000", 0,
			[]string{`"name":"producer_send_success"`, `"name":"tool_data","sent":1000,"acked":1000,`, `!producer_send_error`}},
		{"kafka-verifiable-consumer", kafkaVerifiableConsumer, "--topic verifiable --group-id verifiable --max-messages 1000 --reset-policy earliest", 0,
			[]string{`"name":"partitions_assigned"`, `"name":"records_consumed"`, `"name":"offsets_committed","offsets":\[\{"topic":"verifiable","partition":0,"offset":1000\}\],"success":true`}},
		{"kafka-verifiable-consumer --group-protocol consumer", kafkaVerifiableConsumer,
			"--topic verifiable --group-id verifiable-848 --max-messages 1000 --reset-policy earliest --group-protocol consumer", 0,
			[]string{`"name":"partitions_assigned"`, `"name":"records_consumed"`, `"name":"offsets_committed"`}},
		{"kafka-consumer-perf-test", kafkaConsumerPerf, "--topic verifiable --group perf --num-records 1000 --timeout 60000", 0,
			[]string{`^[0-9: ,.-]+ 1000, `, `!WARNING`}},
		{"kafka-get-offsets __consumer_offsets", kafkaGetOffsets, "--topic __consumer_offsets --exclude-internal-topics", 1, nil},
		{"kafka-topics --describe __consumer_offsets", kafkaTopics, "--describe --topic __consumer_offsets", 0,
			[]string{`Topic: __consumer_offsets\s.*PartitionCount: 50\s.*cleanup\.policy=compact`}},
		{"kafka-consumer-groups --list", kafkaConsumerGroups, "--list", 0, []string{`^console$`, `^console-848$`, `^verifiable$`, `^perf$`}},
		{"kafka-consumer-groups --list --state", kafkaConsumerGroups, "--list --state", 0, []string{`^console\s+Empty`, `^console-848\s+Empty`}},
		{"kafka-consumer-groups --list --state Stable", kafkaConsumerGroups, "--list --state Stable", 0, []string{`!^console\s`}},
		{"kafka-consumer-groups --list --type", kafkaConsumerGroups, "--list --type", 0, []string{`^console\s+Classic`, `^console-848\s+Consumer`}},
		{"kafka-consumer-groups --list --type consumer", kafkaConsumerGroups, "--list --type consumer", 0, []string{`!^console\s+Classic`, `^console-848\s+Consumer`}},
		{"kafka-groups --list", kafkaGroups, "--list", 0, []string{`^console\s+Classic\s+consumer`, `^console-848\s+Consumer\s+consumer`}},
		{"kafka-groups --list --group-type consumer", kafkaGroups, "--list --group-type consumer", 0, []string{`^console-848\s+Consumer`, `!^console\s`}},
		{"kafka-consumer-groups --describe", kafkaConsumerGroups, "--describe --group console", 0,
			[]string{`Consumer group 'console' has no active members`, `^console\s+grouped\s+0\s+50\s+50\s+0\s+-`, `^console\s+grouped\s+1\s+50\s+50\s+0\s+-`}},
		{"kafka-consumer-groups --describe --state", kafkaConsumerGroups, "--describe --state --group console", 0, []string{`^console\s+\S+:\d+\s+\(1\)\s+.*Empty\s+0`}},
		{"kafka-consumer-groups --describe --members", kafkaConsumerGroups, "--describe --members --group console", 0, []string{`has no active members`}},
		{"kafka-consumer-groups --describe --all-groups", kafkaConsumerGroups, "--describe --all-groups", 0,
			[]string{`^console\s+grouped\s+0\s+50`, `^console-848\s+grouped\s+1\s+50`, `^verifiable\s+verifiable\s+0\s+1000\s+1000\s+0`}},
		{"kafka-consumer-groups --describe, unknown", kafkaConsumerGroups, "--describe --group nobody", 0, []string{`GroupIdNotFoundException: Group nobody not found`}},
	})
	s.resetOffsets(ctx)
	s.activeGroups(ctx)
}

// resetOffsets moves the offsets of an empty group, and deletes them, and the group.
func (s *suite) resetOffsets(ctx context.Context) {
	reset := "--reset-offsets --group console --topic grouped"
	s.steps(ctx, []step{
		{"kafka-consumer-groups --reset-offsets --dry-run", kafkaConsumerGroups, reset + " --to-earliest --dry-run", 0,
			[]string{`^console\s+grouped\s+0\s+0\s*$`, `^console\s+grouped\s+1\s+0\s*$`}},
		{"kafka-consumer-groups --describe after --dry-run", kafkaConsumerGroups, "--describe --group console", 0, []string{`^console\s+grouped\s+0\s+50\s+50\s+0`}},
		{"kafka-consumer-groups --reset-offsets --to-earliest", kafkaConsumerGroups, reset + " --to-earliest --execute", 0, []string{`^console\s+grouped\s+0\s+0\s*$`}},
		{"kafka-consumer-groups --describe, lag after reset", kafkaConsumerGroups, "--describe --group console", 0,
			[]string{`^console\s+grouped\s+0\s+0\s+50\s+50`, `^console\s+grouped\s+1\s+0\s+50\s+50`}},
		{"kafka-consumer-groups --reset-offsets --to-datetime", kafkaConsumerGroups, reset + " --to-datetime 2023-11-14T22:13:30.000+00:00 --execute", 0,
			[]string{`^console\s+grouped\s+0\s+5\s*$`, `^console\s+grouped\s+1\s+5\s*$`}},
		{"kafka-consumer-groups --reset-offsets --shift-by", kafkaConsumerGroups, reset + ":1 --shift-by 20 --execute", 0, []string{`^console\s+grouped\s+1\s+25\s*$`}},
		{"kafka-consumer-groups --reset-offsets --to-offset, too far", kafkaConsumerGroups, reset + ":0 --to-offset 1000 --execute", 0, []string{`^console\s+grouped\s+0\s+50\s*$`}},
		{"kafka-consumer-groups --reset-offsets, group.protocol=consumer", kafkaConsumerGroups, "--reset-offsets --group console-848 --topic grouped --to-offset 10 --execute", 0,
			[]string{`^console-848\s+grouped\s+0\s+10\s*$`}},
		{"kafka-consumer-groups --reset-offsets, a new group", kafkaConsumerGroups, "--reset-offsets --group fresh --topic grouped --to-latest --execute", 0,
			[]string{`^fresh\s+grouped\s+1\s+50\s*$`}},
		{"kafka-console-consumer reads on where the reset put it", kafkaConsole, "--topic grouped --group console --max-messages 25 --timeout-ms 60000", 0,
			[]string{`^51$`, `^99$`, `!^49$`, `!^98$`, `Processed a total of 25 messages`}},
		{"kafka-consumer-groups --delete-offsets", kafkaConsumerGroups, "--delete-offsets --group fresh --topic grouped:0", 0, []string{`^grouped\s+0\s+Successful`}},
		{"kafka-consumer-groups --describe after --delete-offsets", kafkaConsumerGroups, "--describe --group fresh", 0,
			[]string{`^fresh\s+grouped\s+1\s+50`, `!^fresh\s+grouped\s+0`}},
		{"kafka-consumer-groups --delete", kafkaConsumerGroups, "--delete --group fresh --group console-848", 0, []string{`Deletion of requested consumer groups \(.*'fresh'.*\) was successful`}},
		{"kafka-consumer-groups --delete, unknown", kafkaConsumerGroups, "--delete --group fresh", 0, []string{`GroupIdNotFoundException`}},
		{"kafka-consumer-groups --list after --delete", kafkaConsumerGroups, "--list", 0, []string{`!^fresh$`, `!^console-848$`, `^console$`}},
	})
}

// activeGroups looks at groups that have a member each, and tries what must not be done to those.
func (s *suite) activeGroups(ctx context.Context) {
	for group, opts := range map[string][]kgo.Opt{
		"active":     nil,
		"active-848": {kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())},
	} {
		s.check(ctx, "franz-go reads in group "+group, func(ctx context.Context) error {
			stop, err := s.activeMember(ctx, group, opts...)
			defer stop()
			if err != nil {
				return err
			}
			steps := activeSteps(group)
			s.steps(ctx, steps)
			return nil
		})
	}
	s.steps(ctx, []step{
		{"kafka-consumer-groups --list --state, after the members left", kafkaConsumerGroups, "--list --state", 0, []string{`^active\s+Empty`, `^active-848\s+Empty`}},
		{"kafka-consumer-groups --delete, after the members left", kafkaConsumerGroups, "--delete --group active --group active-848", 0, []string{`was successful`}},
	})
}

func activeSteps(group string) []step {
	kind, assignor := "Classic", "cooperative-sticky"
	if strings.HasSuffix(group, "848") {
		kind, assignor = "Consumer", "uniform"
	}
	client := `\S+\s+/127\.0\.0\.1\s+tool-member`
	return []step{
		{group + ": kafka-consumer-groups --describe", kafkaConsumerGroups, "--describe --group " + group, 0, []string{`^` + group + `\s+grouped\s+0\s+(50|-)\s+50\s+(0|-)\s+` + client}},
		{group + ": kafka-consumer-groups --describe --members", kafkaConsumerGroups, "--describe --members --group " + group, 0, []string{`^` + group + `\s+` + client + `\s+2`}},
		{group + ": kafka-consumer-groups --describe --members --verbose", kafkaConsumerGroups, "--describe --members --verbose --group " + group, 0,
			[]string{`^` + group + `\s+.*` + client + `.*grouped[:(]0,1`}},
		{group + ": kafka-consumer-groups --describe --state", kafkaConsumerGroups, "--describe --state --group " + group, 0,
			[]string{`^` + group + `\s+\S+:\d+\s+\(1\)\s+` + assignor + `\s+Stable\s+1`}},
		{group + ": kafka-groups --list", kafkaGroups, "--list", 0, []string{`^` + group + `\s+` + kind + `\s+consumer`}},
		{group + ": kafka-consumer-groups --list --state stable", kafkaConsumerGroups, "--list --state stable", 0, []string{`^` + group + `\s+Stable`}},
		{group + ": kafka-consumer-groups --reset-offsets of an active group", kafkaConsumerGroups, "--reset-offsets --to-earliest --topic grouped --execute --group " + group, 0,
			[]string{`can only be reset if the group '` + group + `' is inactive, but the current state is Stable`}},
		{group + ": kafka-consumer-groups --delete of an active group", kafkaConsumerGroups, "--delete --group " + group, 0, []string{`GroupNotEmptyException|NonEmptyGroup|not empty`}},
		{group + ": kafka-consumer-groups --delete-offsets of a subscribed topic", kafkaConsumerGroups, "--delete-offsets --topic grouped --group " + group, 0,
			[]string{`(?i)subscribed`}},
	}
}

// activeMember is a member that has read all of topic grouped; stop makes it leave.
func (s *suite) activeMember(ctx context.Context, group string, opts ...kgo.Opt) (stop func(), err error) {
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.broker.bootstrap), kgo.ClientID("tool-member"), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics("grouped"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return func() {}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for count := 0; count < groupedRecords; {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return cl.Close, err
		}
		count += fetches.NumRecords()
	}
	return cl.Close, cl.CommitUncommittedOffsets(ctx)
}

// clusterTools ask what a cluster of one node can tell, and for what it cannot do.
func (s *suite) clusterTools(ctx context.Context) {
	s.steps(ctx, []step{
		{"kafka-acls --list, no authorizer", kafkaACLs, "--list", 1, []string{`SecurityDisabledException: No Authorizer is configured`}},
		{"kafka-acls --add, no authorizer", kafkaACLs, "--add --allow-principal User:alice --operation Read --topic grouped", 1, []string{`SecurityDisabledException: No Authorizer is configured`}},
		{"kafka-acls --remove, no authorizer", kafkaACLs, "--remove --force --topic grouped", 1, []string{`SecurityDisabledException: No Authorizer is configured`}},
		{"kafka-metadata-quorum describe --status", kafkaMetadataQuorum, "BOOTSTRAP describe --status", 0,
			[]string{`^ClusterId:\s+\S{22}$`, `^LeaderId:\s+1$`, `^LeaderEpoch:\s+\d+$`, `^MaxFollowerLag:\s+0$`, `^CurrentVoters:\s+\[\{"id": 1`, `^CurrentObservers:\s+\[\]$`}},
		{"kafka-metadata-quorum describe --replication", kafkaMetadataQuorum, "BOOTSTRAP describe --replication", 0, []string{`^1\s+\S{22}\s+\d+\s+0\s+\d+\s+\d+\s+Leader`}},
		{"kafka-leader-election preferred", kafkaLeaderElection, "--election-type preferred --topic grouped --partition 0", 0, []string{`Valid replica already elected for partitions grouped-0`}},
		{"kafka-leader-election preferred --all-topic-partitions", kafkaLeaderElection, "--election-type preferred --all-topic-partitions", 0, []string{`!Error|errors\.`}},
		{"kafka-leader-election unclean", kafkaLeaderElection, "--election-type unclean --topic grouped --partition 0", 0, []string{`Valid replica already elected for partitions grouped-0`}},
		{"kafka-leader-election, unknown topic", kafkaLeaderElection, "--election-type preferred --topic nobody --partition 0", 1, []string{`UnknownTopicOrPartition|does not exist|No such partition`}},
		{"kafka-client-metrics --list", kafkaClientMetrics, "--list", 0, []string{`!Error|errors\.`}},
		{"kafka-client-metrics --describe", kafkaClientMetrics, "--describe", 0, []string{`!Error|errors\.`}},
		{"kafka-features describe, by name", kafkaFeatures, "BOOTSTRAP describe", 0,
			[]string{`^Feature: group\.version\s+SupportedMinVersion: 0\s+SupportedMaxVersion: 1\s+FinalizedVersionLevel: 1`}},
		{"kafka-features upgrade, too far", kafkaFeatures, "BOOTSTRAP upgrade --feature group.version=9", 1, []string{`Could not upgrade group\.version to 9`}},
		{"kafka-features upgrade, same level", kafkaFeatures, "BOOTSTRAP upgrade --feature group.version=1", 0, []string{`group\.version was upgraded to 1`}},
		{"kafka-broker-api-versions, groups", kafkaAPIVersions, "", 0, []string{`OffsetCommit\(8\): 2 to 10`, `OffsetFetch\(9\): 1 to 10`, `FindCoordinator\(10\): 0 to 6`,
			`JoinGroup\(11\): 0 to 9`, `SyncGroup\(14\): 0 to 5`, `DescribeGroups\(15\): 0 to 6`, `ListGroups\(16\): 0 to 5`, `DeleteGroups\(42\): 0 to 2`, `ConsumerGroupHeartbeat\(68\): 0 to 1`,
			`ConsumerGroupDescribe\(69\): 0 to 1`}},
		{"kafka-configs group --alter", kafkaConfigs, "--alter --entity-type groups --entity-name console --add-config consumer.session.timeout.ms=50000", 0, []string{`Completed updating config for group console`}},
		{"kafka-configs group --describe", kafkaConfigs, "--describe --entity-type groups --entity-name console", 0, []string{`consumer\.session\.timeout\.ms=50000 .*DYNAMIC_GROUP_CONFIG`}},
		{"kafka-configs group --alter, out of range", kafkaConfigs, "--alter --entity-type groups --entity-name console --add-config consumer.session.timeout.ms=1", 1, []string{`consumer\.session\.timeout\.ms`}},
		{"kafka-configs group --delete-config", kafkaConfigs, "--alter --entity-type groups --entity-name console --delete-config consumer.session.timeout.ms", 0, nil},
		{"kafka-configs users --describe", kafkaConfigs, "--describe --entity-type users", 0, []string{`!Error|errors\.`}},
		{"kafka-share-groups --list", kafkaShareGroups, "--list", 0, []string{`!Error|errors\.`}},
	})
	s.reassign(ctx)
}

// reassign: one broker has one choice.
func (s *suite) reassign(ctx context.Context) {
	topics, same, other := s.path("topics.json"), s.path("same.json"), s.path("other.json")
	texts := map[string]string{
		topics: `{"topics":[{"topic":"grouped"}],"version":1}`,
		same:   `{"version":1,"partitions":[{"topic":"grouped","partition":0,"replicas":[1]},{"topic":"grouped","partition":1,"replicas":[1]}]}`,
		other:  `{"version":1,"partitions":[{"topic":"grouped","partition":0,"replicas":[2]}]}`,
	}
	for file, text := range texts {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.check(ctx, "kafka-reassign-partitions", func(context.Context) error { return err })
			return
		}
	}
	s.steps(ctx, []step{
		{"kafka-reassign-partitions --list", kafkaReassign, "--list", 0, []string{`No partition reassignments found`}},
		{"kafka-reassign-partitions --generate", kafkaReassign, "--generate --topics-to-move-json-file " + topics + " --broker-list 1", 0,
			[]string{`^\{"version":1,"partitions":\[\{"topic":"grouped","partition":0,"replicas":\[1\],"log_dirs":\["any"\]\}`}},
		{"kafka-reassign-partitions --execute", kafkaReassign, "--execute --reassignment-json-file " + same, 0, []string{`Successfully started partition reassignments for grouped-0,grouped-1`}},
		{"kafka-reassign-partitions --verify", kafkaReassign, "--verify --reassignment-json-file " + same, 0, []string{`Reassignment of partition grouped-0 is completed`, `grouped-1 is completed`}},
		{"kafka-reassign-partitions --execute, unknown broker", kafkaReassign, "--execute --reassignment-json-file " + other, 1, []string{`Unknown broker id 2`}},
	})
}
