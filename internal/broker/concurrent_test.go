package broker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
)

// TestConcurrentClients lets producers, consumers with and without sessions, and an
// operator who deletes and creates topics work at once: nobody gets a code that does
// not belong to it, and every record that was acknowledged is read, in order.
func TestConcurrentClients(t *testing.T) {
	const records = 60
	s := newStack(t)
	kept := s.topic("kept", 3)
	var clients sync.WaitGroup
	for index := range int32(3) {
		clients.Go(func() {
			for sequence := range int32(records) {
				p := s.produce(kept, index, build(t, idempotent(100+int64(index), 0, sequence, 1), batch.CodecNone, "v"))
				if p.ErrorCode != codeNone || p.BaseOffset != int64(sequence) {
					t.Errorf("partition %d, sequence %d: %+v", index, sequence, p)
				}
			}
		})
	}
	for range 3 {
		clients.Go(func() { s.consumeAll(t, kept.Name, kept.ID, 3, records) })
	}
	clients.Go(func() { s.operate(t) })
	clients.Go(func() { s.useWhatComesAndGoes(t) })
	clients.Wait()
}

// consumeAll reads all partitions in one incremental session.
func (s *stack) consumeAll(t *testing.T, name string, id [16]byte, partitions int32, records int64) {
	next := make([]int64, partitions)
	first := kmsg.NewPtrFetchRequest()
	first.SessionEpoch, first.MinBytes, first.MaxBytes, first.MaxWaitMillis = 0, 1, 1<<20, 100
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = name, id
	for index := range partitions {
		rt.Partitions = append(rt.Partitions, fetchOf(index, 0))
	}
	first.Topics = append(first.Topics, rt)
	ask := func(req *kmsg.FetchRequest) *kmsg.FetchResponse {
		return s.do(req, 13).(*kmsg.FetchResponse)
	}
	resp := ask(first)
	for epoch, left := int32(1), int64(partitions)*records; ; epoch++ {
		req := kmsg.NewPtrFetchRequest()
		req.SessionID, req.SessionEpoch, req.MinBytes, req.MaxBytes, req.MaxWaitMillis = resp.SessionID, epoch, 1, 1<<20, 100
		moved := kmsg.NewFetchRequestTopic()
		moved.TopicID = id
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				for _, offset := range offsetsIn(t, p.RecordBatches) {
					if offset != next[p.Partition] {
						t.Errorf("partition %d: offset %d, want %d", p.Partition, offset, next[p.Partition])
						return
					}
					next[p.Partition]++
					left--
				}
				moved.Partitions = append(moved.Partitions, fetchOf(p.Partition, next[p.Partition]))
			}
		}
		if left == 0 {
			return
		}
		req.Topics = append(req.Topics, moved)
		if resp = ask(req); resp.ErrorCode != codeNone {
			t.Errorf("session: code %d", resp.ErrorCode)
			return
		}
	}
}

func fetchOf(index int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, offset, 1<<20
	return p
}

const comesAndGoes = "comes-and-goes"

// operate creates and deletes a topic over and over.
func (s *stack) operate(t *testing.T) {
	for range 20 {
		s.topic(comesAndGoes, 2)
		if err := s.catalog.DeleteTopic(comesAndGoes); err != nil {
			t.Error(err)
			return
		}
	}
}

// useWhatComesAndGoes produces to it, reads it and asks about it.
func (s *stack) useWhatComesAndGoes(t *testing.T) {
	known := map[int16]bool{codeNone: true, codeUnknownTopicOrPartition: true, codeNotLeaderOrFollower: true, codeOffsetOutOfRange: true}
	check := func(what string, code int16) {
		if !known[code] {
			t.Errorf("%s: code %d", what, code)
		}
	}
	for i := range 100 {
		produced := s.do(produceRequest(acksAll, comesAndGoes, [16]byte{}, 0, build(t, plain(1), batch.CodecNone, "v")), 9)
		check("produce", produced.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 1<<20, 1, 1
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.Partitions = comesAndGoes, []kmsg.FetchRequestTopicPartition{fetchOf(0, 0), fetchOf(1, 0)}
		req.Topics = append(req.Topics, rt)
		for _, p := range s.do(req, 12).(*kmsg.FetchResponse).Topics[0].Partitions {
			check("fetch", p.ErrorCode)
		}
		listed := s.do(listOffsetsRequest(comesAndGoes, 0, timestampMax), 7)
		check("list offsets", listed.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode)
		if i%10 == 0 {
			s.metadata(metadataRequest(comesAndGoes, fmt.Sprint("never-", i)), 12)
		}
	}
}
