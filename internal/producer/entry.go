// Package producer is the state machine of one idempotent producer on one partition.
//
// It owns what is remembered of a (partition, producer id): the epoch, the last
// five batches and how far the sequences before them are known to be stored; the
// rules that judge a batch by it; and the bytes it is kept as. It is pure: no
// clock, no I/O, no goroutine, no lock. It must not know where entries live, how
// many there are, or when they are forgotten.
package producer

// WindowBatches is how many batches of a producer are remembered with their
// offsets: as many as a Kafka client may have in flight.
const WindowBatches = 5

// RunLengthMax bounds how far behind the window a batch is still called stored.
// Sequences are modulo 2^31: half of the circle is behind, half is ahead.
const RunLengthMax = 1 << 30

// sequenceMask reduces a sequence modulo 2^31.
const sequenceMask = 1<<31 - 1

// Stored is one batch that is in the log.
type Stored struct {
	BaseSequence, LastSequence int32 // LastSequence < BaseSequence where the batch straddles the wrap
	BaseOffset, LastOffset     int64
	Timestamp                  int64 // the batch's maximum timestamp, or its log append time; never judged by
}

// sequences returns how many sequences the batch covers, 1 .. 2^31.
func (s Stored) sequences() int64 { return sequencesOf(s.BaseSequence, s.LastSequence) }

// Incoming is what a batch says of its producer.
type Incoming struct {
	Epoch                      int16
	BaseSequence, LastSequence int32 // LastSequence is modulo 2^31
	Transactional              bool
}

// Entry is what is remembered of one producer on one partition. It is a value
// without pointers, so that millions of them cost the garbage collector nothing.
//
// Invariants:
//
//  1. All remembered batches have epoch Epoch; their offsets ascend.
//  2. The RunLength sequences that end just before Batches[0].BaseSequence were
//     stored in this epoch, without a hole; RunLength <= RunLengthMax.
//  3. Without batches (Count == 0) RunLength is 0: only the epoch is known.
type Entry struct {
	Epoch     int16
	Count     uint8  // remembered batches
	RunLength uint32 // stored sequences immediately before Batches[0], saturating
	LastSeen  uint32 // broker age, in seconds, of the last write
	Batches   [WindowBatches]Stored
}

// Window returns the remembered batches, oldest first. It aliases the entry.
func (e *Entry) Window() []Stored { return e.Batches[:e.Count] }

// Last returns the newest remembered batch.
func (e *Entry) Last() (Stored, bool) {
	if e.Count == 0 {
		return Stored{}, false
	}
	return e.Batches[e.Count-1], true
}

// Apply remembers a batch that is in the log. The log decides: another epoch than
// the entry's, higher or lower, starts over, and a batch that does not follow the
// last one ends the run; so the fold of a log is the same whoever judged it.
func (e *Entry) Apply(in Incoming, s Stored, age uint32) {
	if in.Epoch != e.Epoch {
		*e = Entry{Epoch: in.Epoch}
	}
	if e.Count == WindowBatches {
		e.forgetOldest()
	}
	e.Batches[e.Count] = s
	e.Count++
	e.LastSeen = age
}

func (e *Entry) forgetOldest() {
	oldest := e.Batches[0]
	copy(e.Batches[:], e.Batches[1:e.Count])
	e.Count--
	e.Batches[e.Count] = Stored{}
	if e.Count > 0 && e.Batches[0].BaseSequence != follows(oldest.LastSequence) {
		e.RunLength = 0
		return
	}
	e.RunLength = uint32(min(int64(e.RunLength)+oldest.sequences(), RunLengthMax))
}

// Refold is Apply for a log that is read again: the entry may already know this
// batch and later ones, because entries may reach the disk before the checkpoint
// from which the log is replayed. It forgets them first, so that folding a log's
// tail twice is the same as folding it once.
func (e *Entry) Refold(in Incoming, s Stored, age uint32) {
	if e.Count > 0 && e.Batches[e.Count-1].LastOffset >= s.BaseOffset {
		first, run := e.Batches[0].BaseSequence, int64(e.RunLength)
		e.Truncate(s.BaseOffset)
		if e.Count == 0 && in.Epoch == e.Epoch {
			// Of the run before the old window, what precedes this batch stays proven.
			behind := distance(s.BaseSequence, first)
			if behind <= run {
				e.RunLength = uint32(run - behind)
			}
		}
	}
	e.Apply(in, s, age)
}

// Truncate forgets the batches that end at offset end or later: they are not, or
// not yet, in the log.
func (e *Entry) Truncate(end int64) {
	for e.Count > 0 && e.Batches[e.Count-1].LastOffset >= end {
		e.Count--
		e.Batches[e.Count] = Stored{}
	}
	if e.Count == 0 {
		e.RunLength = 0
	}
}

// follows returns the sequence after s.
func follows(s int32) int32 { return int32((int64(s) + 1) & sequenceMask) }

// distance returns how many steps lead from one sequence up to another, modulo 2^31.
func distance(from, to int32) int64 { return (int64(to) - int64(from)) & sequenceMask }

// sequencesOf returns how many sequences [base, last] covers, 1 .. 2^31.
func sequencesOf(base, last int32) int64 { return distance(base, last) + 1 }
