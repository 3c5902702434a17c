package group

import (
	"cmp"
	"slices"
	"strings"
)

// The names of the server-side assignors (group.consumer.assignors).
const (
	assignorUniform = "uniform"
	assignorRange   = "range"
)

// topicInfo is a topic as assignors see it.
type topicInfo struct {
	id         topicID
	partitions int32
}

// assigned is a member as assignors see it: what it subscribes to, sorted by id, only topics that exist; and what its target was.
type assigned struct {
	id       string
	instance *string
	topics   []topicInfo
	target   assignment
}

// assign computes new targets, in the order of members. It depends on nothing but its arguments: members sorted by id give the same
// answer every time, whatever hash maps do.
func assign(name string, members []assigned) []assignment {
	if len(members) == 0 {
		return nil
	}
	if name == assignorRange {
		return assignRange(members)
	}
	return assignUniform(members)
}

func sameTopics(a, b []topicInfo) bool { return slices.Equal(a, b) }

// homogeneous: all members subscribe to the same topics.
func homogeneous(members []assigned) bool {
	for i := range members {
		if !sameTopics(members[i].topics, members[0].topics) {
			return false
		}
	}
	return true
}

// assignRange gives every member a contiguous range of each of its topics, so that topics with as many partitions and the same
// subscribers are co-partitioned (RangeAssignor). Static members come first, by instance id, so that they find their ranges again when
// dynamic members change.
func assignRange(members []assigned) []assignment {
	order := make([]int, len(members))
	subscribers := map[topicID]int32{}
	for i := range members {
		order[i] = i
		for _, t := range members[i].topics {
			subscribers[t.id]++
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareForRange(&members[a], &members[b]) })
	type position struct{ turn, next int32 }
	positions := map[topicID]position{}
	out := make([]assignment, len(members))
	for _, i := range order {
		for _, t := range members[i].topics {
			pos, n := positions[t.id], subscribers[t.id]
			quota := t.partitions / n
			if pos.turn < t.partitions%n {
				quota++
			}
			parts := make([]int32, 0, quota)
			for p := pos.next; p < pos.next+quota; p++ {
				parts = append(parts, p)
			}
			positions[t.id] = position{pos.turn + 1, pos.next + quota}
			if quota > 0 {
				out[i] = append(out[i], topicParts{id: t.id, parts: parts})
			}
		}
	}
	return out
}

func compareForRange(a, b *assigned) int {
	switch {
	case a.instance != nil && b.instance != nil:
		return strings.Compare(*a.instance, *b.instance)
	case a.instance != nil:
		return -1
	case b.instance != nil:
		return 1
	}
	return strings.Compare(a.id, b.id)
}

// nobody owns a partition.
const nobody int32 = -1

// uniform is the state of the uniform assignor: the owner of every partition of every subscribed topic, as an index into members.
type uniform struct {
	members     []assigned
	topics      []topicInfo // sorted by id
	subscribers [][]int32   // by topic: members, ascending
	owners      [][]int32   // by topic and partition
	loads       []int32     // by member: partitions owned
}

// assignUniform spreads partitions so that members have equal numbers of them, and moves as few as it can (UniformAssignor).
func assignUniform(members []assigned) []assignment {
	u := newUniform(members)
	if homogeneous(members) {
		u.level()
	} else {
		u.spread()
		u.balance()
	}
	return u.assignments()
}

// newUniform starts from the old targets. What is in them of topics a member does not subscribe to, of partitions that do not exist,
// or that an earlier member has already, is free.
func newUniform(members []assigned) *uniform {
	u := &uniform{members: members, loads: make([]int32, len(members))}
	index := map[topicID]int{}
	for i := range members {
		for _, t := range members[i].topics {
			if _, ok := index[t.id]; !ok {
				index[t.id] = 0
				u.topics = append(u.topics, t)
			}
		}
	}
	slices.SortFunc(u.topics, func(a, b topicInfo) int { return compareIDs(a.id, b.id) })
	u.owners, u.subscribers = make([][]int32, len(u.topics)), make([][]int32, len(u.topics))
	for i, t := range u.topics {
		index[t.id] = i
		u.owners[i] = slices.Repeat([]int32{nobody}, int(t.partitions))
	}
	for m := range members {
		for _, t := range members[m].topics {
			i := index[t.id]
			u.subscribers[i] = append(u.subscribers[i], int32(m))
			old, _ := members[m].target.topic(t.id)
			for _, p := range old.parts {
				if p >= 0 && p < t.partitions && u.owners[i][p] == nobody {
					u.give(i, p, int32(m))
				}
			}
		}
	}
	return u
}

// give makes member the owner of a partition, whoever had it.
func (u *uniform) give(topic int, partition, member int32) {
	if old := u.owners[topic][partition]; old != nobody {
		u.loads[old]--
	}
	u.owners[topic][partition] = member
	if member != nobody {
		u.loads[member]++
	}
}

// level is for members with the same topics (UniformHomogeneousAssignmentBuilder): everybody gets the same number, and the first ones
// that have it already, else the last ones, one more. Who has more than that gives up; then those that have less are filled.
func (u *uniform) level() {
	total := 0
	for _, t := range u.topics {
		total += int(t.partitions)
	}
	n := len(u.members)
	quota, extra := int32(total/n), total%n
	quotas := make([]int32, n)
	for m := range u.members {
		quotas[m] = quota
		if extra > 0 && (u.loads[m] > quota || n-m <= extra) {
			quotas[m]++
			extra--
		}
	}
	for i := len(u.owners) - 1; i >= 0; i-- {
		for p := len(u.owners[i]) - 1; p >= 0; p-- {
			if owner := u.owners[i][p]; owner != nobody && u.loads[owner] > quotas[owner] {
				u.give(i, int32(p), nobody)
			}
		}
	}
	next := int32(0)
	for i := range u.owners {
		for p, owner := range u.owners[i] {
			if owner != nobody {
				continue
			}
			for u.loads[next] >= quotas[next] {
				next++
			}
			u.give(i, int32(p), next)
		}
	}
}

// assignments turns owners into what each member has. A target that did not change is the old one, so that it is cheap to see.
func (u *uniform) assignments() []assignment {
	out := make([]assignment, len(u.members))
	for i, t := range u.topics {
		for p, owner := range u.owners[i] {
			if owner == nobody {
				continue
			}
			a := out[owner]
			if len(a) == 0 || a[len(a)-1].id != t.id {
				a = append(a, topicParts{id: t.id})
			}
			last := &a[len(a)-1]
			last.parts = append(last.parts, int32(p))
			out[owner] = a
		}
	}
	return out
}

// spread gives every free partition to the least loaded member that subscribes to its topic. Topics that have many partitions for
// each subscriber come first, since those with few can even out what they leave.
func (u *uniform) spread() {
	for _, i := range u.topicsByWeight() {
		least := u.leastLoaded(i)
		for p, owner := range u.owners[i] {
			if owner == nobody {
				u.give(i, int32(p), least.items[0])
				least.down(0)
			}
		}
	}
}

// topicsByWeight orders topics by partitions for each subscriber, descending; then by subscribers, ascending; then by id.
func (u *uniform) topicsByWeight() []int {
	order := make([]int, len(u.topics))
	for i := range order {
		order[i] = i
	}
	weight := func(i int) float64 { return float64(u.topics[i].partitions) / float64(len(u.subscribers[i])) }
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(len(u.subscribers[a]), len(u.subscribers[b])))
	})
	return order
}
