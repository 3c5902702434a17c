package collect

import (
	"encoding/binary"
	"math"
	"time"

	"ottla/internal/batch"
	"ottla/internal/investigate/evidence"
)

// Message sets of magic 0 and 1 (Kafka below 0.11, and topics that nobody converted): offset, size, then checksum,
// magic, attributes, in magic 1 a timestamp, key and value. Kafka's LegacyRecord.
const (
	oldPrefixBytes  = 12
	oldMagicAt      = 16
	oldTimestampAt  = 18
	oldMessageV0Min = 14
	oldMessageV1Min = 22
)

// futureSlack is how far ahead of the clock a batch must be dated to count as one from the future.
const futureSlack = time.Hour

// walked is what a walk over fetched bytes met beside batches.
type walked struct {
	batches int64
	old     int64 // messages of magic 0 and 1
	invalid int64 // bytes from where the rest made no sense
	last    int64 // the next offset after the last seen; -1 if none was
	oldTime int64 // the latest timestamp of an old message; NoTimestamp if none has one
}

// walkHeaders calls fn with the header of each record batch in the records of a fetch answer. A broker cuts an answer at a
// number of bytes, so the last batch is usually incomplete: its header counts if all of it is there. What is no batch
// ends the walk. No checksum is computed and nothing is decompressed.
func walkHeaders(b []byte, fn func(h batch.Header)) walked {
	w := walked{last: -1, oldTime: batch.NoTimestamp}
	for len(b) > oldMagicAt {
		offset := int64(binary.BigEndian.Uint64(b))
		if offset < 0 || offset > math.MaxInt64-math.MaxInt32 || offset < w.last {
			w.invalid = int64(len(b))
			return w
		}
		var size int64
		switch b[oldMagicAt] {
		case 0, 1:
			size = w.oldMessage(b, offset)
		case 2:
			if len(b) < batch.HeaderSize {
				return w // cut off inside of the header
			}
			h, err := batch.DecodeHeader(b)
			if err != nil || !plausible(h) {
				break
			}
			w.batches++
			w.last = h.LastOffset() + 1
			fn(h)
			size = h.Size()
		}
		if size == 0 {
			w.invalid = int64(len(b))
			return w
		}
		if size > int64(len(b)) {
			return w
		}
		b = b[size:]
	}
	return w
}

// oldMessage counts one message of magic 0 or 1 and returns its size in bytes, 0 if it is none.
func (w *walked) oldMessage(b []byte, offset int64) int64 {
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	least := int64(oldMessageV0Min)
	if b[oldMagicAt] == 1 {
		least = oldMessageV1Min
	}
	if length < least {
		return 0
	}
	w.old++
	w.last = offset + 1
	if b[oldMagicAt] == 1 && len(b) >= oldTimestampAt+8 {
		w.oldTime = max(w.oldTime, int64(binary.BigEndian.Uint64(b[oldTimestampAt:])))
	}
	return oldPrefixBytes + length
}

// plausible tells a header from bytes that happen to have a 2 where the magic stands: without a checksum over the
// whole batch this is all that can be said.
func plausible(h batch.Header) bool {
	if h.LastOffsetDelta < 0 || h.RecordCount < 0 || int64(h.RecordCount) > int64(h.LastOffsetDelta)+1 {
		return false
	}
	return h.ProducerID >= batch.NoProducerID && h.BaseSequence >= batch.NoSequence && h.Codec() <= batch.CodecZstd
}

// newborn tells that the producer of a batch begins with it: sequence 0 in epoch 0, outside of a transaction. A transactional
// producer starts at 0 again after each epoch, with transactions v2 in every transaction.
func newborn(h batch.Header) bool {
	return h.HasProducer() && h.BaseSequence == 0 && h.ProducerEpoch == 0 && !h.Transactional() && !h.Control()
}

// tailCounter counts the headers of one stretch of a partition into a Tail.
type tailCounter struct {
	tail      evidence.Tail
	producers []evidence.Producer
	byPID     map[int64]int
	future    int64 // ms since 1970: later is the future
}

func newTailCounter(topic string, partition int32, round int, at time.Time) *tailCounter {
	return &tailCounter{
		tail:   evidence.Tail{Topic: topic, Partition: partition, Round: round, At: at, From: -1, To: -1},
		byPID:  map[int64]int{},
		future: at.Add(futureSlack).UnixMilli(),
	}
}

// add counts the records of one fetch answer. Answers come in the order of their offsets.
func (c *tailCounter) add(records []byte) {
	t := &c.tail
	t.Bytes += int64(len(records))
	if t.From < 0 && len(records) >= 8 {
		t.From = int64(binary.BigEndian.Uint64(records))
	}
	w := walkHeaders(records, c.count)
	t.OldFormat += w.old
	t.Invalid += w.invalid
	if w.last >= 0 {
		t.To = w.last
	} else {
		t.From = t.To
	}
	if w.old > 0 {
		c.date(w.oldTime)
	}
}

func (c *tailCounter) count(h batch.Header) {
	t := &c.tail
	c.date(h.MaxTimestamp)
	if h.Control() {
		t.Control++
		return
	}
	t.Batches++
	t.Records += int64(h.RecordCount)
	if t.Codecs == nil {
		t.Codecs = map[string]int64{}
	}
	t.Codecs[batch.CodecName(h.Codec())]++
	if h.LogAppendTime() {
		t.LogAppendTime++
	}
	if h.Transactional() {
		t.Transactional++
	}
	if h.MaxTimestamp > c.future {
		t.Future++
		t.FutureTime = max(t.FutureTime, h.MaxTimestamp)
	}
	if h.HasProducer() {
		t.Idempotent++
		c.producer(h)
	}
}

// date widens the stretch's times. Dates from the future are kept apart: they would make every rate meaningless.
func (c *tailCounter) date(ms int64) {
	t := &c.tail
	if ms <= 0 || ms > c.future {
		return
	}
	if t.FirstTime == 0 || ms < t.FirstTime {
		t.FirstTime = ms
	}
	t.LastTime = max(t.LastTime, ms)
}

func (c *tailCounter) producer(h batch.Header) {
	i, seen := c.byPID[h.ProducerID]
	if !seen {
		i = len(c.producers)
		c.byPID[h.ProducerID] = i
		c.producers = append(c.producers, evidence.Producer{
			PID: h.ProducerID, Epoch: h.ProducerEpoch, FirstSequence: h.BaseSequence, FirstTime: h.MaxTimestamp, LastTime: h.MaxTimestamp,
		})
	}
	p := &c.producers[i]
	p.Epoch = max(p.Epoch, h.ProducerEpoch)
	p.Transactional = p.Transactional || h.Transactional()
	p.Born = p.Born || newborn(h)
	p.Batches = saturate(p.Batches, 1)
	p.Records = saturate(p.Records, h.RecordCount)
	p.FirstTime = min(p.FirstTime, h.MaxTimestamp)
	p.LastTime = max(p.LastTime, h.MaxTimestamp)
}

func saturate(a, b int32) int32 { return int32(min(int64(a)+int64(b), math.MaxInt32)) }

// take gives the tail with at most room of its producers, newborn ones first; the others are counted.
func (c *tailCounter) take(room int) evidence.Tail {
	t := c.tail
	if len(c.producers) <= room {
		t.Producers = c.producers
		return t
	}
	kept := make([]evidence.Producer, 0, room)
	for _, born := range []bool{true, false} {
		for _, p := range c.producers {
			switch {
			case p.Born != born:
			case len(kept) < room:
				kept = append(kept, p)
			default:
				t.ProducersLeftOut++
				if born {
					t.NewbornLeftOut++
				}
			}
		}
	}
	if len(kept) > 0 {
		t.Producers = kept
	}
	return t
}

// reading is the highest producer id among the batches of a fetch answer that are dated from from to to (ms since
// 1970): that of a newborn producer if there is one (born), else anybody's.
func reading(records []byte, from, to int64) (highest batch.Header, found, born bool) {
	walkHeaders(records, func(h batch.Header) {
		if !h.HasProducer() || h.Control() || h.MaxTimestamp < from || h.MaxTimestamp > to {
			return
		}
		isBorn := newborn(h)
		if found && (born && !isBorn || born == isBorn && h.ProducerID <= highest.ProducerID) {
			return
		}
		highest, found, born = h, true, isBorn
	})
	return highest, found, born
}
