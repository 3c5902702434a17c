package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	streamRecords   = 16_000
	streamPerSecond = 4_000
	streamBatch     = 100
	// The broker is killed when this many are sent: about a third, and again at about two thirds.
	streamKillFirst  = streamRecords * 3 / 10
	streamKillSecond = streamRecords * 6 / 10
)

// crash kills the broker with -9 under idempotent producers, twice: nothing may be lost, doubled or reordered.
func (s *suite) crash(ctx context.Context) {
	if s.broker.cmd == nil {
		s.check(ctx, "kill -9 under idempotent producers", func(context.Context) error { return fmt.Errorf("%w: not our process", errSkip) })
		return
	}
	topics := []string{"crash-java", "crash-franz-go"}
	var wg sync.WaitGroup
	s.check(ctx, "kill -9 under idempotent producers", func(ctx context.Context) error {
		for _, topic := range topics {
			if err := s.createTopic(ctx, topic, partitions, nil); err != nil {
				return err
			}
		}
		progress, err := s.jvm.send(map[string]any{"command": "stream", "bootstrap": s.broker.bootstrap, "topic": topics[0],
			"partitions": partitions, "count": streamRecords, "perSecond": streamPerSecond})
		if err != nil {
			return err
		}
		var franzErr error
		wg.Go(func() { franzErr = s.franzStream(ctx, topics[1]) })
		err = s.killAt(ctx, progress, streamKillFirst, streamKillSecond)
		wg.Wait()
		return errors.Join(err, franzErr)
	})
	for _, topic := range topics {
		for _, c := range s.clients() {
			s.check(ctx, c.name()+" reads "+topic+" after the kills", func(ctx context.Context) error {
				got, err := c.consume(ctx, topic)
				if err != nil {
					return err
				}
				return wholeStream(got)
			})
		}
	}
}

// killAt follows the stream in the JVM to its end and kills and restarts the broker on the way.
func (s *suite) killAt(ctx context.Context, progress <-chan answer, kills ...int64) error {
	for {
		var a answer
		var alive bool
		select {
		case a, alive = <-progress:
		case <-ctx.Done():
			return fmt.Errorf("the java producer has not finished: %w", ctx.Err())
		}
		switch {
		case !alive:
			return errors.New("the JVM is gone")
		case a.Error != "":
			return fmt.Errorf("java producer: %s", a.Error)
		case a.Done && len(kills) > 0:
			return errors.New("the java producer was done before the broker was killed")
		case a.Done:
			return nil
		case len(kills) > 0 && a.Records >= kills[0]:
			kills = kills[1:]
			s.broker.kill()
			start := time.Now()
			if err := s.broker.start(ctx); err != nil {
				return fmt.Errorf("restart: %w", err)
			}
			fmt.Printf("      killed with -9; answers again %v after the next start\n", time.Since(start).Round(time.Millisecond))
		}
	}
}

// franzStream is what Clients.stream is in Java.
func (s *suite) franzStream(ctx context.Context, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	pace := time.NewTicker(time.Second * streamBatch / streamPerSecond)
	defer pace.Stop()
	results := make(chan error, streamRecords)
	for i := range streamRecords {
		r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: strconv.AppendInt(nil, int64(i), 10)}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) { results <- err })
		if i%streamBatch == streamBatch-1 {
			<-pace.C
		}
	}
	for range streamRecords {
		err = errors.Join(err, <-results)
	}
	if err != nil {
		return fmt.Errorf("franz-go producer: %w", err)
	}
	return nil
}

// wholeStream: partition p holds p, p+3, p+6, ... at offsets 0, 1, 2, ...
func wholeStream(got []record) error {
	if len(got) != streamRecords {
		return fmt.Errorf("%d records, %d were acknowledged", len(got), streamRecords)
	}
	slices.SortStableFunc(got, func(a, b record) int { return int(a.partition - b.partition) })
	var next [partitions]int64
	for _, r := range got {
		want := strconv.FormatInt(next[r.partition]*partitions+int64(r.partition), 10)
		if r.offset != next[r.partition] || string(r.value) != want {
			return fmt.Errorf("%d-%d holds %q, expected %q at %d", r.partition, r.offset, r.value, want, next[r.partition])
		}
		next[r.partition]++
	}
	return nil
}
