// The driver of segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"ottla-compat/driver"
)

const commitMax = 10 * time.Second

type client struct{}

func main() { driver.Main(client{}) }

func brokers() []string { return []string{driver.Bootstrap()} }

func (client) Produce(ctx context.Context, topic string, records []driver.Record) error {
	w := &kafka.Writer{Addr: kafka.TCP(driver.Bootstrap()), Topic: topic}
	var sent []kafka.Message
	for _, r := range records {
		sent = append(sent, kafka.Message{Key: []byte(r.Key), Value: []byte(r.Value), Headers: []kafka.Header{{Key: "h", Value: []byte(r.Header)}}})
	}
	return errors.Join(w.WriteMessages(ctx, sent...), w.Close())
}

func (client) Assign(ctx context.Context, topic string, out *driver.Out) error {
	conn, err := kafka.DialContext(ctx, "tcp", driver.Bootstrap())
	if err != nil {
		return err
	}
	partitions, err := conn.ReadPartitions(topic)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, p := range partitions {
		wg.Go(func() {
			r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers(), Topic: topic, Partition: p.ID})
			defer r.Close()
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return
				}
				out.Record(int32(m.Partition), m.Offset, m.Key, m.Value)
			}
		})
	}
	wg.Wait()
	return conn.Close()
}

func (client) Group(ctx context.Context, topic, group string, out *driver.Out) error {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers(), Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset})
	for {
		m, err := r.FetchMessage(ctx)
		if ctx.Err() != nil {
			return r.Close()
		}
		if err != nil {
			driver.Log("fetch: %v", err)
			continue
		}
		out.Record(int32(m.Partition), m.Offset, m.Key, m.Value)
		commit(r, m, out)
	}
}

// commit is synchronous by default; a message is committed even if the run is about to end.
func commit(r *kafka.Reader, m kafka.Message, out *driver.Out) {
	ctx, cancel := context.WithTimeout(context.Background(), commitMax)
	defer cancel()
	if err := r.CommitMessages(ctx, m); err != nil {
		driver.Log("commit: %v", err)
		return
	}
	out.Committed(int32(m.Partition), m.Offset+1)
}
