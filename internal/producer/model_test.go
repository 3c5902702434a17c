package producer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// history is the reference: every batch that was ever appended, and nothing clever.
// It shares no code with the product.
type history struct {
	all []acked
}

type acked struct {
	epoch      int
	base, size int64 // base as the client sent it, modulo 2^31
	position   int64 // count of sequences of the epoch before it, never reduced
	offset     int64
}

const circle = int64(1) << 31

// judge returns "append", "duplicate <offset>", "45", "46" or "47".
func (h *history) judge(epoch int, base, size int64, recent, tx bool) string {
	if len(h.all) == 0 {
		if base != 0 && (recent || tx) {
			return "45"
		}
		return "append"
	}
	last := h.all[len(h.all)-1]
	if epoch < last.epoch {
		return "47"
	}
	if epoch > last.epoch {
		if base == 0 {
			return "append"
		}
		return "45"
	}
	var mine []acked
	for _, a := range h.all {
		if a.epoch == epoch {
			mine = append(mine, a)
		}
	}
	window := mine
	if len(window) > 5 {
		window = window[len(window)-5:]
	}
	for _, a := range window {
		if a.base == base && a.size == size {
			return fmt.Sprint("duplicate ", a.offset)
		}
	}
	if (last.base+last.size)%circle == base {
		return "append"
	}
	// Was there a time, less than 2^30 sequences before the window, at which exactly
	// these sequences were stored? Walk through every stored batch before the window.
	oldest := window[0].position
	for _, a := range mine[:len(mine)-len(window)] {
		for lap := int64(0); lap <= 1; lap++ {
			start := a.position + (base-a.base+circle)%circle - lap*circle
			inRun := start >= mine[0].position && start+size <= oldest
			if start >= a.position && start < a.position+a.size && inRun && oldest-start <= 1<<30 {
				return "46"
			}
		}
	}
	return "45"
}

func (h *history) append(epoch int, base, size, offset int64) {
	position := int64(0)
	if n := len(h.all); n > 0 && h.all[n-1].epoch == epoch {
		position = h.all[n-1].position + h.all[n-1].size
	}
	h.all = append(h.all, acked{epoch, base, size, position, offset})
}

// attempt is one random batch, near something interesting.
func attempt(r *rand.Rand, h *history, sizeMax int64) (epoch int, base, size int64) {
	size = 1 + r.Int64N(sizeMax)
	if len(h.all) == 0 {
		return r.IntN(3), []int64{0, 0, r.Int64N(circle), circle - 1 - r.Int64N(20)}[r.IntN(4)], size
	}
	last := h.all[len(h.all)-1]
	epoch = last.epoch
	next := (last.base + last.size) % circle
	switch r.IntN(12) {
	case 0:
		return epoch + 1, []int64{0, 0, next}[r.IntN(3)], size
	case 1:
		return max(0, epoch-1), next, size
	case 2, 3: // a retry, however old
		a := h.all[r.IntN(len(h.all))]
		return a.epoch, a.base, a.size
	case 4: // a recent retry
		a := h.all[max(0, len(h.all)-1-r.IntN(7))]
		return a.epoch, a.base, a.size
	case 5: // almost a retry
		a := h.all[max(0, len(h.all)-1-r.IntN(9))]
		return a.epoch, (a.base + r.Int64N(3) - 1 + circle) % circle, max(1, a.size+r.Int64N(3)-1)
	case 6:
		return epoch, (next + r.Int64N(sizeMax*12) - sizeMax*6 + 4*circle) % circle, size
	case 7:
		return epoch, r.Int64N(circle), size
	}
	return epoch, next, size
}

// play runs one random history through the entry and the reference.
func play(seed uint64, steps int) error {
	r := rand.New(rand.NewPCG(seed, 1))
	sizeMax := []int64{1, 4, 100, 1 << 20, 1 << 29, 1 << 30}[r.IntN(6)]
	var h history
	var e *Entry
	offset := r.Int64N(1 << 40)
	for step := range steps {
		epoch, base, size := attempt(r, &h, sizeMax)
		recent, tx := r.IntN(8) == 0, r.IntN(8) == 0
		in, s := write(int16(epoch), int32(base), 1, offset)
		in.LastSequence = int32((base + size - 1) % circle)
		in.Transactional = tx
		s.LastSequence, s.LastOffset = in.LastSequence, offset+size-1
		got := describe(Check(e, in, recent))
		if want := h.judge(epoch, base, size, recent, tx); got != want {
			return fmt.Errorf("seed %d step %d: epoch %d base %d size %d: got %s, want %s; entry %+v", seed, step, epoch, base, size, got, want, e)
		}
		if got != "append" {
			continue
		}
		if e == nil {
			e = new(Entry)
		}
		e.Apply(in, s, uint32(step))
		h.append(epoch, base, size, offset)
		offset += size + r.Int64N(3)
		if err := roundTrip(e); err != nil {
			return fmt.Errorf("seed %d step %d: %w", seed, step, err)
		}
	}
	return nil
}

func describe(v Verdict, s Stored, err error) string {
	switch {
	case errors.Is(err, ErrOutOfOrderSequence):
		return "45"
	case errors.Is(err, ErrDuplicateSequence):
		return "46"
	case errors.Is(err, ErrInvalidProducerEpoch):
		return "47"
	case err != nil:
		return err.Error()
	case v == Duplicate:
		return fmt.Sprint("duplicate ", s.BaseOffset)
	}
	return "append"
}

func TestAgainstHistory(t *testing.T) {
	for seed := range uint64(3000) {
		if err := play(seed, 120); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistoryNotices is the canary: a product that forgets one batch of the window
// must be told from one that does not.
func TestHistoryNotices(t *testing.T) {
	var h history
	e := &Entry{}
	for i := range int64(6) {
		in, s := write(0, int32(i*10), 10, i*10)
		e.Apply(in, s, 0)
		h.append(0, i*10, 10, i*10)
	}
	e.Truncate(50)
	in, _ := write(0, 50, 10, 0)
	if got, want := describe(Check(e, in, false)), h.judge(0, 50, 10, false, false); got == want {
		t.Fatalf("a lost batch went unnoticed: both say %s", got)
	}
}

// TestRefold: whatever part of a log is folded again, once or twice, on an entry
// that already knows all of it, the entry is the same.
func TestRefold(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		var log []Stored
		var epochs []int16
		e, epoch, seq, offset := Entry{}, int16(0), int64(r.Int64N(circle)), int64(0)
		for range 1 + r.IntN(25) {
			if r.IntN(10) == 0 {
				epoch, seq = epoch+1, 0
			}
			n := 1 + r.Int64N(50)
			in, s := write(epoch, int32(seq), int32(n), offset)
			e.Apply(in, s, 0)
			log, epochs = append(log, s), append(epochs, epoch)
			seq, offset = (seq+n)%circle, offset+n
		}
		again := e
		from := r.IntN(len(log))
		for range 1 + r.IntN(2) {
			for i := from; i < len(log); i++ {
				again.Refold(Incoming{Epoch: epochs[i], BaseSequence: log[i].BaseSequence, LastSequence: log[i].LastSequence}, log[i], 0)
			}
		}
		if again != e {
			t.Fatalf("seed %d from %d: got %+v, want %+v", seed, from, again, e)
		}
	}
}
