package coordinator

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coldstate"
	"ottla/internal/group"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// mark is what happens to the cold store's note that a group has members.
type mark = int8

const (
	markNone mark = iota
	markSet
	markClear
)

func markOf(members bool) mark {
	if members {
		return markSet
	}
	return markClear
}

// pending is one batch of records that is in the log and not yet in the cold store.
type pending struct {
	s       *shard
	p       *partition.Partition
	l       *live
	ticket  seglog.Ticket
	end     int64 // the offset behind it
	records []group.Record
	bytes   int64
	mark    mark
	commit  *commitTimes // all records set offsets, at this time; nil: they are of any kind; under shard.mu
	answers []answer     // under shard.mu
}

// commitTimes are when the offsets of a commit were committed, and when they expire by what the commit says, as in offsetValue.
type commitTimes struct{ committed, expires int64 }

// answer leaves when its pending is applied.
type answer struct {
	f *Future
	r kmsg.Response
}

// applyCountMax is how many batches of records are applied in one batch of the cold store.
const applyCountMax = 4096

// queue takes pending batches, in the order of the log of each shard, to the cold store, and lets their answers leave. It is one
// goroutine; its bound is Limits.PendingBytesMax, checked before anything is appended.
type queue struct {
	c      *Coordinator
	wake   chan struct{}
	ended  chan struct{}
	failed bool // nothing more may be applied; only run uses it
	mu     struct {
		sync.Mutex
		items  []*pending
		closed bool
	}
	batch *coldstate.Batch // of run
	key   []byte           // of run, reused
}

func newQueue(c *Coordinator) *queue {
	return &queue{c: c, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (q *queue) push(p *pending) {
	q.mu.Lock()
	q.mu.items = append(q.mu.items, p)
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close returns when all that was pushed is applied or refused.
func (q *queue) close() {
	q.mu.Lock()
	q.mu.closed = true
	q.mu.Unlock()
	q.signal()
	<-q.ended
}

func (q *queue) run() {
	defer close(q.ended)
	q.batch = q.c.o.Store.NewBatch()
	defer q.batch.Close()
	var taken []*pending
	for {
		q.mu.Lock()
		taken, q.mu.items = q.mu.items, emptied(taken)
		closed := q.mu.closed
		q.mu.Unlock()
		if len(taken) == 0 {
			if closed {
				return
			}
			<-q.wake
			continue
		}
		q.work(taken)
	}
}

// work applies what was taken, as much at a time as is durable.
func (q *queue) work(taken []*pending) {
	for len(taken) > 0 {
		<-taken[0].ticket.Done()
		n := 1
		for n < len(taken) && n < applyCountMax && isDone(taken[n].ticket) {
			n++
		}
		q.apply(taken[:n])
		taken = taken[n:]
	}
}

func isDone(t seglog.Ticket) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}

// apply puts batches of records into the cold store and lets their answers leave. After a failure nothing is applied any more: the
// cold store would have a hole.
func (q *queue) apply(items []*pending) {
	for _, p := range items {
		if q.failed {
			break
		}
		err := p.ticket.Err()
		if err == nil {
			err = q.put(p)
		}
		q.fail(err)
	}
	if !q.failed {
		q.fail(q.batch.Commit())
	}
	if q.failed {
		q.batch.Reset()
	}
	now := time.Now()
	for i := 0; i < len(items); {
		s := items[i].s
		s.mu.Lock()
		for ; i < len(items) && items[i].s == s; i++ {
			s.appliedLocked(items[i], now, q.failed)
		}
		s.mu.Unlock()
	}
}

func (q *queue) fail(err error) {
	if err != nil && !q.failed {
		q.failed = true
		q.c.SetOffline(err)
	}
}

// put adds the records of one batch. The checkpoint comes last, so that a batch that is too large for the cold store may be split:
// what is applied before its checkpoint is applied again after a crash, to no effect.
func (q *queue) put(p *pending) error {
	stale, commit := p.look()
	if stale {
		return nil
	}
	num := p.p.Num()
	put := q.putRecords
	if commit != nil {
		put = q.putCommit
	}
	if err := put(p, commit); err != nil {
		return err
	}
	marker := groupPrefix(spaceLive, p.l.g.ID())
	switch p.mark {
	case markSet:
		q.batch.PutBytes(num, marker, nil)
	case markClear:
		q.batch.DeleteBytes(num, marker)
	}
	q.batch.SetCheckpoint(num, coldstate.Checkpoint{Offset: p.end})
	return q.spill()
}

// putRecords adds records of any kind.
func (q *queue) putRecords(p *pending, _ *commitTimes) error {
	num, d, now := p.p.Num(), q.c.newDues(), time.Now().UnixMilli()
	for _, r := range p.records {
		kind, id, err := putRecord(q.batch, num, r, q.c.o.Metrics)
		if err != nil || kind == group.KindUnknown {
			continue // counted; whoever reads the log will pass over it as well
		}
		d.put(q.batch, num, r, kind, id, now)
		if err := q.spill(); err != nil {
			return err
		}
	}
	return nil
}

// putCommit adds the records of a commit, of which nothing has to be read again: CommitOffsets made them.
func (q *queue) putCommit(p *pending, t *commitTimes) error {
	num, d := p.p.Num(), q.c.newDues()
	d.putCommit(q.batch, num, t, p.l.g.ID(), time.Now().UnixMilli())
	for _, r := range p.records {
		q.key = appendOffsetColdKey(q.key[:0], r.Key)
		q.batch.PutBytes(num, q.key, r.Value)
		if err := q.spill(); err != nil {
			return err
		}
	}
	return nil
}

// spill commits a batch that is full.
func (q *queue) spill() error {
	if q.batch.Bytes() < q.c.o.Store.BatchBytesMax() {
		return nil
	}
	return q.batch.Commit()
}

// look says whether the partition was deleted meanwhile, and whether the records are those of a commit.
func (p *pending) look() (stale bool, commit *commitTimes) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.s.mu.p != p.p, p.commit
}

// appliedLocked ends a pending batch: it is the oldest of its group.
func (s *shard) appliedLocked(p *pending, now time.Time, failed bool) {
	l := p.l
	if l.unapplied[0] != p {
		panic("BUG: records of a group are applied out of order")
	}
	l.unapplied[0] = nil
	l.unapplied = l.unapplied[1:]
	s.c.usage.addPending(-p.bytes)
	code := int16(0)
	switch {
	case failed:
		code = codeNotAvailable
	case s.mu.p != p.p:
		code = codeNotCoordinator
	}
	for _, a := range p.answers {
		if code != 0 {
			a.f.fail(code)
		} else {
			a.f.resolve(a.r)
		}
	}
	p.answers = nil
	switch {
	case s.mu.groups[l.g.ID()] != l: // abandoned
	case l.broken:
		s.mendLocked(l, now)
	default:
		s.forgetLocked(l)
	}
}
