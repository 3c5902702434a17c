package collect

import (
	"context"
	"fmt"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

const (
	// lifeUnknown is looked back where nothing tells how long entries live: the longest default that Kafka ever had.
	lifeUnknown = 7 * 24 * time.Hour
	// firstTimesMax bounds how many topics are asked for the time of their oldest record.
	firstTimesMax = 5_000
)

var sourceOffsets = source{
	name:        evidence.SourceOffsets,
	what:        "first, last and life-ago offsets of each partition: the most producers that it can have; time of each topic's oldest record",
	permissions: permissionTopic,
	run:         askOffsets,
	most: func(s *step) (int64, int64) {
		p, t, b := int64(len(s.scan.Partitions)), int64(len(s.scan.Topics)), int64(len(s.scan.Brokers))
		t = min(t, firstTimesMax)
		return 2*p/offsetsAtOnce + (p+t)/timesAtOnce + 4*b, offsetBytes*(3*p+t) + 4*topicBytes*min(p, t*b)
	},
}

// askOffsets asks leaders only: others refuse.
func askOffsets(ctx context.Context, s *step) error {
	stay := lifeUnknown
	if life := diagnose.LifeOf(&s.scan.Cluster, s.scan.Brokers, s.o.Given); life.Seconds > 0 {
		stay = life.Stay()
	}
	since := max(0, s.now().Add(-stay).UnixMilli())
	var led []*evidence.Partition
	for i := range s.scan.Partitions {
		if p := &s.scan.Partitions[i]; p.Leader >= 0 {
			led = append(led, p)
		}
	}
	s.askAt(ctx, led, latest, func(p *evidence.Partition, offset, _ int64) { p.End = max(offset, -1) })
	s.askAt(ctx, led, earliest, func(p *evidence.Partition, offset, _ int64) {
		if p.Start = max(offset, -1); p.End >= 0 {
			p.Start = min(p.Start, p.End) // all that was there when the end was asked may be gone by now
		}
	})
	var full []*evidence.Partition
	for _, p := range led { // an empty partition has no time to look up
		switch {
		case p.End == 0, p.End > 0 && p.Start == p.End:
			p.Since = p.End
		case p.End > 0:
			full = append(full, p)
		}
	}
	s.askAt(ctx, full, since, func(p *evidence.Partition, offset, _ int64) {
		if offset < 0 || offset > p.End {
			offset = p.End // no record is that young, or none was when the end was asked
		}
		p.Since = offset
	})
	s.askFirstTimes(ctx, full)
	return nil
}

// askFirstTimes asks one partition of each topic for its oldest record that has a time.
func (s *step) askFirstTimes(ctx context.Context, full []*evidence.Partition) {
	topics := make(map[string]*evidence.Topic, len(s.scan.Topics))
	for i := range s.scan.Topics {
		if t := &s.scan.Topics[i]; !t.Internal {
			topics[t.Name] = t
		}
	}
	chosen := map[string]bool{}
	var work []*evidence.Partition
	leftOut := map[string]bool{}
	for _, p := range full {
		switch {
		case topics[p.Topic] == nil || chosen[p.Topic]:
		case len(chosen) >= firstTimesMax:
			leftOut[p.Topic] = true
		default:
			chosen[p.Topic] = true
			work = append(work, p)
		}
	}
	if len(leftOut) > 0 {
		s.leftOut(fmt.Sprintf("%d topics were not asked for their oldest record", len(leftOut)))
	}
	s.askAt(ctx, work, 1, func(p *evidence.Partition, offset, timestamp int64) {
		if offset >= 0 && timestamp > 0 {
			topics[p.Topic].FirstTime = timestamp
		}
	})
}

// askAt asks for one offset of each partition and gives it to keep, under the scan's lock.
func (s *step) askAt(ctx context.Context, parts []*evidence.Partition, at int64, keep func(p *evidence.Partition, offset, timestamp int64)) {
	s.lookups(ctx, parts, at, func(f found) {
		s.write(func(*evidence.Scan) {
			if f.err != nil {
				f.part.Error = f.err.Error()
				return
			}
			keep(f.part, f.offset, f.time)
		})
	})
}
