package partition

import (
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/seglog"
)

func keyedBatch(t *testing.T, key string, value []byte) batch.Batch {
	t.Helper()
	raw, err := batch.Build(nil, batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, LeaderEpoch: -1}, 0,
		[]batch.Record{{Timestamp: 1, Key: []byte(key), Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := batch.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTombstoneBound: where somebody else keeps a view of the log, its tombstones stay until he says that he has seen them.
func TestTombstoneBound(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	log := seglog.DefaultConfig()
	log.Compact, log.MinDirtyRatio, log.DeleteRetentionMillis = true, 0, 0
	p := s.partition(Options{Num: 1, HoldTombstones: true, Settings: &Settings{Log: log, Rules: batch.Rules{
		MaxBytes: 1 << 20, TimestampBeforeMax: -1, TimestampAfterMax: -1, CompressionType: "producer", RequireKey: true,
	}}})
	clock := time.Now()
	clean := func() seglog.CleanStats {
		t.Helper()
		a, err := p.Append(t.Context(), keyedBatch(t, "another", []byte("v")), AcksAll, clock)
		if err != nil {
			t.Fatal(err)
		}
		<-a.Ticket.Done()
		clock = clock.AddDate(0, 1, 0)
		if _, due, err := p.Cleanable(t.Context(), clock); err != nil || !due {
			t.Fatalf("due %v, %v", due, err)
		}
		stats, err := p.Clean(t.Context(), clock, CleanTools{Map: seglog.NewOffsetMap(0)})
		if err != nil {
			t.Fatal(err)
		}
		return stats
	}
	for _, value := range [][]byte{[]byte("v"), nil} {
		if _, err := p.Append(t.Context(), keyedBatch(t, "gone", value), AcksAll, clock); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if stats := clean(); stats.Tombstones != 0 {
			t.Fatalf("%+v", stats)
		}
	}
	p.SetTombstoneBound(func() int64 { return 1 })
	if stats := clean(); stats.Tombstones != 0 {
		t.Fatalf("seen up to 1, the tombstone is at 1: %+v", stats)
	}
	p.SetTombstoneBound(func() int64 { return 2 })
	if stats := clean(); stats.Tombstones != 1 {
		t.Fatalf("%+v", stats)
	}
}
