package storm

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// Error codes that are no refusal but "ask again".
const (
	codeCoordinatorLoading      = 14 // Kafka answers so while it fetches its next block of ids
	codeCoordinatorNotAvailable = 15
)

func askAgain(code int16) bool {
	return code == codeCoordinatorLoading || code == codeCoordinatorNotAvailable
}

// runFast runs pipelined lanes, each to one broker and for the partitions that it leads.
func (l *load) runFast(ctx context.Context) error {
	templates, err := l.partitionTemplates()
	if err != nil {
		return err
	}
	leaders := l.topic.leaderIDs()
	return l.together(max(l.o.Connections, len(leaders)), func(i int) error {
		leader := leaders[i%len(leaders)]
		return l.again(ctx, func() error { return l.pushLane(ctx, leader, templates[leader], l.o.Pipeline, nil) })
	})
}

// partitionTemplates are requests for one partition, by leader.
func (l *load) partitionTemplates() (map[int32][]template, error) {
	out := map[int32][]template{}
	for partition, leader := range l.topic.leaders {
		t, err := newTemplate(l.produce, l.topic.name, []int32{int32(partition)}, l.o.RecordBytes, l.o.Acks)
		if err != nil {
			return nil, err
		}
		out[leader] = append(out[leader], t)
	}
	return out, nil
}

func (l *load) pushLane(ctx context.Context, leader int32, templates []template, pipeline int, single *singleton) error {
	conn, err := l.c.lane(ctx, l.c.brokers[leader], longReadBytes)
	if err != nil {
		return err
	}
	defer conn.close()
	p := &pushes{
		load: l, lane: conn, templates: templates, init: initFrame(l.init), slots: make([]push, pipeline), tally: newTally(),
		nextPartition: rand.IntN(len(templates)), single: single,
	}
	for i := range p.slots {
		p.free = append(p.free, int32(i))
	}
	defer l.add(p.tally)
	if err = p.run(); err == nil {
		return nil
	}
	lost := len(p.slots) - len(p.free) // were in flight on a connection that broke
	l.ended.Add(int64(lost))
	if p.claimed {
		lost++
	}
	l.giveBack(lost)
	return err
}

// withCause says why a connection was closed if it was ours to close.
func withCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// push is one producer in flight.
type push struct {
	begun    time.Time
	template int32
	batch    batchID
	left     int
	offsets  [BatchesMax]int64
	failed   bool
}

// pushes runs the producers of one lane: a single goroutine that handles whatever answers have arrived, puts what follows from
// them into one buffer, and sends it when nothing more is there to read.
type pushes struct {
	load          *load
	lane          *lane
	templates     []template
	init          []byte
	slots         []push
	free          []int32
	nextPartition int
	tally         *tally
	// single is the one producer of a control load; nil: each push is a producer.
	single *singleton

	// A turn that is claimed and has not come.
	claimed bool
	turn    time.Time
	over    bool // there are no more turns
}

func (p *pushes) run() error {
	for {
		if !p.over && len(p.free) > 0 {
			if err := p.begin(); err != nil {
				return err
			}
		}
		if p.lane.waiting() == 0 {
			if p.over {
				return nil
			}
			p.over = !p.load.await(p.turn)
			continue
		}
		var until time.Time
		if p.claimed {
			until = p.turn
		}
		body, slot, err := p.lane.receive(until)
		if errors.Is(err, errNotYet) {
			continue
		}
		if err != nil {
			return err
		}
		if err := p.answer(body, slot); err != nil {
			return err
		}
	}
}

// begin starts producers in the free slots, as far as their turn has come.
func (p *pushes) begin() error {
	for len(p.free) > 0 {
		if !p.claimed {
			_, turn, ok := p.load.claim()
			if !ok {
				p.over = true
				return nil
			}
			p.claimed, p.turn = true, turn
		}
		if p.load.stopped.Load() {
			p.over, p.claimed = true, false
			return nil
		}
		now := time.Now()
		if p.turn.After(now) {
			return nil
		}
		if p.single != nil && p.single.broken {
			if len(p.free) < len(p.slots) {
				return nil // first what is in flight under the old id
			}
			if err := p.renew(); err != nil || p.over {
				return err
			}
		}
		p.claimed = false
		p.start(now)
	}
	return nil
}

// start puts a producer into a free slot.
func (p *pushes) start(now time.Time) {
	slot := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	push := &p.slots[slot]
	*push = pushOf(now, p.load.o.Batches, p.nextPartition)
	if p.nextPartition++; p.nextPartition == len(p.templates) {
		p.nextPartition = 0
	}
	p.load.begun.Add(1)
	if p.single == nil {
		p.lane.out = appendInit(p.lane.out, p.init, p.lane.expect(slot))
		return
	}
	push.batch = p.single.take(push.template, p.load.o.Batches)
	p.write(slot, push)
}

func pushOf(now time.Time, batches, template int) push {
	return push{begun: now, batch: batchID{pid: -1}, left: batches, template: int32(template)}
}

// write sends all batches of a push at once: up to five may be in flight.
func (p *pushes) write(slot int32, push *push) {
	push.batch.timeMillis = push.begun.Add(p.load.o.Ahead).UnixMilli()
	t := &p.templates[push.template]
	for range p.load.o.Batches {
		p.lane.out = t.append(p.lane.out, p.lane.expect(slot), push.batch)
		push.batch.sequence++
		p.load.sent(len(t.frame))
	}
}

// release frees a slot, whatever became of its producer.
func (p *pushes) release(slot int32) {
	p.load.ended.Add(1)
	p.free = append(p.free, slot)
}

func (p *pushes) answer(body []byte, slot int32) error {
	push := &p.slots[slot]
	if push.batch.pid < 0 {
		return p.answerInit(body, slot, push)
	}
	correlation, code, offset, err := parseProduceOne(p.load.produce, body)
	if err == nil {
		err = p.lane.matches(correlation)
	}
	if err != nil {
		return err
	}
	push.offsets[p.load.o.Batches-push.left] = offset
	push.left--
	if code != 0 {
		p.load.failed(codeName(code))
		push.failed = true
	}
	if push.left > 0 {
		return nil
	}
	switch {
	case !push.failed:
		p.finish(push)
	case p.single != nil:
		p.single.broken = true
	}
	p.release(slot)
	return nil
}

func (p *pushes) answerInit(body []byte, slot int32, push *push) error {
	correlation, code, pid, epoch, err := parseInit(p.load.init, body)
	if err == nil {
		err = p.lane.matches(correlation)
	}
	switch {
	case err != nil:
		return err
	case askAgain(code) && !p.load.stopped.Load():
		p.lane.out = appendInit(p.lane.out, p.init, p.lane.expect(slot))
		return nil
	case code != 0:
		p.load.failed(codeName(code))
		p.release(slot)
		return nil
	case pid < 0:
		return errAnswer
	}
	push.batch = batchID{pid: pid, epoch: epoch}
	p.write(slot, push)
	return nil
}

func (p *pushes) finish(push *push) {
	p.load.finished(push.begun, p.tally, 1)
	p.load.remember(func() sampled {
		return sampled{
			PID: push.batch.pid, Epoch: push.batch.epoch, TimeMillis: push.batch.timeMillis,
			Partition: p.templates[push.template].partitions[0], Offsets: slices.Clone(push.offsets[:p.load.o.Batches]),
		}
	})
}
