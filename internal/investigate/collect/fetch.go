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
	// lookupsMax is how many partitions one ListOffsets names.
	lookupsMax = 1000
	// lookupBytes is what one partition costs in an answer to ListOffsets, its topic's name included.
	lookupBytes = 64
)

// oldestRecord, unlike latest and earliest, is a time like any other: the first record dated at or after 1970, so that the answer has its date.
const oldestRecord = 0

const permissionRead = "READ on Topic"

// stretch is a piece of a partition to fetch.
type stretch struct {
	part *evidence.Partition
	from int64
	most int32 // bytes
}

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
	asked := make(map[string]map[int32]stretch, len(work))
	topics := map[string]int{}
	var most int64 = wholeBatch
	for _, w := range work {
		i, seen := topics[w.part.Topic]
		if !seen {
			i = len(req.Topics)
			topics[w.part.Topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic = w.part.Topic
			req.Topics = append(req.Topics, t)
			asked[w.part.Topic] = map[int32]stretch{}
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.part.Index, w.from, w.most
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		asked[w.part.Topic][w.part.Index] = w
		req.MaxBytes += w.most
		most += int64(w.most) + fetchOverhead + int64(len(w.part.Topic))
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
			w, wanted := asked[t.Topic][p.Partition]
			if !wanted {
				continue // a broker that answers twice, or what it was not asked
			}
			delete(asked[t.Topic], p.Partition)
			if err := coded(p.ErrorCode); err != nil {
				s.trouble(partitionError(w.part, err), permissionRead)
				continue
			}
			s.ok()
			f(fetched{w, p.RecordBatches, p.LogStartOffset, p.HighWatermark})
		}
	}
	for _, left := range asked {
		for _, w := range left {
			s.trouble(partitionError(w.part, errNothing), "")
		}
	}
}

func partitionError(p *evidence.Partition, err error) error {
	return fmt.Errorf("%s-%d: %w", p.Topic, p.Index, err)
}

// lookup asks for the offset of the first record dated at or after a time, ms since 1970.
type lookup struct {
	part *evidence.Partition
	at   int64
}

// found is an answer to a lookup: offset and date of the record, -1 and -1 if there is none.
type found struct {
	lookup
	offset, time int64
}

// lookups asks the leaders and hands each answer to f, from several goroutines. No partition may be in work twice.
func (s *step) lookups(ctx context.Context, work []lookup, f func(found)) {
	byLeader := map[int32][][]lookup{}
	for _, w := range work {
		b := w.part.Leader
		last := len(byLeader[b]) - 1
		if last < 0 || len(byLeader[b][last]) == lookupsMax {
			byLeader[b] = append(byLeader[b], nil)
			last++
		}
		byLeader[b][last] = append(byLeader[b][last], w)
	}
	perBroker(ctx, s, byLeader, func(ctx context.Context, broker int32, some []lookup) { s.lookupSome(ctx, broker, some, f) })
}

func (s *step) lookupSome(ctx context.Context, broker int32, work []lookup, f func(found)) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	topics := map[string]int{}
	asked := map[string]map[int32]lookup{}
	for _, w := range work {
		i, seen := topics[w.part.Topic]
		if !seen {
			i = len(req.Topics)
			topics[w.part.Topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = w.part.Topic
			req.Topics = append(req.Topics, t)
			asked[w.part.Topic] = map[int32]lookup{}
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = w.part.Index, w.at
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		asked[w.part.Topic][w.part.Index] = w
	}
	resp, err := req.RequestWith(ctx, s.at(broker, int64(len(work))*lookupBytes))
	if err != nil {
		s.trouble(err, permissionTopic)
		return
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			w, wanted := asked[t.Topic][p.Partition]
			if !wanted {
				continue
			}
			delete(asked[t.Topic], p.Partition)
			if err := coded(p.ErrorCode); err != nil {
				s.trouble(partitionError(w.part, err), permissionTopic)
				continue
			}
			s.ok()
			f(found{w, p.Offset, p.Timestamp})
		}
	}
	for _, left := range asked {
		for _, w := range left {
			s.trouble(partitionError(w.part, errNothing), "")
		}
	}
}
