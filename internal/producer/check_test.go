package producer

import (
	"errors"
	"testing"
)

const maxSeq = sequenceMask

// writes folds batches given as (base sequence, count), offsets ascending from 100.
func writes(epoch int16, batches ...[2]int32) *Entry {
	e := &Entry{Epoch: epoch}
	offset := int64(100)
	if last, ok := e.Last(); ok {
		offset = last.LastOffset + 1
	}
	for _, b := range batches {
		in, s := write(epoch, b[0], b[1], offset)
		e.Apply(in, s, 7)
		offset += int64(b[1])
	}
	return e
}

func write(epoch int16, base, count int32, offset int64) (Incoming, Stored) {
	last := int32((int64(base) + int64(count) - 1) & sequenceMask)
	in := Incoming{Epoch: epoch, BaseSequence: base, LastSequence: last}
	return in, Stored{BaseSequence: base, LastSequence: last, BaseOffset: offset, LastOffset: offset + int64(count) - 1, Timestamp: offset * 10}
}

type checkCase struct {
	name       string
	entry      *Entry
	epoch      int16
	base       int32
	count      int32
	recent, tx bool
	want       error
	verdict    Verdict
	offset     int64 // of the original
}

func (c checkCase) run(t *testing.T) {
	in, _ := write(c.epoch, c.base, c.count, 0)
	in.Transactional = c.tx
	var before Entry
	if c.entry != nil {
		before = *c.entry
	}
	v, s, err := Check(c.entry, in, c.recent)
	if !errors.Is(err, c.want) || (c.want == nil && err != nil) {
		t.Fatalf("got error %v, want %v", err, c.want)
	}
	if err == nil && v != c.verdict {
		t.Fatalf("got verdict %d, want %d", v, c.verdict)
	}
	if v == Duplicate && s.BaseOffset != c.offset {
		t.Fatalf("got offset %d, want %d", s.BaseOffset, c.offset)
	}
	if c.entry != nil && *c.entry != before {
		t.Fatal("Check changed the entry")
	}
}

// TestCheckRules names the cases of the design by their number.
func TestCheckRules(t *testing.T) {
	five := func() *Entry {
		return writes(3, [2]int32{0, 10}, [2]int32{10, 1}, [2]int32{11, 5}, [2]int32{16, 4}, [2]int32{20, 10})
	}
	seven := writes(0, [2]int32{0, 10}, [2]int32{10, 10}, [2]int32{20, 10}, [2]int32{30, 10}, [2]int32{40, 10}, [2]int32{50, 10}, [2]int32{60, 10})
	middle := writes(0, [2]int32{500, 10}, [2]int32{510, 10}, [2]int32{520, 10}, [2]int32{530, 10}, [2]int32{540, 10}, [2]int32{550, 10})
	wrap := writes(0, [2]int32{maxSeq - 4, 10})
	cases := []checkCase{
		{name: "1 retry of the last", entry: five(), epoch: 3, base: 20, count: 10, verdict: Duplicate, offset: 120},
		{name: "2 retry of n-1", entry: five(), epoch: 3, base: 16, count: 4, verdict: Duplicate, offset: 116},
		{name: "2 retry of n-2", entry: five(), epoch: 3, base: 11, count: 5, verdict: Duplicate, offset: 111},
		{name: "2 retry of n-3", entry: five(), epoch: 3, base: 10, count: 1, verdict: Duplicate, offset: 110},
		{name: "2 retry of n-4", entry: five(), epoch: 3, base: 0, count: 10, verdict: Duplicate, offset: 100},
		{name: "3 older than the window", entry: seven, base: 10, count: 10, want: ErrDuplicateSequence},
		{name: "3 older, other boundaries", entry: seven, base: 3, count: 15, want: ErrDuplicateSequence},
		{name: "3 the whole run before the window", entry: seven, base: 0, count: 20, want: ErrDuplicateSequence},
		{name: "3 crosses into the window", entry: seven, base: 10, count: 11, want: ErrOutOfOrderSequence},
		{name: "3 run does not start at 0", entry: middle, base: 500, count: 10, want: ErrDuplicateSequence},
		{name: "3 before the run", entry: middle, base: 490, count: 10, want: ErrOutOfOrderSequence},
		{name: "3 half before the run", entry: middle, base: 495, count: 10, want: ErrOutOfOrderSequence},
		{name: "4 same base, fewer", entry: five(), epoch: 3, base: 20, count: 9, want: ErrOutOfOrderSequence},
		{name: "4 same base, more", entry: five(), epoch: 3, base: 20, count: 11, want: ErrOutOfOrderSequence},
		{name: "4 overlap at the end", entry: five(), epoch: 3, base: 25, count: 10, want: ErrOutOfOrderSequence},
		{name: "4 two remembered in one", entry: five(), epoch: 3, base: 10, count: 6, want: ErrOutOfOrderSequence},
		{name: "15 unknown, sequence 0", epoch: 5, count: 3},
		{name: "15 unknown, sequence 0, recently issued", count: 3, recent: true},
		{name: "15 unknown, sequence 0, transactional", count: 3, tx: true},
		{name: "16 unknown, other sequence", base: 77, count: 3},
		{name: "16 unknown, other sequence, recently issued", base: 77, count: 3, recent: true, want: ErrOutOfOrderSequence},
		{name: "17 unknown, other sequence, transactional", base: 77, count: 3, tx: true, want: ErrOutOfOrderSequence},
		{name: "19 next epoch, sequence 0", entry: five(), epoch: 4, count: 10},
		{name: "19 later epoch, sequence 0", entry: five(), epoch: 9, count: 10},
		{name: "20 next epoch, other sequence", entry: five(), epoch: 4, base: 30, count: 10, want: ErrOutOfOrderSequence},
		{name: "21 lower epoch, next sequence", entry: five(), epoch: 2, base: 30, count: 10, want: ErrInvalidProducerEpoch},
		{name: "21 lower epoch, sequence 0", entry: five(), epoch: 2, count: 10, want: ErrInvalidProducerEpoch},
		{name: "22 same range, next epoch, not 0", entry: five(), epoch: 4, base: 20, count: 10, want: ErrOutOfOrderSequence},
		{name: "23 after the last sequence comes 0", entry: writes(0, [2]int32{maxSeq, 1}), base: 0, count: 1},
		{name: "23 after the last sequence comes not 1", entry: writes(0, [2]int32{maxSeq, 1}), base: 1, count: 1, want: ErrOutOfOrderSequence},
		{name: "24 straddles the wrap", entry: writes(0, [2]int32{maxSeq - 9, 5}), base: maxSeq - 4, count: 10},
		{name: "24 its retry", entry: wrap, base: maxSeq - 4, count: 10, verdict: Duplicate, offset: 100},
		{name: "24 the next", entry: wrap, base: 5, count: 10},
		{name: "28 gap", entry: five(), epoch: 3, base: 31, count: 1, want: ErrOutOfOrderSequence},
		{name: "31 only the epoch, lower", entry: &Entry{Epoch: 3}, epoch: 2, want: ErrInvalidProducerEpoch, count: 1},
		{name: "31 only the epoch, sequence 0", entry: &Entry{Epoch: 3}, epoch: 3, count: 1},
		{name: "31 only the epoch, other sequence", entry: &Entry{Epoch: 3}, epoch: 3, base: 1, count: 1, want: ErrOutOfOrderSequence},
		{name: "negative epoch", epoch: -1, count: 1, want: ErrInvalidProducerEpoch},
		{name: "negative sequence", base: -1, count: 1, want: ErrOutOfOrderSequence},
	}
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}

// TestOldEpochRetryIsFenced: case 21, an exact retry of a batch that is stored.
func TestOldEpochRetryIsFenced(t *testing.T) {
	e := writes(1, [2]int32{0, 10})
	in, s := write(2, 0, 10, 110)
	e.Apply(in, s, 8)
	checkCase{entry: e, epoch: 1, base: 0, count: 10, want: ErrInvalidProducerEpoch}.run(t)
	checkCase{entry: e, epoch: 2, base: 0, count: 10, verdict: Duplicate, offset: 110}.run(t)
	if e.Count != 1 || e.RunLength != 0 {
		t.Fatalf("the window was not cleared by the new epoch: %+v", e)
	}
}

// TestWrappedRun: case 3 where the run is longer than the circle: what lies ahead
// is a gap, not a batch stored two billion sequences ago.
func TestWrappedRun(t *testing.T) {
	const step = 1 << 24
	e := &Entry{}
	offset, seq := int64(0), int32(0)
	for range 200 { // one and a half circles
		in, s := write(0, seq, step, offset)
		e.Apply(in, s, 0)
		seq, offset = follows(s.LastSequence), offset+step
	}
	if e.RunLength != RunLengthMax {
		t.Fatalf("run length %d, want it saturated at %d", e.RunLength, RunLengthMax)
	}
	oldest := e.Batches[0].BaseSequence
	at := func(delta int64) int32 { return int32((int64(oldest) + delta) & sequenceMask) }
	for _, c := range []checkCase{
		{base: at(-1), count: 1, want: ErrDuplicateSequence},
		{base: at(-RunLengthMax), count: 1, want: ErrDuplicateSequence},
		{base: at(-RunLengthMax), count: RunLengthMax, want: ErrDuplicateSequence},
		{base: at(-RunLengthMax - 1), count: 1, want: ErrOutOfOrderSequence},
		{base: at(5*step + 1), count: 1, want: ErrOutOfOrderSequence},
		{base: at(5*step + 1<<20), count: 1, want: ErrOutOfOrderSequence},
	} {
		c.entry = e
		c.run(t)
	}
}

// TestApplyAfterGap: only a log whose earlier part is forgotten has gaps; the run
// starts over behind them and the batches before stay recognised.
func TestApplyAfterGap(t *testing.T) {
	e := writes(0, [2]int32{0, 10}, [2]int32{10, 10}, [2]int32{50, 10}, [2]int32{60, 10}, [2]int32{70, 10}, [2]int32{80, 10})
	checkCase{entry: e, base: 10, count: 10, verdict: Duplicate, offset: 110}.run(t)
	if e.RunLength != 10 {
		t.Fatalf("run length %d, want 10", e.RunLength)
	}
	in, s := write(0, 90, 10, 160)
	e.Apply(in, s, 0)
	checkCase{entry: e, base: 10, count: 10, want: ErrOutOfOrderSequence}.run(t)
	checkCase{entry: e, base: 0, count: 10, want: ErrOutOfOrderSequence}.run(t)
}
