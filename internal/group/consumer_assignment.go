package group

import (
	"bytes"
	"cmp"
	"slices"
)

// topicID is a topic's id, as everything of the consumer protocol names topics.
type topicID = [16]byte

// topicParts is some partitions of one topic, ascending. epochs, where an assignment has them, has the member epoch at which each
// partition was given to its member (KIP-1251); a nil epochs means that the assignment has none.
type topicParts struct {
	id     topicID
	parts  []int32
	epochs []int32
}

// assignment is a set of partitions: topics in the order of their ids, none of them without partitions. It never changes once made,
// so it may be shared between members, targets and answers.
type assignment []topicParts

func compareIDs(a, b topicID) int { return bytes.Compare(a[:], b[:]) }

// topic finds the partitions of one topic.
func (a assignment) topic(id topicID) (topicParts, bool) {
	i, ok := slices.BinarySearchFunc(a, id, func(t topicParts, id topicID) int { return compareIDs(t.id, id) })
	if !ok {
		return topicParts{}, false
	}
	return a[i], true
}

// epochOf is the epoch at which a partition was given; false if it is not in the set.
func (a assignment) epochOf(id topicID, partition int32) (int32, bool) {
	t, _ := a.topic(id)
	i, ok := slices.BinarySearch(t.parts, partition)
	if !ok {
		return 0, false
	}
	return t.epoch(i), true
}

func (a assignment) has(id topicID, partition int32) bool {
	_, ok := a.epochOf(id, partition)
	return ok
}

func (t topicParts) epoch(i int) int32 {
	if t.epochs == nil {
		return 0
	}
	return t.epochs[i]
}

func (a assignment) equal(b assignment) bool {
	return slices.EqualFunc(a, b, func(x, y topicParts) bool {
		return x.id == y.id && slices.Equal(x.parts, y.parts) && slices.Equal(x.epochs, y.epochs)
	})
}

// each visits all partitions.
func (a assignment) each(fn func(id topicID, partition int32)) {
	for _, t := range a {
		for _, p := range t.parts {
			fn(t.id, p)
		}
	}
}

// size is how many partitions there are.
func (a assignment) size() int {
	n := 0
	for _, t := range a {
		n += len(t.parts)
	}
	return n
}

// withEpoch is the same partitions, all given at one epoch.
func (a assignment) withEpoch(epoch int32) assignment {
	out := make(assignment, len(a))
	for i, t := range a {
		out[i] = topicParts{t.id, t.parts, slices.Repeat([]int32{epoch}, len(t.parts))}
	}
	return out
}

// union is the partitions of both. Where both have one, the epoch is that of a.
func (a assignment) union(b assignment) assignment {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	all := make([]topicParts, 0, len(a)+len(b))
	for _, t := range a {
		if u, ok := b.topic(t.id); ok {
			t = t.union(u)
		}
		all = append(all, t)
	}
	for _, t := range b {
		if _, ok := a.topic(t.id); !ok {
			all = append(all, t)
		}
	}
	return newAssignment(all)
}

func (t topicParts) union(u topicParts) topicParts {
	out := topicParts{id: t.id, parts: slices.Clone(t.parts)}
	for i := range t.parts {
		out.epochs = append(out.epochs, t.epoch(i))
	}
	for i, p := range u.parts {
		if _, ok := slices.BinarySearch(t.parts, p); !ok {
			out.parts, out.epochs = append(out.parts, p), append(out.epochs, u.epoch(i))
		}
	}
	return out.sorted()
}

func ascending(parts []int32) bool {
	for i := 1; i < len(parts); i++ {
		if parts[i] <= parts[i-1] {
			return false
		}
	}
	return true
}

// sorted is the same partitions in ascending order, each once.
func (t topicParts) sorted() topicParts {
	if ascending(t.parts) {
		return t
	}
	type partEpoch struct{ part, epoch int32 }
	both := make([]partEpoch, len(t.parts))
	for i, p := range t.parts {
		both[i] = partEpoch{p, t.epoch(i)}
	}
	slices.SortStableFunc(both, func(a, b partEpoch) int { return cmp.Compare(a.part, b.part) })
	both = slices.CompactFunc(both, func(a, b partEpoch) bool { return a.part == b.part })
	out := topicParts{id: t.id}
	for _, pe := range both {
		out.parts = append(out.parts, pe.part)
		if t.epochs != nil {
			out.epochs = append(out.epochs, pe.epoch)
		}
	}
	return out
}

// newAssignment brings topics into the form that an assignment has, whatever order and repetition they come in (Kafka writes them in
// the order of its hash maps). Of a topic that comes twice the partitions are united.
func newAssignment(topics []topicParts) assignment {
	out := make(assignment, 0, len(topics))
	for _, t := range topics {
		if len(t.parts) > 0 {
			out = append(out, t.sorted())
		}
	}
	slices.SortStableFunc(out, func(a, b topicParts) int { return compareIDs(a.id, b.id) })
	for i := len(out) - 1; i > 0; i-- {
		if out[i].id == out[i-1].id {
			out[i-1] = out[i-1].union(out[i])
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}
