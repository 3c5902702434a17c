package coordinator

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/group"
	"ottla/internal/partition"
)

type shardState uint8

const (
	shardUnloaded shardState = iota // nobody has asked for it, or a load has failed
	shardLoading                    // in the queue of loads, or being loaded
	shardActive
)

// shard is one partition of __consumer_offsets and the groups that are in memory of it.
type shard struct {
	c     *Coordinator
	index int32
	mu    struct {
		sync.Mutex
		state  shardState
		p      *partition.Partition // while active
		groups map[string]*live
		calls  map[group.Call]*Future // whose answer no step has given yet
		due    deadlines
		// Of the sweep, see due.go: the group that it looks at, whether records of it were appended meanwhile, and the partition whose
		// groups are known to have entries.
		looking string
		changed bool
		indexed *partition.Partition
		bare    bareGroups
		// Of the step that runs; reused.
		out     group.Output
		records []batch.Record
		bytes   []byte
	}
}

// live is a group in memory.
type live struct {
	g       *group.Group
	members int64 // as counted in usage
	bytes   int64 // the same
	// unapplied are its appends that are not in the cold store yet, in order.
	unapplied []*pending
	// marked says that the cold store will name the group as one that has members.
	marked bool
	// noMetadata says that the cold store has no metadata of it, and gets none of what is unapplied: it has offsets alone.
	noMetadata bool
	// broken says that an append failed: g is ahead of the log and not used any more.
	broken bool
	due    time.Time
	heapAt int // index in shard.mu.due plus one; 0: not there
}

func newShard(c *Coordinator, index int32) *shard {
	s := &shard{c: c, index: index}
	s.mu.groups = map[string]*live{}
	s.mu.calls = map[group.Call]*Future{}
	return s
}

// enterLocked says with which code a request has to be refused, because the shard cannot serve now; it has it loaded.
func (s *shard) enterLocked() int16 {
	if s.c.offline.Load() {
		return codeNotAvailable
	}
	lost, err := s.checkPartitionLocked()
	switch {
	case lost:
		return codeNotCoordinator
	case err != nil:
		s.c.topicChanged()
		return codeNotCoordinator
	case s.mu.state == shardActive:
		return 0
	case s.mu.state == shardUnloaded:
		s.mu.state = shardLoading
	}
	s.c.loads.first(s)
	return codeLoading
}

// checkPartitionLocked gives up all groups if the partition they are in is gone, or another one has taken its place. The error says
// that there is none now.
func (s *shard) checkPartitionLocked() (lost bool, err error) {
	p, err := s.c.o.Partition(s.index)
	if s.mu.state != shardActive || err == nil && p == s.mu.p {
		return false, err
	}
	s.abandonLocked(codeNotCoordinator)
	s.mu.bare = bareGroups{}
	s.c.loads.dropped(s.mu.p.Num())
	s.mu.state, s.mu.p = shardUnloaded, nil
	s.c.topicChanged()
	return true, err
}

// groupLocked returns a group, from the cold store if it is not in memory. Whoever calls it settles the group afterwards, whatever
// he did with it.
func (s *shard) groupLocked(id string, now time.Time) (*live, int16) {
	if code := s.enterLocked(); code != 0 {
		return nil, code
	}
	if l := s.mu.groups[id]; l != nil {
		if l.broken {
			return nil, codeLoading
		}
		return l, 0
	}
	if n := s.c.usage.live.Load(); n >= int64(s.c.o.Limits.LiveGroupsMax) {
		s.c.usage.refused(limitGroups, n)
		return nil, codeNotAvailable
	}
	l, err := s.reviveLocked(id, now)
	if err != nil {
		s.c.warn("a consumer group could not be read", "group", id, "error", err)
		return nil, codeNotAvailable
	}
	return l, 0
}

// reviveLocked makes a group from the cold store.
func (s *shard) reviveLocked(id string, now time.Time) (*live, error) {
	if s.mu.bare.take(id) {
		l := s.addLocked(group.New(id, s.c.o.Config(id)), now)
		l.noMetadata = true
		return l, nil
	}
	g, some, err := s.c.readGroup(s.mu.p.Num(), id)
	if err != nil {
		return nil, err
	}
	l := s.addLocked(g, now)
	l.noMetadata = !some
	return l, nil
}

// addLocked takes a group that was read into memory.
func (s *shard) addLocked(g *group.Group, now time.Time) *live {
	g.Loaded(now, s.c.o.Topics())
	l := &live{g: g, marked: g.MembersCount() > 0}
	s.mu.groups[g.ID()] = l
	s.c.usage.addLive(1)
	s.countLocked(l)
	s.planLocked(l)
	return l
}

func (s *shard) countLocked(l *live) {
	n := int64(l.g.MembersCount())
	s.c.usage.addMembers(n - l.members)
	l.members = n
	bytes := l.g.Bytes()
	s.c.usage.addMemberBytes(bytes - l.bytes)
	l.bytes = bytes
}

// parkLocked gives a request a call number and a future. The group's step follows.
func (s *shard) parkLocked(id string, refuse func(code int16) kmsg.Response) *Future {
	f := newFuture(refuse)
	f.shard, f.group, f.call = s, id, group.Call(s.c.calls.Add(1))
	s.mu.calls[f.call] = f
	s.c.usage.addParked(1)
	return f
}

// drop forgets a call whose connection is gone.
func (s *shard) drop(f *Future) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.calls[f.call] != f {
		return
	}
	s.unparkLocked(f)
	if l := s.mu.groups[f.group]; l != nil && !l.broken {
		l.g.Drop(f.call)
		s.settleLocked(l, time.Now())
	}
}

func (s *shard) unparkLocked(f *Future) {
	delete(s.mu.calls, f.call)
	s.c.usage.addParked(-1)
}

// settleLocked carries out what a step of the group left in s.mu.out, and forgets the group if there is nothing to keep.
func (s *shard) settleLocked(l *live, now time.Time) {
	if l.broken {
		return
	}
	out := &s.mu.out
	s.countLocked(l)
	if len(out.Records) > 0 {
		if _, err := s.appendLocked(l, out.Records, now); err != nil {
			s.breakLocked(l, now, err)
			return
		}
	}
	for _, r := range out.Replies {
		f := s.mu.calls[r.Call]
		if f == nil {
			continue // dropped
		}
		s.unparkLocked(f)
		l.answer(f, r.Response)
	}
	out.Records, out.Replies = nil, emptied(out.Replies)
	s.planLocked(l)
	s.forgetLocked(l)
}

// answer gives a future its answer, now or when all that the group has appended is applied.
func (l *live) answer(f *Future, r kmsg.Response) {
	if n := len(l.unapplied); n > 0 {
		l.unapplied[n-1].answers = append(l.unapplied[n-1].answers, answer{f, r})
		return
	}
	f.resolve(r)
}

func emptied[T any](list []T) []T {
	clear(list)
	return list[:0]
}

// forgetLocked takes a group out of memory that holds nothing the cold store does not.
func (s *shard) forgetLocked(l *live) {
	if len(l.unapplied) == 0 && !l.broken && l.g.Idle() {
		if l.noMetadata {
			s.mu.bare.add(l.g.ID())
		}
		s.removeLocked(l)
	}
}

func (s *shard) removeLocked(l *live) {
	s.unplanLocked(l)
	delete(s.mu.groups, l.g.ID())
	s.c.usage.addLive(-1)
	s.c.usage.addMembers(-l.members)
	s.c.usage.addMemberBytes(-l.bytes)
	l.members, l.bytes = 0, 0
}

// appendLocked appends records of a group as one batch. They are kept until they are applied.
func (s *shard) appendLocked(l *live, records []group.Record, now time.Time) (*pending, error) {
	p := &pending{s: s, p: s.mu.p, l: l, records: records}
	s.mu.records = s.mu.records[:0]
	for _, r := range records {
		s.mu.records = append(s.mu.records, batch.Record{Timestamp: now.UnixMilli(), Key: r.Key, Value: r.Value})
		p.bytes += int64(len(r.Key) + len(r.Value))
	}
	defer clear(s.mu.records)
	h := batch.Header{ProducerID: batch.NoProducerID, ProducerEpoch: -1, BaseSequence: batch.NoSequence}
	var err error
	if s.mu.bytes, err = batch.Build(s.mu.bytes[:0], h, batch.CodecNone, s.mu.records); err != nil {
		return nil, fmt.Errorf("append to %s: %w", s.mu.p.Dir(), err)
	}
	b, err := batch.ParseTrusted(s.mu.bytes)
	if err != nil {
		return nil, fmt.Errorf("append to %s: %w", s.mu.p.Dir(), err)
	}
	a, err := s.mu.p.Append(s.c.ctx, b, partition.AcksAll, now)
	if cap(s.mu.bytes) > bufferBytesMax {
		s.mu.bytes = nil
	}
	if err != nil {
		s.c.o.Metrics.AppendErrors.Inc()
		return nil, fmt.Errorf("append to %s: %w", s.mu.p.Dir(), err)
	}
	s.c.o.Metrics.Appends.Inc()
	p.ticket, p.end = a.Ticket, a.BaseOffset+int64(len(records))
	if members := l.g.MembersCount() > 0; members != l.marked {
		p.mark, l.marked = markOf(members), members
	}
	l.noMetadata = false // unless the caller knows better
	l.unapplied = append(l.unapplied, p)
	if s.mu.looking == l.g.ID() {
		s.mu.changed = true
	}
	s.c.usage.addPending(p.bytes)
	s.c.queue.push(p)
	return p, nil
}

// bufferBytesMax is the largest buffer that a shard keeps between two steps.
const bufferBytesMax = 64 << 10

// breakLocked gives a group up whose records could not be appended: everybody who waits in it is refused, and it is made again from
// what is in the log.
func (s *shard) breakLocked(l *live, now time.Time, cause error) {
	code := codeOf(cause)
	s.c.warn("a consumer group is read again from the log because its records could not be appended", "group", l.g.ID(), "error", cause)
	s.giveUpLocked(l, code)
	l.broken = true
	s.mendLocked(l, now)
	if isFinal(cause) {
		s.c.SetOffline(cause)
	}
}

// giveUpLocked refuses everybody who waits in a group for a step, and what s.mu.out holds.
func (s *shard) giveUpLocked(l *live, code int16) {
	s.unplanLocked(l)
	out := &s.mu.out
	l.g.Abandon(code, out)
	for _, r := range out.Replies {
		if f := s.mu.calls[r.Call]; f != nil {
			s.unparkLocked(f)
			f.fail(code)
		}
	}
	out.Records, out.Replies = nil, emptied(out.Replies)
}

// mendLocked makes a broken group again when all that it could append is applied.
func (s *shard) mendLocked(l *live, now time.Time) {
	if len(l.unapplied) > 0 || s.mu.groups[l.g.ID()] != l {
		return
	}
	s.removeLocked(l)
	if s.mu.state != shardActive {
		return
	}
	again, err := s.reviveLocked(l.g.ID(), now)
	if err != nil {
		// The next request that names it tries again. Nobody's session is watched until then.
		s.c.warn("a consumer group could not be read", "group", l.g.ID(), "error", err)
		return
	}
	s.forgetLocked(again)
}

// abandonLocked gives up all groups. Their appends stay in the queue and are answered there.
func (s *shard) abandonLocked(code int16) {
	for _, l := range s.mu.groups {
		if !l.broken {
			s.giveUpLocked(l, code)
		}
		s.removeLocked(l)
		l.broken = true
	}
	for _, f := range s.mu.calls { // a group forgot it: that would be a bug, but nobody must wait for ever
		s.unparkLocked(f)
		f.fail(code)
	}
}
