package storm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ottla/internal/measure"
)

// load is one load on one topic: workers or lanes that share a count of producers.
type load struct {
	mode  Mode
	o     *Options
	c     *cluster
	topic *topic
	// init and produce are the versions that all its brokers know.
	init, produce int16

	start time.Time
	next  atomic.Int64 // number of the next producer
	begun atomic.Int64
	ended atomic.Int64 // begun and done, refused or failed
	done  atomic.Int64 // pushes of which everything is acknowledged
	// producers and entries of what is done; a control load counts them as it makes them.
	producers atomic.Int64
	entries   atomic.Int64
	batches   atomic.Int64  // acknowledged
	bytes     atomic.Int64  // of Produce requests
	claimed   atomic.Int64  // bytes of the pushes that have been given a turn
	pushBytes int64         // of Produce requests
	stopping  chan struct{} // closed: begin no more producers, finish those in flight
	stopped   atomic.Bool

	mu struct {
		sync.Mutex
		reason  string // the first of the Ended values
		latency measure.Histogram
		errors  map[string]int64
		sample  reservoir
	}
}

func newLoad(mode Mode, o *Options, c *cluster, t *topic) *load {
	l := &load{mode: mode, o: o, c: c, topic: t, stopping: make(chan struct{})}
	l.mu.errors = map[string]int64{}
	l.mu.sample.size = o.RetrySample
	l.init, l.produce = initVersionMax, produceVersionMax
	for _, id := range t.leaderIDs() {
		l.init, l.produce = min(l.init, c.brokers[id].versions.init), min(l.produce, c.brokers[id].versions.produce)
	}
	return l
}

// stop lets the load end, and notes the first reason.
func (l *load) stop(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.reason == "" {
		l.mu.reason = reason
		l.stopped.Store(true)
		close(l.stopping)
	}
}

func (l *load) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.reason
}

// turnMax is later than any turn that comes: a longer wait would overflow.
const turnMax = 100 * 365 * 24 * time.Hour

// claim gives the turn of the next producer; false: there is none any more.
func (l *load) claim() (number int64, turn time.Time, ok bool) {
	if l.stopped.Load() {
		return 0, turn, false
	}
	if l.claimed.Add(l.pushBytes)-l.pushBytes >= l.o.MaxBytes { // not by what was sent: many may be in flight
		l.stop(EndedBytes)
		return 0, turn, false
	}
	for { // what is not claimed stays as it is: somebody may give some back
		if number = l.next.Load(); number >= l.o.MaxProducers {
			return 0, turn, false
		}
		if l.next.CompareAndSwap(number, number+1) {
			break
		}
	}
	if l.o.Rate > 0 {
		turn = l.start.Add(time.Duration(min(float64(number)/l.o.Rate, turnMax.Seconds()) * float64(time.Second)))
	}
	return number, turn, true
}

// giveBack lets others claim the turns of pushes that broke off with their connection: else a broker that breaks every connection
// would use up all producers before anybody could tell.
func (l *load) giveBack(pushes int) {
	l.next.Add(-int64(pushes))
	l.claimed.Add(-int64(pushes) * l.pushBytes)
}

// await waits for a turn; false: the load is stopping.
func (l *load) await(turn time.Time) bool {
	wait := time.Until(turn)
	if turn.IsZero() || wait <= 0 {
		return !l.stopped.Load()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.stopping:
		return false
	}
}

// run makes the whole load. The error is of the first connection that broke, or of ctx's cause.
func (l *load) run(ctx context.Context) error {
	l.start = time.Now()
	if l.o.MaxProducers == 0 { // a steady producer alone
		select {
		case <-l.stopping:
		case <-ctx.Done():
		}
		return nil
	}
	var err error
	if l.pushBytes, err = l.bytesOfPush(); err != nil {
		return err
	}
	switch l.mode {
	case Fast, FutureTimestamps:
		err = l.runFast(ctx)
	case Control:
		err = l.runControl(ctx)
	default:
		err = l.runWorkers(ctx)
	}
	if err != nil {
		l.stop(reasonOf(err))
	}
	l.stop(EndedProducers)
	return err
}

// bytesOfPush is how many bytes of Produce requests a push takes.
func (l *load) bytesOfPush() (int64, error) {
	requests := map[int32][]int32{0: {0}}
	if l.mode == Wide {
		requests = l.topic.onLeader()
	}
	sum := 0
	for _, partitions := range requests {
		t, err := newTemplate(l.produce, l.topic.name, partitions, l.o.RecordBytes, l.o.Acks)
		if err != nil {
			return 0, err
		}
		sum += len(t.frame)
	}
	return int64(sum * l.o.Batches), nil
}

// together runs n functions and returns the first error, by which all are stopped.
func (l *load) together(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if errs[i] = fn(i); errs[i] != nil {
				l.stop(reasonOf(errs[i]))
			}
		})
	}
	all.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return errors.Is(err, errBreaks) }); i >= 0 {
		return errs[i] // the reason why the others were stopped
	}
	var closed error
	for _, err := range errs {
		if err != nil && !errors.Is(err, net.ErrClosed) { // of a dead broker each connection says so: one is enough
			return err
		}
		closed = cmp.Or(closed, err)
	}
	return closed
}

// tally is what one goroutine has counted, until it is added to the load's.
type tally struct {
	latency measure.Histogram
	errors  map[string]int64
}

func newTally() *tally { return &tally{errors: map[string]int64{}} }

func (l *load) add(t *tally) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.latency.Add(&t.latency)
	t.latency = measure.Histogram{}
}

// failed counts an error at once: the progress shows it.
func (l *load) failed(cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.mu.errors[cause]; known || len(l.mu.errors) < errorKindsMax {
		l.mu.errors[cause]++
		return
	}
	l.mu.errors["other"]++
}

// errorKindsMax bounds how many causes are told apart.
const errorKindsMax = 100

func (l *load) errors() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.mu.errors)
}

// sent counts a Produce request.
func (l *load) sent(bytes int) { l.bytes.Add(int64(bytes)) }

// finished counts a producer all of whose batches are acknowledged, in each of some partitions.
func (l *load) finished(began time.Time, t *tally, partitions int) {
	t.latency.Record(time.Since(began))
	if l.mode != Control {
		l.entries.Add(int64(partitions))
		l.producers.Add(1)
	}
	l.batches.Add(int64(partitions * l.o.Batches))
	l.done.Add(1)
}

// remember offers a finished producer to the sample.
func (l *load) remember(make func() sampled) {
	if l.o.RetrySample == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.sample.offer(make)
}

func (l *load) summary(elapsed time.Duration) Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.done.Load()
	out := Load{
		Mode: l.mode, Topic: l.topic.name, Partitions: len(l.topic.leaders), Pushes: done, Producers: l.producers.Load(), Entries: l.entries.Load(),
		Batches: l.batches.Load(), Bytes: l.bytes.Load(), Latency: latencyOf(&l.mu.latency), InitProducerIDVersion: l.init, ProduceVersion: l.produce,
	}
	if len(l.mu.errors) > 0 {
		out.Errors = maps.Clone(l.mu.errors)
	}
	if elapsed > 0 {
		out.PushesPerSecond = float64(done) / elapsed.Seconds()
	}
	return out
}

// reasonOf says which end an error is.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, errStalled):
		return EndedStalled
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return EndedInterrupted
	case isGone(err):
		return EndedGone
	}
	return EndedFailed
}

// isGone tells a broker that closed a connection, or does not listen, from other errors.
func isGone(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// causeOf is the short name of a connection's error, to count it by.
func causeOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, errCap), errors.Is(err, errAnswer), errors.Is(err, ErrRefused):
		return err.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "connection timed out"
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 { // what is before it names addresses
		text = text[i+2:]
	}
	return fmt.Sprintf("connection: %.80s", text)
}
