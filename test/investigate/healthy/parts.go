package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// value makes a topic grow fast enough that a look at its end does not reach back to the start of this load, as in clusters that
// are older than a minute.
var value = bytes.Repeat([]byte("order "), 200)

// steady writes a record every interval, with one producer.
func (c *cluster) steady(ctx context.Context, part, topic string, interval time.Duration, more ...kgo.Opt) {
	client, end, err := c.client(part, more...)
	if err != nil {
		c.wrote(ctx, part, err)
		return
	}
	defer end()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Append(nil, n), Value: value}, func(_ *kgo.Record, err error) { c.wrote(ctx, part, err) })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// fanOut writes one record to each of many partitions, again and again, with one producer.
func (c *cluster) fanOut(ctx context.Context) {
	client, end, err := c.client("fan-out", kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		c.wrote(ctx, "fan-out", err)
		return
	}
	defer end()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		for partition := range int32(fanOut) {
			client.Produce(ctx, &kgo.Record{Topic: "shop.metrics", Partition: partition, Value: value}, func(_ *kgo.Record, err error) { c.wrote(ctx, "fan-out", err) })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mirror copies a topic record by record, in the way of a mirror: its own producer writes what others have written.
func (c *cluster) mirror(ctx context.Context) {
	client, end, err := c.client("mirror", kgo.ConsumeTopics("shop.orders"), kgo.ConsumerGroup("mirror"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		c.wrote(ctx, "mirror", err)
		return
	}
	defer end()
	for ctx.Err() == nil {
		fetched := client.PollFetches(ctx)
		fetched.EachError(func(_ string, _ int32, err error) { c.wrote(ctx, "mirror", err) })
		fetched.EachRecord(func(r *kgo.Record) {
			copied := &kgo.Record{Topic: "mirror." + r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
			client.Produce(ctx, copied, func(_ *kgo.Record, err error) { c.wrote(ctx, "mirror", err) })
		})
	}
}

// deployment is pods with a producer each. After a while each is ended and started anew, one after another, once; rollout is
// closed when that begins.
func (c *cluster) deployment(ctx context.Context, rollout chan<- struct{}) {
	restart := make([]chan struct{}, c.pods)
	for i := range restart {
		restart[i] = make(chan struct{})
		c.parts.Go(func() {
			first, end := context.WithCancel(ctx)
			defer end()
			go func() {
				select {
				case <-restart[i]:
				case <-ctx.Done():
				}
				end()
			}()
			c.steady(first, "rollout", "shop.inventory", 200*time.Millisecond)
			c.steady(ctx, "rollout", "shop.inventory", 200*time.Millisecond)
		})
	}
	begin := time.NewTimer(c.rolloutAfter)
	defer begin.Stop()
	select {
	case <-begin.C:
	case <-ctx.Done():
		return
	}
	close(rollout)
	tick := time.NewTicker(c.rolloutEvery)
	defer tick.Stop()
	for _, pod := range restart {
		close(pod)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// firstTransactions are versions of before the second protocol of transactions (KIP-890), in which each transaction has a producer
// epoch of its own.
func firstTransactions() *kversion.Versions {
	versions := kversion.Stable()
	for key, version := range map[kmsg.Key]int16{kmsg.AddPartitionsToTxn: 3, kmsg.EndTxn: 4, kmsg.TxnOffsetCommit: 4, kmsg.Produce: 11} {
		versions.SetMaxKeyVersion(key.Int16(), version)
	}
	return versions
}

// startsMax is how often a transactional application is started anew.
const startsMax = 3

// transactions writes a few records in each of many transactions, with one producer; an application that was told that its
// transactional id is another's, or forgotten, starts anew, as it does when a broker was away for long.
func (c *cluster) transactions(ctx context.Context, part, topic string, more ...kgo.Opt) {
	for start := 1; ctx.Err() == nil; start++ {
		err := c.transactional(ctx, part, topic, more...)
		again := errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.InvalidProducerIDMapping)
		if err != nil && (start == startsMax || !again) {
			c.wrote(ctx, part, err)
			return
		}
	}
}

func (c *cluster) transactional(ctx context.Context, part, topic string, more ...kgo.Opt) error {
	client, end, err := c.client(part, append(more, kgo.TransactionalID(part))...)
	if err != nil {
		return err
	}
	defer end()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := c.transaction(ctx, client, topic, part); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

func (c *cluster) transaction(ctx context.Context, client *kgo.Client, topic, part string) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	written := kgo.AbortingFirstErrPromise(client)
	for n := range 5 {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Append(nil, n), Value: value}, written.Promise())
	}
	if err := errors.Join(client.Flush(ctx), written.Err()); err != nil {
		return err
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	for range 5 {
		c.wrote(ctx, part, nil)
	}
	return nil
}
