package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/partition"
	"ottla/internal/producer"
	"ottla/internal/wire"
)

// DescribeProducers, version 0 (KIP-664).
//
// Answers the producers that a partition remembers. The API has no paging, and a
// partition may remember millions: the most recently active come first, at most
// 100,000 of a partition and 200,000 of a request, and what is left out is said in the
// log. They are read in the second phase and encoded one by one, never held as a list.
//
// There are no transactions: the coordinator epoch and the start of the current
// transaction are -1. The last timestamp is that of the producer's last batch.

const (
	describeProducersPartitionMax = 100_000
	describeProducersRequestMax   = 200_000
)

func (b *Broker) handleDescribeProducers(_ context.Context, r *wire.Request) wire.Reply {
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		return b.describeProducers(ctx, r.Body.(*kmsg.DescribeProducersRequest))
	})
}

func (b *Broker) describeProducers(ctx context.Context, req *kmsg.DescribeProducersRequest) (wire.Response, error) {
	load := loadBound{parent: ctx}
	defer load.end()
	e := &encoder{flexible: true}
	left := describeProducersRequestMax
	e.int32(0) // throttle time
	e.arrayLen(len(req.Topics))
	for i := range req.Topics {
		rt := &req.Topics[i]
		e.string(rt.Topic)
		e.arrayLen(len(rt.Partitions))
		nameErr := catalog.ValidateTopicName(rt.Topic)
		for _, index := range rt.Partitions {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			b.describePartition(&load, e, rt.Topic, index, nameErr, &left)
		}
		e.noTags()
	}
	e.noTags()
	return &describedProducers{body: e.b}, nil
}

// describePartition encodes one partition and takes what it told from left.
func (b *Broker) describePartition(load *loadBound, e *encoder, topic string, index int32, nameErr error, left *int) {
	e.int32(index)
	p := b.partitionByName(topic, index)
	if nameErr != nil || p == nil {
		err := nameErr
		if err == nil {
			err = catalog.ErrUnknownTopic
		}
		code := codeOf(err)
		encodeNoProducers(e, code, clientMessage(code, err))
		return
	}
	if *left == 0 {
		why := "too many producers for one answer: ask for fewer partitions"
		encodeNoProducers(e, codePolicyViolation, &why)
		return
	}
	if err := p.Load(load.of(p)); err != nil {
		code := b.code("describe the producers of "+p.Dir(), err)
		encodeNoProducers(e, code, clientMessage(code, err))
		return
	}
	list := encoder{flexible: true}
	n, err := b.encodeProducers(load.of(p), &list, p, min(*left, describeProducersPartitionMax))
	if err != nil {
		encodeNoProducers(e, b.code("describe the producers of "+p.Dir(), err), nil)
		return
	}
	*left -= n
	e.int16(codeNone)
	e.nullableString(nil)
	e.arrayLen(n)
	e.b = append(e.b, list.b...)
	e.noTags()
}

var errEnough = errors.New("enough producers described")

// encodeProducers encodes at most limit producers and returns how many.
func (b *Broker) encodeProducers(ctx context.Context, e *encoder, p *partition.Partition, limit int) (n int, err error) {
	// One more is asked for, to know whether any are left out.
	err = p.DescribeProducers(ctx, limit+1, func(pid int64, entry producer.Entry) error {
		if n == limit {
			return errEnough
		}
		n++
		encodeProducer(e, pid, &entry)
		return nil
	})
	if errors.Is(err, errEnough) {
		b.log.Info("DescribeProducers left out the less recently active producers", "partition", p.Dir(), "told", n)
		err = nil
	}
	return n, err
}

func encodeProducer(e *encoder, pid int64, entry *producer.Entry) {
	sequence, timestamp := int32(-1), int64(-1)
	if last, found := entry.Last(); found {
		sequence, timestamp = last.LastSequence, last.Timestamp
	}
	e.int64(pid)
	e.int32(int32(entry.Epoch))
	e.int32(sequence)
	e.int64(timestamp)
	e.int32(-1) // coordinator epoch
	e.int64(-1) // start of the current transaction
	e.noTags()
}

func encodeNoProducers(e *encoder, code int16, message *string) {
	e.int16(code)
	e.nullableString(message)
	e.arrayLen(0)
	e.noTags()
}

// describedProducers is an answer that is encoded already.
type describedProducers struct{ body []byte }

// Key implements wire.Response.
func (*describedProducers) Key() int16 { return 61 }

// IsFlexible implements wire.Response.
func (*describedProducers) IsFlexible() bool { return true }

// AppendTo implements wire.Response.
func (d *describedProducers) AppendTo(dst []byte) []byte { return append(dst, d.body...) }
