package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// txnTimeoutMillis is how long a transaction may stay open; Kafka allows 15 minutes by default.
	txnTimeoutMillis = 60_000
	// txnAttempts bounds how often a step is repeated that the broker asks to be repeated.
	txnAttempts = 100
	// codeConcurrentTransactions: the coordinator still writes the markers of the last transaction, or moves.
	codeConcurrentTransactions = 51
	codeNotCoordinator         = 16
)

// txn makes one transaction with an id of its own after the other.
type txn struct {
	load  *load
	run   uint64 // with made, the ids
	made  int64
	lanes map[int32]*lane // by broker
	batch []byte
}

func newTxn(l *load) *txn {
	return &txn{load: l, run: rand.Uint64(), lanes: map[int32]*lane{}, batch: oneRecordBatch(l.o.RecordBytes)}
}

func (x *txn) close() {
	for _, l := range x.lanes {
		l.close()
	}
}

// checkTransactions refuses brokers that have none, before the load.
func (l *load) checkTransactions(ctx context.Context) error {
	for _, b := range l.c.brokers {
		if v := b.versions; v.addPartitions < 0 || v.endTxn < 0 || v.findCoordinator < 0 {
			return fmt.Errorf("%w: broker %s has no transactions (AddPartitionsToTxn, EndTxn), so their ids cannot be churned", ErrRefused, b.addr)
		}
	}
	x := newTxn(l)
	defer x.close()
	_, err := x.coordinator(ctx, "ottla-storm-first") // makes __transaction_state where it does not exist yet
	return err
}

// lane gives the connection to a broker, which is opened when it is first used.
func (x *txn) lane(ctx context.Context, id int32) (*lane, error) {
	if l := x.lanes[id]; l != nil {
		return l, nil
	}
	broker := x.load.c.brokers[id]
	if broker == nil {
		return nil, fmt.Errorf("%w: broker %d is not in the metadata", errAnswer, id)
	}
	l, err := x.load.c.lane(ctx, broker, shortReadBytes)
	if err == nil {
		x.lanes[id] = l
	}
	return l, err
}

// again repeats a step as long as its answer asks for that. It returns the last code.
func (x *txn) again(step func() (int16, error)) (int16, error) {
	for attempt := 0; ; attempt++ {
		code, err := step()
		if err != nil || !askAgain(code) && code != codeConcurrentTransactions && code != codeNotCoordinator {
			return code, err
		}
		if attempt == txnAttempts || !x.load.await(time.Now().Add(initRetryPause)) {
			return code, nil
		}
	}
}

// errCode is a refusal of a step, which is counted.
type errCode int16

// Error implements error.
func (e errCode) Error() string { return codeName(int16(e)) }

func (x *txn) coordinator(ctx context.Context, id string) (*lane, error) {
	home, err := x.lane(ctx, x.load.c.anyBroker().id)
	if err != nil {
		return nil, err
	}
	node := int32(-1)
	code, err := x.again(func() (int16, error) {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.Version = x.load.c.lowest(func(v versions) int16 { return v.findCoordinator })
		request.CoordinatorKey, request.CoordinatorType = id, 1
		answer, err := home.call(request)
		if err != nil {
			return 0, err
		}
		r := answer.(*kmsg.FindCoordinatorResponse)
		node = r.NodeID
		return r.ErrorCode, nil
	})
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, fmt.Errorf("no coordinator for transactions: %w", kerr.ErrorForCode(code))
	}
	return x.lane(ctx, node)
}

func (x *txn) push(ctx context.Context, begun time.Time, t *tally) error {
	id := fmt.Sprintf("%s%016x-%d", TopicPrefix, x.run, x.made)
	x.made++
	err := x.transaction(ctx, id, begun)
	var code errCode
	switch {
	case errors.As(err, &code):
		x.load.failed(code.Error())
		return nil
	case err != nil:
		return err
	}
	x.load.finished(begun, t, 1)
	return nil
}

func (x *txn) transaction(ctx context.Context, id string, begun time.Time) error {
	coordinator, err := x.coordinator(ctx, id)
	if err != nil {
		return err
	}
	partition := int32(rand.IntN(len(x.load.topic.leaders)))
	producer, err := x.init(coordinator, id)
	if err != nil {
		return err
	}
	producer.timeMillis = begun.Add(x.load.o.Ahead).UnixMilli()
	if err := x.addPartition(coordinator, id, producer, partition); err != nil {
		return err
	}
	leader, err := x.lane(ctx, x.load.topic.leaders[partition])
	if err != nil {
		return err
	}
	for range x.load.o.Batches {
		if err := x.write(leader, id, producer, partition); err != nil {
			return err
		}
		producer.sequence++
	}
	return x.end(coordinator, id, producer)
}

func (x *txn) init(coordinator *lane, id string) (batchID, error) {
	var out batchID
	code, err := x.again(func() (int16, error) {
		request := kmsg.NewPtrInitProducerIDRequest()
		request.Version = x.load.c.lowest(func(v versions) int16 { return v.init })
		request.TransactionalID = &id
		request.TransactionTimeoutMillis = txnTimeoutMillis
		request.ProducerID, request.ProducerEpoch = -1, -1
		answer, err := coordinator.call(request)
		if err != nil {
			return 0, err
		}
		r := answer.(*kmsg.InitProducerIDResponse)
		out = batchID{pid: r.ProducerID, epoch: r.ProducerEpoch}
		return r.ErrorCode, nil
	})
	if err == nil && code != 0 {
		err = errCode(code)
	}
	return out, err
}

func (x *txn) addPartition(coordinator *lane, id string, producer batchID, partition int32) error {
	code, err := x.again(func() (int16, error) {
		request := kmsg.NewPtrAddPartitionsToTxnRequest()
		request.Version = x.load.c.lowest(func(v versions) int16 { return v.addPartitions })
		request.TransactionalID, request.ProducerID, request.ProducerEpoch = id, producer.pid, producer.epoch
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = x.load.topic.name, []int32{partition}
		request.Topics = append(request.Topics, t)
		answer, err := coordinator.call(request)
		if err != nil {
			return 0, err
		}
		for _, t := range answer.(*kmsg.AddPartitionsToTxnResponse).Topics {
			for _, p := range t.Partitions {
				return p.ErrorCode, nil
			}
		}
		return 0, fmt.Errorf("%w: AddPartitionsToTxn without partitions", errAnswer)
	})
	if err == nil && code != 0 {
		err = errCode(code)
	}
	return err
}

func (x *txn) write(leader *lane, id string, producer batchID, partition int32) error {
	x.batch[batchAttributes+1] |= attributeTransactional
	producer.patch(x.batch)
	request := kmsg.NewPtrProduceRequest()
	request.Version = x.load.produce
	request.TransactionID = &id
	request.Acks = int16(x.load.o.Acks)
	request.TimeoutMillis = produceTimeoutMillis
	t := kmsg.NewProduceRequestTopic()
	t.Topic = x.load.topic.name
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, x.batch
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	x.load.sent(len(x.batch))
	answer, err := leader.call(request)
	if err != nil {
		return err
	}
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return errCode(p.ErrorCode)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: Produce without partitions", errAnswer)
}

func (x *txn) end(coordinator *lane, id string, producer batchID) error {
	code, err := x.again(func() (int16, error) {
		request := kmsg.NewPtrEndTxnRequest()
		request.Version = x.load.c.lowest(func(v versions) int16 { return v.endTxn })
		request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Commit = id, producer.pid, producer.epoch, true
		answer, err := coordinator.call(request)
		if err != nil {
			return 0, err
		}
		return answer.(*kmsg.EndTxnResponse).ErrorCode, nil
	})
	if err == nil && code != 0 {
		err = errCode(code)
	}
	return err
}
