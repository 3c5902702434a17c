package catalog

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"

	"ottla/internal/pidstore"
)

const (
	// A new cluster starts somewhere in [2^32, 2^48), so that ids of other clusters meet no entry of ours.
	firstPIDMin, firstPIDMax = 1 << 32, 1 << 48
	// Every process leaves a distance before the first producer id and the first internal number that it gives out: if
	// the catalog is put back to an older copy, what was given out after that copy and may be in logs and stores is not
	// given out again. The least distance is certain to pass what the process that was copied went on to give out; the
	// random rest passes, very likely, what processes started after the copy did.
	jumpMin, jumpMax = 2_000_000_000, 1 << 32

	pidRound   = 1000
	pidJumpEnd = math.MaxInt64 / 2 // ids are not to be used up by jumping
)

var _ pidstore.BlockStore = (*Catalog)(nil)

// ReserveProducerIDs implements pidstore.BlockStore: no two calls in the life of a data directory return the same id.
func (c *Catalog) ReserveProducerIDs(atLeast, count int64, age uint32) (start, end int64, err error) {
	if count <= 0 {
		return 0, 0, Refuse(ErrInvalidRequest, "cannot reserve %d producer ids", count)
	}
	err = c.committer.propose(func(t *tx) error {
		low := max(t.pidEnd, c.pidFloor)
		start = max(low, atLeast)
		if start > math.MaxInt64-count {
			return Refuse(ErrPolicyViolation, "no producer ids left above %d", start)
		}
		end = start + count
		t.add(change{kind: kindProducerBlock, pid: start, end: end, age: age})
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("producer ids: %w", err)
	}
	return start, end, nil
}

// setFloors leaves the distance.
func (c *Catalog) setFloors(s *state) {
	c.numFloor = s.nextNum
	if !c.fresh && s.nextNum < math.MaxInt64/2 {
		c.numFloor += uint64(jump())
	}
	switch c.pidFloor = s.pidEnd; {
	case s.pidEnd == 0:
		c.pidFloor = firstPIDMin + randomBelow(firstPIDMax-firstPIDMin)
	case s.pidEnd < pidJumpEnd:
		c.pidFloor += jump()
	}
}

// jump is the distance of one process, in [jumpMin, jumpMax).
func jump() int64 { return jumpMin + randomBelow(jumpMax-jumpMin) }

// randomBelow returns a multiple of pidRound in [0, n).
func randomBelow(n int64) int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:])%uint64(n/pidRound)) * pidRound
}

// IssueMarks implements pidstore.BlockStore.
func (c *Catalog) IssueMarks() []pidstore.IssueMark { return *c.marks.Load() }

func (c *Catalog) storeMarks(marks []pidstore.IssueMark) { c.marks.Store(&marks) }

// SetIssued tells how to learn the next producer id, so that a new partition knows exactly which ids are older than
// itself. Before, all reserved ids count as older.
func (c *Catalog) SetIssued(next func() int64) { c.issued.Store(&next) }

// createdPID is the watermark of partitions made now.
func (c *Catalog) createdPID(s *state) int64 {
	if f := c.issued.Load(); f != nil {
		return min((*f)(), s.pidEnd)
	}
	return s.pidEnd
}
