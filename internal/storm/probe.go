package storm

import (
	"context"
	"fmt"
	"time"

	"ottla/internal/measure"
)

// probe is one well-behaved producer beside the storm: it keeps its id and writes one batch at a time, on a connection of its own.
type probe struct {
	cancel  context.CancelFunc
	done    chan struct{}
	latency measure.Histogram
	err     error
}

// startProbe runs it, if it is asked for, until stop is called or ctx ends.
func startProbe(ctx context.Context, r *run) *probe {
	p := &probe{done: make(chan struct{})}
	ctx, p.cancel = context.WithCancel(ctx)
	if r.o.Probe == 0 {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		if err := p.run(ctx, r); err != nil && ctx.Err() == nil {
			p.err = err
		}
	}()
	return p
}

func (p *probe) stop() {
	p.cancel()
	<-p.done
}

func (p *probe) report(s *Summary) {
	if p.latency.Count > 0 {
		l := latencyOf(&p.latency)
		s.Probe = &l
	}
	if p.err != nil {
		s.Notes = append(s.Notes, "the steady producer ended early: "+p.err.Error())
	}
}

func (p *probe) run(ctx context.Context, r *run) error {
	l := r.main
	t, err := newTemplate(l.produce, l.topic.name, []int32{0}, r.o.RecordBytes, -1)
	if err != nil {
		return err
	}
	conn, err := r.c.lane(ctx, r.c.brokers[l.topic.leaders[0]], shortReadBytes)
	if err != nil {
		return err
	}
	defer conn.close()
	pid, epoch, err := l.producerID(conn)
	if err != nil {
		return err
	}
	id := batchID{pid: pid, epoch: epoch}
	ticker := time.NewTicker(r.o.Probe)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		begun := time.Now()
		id.timeMillis = begun.UnixMilli()
		conn.out = t.append(conn.out, conn.expect(0), id)
		body, _, err := conn.receive(time.Time{})
		if err != nil {
			return err
		}
		correlation, code, _, err := parseProduceOne(l.produce, body)
		if err == nil {
			err = conn.matches(correlation)
		}
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("a batch was answered with error %s", codeName(code))
		}
		p.latency.Record(time.Since(begun))
		id.sequence++
	}
}
