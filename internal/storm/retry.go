package storm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ottla/internal/measure"
)

// retryPipeline is how many retries are in flight on a connection.
const retryPipeline = 64

// retry sends the sample of the storm that has just ended again, and saves it if that was asked for. stormErr is how that ended.
func (r *run) retry(ctx context.Context, progress func(Progress), stormErr error) error {
	l := r.main
	s := &sampleFile{
		ClusterID: r.c.id, Topic: l.topic.name, Partitions: len(l.topic.leaders), RecordBytes: r.o.RecordBytes, Acks: r.o.Acks, sample: l.mu.sample.kept,
	}
	if r.o.SampleOut != "" { // also after an error: what was acknowledged before a broker died must be recognised when it is back
		if err := s.write(r.o.SampleOut); err != nil {
			return err
		}
	}
	if stormErr != nil {
		r.summary.Notes = append(r.summary.Notes, "the sample was not retried: the storm did not end well")
		return nil
	}
	progress(Progress{Phase: PhaseRetry})
	out, err := retrySample(ctx, r.o, r.c, l.topic, l.produce, s)
	if err != nil {
		return fmt.Errorf("retrying the sample: %w", err)
	}
	r.summary.Retry = out
	return out.verdict(r.o)
}

func (r *Retry) verdict(o *Options) error {
	if o.RequireExact && r.Exact == 0 && r.AllExact() {
		return fmt.Errorf("%w: the sample is empty", ErrNotExact)
	}
	if o.RequireExact && !r.AllExact() {
		return fmt.Errorf("%w: %d duplicated, refused: %s", ErrNotExact, r.Duplicated, describeErrors(r.Refused))
	}
	return nil
}

// retrySaved retries the sample of a storm of another day. The topic stays.
func retrySaved(ctx context.Context, o *Options, c *cluster, s *Summary, progress func(Progress)) error {
	file, err := readSampleFile(o.Retry)
	if err != nil {
		return err
	}
	if file.ClusterID != c.id {
		return fmt.Errorf("%w: the sample is of cluster %q, this is %q", ErrRefused, file.ClusterID, c.id)
	}
	t := &topic{name: file.Topic}
	prepare, cancel := context.WithTimeout(ctx, prepareMax)
	defer cancel()
	if err := c.awaitLeaders(prepare, t, file.Partitions); err != nil {
		return err
	}
	if err := c.negotiate(prepare, t.leaderIDs()); err != nil {
		return err
	}
	produce := int16(produceVersionMax)
	for _, id := range t.leaderIDs() {
		produce = min(produce, c.brokers[id].versions.produce)
	}
	o.RecordBytes, o.Acks = file.RecordBytes, file.Acks
	progress(Progress{Phase: PhaseRetry})
	s.Left = []string{t.name}
	s.Retry, err = retrySample(ctx, o, c, t, produce, file)
	if err != nil {
		return fmt.Errorf("retrying the sample: %w", err)
	}
	s.Ended, s.Seconds = EndedRetried, s.Retry.Seconds
	return s.Retry.verdict(o)
}

// retrier is one lane's share of a sample.
type retrier struct {
	conn      *lane
	produce   int16
	templates map[int32]*template // by partition
	jobs      []retryJob
	next      int

	exact, duplicated int64
	refused           map[string]int64
	latency           measure.Histogram
}

// retryJob is a batch on its way and the offset it must be answered with.
type retryJob struct {
	sent time.Time
	want int64
}

// retrySample sends every batch of the sample again, to the leaders of today.
func retrySample(ctx context.Context, o *Options, c *cluster, t *topic, produce int16, s *sampleFile) (*Retry, error) {
	total := &Retry{Producers: len(s.sample), Refused: map[string]int64{}}
	shares := map[int32][]sampled{}
	for _, p := range s.sample {
		leader := t.leaders[p.Partition]
		shares[leader] = append(shares[leader], p)
	}
	hard, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer stallGuard(hard, cancel, c, o.Stall)()
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		latency measure.Histogram
		errs    []error
	)
	started := time.Now()
	lanes := max(1, o.Connections/max(1, len(shares)))
	for leader, share := range shares {
		for i := range lanes {
			part := share[len(share)*i/lanes : len(share)*(i+1)/lanes]
			all.Go(func() {
				r := &retrier{produce: produce, templates: map[int32]*template{}, refused: map[string]int64{}, jobs: make([]retryJob, retryPipeline)}
				err := r.run(hard, o, c, c.brokers[leader], t.name, part)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, withCause(hard, err))
				total.Exact += r.exact
				total.Duplicated += r.duplicated
				latency.Add(&r.latency)
				for code, n := range r.refused {
					total.Refused[code] += n
				}
			})
		}
	}
	all.Wait()
	total.Seconds, total.Latency = time.Since(started).Seconds(), latencyOf(&latency)
	if len(total.Refused) == 0 {
		total.Refused = nil
	}
	for _, err := range errs {
		if errors.Is(err, errStalled) || err != nil && isGone(err) {
			return total, fmt.Errorf("%w: %w", ErrStopped, err)
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// stallGuard closes all connections if nothing is answered for some time. The function that it returns ends it.
func stallGuard(ctx context.Context, cancel context.CancelCauseFunc, c *cluster, stall time.Duration) func() {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(stall)
		defer ticker.Stop()
		for last := c.answers.Load(); ; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			now := c.answers.Load()
			if now == last {
				cancel(errStalled)
				return
			}
			last = now
		}
	}()
	return func() { end(); <-done }
}

func (r *retrier) run(ctx context.Context, o *Options, c *cluster, broker *brokerInfo, topic string, share []sampled) (err error) {
	if len(share) == 0 {
		return nil
	}
	if r.conn, err = c.lane(ctx, broker, longReadBytes); err != nil {
		return err
	}
	defer r.conn.close()
	for range o.RetryRounds {
		for _, p := range share {
			t := r.templates[p.Partition]
			if t == nil {
				made, err := newTemplate(r.produce, topic, []int32{p.Partition}, o.RecordBytes, o.Acks)
				if err != nil {
					return err
				}
				t = &made
				r.templates[p.Partition] = t
			}
			if err := r.send(t, p); err != nil {
				return err
			}
		}
	}
	return r.receive(0)
}

func (r *retrier) send(t *template, p sampled) error {
	for sequence, offset := range p.Offsets {
		if err := r.receive(len(r.jobs) - 1); err != nil {
			return err
		}
		slot := r.next % len(r.jobs)
		r.next++
		r.jobs[slot] = retryJob{time.Now(), offset}
		r.conn.out = t.append(r.conn.out, r.conn.expect(int32(slot)), batchID{p.PID, p.Epoch, int32(sequence), p.TimeMillis})
	}
	return nil
}

// receive reads answers until at most some are outstanding.
func (r *retrier) receive(atMost int) error {
	for r.conn.waiting() > atMost {
		body, slot, err := r.conn.receive(time.Time{})
		if err != nil {
			return err
		}
		correlation, code, offset, err := parseProduceOne(r.produce, body)
		if err == nil {
			err = r.conn.matches(correlation)
		}
		if err != nil {
			return err
		}
		r.latency.Record(time.Since(r.jobs[slot].sent))
		switch {
		case code != 0:
			r.refused[codeName(code)]++
		case offset != r.jobs[slot].want:
			r.duplicated++
		default:
			r.exact++
		}
	}
	return nil
}
