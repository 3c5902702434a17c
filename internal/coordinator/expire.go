package coordinator

import (
	"context"
	"sync"
	"time"
)

const (
	// flushInterval is how often the cold store is made durable: it bounds what a start after a crash reads of the logs.
	flushInterval = time.Minute
	// deletedTopicsMax is how many deleted topics may wait for their offsets to be removed. Of more the offsets stay until they
	// expire.
	deletedTopicsMax = 10_000
	// sweepAgain is when the removal of a deleted topic's offsets is tried again where it was not whole.
	sweepAgain = 5 * time.Second
)

// flushLoop makes the cold store durable now and then.
func (c *Coordinator) flushLoop() {
	c.every(flushInterval, func() {
		if c.offline.Load() {
			return
		}
		if err := c.o.Store.Flush(); err != nil && c.ctx.Err() == nil {
			c.log.Warn("the store of consumer groups was not flushed; it is tried again", "error", err)
		}
	})
}

func (c *Coordinator) every(interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			do()
		case <-c.ctx.Done():
			return
		}
	}
}

// expireLoop removes offsets that expired and groups that have nothing left, as GroupCoordinatorShard.cleanupGroupMetadata does.
func (c *Coordinator) expireLoop() {
	c.every(time.Duration(c.o.Offsets.RetentionCheckMillis)*time.Millisecond, c.expire)
}

func (c *Coordinator) expire() {
	for _, s := range c.all() {
		c.expireShard(s)
	}
}

// expired is OffsetExpirationConditionImpl.isOffsetExpired with Group.offsetExpirationCondition.
func (c *Coordinator) expired(l *live, topic string, v *offsetValue, now time.Time) bool {
	from, may := l.g.OffsetsExpireFrom(topic, time.UnixMilli(v.committed))
	switch {
	case !may:
		return false
	case v.expires != -1:
		return now.UnixMilli() >= v.expires
	}
	return now.UnixMilli()-from.UnixMilli() >= c.o.Offsets.RetentionMillis
}

// sweepEnd is how a walk over the offsets of a shard ended.
type sweepEnd int

const (
	sweepWhole   sweepEnd = iota
	sweepSkipped          // some groups could not be looked at, or some offsets were being changed
	sweepCut              // the rest was not looked at
)

// sweepOffsets looks at all offsets of a shard, a chunk at a time, and removes those of which remove says so. Between two chunks the
// shard serves others, and what was removed is durable before the next.
func (s *shard) sweepOffsets(remove func(l *live, topic string, v *offsetValue) bool, count func(float64)) sweepEnd {
	end := sweepWhole
	var from []byte
	for more := true; more; {
		chunk := s.sweepChunk(from, remove)
		if chunk.end == sweepCut {
			return sweepCut
		}
		for _, f := range chunk.wait {
			if code, err := waitCode(s.c.ctx, f); err != nil || code != 0 {
				return sweepCut
			}
		}
		count(float64(chunk.removed))
		end = max(end, chunk.end)
		from = chunk.next
		more = from != nil
	}
	return end
}

// sweptChunk is what came of a chunk.
type sweptChunk struct {
	next    []byte // nil: that was the last
	removed int
	wait    []*Future
	end     sweepEnd
}

// coldOffset is one offset as the cold store has it.
type coldOffset struct {
	key   []byte
	group string
	topicPartition
	v *offsetValue
}

func (s *shard) sweepChunk(from []byte, remove func(*live, string, *offsetValue) bool) (chunk sweptChunk) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.enterLocked() != 0 {
		return sweptChunk{end: sweepCut}
	}
	offsets, next, err := s.c.offsetsFrom(s.mu.p.Num(), []byte{spaceOffset}, from)
	if err != nil {
		s.c.warn("committed offsets could not be read", "error", err)
		return sweptChunk{end: sweepCut}
	}
	chunk.next = next
	for len(offsets) > 0 {
		n := 1
		for n < len(offsets) && offsets[n].group == offsets[0].group {
			n++
		}
		s.sweepGroupLocked(offsets[:n], remove, now, &chunk)
		offsets = offsets[n:]
	}
	return chunk
}

// sweepGroupLocked looks at some offsets of one group. What is being committed just now is not looked at.
func (s *shard) sweepGroupLocked(offsets []coldOffset, remove func(*live, string, *offsetValue) bool, now time.Time, chunk *sweptChunk) {
	l, code := s.groupLocked(offsets[0].group, now)
	if code != 0 {
		chunk.end = sweepSkipped
		return
	}
	defer s.settleLocked(l, now)
	l.g.Simple()
	touched := l.unappliedOffsets()
	var keys []topicPartition
	for _, o := range offsets {
		if !remove(l, o.topic, o.v) {
			continue
		}
		if _, busy := touched[string(o.key)]; busy {
			chunk.end = sweepSkipped
			continue
		}
		keys = append(keys, o.topicPartition)
	}
	if len(keys) == 0 {
		return
	}
	if err := s.removeOffsetsLocked(l, keys, now); err != nil {
		s.c.warn("committed offsets could not be removed; it is tried again", "error", err)
		chunk.end = sweepSkipped
		return
	}
	chunk.removed += len(keys)
	if f := l.appliedLocked(); f != nil {
		chunk.wait = append(chunk.wait, f)
	}
}

// offsetsFrom returns a chunk of the offsets whose keys begin with prefix; one that cannot be read is passed over.
func (c *Coordinator) offsetsFrom(num uint64, prefix, from []byte) (out []coldOffset, next []byte, err error) {
	next, more, err := c.o.Store.ScanBytes(num, prefix, from, scanChunk, func(key, val []byte) ([]byte, error) {
		id, rest, err := splitCold(key)
		if err != nil {
			return nil, err
		}
		topic, partition, err := splitOffsetKey(rest)
		if err != nil {
			return nil, err
		}
		v, err := decodeOffset(val)
		if err != nil {
			c.o.Metrics.BadRecords.Inc()
			return nil, nil
		}
		out = append(out, coldOffset{append([]byte(nil), key...), id, topicPartition{topic, partition}, v})
		return nil, nil
	})
	if !more {
		next = nil
	}
	return out, next, err
}

// removeIfEmptyLocked removes a group without members and offsets (GroupMetadataManager.maybeDeleteGroup). Not ok: it could not be
// looked at, or not be removed.
func (s *shard) removeIfEmptyLocked(id string, now time.Time) (f *Future, ok bool) {
	l, code := s.groupLocked(id, now)
	if code != 0 {
		return nil, false
	}
	defer s.settleLocked(l, now)
	if l.g.DeleteAllowed() != 0 {
		return nil, true
	}
	if some, err := s.hasOffsetsLocked(l); some || err != nil {
		return nil, err == nil
	}
	f, code = s.removeGroupLocked(l, now)
	return f, code == 0
}

// deletedTopic is a topic whose offsets are to be removed.
type deletedTopic struct {
	id [16]byte
	at time.Time
}

// deletedTopics waits for deleteLoop.
type deletedTopics struct {
	wake chan struct{}
	mu   struct {
		sync.Mutex
		byName map[string][]deletedTopic
		count  int
	}
}

func newDeletedTopics() *deletedTopics {
	d := &deletedTopics{wake: make(chan struct{}, 1)}
	d.mu.byName = map[string][]deletedTopic{}
	return d
}

// TopicDeleted has the offsets that were committed for a topic removed, in the background, as Kafka does
// (OffsetMetadataManager.onPartitionsDeleted). Those of a later topic of the same name stay.
func (c *Coordinator) TopicDeleted(name string, id [16]byte) {
	if name == Topic {
		c.topicChanged()
	}
	d := c.deleted
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.count >= deletedTopicsMax {
		return
	}
	d.mu.byName[name] = append(d.mu.byName[name], deletedTopic{id, time.Now()})
	d.mu.count++
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *deletedTopics) take() map[string][]deletedTopic {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.mu.byName
	d.mu.byName, d.mu.count = map[string][]deletedTopic{}, 0
	return out
}

// deleteLoop removes the offsets of deleted topics: of all that were deleted meanwhile in one walk over the cold store.
func (c *Coordinator) deleteLoop() {
	for {
		select {
		case <-c.deleted.wake:
		case <-c.ctx.Done():
			return
		}
		gone := c.deleted.take()
		remove := func(_ *live, topic string, v *offsetValue) bool { return isOf(gone[topic], v) }
		for _, s := range c.all() {
			s.awaitApplied()
			for s.sweepOffsets(remove, c.o.Metrics.OffsetsDeleted.Add) != sweepWhole {
				if c.offline.Load() || c.o.Partitions() == 0 || pause(c.ctx, sweepAgain) != nil {
					break
				}
			}
		}
	}
}

// awaitApplied returns when all that was appended before the call is in the cold store, or never will be: a walk over the cold store
// does not see what is on its way there.
func (s *shard) awaitApplied() {
	var wait []*Future
	s.mu.Lock()
	for _, l := range s.mu.groups {
		if f := l.appliedLocked(); f != nil {
			wait = append(wait, f)
		}
	}
	s.mu.Unlock()
	for _, f := range wait {
		if _, err := waitCode(s.c.ctx, f); err != nil {
			return // closing
		}
	}
}

// isOf says whether an offset belongs to one of the deleted topics of its name: by id, or if it has none by when it was committed.
func isOf(gone []deletedTopic, v *offsetValue) bool {
	for _, t := range gone {
		if v.topicID == t.id || v.topicID == [16]byte{} && v.committed <= t.at.UnixMilli() {
			return true
		}
	}
	return false
}

// pause returns nil after d, or the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
