package broker

import (
	"testing"

	"ottla/internal/batch"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceAllocationsMax is what one acks=all request of one batch may allocate between its decoded request and its encoded
// answer, the commit in the log included, however many records the batch has: the reply, the round of the commit
// that it may open, and what tells that the round is over.
const produceAllocationsMax = 10

// TestProduceAllocations holds the hot path of a produce to a handful of allocations a request and none a record.
func TestProduceAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has sync.Pool allocate")
	}
	for _, c := range []struct {
		name    string
		records int
		codec   int8
	}{
		{"one record", 1, batch.CodecNone},
		{"hundreds of records", 500, batch.CodecNone},
		{"thousands of records", 5000, batch.CodecNone},
		{"thousands of records in lz4", 5000, batch.CodecLZ4},
	} {
		t.Run(c.name, func(t *testing.T) {
			const runs = 100
			s := newStack(t)
			topic := s.topic("orders", 1)
			init := s.do(kmsg.NewPtrInitProducerIDRequest(), 5).(*kmsg.InitProducerIDResponse)
			r := s.request(produceRequest(acksAll, topic.Name, topic.ID, 0, nil), 13)
			batches := make([][]byte, 0, runs+2)
			for i := range runs + 2 {
				batches = append(batches, build(t, idempotent(init.ProducerID, 0, int32(i*c.records), c.records), c.codec, "a value of some twenty bytes"))
			}
			dst := make([]byte, 0, 4096)
			next := 0
			got := testing.AllocsPerRun(runs, func() {
				r.Body.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records = batches[next]
				next++
				resp, err := s.b.Handle(t.Context(), r).Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				dst = resp.AppendTo(dst[:0])
				if code := resp.(*produceReply).parts[0].code; code != codeNone {
					t.Fatalf("batch %d: code %d", next-1, code)
				}
			})
			if got > produceAllocationsMax {
				t.Errorf("%v allocations a request, want at most %d", got, produceAllocationsMax)
			}
		})
	}
}
