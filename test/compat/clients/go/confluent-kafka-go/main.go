// The driver of confluent-kafka-go, which is librdkafka.
package main

import (
	"context"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"ottla-compat/driver"
)

const (
	pollMillis     = 100
	metadataMillis = 30_000
)

type client struct{}

func main() { driver.Main(client{}) }

func (client) Produce(ctx context.Context, topic string, records []driver.Record) error {
	p, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": driver.Bootstrap()})
	if err != nil {
		return err
	}
	defer p.Close()
	reports := make(chan kafka.Event, len(records))
	for _, r := range records {
		err := p.Produce(&kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny}, Key: []byte(r.Key),
			Value: []byte(r.Value), Headers: []kafka.Header{{Key: "h", Value: []byte(r.Header)}}}, reports)
		if err != nil {
			return err
		}
	}
	for range records {
		select {
		case e := <-reports:
			if m, is := e.(*kafka.Message); is && m.TopicPartition.Error != nil {
				return m.TopicPartition.Error
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func consumer(group string) (*kafka.Consumer, error) {
	config := &kafka.ConfigMap{"bootstrap.servers": driver.Bootstrap(), "group.id": group, "auto.offset.reset": "earliest"}
	if protocol := os.Getenv("GROUP_PROTOCOL"); protocol != "" {
		if err := config.SetKey("group.protocol", protocol); err != nil {
			return nil, err
		}
	}
	return kafka.NewConsumer(config)
}

func (client) Assign(ctx context.Context, topic string, out *driver.Out) error {
	c, err := consumer("unused")
	if err != nil {
		return err
	}
	defer c.Close()
	metadata, err := c.GetMetadata(&topic, false, metadataMillis)
	if err != nil {
		return err
	}
	var all []kafka.TopicPartition
	for _, p := range metadata.Topics[topic].Partitions {
		all = append(all, kafka.TopicPartition{Topic: &topic, Partition: p.ID, Offset: kafka.OffsetBeginning})
	}
	if err := c.Assign(all); err != nil {
		return err
	}
	poll(ctx, c, out)
	return nil
}

func (client) Group(ctx context.Context, topic, group string, out *driver.Out) error {
	c, err := consumer(group)
	if err != nil {
		return err
	}
	if err := c.Subscribe(topic, nil); err != nil {
		return err
	}
	poll(ctx, c, out)
	committed, err := c.Commit()
	if e, is := err.(kafka.Error); is && e.Code() == kafka.ErrNoOffset {
		err = nil // nothing to commit
	}
	if err != nil {
		driver.Log("commit: %v", err)
	}
	print(out, committed)
	return c.Close()
}

func poll(ctx context.Context, c *kafka.Consumer, out *driver.Out) {
	for ctx.Err() == nil {
		switch e := c.Poll(pollMillis).(type) {
		case *kafka.Message:
			if e.TopicPartition.Error == nil {
				out.Record(e.TopicPartition.Partition, int64(e.TopicPartition.Offset), e.Key, e.Value)
			}
		case kafka.OffsetsCommitted:
			if e.Error == nil {
				print(out, e.Offsets)
			}
		case kafka.Error:
			driver.Log("%v: %v", time.Now(), e)
		}
	}
}

func print(out *driver.Out, committed []kafka.TopicPartition) {
	for _, p := range committed {
		if p.Error == nil && p.Offset >= 0 {
			out.Committed(p.Partition, int64(p.Offset))
		}
	}
}
