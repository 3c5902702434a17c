// The driver of sarama.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"ottla-compat/driver"
)

type client struct{}

func main() { driver.Main(client{}) }

func brokers() []string { return []string{driver.Bootstrap()} }

func (client) Produce(ctx context.Context, topic string, records []driver.Record) error {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true // the synchronous producer needs it
	p, err := sarama.NewSyncProducer(brokers(), config)
	if err != nil {
		return err
	}
	var sent []*sarama.ProducerMessage
	for _, r := range records {
		sent = append(sent, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(r.Key), Value: sarama.StringEncoder(r.Value),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(r.Header)}}})
	}
	return errors.Join(p.SendMessages(sent), p.Close())
}

func (client) Assign(ctx context.Context, topic string, out *driver.Out) error {
	c, err := sarama.NewConsumer(brokers(), sarama.NewConfig())
	if err != nil {
		return err
	}
	partitions, err := c.Partitions(topic)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		pc, err := c.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		go func() {
			for m := range pc.Messages() {
				out.Record(m.Partition, m.Offset, m.Key, m.Value)
			}
		}()
	}
	<-ctx.Done()
	return nil
}

func (client) Group(ctx context.Context, topic, group string, out *driver.Out) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	g, err := sarama.NewConsumerGroup(brokers(), group, config)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, handler{out}); err != nil && ctx.Err() == nil {
			driver.Log("consume: %v", err) // its users call it again
		}
	}
	return g.Close()
}

// handler marks; sarama commits what is marked once a second, and when a session ends.
type handler struct{ out *driver.Out }

func (handler) Setup(sarama.ConsumerGroupSession) error { return nil }

func (handler) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, alive := <-claim.Messages():
			if !alive {
				return nil
			}
			h.out.Record(m.Partition, m.Offset, m.Key, m.Value)
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
