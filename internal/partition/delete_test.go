package partition

import (
	"errors"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// TestDeleteIsTriedAgain: a deletion that the disk refused, and its repetition, leave nothing behind that a new topic of
// the same name would meet.
func TestDeleteIsTriedAgain(t *testing.T) {
	for _, ops := range []disk.OpKind{disk.OpRename, disk.OpSyncDir} {
		faults := disk.NewFaults()
		s := newStack(t, disk.NewFaulty(disk.NewMem(), faults))
		p := s.partition(Options{Num: 1})
		mustAppend(t, p, -1, -1, 1)
		faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: ops})
		if err := p.Delete(); err == nil {
			t.Fatal("deleted although the disk refused")
		}
		if err := p.Delete(); err != nil {
			t.Fatal(err)
		}
		again := s.partition(Options{Num: 2, TopicID: [16]byte{2}})
		if a := mustAppend(t, again, -1, -1, 1); a.BaseOffset != 0 {
			t.Errorf("first append of the new topic: %+v", a)
		}
		s.close(t)
	}
}

// TestOldDuplicateWaitsForItsData: "stored" is not said of a batch that a power loss may still take.
func TestOldDuplicateWaitsForItsData(t *testing.T) {
	s := newStack(t, disk.NewMem())
	defer s.close(t)
	p := s.partition(Options{Num: 1, Settings: &Settings{Log: slowSync(), Rules: batch.Rules{
		MaxBytes: 1 << 20, TimestampBeforeMax: -1, TimestampAfterMax: -1, CompressionType: "producer", DecompressedBytesMax: 1 << 20,
	}}})
	pid, err := s.ids.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(7) {
		if _, err := p.Append(t.Context(), parsed(t, pid, i, 1), 1, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := p.Append(t.Context(), parsed(t, pid, 0, 1), AcksAll, time.Unix(1, 0))
	if !errors.Is(err, producer.ErrDuplicateSequence) {
		t.Fatalf("retry: %+v, %v", a, err)
	}
	<-a.Ticket.Done()
	if err := a.Ticket.Err(); err != nil {
		t.Fatal(err)
	}
	if durable := p.log.Load().Durable(); durable == 0 {
		t.Error("the retry was called stored, and nothing is durable")
	}
}

func slowSync() *seglog.Config { return seglog.DefaultConfig() }
