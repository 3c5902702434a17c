package broker

import (
	"bytes"
	"testing"

	"ottla/internal/wire"
)

// fetchAllocationsMax is what one fetch of one partition may allocate between its decoded request and its encoded
// answer, however many records it carries: the request's state, the cursor of its answer and room for the encoding.
const fetchAllocationsMax = 8

// TestFetchAllocations holds the hot path of a fetch to a handful of allocations a request and none a record or batch.
func TestFetchAllocations(t *testing.T) {
	for _, c := range []struct {
		name    string
		batches int
		value   int // bytes
	}{
		{"one record", 1, 20},
		{"hundreds of small batches", 400, 100},
		{"a megabyte", 128, 8000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStack(t)
			topic := s.topic("orders", 1)
			s.fill(topic, 0, c.batches, string(bytes.Repeat([]byte("x"), c.value)))
			r := s.request(fetchRequest(topic, 0, 0), 16)
			dst := make([]byte, 0, 4<<20)
			got := testing.AllocsPerRun(100, func() {
				resp, err := s.b.Handle(t.Context(), r).Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if dst = resp.AppendTo(dst[:0]); len(dst) < c.batches*c.value {
					t.Fatalf("%d bytes: records are missing", len(dst))
				}
				resp.(wire.Releaser).Release()
			})
			if got > fetchAllocationsMax {
				t.Errorf("%v allocations a request, want at most %d", got, fetchAllocationsMax)
			}
		})
	}
}
