package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errorPause is how long a worker rests after a connection broke; a client's reconnect.backoff.ms is 50 and grows.
const errorPause = 100 * time.Millisecond

// pusher makes one push after the other, waiting for every answer.
type pusher interface {
	// push makes one. Refusals by the broker are counted, not returned; an error is of a connection.
	push(ctx context.Context, begun time.Time, t *tally) error
	close()
}

// runWorkers runs the modes in which each push is a conversation of its own.
func (l *load) runWorkers(ctx context.Context) error {
	leaders := len(l.topic.leaderIDs())
	workers := l.o.Connections
	var kept *keptLanes
	var begin func(i int) (pusher, error)
	switch l.mode {
	case Faithful:
		if leaders > 1 {
			workers = max(1, min(workers, l.o.MaxConnections/2)) // each may need two connections
		}
		kept = &keptLanes{most: l.o.MaxConnections - 2*workers}
		defer kept.close()
		templates, err := l.partitionTemplates()
		if err != nil {
			return err
		}
		byPartition := make([]template, len(l.topic.leaders))
		for _, some := range templates {
			for _, t := range some {
				byPartition[t.partitions[0]] = t
			}
		}
		begin = func(int) (pusher, error) { return &faithful{load: l, templates: byPartition, kept: kept}, nil }
	case Wide:
		workers = max(1, workers/leaders)
		begin = func(i int) (pusher, error) { return newWide(ctx, l, i) }
	case TxnChurn:
		workers = max(1, workers/len(l.c.brokers))
		begin = func(i int) (pusher, error) { return newTxn(l), nil }
	}
	return l.together(workers, func(i int) error {
		return l.again(ctx, func() error {
			p, err := begin(i)
			if err != nil {
				return err
			}
			defer p.close()
			t := newTally()
			defer l.add(t)
			return l.work(ctx, p, t)
		})
	})
}

// breaksMax is how many connections in a row may break on one worker or lane, while no push is done by any, before it gives up.
const breaksMax = 20

var errBreaks = fmt.Errorf("%d connections in a row broke", breaksMax)

// again begins a session anew when its connection breaks, as clients do: one broken connection is no dead broker, and a broker whose
// memory is full breaks some before it answers nothing at all. It gives up when connections are refused, or break again and again. Where
// the load is stopped before that is certain, the last break is returned: see verdict.
func (l *load) again(ctx context.Context, session func() error) error {
	var last error
	breaks, done := 0, l.done.Load()
	for {
		err := session()
		switch {
		case err == nil && last != nil && l.done.Load() == done:
			return last
		case err == nil || ctx.Err() != nil || !isGone(err) || errors.Is(err, syscall.ECONNREFUSED):
			return withCause(ctx, err)
		}
		l.failed(causeOf(err))
		if now := l.done.Load(); now != done {
			breaks, done = 0, now
		}
		last = err
		if breaks++; breaks == breaksMax {
			return fmt.Errorf("%w: %w", errBreaks, err)
		}
		l.await(time.Now().Add(errorPause)) // also where the load stops meanwhile: a session without a turn tells nothing, and costs one connection
	}
}

func (l *load) work(ctx context.Context, p pusher, t *tally) error {
	for {
		_, turn, ok := l.claim()
		if !ok || !l.await(turn) {
			return nil
		}
		l.begun.Add(1)
		err := p.push(ctx, time.Now(), t)
		l.ended.Add(1)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil, l.mode != Faithful, errors.Is(err, syscall.ECONNREFUSED):
			l.giveBack(1)
			return err
		}
		l.failed(causeOf(err))
		if !l.await(time.Now().Add(errorPause)) {
			return nil
		}
	}
}

// keptLanes are connections that nobody closes: the oldest one gives way when there are too many.
type keptLanes struct {
	most int
	mu   struct {
		sync.Mutex
		lanes []*lane
	}
}

func (k *keptLanes) keep(l *lane) {
	l.in, l.out, l.body, l.slots = nil, nil, nil, nil // it is never read again
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.lanes = append(k.mu.lanes, l)
	for len(k.mu.lanes) > max(k.most, 0) {
		k.mu.lanes[0].close()
		k.mu.lanes[0] = nil
		k.mu.lanes = k.mu.lanes[1:]
	}
}

func (k *keptLanes) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.mu.lanes {
		l.close()
	}
	k.mu.lanes = nil
}

// faithful does for each push what the client of a naive program does.
type faithful struct {
	load      *load
	templates []template // by partition
	kept      *keptLanes
}

func (f *faithful) close() {}

// leave ends a connection, or does not.
func (f *faithful) leave(l *lane, healthy bool) {
	if f.load.o.NoClose && healthy {
		f.kept.keep(l)
		return
	}
	l.close()
}

func (f *faithful) push(ctx context.Context, begun time.Time, t *tally) (err error) {
	template := &f.templates[rand.IntN(len(f.templates))]
	leader := f.load.c.brokers[f.load.topic.leaders[template.partitions[0]]]
	seed := f.load.c.anyBroker()
	first, err := f.greet(ctx, seed)
	if err != nil {
		return err
	}
	conn := first
	defer func() { f.leave(first, err == nil) }()
	if err := f.askMetadata(first); err != nil {
		return err
	}
	pid, epoch, err := f.load.producerID(first)
	var refused *refusal
	if errors.As(err, &refused) {
		f.load.failed(codeName(refused.code))
		return nil
	}
	if err != nil {
		return err
	}
	if seed != leader {
		if conn, err = f.greet(ctx, leader); err != nil {
			return err
		}
		defer func() { f.leave(conn, err == nil) }()
	}
	id := batchID{pid: pid, epoch: epoch, timeMillis: begun.Add(f.load.o.Ahead).UnixMilli()}
	offsets, err := f.load.writeOne(conn, template, id)
	if err == nil && offsets != nil {
		f.load.finished(begun, t, 1)
		f.load.remember(func() sampled {
			return sampled{PID: pid, Epoch: epoch, TimeMillis: id.timeMillis, Partition: template.partitions[0], Offsets: offsets}
		})
	}
	return err
}

// greet connects and asks for versions, as clients do.
func (f *faithful) greet(ctx context.Context, broker *brokerInfo) (*lane, error) {
	conn, err := f.load.c.lane(ctx, broker, shortReadBytes)
	if err != nil {
		return nil, err
	}
	if _, err := conn.askVersions(); err != nil {
		conn.close()
		return nil, err
	}
	return conn, nil
}

func (f *faithful) askMetadata(conn *lane) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Version = f.load.c.lowest(func(v versions) int16 { return v.metadata })
	requested := kmsg.NewMetadataRequestTopic()
	requested.Topic = kmsg.StringPtr(f.load.topic.name)
	request.Topics = append(request.Topics, requested)
	_, err := conn.call(request)
	return err
}

// writeOne writes all batches of a producer to one partition, up to five in flight, and returns their offsets; nil: some were refused,
// which is counted.
func (l *load) writeOne(conn *lane, t *template, id batchID) ([]int64, error) {
	for range l.o.Batches {
		conn.out = t.append(conn.out, conn.expect(0), id)
		id.sequence++
		l.sent(len(t.frame))
	}
	offsets := make([]int64, 0, l.o.Batches)
	for range l.o.Batches {
		body, _, err := conn.receive(time.Time{})
		if err != nil {
			return nil, err
		}
		correlation, code, offset, err := parseProduceOne(l.produce, body)
		if err == nil {
			err = conn.matches(correlation)
		}
		if err != nil {
			return nil, err
		}
		if code != 0 {
			l.failed(codeName(code))
			continue
		}
		offsets = append(offsets, offset)
	}
	if len(offsets) < l.o.Batches {
		return nil, nil
	}
	return offsets, nil
}

// wide lets one producer after the other write to all partitions.
type wide struct {
	load  *load
	lanes []*lane // to each leader
	all   []template
	home  int // the lane over which ids are asked for
}

func newWide(ctx context.Context, l *load, i int) (*wide, error) {
	w := &wide{load: l}
	onLeader := l.topic.onLeader()
	for _, leader := range l.topic.leaderIDs() {
		t, err := newTemplate(l.produce, l.topic.name, onLeader[leader], l.o.RecordBytes, l.o.Acks)
		if err != nil {
			return nil, err
		}
		conn, err := l.c.lane(ctx, l.c.brokers[leader], longReadBytes)
		if err != nil {
			w.close()
			return nil, err
		}
		w.all, w.lanes = append(w.all, t), append(w.lanes, conn)
	}
	w.home = i % len(w.lanes)
	return w, nil
}

func (w *wide) close() {
	for _, l := range w.lanes {
		l.close()
	}
}

func (w *wide) push(_ context.Context, begun time.Time, t *tally) error {
	pid, epoch, err := w.load.producerID(w.lanes[w.home])
	var refused *refusal
	if errors.As(err, &refused) {
		w.load.failed(codeName(refused.code))
		return nil
	}
	if err != nil {
		return err
	}
	id := batchID{pid: pid, epoch: epoch, timeMillis: begun.Add(w.load.o.Ahead).UnixMilli()}
	for i, conn := range w.lanes {
		own := id
		for range w.load.o.Batches {
			conn.out = w.all[i].append(conn.out, conn.expect(0), own)
			own.sequence++
			w.load.sent(len(w.all[i].frame))
		}
		if err := conn.flush(); err != nil {
			return err
		}
	}
	offsets := make([][]int64, len(w.load.topic.leaders))
	for _, conn := range w.lanes {
		for range w.load.o.Batches {
			if err := w.receive(conn, offsets); err != nil {
				return err
			}
		}
	}
	complete := 0
	for _, o := range offsets {
		if len(o) == w.load.o.Batches {
			complete++
		}
	}
	if complete == 0 {
		return nil
	}
	w.load.finished(begun, t, complete)
	w.load.remember(func() sampled {
		partition := rand.IntN(len(offsets))
		for len(offsets[partition]) < w.load.o.Batches {
			partition = (partition + 1) % len(offsets)
		}
		return sampled{PID: pid, Epoch: epoch, TimeMillis: id.timeMillis, Partition: int32(partition), Offsets: slices.Clone(offsets[partition])}
	})
	return nil
}

// receive reads the answer to one request and notes the offsets of what was accepted.
func (w *wide) receive(conn *lane, offsets [][]int64) error {
	body, _, err := conn.receive(time.Time{})
	if err != nil {
		return err
	}
	a, err := readProduce(w.load.produce, body)
	if err == nil {
		err = conn.matches(a.correlation)
	}
	if err != nil {
		return err
	}
	for {
		partition, code, offset, ok := a.next()
		if !ok {
			return a.err()
		}
		switch {
		case partition < 0 || int(partition) >= len(offsets):
			return errAnswer
		case code != 0:
			w.load.failed(codeName(code))
		default:
			offsets[partition] = append(offsets[partition], offset)
		}
	}
}
