package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// AlterReplicaLogDirs, versions 1 and 2 (KIP-113).
//
// There is one data directory, and every partition is in it: moving one there is done already,
// any other directory is LOG_DIR_NOT_FOUND, which Kafka says before it looks for the partition.
// A partition that is named more than once goes where the last says.

func (b *Broker) handleAlterReplicaLogDirs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.AlterReplicaLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	topics, partitions := map[string]int{}, map[topicIndex]int{}
	for i := range req.Dirs {
		dir := &req.Dirs[i]
		for j := range dir.Topics {
			rt := &dir.Topics[j]
			at, seen := topics[rt.Topic]
			if !seen {
				at = len(resp.Topics)
				topics[rt.Topic] = at
				t := kmsg.NewAlterReplicaLogDirsResponseTopic()
				t.Topic = rt.Topic
				resp.Topics = append(resp.Topics, t)
			}
			out := &resp.Topics[at]
			for _, index := range rt.Partitions {
				key := topicIndex{rt.Topic, index}
				n, seen := partitions[key]
				if !seen {
					n = len(out.Partitions)
					partitions[key] = n
					p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
					p.Partition = index
					out.Partitions = append(out.Partitions, p)
				}
				out.Partitions[n].ErrorCode = b.moveTo(dir.Dir, rt.Topic, index)
			}
		}
	}
	return wire.Ready(resp)
}

// topicIndex names a partition.
type topicIndex struct {
	topic string
	index int32
}

func (b *Broker) moveTo(dir, topic string, index int32) int16 {
	switch {
	case dir != b.o.DataDir:
		return codeLogDirNotFound
	case b.partitionByName(topic, index) == nil:
		return codeUnknownTopicOrPartition
	}
	return codeNone
}
