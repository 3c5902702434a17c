package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is one consumer group: of no type while nobody has joined it, then of the classic or of the consumer protocol. Not for
// concurrent use.
type Group struct {
	id  string
	cfg *Config
	// At most one of them is set.
	classic  *classicGroup
	consumer *consumerGroup
}

// ErrRecord is what Replay and RecordGroup say of bytes that are no record of theirs.
var ErrRecord = errors.New("group: not a group record")

// New makes a group that has no type and no members, and so does not exist for others yet.
func New(id string, cfg *Config) *Group { return &Group{id: id, cfg: cfg} }

// ID is the name of the group.
func (g *Group) ID() string { return g.id }

// SetConfig replaces the configuration; it counts for what happens from now on.
func (g *Group) SetConfig(cfg *Config) { g.cfg = cfg }

// Step gives the group one request: JoinGroup, SyncGroup, Heartbeat, LeaveGroup or ConsumerGroupHeartbeat. Its answer comes in
// out.Replies of this step or of a later one, in the request's version. A group of the wrong type is converted where Kafka converts
// it: an empty one at once, one with members by the rules of KIP-848's online migration.
func (g *Group) Step(now time.Time, call Call, req kmsg.Request, client Client, topics Topics, out *Output) {
	if r, ok := req.(*kmsg.ConsumerGroupHeartbeatRequest); ok {
		g.stepConsumerHeartbeat(now, call, r, client, topics, out)
		return
	}
	if g.consumer != nil {
		g.stepClassicAtConsumer(now, call, req, client, topics, out)
		return
	}
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		g.join(now, call, r, client, out)
	case *kmsg.SyncGroupRequest:
		g.sync(now, call, r, out)
	case *kmsg.HeartbeatRequest:
		g.heartbeat(now, call, r, out)
	case *kmsg.LeaveGroupRequest:
		g.leave(now, call, r, out)
	default:
		panic(fmt.Sprintf("BUG: group was given a %T", req))
	}
}

// Tick handles all deadlines up to now.
func (g *Group) Tick(now time.Time, topics Topics, out *Output) {
	switch {
	case g.classic != nil:
		g.classic.tick(now, out)
	case g.consumer != nil:
		g.tickConsumer(now, topics, out)
	}
}

// Deadline is when Tick has to be called next: maybe early, never late. It costs O(1).
func (g *Group) Deadline() (time.Time, bool) {
	switch {
	case g.classic != nil:
		return g.classic.deadline()
	case g.consumer != nil:
		return g.consumer.deadline()
	}
	return time.Time{}, false
}

// Drop forgets a parked call whose caller is gone; the member stays until its session ends. A call that is not parked is no error.
func (g *Group) Drop(call Call) {
	if g.classic != nil {
		g.classic.drop(call)
	}
}

// Abandon answers every parked call with code. The group must not be used any more.
func (g *Group) Abandon(code int16, out *Output) {
	if g.classic != nil {
		g.classic.abandon(code, out)
	}
	if g.consumer != nil {
		g.consumer.abandon(code, out)
	}
}

// Idle says that the group holds nothing its records do not hold: no members, no parked call, no deadline. The host may forget it
// and make it again.
func (g *Group) Idle() bool {
	switch {
	case g.classic != nil:
		return g.classic.idle()
	case g.consumer != nil:
		return g.consumer.idle()
	}
	return true
}

// Exists is false for a group of which nothing is known: no type, or dead (Kafka's GROUP_ID_NOT_FOUND). A group that has only
// committed offsets exists too: see Simple.
func (g *Group) Exists() bool { return g.classic != nil || g.consumer != nil }

// Simple makes a group of no type the one Kafka makes for committed offsets without a group: classic, empty, of no protocol type.
// It has no record. The host calls it when it knows of offsets, or before the first commit with a negative generation.
func (g *Group) Simple() {
	if !g.Exists() {
		g.classic = newClassicGroup(g)
	}
}

// CommitCheck is what an offset commit says of its sender.
type CommitCheck struct {
	Member   string
	Instance *string
	// Epoch is the generation of a classic member, the epoch of a consumer member, negative for a commit from outside the group.
	Epoch   int32
	Txn     bool  // TxnOffsetCommit
	Version int16 // of the request (OffsetCommit or TxnOffsetCommit)
}

// CommitAllowed is the error code for an offset commit, 0 when it may go ahead (ClassicGroup.validateOffsetCommit,
// ConsumerGroup.validateOffsetCommit). It counts as a heartbeat of a classic member. On a group that does not exist it answers as
// OffsetMetadataManager.validateOffsetCommit does: a negative epoch is allowed (then the host calls Simple).
func (g *Group) CommitAllowed(c CommitCheck, now time.Time) int16 {
	switch {
	case g.classic != nil:
		return g.classic.commitAllowed(c, now)
	case g.consumer != nil:
		return g.commitAllowedConsumer(c, now)
	case c.Epoch < 0:
		return 0
	case !c.Txn && c.Version >= 9:
		return kerr.GroupIDNotFound.Code
	}
	return kerr.IllegalGeneration.Code
}

// FetchAllowed is the error code for an OffsetFetch that names a member (version 9 and above); an empty member with a negative epoch
// asks from outside. A group that does not exist allows it and has no offsets.
func (g *Group) FetchAllowed(member string, epoch int32) int16 {
	if g.consumer != nil {
		return g.consumer.fetchAllowed(member, epoch)
	}
	return 0
}

// DeleteAllowed is the error code for DeleteGroups: NON_EMPTY_GROUP while there are members, GROUP_ID_NOT_FOUND when there is no
// such group.
func (g *Group) DeleteAllowed() int16 {
	switch {
	case g.classic != nil:
		return g.classic.deleteAllowed()
	case g.consumer != nil:
		return g.consumer.deleteAllowed()
	}
	return kerr.GroupIDNotFound.Code
}

// OffsetDeleteAllowed is the error code for deleting the committed offsets of topic: GROUP_SUBSCRIBED_TO_TOPIC while members consume
// it; NON_EMPTY_GROUP for an active group of another protocol type (then for the whole request); GROUP_ID_NOT_FOUND.
func (g *Group) OffsetDeleteAllowed(topic string) int16 {
	switch {
	case g.classic != nil:
		return g.classic.offsetDeleteAllowed(topic)
	case g.consumer != nil:
		if g.consumer.subscribed(topic) {
			return kerr.GroupSubscribedToTopic.Code
		}
		return 0
	}
	return kerr.GroupIDNotFound.Code
}

// Subscribed says that members consume topic, so that its offsets do not expire.
func (g *Group) Subscribed(topic string) bool {
	switch {
	case g.classic != nil:
		return g.classic.subscribed(topic)
	case g.consumer != nil:
		return g.consumer.subscribed(topic)
	}
	return false
}

// OffsetsExpireFrom is the moment from which the retention of an offset of topic runs that was committed at committed; false while
// it must not expire at all (Group.offsetExpirationCondition and isSubscribedToTopic).
func (g *Group) OffsetsExpireFrom(topic string, committed time.Time) (time.Time, bool) {
	switch {
	case g.Subscribed(topic):
		return time.Time{}, false
	case g.classic != nil:
		return g.classic.offsetsExpireFrom(committed)
	}
	return committed, true
}

// EmptySince is when the group became Empty; false while it has members, and when that moment is not known.
func (g *Group) EmptySince() (time.Time, bool) {
	if g.classic != nil {
		return g.classic.emptySince()
	}
	return time.Time{}, false
}

// Tombstones adds the records that delete the group, and makes it one that does not exist. Parked calls must have been refused by
// DeleteAllowed before.
func (g *Group) Tombstones(out *Output) {
	if g.classic != nil {
		g.classic.tombstones(out)
		g.classic = nil
	}
	if g.consumer != nil {
		g.consumer.tombstones(out)
		g.consumer = nil
	}
}

// Listing is a group as ListGroups shows it.
type Listing struct {
	ID           string
	ProtocolType string // "consumer" for groups of the consumer protocol
	State        string // Kafka's name: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead; Assigning, Reconciling
	Type         string // "classic" or "consumer"
}

// Listing is the group's line in ListGroups; a group that does not exist is Dead.
func (g *Group) Listing() Listing {
	switch {
	case g.classic != nil:
		return Listing{g.id, g.classic.protocolType, g.classic.state.String(), "classic"}
	case g.consumer != nil:
		return Listing{g.id, "consumer", g.consumer.stateName(), "consumer"}
	}
	return Listing{ID: g.id, State: stateDead.String(), Type: "classic"}
}

// Describe answers DescribeGroups. What the version of the request lets out the caller leaves out (the error message below version 6,
// GROUP_ID_NOT_FOUND below version 6).
func (g *Group) Describe() kmsg.DescribeGroupsResponseGroup {
	if g.classic != nil {
		return g.classic.describe()
	}
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.State = g.id, stateDead.String()
	d.ErrorCode = kerr.GroupIDNotFound.Code
	d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s not found.", g.id))
	if g.consumer != nil {
		d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s is not a classic group.", g.id))
	}
	return d
}

// DescribeConsumer answers ConsumerGroupDescribe; the caller fills in AuthorizedOperations.
func (g *Group) DescribeConsumer(topics Topics) kmsg.ConsumerGroupDescribeResponseGroup {
	if g.consumer != nil {
		return g.consumer.describe(topics)
	}
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.ErrorCode = g.id, kerr.GroupIDNotFound.Code
	d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s not found.", g.id))
	if g.classic != nil {
		d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s is not a consumer group.", g.id))
	}
	return d
}

// MembersCount is how many members the group has, without those that were given an id and have not joined with it.
func (g *Group) MembersCount() int {
	switch {
	case g.classic != nil:
		return len(g.classic.members)
	case g.consumer != nil:
		return g.consumer.membersCount()
	}
	return 0
}

// Bytes is what the members hold, with those that were given an id and have not joined with it, in bytes: ids, metadata and, of a
// classic group, assignments. It is what groupBytesMax bounds.
func (g *Group) Bytes() int64 {
	switch {
	case g.classic != nil:
		return int64(g.classic.bytes)
	case g.consumer != nil:
		g.consumer.derive()
		return int64(g.consumer.bytes)
	}
	return 0
}

// Replay folds one of this group's metadata records into it, at load, in the order of the log or of keys.
func (g *Group) Replay(r Record) error {
	version, name, err := recordKey(r.Key)
	switch {
	case err != nil:
		return err
	case name != g.id:
		return fmt.Errorf("%w: of group %q, not %q", ErrRecord, name, g.id)
	case kindOf(version) == KindClassic:
		return g.replayClassic(r)
	case kindOf(version) == KindConsumer:
		return g.replayConsumer(version, r)
	}
	return fmt.Errorf("%w: key version %d", ErrRecord, version)
}

// Loaded ends a load: the sessions of all members start now, as after Kafka's onLoaded.
func (g *Group) Loaded(now time.Time, topics Topics) {
	switch {
	case g.classic != nil:
		g.classic.loaded(now)
	case g.consumer != nil:
		g.loadedConsumer(now, topics)
	}
}

// Kind says what a record of __consumer_offsets is about.
type Kind uint8

// The kinds of records; the versions of their keys are those of Kafka's CoordinatorRecordType.
const (
	KindUnknown  Kind = iota // share and streams groups, and what is not known yet
	KindOffset               // a committed offset: 0, 1
	KindClassic              // the metadata of a classic group: 2
	KindConsumer             // any metadata of a consumer group: 3 to 8, 16
)

func kindOf(version int16) Kind {
	switch {
	case version == 0 || version == 1:
		return KindOffset
	case version == 2:
		return KindClassic
	case version >= 3 && version <= 8, version == 16:
		return KindConsumer
	}
	return KindUnknown
}

// RecordGroup says what the key of a record is about, and of which group. All keys begin with a version and the group's id; a key of
// an unknown kind has no group.
func RecordGroup(key []byte) (Kind, string, error) {
	if len(key) >= 2 && kindOf(int16(binary.BigEndian.Uint16(key))) == KindUnknown {
		return KindUnknown, "", nil
	}
	version, name, err := recordKey(key)
	return kindOf(version), name, err
}

func recordKey(key []byte) (version int16, group string, err error) {
	if len(key) < 4 {
		return -1, "", fmt.Errorf("%w: a key of %d bytes", ErrRecord, len(key))
	}
	version = int16(binary.BigEndian.Uint16(key))
	n := int(int16(binary.BigEndian.Uint16(key[2:])))
	if n < 0 || n > len(key)-4 {
		return -1, "", fmt.Errorf("%w: a group id of %d bytes in a key of %d", ErrRecord, n, len(key))
	}
	return version, string(key[4 : 4+n]), nil
}
