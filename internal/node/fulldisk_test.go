package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/partition"
)

// TestStopOnAFullDisk: the store of producer entries waits for room, the stop does not.
func TestStopOnAFullDisk(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem, "producer.state.memory.bytes=1048576")
	createTopic(t, n, "t", 1)
	p, err := n.catalog.Partition("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	n.faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpWrite, Path: ".sst", Times: disk.Forever})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	acked := int32(0)
	for {
		pid, err := n.ids.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Append(ctx, oneRecord(t, pid), partition.AcksAll, time.Unix(1, 0)); errors.Is(err, context.DeadlineExceeded) {
			break // the overlay is full
		} else if err != nil {
			t.Fatal(err)
		}
		acked++
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := n.Stop(over); err == nil {
		t.Error("a stop that could not write everything says it was clean")
	}
	if exists(t, mem, cleanName) {
		t.Error("a stop that could not write everything left the clean marker")
	}

	n = start(t, mem)
	if p, err = n.catalog.Partition("t", 0); err != nil {
		t.Fatal(err)
	}
	s, err := p.State(t.Context())
	if err != nil || s.End != int64(acked) {
		t.Errorf("log ends at %d, want %d: %v", s.End, acked, err)
	}
	stop(t, n)
}

func oneRecord(t *testing.T, pid int64) batch.Batch {
	t.Helper()
	raw, err := batch.Build(nil, batch.Header{ProducerID: pid, LeaderEpoch: -1}, 0, []batch.Record{{Value: []byte("v")}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := batch.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
