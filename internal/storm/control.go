package storm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// singleton is the healthy client: one producer for all pushes. Each lane has its own, with the same id, for the partitions of its
// broker.
type singleton struct {
	pid       int64
	epoch     int16
	sequences []int32 // by template
	used      []bool
	load      *load
	// broken: a batch was refused, so that the sequences have a gap. A producer goes on under a new id.
	broken bool
}

// take gives the identity of the first of a push's batches.
func (s *singleton) take(template int32, batches int) batchID {
	if !s.used[template] {
		s.used[template] = true
		s.load.entries.Add(1)
	}
	sequence := s.sequences[template]
	s.sequences[template] = int32((int64(sequence) + int64(batches)) & (1<<31 - 1)) // wraps to 0 as Kafka's does
	return batchID{pid: s.pid, epoch: s.epoch, sequence: sequence}
}

// renew gives the singleton another id; a load that is stopping may be over instead. Nothing is in flight.
func (p *pushes) renew() error {
	pid, epoch, err := p.load.producerID(p.lane)
	var refused *refusal
	if errors.As(err, &refused) && p.load.stopped.Load() {
		p.over, p.claimed = true, false
		return nil
	}
	if err != nil {
		return err
	}
	p.load.producers.Add(1)
	p.single = &singleton{pid: pid, epoch: epoch, sequences: make([]int32, len(p.templates)), used: make([]bool, len(p.templates)), load: p.load}
	return nil
}

// initRetryPause is how long is waited before a broker that hands out no ids yet is asked again; Java's retry.backoff.ms is 100.
const initRetryPause = 20 * time.Millisecond

// producerID asks for an id until it is given. Nothing else is outstanding on the lane.
func (l *load) producerID(conn *lane) (pid int64, epoch int16, err error) {
	frame := initFrame(l.init)
	for {
		code, pid, epoch, err := conn.initID(l.init, frame)
		switch {
		case err != nil:
			return 0, 0, err
		case code == 0:
			return pid, epoch, nil
		case !askAgain(code):
			return 0, 0, &refusal{code}
		}
		if !l.await(time.Now().Add(initRetryPause)) {
			return 0, 0, &refusal{code}
		}
	}
}

// refusal is an error code for what cannot be done without.
type refusal struct{ code int16 }

// Error implements error.
func (r *refusal) Error() string {
	return fmt.Sprintf("InitProducerId was answered with error %s", codeName(r.code))
}

// inFlightMax is max.in.flight.requests.per.connection of an idempotent producer.
const inFlightMax = 5

func (l *load) runControl(ctx context.Context) error {
	leaders := l.topic.leaderIDs()
	first, err := l.c.lane(ctx, l.c.brokers[leaders[0]], shortReadBytes)
	if err != nil {
		return withCause(ctx, err)
	}
	pid, epoch, err := l.producerID(first)
	first.close()
	if err != nil {
		return withCause(ctx, err)
	}
	l.producers.Add(1)
	templates, err := l.partitionTemplates()
	if err != nil {
		return err
	}
	return l.together(len(leaders), func(i int) error {
		own := templates[leaders[i]]
		single := &singleton{pid: pid, epoch: epoch, sequences: make([]int32, len(own)), used: make([]bool, len(own)), load: l}
		return l.again(ctx, func() error {
			err := l.pushLane(ctx, leaders[i], own, max(1, inFlightMax/l.o.Batches), single)
			single = &singleton{load: l, broken: true} // which batches were written is not known: it goes on under a new id
			return err
		})
	})
}
