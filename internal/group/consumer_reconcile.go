package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ownedTopics is what a member says it owns: nil when it does not say.
type ownedTopics []kmsg.ConsumerGroupHeartbeatRequestTopic

// within says whether all of it is in a. A member that says nothing is not.
func (o ownedTopics) within(a assignment) bool {
	for _, t := range o {
		have, _ := a.topic(t.TopicID)
		for _, p := range t.Partitions {
			if _, ok := slices.BinarySearch(have.parts, p); !ok {
				return false
			}
		}
	}
	return o != nil
}

// mayHold says whether the member may still hold any partition of a: it names one, or it says nothing.
func (o ownedTopics) mayHold(a assignment) bool {
	for _, t := range o {
		of, _ := a.topic(t.TopicID)
		for _, p := range t.Partitions {
			if _, ok := slices.BinarySearch(of.parts, p); ok {
				return true
			}
		}
	}
	return o == nil
}

// reconciler moves one member a step from its assignment to its target (Kafka's CurrentAssignmentBuilder).
//
//	STABLE ------------> it has to give up partitions ----> UNREVOKED_PARTITIONS (old epoch, until it owns none of them)
//	  ^ \                                                     |
//	  |  \-> all it lacks is free: takes it, new epoch        v
//	  +---- UNRELEASED_PARTITIONS <---- some of the target is still held by others: new epoch, takes what is free
//
// It does nothing to the group; what it returns goes in by put.
type reconciler struct {
	group       *consumerGroup
	memberID    string
	subscribed  []topicInfo // sorted by id: topics the member subscribes to and that exist
	target      assignment
	targetEpoch int32
	// subscriptionChanged makes the member give up topics it no longer subscribes to at once, whatever its epoch.
	subscriptionChanged bool
	owned               ownedTopics
}

// next is the member's next state; changed is false when it cannot move.
func (r *reconciler) next(m memberData) (out memberData, changed bool) {
	switch m.state {
	case stateReconciled:
		if m.epoch != r.targetEpoch {
			out = r.compute(m, m.epoch)
		} else if r.subscriptionChanged {
			out = r.shrink(m)
		} else {
			return m, false
		}
	case stateUnrevoked:
		if !r.owned.mayHold(m.revoking) {
			out = r.compute(m, m.epoch)
		} else if r.subscriptionChanged {
			out = r.shrink(m)
		} else {
			return m, false
		}
	case stateUnreleased:
		out = r.compute(m, m.epoch)
	default:
		out = r.compute(m, r.targetEpoch)
	}
	return out, !out.sameAssignment(&m)
}

// subscribes says whether the member may have partitions of a topic.
func (r *reconciler) subscribes(id topicID) bool {
	_, ok := slices.BinarySearchFunc(r.subscribed, id, func(t topicInfo, id topicID) int { return compareIDs(t.id, id) })
	return ok
}

// shrink takes away the topics that the member does not subscribe to any more.
func (r *reconciler) shrink(m memberData) memberData {
	var keep, drop assignment
	for _, t := range m.owned {
		if r.subscribes(t.id) {
			keep = append(keep, t)
		} else {
			drop = append(drop, t)
		}
	}
	if len(drop) == 0 {
		return m
	}
	revoking := m.revoking.union(drop)
	m.previous, m.owned = m.epoch, keep
	if r.owned.mayHold(revoking) {
		m.state, m.revoking = stateUnrevoked, revoking
	}
	return m
}

// compute works out what the member keeps, must give up, and may take.
func (r *reconciler) compute(m memberData, epoch int32) memberData {
	var keep, revoke assignment
	for _, t := range m.owned {
		want, _ := r.target.topic(t.id)
		if !r.subscribes(t.id) {
			want.parts = nil
		}
		k, d := topicParts{id: t.id}, topicParts{id: t.id}
		for i, p := range t.parts {
			side := &d
			if _, ok := slices.BinarySearch(want.parts, p); ok {
				side = &k
			}
			side.parts, side.epochs = append(side.parts, p), append(side.epochs, t.epoch(i))
		}
		if len(k.parts) > 0 {
			keep = append(keep, k)
		}
		if len(d.parts) > 0 {
			revoke = append(revoke, d)
		}
	}
	if len(revoke) > 0 && r.owned.mayHold(revoke) {
		m.previous, m.epoch, m.state = m.epoch, epoch, stateUnrevoked
		m.owned, m.revoking = keep, revoke
		return m
	}
	take, held := r.available(keep)
	m.previous, m.epoch, m.state = m.epoch, r.targetEpoch, stateReconciled
	if held {
		m.state = stateUnreleased
	}
	m.owned, m.revoking = keep.union(take.withEpoch(r.targetEpoch)), nil
	return m
}

// available is what the target has beyond keep and nobody else holds; held says that there was something that somebody else holds.
// What the member itself gives up at this moment is not held by another.
func (r *reconciler) available(keep assignment) (take assignment, held bool) {
	for _, t := range r.target {
		if !r.subscribes(t.id) {
			continue
		}
		have, _ := keep.topic(t.id)
		free := topicParts{id: t.id}
		for _, p := range t.parts {
			if _, ok := slices.BinarySearch(have.parts, p); ok {
				continue
			}
			if owner := r.group.owners[partitionKey{t.id, p}]; owner != "" && owner != r.memberID {
				held = true
				continue
			}
			free.parts = append(free.parts, p)
		}
		if len(free.parts) > 0 {
			take = append(take, free)
		}
	}
	return take, held
}

// waitsForOthers says whether a member that waits for partitions would still not get any by joining again
// (ConsumerGroup.waitingOnUnreleasedPartition).
func (c *consumerGroup) waitsForOthers(m *consumerMember) bool {
	for _, t := range c.target[m.id] {
		for _, p := range t.parts {
			if !m.owned.has(t.id, p) && c.owners[partitionKey{t.id, p}] != "" {
				return true
			}
		}
	}
	return false
}
