package coordinator

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// tombstonesMax is how many records without value one batch gets: what is deleted at a time may not fit one batch.
const tombstonesMax = 1000

// DeleteOffsets handles OffsetDelete for partitions that exist. It reads the disk and waits until the offsets are durably gone: call
// it from Wait. The error is ctx's.
func (c *Coordinator) DeleteOffsets(ctx context.Context, req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, error) {
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	s := c.shard(req.Group)
	switch {
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroup
	case s == nil:
		resp.ErrorCode = c.codeNoTopic()
	default:
		f, code := s.deleteOffsets(req, resp)
		if code == 0 && f != nil {
			var err error
			if code, err = waitCode(ctx, f); err != nil {
				return nil, err
			}
		}
		if code != 0 {
			resp.ErrorCode, resp.Topics = code, nil
		}
	}
	return resp, ctx.Err()
}

// waitCode waits for a future and returns the code with which it failed.
func waitCode(ctx context.Context, f *Future) (int16, error) {
	_, err := f.Wait(ctx)
	return f.code, err
}

func (s *shard) deleteOffsets(req *kmsg.OffsetDeleteRequest, resp *kmsg.OffsetDeleteResponse) (*Future, int16) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, code := s.groupLocked(req.Group, now)
	if code != 0 {
		return nil, code
	}
	defer s.settleLocked(l, now)
	if err := s.simpleLocked(l); err != nil {
		return nil, codeNotAvailable
	}
	if !l.g.Exists() {
		return nil, kerr.GroupIDNotFound.Code
	}
	touched := l.unappliedOffsets()
	var keys []topicPartition
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		code := l.g.OffsetDeleteAllowed(t.Topic)
		if code != 0 && code != kerr.GroupSubscribedToTopic.Code {
			return nil, code
		}
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
			if code != 0 {
				continue
			}
			some, err := s.hasOffsetLocked(touched, req.Group, t.Topic, p.Partition)
			if err != nil {
				return nil, codeNotAvailable
			}
			if some {
				keys = append(keys, topicPartition{t.Topic, p.Partition})
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if err := s.removeOffsetsLocked(l, keys, now); err != nil {
		return nil, codeOf(err)
	}
	s.c.o.Metrics.OffsetsDeleted.Add(float64(len(keys)))
	return l.appliedLocked(), 0
}

type topicPartition struct {
	topic     string
	partition int32
}

// hasOffsetLocked says whether one offset is committed, with touched from unappliedOffsets.
func (s *shard) hasOffsetLocked(touched map[string]bool, id, topic string, partition int32) (bool, error) {
	key := offsetColdKey(id, topic, partition)
	if removed, known := touched[string(key)]; known {
		return !removed, nil
	}
	_, found, err := s.c.o.Store.GetBytes(s.mu.p.Num(), key, nil)
	return found, err
}

// removeOffsetsLocked appends tombstones. When it fails some may be in the log: whoever asked for it asks again.
func (s *shard) removeOffsetsLocked(l *live, keys []topicPartition, now time.Time) error {
	for len(keys) > 0 {
		n := min(len(keys), tombstonesMax)
		records := make([]group.Record, 0, n)
		for _, k := range keys[:n] {
			records = append(records, group.Record{Key: offsetRecordKey(l.g.ID(), k.topic, k.partition)})
		}
		if _, err := s.appendLocked(l, records, now); err != nil {
			if isFinal(err) {
				s.c.SetOffline(err)
			}
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// DeleteGroups handles DeleteGroups. It reads the disk and waits until the groups are durably gone: call it from Wait. The results
// are in the order of ids. The error is ctx's.
func (c *Coordinator) DeleteGroups(ctx context.Context, ids []string) ([]kmsg.DeleteGroupsResponseGroup, error) {
	out := make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	waits := make([]*Future, len(ids))
	for i, id := range ids {
		out[i] = kmsg.NewDeleteGroupsResponseGroup()
		out[i].Group = id
		if s := c.shard(id); s == nil {
			out[i].ErrorCode = c.codeNoTopic()
		} else {
			waits[i], out[i].ErrorCode = s.deleteGroup(id)
		}
	}
	for i, f := range waits {
		if f == nil {
			continue
		}
		code, err := waitCode(ctx, f)
		if err != nil {
			return nil, err
		}
		if out[i].ErrorCode = code; code == 0 {
			c.o.Metrics.GroupsDeleted.Inc()
		}
	}
	return out, nil
}

// deleteGroup appends what removes a group and its offsets (GroupCoordinatorShard.deleteGroups). The offsets go first: if it does not
// come to its end the group is still there, to be deleted again.
func (s *shard) deleteGroup(id string) (*Future, int16) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, code := s.groupLocked(id, now)
	if code != 0 {
		return nil, code
	}
	defer s.settleLocked(l, now)
	if err := s.simpleLocked(l); err != nil {
		return nil, codeNotAvailable
	}
	if code := l.g.DeleteAllowed(); code != 0 {
		return nil, code
	}
	keys, err := s.offsetsLocked(l)
	if err != nil {
		return nil, codeNotAvailable
	}
	if err := s.removeOffsetsLocked(l, keys, now); err != nil {
		return nil, codeOf(err)
	}
	s.c.o.Metrics.OffsetsDeleted.Add(float64(len(keys)))
	return s.removeGroupLocked(l, now)
}

// removeGroupLocked appends the tombstones of a group without members.
func (s *shard) removeGroupLocked(l *live, now time.Time) (*Future, int16) {
	l.g.Tombstones(&s.mu.out)
	if len(s.mu.out.Records) == 0 {
		return l.appliedLocked(), 0
	}
	_, err := s.appendLocked(l, s.mu.out.Records, now)
	s.mu.out.Records = nil
	if err != nil {
		s.breakLocked(l, now, err)
		return nil, codeOf(err)
	}
	return l.appliedLocked(), 0
}

// offsetsLocked returns which offsets of a group are committed, those on their way to the cold store included.
func (s *shard) offsetsLocked(l *live) (keys []topicPartition, err error) {
	touched := l.unappliedOffsets()
	prefix := groupPrefix(spaceOffset, l.g.ID())
	add := func(key []byte) error {
		topic, partition, err := splitOffsetKey(key[len(prefix):])
		keys = append(keys, topicPartition{topic, partition})
		return err
	}
	var from []byte
	for more := true; more; {
		from, more, err = s.c.o.Store.ScanBytes(s.mu.p.Num(), prefix, from, scanChunk, func(key, _ []byte) ([]byte, error) {
			if _, known := touched[string(key)]; known {
				return nil, nil
			}
			return nil, add(key)
		})
		if err != nil {
			return nil, err
		}
	}
	for key, removed := range touched {
		if !removed {
			if err := add([]byte(key)); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}
