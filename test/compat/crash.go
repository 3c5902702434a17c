package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	streamRecords   = 16_000
	streamPerSecond = 4_000
	streamBatch     = 100
)

// interruption is what befalls the broker once so many records are sent.
type interruption struct {
	at   int64
	name string
	do   func() error
}

// stream is an idempotent producer at a steady pace: record i is "i", to partition i modulo partitions.
type stream struct {
	topic      string
	partitions int
	run        func(ctx context.Context, topic string) error
	err        error
}

// crash kills the broker with -9, and once stops it, under idempotent producers: nothing may be lost, doubled or reordered.
func (s *suite) crash(ctx context.Context) {
	const name = "kill -9 under idempotent producers"
	if s.broker.cmd == nil {
		s.check(ctx, name, func(context.Context) error { return fmt.Errorf("%w: not our process", errSkip) })
		return
	}
	kill := func() error { s.broker.kill(); return nil }
	interruptions := []interruption{
		{streamRecords / 4, "killed with -9", kill},
		{streamRecords / 2, "stopped", s.broker.terminate},
		{streamRecords * 3 / 4, "killed with -9", kill},
	}
	streams := []*stream{
		{topic: "crash-java", partitions: partitions}, // runs in the JVM and sets the pace of the rest
		{topic: "crash-franz-go", partitions: partitions, run: s.franzStream},
		{topic: "crash-kcat", partitions: 1, run: s.kcatStream},
	}
	ok := s.check(ctx, name, func(ctx context.Context) error { return s.underFire(ctx, streams, interruptions) })
	if !ok {
		return
	}
	deleted := step{"kafka-get-offsets --time earliest after the kills", kafkaGetOffsets, "--topic offsets --time earliest", 0, []string{`^offsets:0:7$`, `^offsets:1:50$`}}
	if s.options.reference { // which writes the start of its logs once a minute, and brings deleted records back
		s.check(ctx, deleted.name, func(context.Context) error { return fmt.Errorf("%w: Apache Kafka forgets it", errSkip) })
	} else {
		s.steps(ctx, []step{deleted})
	}
	s.steps(ctx, []step{ // what was there before is there still
		{"kafka-configs topic --describe after the kills", kafkaConfigs, "--describe --entity-type topics --entity-name perf", 0, []string{`segment\.bytes=1048576 `}},
		{"kafka-topics --list after the kills", kafkaTopics, "--list", 0, []string{`!^tools$`, `^tools-defaults$`, `^crash-java$`}},
	})
	for _, st := range streams {
		for _, c := range s.clients() {
			s.check(ctx, c.name()+" reads "+st.topic+" after the kills", func(ctx context.Context) error {
				got, err := c.consume(ctx, st.topic)
				if err != nil {
					return err
				}
				return wholeStream(got, st.partitions)
			})
		}
	}
}

func (s *suite) underFire(ctx context.Context, streams []*stream, interruptions []interruption) error {
	for _, st := range streams {
		if err := s.createTopic(ctx, st.topic, int32(st.partitions), nil); err != nil {
			return err
		}
	}
	progress, err := s.jvm.send(map[string]any{"command": "stream", "bootstrap": s.broker.bootstrap, "topic": streams[0].topic,
		"partitions": partitions, "count": streamRecords, "perSecond": streamPerSecond})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, st := range streams[1:] {
		wg.Go(func() { st.err = st.run(ctx, st.topic) })
	}
	if err := s.follow(ctx, progress, interruptions); err != nil {
		cancel() // do not wait for the others
		wg.Wait()
		return err
	}
	wg.Wait()
	for _, st := range streams {
		if st.err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", st.topic, st.err))
		}
	}
	return err
}

// follow reads the progress of the stream in the JVM to its end and interrupts the broker on the way.
func (s *suite) follow(ctx context.Context, progress <-chan answer, interruptions []interruption) error {
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
		case a.Done && len(interruptions) > 0:
			return errors.New("the java producer was done before the broker was killed")
		case a.Done:
			return nil
		case len(interruptions) > 0 && a.Records >= interruptions[0].at:
			if err := interruptions[0].do(); err != nil {
				return fmt.Errorf("%s: %w", interruptions[0].name, err)
			}
			start := time.Now()
			if err := s.broker.start(ctx); err != nil {
				return fmt.Errorf("restart: %w", err)
			}
			fmt.Printf("      %s; answers again %v after the next start\n", interruptions[0].name, time.Since(start).Round(time.Millisecond))
			interruptions = interruptions[1:]
		}
	}
}

// paced calls f with the first of each run of streamBatch records.
func paced(ctx context.Context, f func(first int) error) error {
	pace := time.NewTicker(time.Second * streamBatch / streamPerSecond)
	defer pace.Stop()
	for first := 0; first < streamRecords; first += streamBatch {
		if err := f(first); err != nil {
			return err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *suite) franzStream(ctx context.Context, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	results := make(chan error, streamRecords)
	err = paced(ctx, func(first int) error {
		for i := first; i < first+streamBatch; i++ {
			r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: strconv.AppendInt(nil, int64(i), 10)}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) { results <- err })
		}
		return nil
	})
	if err != nil {
		return err
	}
	for range streamRecords {
		if err := <-results; err != nil {
			return err
		}
	}
	return nil
}

// kcatStream is librdkafka with idempotence, which is not its default. All to partition 0.
func (s *suite) kcatStream(ctx context.Context, topic string) error {
	cmd := exec.CommandContext(ctx, "kcat", "-b", s.broker.bootstrap, "-P", "-E", "-t", topic, "-p", "0", "-X", "enable.idempotence=true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = paced(ctx, func(first int) error {
		var lines []byte
		for i := first; i < first+streamBatch; i++ {
			lines = append(strconv.AppendInt(lines, int64(i), 10), '\n')
		}
		_, err := in.Write(lines)
		if errors.Is(err, io.ErrClosedPipe) {
			err = errors.New("kcat has closed its input")
		}
		return err
	})
	return errors.Join(err, in.Close(), cmd.Wait())
}

// wholeStream: of n partitions, partition p holds p, p+n, p+2n, ... at offsets 0, 1, 2, ...
func wholeStream(got []record, n int) error {
	if len(got) != streamRecords {
		return fmt.Errorf("%d records, %d were acknowledged", len(got), streamRecords)
	}
	slices.SortStableFunc(got, func(a, b record) int { return int(a.partition - b.partition) })
	next := make([]int64, n)
	for _, r := range got {
		want := strconv.FormatInt(next[r.partition]*int64(n)+int64(r.partition), 10)
		if r.offset != next[r.partition] || string(r.value) != want {
			return fmt.Errorf("%d-%d holds %q, expected %q at %d", r.partition, r.offset, r.value, want, next[r.partition])
		}
		next[r.partition]++
	}
	return nil
}
