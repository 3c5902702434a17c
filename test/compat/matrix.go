package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// "" is what the client does when nobody says anything.
var matrixCodecs = []string{"", "none", "gzip", "snappy", "lz4", "zstd"}

// written is a topic with what a producer put there.
type written struct {
	topic         string
	by, codec     string
	recs          []record
	after, before time.Time // when it was produced
	ok            bool
}

func (w *written) label() string {
	if w.codec == "" {
		return w.by + " default"
	}
	return w.by + " " + w.codec
}

func (s *suite) admin(ctx context.Context, f func(*kadm.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker.bootstrap))
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(kadm.NewClient(cl))
}

func (s *suite) createTopic(ctx context.Context, topic string, count int32, configs map[string]string) error {
	given := map[string]*string{}
	for k, v := range configs {
		given[k] = kadm.StringPtr(v)
	}
	return s.admin(ctx, func(a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, count, 1, given, topic)
		return err
	})
}

// matrix lets each client produce with each codec, and each client read what each produced, record by record.
func (s *suite) matrix(ctx context.Context) {
	clients := s.clients()
	topics := make([][]*written, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		for j, codec := range matrixCodecs {
			topic := fmt.Sprintf("matrix-%s-%s", c.name(), codec)
			if codec == "" {
				topic += "default"
			}
			topics[i] = append(topics[i], &written{topic: topic, by: c.name(), codec: codec, recs: c.records(uint64(i*10 + j))})
		}
		wg.Go(func() {
			for _, w := range topics[i] {
				s.write(ctx, c, w, nil)
			}
		})
	}
	wg.Wait()
	var all []*written
	for _, ws := range topics {
		all = append(all, ws...)
	}
	s.readAll(ctx, clients, all)
}

// write creates the topic and fills it.
func (s *suite) write(ctx context.Context, c client, w *written, configs map[string]string) {
	w.ok = s.check(ctx, w.label()+" produces to "+w.topic, func(ctx context.Context) error {
		if err := s.createTopic(ctx, w.topic, partitions, configs); err != nil {
			return fmt.Errorf("create topic: %w", err)
		}
		w.after = time.Now().Add(-time.Millisecond)
		err := c.produce(ctx, w.topic, w.codec, w.recs)
		w.before = time.Now().Add(time.Millisecond)
		return err
	})
}

// readAll lets every client read every topic; the clients work at the same time.
func (s *suite) readAll(ctx context.Context, clients []client, all []*written) {
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for _, w := range all {
				if !w.ok {
					continue
				}
				s.check(ctx, fmt.Sprintf("%s reads what %s wrote to %s", c.name(), w.label(), w.topic), func(ctx context.Context) error {
					got, err := c.consume(ctx, w.topic)
					if err != nil {
						return err
					}
					return compare(got, w.recs, w.after, w.before)
				})
			}
		})
	}
	wg.Wait()
}

// brokerSide is what the broker does to batches: compression.type and LogAppendTime.
func (s *suite) brokerSide(ctx context.Context) {
	clients := s.clients()
	java := clients[0]
	var all []*written
	for i, codec := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		w := &written{topic: "broker-" + codec, by: "java", codec: "lz4", recs: java.records(uint64(100 + i))}
		if codec != "uncompressed" && codec != "gzip" {
			w.codec = "none"
		}
		s.write(ctx, java, w, map[string]string{"compression.type": codec})
		all = append(all, w)
	}
	for i, codec := range []string{"none", "zstd"} {
		w := &written{topic: "broker-logappendtime-" + codec, by: "java", codec: codec, recs: java.records(uint64(200 + i))}
		s.write(ctx, java, w, map[string]string{"message.timestamp.type": "LogAppendTime"})
		for i := range w.recs { // what consumers are to see
			w.recs[i].timestamp, w.recs[i].timestampType = timestampNever, logAppendTime
		}
		all = append(all, w)
	}
	s.readAll(ctx, clients, all)
}
