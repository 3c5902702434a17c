package sim

import "fmt"

// The reference model remembers everything that was acknowledged and decides by
// looking at all of it. It shares no code and no idea of a "window entry" with the
// product: slow, unbounded, obvious.

const (
	seqMod          = int64(1) << 31
	windowBatches   = 5
	provenBehindMax = int64(1) << 30
)

// Kafka's error codes, as numbers: the model must not depend on our table.
const (
	codeNone              = int16(0)
	codeOutOfRange        = int16(1)
	codeOutOfOrder        = int16(45)
	codeDuplicateSequence = int16(46)
	codeInvalidEpoch      = int16(47)
	codeStorage           = int16(56)
)

// modelBatch is one acknowledged batch.
type modelBatch struct {
	epoch      int16
	base, last int64 // sequences, 0 .. 2^31-1; last < base where the batch straddles the wrap
	offset     int64
	records    int64
}

// answer is what a broker must say to a batch: append it, or the code, and for a
// duplicate the original offset.
type answer struct {
	appended bool
	code     int16
	offset   int64
}

func (a answer) String() string {
	if a.appended {
		return "append"
	}
	return fmt.Sprintf("code %d offset %d", a.code, a.offset)
}

// model is the acknowledged history of one partition.
type model struct {
	batches map[int64][]modelBatch // by producer id, in order
	end     int64
}

func newModel() *model { return &model{batches: map[int64][]modelBatch{}} }

// recentlyIssued says that this cluster issued the id after the partition was made
// and less than the expiration ago: it provably stored nothing here if it is unknown.
func (m *model) expect(pid int64, epoch int16, base, records int64, recentlyIssued bool) answer {
	last := (base + records - 1) % seqMod
	history := m.batches[pid]
	if len(history) == 0 {
		if base != 0 && recentlyIssued {
			return answer{code: codeOutOfOrder, offset: -1}
		}
		return answer{appended: true}
	}
	current := history[len(history)-1].epoch
	switch {
	case epoch < current:
		return answer{code: codeInvalidEpoch, offset: -1}
	case epoch > current && base == 0:
		return answer{appended: true}
	case epoch > current:
		return answer{code: codeOutOfOrder, offset: -1}
	}
	var same []modelBatch
	for _, b := range history {
		if b.epoch == epoch {
			same = append(same, b)
		}
	}
	window := same[max(0, len(same)-windowBatches):]
	for _, b := range window {
		if b.base == base && b.last == last {
			return answer{offset: b.offset}
		}
	}
	if base == (same[len(same)-1].last+1)%seqMod {
		return answer{appended: true}
	}
	if provenStored(same[:len(same)-len(window)], window[0].base, base, last) {
		return answer{code: codeDuplicateSequence, offset: -1}
	}
	return answer{code: codeOutOfOrder, offset: -1}
}

// provenStored says whether [base, last] lies in what was stored before the window.
func provenStored(before []modelBatch, oldest, base, last int64) bool {
	run := int64(0)
	for _, b := range before {
		run += b.records
	}
	behindBase := (oldest - base + seqMod) % seqMod
	behindLast := (oldest - last + seqMod) % seqMod
	return behindLast >= 1 && behindLast <= behindBase && behindBase <= min(run, provenBehindMax)
}

func (m *model) acknowledge(pid int64, epoch int16, base, records, offset int64) {
	m.batches[pid] = append(m.batches[pid], modelBatch{
		epoch: epoch, base: base, last: (base + records - 1) % seqMod, offset: offset, records: records,
	})
	m.end = max(m.end, offset+records)
}
