package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicState is where a classic group is in its life (ClassicGroupState).
type classicState uint8

const (
	stateEmpty classicState = iota
	statePreparing
	stateCompleting
	stateStable
	stateDead
)

// String is Kafka's name of the state, as ListGroups and DescribeGroups have it.
func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

type classicGroup struct {
	g            *Group
	state        classicState
	protocolType string
	members      map[string]*classicMember
}

type classicMember struct{}

func newClassicGroup(g *Group) *classicGroup {
	return &classicGroup{g: g, members: map[string]*classicMember{}}
}

func (g *Group) join(now time.Time, call Call, r *kmsg.JoinGroupRequest, client Client, out *Output) {
}
func (g *Group) sync(now time.Time, call Call, r *kmsg.SyncGroupRequest, out *Output)      {}
func (g *Group) heartbeat(now time.Time, call Call, r *kmsg.HeartbeatRequest, out *Output) {}
func (g *Group) leave(now time.Time, call Call, r *kmsg.LeaveGroupRequest, out *Output)    {}
func (g *Group) replayClassic(r Record) error                                              { return nil }

func (c *classicGroup) tick(now time.Time, out *Output)            {}
func (c *classicGroup) deadline() (time.Time, bool)                { return time.Time{}, false }
func (c *classicGroup) drop(call Call)                             {}
func (c *classicGroup) abandon(code int16, out *Output)            {}
func (c *classicGroup) idle() bool                                 { return true }
func (c *classicGroup) loaded(now time.Time)                       {}
func (c *classicGroup) deleteAllowed() int16                       { return 0 }
func (c *classicGroup) offsetDeleteAllowed(string) int16           { return 0 }
func (c *classicGroup) subscribed(string) bool                     { return false }
func (c *classicGroup) emptySince() (time.Time, bool)              { return time.Time{}, false }
func (c *classicGroup) tombstones(out *Output)                     {}
func (c *classicGroup) commitAllowed(CommitCheck, time.Time) int16 { return 0 }
func (c *classicGroup) offsetsExpireFrom(committed time.Time) (time.Time, bool) {
	return committed, true
}
func (c *classicGroup) describe() kmsg.DescribeGroupsResponseGroup {
	return kmsg.NewDescribeGroupsResponseGroup()
}
