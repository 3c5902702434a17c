package autopsy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"ottla/internal/investigate/evidence"
)

// The format of a producer snapshot, the same from Kafka 0.11 to 4.3 (ProducerStateManager, ProducerSnapshot.json): version,
// checksum of all that follows it, number of entries, entries.
const (
	snapshotVersion   = 1
	snapshotHeader    = 10
	snapshotEntry     = 46
	snapshotCRCFrom   = 6
	snapshotBufferLen = 1 << 10 // entries read at a time
)

// futureSlack is how far a timestamp may lie after the file's own time before it counts as in the future, in ms.
const futureSlack = int64(time.Hour / time.Millisecond)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNoSnapshot says that bytes are not a producer snapshot at all.
var errNoSnapshot = errors.New("not a producer snapshot of version 1")

// snapshotEntries is the number of entries that a snapshot of so many bytes has, without opening it. ok is false if no
// snapshot has that size.
func snapshotEntries(size int64) (entries int64, ok bool) {
	if size < snapshotHeader || (size-snapshotHeader)%snapshotEntry != 0 {
		return 0, false
	}
	return (size - snapshotHeader) / snapshotEntry, true
}

// readSnapshot sums up a snapshot in a stream. now is the time that futures are measured against, ms since 1970; once, if not nil,
// is told of producers that wrote one batch. With an error that is not errNoSnapshot, what was read up to it is returned too.
func readSnapshot(r io.Reader, now int64, once *distinct) (*Producers, error) {
	var head [snapshotHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, errNoSnapshot
	}
	if v := binary.BigEndian.Uint16(head[:]); v != snapshotVersion {
		return nil, fmt.Errorf("version %d: %w", v, errNoSnapshot)
	}
	count := int64(int32(binary.BigEndian.Uint32(head[6:])))
	if count < 0 {
		return nil, fmt.Errorf("%d entries: %w", count, errNoSnapshot)
	}
	sum := crc32.Update(0, castagnoli, head[snapshotCRCFrom:])
	p := newTally(now)
	p.once = once
	buf := make([]byte, snapshotBufferLen*snapshotEntry)
	for left := count; left > 0; {
		n := min(left, snapshotBufferLen)
		got, err := io.ReadFull(r, buf[:n*snapshotEntry])
		whole := got - got%snapshotEntry
		sum = crc32.Update(sum, castagnoli, buf[:whole])
		for b := buf[:whole]; len(b) > 0; b = b[snapshotEntry:] {
			p.add(decodeSnapshotEntry(b))
		}
		if err != nil {
			return p.done(), fmt.Errorf("cut: %d of %d entries", p.Entries, count)
		}
		left -= n
	}
	if stored := binary.BigEndian.Uint32(head[2:]); stored != sum {
		return p.done(), fmt.Errorf("damaged: stored checksum %08x, computed %08x", stored, sum)
	}
	if n, _ := r.Read(buf[:1]); n > 0 {
		return p.done(), errors.New("damaged: bytes after the last entry")
	}
	return p.done(), nil
}

// entry is what a producer snapshot, or an object of a heap dump, says of one producer.
type entry struct {
	pid              int64
	epoch            int16
	lastSequence     int32
	lastOffset       int64
	offsetDelta      int32
	timestamp        int64
	coordinatorEpoch int32
	txnFirstOffset   int64
}

func decodeSnapshotEntry(b []byte) entry {
	_ = b[snapshotEntry-1]
	return entry{
		pid:              int64(binary.BigEndian.Uint64(b)),
		epoch:            int16(binary.BigEndian.Uint16(b[8:])),
		lastSequence:     int32(binary.BigEndian.Uint32(b[10:])),
		lastOffset:       int64(binary.BigEndian.Uint64(b[14:])),
		offsetDelta:      int32(binary.BigEndian.Uint32(b[22:])),
		timestamp:        int64(binary.BigEndian.Uint64(b[26:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(b[34:])),
		txnFirstOffset:   int64(binary.BigEndian.Uint64(b[38:])),
	}
}

// tally sums up entries. Ages can only be told at the end, when the latest timestamp is known: until then they are counted
// in slots of agesSlot, newest last, relative to now.
type tally struct {
	Producers
	now   int64
	slots map[int64]int64
	once  *distinct
}

const (
	// agesSlot is the resolution of ages, ms.
	agesSlot = int64(10 * time.Second / time.Millisecond)
	// agesSlotsMax bounds the slots of one tally; what is older falls into the oldest class.
	agesSlotsMax = 1 << 16
)

func newTally(now int64) *tally {
	return &tally{now: now, slots: map[int64]int64{}}
}

func (t *tally) add(e entry) {
	t.Entries++
	if t.Entries == 1 {
		t.PIDMin, t.PIDMax = e.pid, e.pid
	}
	t.PIDMin, t.PIDMax = min(t.PIDMin, e.pid), max(t.PIDMax, e.pid)
	if e.epoch <= 0 {
		t.EpochZero++
		if e.lastOffset >= 0 && e.lastSequence == e.offsetDelta {
			t.OneBatch++
			t.once.add(e.pid)
		}
	}
	if e.lastOffset >= 0 && e.lastSequence == 0 {
		t.SequenceZero++
	}
	if e.coordinatorEpoch >= 0 || e.txnFirstOffset >= 0 {
		t.Transactional++
	}
	if e.txnFirstOffset >= 0 {
		t.OpenTxn++
	}
	t.addTime(e.timestamp)
}

func (t *tally) addTime(ms int64) {
	if ms < 0 {
		return
	}
	if t.now > 0 && ms > t.now+futureSlack {
		t.Future++
		t.FutureMax = max(t.FutureMax, ms)
		return
	}
	if t.TimeMin == 0 || ms < t.TimeMin {
		t.TimeMin = ms
	}
	t.TimeMax = max(t.TimeMax, ms)
	slot := ms / agesSlot
	if _, seen := t.slots[slot]; !seen && len(t.slots) >= agesSlotsMax {
		slot = 0
	}
	t.slots[slot]++
}

func (t *tally) done() *Producers {
	for slot, n := range t.slots {
		age := max(0, time.Duration(t.TimeMax/agesSlot-slot)*time.Duration(agesSlot)*time.Millisecond)
		class := len(evidence.AgeLimits)
		for i, limit := range evidence.AgeLimits {
			if age < limit {
				class = i
				break
			}
		}
		t.Ages[class] += n
	}
	out := t.Producers
	return &out
}

// distinct counts different producer ids: exactly up to producersTracked, beyond by following one in two (four, eight...) of
// them. The nil distinct counts nothing.
type distinct struct {
	seen map[int64]struct{}
	mask uint64
}

func (d *distinct) add(pid int64) {
	if d == nil || hash(pid)&d.mask != 0 {
		return
	}
	if d.seen == nil {
		d.seen = map[int64]struct{}{}
	}
	d.seen[pid] = struct{}{}
	for len(d.seen) > producersTracked {
		d.mask = d.mask<<1 | 1
		for pid := range d.seen {
			if hash(pid)&d.mask != 0 {
				delete(d.seen, pid)
			}
		}
	}
}

// addSampled adds an id from a source that itself followed only ids whose hash has none of the bits of mask.
func (d *distinct) addSampled(pid int64, mask uint64) {
	if mask > d.mask {
		d.mask = mask
		for old := range d.seen {
			if hash(old)&mask != 0 {
				delete(d.seen, old)
			}
		}
	}
	d.add(pid)
}

func (d *distinct) count() int64 { return int64(len(d.seen)) * int64(d.mask+1) }
