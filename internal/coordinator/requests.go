package coordinator

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// Group handles JoinGroup, SyncGroup, Heartbeat, LeaveGroup and ConsumerGroupHeartbeat. It waits for no disk but for one look-up of a
// group that is not in memory. The answer has the request's version. The request must not be changed afterwards; byte slices in it
// that alias a frame are copied, and those that nobody needs any more are taken out of it.
func (c *Coordinator) Group(req kmsg.Request, groupID string, client group.Client) *Future {
	c.o.Metrics.Requests.Inc()
	if _, modern := req.(*kmsg.ConsumerGroupHeartbeatRequest); groupID == "" && !modern || len(groupID) > groupIDBytesMax {
		return ready(refuse(req, codeInvalidGroup))
	}
	s := c.shard(groupID)
	if s == nil {
		return ready(refuse(req, c.codeNoTopic()))
	}
	if code := c.limited(req); code != 0 {
		return ready(refuse(req, code))
	}
	own(req)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, code := s.groupLocked(groupID, now)
	if code != 0 {
		return ready(refuse(req, code))
	}
	if code := c.grows(l, req, client); code != 0 {
		s.settleLocked(l, now)
		return ready(refuse(req, code))
	}
	f := s.parkLocked(groupID, func(code int16) kmsg.Response { return refuse(req, code) })
	l.g.SetConfig(c.o.Config(groupID))
	l.g.Step(now, f.call, req, client, c.o.Topics(), &s.mu.out)
	s.settleLocked(l, now)
	shed(req)
	return f
}

func (c *Coordinator) codeNoTopic() int16 {
	if c.offline.Load() {
		return codeNotAvailable
	}
	return codeNotCoordinator
}

// limited refuses what would go over a limit, but for that of groups in memory.
func (c *Coordinator) limited(req kmsg.Request) int16 {
	if code := c.overloaded(); code != 0 {
		return code
	}
	joins := false
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		joins = r.MemberID == ""
	case *kmsg.ConsumerGroupHeartbeatRequest:
		joins = r.MemberEpoch == 0
	}
	if n := c.usage.members.Load(); joins && n >= int64(c.o.Limits.LiveMembersMax) {
		c.usage.refused(limitMembers, n)
		return kerr.GroupMaxSizeReached.Code
	}
	return 0
}

// grows refuses what would make members hold more than all groups may.
func (c *Coordinator) grows(l *live, req kmsg.Request, client group.Client) int16 {
	n := l.g.Growth(req, client)
	held := c.usage.memberBytes.Load()
	if n <= 0 || held+n <= c.o.Limits.MemberBytesMax {
		return 0
	}
	c.usage.refused(limitMemberBytes, held)
	if _, assigns := req.(*kmsg.SyncGroupRequest); assigns {
		return codeNotAvailable
	}
	return kerr.GroupMaxSizeReached.Code
}

// shed takes from a request that may be parked for minutes what can be large: what the group keeps of it is counted in
// Limits.MemberBytesMax, and the rest, such as assignments of one who is not the leader, nobody reads again. What stays are names,
// which the server counts while the request waits.
func shed(req kmsg.Request) {
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		r.Protocols = nil
	case *kmsg.SyncGroupRequest:
		r.GroupAssignment = nil
	}
}

// overloaded refuses while too much waits.
func (c *Coordinator) overloaded() int16 {
	if n := c.usage.pendingBytes.Load(); n >= c.o.Limits.PendingBytesMax {
		c.usage.refused(limitBytes, n)
		return codeLoading
	}
	if n := c.usage.parked.Load(); n >= int64(c.o.Limits.ParkedCallsMax) {
		c.usage.refused(limitCalls, n)
		return codeLoading
	}
	return 0
}

// own copies what a group may keep of a request and does not belong to it.
func own(req kmsg.Request) {
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		for i := range r.Protocols {
			r.Protocols[i].Metadata = bytes.Clone(r.Protocols[i].Metadata)
		}
	case *kmsg.SyncGroupRequest:
		for i := range r.GroupAssignment {
			r.GroupAssignment[i].MemberAssignment = bytes.Clone(r.GroupAssignment[i].MemberAssignment)
		}
	}
}
