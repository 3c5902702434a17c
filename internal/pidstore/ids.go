package pidstore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"ottla/internal/metrics"
)

const (
	// IDBlockCount is how many producer ids one durable reservation covers.
	IDBlockCount = 100_000
	// raiseSpanCount bounds how far above the ids of this cluster a foreign id may
	// lie and still move them: further away it will not be met in years.
	raiseSpanCount = 10 * IDBlockCount
	// IssueMarksMax bounds how many issue marks are kept.
	IssueMarksMax = 64
	// skippedMax bounds how many ranges of skipped ids are remembered.
	skippedMax = 64
)

// ErrIDsReserved says that the block store answered with ids that were reserved before.
var ErrIDsReserved = errors.New("producer ids reserved twice")

// BlockStore keeps which producer ids may have been issued.
type BlockStore interface {
	// ReserveProducerIDs reserves count ids, none below atLeast, none ever reserved
	// before, and remembers the age. It is durable when it returns.
	ReserveProducerIDs(atLeast int64, count int64, age uint32) (start, end int64, err error)
	// IssueMarks returns what is known of when ids were issued, ascending.
	IssueMarks() []IssueMark
}

// IssueMark says that every id at or above PID was issued at Age or later.
type IssueMark struct {
	PID int64
	Age uint32
}

// AddMark adds a mark and keeps at most IssueMarksMax, dropping the one whose loss
// costs the least precision. Without a mark the one before it still holds.
func AddMark(marks []IssueMark, m IssueMark) []IssueMark {
	if n := len(marks); n > 0 && (marks[n-1].Age >= m.Age || marks[n-1].PID >= m.PID) {
		return marks
	}
	marks = append(marks, m)
	if len(marks) <= IssueMarksMax {
		return marks
	}
	drop, least := 1, uint32(0)
	for i := 1; i < len(marks)-1; i++ {
		if gap := marks[i+1].Age - marks[i-1].Age; i == 1 || gap < least {
			drop, least = i, gap
		}
	}
	return slices.Delete(marks, drop, drop+1)
}

// idRange is [start, end).
type idRange struct{ start, end int64 }

func (r idRange) contains(pid int64) bool { return pid >= r.start && pid < r.end }

// IDs issues producer ids.
//
// The end of a block is durable before the first id of the block is issued, and a
// new process starts with a new block; so no id is issued twice whatever crashes.
// The next block is reserved in the background when half of the current one is
// used. A foreign id that we would issue later is skipped.
type IDs struct {
	blocks  BlockStore
	metrics *metrics.Producers
	first   int64
	issued  atomic.Int64 // no id at or above it was issued
	limit   atomic.Int64 // end of the last reserved block
	age     atomic.Uint32

	reserving sync.Mutex // one reservation at a time; held across its I/O
	fills     sync.WaitGroup

	mu struct {
		sync.Mutex
		current, spare idRange // current.start is the next id
		filled         chan struct{}
		fillErr        error
		marks          []IssueMark
		skipped        []idRange // in [first, issued), not issued by us
	}
}

// NewIDs reserves the first block.
func NewIDs(b BlockStore, m *metrics.Producers) (*IDs, error) {
	ids := &IDs{blocks: b, metrics: m}
	marks := slices.Clone(b.IssueMarks())
	for _, mark := range marks {
		ids.age.Store(max(ids.age.Load(), mark.Age))
	}
	age := ids.age.Load()
	start, end, err := b.ReserveProducerIDs(0, IDBlockCount, age)
	if err != nil {
		return nil, fmt.Errorf("reserve producer ids: %w", err)
	}
	if start < 0 || end <= start {
		return nil, fmt.Errorf("%w: got [%d, %d)", ErrIDsReserved, start, end)
	}
	ids.first = start
	if len(marks) > 0 {
		ids.first = min(start, marks[0].PID)
	}
	ids.mu.current = idRange{start, end}
	ids.mu.marks = AddMark(marks, IssueMark{start, age})
	ids.issued.Store(start)
	ids.limit.Store(end)
	return ids, nil
}

// Close waits for a reservation that is under way.
func (ids *IDs) Close() { ids.fills.Wait() }

// First returns an id below which this run knows of no id of ours.
func (ids *IDs) First() int64 { return ids.first }

// Limit returns the end of the ids that this cluster may have issued.
func (ids *IDs) Limit() int64 { return ids.limit.Load() }

// Issued returns the id that is issued next: whatever is created now, only ids at
// or above it can have been issued after.
func (ids *IDs) Issued() int64 { return ids.issued.Load() }

// raiseAge tells the broker age at which ids are issued from now on.
func (ids *IDs) raiseAge(age uint32) { ids.age.Store(max(ids.age.Load(), age)) }

// Next issues an id. It waits for the disk only when a whole block was issued
// while the next one was being reserved.
func (ids *IDs) Next() (int64, error) {
	for {
		ids.mu.Lock()
		if pid, ok := ids.nextLocked(); ok {
			ids.mu.Unlock()
			return pid, nil
		}
		filled := ids.fillLocked()
		ids.mu.Unlock()
		<-filled
		ids.mu.Lock()
		err := ids.mu.fillErr
		ids.mu.Unlock()
		if err != nil {
			return -1, err
		}
	}
}

// TryNext issues an id if there is one without waiting.
func (ids *IDs) TryNext() (pid int64, ok bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	return ids.nextLocked()
}

func (ids *IDs) nextLocked() (pid int64, ok bool) {
	if ids.mu.current.start == ids.mu.current.end {
		ids.mu.current, ids.mu.spare = ids.mu.spare, idRange{}
	}
	if ids.mu.current.start == ids.mu.current.end {
		return -1, false
	}
	pid = ids.mu.current.start
	ids.advanceLocked(pid + 1)
	ids.metrics.IDsIssued.Inc()
	return pid, true
}

// advanceLocked moves to the next id within the current block.
func (ids *IDs) advanceLocked(next int64) {
	ids.mu.current.start = next
	ids.issued.Store(next)
	if ids.mu.current.end-next <= IDBlockCount/2 && ids.mu.spare == (idRange{}) {
		ids.fillLocked()
	}
}

// fillLocked reserves the spare block in the background, if nobody does, and
// returns a channel that closes when that has ended.
func (ids *IDs) fillLocked() chan struct{} {
	if ids.mu.filled != nil {
		return ids.mu.filled
	}
	filled := make(chan struct{})
	ids.mu.filled, ids.mu.fillErr = filled, nil
	ids.fills.Go(func() {
		err := ids.reserve(ids.limit.Load, func(r idRange) { ids.mu.spare = r })
		ids.mu.Lock()
		defer ids.mu.Unlock()
		ids.mu.filled, ids.mu.fillErr = nil, err
		close(filled)
	})
	return filled
}

// reserve makes a block durable and hands it to use, under mu.
func (ids *IDs) reserve(atLeast func() int64, use func(idRange)) error {
	ids.reserving.Lock()
	defer ids.reserving.Unlock()
	age, least := ids.age.Load(), max(atLeast(), ids.limit.Load())
	start, end, err := ids.blocks.ReserveProducerIDs(least, IDBlockCount, age)
	if err != nil {
		return fmt.Errorf("reserve producer ids: %w", err)
	}
	if start < least || end <= start {
		return fmt.Errorf("%w: got [%d, %d), want at least %d", ErrIDsReserved, start, end, least)
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.mu.marks = AddMark(ids.mu.marks, IssueMark{start, age})
	use(idRange{start, end})
	ids.limit.Store(end)
	return nil
}

// Raise makes sure that an id which somebody uses is never issued from now on. It
// does nothing for ids that were issued, and for those too far above ours to matter.
func (ids *IDs) Raise(pid int64) error {
	if ids.raiseInMemory(pid) {
		return nil
	}
	return ids.reserve(func() int64 { return pid + 1 }, func(r idRange) {
		ids.skipLocked(idRange{ids.issued.Load(), r.start})
		ids.mu.current, ids.mu.spare = r, idRange{}
		ids.issued.Store(r.start)
	})
}

// raiseInMemory handles what needs no new block; false: the id is above all blocks.
func (ids *IDs) raiseInMemory(pid int64) bool {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	next := ids.issued.Load()
	switch {
	case pid < next:
		return true
	case ids.mu.current.contains(pid):
	case ids.mu.spare.contains(pid):
		ids.mu.current, ids.mu.spare = ids.mu.spare, idRange{}
	default:
		// Between our blocks, or too far above: it will not be issued.
		limit := ids.limit.Load()
		return pid < limit || pid >= limit+raiseSpanCount
	}
	ids.skipLocked(idRange{next, pid + 1})
	ids.advanceLocked(pid + 1)
	return true
}

func (ids *IDs) skipLocked(r idRange) {
	if n := len(ids.mu.skipped); n > 0 && ids.mu.skipped[n-1].end == r.start {
		ids.mu.skipped[n-1].end = r.end
		return
	}
	if len(ids.mu.skipped) == skippedMax {
		ids.mu.skipped = slices.Delete(ids.mu.skipped, 0, 1)
	}
	ids.mu.skipped = append(ids.mu.skipped, r)
}

// RecentlyIssued says whether the id was provably issued by this cluster after the
// id createdPID and less than the expiration before age, so that a partition made
// at createdPID that does not know it has never stored anything of it.
func (ids *IDs) RecentlyIssued(pid, createdPID int64, age, expirationSeconds uint32) bool {
	if pid < createdPID || pid < ids.first || pid >= ids.issued.Load() {
		return false
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	for _, r := range ids.mu.skipped {
		if r.contains(pid) {
			return false
		}
	}
	oldest := int64(age) - int64(expirationSeconds)
	for _, m := range ids.mu.marks {
		if int64(m.Age) > oldest {
			return pid >= m.PID
		}
	}
	return false
}
