package coordinator

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the answer to OffsetFetch takes in memory, in bytes, beside the strings in it.
const (
	// OffsetAnswerBytes is one partition: its entry, twice while a list grows or an old version's answer is made of it, and its
	// encoded form.
	OffsetAnswerBytes = 160
	// OffsetTopicAnswerBytes is one topic.
	OffsetTopicAnswerBytes = 256

	// answerPartBytes is how much of an answer is built at most before there is known to be memory for it.
	answerPartBytes = 64 << 10
)

// errNoRoom: there is no memory for the rest of an answer.
var errNoRoom = errors.New("coordinator: no memory for the answer")

// answerRoom asks for the memory of an answer in parts, so that an entry costs no lock.
type answerRoom struct {
	take    func(bytes int64) bool
	pending int64 // not yet asked for
}

// add asks for n bytes more, at once or with later ones.
func (r *answerRoom) add(n int64) error {
	if r.pending += n; r.pending < answerPartBytes {
		return nil
	}
	return r.settle()
}

// settle asks for what has been added.
func (r *answerRoom) settle() error {
	n := r.pending
	r.pending = 0
	if n > 0 && !r.take(n) {
		return errNoRoom
	}
	return nil
}

// metadata asks for a string that stays in memory with its encoded form beside it.
func (r *answerRoom) metadata(v *offsetValue) error {
	if v == nil {
		return nil
	}
	return r.add(2 * int64(len(v.metadata)))
}

// offsetFetch reads the offsets of one group into out.
type offsetFetch struct {
	c    *Coordinator
	ctx  context.Context
	num  uint64 // of the partition in the cold store
	out  *kmsg.OffsetFetchResponseGroup
	room answerRoom
}

// all reads all offsets of the group.
func (f *offsetFetch) all() error {
	prefix := groupPrefix(spaceOffset, f.out.Group)
	var from []byte
	for more := true; more; {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		var err error
		from, more, err = f.c.o.Store.ScanBytes(f.num, prefix, from, scanChunk, func(key, val []byte) ([]byte, error) {
			return nil, f.entry(key[len(prefix):], val)
		})
		if err == nil {
			err = f.room.settle()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry adds an offset of the cold store to the answer; entries come by topic.
func (f *offsetFetch) entry(key, val []byte) error {
	topic, index, err := splitOffsetKey(key)
	if err != nil {
		return err
	}
	v, err := decodeOffset(val)
	if err != nil {
		f.c.o.Metrics.BadRecords.Inc()
		return nil
	}
	if n := len(f.out.Topics); n == 0 || f.out.Topics[n-1].Topic != topic {
		if err := f.room.add(OffsetTopicAnswerBytes + 2*int64(len(topic))); err != nil {
			return err
		}
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = topic
		f.out.Topics = append(f.out.Topics, t)
	}
	if err := f.room.add(OffsetAnswerBytes); err != nil {
		return err
	}
	if err := f.room.metadata(v); err != nil {
		return err
	}
	t := &f.out.Topics[len(f.out.Topics)-1]
	t.Partitions = append(t.Partitions, fetched(index, v))
	return nil
}

// some reads the offsets that are asked for.
func (f *offsetFetch) some(req *kmsg.OffsetFetchRequestGroup) error {
	for i := range req.Topics {
		rt := &req.Topics[i]
		if err := f.room.add(OffsetTopicAnswerBytes + int64(len(rt.Topic))); err != nil {
			return err
		}
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		f.out.Topics = append(f.out.Topics, t)
		for indexes := rt.Partitions; len(indexes) > 0; {
			block := indexes[:min(len(indexes), scanChunk)]
			indexes = indexes[len(block):]
			if err := f.block(req.Group, &f.out.Topics[i], block); err != nil {
				return err
			}
		}
	}
	return f.room.settle()
}

// block reads the offsets of some partitions of a topic.
func (f *offsetFetch) block(groupID string, t *kmsg.OffsetFetchResponseGroupTopic, indexes []int32) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	if err := f.room.add(int64(len(indexes)) * OffsetAnswerBytes); err != nil {
		return err
	}
	var val []byte
	for _, index := range indexes {
		var found bool
		var err error
		val, found, err = f.c.o.Store.GetBytes(f.num, offsetColdKey(groupID, t.Topic, index), val[:0])
		if err != nil {
			return err
		}
		var v *offsetValue
		if found {
			if v, err = decodeOffset(val); err != nil {
				f.c.o.Metrics.BadRecords.Inc()
			}
		}
		if v != nil && otherTopic(v.topicID, t.TopicID) {
			v = nil
		}
		if err := f.room.metadata(v); err != nil {
			return err
		}
		t.Partitions = append(t.Partitions, fetched(index, v))
	}
	return nil
}

// otherTopic says that two ids are both known and not the same (OffsetMetadataManager.isMismatchedTopicId).
func otherTopic(a, b [16]byte) bool {
	none := [16]byte{}
	return a != none && b != none && a != b
}

// noMetadata is what partitions without metadata have in common. Nobody writes to it.
var noMetadata = new(string)

// fetched is the answer for one partition; v is nil when nothing is committed.
func fetched(index int32, v *offsetValue) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Metadata = index, noMetadata
	if v == nil {
		p.Offset, p.LeaderEpoch = -1, -1
		return p
	}
	p.Offset, p.LeaderEpoch = v.offset, v.epoch
	if v.metadata != "" {
		p.Metadata = kmsg.StringPtr(v.metadata) // not a part of v, which would stay with it
	}
	return p
}
