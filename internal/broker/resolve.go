package broker

import (
	"context"

	"ottla/internal/catalog"
	"ottla/internal/partition"
)

// noEpoch is how clients say that they do not know a leader epoch.
const noEpoch int32 = -1

// Authorized operations where nobody restricts anything: all that Kafka has for the
// kind of resource (AclEntry.supportedOperations), as a bit field by operation code.
const (
	operationsNotAsked int32 = -2147483648
	operationsTopic    int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	operationsCluster  int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// partitionOf returns partition index of a topic, which may be nil, or nil.
func partitionOf(t *catalog.Topic, index int32) *partition.Partition {
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// topicByName returns nil for a topic that does not exist.
func (b *Broker) topicByName(name string) *catalog.Topic {
	t, _ := b.o.Catalog.Topic(name)
	return t
}

// partitionByName returns nil for a partition that does not exist.
func (b *Broker) partitionByName(topic string, index int32) *partition.Partition {
	return partitionOf(b.topicByName(topic), index)
}

// checkLeaderEpoch compares the leader epoch a client knows with the one in force
// (Partition.checkCurrentLeaderEpoch of Kafka). A negative one is none.
func checkLeaderEpoch(p *partition.Partition, known int32) int16 {
	switch current := p.LeaderEpoch(); {
	case known < 0 || known == current:
		return codeNone
	case known < current:
		return codeFencedLeaderEpoch
	default:
		return codeUnknownLeaderEpoch
	}
}

// epochEnd returns the largest epoch not above the asked one and where it ends, or
// -1 and -1. The epoch in force is known before a record of it is in the log: Kafka
// notes it when a leader is made, so that a consumer which was told of the epoch by
// ListOffsets does not hear that nobody knows it.
func epochEnd(ctx context.Context, p *partition.Partition, asked int32) (epoch int32, end int64, err error) {
	if asked != p.LeaderEpoch() {
		return p.EpochEnd(ctx, asked)
	}
	s, err := p.State(ctx)
	if err != nil {
		return noEpoch, -1, err
	}
	return asked, s.End, nil
}

// loadBound bounds how long one request waits for partitions that are still being
// recovered, all of them together. It costs nothing where none is.
type loadBound struct {
	parent  context.Context
	bounded context.Context
	cancel  context.CancelFunc
}

// of returns the context to use p with.
func (l *loadBound) of(p *partition.Partition) context.Context {
	if p.Loaded() {
		return l.parent
	}
	if l.bounded == nil {
		l.bounded, l.cancel = context.WithTimeout(l.parent, LoadWaitMax)
	}
	return l.bounded
}

// end must be called once after the last use.
func (l *loadBound) end() {
	if l.cancel != nil {
		l.cancel()
	}
}
