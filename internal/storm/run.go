package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// run is one call of Run.
type run struct {
	o       *Options
	c       *cluster
	topics  []*topic
	loads   []*load // the control load first, if there are two
	main    *load
	summary *Summary
	watch   *watch
}

// Run makes the storm that the options describe. The summary says what was seen also after an error. progress is called about once a second
// by one goroutine at a time, and may be nil. When ctx ends, what is in flight is dropped; the topics are deleted nevertheless.
//
// Errors: ErrRefused before anything is written; ErrStopped; ErrNotExact; ctx's.
func Run(ctx context.Context, o Options, progress func(Progress)) (Summary, error) {
	s := Summary{Schema: SchemaVersion, Ended: EndedFailed, Loads: []Load{}, Series: []Series{}}
	if progress == nil {
		progress = func(Progress) {}
	}
	err := o.Check()
	if err == nil {
		progress(Progress{Phase: PhasePreparing})
		err = runWith(ctx, &o, &s, progress)
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s, err
}

func runWith(ctx context.Context, o *Options, s *Summary, progress func(Progress)) error {
	prepare, cancel := context.WithTimeout(ctx, prepareMax)
	defer cancel()
	c, err := connect(prepare, o)
	if err != nil {
		return err
	}
	defer c.close()
	s.ClusterID, s.Brokers = c.id, len(c.brokers)
	if o.Retry != "" {
		return retrySaved(ctx, o, c, s, progress)
	}
	r := &run{o: o, c: c, summary: s}
	err = r.prepare(prepare)
	if err == nil {
		err = r.storm(ctx, progress)
	} else if ctx.Err() != nil {
		s.Ended = EndedInterrupted
	}
	if !o.Keep {
		progress(Progress{Phase: PhaseCleaning})
	}
	left, cleanErr := c.delete(ctx, r.topics)
	s.Left = left
	if cleanErr != nil {
		s.Notes = append(s.Notes, cleanErr.Error())
	}
	return err
}

// prepare makes the topics and the loads.
func (r *run) prepare(ctx context.Context) error {
	name := r.o.Topic
	if name == "" {
		name = fmt.Sprintf("%s%s-%08x", TopicPrefix, r.o.Mode, rand.Uint32())
	}
	modes := []Mode{r.o.Mode}
	if r.o.AB {
		modes = []Mode{Control, r.o.Mode}
	}
	for _, mode := range modes {
		t := &topic{name: name}
		if r.o.AB && mode == Control {
			t.name += "-control"
		}
		r.topics = append(r.topics, t)
		if err := r.makeTopic(ctx, mode, t); err != nil {
			return err
		}
		if err := r.c.negotiate(ctx, r.c.needed(mode, t)); err != nil {
			return err
		}
		r.loads = append(r.loads, newLoad(mode, r.o, r.c, t))
	}
	r.main = r.loads[len(r.loads)-1]
	if r.o.Mode == TxnChurn {
		if err := r.main.checkTransactions(ctx); err != nil {
			return err
		}
	}
	return r.warmUp(ctx)
}

// needed lists the brokers that a load talks to.
func (c *cluster) needed(mode Mode, t *topic) []int32 {
	if mode != Faithful && mode != TxnChurn {
		return t.leaderIDs()
	}
	var out []int32
	for id := range c.brokers {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// futureKey is what refuses records that are dated ahead, from Kafka 3.6 on (KIP-937).
const futureKey = "message.timestamp.after.max.ms"

// makeTopic makes a load's topic; one for records of the future must accept them, where brokers can be told so.
func (r *run) makeTopic(ctx context.Context, mode Mode, t *topic) error {
	config := map[string]string{}
	for k, v := range r.o.TopicConfig {
		config[k] = v
	}
	if _, given := config[futureKey]; r.o.Ahead <= 0 || given || mode == Control && !r.o.AB {
		return r.c.make(ctx, t, r.o.Partitions, config)
	}
	config[futureKey] = fmt.Sprint(int64(1<<63 - 1))
	err := r.c.make(ctx, t, r.o.Partitions, config)
	if errors.Is(err, kerr.InvalidConfig) {
		delete(config, futureKey)
		err = r.c.make(ctx, t, r.o.Partitions, config)
	}
	return err
}

// warmUp returns when the brokers give out producer ids.
func (r *run) warmUp(ctx context.Context) error {
	conn, err := r.c.lane(ctx, r.c.brokers[r.main.topic.leaders[0]], shortReadBytes)
	if err != nil {
		return err
	}
	defer conn.close()
	_, _, err = r.main.producerID(conn)
	return err
}

// storm makes the loads, beside the steady producer and the watch over all.
func (r *run) storm(ctx context.Context, progress func(Progress)) error {
	hard, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.watch = newWatch(r, progress)
	probe := startProbe(hard, r)
	timer := time.AfterFunc(r.o.MaxDuration, func() { r.stopAll(EndedSeconds) })
	defer timer.Stop()
	unhook := context.AfterFunc(hard, func() { r.stopAll(reasonOf(context.Cause(hard))) })
	defer unhook()
	started := time.Now()
	r.summary.Started = started.UTC()
	watching := r.watch.start(hard, cancel, started)
	errs := make([]error, len(r.loads))
	var all sync.WaitGroup
	for i, l := range r.loads {
		all.Go(func() {
			errs[i] = l.run(hard)
			if l == r.main || errs[i] != nil {
				r.stopAll(l.reason())
			}
		})
	}
	all.Wait()
	elapsed := time.Since(started)
	watching()
	probe.stop()
	for _, l := range r.loads {
		r.summary.Loads = append(r.summary.Loads, l.summary(elapsed))
	}
	r.summary.Seconds = elapsed.Seconds()
	r.summary.Ended = r.main.reason()
	probe.report(r.summary)
	err := r.verdict(ctx, errs, elapsed)
	if r.o.RetrySample > 0 {
		err = errors.Join(err, r.retry(ctx, progress, err))
	}
	return err
}

func (r *run) stopAll(reason string) {
	for _, l := range r.loads {
		l.stop(reason)
	}
}

// verdict is the storm's error.
func (r *run) verdict(ctx context.Context, errs []error, elapsed time.Duration) error {
	l := r.summary.Loads[len(r.summary.Loads)-1]
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	capped := r.summary.Ended == EndedSeconds || r.summary.Ended == EndedBytes || r.summary.Ended == EndedProducers
	if ended := reasonOf(first); ended == EndedStalled || ended == EndedGone {
		r.summary.Ended = ended // also where a cap had come first: what was in flight then was never answered
	}
	switch {
	case ctx.Err() != nil:
		r.summary.Ended = EndedInterrupted
		return ctx.Err()
	case r.summary.Ended == EndedStalled:
		return fmt.Errorf("%w after %d producers, %d entries, %.1f s: no answer for %v", ErrStopped, l.Producers, l.Entries, elapsed.Seconds(), r.o.Stall)
	case r.summary.Ended == EndedGone && l.Pushes == 0 && r.c.alive(ctx, r.main.topic):
		r.summary.Ended = EndedFailed // it was never borne, so that nothing has changed: what is written is not to the broker's liking
		return fmt.Errorf("every connection broke, but the broker answers: %w", first)
	case r.summary.Ended == EndedGone && capped && !errors.Is(first, errBreaks) && r.c.alive(ctx, r.main.topic):
		r.summary.Ended = r.main.reason() // some connection broke just before
		return nil
	case r.summary.Ended == EndedGone:
		return fmt.Errorf("%w after %d producers, %d entries, %.1f s: %w", ErrStopped, l.Producers, l.Entries, elapsed.Seconds(), first)
	case first != nil:
		return first
	case l.Pushes == 0 && r.o.MaxProducers > 0:
		return fmt.Errorf("nothing was acknowledged: %s", describeErrors(l.Errors))
	}
	return nil
}

func describeErrors(counted map[string]int64) string {
	var out []string
	for cause, n := range counted {
		out = append(out, fmt.Sprintf("%d x %s", n, cause))
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "no errors either"
	}
	return strings.Join(out, ", ")
}
