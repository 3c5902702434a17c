package null

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// highWatermark is the end of every partition: no reader gets there.
const highWatermark = int64(1) << 50

// fetch answers with as many prepared batches for each partition as it may have, at once. There are no sessions.
func (k *conn) fetch(r *kmsg.FetchRequest) error {
	if k.blob == nil {
		for len(k.blob) == 0 || len(k.blob)+len(k.batch) <= blobBytes {
			k.blob = append(k.blob, k.batch...)
		}
	}
	v := r.Version
	left := min(int(r.MaxBytes), maxFetch)
	give := make([]int, 0, 128) // batches of each partition
	more := 0
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			n := min(int(p.PartitionMaxBytes), left) / len(k.batch)
			if n <= 0 && more == 0 {
				n = 1 // the first partition gets a batch, however large
			}
			n = max(n, 0)
			left -= n * len(k.batch)
			more += n * len(k.batch)
			give = append(give, n)
		}
	}
	fixed := k.fetchSize(r, give)
	k.finish(fixed + more)
	if v >= 12 {
		k.out = append(k.out, 0)
	}
	k.out = append(k.out, 0, 0, 0, 0) // throttle
	if v >= 7 {
		k.out = append(k.out, 0, 0, 0, 0, 0, 0) // no error, no session
	}
	k.appendLength(v >= 12, len(r.Topics))
	for _, t := range r.Topics {
		k.appendTopic(v, t)
		for _, p := range t.Partitions {
			k.appendPartition(v, p.Partition, give[0]*len(k.batch))
			if err := k.writeBatches(p.FetchOffset, give[0]); err != nil {
				return err
			}
			if v >= 12 {
				k.out = append(k.out, 0)
			}
			give = give[1:]
		}
		if v >= 12 {
			k.out = append(k.out, 0)
		}
	}
	if v >= 12 {
		k.out = append(k.out, 0)
	}
	_, err := k.w.Write(k.out)
	return err
}

// fetchSize is how many bytes of an answer are not records, behind the correlation id.
func (k *conn) fetchSize(r *kmsg.FetchRequest, give []int) int {
	from := len(k.out)
	v := r.Version
	size := 4
	if v >= 7 {
		size += 6
	}
	if v >= 12 {
		size += 2 // tags of the header and of the body
	}
	k.appendLength(v >= 12, len(r.Topics))
	for _, t := range r.Topics {
		k.appendTopic(v, t)
		for _, p := range t.Partitions {
			k.appendPartition(v, p.Partition, give[0]*len(k.batch))
			give = give[1:]
			if v >= 12 {
				size++
			}
		}
		if v >= 12 {
			size++
		}
	}
	size += len(k.out) - from
	k.out = k.out[:from]
	return size
}

func (k *conn) appendTopic(v int16, t kmsg.FetchRequestTopic) {
	switch {
	case v >= 13:
		k.out = append(k.out, t.TopicID[:]...)
	case v >= 12:
		k.out = binary.AppendUvarint(k.out, uint64(len(t.Topic))+1)
		k.out = append(k.out, t.Topic...)
	default:
		k.out = binary.BigEndian.AppendUint16(k.out, uint16(len(t.Topic)))
		k.out = append(k.out, t.Topic...)
	}
	k.appendLength(v >= 12, len(t.Partitions))
}

// appendPartition writes what is before the records, of which there are so many bytes.
func (k *conn) appendPartition(v int16, partition int32, records int) {
	k.out = binary.BigEndian.AppendUint32(k.out, uint32(partition))
	k.out = append(k.out, 0, 0)
	k.out = binary.BigEndian.AppendUint64(k.out, uint64(highWatermark))
	k.out = binary.BigEndian.AppendUint64(k.out, uint64(highWatermark)) // last stable offset
	if v >= 5 {
		k.out = binary.BigEndian.AppendUint64(k.out, 0) // log start
	}
	if v >= 12 {
		k.out = append(k.out, 0) // no aborted transactions
	} else {
		k.out = append(k.out, 0xff, 0xff, 0xff, 0xff)
	}
	if v >= 11 {
		k.out = append(k.out, 0xff, 0xff, 0xff, 0xff) // no preferred replica
	}
	k.appendLength(v >= 12, records)
}

// writeBatches writes what is built of the answer, and batches from an offset on.
func (k *conn) writeBatches(offset int64, n int) error {
	if n == 0 {
		return nil
	}
	if _, err := k.w.Write(k.out); err != nil {
		return err
	}
	k.out = k.out[:0]
	size, records := len(k.batch), count(k.batch)
	for n > 0 {
		now := min(n, len(k.blob)/size)
		for i := range now {
			binary.BigEndian.PutUint64(k.blob[i*size:], uint64(offset))
			offset += records
		}
		if _, err := k.w.Write(k.blob[:now*size]); err != nil {
			return err
		}
		n -= now
	}
	return nil
}
