package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"ottla/internal/measure"
	"sync"
	"sync/atomic"
	"time"
)

// storm is one run: lanes, each with its own connection, that share a counter of producers.
type storm struct {
	o      options
	start  time.Time
	next   atomic.Int64 // number of the next producer
	done   atomic.Int64 // producers of which everything is acknowledged
	stop   atomic.Bool  // begin no more producers, finish those in flight
	sample sample
	step   int64 // every step-th producer is remembered

	mu struct {
		sync.Mutex
		latency measure.Histogram
		refused map[int16]int64 // by error code
	}
}

func newStorm(o options) *storm {
	s := &storm{o: o, start: time.Now(), step: 1}
	if o.sample > 0 {
		s.step = max(1, o.producers/int64(o.sample))
	}
	s.mu.refused = map[int16]int64{}
	return s
}

// run makes all producers. What was acknowledged before an error is in the sample.
func (s *storm) run(ctx context.Context) error {
	templates, err := newTemplates(s.o.topic, s.o.partitions, s.o.recordBytes, s.o.acks)
	if err != nil {
		return err
	}
	if err := warmUp(ctx, s.o); err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { s.stop.Store(true) })
	defer stopped()
	errs := make([]error, s.o.connections)
	var lanes sync.WaitGroup
	for i := range s.o.connections {
		lanes.Go(func() {
			if errs[i] = s.lane(templates); errs[i] != nil {
				s.stop.Store(true)
			}
		})
	}
	lanes.Wait()
	return errors.Join(firstError(errs), s.refusals())
}

// firstError leaves out the echo of one dead broker on every connection.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *storm) lane(templates []template) error {
	l, err := dialLane(s.o.addr)
	if err != nil {
		return err
	}
	defer l.close()
	p := &pushes{storm: s, lane: l, templates: templates, init: initFrame(), slots: make([]push, s.o.pipeline), refused: map[int16]int64{}}
	err = p.run()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.latency.Add(&p.latency)
	for code, n := range p.refused {
		s.mu.refused[code] += n
	}
	s.sample.producers = append(s.sample.producers, p.sample...)
	return err
}

func (s *storm) refusals() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for code, n := range s.mu.refused {
		errs = append(errs, fmt.Errorf("%d requests were refused with %s", n, codeName(code)))
	}
	return errors.Join(errs...)
}

func (s *storm) reportEvery(ctx context.Context, interval time.Duration, w io.Writer) {
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		last := int64(0)
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				done := s.done.Load()
				if s.o.producers > 0 {
					fmt.Fprintf(w, "%5.0fs %10d producers %8d/s\n", now.Sub(s.start).Seconds(), done, (done-last)*int64(time.Second)/int64(interval))
				}
				last = done
			}
		}
	}()
}

func (s *storm) print(w io.Writer, elapsed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.done.Load()
	fmt.Fprintf(w, "%d producers, %d batches each, in %.2f s: %.0f producers/s\n", done, s.o.batches, elapsed.Seconds(), float64(done)/elapsed.Seconds())
	fmt.Fprintf(w, "latency of a producer (id, then all its batches): p50 %s  p99 %s  max %s\n",
		s.mu.latency.Quantile(0.50), s.mu.latency.Quantile(0.99), s.mu.latency.Max)
}

// push is one producer in flight.
type push struct {
	begun   time.Time
	number  int64
	batch   batchID
	left    int
	offsets [batchesMax]int64
	failed  bool
}

// pushes runs the producers of one lane: a single goroutine that handles whatever answers have arrived, puts what follows from
// them into one buffer, and sends it when nothing more is there to read.
type pushes struct {
	storm     *storm
	lane      *lane
	templates []template
	init      []byte
	slots     []push
	latency   measure.Histogram
	refused   map[int16]int64
	sample    []sampledProducer
}

func (p *pushes) run() error {
	for i := range p.slots {
		if err := p.begin(int32(i)); err != nil {
			return err
		}
	}
	for p.lane.waiting() {
		body, slot, err := p.lane.receive()
		if err != nil {
			return err
		}
		if err := p.answer(body, slot); err != nil {
			return err
		}
	}
	return nil
}

// begin puts the next producer into a slot, if there is one.
func (p *pushes) begin(slot int32) error {
	if p.storm.stop.Load() {
		return nil
	}
	number := p.storm.next.Add(1) - 1
	if number >= p.storm.o.producers {
		return nil
	}
	if err := p.pace(number); err != nil {
		return err
	}
	p.slots[slot] = push{begun: time.Now(), number: number, batch: batchID{pid: -1}, left: p.storm.o.batches}
	correlation := p.lane.expect(slot)
	p.lane.out = appendInit(p.lane.out, p.init, correlation)
	return nil
}

// pace waits until it is the producer's turn. Answers that come meanwhile wait too: with -rate the latency of the storm itself means
// little, that of the steady producer much.
func (p *pushes) pace(number int64) error {
	if p.storm.o.rate == 0 {
		return nil
	}
	turn := p.storm.start.Add(time.Duration(float64(number) / float64(p.storm.o.rate) * float64(time.Second)))
	wait := time.Until(turn)
	if wait <= 0 {
		return nil
	}
	if err := p.lane.flush(); err != nil {
		return err
	}
	<-time.After(wait)
	return nil
}

func (p *pushes) answer(body []byte, slot int32) error {
	push := &p.slots[slot]
	if push.batch.pid < 0 {
		correlation, code, pid, epoch, err := parseInit(body)
		if err == nil {
			err = p.lane.matches(correlation)
		}
		if err != nil {
			return err
		}
		switch code {
		case 0:
		case codeLoading:
			// Kafka answers so while it fetches its next block of ids.
			p.lane.out = appendInit(p.lane.out, p.init, p.lane.expect(slot))
			return nil
		default:
			p.refused[code]++
			return p.begin(slot)
		}
		push.batch = batchID{pid: pid, epoch: epoch, timeMillis: push.begun.Add(p.storm.o.timeOffset).UnixMilli()}
		p.write(push, slot)
		return nil
	}
	correlation, code, offset, err := parseProduce(body, len(p.storm.o.topic))
	if err == nil {
		err = p.lane.matches(correlation)
	}
	if err != nil {
		return err
	}
	p.written(push, code, offset)
	if push.left > 0 {
		return nil
	}
	return p.begin(slot)
}

// write sends all batches of a producer at once: up to five may be in flight.
func (p *pushes) write(push *push, slot int32) {
	t := p.templates[push.partition(len(p.templates))]
	for range p.storm.o.batches {
		correlation := p.lane.expect(slot)
		p.lane.out = t.append(p.lane.out, correlation, push.batch)
		push.batch.sequence++
	}
}

func (p *push) partition(partitions int) int { return int(p.number % int64(partitions)) }

func (p *pushes) written(push *push, code int16, offset int64) {
	push.offsets[p.storm.o.batches-push.left] = offset
	push.left--
	if code != 0 {
		p.refused[code]++
		push.failed = true
	}
	if push.left > 0 || push.failed {
		return
	}
	p.storm.done.Add(1)
	p.latency.Record(time.Since(push.begun))
	if push.number%p.storm.step == 0 && p.storm.o.sample > 0 {
		p.sample = append(p.sample, sampledProducer{
			pid: push.batch.pid, epoch: push.batch.epoch, timeMillis: push.batch.timeMillis,
			partition: push.partition(len(p.templates)), offsets: append([]int64(nil), push.offsets[:p.storm.o.batches]...),
		})
	}
}
