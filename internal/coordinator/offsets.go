package coordinator

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// Commit is one OffsetCommit, with the partitions that the broker found to exist.
type Commit struct {
	Request *kmsg.OffsetCommitRequest
	// Response is the whole answer. It has the partitions of Request in its order, those that were refused with their code.
	Response *kmsg.OffsetCommitResponse
	// Partitions are those to commit.
	Partitions []CommitPartition
}

// CommitPartition is one partition of a Commit.
type CommitPartition struct {
	Topic   string
	TopicID [16]byte // zero: not known
	// Request is what to commit.
	Request *kmsg.OffsetCommitRequestTopicPartition
	// Code is where in Commit.Response the partition's error code goes. It is written before the future is done, not later.
	Code *int16
}

// refuse sets the code of all partitions that were to be committed.
func (m *Commit) refuse(code int16) kmsg.Response {
	for i := range m.Partitions {
		*m.Partitions[i].Code = code
	}
	return m.Response
}

// CommitOffsets handles OffsetCommit. The future's answer is commit.Response. As Group it waits for at most one look-up.
func (c *Coordinator) CommitOffsets(commit Commit, client group.Client) *Future {
	c.o.Metrics.Requests.Inc()
	id := commit.Request.Group
	s := c.shard(id)
	if s == nil {
		return ready(commit.refuse(c.codeNoTopic()))
	}
	if len(id) > groupIDBytesMax {
		return ready(commit.refuse(codeInvalidGroup))
	}
	if code := c.overloaded(); code != 0 {
		return ready(commit.refuse(code))
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, code := s.groupLocked(id, now)
	if code != 0 {
		return ready(commit.refuse(code))
	}
	defer s.settleLocked(l, now)
	if code := s.commitAllowedLocked(l, &commit, now); code != 0 {
		return ready(commit.refuse(code))
	}
	s.refuseGone(&commit)
	records := c.commitRecords(&commit, now)
	f := newFuture(commit.refuse)
	if len(records) == 0 {
		l.answer(f, commit.Response)
		return f
	}
	noMetadata := l.noMetadata
	p, err := s.appendLocked(l, records, now)
	if err != nil {
		// The group is none the worse: it knows nothing of offsets.
		if isFinal(err) {
			c.SetOffline(err)
		}
		f.fail(codeOf(err))
		return f
	}
	c.o.Metrics.Offsets.Add(float64(len(records)))
	l.noMetadata = noMetadata
	p.commit = &commitTimes{now.UnixMilli(), commit.expires(now)}
	p.answers = append(p.answers, answer{f, commit.Response})
	return f
}

// commitAllowedLocked is OffsetMetadataManager.validateOffsetCommit. A partition that a member of a consumer group may not commit
// refuses the whole request (KIP-1251).
func (s *shard) commitAllowedLocked(l *live, m *Commit, now time.Time) int16 {
	r := m.Request
	if r.Generation >= 0 {
		if err := s.simpleLocked(l); err != nil {
			return codeNotAvailable
		}
	}
	check := group.CommitCheck{Member: r.MemberID, Instance: r.InstanceID, Epoch: r.Generation, Version: r.Version}
	code := l.g.CommitAllowed(check, now)
	for i := 0; code == 0 && i < len(m.Partitions) && l.g.CommitsByPartition(); i++ {
		code = l.g.CommitPartitionAllowed(check, m.Partitions[i].TopicID, m.Partitions[i].Request.Partition)
	}
	if code == 0 {
		l.g.Simple()
	}
	return code
}

// refuseGone takes the partitions out of a commit whose topic was deleted after the broker had found it, as if the broker had not. It
// is called under the lock: TopicDeleted follows the deletion, and the sweep it starts takes the lock of every shard before it looks.
// So either the sweep waits for the records of this commit, or the topic is seen to be gone here.
func (s *shard) refuseGone(m *Commit) {
	topics := s.c.o.Topics()
	var last *CommitPartition
	there, kept := false, 0
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if last == nil || p.Topic != last.Topic || p.TopicID != last.TopicID {
			info, found := topics.Topic(p.Topic)
			there = found && (p.TopicID == [16]byte{} || p.TopicID == info.ID)
		}
		if last = p; there {
			if kept < i {
				m.Partitions[kept] = *p
			}
			kept++
			continue
		}
		*p.Code = kerr.UnknownTopicOrPartition.Code
		if m.Request.Version >= commitTopicIDMin {
			*p.Code = kerr.UnknownTopicID.Code
		}
	}
	m.Partitions = m.Partitions[:kept]
}

// commitTopicIDMin is the version of OffsetCommit from which topics come by id.
const commitTopicIDMin = 10

// simpleLocked makes the group exist if it has offsets.
func (s *shard) simpleLocked(l *live) error {
	if l.g.Exists() {
		return nil
	}
	some, err := s.hasOffsetsLocked(l)
	if some {
		l.g.Simple()
	}
	return err
}

// hasOffsetsLocked says whether the group has committed offsets, those on their way to the cold store included.
func (s *shard) hasOffsetsLocked(l *live) (some bool, err error) {
	touched := l.unappliedOffsets()
	for _, removed := range touched {
		if !removed {
			return true, nil
		}
	}
	prefix := groupPrefix(spaceOffset, l.g.ID())
	var from []byte
	for more := true; more && !some && err == nil; {
		from, more, err = s.c.o.Store.ScanBytes(s.mu.p.Num(), prefix, from, 1+len(touched), func(key, _ []byte) ([]byte, error) {
			_, removed := touched[string(key)]
			some = some || !removed
			return nil, nil
		})
	}
	return some, err
}

// unappliedOffsets are the offsets that the group's appends on the way to the cold store set or remove, by their key there.
func (l *live) unappliedOffsets() map[string]bool {
	var out map[string]bool
	for _, p := range l.unapplied {
		for _, r := range p.records {
			key, kind, _, err := coldKey(r.Key)
			if err != nil || kind != group.KindOffset {
				continue
			}
			if out == nil {
				out = map[string]bool{}
			}
			out[string(key)] = r.Value == nil
		}
	}
	return out
}

// expires is when the offsets of a commit expire by what it says itself, milliseconds since 1970; -1: it says nothing.
func (m *Commit) expires(now time.Time) int64 {
	if r := m.Request.RetentionTimeMillis; r != -1 {
		return now.UnixMilli() + r
	}
	return -1
}

func (p *CommitPartition) metadata() string {
	if p.Request.Metadata == nil {
		return ""
	}
	return *p.Request.Metadata
}

// commitRecords makes the records of a commit and sets the codes of all its partitions. Keys and values share one allocation.
func (c *Coordinator) commitRecords(m *Commit, now time.Time) []group.Record {
	id, count, bytes := m.Request.Group, 0, 0
	for i := range m.Partitions {
		p := &m.Partitions[i]
		metadata := p.metadata()
		if longer(metadata, int(c.o.Offsets.MetadataBytesMax)) {
			*p.Code = kerr.OffsetMetadataTooLarge.Code
			continue
		}
		*p.Code = 0
		count++
		bytes += offsetRecordKeyBytes(id, p.Topic) + valueBytesMax + len(metadata)
	}
	records, buf := make([]group.Record, 0, count), make([]byte, 0, bytes)
	v := offsetValue{committed: now.UnixMilli(), expires: m.expires(now)}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if *p.Code != 0 {
			continue
		}
		v.offset, v.epoch, v.metadata, v.topicID = p.Request.Offset, max(p.Request.LeaderEpoch, -1), p.metadata(), p.TopicID
		from := len(buf)
		buf = appendOffsetRecordKey(buf, id, p.Topic, p.Request.Partition)
		split := len(buf)
		buf = v.append(buf)
		records = append(records, group.Record{Key: buf[from:split:split], Value: buf[split:len(buf):len(buf)]})
	}
	return records
}

// longer compares as Java does, in UTF-16 units.
func longer(s string, unitsMax int) bool {
	if len(s) <= unitsMax {
		return false
	}
	units := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if units++; r > 0xffff {
			units++
		}
	}
	return units > unitsMax
}

// FetchOffsets handles OffsetFetch for one group. Topics are found by name; nil asks for all. Where a TopicID is given, offsets
// committed for another topic of that name do not count. The answer has the names and ids of the request, names alone if all were
// asked for. It reads the disk, and with requireStable waits until offsets that are being committed are durable: call it from Wait.
//
// take is asked for the memory of the answer's topics while it is built, in bytes; it must not wait. Once it refuses, the group is
// answered COORDINATOR_LOAD_IN_PROGRESS. Whatever it gave is the caller's to give back, after a refusal or an error too.
// The error is ctx's.
func (c *Coordinator) FetchOffsets(ctx context.Context, req *kmsg.OffsetFetchRequestGroup, requireStable bool,
	take func(bytes int64) bool) (kmsg.OffsetFetchResponseGroup, error) {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = req.Group
	s := c.shard(req.Group)
	if s == nil {
		out.ErrorCode = c.codeNoTopic()
		return out, nil
	}
	num, wait, code := s.fetchAllowed(req, requireStable)
	if wait != nil {
		if _, err := wait.Wait(ctx); err != nil {
			return out, err
		}
	}
	f := offsetFetch{c: c, ctx: ctx, num: num, out: &out, room: answerRoom{take: take}}
	var err error
	switch {
	case code != 0:
	case req.Topics == nil:
		err = f.all()
	default:
		err = f.some(req)
	}
	switch {
	case ctx.Err() != nil:
		out.Topics = nil
		return out, ctx.Err()
	case errors.Is(err, errNoRoom):
		code = codeLoading
	case err != nil:
		c.warn("committed offsets could not be read", "group", req.Group, "error", err)
		code = codeNotAvailable
	}
	if code != 0 {
		out.ErrorCode, out.Topics = code, nil
	}
	return out, nil
}

// fetchAllowed is OffsetMetadataManager.validateOffsetFetch. The future is done when all that is appended now is applied.
func (s *shard) fetchAllowed(req *kmsg.OffsetFetchRequestGroup, stable bool) (num uint64, wait *Future, code int16) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := s.enterLocked(); code != 0 {
		return 0, nil, code
	}
	num = s.mu.p.Num()
	l := s.mu.groups[req.Group]
	asMember := req.MemberEpoch >= 0 || req.MemberID != nil && *req.MemberID != ""
	if l == nil && asMember {
		if l, code = s.groupLocked(req.Group, now); code != 0 {
			return num, nil, code
		}
		defer s.settleLocked(l, now)
	}
	if l == nil {
		return num, nil, 0
	}
	if asMember && !l.broken {
		code = l.g.FetchAllowed(*memberOr(req.MemberID), req.MemberEpoch)
	}
	if stable && code == 0 {
		wait = l.appliedLocked()
	}
	return num, wait, code
}

func memberOr(id *string) *string {
	if id == nil {
		return new(string)
	}
	return id
}

// appliedLocked returns what is done, or has failed, when all appends of the group are applied; nil if they are.
func (l *live) appliedLocked() *Future {
	if len(l.unapplied) == 0 {
		return nil
	}
	f := newFuture(nil)
	l.answer(f, nil)
	return f
}
