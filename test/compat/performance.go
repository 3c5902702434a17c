package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/twmb/franz-go/pkg/kadm"
)

// performance runs kafka-producer-perf-test, not to judge numbers but that it works with its defaults.
func (s *suite) performance(ctx context.Context) {
	const topic, count = "perf", 20_000
	var line string
	s.check(ctx, "kafka-producer-perf-test", func(ctx context.Context) error {
		if err := s.createTopic(ctx, topic, partitions, map[string]string{"segment.bytes": "1048576"}); err != nil {
			return err
		}
		r, err := s.jvm.tool(ctx, kafkaProducerPerf, "--bootstrap-server", s.broker.bootstrap, "--topic", topic,
			"--num-records", fmt.Sprint(count), "--record-size", "1024", "--throughput", "-1")
		if err != nil {
			return err
		}
		if err := s.judge(r, nil, 0, `^20000 records sent, `); err != nil {
			return err
		}
		line = regexp.MustCompile(`(?m)^20000 records sent, .*$`).FindString(r.Stdout)
		return s.admin(ctx, func(a *kadm.Client) error {
			ends, err := a.ListEndOffsets(ctx, topic)
			if err != nil {
				return err
			}
			total := int64(0)
			for p := range int32(partitions) {
				o, _ := ends.Lookup(topic, p)
				total += o.Offset
			}
			if total != count {
				return fmt.Errorf("the log ends at %d records, %d were sent", total, count)
			}
			return nil
		})
	})
	if line != "" {
		fmt.Println("      " + line)
	}
	for _, c := range s.clients() {
		s.check(ctx, c.name()+" reads perf, of many segments", func(ctx context.Context) error {
			got, err := c.consume(ctx, topic)
			next := map[int32]int64{}
			for _, r := range got {
				if r.offset != next[r.partition] || len(r.value) != 1024 {
					return fmt.Errorf("read %d-%d with %d bytes, expected offset %d", r.partition, r.offset, len(r.value), next[r.partition])
				}
				next[r.partition]++
			}
			if err == nil && len(got) != count {
				err = fmt.Errorf("%d records", len(got))
			}
			return err
		})
	}
}
