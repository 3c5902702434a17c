package group

import "cmp"

// balanceRoundsMax is how often balance goes over all topics at most. One round is enough when the subscribers of a topic subscribe
// to the same topics; overlapping subscriptions need more, and each round about halves what is left (Kafka's limit too).
const balanceRoundsMax = 16

// balance moves partitions until in no topic a subscriber that has one of its partitions is more than one partition ahead of another
// subscriber, or the rounds are used up (UniformHeterogeneousAssignmentBuilder.balanceTopics).
func (u *uniform) balance() {
	order := u.topicsByWeight()
	for range balanceRoundsMax {
		moved := 0
		for _, i := range order {
			if len(u.subscribers[i]) > 1 {
				moved += u.balanceTopic(i)
			}
		}
		if moved == 0 {
			return
		}
	}
}

// balanceTopic moves partitions of one topic from the most to the least loaded of its subscribers, and says how many.
//
// A member's load changes while it sits in both heaps, and only the heap that moved it is kept in order. That does no harm: a member
// that was given a partition was the least loaded, so until the end it is at most one above the least, and never one to take from;
// and the other way round for one that gave.
func (u *uniform) balanceTopic(topic int) (moved int) {
	having := make(map[int32][]int32) // partitions of this topic, by owner
	for p, owner := range u.owners[topic] {
		having[owner] = append(having[owner], int32(p))
	}
	least, most := u.leastLoaded(topic), u.mostLoaded(topic, having)
	for len(most.items) > 0 {
		from, to := most.items[0], least.items[0]
		if u.loads[from]-u.loads[to] <= 1 {
			return moved
		}
		parts := having[from]
		u.give(topic, parts[len(parts)-1], to)
		having[from] = parts[:len(parts)-1]
		moved++
		least.down(0)
		if len(having[from]) == 0 {
			most.pop()
		} else {
			most.down(0)
		}
	}
	return moved
}

// loadHeap is a heap of members by load.
type loadHeap struct {
	items []int32
	first func(a, b int32) int
}

func (u *uniform) leastLoaded(topic int) *loadHeap {
	h := &loadHeap{first: func(a, b int32) int { return cmp.Or(cmp.Compare(u.loads[a], u.loads[b]), cmp.Compare(a, b)) }}
	h.items = append(h.items, u.subscribers[topic]...)
	h.build()
	return h
}

func (u *uniform) mostLoaded(topic int, having map[int32][]int32) *loadHeap {
	h := &loadHeap{first: func(a, b int32) int { return cmp.Or(cmp.Compare(u.loads[b], u.loads[a]), cmp.Compare(b, a)) }}
	for _, m := range u.subscribers[topic] {
		if len(having[m]) > 0 {
			h.items = append(h.items, m)
		}
	}
	h.build()
	return h
}

func (h *loadHeap) build() {
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *loadHeap) pop() {
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items = h.items[:last]
	if last > 0 {
		h.down(0)
	}
}

// down puts the member at i in its place after its load has changed so that it belongs further down.
func (h *loadHeap) down(i int) {
	for {
		top := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			if h.first(h.items[child], h.items[top]) < 0 {
				top = child
			}
		}
		if top == i {
			return
		}
		h.items[i], h.items[top] = h.items[top], h.items[i]
		i = top
	}
}
