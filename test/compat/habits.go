package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// habits are what clients and tools do besides: write to topics that nobody created, speak old versions, never ask for
// versions, number their producers, look at features.
func (s *suite) habits(ctx context.Context) {
	for _, c := range s.clients() {
		w := &written{topic: "auto-" + c.name(), by: c.name(), recs: []record{
			{timestamp: time.Now().UnixMilli(), timestampType: createTime, key: []byte("k"), value: []byte("v")}}}
		if c.name() == "kcat" {
			w.recs[0].timestamp = timestampNever
		}
		w.after = time.Now().Add(-time.Millisecond)
		s.check(ctx, c.name()+" produces to a topic that nobody created", func(ctx context.Context) error {
			if c.name() == "franz-go" { // it asks for creation only when told to
				return fmt.Errorf("%w: not its default", errSkip)
			}
			if err := c.produce(ctx, w.topic, "", w.recs); err != nil {
				return err
			}
			got, err := c.consume(ctx, w.topic)
			if err != nil {
				return err
			}
			return compare(got, w.recs, w.after, time.Now().Add(time.Millisecond))
		})
	}
	for _, version := range []string{"0.11.0", "1.0.0", "2.1.0"} {
		s.check(ctx, "kcat that never asks for API versions, as of Kafka "+version, func(ctx context.Context) error { return s.oldClient(ctx, version) })
	}
	s.steps(ctx, []step{
		{"kafka-transactions describe-producers", kafkaTransactions, "BOOTSTRAP describe-producers --topic matrix-java-none --partition 0", 0,
			[]string{`^ProducerId\s+ProducerEpoch\s+LatestCoordinatorEpoch\s+LastSequence\s+LastTimestamp`, `^\d+\s+0\s+-1\s+92\s+\d{13}\s+None`}},
		{"kafka-console-consumer --partition", kafkaConsole, "--topic offsets --partition 0 --offset 40 --max-messages 10", 0, []string{`^80$`, `^98$`, `!^78$`}},
		{"kafka-features describe", kafkaFeatures, "BOOTSTRAP describe", 0, nil},
	})
}

// oldClient speaks the versions that its assumed broker has, without asking.
func (s *suite) oldClient(ctx context.Context, version string) error {
	topic := "old-" + version
	if err := s.createTopic(ctx, topic, 1, nil); err != nil {
		return err
	}
	kcat := &kcatClient{s}
	old := []string{"-X", "api.version.request=false", "-X", "broker.version.fallback=" + version, "-t", topic, "-p", "0"}
	if _, err := kcat.run(ctx, bytes.NewBufferString("one\ntwo\nthree\n"), append(old, "-P", "-H", "a=b")...); err != nil {
		return err
	}
	out, err := kcat.run(ctx, nil, append(old, "-C", "-q", "-e", "-o", "beginning", "-f", "%o %s %h\n")...)
	if err == nil && strings.TrimSpace(string(out)) != "0 one a=b\n1 two a=b\n2 three a=b" {
		err = fmt.Errorf("read %q", out)
	}
	return err
}
