package rows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	openProducers   = 10
	openRecordBytes = 1 << 10
	// openRest is how long the last records may take to be acknowledged and consumed.
	openRest = 20 * time.Second
)

// openLoad sends single records at a fixed rate, whatever becomes of those before.
type openLoad struct {
	addr, topic    string
	partitions     int
	rate           int // records a second
	warm, measured time.Duration
	consume        bool
}

// openResult has the latencies of the measured records, sorted; late is how late they were handed to a producer.
type openResult struct{ acked, consumed, late []time.Duration }

// openRun is what the goroutines of one run share. Latencies are in nanoseconds after the record was due, 0: not yet.
type openRun struct {
	openLoad
	began           time.Time // when record 0 was due
	acked, consumed []atomic.Int64
	late            []time.Duration
	ackLeft, left   atomic.Int64
	allAcked, all   chan struct{} // closed when everything is acknowledged, consumed
	mu              struct {
		sync.Mutex
		err error
	}
}

func (o openLoad) run(ctx context.Context) (openResult, error) {
	n := int(float64(o.rate) * (o.warm + o.measured).Seconds())
	r := &openRun{openLoad: o, acked: make([]atomic.Int64, n), consumed: make([]atomic.Int64, n), late: make([]time.Duration, n), allAcked: make(chan struct{}), all: make(chan struct{})}
	r.ackLeft.Store(int64(n))
	r.left.Store(int64(n))
	ctx, cancel := context.WithTimeout(ctx, o.warm+o.measured+openRest)
	defer cancel()
	producers, err := r.producers(ctx)
	if err != nil {
		return openResult{}, err
	}
	defer func() {
		for _, p := range producers {
			p.Close()
		}
	}()
	const untilFirst = 100 * time.Millisecond
	r.began = time.Now().Add(untilFirst)
	if o.consume {
		ends, err := r.consumer(ctx)
		if err != nil {
			return openResult{}, err
		}
		defer ends()
	} else {
		close(r.all)
	}
	if err := r.send(ctx, producers); err != nil {
		return openResult{}, err
	}
	for _, done := range []chan struct{}{r.allAcked, r.all} {
		select {
		case <-done:
		case <-ctx.Done():
			return openResult{}, errors.Join(r.err(), fmt.Errorf("%d of %d records not acknowledged, %d not consumed: %w", r.ackLeft.Load(), n, r.left.Load(), ctx.Err()))
		}
	}
	if err := r.err(); err != nil {
		return openResult{}, err
	}
	from := int(float64(o.rate) * o.warm.Seconds())
	out := openResult{acked: sorted(r.acked[from:]), late: slices.Sorted(slices.Values(r.late[from:]))}
	if o.consume {
		out.consumed = sorted(r.consumed[from:])
	}
	return out, nil
}

func sorted(in []atomic.Int64) []time.Duration {
	out := make([]time.Duration, len(in))
	for i := range in {
		out[i] = time.Duration(in[i].Load())
	}
	slices.Sort(out)
	return out
}

// producers are connected and have their producer ids: one record each is behind them.
func (r *openRun) producers(ctx context.Context) (out []*kgo.Client, err error) {
	for i := range openProducers {
		p, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.DefaultProduceTopic(r.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerLinger(0), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err == nil {
			out = append(out, p)
			err = p.ProduceSync(ctx, &kgo.Record{Partition: int32(i % r.partitions), Value: []byte("first")}).FirstErr()
		}
		if err != nil {
			for _, p := range out {
				p.Close()
			}
			return nil, fmt.Errorf("producer %d: %w", i, err)
		}
	}
	return out, nil
}

// send hands each record to a producer when it is due.
func (r *openRun) send(ctx context.Context, producers []*kgo.Client) error {
	runtime.LockOSThread() // its sleeps are the kernel's: those of the runtime are as coarse as a millisecond
	defer runtime.UnlockOSThread()
	for i := range r.acked {
		due := r.due(i)
		if err := waitUntil(ctx, due); err != nil {
			return err
		}
		r.late[i] = time.Since(due)
		value := make([]byte, openRecordBytes)
		binary.BigEndian.PutUint64(value, uint64(i))
		producers[i%len(producers)].Produce(ctx, &kgo.Record{Partition: int32(i % r.partitions), Value: value}, func(_ *kgo.Record, err error) {
			r.acked[i].Store(int64(time.Since(due)))
			if err != nil {
				r.fail(err)
			}
			if r.ackLeft.Add(-1) == 0 {
				close(r.allAcked)
			}
		})
	}
	return nil
}

// consumer starts to tail all partitions from where they end now, so that it misses none of the load's records.
func (r *openRun) consumer(ctx context.Context) (ends func(), err error) {
	from := map[int32]kgo.Offset{}
	err = withAdmin(r.addr, func(a *kadm.Client) error {
		listed, err := a.ListEndOffsets(ctx, r.topic)
		if err == nil {
			err = listed.Error()
		}
		listed.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().At(o.Offset) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ends of the partitions: %w", err)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: from}), kgo.FetchMinBytes(1), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for r.left.Load() > 0 {
			got := c.PollFetches(ctx)
			if got.IsClientClosed() || ctx.Err() != nil {
				return
			}
			got.EachError(func(_ string, p int32, err error) { r.fail(fmt.Errorf("fetch of partition %d: %w", p, err)) })
			got.EachRecord(r.seen)
		}
	}()
	return func() {
		c.Close()
		<-ended
	}, nil
}

// seen takes note of one record; one that comes twice counts once.
func (r *openRun) seen(record *kgo.Record) {
	if len(record.Value) != openRecordBytes {
		return
	}
	i := binary.BigEndian.Uint64(record.Value)
	if i >= uint64(len(r.consumed)) {
		r.fail(fmt.Errorf("record %d of %d", i, len(r.consumed)))
		return
	}
	if r.consumed[i].CompareAndSwap(0, max(int64(time.Since(r.due(int(i)))), 1)) && r.left.Add(-1) == 0 {
		close(r.all)
	}
}

// due is when a record is to be sent.
func (r *openRun) due(i int) time.Time {
	return r.began.Add(time.Duration(int64(i) * int64(time.Second) / int64(r.rate)))
}

func (r *openRun) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.err == nil {
		r.mu.err = err
	}
}

func (r *openRun) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.err
}
