package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/partition"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// ListOffsets, versions 1 to 11.
//
// A timestamp of 0 or more asks for the first record at or after it. Below are names:
// latest and earliest, the record with the largest timestamp (KIP-734, version 7), the
// earliest local offset (KIP-405, version 8), the latest tiered (KIP-1005, version 9)
// and the earliest that waits for upload (KIP-1023, version 11). An unknown name, or
// one that the version does not have, is UNSUPPORTED_VERSION
// (ReplicaManager.isListOffsetsTimestampUnsupported). Without tiered storage the local
// log is all there is, and nothing is tiered: -1, as Kafka answers then
// (UnifiedLog.fetchOffsetByTimestamp).
//
// What a consumer cannot read yet is not found. A partition named more than once is
// INVALID_REQUEST each time. Isolation levels make no difference without transactions.
//
// Skipped: the timeout of version 10, which concerns tiered storage alone.

// The names of offsets (ListOffsetsRequest).
const (
	timestampLatest                int64 = -1
	timestampEarliest              int64 = -2
	timestampMax                   int64 = -3
	timestampEarliestLocal         int64 = -4
	timestampLatestTiered          int64 = -5
	timestampEarliestPendingUpload int64 = -6
)

const listOffsetsEpochMin = 4

// replicaConsumer is the replica id of everything that is no broker.
const replicaConsumer int32 = -1

// timestampSince returns the first version that knows a name.
func timestampSince(timestamp int64) (version int16, known bool) {
	switch timestamp {
	case timestampLatest, timestampEarliest:
		return 1, true
	case timestampMax:
		return 7, true
	case timestampEarliestLocal:
		return 8, true
	case timestampLatestTiered:
		return 9, true
	case timestampEarliestPendingUpload:
		return 11, true
	}
	return 0, timestamp >= 0
}

func (b *Broker) handleListOffsets(_ context.Context, r *wire.Request) wire.Reply {
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		return b.listOffsets(ctx, r.Body.(*kmsg.ListOffsetsRequest)), nil
	})
}

func (b *Broker) listOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	load := loadBound{parent: ctx}
	defer load.end()
	twice := duplicatePartitions(req)
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = rt.Topic
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = rp.Partition
			if twice[topicPartition{rt.Topic, rp.Partition}] {
				p.ErrorCode = codeInvalidRequest
			} else {
				b.listOffset(&load, req, rt.Topic, rp, &p)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// topicPartition names a partition by the name of its topic.
type topicPartition struct {
	topic string
	index int32
}

// duplicatePartitions returns those that a request names more than once.
func duplicatePartitions(req *kmsg.ListOffsetsRequest) map[topicPartition]bool {
	seen := make(map[topicPartition]bool)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			key := topicPartition{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}
			_, again := seen[key]
			seen[key] = again
		}
	}
	return seen
}

// listOffset answers one partition.
func (b *Broker) listOffset(load *loadBound, req *kmsg.ListOffsetsRequest, topic string, rp *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) {
	if since, known := timestampSince(rp.Timestamp); !known || req.Version < since {
		out.ErrorCode = codeUnsupportedVersion
		return
	}
	p := b.partitionByName(topic, rp.Partition)
	if p == nil {
		out.ErrorCode = codeUnknownTopicOrPartition
		return
	}
	if out.ErrorCode = checkLeaderEpoch(p, rp.CurrentLeaderEpoch); out.ErrorCode != codeNone {
		return
	}
	at, found, err := findOffset(load.of(p), p, rp.Timestamp, req.ReplicaID == replicaConsumer)
	if err != nil {
		out.ErrorCode = b.code("list offsets of "+p.Dir(), err)
		return
	}
	if found {
		out.Timestamp, out.Offset = at.Timestamp, at.Offset
		if req.Version >= listOffsetsEpochMin {
			out.LeaderEpoch = at.LeaderEpoch
		}
	}
}

// findOffset follows Partition.fetchOffsetForTimestamp.
func findOffset(ctx context.Context, p *partition.Partition, timestamp int64, consumer bool) (at seglog.TimestampOffset, found bool, err error) {
	at = seglog.TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: noEpoch}
	s, err := p.State(ctx)
	if err != nil {
		return at, false, err
	}
	end := s.End
	if consumer {
		end = s.HighWatermark
	}
	switch timestamp {
	case timestampLatest:
		at.Offset, at.LeaderEpoch = end, p.LeaderEpoch()
		return at, true, nil
	case timestampEarliest, timestampEarliestLocal:
		at.Offset, at.LeaderEpoch = s.LogStart, p.LeaderEpoch()
		if s.LogStart < s.End {
			at.LeaderEpoch, err = p.EpochAt(ctx, s.LogStart)
		}
		return at, true, err
	case timestampLatestTiered, timestampEarliestPendingUpload:
		return at, false, nil
	case timestampMax:
		at, found, err = p.MaxTimestamp(ctx)
	default:
		at, found, err = p.OffsetForTimestamp(ctx, timestamp)
	}
	return at, found && at.Offset < end, err
}
