package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The command line tools of Apache Kafka, by the names of their scripts.
const (
	kafkaTopics        = "org.apache.kafka.tools.TopicCommand"
	kafkaConfigs       = "kafka.admin.ConfigCommand"
	kafkaGetOffsets    = "org.apache.kafka.tools.GetOffsetShell"
	kafkaDeleteRecords = "org.apache.kafka.tools.DeleteRecordsCommand"
	kafkaLogDirs       = "org.apache.kafka.tools.LogDirsCommand"
	kafkaProducerPerf  = "org.apache.kafka.tools.ProducerPerformance"
	kafkaDumpLog       = "org.apache.kafka.tools.DumpLogSegments"
	kafkaAPIVersions   = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	kafkaCluster       = "org.apache.kafka.tools.ClusterTool"
	kafkaTransactions  = "org.apache.kafka.tools.TransactionsCommand"
	kafkaFeatures      = "org.apache.kafka.tools.FeatureCommand"
	kafkaConsole       = "org.apache.kafka.tools.consumer.ConsoleConsumer"
)

// expect runs a tool against the broker and holds its output to patterns, multi-line, each of which must match; one
// that begins with "!" must not.
func (s *suite) expect(ctx context.Context, tool string, args []string, exit int, patterns ...string) error {
	// Some tools want it before their subcommand, some after, and some end the JVM if they do not get it so.
	if at := slices.Index(args, "BOOTSTRAP"); at >= 0 {
		args = slices.Replace(args, at, at+1, "--bootstrap-server", s.broker.bootstrap)
	} else {
		args = append(args, "--bootstrap-server", s.broker.bootstrap)
	}
	run := s.jvm.tool
	if ownProcess[tool] {
		run = s.toolProcess
	}
	r, err := run(ctx, tool, args...)
	if err != nil {
		return err
	}
	return s.judge(r, args, exit, patterns...)
}

// ownProcess are the tools that do the last part of their work when their JVM ends.
var ownProcess = map[string]bool{kafkaVerifiableProducer: true, kafkaVerifiableConsumer: true}

func (s *suite) toolProcess(ctx context.Context, class string, args ...string) (r toolResult, err error) {
	flags := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(s.options.cache, "libs", "*"), class}
	cmd := exec.CommandContext(ctx, "java", append(flags, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if code := (*exec.ExitError)(nil); errors.As(err, &code) && ctx.Err() == nil {
		r.Exit, err = code.ExitCode(), nil
	}
	r.Stdout, r.Stderr = stdout.String(), stderr.String()
	return r, err
}

func (s *suite) judge(r toolResult, args []string, exit int, patterns ...string) error {
	all := r.Stdout + r.Stderr
	if s.options.verbose {
		fmt.Printf("--- %q\n%s\n", args, all)
	}
	if r.Exit != exit {
		return fmt.Errorf("%q exits with %d, expected %d: %s", args, r.Exit, exit, all)
	}
	for _, p := range patterns {
		pattern, not := strings.CutPrefix(p, "!")
		if regexp.MustCompile("(?m)"+pattern).MatchString(all) == not {
			return fmt.Errorf("%q printed, against %q: %.2000s", args, p, all)
		}
	}
	return nil
}

// step is one run of a tool.
type step struct {
	name     string
	tool     string
	args     string // fields, separated by spaces
	exit     int
	patterns []string
}

func (s *suite) steps(ctx context.Context, steps []step) {
	for _, st := range steps {
		s.check(ctx, st.name, func(ctx context.Context) error {
			return s.expect(ctx, st.tool, strings.Fields(st.args), st.exit, st.patterns...)
		})
	}
}

func (s *suite) topicTools(ctx context.Context) {
	s.steps(ctx, []step{
		{"kafka-topics --create", kafkaTopics, "--create --topic tools --partitions 2 --replication-factor 1 --config retention.ms=3600000", 0,
			[]string{`^Created topic tools\.$`}},
		{"kafka-topics --create, which exists", kafkaTopics, "--create --topic tools", 1, []string{`Topic 'tools' already exists`}},
		{"kafka-topics --create --if-not-exists", kafkaTopics, "--create --topic tools --if-not-exists", 0, nil},
		{"kafka-topics --create, defaults", kafkaTopics, "--create --topic tools-defaults", 0, []string{`^Created topic tools-defaults\.$`}},
		{"kafka-topics --create, bad name", kafkaTopics, "--create --topic a/b", 1, []string{`(?i)invalid|illegal`}},
		{"kafka-topics --create, bad config", kafkaTopics, "--create --topic bad --config retention.ms=soon", 1, []string{`(?i)retention\.ms`}},
		{"kafka-topics --list", kafkaTopics, "--list", 0, []string{`^tools$`, `^tools-defaults$`, `^matrix-java-gzip$`, `!^bad$`}},
		{"kafka-topics --describe", kafkaTopics, "--describe --topic tools", 0, []string{
			`^Topic: tools\s+TopicId: \S{22}\s+PartitionCount: 2\s+ReplicationFactor: 1\s+Configs: .*retention\.ms=3600000`,
			`^\s+Topic: tools\s+Partition: 1\s+Leader: (\d+)\s+Replicas: \d+\s+Isr: \d+`}},
		{"kafka-topics --describe all", kafkaTopics, "--describe", 0, []string{`^Topic: tools\s`, `^Topic: matrix-kcat-zstd\s`}},
		{"kafka-topics --describe --unavailable-partitions", kafkaTopics, "--describe --unavailable-partitions", 0, []string{`!Topic:`}},
		{"kafka-topics --describe --under-replicated-partitions", kafkaTopics, "--describe --under-replicated-partitions", 0, []string{`!Topic:`}},
		{"kafka-topics --describe, unknown", kafkaTopics, "--describe --topic nobody", 1, []string{`Topic 'nobody' does not exist`}},
		{"kafka-topics --alter --partitions 5", kafkaTopics, "--alter --topic tools --partitions 5", 0, nil},
		{"kafka-topics --describe after --alter", kafkaTopics, "--describe --topic tools", 0, []string{`PartitionCount: 5`, `Partition: 4\s+Leader: \d+`}},
		{"kafka-topics --alter, fewer partitions", kafkaTopics, "--alter --topic tools --partitions 3", 1, []string{`would not be an increase`}},
		{"kafka-configs topic --alter --add-config", kafkaConfigs, "--alter --entity-type topics --entity-name tools --add-config retention.ms=7200000,max.message.bytes=2000000", 0,
			[]string{`Completed updating config for topic tools`}},
		{"kafka-configs topic --describe", kafkaConfigs, "--describe --entity-type topics --entity-name tools", 0,
			[]string{`^\s+retention\.ms=7200000 `, `^\s+max\.message\.bytes=2000000 .*DYNAMIC_TOPIC_CONFIG:max\.message\.bytes=2000000`}},
		{"kafka-configs topic --describe --all", kafkaConfigs, "--describe --entity-type topics --entity-name tools --all", 0,
			[]string{`^\s+cleanup\.policy=delete `, `^\s+segment\.bytes=1073741824 `, `^\s+compression\.type=producer `}},
		{"kafka-configs topic --alter --delete-config", kafkaConfigs, "--alter --entity-type topics --entity-name tools --delete-config max.message.bytes", 0, nil},
		{"kafka-configs topic --describe, deleted", kafkaConfigs, "--describe --entity-type topics --entity-name tools", 0,
			[]string{`retention\.ms=7200000`, `!max\.message\.bytes`}},
		{"kafka-configs topic --alter, unknown key", kafkaConfigs, "--alter --entity-type topics --entity-name tools --add-config nobody.knows=1", 1, []string{`nobody\.knows`}},
		{"kafka-configs topic --alter, bad value", kafkaConfigs, "--alter --entity-type topics --entity-name tools --add-config retention.ms=soon", 1, []string{`retention\.ms`}},
	})
	s.brokerConfigs(ctx)
	s.steps(ctx, []step{
		{"kafka-topics --delete", kafkaTopics, "--delete --topic tools", 0, nil},
		{"kafka-topics --delete, unknown", kafkaTopics, "--delete --topic tools-never", 1, []string{`Topic 'tools-never' does not exist`}},
		{"kafka-topics --list after --delete", kafkaTopics, "--list", 0, []string{`!^tools$`, `^tools-defaults$`}},
		{"kafka-broker-api-versions", kafkaAPIVersions, "", 0, []string{
			`^\S+:\d+ \(id: \d+ rack: \S+ isFenced: false\) -> \(`, `Produce\(0\): 0 to 13`, `Fetch\(1\): 4 to 1[78]`, `ListOffsets\(2\): 1 to 1[01]`,
			`Metadata\(3\): 0 to 13`, `ApiVersions\(18\): 0 to [45]`, `CreateTopics\(19\): 2 to 7`, `InitProducerId\(22\): 0 to [56]`,
			`DescribeProducers\(61\): 0`, `DescribeTopicPartitions\(75\): 0`}},
		{"kafka-cluster cluster-id", kafkaCluster, "cluster-id", 0, []string{`^Cluster ID: \S{22}$`}},
	})
}

// brokerConfigs changes what every broker lets change: the default of retention, for the whole cluster.
func (s *suite) brokerConfigs(ctx context.Context) {
	s.steps(ctx, []step{
		{"kafka-configs broker --describe --all", kafkaConfigs, "--describe --entity-type brokers --entity-name 1 --all", 0,
			[]string{`^\s+node\.id=1 `, `^\s+num\.partitions=1 `, `^\s+log\.retention\.ms=`}},
		{"kafka-configs broker --alter", kafkaConfigs, "--alter --entity-type brokers --entity-default --add-config log.retention.ms=86400000", 0,
			[]string{`Completed updating default config for brokers`}},
		{"kafka-configs broker --describe", kafkaConfigs, "--describe --entity-type brokers --entity-default", 0, []string{`log\.retention\.ms=86400000`}},
		{"kafka-configs topic inherits from broker", kafkaConfigs, "--describe --entity-type topics --entity-name tools-defaults --all", 0,
			[]string{`^\s+retention\.ms=86400000 .*DYNAMIC_DEFAULT_BROKER_CONFIG:log\.retention\.ms=86400000`}},
		{"kafka-configs broker --delete-config", kafkaConfigs, "--alter --entity-type brokers --entity-default --delete-config log.retention.ms", 0, nil},
		{"kafka-configs broker --describe, deleted", kafkaConfigs, "--describe --entity-type brokers --entity-default", 0, []string{`!log\.retention\.ms`}},
		{"kafka-configs broker --alter, read only", kafkaConfigs, "--alter --entity-type brokers --entity-name 1 --add-config node.id=9", 1, []string{`node\.id`}},
	})
}

// dataTools look at what lies in a log: offsets, their deletion, sizes.
func (s *suite) dataTools(ctx context.Context) {
	const topic, count = "offsets", 100
	franz := &franzClient{s}
	var recs []record
	for i := range count {
		recs = append(recs, record{partition: int32(i % 2), timestamp: int64(1_700_000_000_000 + i*1000), key: []byte("k"), value: fmt.Appendf(nil, "%d", i)})
	}
	s.check(ctx, "franz-go produces to "+topic, func(ctx context.Context) error {
		// The records are years old; they shall not be deleted for that meanwhile.
		if err := s.createTopic(ctx, topic, 2, map[string]string{"retention.ms": "-1"}); err != nil {
			return err
		}
		return franz.produce(ctx, topic, "", recs)
	})
	s.steps(ctx, []step{
		{"kafka-get-offsets", kafkaGetOffsets, "--topic " + topic, 0, []string{`^offsets:0:50$`, `^offsets:1:50$`}},
		{"kafka-get-offsets --time earliest", kafkaGetOffsets, "--topic offsets --time earliest", 0, []string{`^offsets:0:0$`}},
		{"kafka-get-offsets --time max-timestamp", kafkaGetOffsets, "--topic offsets --time max-timestamp", 0, []string{`^offsets:0:49$`, `^offsets:1:49$`}},
		{"kafka-get-offsets --time TIMESTAMP", kafkaGetOffsets, "--topic offsets --time 1700000010000", 0, []string{`^offsets:0:5$`, `^offsets:1:5$`}},
		{"kafka-get-offsets --time TIMESTAMP between", kafkaGetOffsets, "--topic offsets --time 1700000010001", 0, []string{`^offsets:0:6$`, `^offsets:1:5$`}},
		{"kafka-get-offsets, all topics", kafkaGetOffsets, "", 0, []string{`^offsets:1:50$`, `^matrix-java-none:2:93$`}},
	})
	s.check(ctx, "kcat -Q", func(ctx context.Context) error {
		out, err := (&kcatClient{s}).run(ctx, nil, "-Q", "-t", "offsets:0:1700000010000")
		if err == nil && strings.TrimSpace(string(out)) != "offsets [0] offset 5" {
			err = fmt.Errorf("printed %q", out)
		}
		return err
	})
	s.check(ctx, "kafka-delete-records", func(ctx context.Context) error {
		file := s.path("delete.json")
		text := `{"partitions":[{"topic":"offsets","partition":0,"offset":7},{"topic":"offsets","partition":1,"offset":-1}],"version":1}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		return s.expect(ctx, kafkaDeleteRecords, []string{"--offset-json-file", file}, 0,
			`partition: offsets-0\s+low_watermark: 7`, `partition: offsets-1\s+low_watermark: 50`)
	})
	s.steps(ctx, []step{
		{"kafka-get-offsets --time earliest, deleted", kafkaGetOffsets, "--topic offsets --time earliest", 0, []string{`^offsets:0:7$`, `^offsets:1:50$`}},
		{"kafka-get-offsets, deleted", kafkaGetOffsets, "--topic offsets", 0, []string{`^offsets:0:50$`, `^offsets:1:50$`}},
	})
	s.check(ctx, "franz-go reads from the new start", func(ctx context.Context) error {
		got, err := franz.consume(ctx, topic)
		if err == nil && (len(got) != 43 || got[0].offset != 7 || string(got[0].value) != "14") {
			err = fmt.Errorf("%d records, first %+v", len(got), got[:min(1, len(got))])
		}
		return err
	})
	s.check(ctx, "kafka-log-dirs", s.logDirs)
}

func (s *suite) logDirs(ctx context.Context) error {
	r, err := s.jvm.tool(ctx, kafkaLogDirs, "--bootstrap-server", s.broker.bootstrap, "--describe", "--topic-list", "matrix-java-none,offsets")
	if err != nil {
		return err
	}
	if err := s.judge(r, []string{"--describe"}, 0); err != nil {
		return err
	}
	var out struct {
		Brokers []struct {
			LogDirs []struct {
				Error      any
				Partitions []struct {
					Partition       string
					Size, OffsetLag int64
					IsFuture        bool
				}
			}
		}
	}
	line := regexp.MustCompile(`(?m)^\{.*`).FindString(r.Stdout)
	if err := json.Unmarshal([]byte(line), &out); err != nil {
		return fmt.Errorf("%w in %s", err, r.Stdout)
	}
	if len(out.Brokers) != 1 || len(out.Brokers[0].LogDirs) != 1 || len(out.Brokers[0].LogDirs[0].Partitions) != partitions+2 {
		return fmt.Errorf("printed %s", line)
	}
	for _, p := range out.Brokers[0].LogDirs[0].Partitions {
		if strings.HasPrefix(p.Partition, "matrix") && p.Size < 1_000_000 || p.OffsetLag != 0 || p.IsFuture {
			return fmt.Errorf("printed %+v", p)
		}
	}
	return nil
}
