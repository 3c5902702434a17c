package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// memberState is how far a member is on the way from its assignment to its target (Kafka's MemberState; the values are those of the
// records).
type memberState uint8

const (
	stateReconciled memberState = 0 // STABLE: it has its target, or all of it that there was at its epoch
	stateUnrevoked  memberState = 1 // UNREVOKED_PARTITIONS: it has yet to give up partitions, and keeps its epoch until it did
	stateUnreleased memberState = 2 // UNRELEASED_PARTITIONS: it is at the new epoch and waits for partitions that others hold
)

// firstGroupEpoch is what Kafka's ModernGroup begins with, group and target; the first member that subscribes to a topic bumps it.
const firstGroupEpoch = 1

// Epochs with a meaning of their own, in requests and (the second) in records.
const (
	epochJoin        = 0
	epochLeave       = -1
	epochLeaveStatic = -2 // a static member that will be back within its session
)

// memberData is what the records of a member say. Strings and slices in it are never changed in place, so that a copy of the struct
// is a copy of the member.
type memberData struct {
	instance, rack       *string
	clientID, clientHost string
	names                []string // subscribed topics, sorted
	regex                string   // empty: none
	rebalanceMillis      int32
	assignor             *string          // the assignor it asked for
	classic              *classicMetadata // not nil: it speaks the classic protocol (online migration)

	// epoch is what the member must send; previous is accepted too, while a bump may not have reached it.
	epoch, previous int32
	state           memberState
	owned           assignment // with epochs
	revoking        assignment // with epochs; still its own until it says that they are gone
}

// classicMetadata is what the group has to know of a member that speaks the classic protocol.
type classicMetadata struct {
	sessionMillis int32
	protocols     []classicProtocol // in the member's order of preference
}

type classicProtocol struct {
	name     string
	metadata []byte // a ConsumerProtocolSubscription
}

// first is the protocol the member is answered with; members have at least one, unless a record is damaged.
func (c *classicMetadata) first() classicProtocol {
	if len(c.protocols) == 0 {
		return classicProtocol{}
	}
	return c.protocols[0]
}

func (c *classicMetadata) name() *string {
	name := c.first().name
	return &name
}

func sameString(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func (c *classicMetadata) equal(d *classicMetadata) bool {
	if c == nil || d == nil {
		return c == d
	}
	return c.sessionMillis == d.sessionMillis && slices.EqualFunc(c.protocols, d.protocols, func(p, q classicProtocol) bool {
		return p.name == q.name && bytes.Equal(p.metadata, q.metadata)
	})
}

// sameMetadata compares what goes into the MemberMetadata record.
func (m *memberData) sameMetadata(n *memberData) bool {
	return m.clientID == n.clientID && m.clientHost == n.clientHost && m.regex == n.regex && m.rebalanceMillis == n.rebalanceMillis &&
		sameString(m.instance, n.instance) && sameString(m.rack, n.rack) && sameString(m.assignor, n.assignor) &&
		slices.Equal(m.names, n.names) && m.classic.equal(n.classic)
}

// size is what the member makes the group hold, in bytes, without its partitions: each of those is held for one member only.
func (m *memberData) size() int {
	n := len(m.clientID) + len(m.clientHost) + len(m.regex)
	for _, name := range m.names {
		n += len(name)
	}
	for _, s := range [...]*string{m.instance, m.rack, m.assignor} {
		if s != nil {
			n += len(*s)
		}
	}
	if m.classic != nil {
		for _, p := range m.classic.protocols {
			n += len(p.name) + len(p.metadata)
		}
	}
	return n
}

// sameAssignment compares what goes into the CurrentMemberAssignment record.
func (m *memberData) sameAssignment(n *memberData) bool {
	return m.epoch == n.epoch && m.previous == n.previous && m.state == n.state && m.owned.equal(n.owned) && m.revoking.equal(n.revoking)
}

func (m *memberData) reconciledTo(epoch int32) bool {
	return m.state == stateReconciled && m.epoch == epoch
}

// consumerMember is one member with its clocks.
type consumerMember struct {
	id string
	memberData
	deadlines
	// Which of its records were seen by Replay; a member is gone when both are. Not used after a load.
	hasMetadata, hasAssignment bool
}

type partitionKey struct {
	id        topicID
	partition int32
}

// consumerGroup is a group of the consumer protocol (KIP-848): Kafka's ConsumerGroup with the parts of GroupMetadataManager that work
// on it.
//
// Three epochs order everything. The group epoch grows when members, subscriptions or topics change. The assignment epoch is the
// group epoch for which the target was computed. A member's epoch is the assignment epoch it was reconciled to; it may lag while the
// member gives up partitions. A partition has one owner at any time: its owner in owners, until that member has said (by not naming
// it among its partitions) that it let go, or was removed.
type consumerGroup struct {
	g *Group

	epoch            int32
	hash             int64 // of the subscribed topics (KIP-1101)
	assignmentEpoch  int32
	assignmentMillis int64 // when the target was computed
	members          map[string]*consumerMember
	target           map[string]assignment // by member
	regexes          map[string]*regexSubscription
	// oldPartitionMetadata: a record of Kafka before 4.1 is there; the next heartbeat writes its tombstone.
	oldPartitionMetadata bool

	// Derived from members by put and remove.
	statics        map[string]string // instance id -> member id
	owners         map[partitionKey]string
	names          map[string]int // members subscribed to a topic by its name
	assignors      map[string]int // members that ask for an assignor
	classicMembers int
	protocols      map[string]int // classic members that support a protocol
	bytes          int            // what members hold, see groupBytesMax
	targetSize     int            // partitions in the last target
	subscriptions  uint64         // changes when the set of subscribed topics may have
	memo           hashMemo
	underived      bool // replayed records are not derived from yet

	// Not in records. revision is that of the topics which hash was computed from.
	revision       uint64
	revisionKnown  bool
	regexesChecked time.Time
	regexesStale   bool
	pass           *regexPass // nil: no look at all topics is under way
	regexWindow    time.Time  // since when regexWork is counted
	regexWork      int        // see regexWorkMax
	timers         timerHeap
}

// regexSubscription is a regular expression, who subscribes with it, and what it stands for.
type regexSubscription struct {
	members  int
	resolved bool     // there is a record of it
	topics   []string // sorted
	version  int64    // revision of the topics it was resolved against
	millis   int64
	compiled *topicRegex // nil until it is needed
}

func newConsumerGroup(g *Group) *consumerGroup {
	c := &consumerGroup{
		g: g, epoch: firstGroupEpoch, assignmentEpoch: firstGroupEpoch,
		members: map[string]*consumerMember{}, target: map[string]assignment{}, regexes: map[string]*regexSubscription{},
	}
	c.clearDerived()
	return c
}

func (c *consumerGroup) clearDerived() {
	c.statics, c.owners = map[string]string{}, map[partitionKey]string{}
	c.names, c.assignors, c.protocols = map[string]int{}, map[string]int{}, map[string]int{}
	c.classicMembers, c.bytes, c.targetSize = 0, 0, 0
	c.subscriptions++
	for _, r := range c.regexes {
		r.members = 0
	}
}

// derive makes the derived state again after a replay. Records come in any order that compaction leaves, so for a moment two members
// may seem to own a partition; by the end of the load at most one does, unless a log is damaged: then the greater epoch wins.
func (c *consumerGroup) derive() {
	if !c.underived {
		return
	}
	c.underived = false
	c.clearDerived()
	ids := slices.SortedFunc(maps.Keys(c.members), func(a, b string) int {
		return int(c.members[a].epoch) - int(c.members[b].epoch)
	})
	for _, id := range ids {
		c.count(c.members[id], 1)
	}
	for id, target := range c.target {
		if c.members[id] == nil {
			delete(c.target, id)
		}
		c.targetSize += target.size()
	}
}

func change(counts map[string]int, key string, by int) {
	if counts[key] += by; counts[key] <= 0 {
		delete(counts, key)
	}
}

// count adds a member to the derived state (by 1) or takes it out (by -1).
func (c *consumerGroup) count(m *consumerMember, by int) {
	topics := len(c.names)
	for _, name := range m.names {
		change(c.names, name, by)
	}
	if len(c.names) != topics || m.regex != "" {
		c.subscriptions++
	}
	c.bytes += by * (len(m.id) + m.size())
	if m.regex != "" {
		if c.regexes[m.regex] == nil {
			c.regexes[m.regex] = &regexSubscription{}
		}
		c.regexes[m.regex].members += by
	}
	if m.assignor != nil {
		change(c.assignors, *m.assignor, by)
	}
	if m.classic != nil {
		c.classicMembers += by
		for _, p := range m.classic.protocols {
			change(c.protocols, p.name, by)
		}
	}
	c.countOwned(m, by)
	if m.instance == nil {
		return
	}
	if by > 0 {
		c.statics[*m.instance] = m.id
	} else if c.statics[*m.instance] == m.id {
		delete(c.statics, *m.instance)
	}
}

func (c *consumerGroup) countOwned(m *consumerMember, by int) {
	mark := func(id topicID, partition int32) {
		key := partitionKey{id, partition}
		if by > 0 {
			c.owners[key] = m.id
		} else if c.owners[key] == m.id {
			delete(c.owners, key)
		}
	}
	m.owned.each(mark)
	m.revoking.each(mark)
}

// put gives a member new data; a member that is not in the group yet comes into it.
func (c *consumerGroup) put(m *consumerMember, data memberData) {
	if old := c.members[m.id]; old == m {
		c.count(m, -1)
	} else if old != nil {
		c.remove(old)
	}
	m.memberData = data
	c.members[m.id] = m
	c.count(m, 1)
}

// remove takes a member, its target and its clocks out of the group.
func (c *consumerGroup) remove(m *consumerMember) {
	c.count(m, -1)
	c.timers.remove(m)
	delete(c.members, m.id)
	delete(c.target, m.id)
}

func (c *consumerGroup) static(instance string) *consumerMember {
	if id, ok := c.statics[instance]; ok {
		return c.members[id]
	}
	return nil
}

// full refuses one more member: of members as configured, at most membersMax, and of bytes groupBytesMax. Who is in the group already
// may say more than before up to the limit of bytes.
func (c *consumerGroup) full(id string, adds int) *refusal {
	limit := membersMax
	if n := c.g.cfg.ConsumerMembersMax; n > 0 {
		limit = min(limit, n)
	}
	m := c.members[id]
	switch {
	case m == nil:
		adds += len(id)
	case adds > 0:
		adds -= m.size()
	}
	switch {
	case m == nil && len(c.members) >= limit:
		return &refusal{kerr.GroupMaxSizeReached.Code, fmt.Sprintf("The consumer group has reached its maximum of %d members.", limit)}
	case adds > 0 && c.bytes+adds > groupBytesMax:
		return &refusal{kerr.GroupMaxSizeReached.Code, fmt.Sprintf("The members of the consumer group hold %d bytes, the most is %d.", c.bytes, groupBytesMax)}
	}
	return nil
}

// subscribed says whether a member subscribes to topic, by name or by a regular expression.
func (c *consumerGroup) subscribed(topic string) bool {
	c.derive()
	if c.names[topic] > 0 {
		return true
	}
	for _, r := range c.regexes {
		if _, ok := slices.BinarySearch(r.topics, topic); ok && r.members > 0 {
			return true
		}
	}
	return false
}

func (c *consumerGroup) abandon(int16, *Output) {} // no call of a consumer group is ever parked

func (c *consumerGroup) idle() bool { return len(c.members) == 0 }

func (c *consumerGroup) membersCount() int { return len(c.members) }

// refusal is an answer that changes nothing: a Kafka error code and words for people.
type refusal struct {
	code    int16
	message string
}
