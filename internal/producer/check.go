package producer

import (
	"errors"
	"fmt"
)

var (
	// ErrOutOfOrderSequence says that the batch neither follows the last one nor is
	// one of those remembered (Kafka: 45).
	ErrOutOfOrderSequence = errors.New("out of order sequence")
	// ErrDuplicateSequence says that the batch is older than those remembered and
	// provably stored; its offset is not known any more (Kafka: 46).
	ErrDuplicateSequence = errors.New("duplicate sequence, older than the remembered batches")
	// ErrInvalidProducerEpoch says that a newer producer of the same id has written
	// to this partition (Kafka: 47).
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
)

// Verdict is what to do with a batch that is not refused.
type Verdict uint8

const (
	// Append says that the batch is new and follows the last one.
	Append Verdict = iota
	// Duplicate says that the batch is stored; answer with the original's offset.
	Duplicate
)

// Check judges a batch by what is remembered of its producer on this partition; e
// is nil where nothing is. recentlyIssued says that this cluster issued the id after
// the partition was made and less than the expiration ago, so that an unknown
// producer has provably stored nothing here; it matters for nothing else.
//
// Check changes nothing. What it rules, first match wins:
//
//	unknown, sequence 0                               append
//	unknown, other sequence, transactional            45
//	unknown, other sequence, recently issued          45: an earlier batch is missing
//	unknown, other sequence                           append: its state was forgotten
//	lower epoch                                       47, exact retries included
//	higher epoch, sequence 0                          append
//	higher epoch, other sequence                      45
//	same range as a remembered batch                  duplicate of it
//	follows the last batch                            append
//	no batch remembered, only the epoch: sequence 0   append
//	wholly in the run before the remembered batches   46
//	anything else: gap, overlap, other count          45
func Check(e *Entry, in Incoming, recentlyIssued bool) (Verdict, Stored, error) {
	if in.Epoch < 0 {
		return Append, Stored{}, fmt.Errorf("%w: got %d, want at least 0", ErrInvalidProducerEpoch, in.Epoch)
	}
	if in.BaseSequence < 0 || in.LastSequence < 0 {
		return Append, Stored{}, fmt.Errorf("%w: got sequences %d to %d, want at least 0", ErrOutOfOrderSequence, in.BaseSequence, in.LastSequence)
	}
	if e == nil {
		return checkUnknown(in, recentlyIssued)
	}
	switch {
	case in.Epoch < e.Epoch:
		return Append, Stored{}, fmt.Errorf("%w: got %d, current is %d", ErrInvalidProducerEpoch, in.Epoch, e.Epoch)
	case in.Epoch > e.Epoch && in.BaseSequence != 0:
		return Append, Stored{}, fmt.Errorf("%w: got sequence %d at the start of epoch %d, want 0", ErrOutOfOrderSequence, in.BaseSequence, in.Epoch)
	case in.Epoch > e.Epoch:
		return Append, Stored{}, nil
	}
	return checkSequence(e, in)
}

func checkUnknown(in Incoming, recentlyIssued bool) (Verdict, Stored, error) {
	if in.BaseSequence != 0 && (in.Transactional || recentlyIssued) {
		return Append, Stored{}, fmt.Errorf("%w: got sequence %d of a producer that has stored nothing here, want 0", ErrOutOfOrderSequence, in.BaseSequence)
	}
	return Append, Stored{}, nil
}

func checkSequence(e *Entry, in Incoming) (Verdict, Stored, error) {
	for _, s := range e.Window() {
		if s.BaseSequence == in.BaseSequence && s.LastSequence == in.LastSequence {
			return Duplicate, s, nil
		}
	}
	want := int32(0)
	if last, ok := e.Last(); ok {
		want = follows(last.LastSequence)
	}
	if in.BaseSequence == want {
		return Append, Stored{}, nil
	}
	if e.Count > 0 && e.provenStored(in) {
		return Append, Stored{}, fmt.Errorf("%w: got sequences %d to %d, remembered from %d", ErrDuplicateSequence, in.BaseSequence, in.LastSequence, e.Batches[0].BaseSequence)
	}
	return Append, Stored{}, fmt.Errorf("%w: got sequence %d, want %d", ErrOutOfOrderSequence, in.BaseSequence, want)
}

// provenStored says whether the batch lies wholly in the run before the window.
func (e *Entry) provenStored(in Incoming) bool {
	behind := distance(in.BaseSequence, e.Batches[0].BaseSequence)
	return behind >= 1 && behind <= int64(e.RunLength) && sequencesOf(in.BaseSequence, in.LastSequence) <= behind
}
