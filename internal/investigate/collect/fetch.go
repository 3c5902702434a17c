package collect

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// Limits of what is read of logs.
const (
	// fetchMemory is what all fetch answers under way may hold together, in bytes; fetchRequestMax and fetchRequestMin bound one.
	fetchMemory     = 24 << 20
	fetchRequestMax = 4 << 20
	fetchRequestMin = 256 << 10
	// fetchPartitionsMax is how many partitions one fetch names: each costs the broker a read from disk.
	fetchPartitionsMax = 64
	// fetchOverhead is what an answer has besides records, in bytes a partition.
	fetchOverhead = 64
	// wholeBatch is what the first partition of an answer may have beyond its limit: a batch is not cut (KIP-74). It is the default of
	// message.max.bytes; larger ones are charged when they have been read.
	wholeBatch = 1 << 20
)

const permissionRead = "READ on Topic"

// stretch is a piece of a partition to fetch.
type stretch struct {
	part *evidence.Partition
	from int64
	most int32 // bytes
}

func (w stretch) partition() *evidence.Partition { return w.part }

// fetched is the answer for one stretch. records are only good until the function that got them returns.
type fetched struct {
	stretch
	records []byte
	start   int64 // the first offset kept; -1 if not told
	end     int64 // the high watermark; -1 if not told
}

// fetchRequestBytes is how large one fetch answer may be meant: with many brokers asked at a time each gives less.
func (s *session) fetchRequestBytes() int32 {
	at := min(max(len(s.scan.Brokers), 1), brokersAtOnce)
	return int32(min(max(fetchMemory/at, fetchRequestMin), fetchRequestMax))
}

// fetchRequests puts stretches together for one request each: no partition twice in one, since brokers answer by
// partition. The order is kept.
func fetchRequests(work []stretch, mostBytes int32) map[int32][][]stretch {
	out := map[int32][][]stretch{}
	bytes := map[int32]int32{}
	for _, w := range work {
		b := w.part.Leader
		last := len(out[b]) - 1
		if last < 0 || len(out[b][last]) == fetchPartitionsMax || bytes[b]+w.most > mostBytes {
			out[b] = append(out[b], nil)
			bytes[b] = 0
			last++
		}
		out[b][last] = append(out[b][last], w)
		bytes[b] += w.most
	}
	return out
}

// fetch asks one broker for some stretches, without a fetch session, and hands each answer to f. What did not work is trouble.
func (s *step) fetch(ctx context.Context, broker int32, work []stretch, f func(fetched)) {
	req := kmsg.NewPtrFetchRequest()
	req.SessionID, req.SessionEpoch = 0, -1 // none (KIP-227): the broker remembers nothing of us
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 0, 0
	a := ask(work, stretch.partition)
	var most int64 = wholeBatch
	for _, of := range a.topics {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = of.topic
		for _, w := range of.work {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.part.Index, w.from, w.most
			t.Partitions = append(t.Partitions, p)
			req.MaxBytes += w.most
			most += int64(w.most) + fetchOverhead + int64(len(of.topic))
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, s.at(broker, most))
	if err == nil {
		err = coded(resp.ErrorCode)
	}
	if err != nil {
		s.trouble(err, permissionRead)
		return
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			w, wanted := a.take(t.Topic, p.Partition)
			if !wanted {
				continue
			}
			if err := coded(p.ErrorCode); err != nil {
				s.trouble(partitionError(w.part, err), permissionRead)
				continue
			}
			s.ok()
			f(fetched{w, p.RecordBatches, p.LogStartOffset, p.HighWatermark})
		}
	}
	a.unanswered(s)
}

func partitionError(p *evidence.Partition, err error) error {
	return fmt.Errorf("%s-%d: %w", p.Topic, p.Index, err)
}
