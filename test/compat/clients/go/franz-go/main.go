// The driver of franz-go.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"ottla-compat/driver"
)

const leaveMax = 20 * time.Second

type client struct{}

func main() { driver.Main(client{}) }

func seeds() kgo.Opt { return kgo.SeedBrokers(driver.Bootstrap()) }

func (client) Produce(ctx context.Context, topic string, records []driver.Record) error {
	cl, err := kgo.NewClient(seeds())
	if err != nil {
		return err
	}
	defer cl.Close()
	var sent []*kgo.Record
	for _, r := range records {
		sent = append(sent, &kgo.Record{Topic: topic, Key: []byte(r.Key), Value: []byte(r.Value),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(r.Header)}}})
	}
	return cl.ProduceSync(ctx, sent...).FirstErr()
}

func poll(ctx context.Context, cl *kgo.Client, out *driver.Out) {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.Canceled) {
				driver.Log("poll: %v", e.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { out.Record(r.Partition, r.Offset, r.Key, r.Value) })
	}
}

func (client) Assign(ctx context.Context, topic string, out *driver.Out) error {
	cl, err := kgo.NewClient(seeds(), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	poll(ctx, cl, out)
	return nil
}

func (client) Group(ctx context.Context, topic, group string, out *driver.Out) error {
	opts := []kgo.Opt{seeds(), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitCallback(printed(out))}
	if os.Getenv("GROUP_PROTOCOL") == "consumer" {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	poll(ctx, cl, out)
	last, cancel := context.WithTimeout(context.Background(), leaveMax)
	defer cancel()
	cl.CommitOffsetsSync(last, cl.UncommittedOffsets(), printed(out))
	cl.CloseAllowingRebalance()
	return nil
}

// printed prints what a response acknowledges.
func printed(out *driver.Out) func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {
	return func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil || resp == nil {
			driver.Log("commit: %v", err)
			return
		}
		for i, t := range resp.Topics {
			for j, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					driver.Log("commit of %d: %v", p.Partition, err)
					continue
				}
				out.Committed(p.Partition, req.Topics[i].Partitions[j].Offset)
			}
		}
	}
}
