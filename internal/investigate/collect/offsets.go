package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

const (
	// offsetsAtOnce and timesAtOnce are partitions in one request. A time costs the broker a look into an index on disk.
	offsetsAtOnce = 2_000
	timesAtOnce   = 500
	offsetBytes   = 40  // most of one partition in an answer, without its topic's name
	topicBytes    = 260 // most of a topic's name in an answer
	// lifeUnknown is looked back where nothing tells how long entries live: the longest default that Kafka ever had.
	lifeUnknown = 7 * 24 * time.Hour
	// firstTimesMax bounds how many topics are asked for the time of their oldest record.
	firstTimesMax = 5_000

	// Timestamps that ListOffsets has a meaning of its own for.
	latest   = -1
	earliest = -2
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
	led := map[int32][]*evidence.Partition{}
	for i := range s.scan.Partitions {
		if p := &s.scan.Partitions[i]; p.Leader >= 0 {
			led[p.Leader] = append(led[p.Leader], p)
		}
	}
	s.askAt(ctx, led, latest, func(p *evidence.Partition, offset, _ int64) { p.End = max(offset, -1) })
	s.askAt(ctx, led, earliest, func(p *evidence.Partition, offset, _ int64) {
		if p.Start = max(offset, -1); p.End >= 0 {
			p.Start = min(p.Start, p.End) // all that was there when the end was asked may be gone by now
		}
	})
	for id, ps := range led { // an empty partition has no time to look up
		full := ps[:0]
		for _, p := range ps {
			switch {
			case p.End == 0, p.End > 0 && p.Start == p.End:
				p.Since = p.End
			case p.End > 0:
				full = append(full, p)
			}
		}
		led[id] = full
	}
	s.askAt(ctx, led, since, func(p *evidence.Partition, offset, _ int64) {
		if offset < 0 || offset > p.End {
			offset = p.End // no record is that young, or none was when the end was asked
		}
		p.Since = offset
	})
	s.askFirstTimes(ctx, led)
	return nil
}

// askFirstTimes asks one partition of each topic for its oldest record that has a time.
func (s *step) askFirstTimes(ctx context.Context, led map[int32][]*evidence.Partition) {
	topics := make(map[string]*evidence.Topic, len(s.scan.Topics))
	for i := range s.scan.Topics {
		if t := &s.scan.Topics[i]; !t.Internal {
			topics[t.Name] = t
		}
	}
	chosen := map[string]bool{}
	work := map[int32][]*evidence.Partition{}
	leftOut := map[string]bool{}
	for id, ps := range led {
		for _, p := range ps {
			switch {
			case topics[p.Topic] == nil || chosen[p.Topic]:
			case len(chosen) >= firstTimesMax:
				leftOut[p.Topic] = true
			default:
				chosen[p.Topic] = true
				work[id] = append(work[id], p)
			}
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
func (s *step) askAt(ctx context.Context, led map[int32][]*evidence.Partition, at int64, keep func(p *evidence.Partition, offset, timestamp int64)) {
	most := timesAtOnce
	if at < 0 {
		most = offsetsAtOnce
	}
	work := map[int32][][]*evidence.Partition{}
	for id, ps := range led {
		for len(ps) > 0 {
			n := min(len(ps), most)
			work[id] = append(work[id], ps[:n])
			ps = ps[n:]
		}
	}
	perBroker(ctx, s, work, func(ctx context.Context, id int32, ps []*evidence.Partition) {
		req, most := s.listOffsets(ps, at)
		resp, err := req.RequestWith(ctx, s.at(id, most))
		if err != nil {
			s.trouble(err, "")
			return
		}
		s.keepOffsets(id, ps, resp, keep)
	})
}

func (s *step) listOffsets(ps []*evidence.Partition, at int64) (*kmsg.ListOffsetsRequest, int64) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.TimeoutMillis = int32(s.o.Timeout.Milliseconds())
	bytes := int64(64)
	for _, p := range ps {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = p.Topic
			req.Topics = append(req.Topics, t)
			bytes += int64(len(p.Topic)) + 8
		}
		ask := kmsg.NewListOffsetsRequestTopicPartition()
		ask.Partition, ask.Timestamp = p.Index, at
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, ask)
		bytes += offsetBytes
	}
	return req, bytes
}

func (s *step) keepOffsets(broker int32, ps []*evidence.Partition, resp *kmsg.ListOffsetsResponse, keep func(p *evidence.Partition, offset, timestamp int64)) {
	type name struct {
		topic string
		index int32
	}
	asked := make(map[name]*evidence.Partition, len(ps))
	for _, p := range ps {
		asked[name{p.Topic, p.Index}] = p
	}
	s.write(func(*evidence.Scan) {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			for j := range t.Partitions {
				r := &t.Partitions[j]
				p := asked[name{t.Topic, r.Partition}]
				if p == nil {
					continue
				}
				delete(asked, name{t.Topic, r.Partition})
				if err := coded(r.ErrorCode); err != nil {
					p.Error = err.Error()
					s.trouble(fmt.Errorf("offsets on broker %d: %w", broker, err), permissionTopic)
					continue
				}
				keep(p, r.Offset, r.Timestamp)
				s.ok()
			}
		}
	})
	if n := len(asked); n > 0 {
		s.trouble(fmt.Errorf("broker %d: %w", broker, errors.New("offsets of some partitions are missing from its answer")), "")
	}
}
