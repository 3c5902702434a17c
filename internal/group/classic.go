package group

import (
	"bytes"
	"container/list"
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// newMemberJoinTimeout is how long a new member may wait for its first JoinGroup to be answered: it has no member id yet and
	// cannot heartbeat (GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS).
	newMemberJoinTimeout = 5 * time.Minute

	// pendingMembersMax is how many members of one group may have been given an id without having joined with it. When one more
	// comes the oldest is forgotten: should it still join it is told UNKNOWN_MEMBER_ID and asks for a new id. Kafka has no bound.
	pendingMembersMax = 10_000

	// membersMax bounds the members of one classic group whatever group.max.size says; Kafka's default is none. A member parks at
	// most one JoinGroup and one SyncGroup, so it bounds those too.
	membersMax = 100_000

	// pendingMemberBytes is what such a member takes besides its id, in bytes: about what its structures have.
	pendingMemberBytes = 512

	// clientIDBytesMax is how much of a client id is kept, and how much of a client or instance id comes into a member id, in bytes.
	// What is longer is cut. Kafka keeps all of it.
	clientIDBytesMax = 255

	// groupBytesMax bounds what the members of one group hold together, in bytes of ids, metadata and assignments. Members that have
	// not joined with their id count too, and are forgotten when those who have need the room.
	groupBytesMax = 32 << 20

	// rejoinWaitMin is the shortest wait for static members when a rebalance timeout is over and not one member has joined; with a
	// rebalance timeout of 0 there would be no wait at all.
	rejoinWaitMin = time.Second

	// stringMax is the longest string that a record and the older versions of responses can hold, in bytes.
	stringMax = math.MaxInt16

	// consumerProtocolType is the protocol type of consumers; only theirs have subscriptions that can be read.
	consumerProtocolType = "consumer"
)

// classicState is where a classic group is in its life (ClassicGroupState).
type classicState uint8

const (
	stateEmpty      classicState = iota
	statePreparing               // members are asked to join again
	stateCompleting              // all have joined, the leader computes assignments
	stateStable
	stateDead // not there; no classicGroup is ever in it
)

// String is Kafka's name of the state, as ListGroups and DescribeGroups have it.
func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// classicGroup is the state of a group of the classic protocol (ClassicGroup).
type classicGroup struct {
	g            *Group
	state        classicState
	previous     classicState // Dead for one that was loaded
	changed      int64        // when the state changed, in milliseconds; -1: not known
	protocolType string       // empty: none yet
	protocol     *string      // of this generation; nil: none yet. A name may be empty.
	generation   int32
	leader       *classicMember

	members map[string]*classicMember
	order   list.List                 // of the members, as they joined
	static  map[string]*classicMember // by instance id
	pending map[string]*classicMember // were given an id, have not joined
	waiting list.List                 // of pending, the oldest first

	awaitingJoin int            // members with a parked JoinGroup
	pendingSync  int            // members of this generation that have not synced
	supports     map[string]int // protocol name -> members that support it
	bytes        int            // what members hold, pending ones too, see groupBytesMax
	pendingBytes int            // of bytes, what pending members hold

	subscription   map[string]bool // topics; nil: not known
	newMemberAdded bool            // the delay of the first rebalance may be extended
	initialDelay   time.Duration   // the delay that runs
	initialLeft    time.Duration   // what remains for extensions
	timers         classicTimers
	joinTimer      timer
	syncTimer      timer
	parked         map[Call]*classicMember
}

// classicMember is one member, or one that was only given an id (ClassicGroupMember).
type classicMember struct {
	id                 string
	instance           *string
	client             Client
	rebalance, session time.Duration
	protocols          []kmsg.JoinGroupRequestProtocol
	assignment         []byte

	isNew      bool // its first JoinGroup is not answered: it does not know its id
	needsSync  bool // of this generation, has not synced
	join, sync parkedCall
	timer      timer
	element    *list.Element // in order or waiting
}

// parkedCall is a request that waits for other members.
type parkedCall struct {
	call    Call
	version int16
	set     bool
	gone    bool // its caller is; the member waits on
}

func newClassicGroup(g *Group) *classicGroup {
	c := &classicGroup{
		g: g, previous: stateDead, changed: -1,
		members: map[string]*classicMember{}, static: map[string]*classicMember{}, pending: map[string]*classicMember{},
		supports: map[string]int{}, parked: map[Call]*classicMember{},
	}
	c.joinTimer = timer{index: -1, kind: timerJoin}
	c.syncTimer = timer{index: -1, kind: timerSync}
	return c
}

func newClassicMember(id string, instance *string, client Client) *classicMember {
	m := &classicMember{id: id, instance: instance, client: client}
	m.timer = timer{index: -1, kind: timerMember, member: m}
	return m
}

// newMemberID is Kafka's form of a member id: client id or instance id, and a random UUID.
func (g *Group) newMemberID(prefix string) string { return keptID(prefix) + "-" + g.newUUID() }

// keptID is what is kept of a client id, see clientIDBytesMax. It does not hold on to the rest.
func keptID(id string) string {
	if len(id) <= clientIDBytesMax {
		return id
	}
	n := clientIDBytesMax
	for n > clientIDBytesMax-utf8.UTFMax && !utf8.RuneStart(id[n]) {
		n--
	}
	return strings.Clone(id[:n])
}

func (g *Group) newUUID() string {
	if g.cfg.UUID != nil {
		return g.cfg.UUID()
	}
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (c *classicGroup) transition(to classicState, now time.Time) {
	c.previous, c.state, c.changed = c.state, to, now.UnixMilli()
}

func (c *classicGroup) usesConsumerProtocol() bool { return c.protocolType == consumerProtocolType }

// size is what the member holds, in bytes.
func (m *classicMember) size() int {
	n := len(m.id) + len(m.client.ID) + len(m.client.Host) + len(m.assignment)
	if m.instance != nil {
		n += len(*m.instance)
	}
	return n + protocolsSize(m.protocols)
}

func protocolsSize(protocols []kmsg.JoinGroupRequestProtocol) int {
	n := 0
	for i := range protocols {
		n += len(protocols[i].Name) + len(protocols[i].Metadata)
	}
	return n
}

// add makes m a member (ClassicGroup.add). The caller has checked its protocols; its timer is not set.
func (c *classicGroup) add(m *classicMember, protocolType string) {
	c.forgetPending(m.id)
	if len(c.members) == 0 {
		c.protocolType = protocolType
	}
	if m.instance != nil {
		c.static[*m.instance] = m
	}
	c.members[m.id] = m
	m.element = c.order.PushBack(m)
	if c.leader == nil {
		c.leader = m
	}
	c.bytes += m.size()
	c.makeRoom(0)
	c.countProtocols(m, 1)
}

// remove ends a membership. Calls that are still parked are told UNKNOWN_MEMBER_ID, so that a client that is alive joins anew.
func (c *classicGroup) remove(m *classicMember, out *Output) {
	c.replyJoinError(m, "", kerr.UnknownMemberID.Code, out)
	c.replySync(m, kerr.UnknownMemberID.Code, out)
	c.synced(m)
	c.timers.cancel(&m.timer)
	c.countProtocols(m, -1)
	c.bytes -= m.size()
	delete(c.members, m.id)
	c.order.Remove(m.element)
	if m.instance != nil && c.static[*m.instance] == m {
		delete(c.static, *m.instance)
	}
	if c.leader == m {
		c.leader = c.first()
	}
}

// first is the member that joined first; nil when there is none.
func (c *classicGroup) first() *classicMember {
	if e := c.order.Front(); e != nil {
		return e.Value.(*classicMember)
	}
	return nil
}

// all visits the members in the order in which they joined. fn may remove the member it is given.
func (c *classicGroup) all(fn func(*classicMember)) {
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		fn(e.Value.(*classicMember))
		e = next
	}
}

// replaceStatic gives the membership of old to a new member id; whoever still waits as old is fenced (ClassicGroup.replaceStaticMember).
func (c *classicGroup) replaceStatic(old *classicMember, id string, out *Output) *classicMember {
	c.replyJoinError(old, old.id, kerr.FencedInstanceID.Code, out)
	c.replySync(old, kerr.FencedInstanceID.Code, out)
	m := newClassicMember(id, old.instance, old.client)
	m.rebalance, m.session = old.rebalance, old.session
	m.protocols, m.assignment = old.protocols, old.assignment
	m.needsSync = old.needsSync
	c.timers.cancel(&old.timer)
	delete(c.members, old.id)
	c.members[id] = m
	c.static[*m.instance] = m
	m.element = old.element
	m.element.Value = m
	c.bytes += m.size() - old.size()
	if c.leader == old {
		c.leader = m
	}
	return m
}

// update takes what a member says of itself when it joins again.
func (c *classicGroup) update(m *classicMember, r *kmsg.JoinGroupRequest) {
	c.countProtocols(m, -1)
	c.bytes -= m.size()
	m.protocols = cloneProtocols(r.Protocols)
	c.bytes += m.size()
	c.countProtocols(m, 1)
	m.rebalance, m.session = ofMillis(r.RebalanceTimeoutMillis), ofMillis(r.SessionTimeoutMillis)
}

func ofMillis(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

// distinctProtocols lets out protocols that were named before: they would be counted twice.
func distinctProtocols(in []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	if len(in) < 2 {
		return in
	}
	seen := make(map[string]bool, len(in))
	out := in[:0:0]
	for i := range in {
		if !seen[in[i].Name] {
			seen[in[i].Name] = true
			out = append(out, in[i])
		}
	}
	return out
}

// cloneProtocols keeps the bytes of a request, which are its connection's.
func cloneProtocols(in []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	out := make([]kmsg.JoinGroupRequestProtocol, len(in))
	for i := range in {
		out[i] = kmsg.JoinGroupRequestProtocol{Name: in[i].Name, Metadata: bytes.Clone(in[i].Metadata)}
	}
	return out
}

func (c *classicGroup) countProtocols(m *classicMember, by int) {
	for i := range m.protocols {
		name := m.protocols[i].Name
		if c.supports[name] += by; c.supports[name] == 0 {
			delete(c.supports, name)
		}
	}
}

func (m *classicMember) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	if len(m.protocols) != len(protocols) {
		return false
	}
	for i := range protocols {
		if m.protocols[i].Name != protocols[i].Name || !bytes.Equal(m.protocols[i].Metadata, protocols[i].Metadata) {
			return false
		}
	}
	return true
}

func (m *classicMember) metadata(protocol *string) []byte {
	for i := range m.protocols {
		if protocol != nil && m.protocols[i].Name == *protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// supported says that a member with these protocols may be in the group (ClassicGroup.supportsProtocols).
func (c *classicGroup) supported(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if c.state == stateEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	if protocolType != c.protocolType {
		return false
	}
	for i := range protocols {
		if c.supports[protocols[i].Name] == len(c.members) {
			return true
		}
	}
	return false
}

// selectProtocol is the vote: each member is for the first of its protocols that all support. Where Kafka leaves a tie to the order
// of a hash map the oldest member's preference decides.
func (c *classicGroup) selectProtocol() string {
	votes := map[string]int{}
	c.all(func(m *classicMember) {
		for i := range m.protocols {
			if name := m.protocols[i].Name; c.supports[name] == len(c.members) {
				votes[name]++
				return
			}
		}
	})
	best, most := "", 0
	for _, p := range c.first().protocols {
		if votes[p.Name] > most {
			best, most = p.Name, votes[p.Name]
		}
	}
	return best
}

func (c *classicGroup) rebalanceTimeout() time.Duration {
	var longest time.Duration
	c.all(func(m *classicMember) { longest = max(longest, m.rebalance) })
	return longest
}

func (c *classicGroup) allJoined() bool {
	return len(c.members) == c.awaitingJoin && len(c.pending) == 0
}

// validate checks who a request says it is from (ClassicGroup.validateMember).
func (c *classicGroup) validate(id string, instance *string) int16 {
	if instance != nil {
		switch m := c.static[*instance]; {
		case m == nil:
			return kerr.UnknownMemberID.Code
		case m.id != id:
			return kerr.FencedInstanceID.Code
		}
	}
	if c.members[id] == nil {
		return kerr.UnknownMemberID.Code
	}
	return 0
}

func (c *classicGroup) addPending(now time.Time, id string, session time.Duration) {
	if len(c.pending) >= pendingMembersMax {
		c.forgetPending(c.waiting.Front().Value.(*classicMember).id)
	}
	m := newClassicMember(id, nil, Client{})
	c.makeRoom(m.pendingSize())
	c.bytes += m.pendingSize()
	c.pendingBytes += m.pendingSize()
	m.element = c.waiting.PushBack(m)
	c.pending[id] = m
	c.timers.set(&m.timer, now.Add(session))
}

// pendingSize is what a member holds that was only given an id.
func (m *classicMember) pendingSize() int { return len(m.id) + pendingMemberBytes }

// makeRoom forgets pending members, the oldest first, while the group with n more bytes would hold too much.
func (c *classicGroup) makeRoom(n int) {
	for c.bytes+n > groupBytesMax && len(c.pending) > 0 {
		c.forgetPending(c.waiting.Front().Value.(*classicMember).id)
	}
}

func (c *classicGroup) forgetPending(id string) {
	if m := c.pending[id]; m != nil {
		delete(c.pending, id)
		c.bytes -= m.pendingSize()
		c.pendingBytes -= m.pendingSize()
		c.waiting.Remove(m.element)
		c.timers.cancel(&m.timer)
	}
}

// synced takes m off those of whom a SyncGroup is expected.
func (c *classicGroup) synced(m *classicMember) {
	if !m.needsSync {
		return
	}
	m.needsSync = false
	if c.pendingSync--; c.pendingSync == 0 {
		c.timers.cancel(&c.syncTimer)
	}
}

func (c *classicGroup) clearPendingSync() {
	if c.pendingSync > 0 {
		c.all(func(m *classicMember) { m.needsSync = false })
		c.pendingSync = 0
	}
	c.timers.cancel(&c.syncTimer)
}

// expect starts the session of m anew.
func (c *classicGroup) expect(now time.Time, m *classicMember, d time.Duration) {
	c.timers.set(&m.timer, now.Add(d))
}

// parkJoin keeps the call of a JoinGroup until the rebalance is over. One that m still has parked, on a connection that is likely
// dead, is told REBALANCE_IN_PROGRESS; Kafka would never answer it.
func (c *classicGroup) parkJoin(m *classicMember, call Call, version int16, out *Output) {
	c.replyJoinError(m, m.id, kerr.RebalanceInProgress.Code, out)
	m.join = parkedCall{call: call, version: version, set: true}
	c.parked[call] = m
	c.awaitingJoin++
}

func (c *classicGroup) parkSync(m *classicMember, call Call, version int16, out *Output) {
	c.replySync(m, kerr.RebalanceInProgress.Code, out)
	m.sync = parkedCall{call: call, version: version, set: true}
	c.parked[call] = m
}

// replyJoin answers the parked JoinGroup of m, if there is one.
func (c *classicGroup) replyJoin(m *classicMember, resp *kmsg.JoinGroupResponse, out *Output) {
	p := m.join
	if !p.set {
		return
	}
	m.join = parkedCall{}
	c.awaitingJoin--
	delete(c.parked, p.call)
	if !p.gone {
		resp.Version = p.version
		out.Replies = append(out.Replies, Reply{p.call, resp})
	}
}

func (c *classicGroup) replyJoinError(m *classicMember, id string, code int16, out *Output) {
	if m.join.set {
		c.replyJoin(m, joinError(id, code), out)
	}
}

// replySync answers the parked SyncGroup of m, if there is one: with its assignment, or an error.
func (c *classicGroup) replySync(m *classicMember, code int16, out *Output) bool {
	p := m.sync
	if !p.set {
		return false
	}
	m.sync = parkedCall{}
	delete(c.parked, p.call)
	if !p.gone {
		out.Replies = append(out.Replies, Reply{p.call, c.syncResponse(m, p.version, code)})
	}
	return true
}

func (c *classicGroup) drop(call Call) {
	m := c.parked[call]
	switch {
	case m == nil:
	case m.join.set && m.join.call == call:
		m.join.gone = true
	case m.sync.set && m.sync.call == call:
		m.sync.gone = true
	}
}

func (c *classicGroup) abandon(code int16, out *Output) {
	c.all(func(m *classicMember) {
		c.replyJoinError(m, m.id, code, out)
		c.replySync(m, code, out)
	})
}
