package broker

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// growthRounds is how often it is measured with each number of partitions.
const growthRounds = 5

// BenchmarkGrowthPartitions is the time of an append through the broker, acks=1, over the disk of temporary files, by one producer that
// writes to one partition after the other: it must not grow with their number. Run it with a fixed number of operations
// (-benchtime 20000x); each partition is written once before.
func BenchmarkGrowthPartitions(b *testing.B) {
	for _, partitions := range []int{1, 100, 10_000} {
		// A benchmark of its own: its end closes the broker and removes the files before the next number's begin.
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			g := newGrowthLoad(b, partitions)
			g.write(b, partitions)
			for round := range growthRounds {
				b.Run(fmt.Sprintf("round=%d", round+1), func(b *testing.B) { g.write(b, b.N) })
			}
		})
	}
}

// growthLoad is one producer of a topic.
type growthLoad struct {
	s          *stack
	partitions int
	written    int // batches, in all partitions together
	request    *wire.Request
}

// newGrowthLoad begins with an empty disk, and keeps as many files open as the process may: what is measured is an append, not the
// opening of a file. (It is that too where the limit is lower than the number of partitions.)
func newGrowthLoad(b *testing.B, partitions int) *growthLoad {
	b.Chdir(b.TempDir())
	limit, err := disk.OpenFiles()
	if err != nil {
		b.Fatal(err)
	}
	const others = 256 // of the state of producers and groups, and Go's own
	openFiles := max(min(limit-others, seglog.OpenFilesMaxDefault), limit/4, 1)
	g := &growthLoad{s: newStackWith(b, disk.OS(), openFiles), partitions: partitions}
	topic := g.s.topic("orders", int32(partitions))
	g.request = g.s.request(produceRequest(acksLeader, topic.Name, topic.ID, 0, nil), 13)
	return g
}

// write writes n batches and counts the time of that alone.
func (g *growthLoad) write(b *testing.B, n int) {
	first := g.written / g.partitions // sequence of the next batch
	records := make([][]byte, (g.written+n-1)/g.partitions-first+1)
	for i := range records {
		records[i] = build(b, idempotent(7, 0, int32(first+i), 1), batch.CodecNone, "a value of some twenty bytes")
	}
	to := &g.request.Body.(*kmsg.ProduceRequest).Topics[0].Partitions[0]
	dst, frame := make([]byte, 0, 4096), make([]byte, 0, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	for range n {
		frame = append(frame[:0], records[g.written/g.partitions-first]...) // the broker writes its offset into it
		to.Partition, to.Records = int32(g.written%g.partitions), frame
		g.written++
		resp, err := g.s.b.Handle(context.Background(), g.request).Wait(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		dst = resp.AppendTo(dst[:0])
		if code := resp.(*produceReply).parts[0].code; code != codeNone {
			b.Fatalf("refused with %d", code)
		}
	}
}
