package node

import (
	"sync"

	"ottla/internal/catalog"
	"ottla/internal/partition"
)

// partitionIndex finds live partitions by their internal number. It is filled when it is asked, and again when it does not know an
// answer: a number is published in the catalog before anything is stored under it. Deleted partitions linger until then, and
// do no harm.
type partitionIndex struct {
	topics func() []*catalog.Topic
	mu     struct {
		sync.Mutex
		byNum map[uint64]*partition.Partition
	}
}

func (x *partitionIndex) find(num uint64) *partition.Partition {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.mu.byNum[num]; p != nil {
		return p
	}
	x.mu.byNum = map[uint64]*partition.Partition{}
	for _, t := range x.topics() {
		for _, p := range t.Partitions {
			x.mu.byNum[p.Num()] = p
		}
	}
	return x.mu.byNum[num]
}

// requestSync asks for an fsync of one partition's log.
func (x *partitionIndex) requestSync(num uint64) {
	if p := x.find(num); p != nil {
		p.RequestSync()
	}
}
