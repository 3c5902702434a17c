package group

import (
	"container/heap"
	"time"
)

// timer is one deadline. Pushing it later, what every heartbeat does, only writes due; its place in the heap is put right when the old
// moment comes. So a heartbeat costs O(1), and the first moment in the heap may be early but is never late.
type timer struct {
	due    time.Time // when it really is due; never before at
	at     time.Time // its place in the heap
	index  int       // in the heap; negative: not set
	member *classicMember
	kind   timerKind
}

type timerKind uint8

const (
	timerMember  timerKind = iota // the session of a member, or of one that has an id and has not joined with it
	timerInitial                  // the delay of a first rebalance
	timerJoin                     // the rebalance timeout
	timerSync                     // members that joined have to sync until then
)

type classicTimers []*timer

func (h classicTimers) Len() int           { return len(h) }
func (h classicTimers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h classicTimers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *classicTimers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is for container/heap.
func (h *classicTimers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

func (h *classicTimers) set(t *timer, due time.Time) {
	switch {
	case t.index < 0:
		t.due, t.at = due, due
		heap.Push(h, t)
	case due.Before(t.at):
		t.due, t.at = due, due
		heap.Fix(h, t.index)
	default:
		t.due = due
	}
}

func (h *classicTimers) cancel(t *timer) {
	if t.index >= 0 {
		heap.Remove(h, t.index)
	}
}

// pop takes out the timer that is due first, if one is due at now.
func (h *classicTimers) pop(now time.Time) *timer {
	for len(*h) > 0 && !(*h)[0].at.After(now) {
		t := (*h)[0]
		if t.due.After(t.at) {
			t.at = t.due
			heap.Fix(h, 0)
			continue
		}
		heap.Pop(h)
		return t
	}
	return nil
}

// next is the first moment in the heap; it may be early.
func (h classicTimers) next() (time.Time, bool) {
	if len(h) == 0 {
		return time.Time{}, false
	}
	return h[0].at, true
}
