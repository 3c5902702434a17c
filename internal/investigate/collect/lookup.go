package collect

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// Limits of ListOffsets.
const (
	// offsetsAtOnce and timesAtOnce are partitions in one request. A time costs the broker a look into an index on disk.
	offsetsAtOnce = 2_000
	timesAtOnce   = 500
	offsetBytes   = 40  // most of one partition in an answer, without its topic's name
	topicBytes    = 260 // most of a topic's name in an answer
	// lookupBytes is what plans take one partition for in an answer, its topic's name included.
	lookupBytes = 64
)

// What may be asked for instead of a time. oldestRecord is a time like any other: the first record dated at or after 1970, so that the
// answer has its date.
const (
	latest       = -1
	earliest     = -2
	oldestRecord = 0
)

// found is an answer about the first record of a partition that is dated at or after a time: its offset and date, -1 and -1 if there is
// none, or if the partition was refused for err.
type found struct {
	part         *evidence.Partition
	offset, time int64
	err          error
}

// lookups asks the leaders for one time, ms since 1970, of each partition and hands each answer to f, from several goroutines. No partition
// may be in parts twice. What did not work is trouble.
func (s *step) lookups(ctx context.Context, parts []*evidence.Partition, at int64, f func(found)) {
	most := timesAtOnce
	if at < 0 {
		most = offsetsAtOnce
	}
	work := map[int32][][]*evidence.Partition{}
	for _, p := range parts {
		of := work[p.Leader]
		if last := len(of) - 1; last >= 0 && len(of[last]) < most {
			of[last] = append(of[last], p)
		} else {
			work[p.Leader] = append(of, []*evidence.Partition{p})
		}
	}
	perBroker(ctx, s, work, func(ctx context.Context, broker int32, some []*evidence.Partition) {
		s.lookup(ctx, broker, some, at, f)
	})
}

// lookup is lookups of one broker, in one request.
func (s *step) lookup(ctx context.Context, broker int32, parts []*evidence.Partition, at int64, f func(found)) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.TimeoutMillis = int32(s.o.Timeout.Milliseconds())
	a := ask(parts, itself)
	bytes := int64(64)
	for _, of := range a.topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = of.topic
		for _, part := range of.work {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = part.Index, at
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		bytes += int64(len(of.topic)) + 8 + offsetBytes*int64(len(of.work))
	}
	resp, err := req.RequestWith(ctx, s.at(broker, bytes))
	if err != nil {
		s.trouble(err, "")
		return
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			part, wanted := a.take(t.Topic, p.Partition)
			if !wanted {
				continue
			}
			if err := coded(p.ErrorCode); err != nil {
				s.trouble(partitionError(part, err), permissionTopic)
				f(found{part, -1, -1, err})
				continue
			}
			s.ok()
			f(found{part, p.Offset, p.Timestamp, nil})
		}
	}
	a.unanswered(s)
}

// itself is for work that is nothing but partitions.
func itself(p *evidence.Partition) *evidence.Partition { return p }
