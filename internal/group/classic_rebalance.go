package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rebalanceOrComplete begins a rebalance if none runs, and ends the one that runs if all have joined.
func (c *classicGroup) rebalanceOrComplete(now time.Time, out *Output) {
	if c.state == statePreparing {
		c.maybeCompleteJoin(now, out)
		return
	}
	c.prepareRebalance(now, out)
}

// maybeCompleteJoin does not end a first rebalance: that has its delay.
func (c *classicGroup) maybeCompleteJoin(now time.Time, out *Output) {
	if c.state == statePreparing && c.previous != stateEmpty && c.allJoined() {
		c.completeJoin(now, out)
	}
}

// prepareRebalance asks all members to join again (GroupMetadataManager.prepareRebalance).
func (c *classicGroup) prepareRebalance(now time.Time, out *Output) {
	if c.state == stateCompleting {
		c.all(func(m *classicMember) { c.assign(m, nil) })
		c.propagate(now, kerr.RebalanceInProgress.Code, out)
	}
	c.clearPendingSync()
	if c.state != stateEmpty {
		c.transition(statePreparing, now)
		if c.allJoined() {
			c.completeJoin(now, out)
			return
		}
		c.startJoinTimer(now, timerJoin, c.rebalanceTimeout())
		return
	}
	c.transition(statePreparing, now)
	c.newMemberAdded = false
	c.initialDelay = c.g.cfg.InitialRebalanceDelay
	c.initialLeft = max(c.rebalanceTimeout()-c.initialDelay, 0)
	if c.initialDelay <= 0 {
		c.completeJoin(now, out)
		return
	}
	c.startJoinTimer(now, timerInitial, c.initialDelay)
}

func (c *classicGroup) startJoinTimer(now time.Time, kind timerKind, d time.Duration) {
	c.timers.cancel(&c.joinTimer)
	c.joinTimer.kind = kind
	c.timers.set(&c.joinTimer, now.Add(d))
}

// initialDelayOver extends the delay of a first rebalance while new members come, up to their rebalance timeout.
func (c *classicGroup) initialDelayOver(now time.Time, out *Output) {
	if !c.newMemberAdded || c.initialLeft == 0 {
		c.completeJoin(now, out)
		return
	}
	c.newMemberAdded = false
	last := c.initialDelay
	c.initialDelay = min(c.g.cfg.InitialRebalanceDelay, c.initialLeft)
	c.initialLeft = max(c.initialLeft-last, 0)
	c.startJoinTimer(now, timerInitial, c.initialDelay)
}

// completeJoin ends the time to join: who has not come is no member any more, unless static; the others make the next generation
// (GroupMetadataManager.completeClassicGroupJoin).
func (c *classicGroup) completeJoin(now time.Time, out *Output) {
	c.timers.cancel(&c.joinTimer)
	if c.awaitingJoin < len(c.members) {
		c.all(func(m *classicMember) {
			if !m.join.set && m.instance == nil {
				c.remove(m, out)
			}
		})
	}
	if len(c.members) > 0 && !c.electJoined() {
		// Only static members that did not come: wait until their sessions end.
		c.startJoinTimer(now, timerJoin, max(c.rebalanceTimeout(), rejoinWaitMin))
		return
	}
	c.nextGeneration(now)
	if c.state == stateEmpty {
		c.record(out)
		return
	}
	c.all(func(m *classicMember) {
		if m.join.set {
			c.replyJoin(m, c.joinResponse(m, c.leader == m), out)
		}
		c.expect(now, m, m.session)
		m.isNew = false
		m.needsSync = true
		c.pendingSync++
	})
	c.timers.set(&c.syncTimer, now.Add(c.rebalanceTimeout()))
}

// electJoined makes sure that the leader is one who has joined; false when nobody has.
func (c *classicGroup) electJoined() bool {
	if c.leader.join.set {
		return true
	}
	for e := c.order.Front(); e != nil; e = e.Next() {
		if m := e.Value.(*classicMember); m.join.set {
			c.leader = m
			return true
		}
	}
	return false
}

func (c *classicGroup) nextGeneration(now time.Time) {
	c.generation++
	c.clearPendingSync()
	if len(c.members) == 0 {
		c.protocol = nil
		c.transition(stateEmpty, now)
	} else {
		protocol := c.selectProtocol()
		c.protocol = &protocol
		c.transition(stateCompleting, now)
	}
	c.readSubscription()
}

func (c *classicGroup) assign(m *classicMember, assignment []byte) {
	c.bytes += len(assignment) - len(m.assignment)
	m.assignment = assignment
}

// propagate answers those who wait for the leader. Their sessions start anew: while they waited no end of a session counted.
func (c *classicGroup) propagate(now time.Time, code int16, out *Output) {
	c.all(func(m *classicMember) {
		if c.replySync(m, code, out) {
			c.expect(now, m, m.session)
		}
	})
}

func (c *classicGroup) deadline() (time.Time, bool) { return c.timers.next() }

func (c *classicGroup) tick(now time.Time, out *Output) {
	for t := c.timers.pop(now); t != nil; t = c.timers.pop(now) {
		switch t.kind {
		case timerInitial:
			c.initialDelayOver(now, out)
		case timerJoin:
			c.completeJoin(now, out)
		case timerSync:
			c.syncOverdue(now, out)
		case timerMember:
			c.sessionOver(now, t.member, out)
		}
	}
}

// sessionOver gives up a member of which nothing was heard, unless it waits for an answer (GroupMetadataManager
// .expireClassicGroupMemberHeartbeat). A new member is given up even then: see newMemberJoinTimeout.
func (c *classicGroup) sessionOver(now time.Time, m *classicMember, out *Output) {
	if c.pending[m.id] == m {
		c.forgetPending(m.id)
		if c.state == statePreparing && c.allJoined() {
			c.completeJoin(now, out)
		}
		return
	}
	if !m.isNew && (m.join.set || m.sync.set) {
		return
	}
	c.remove(m, out)
	switch {
	case c.state == stateStable || c.state == stateCompleting:
		c.prepareRebalance(now, out)
	case c.state == statePreparing && c.allJoined():
		c.completeJoin(now, out)
	}
}

// syncOverdue removes the members that joined this generation and did not sync (GroupMetadataManager.expirePendingSync).
func (c *classicGroup) syncOverdue(now time.Time, out *Output) {
	if c.pendingSync == 0 || c.state != stateCompleting && c.state != stateStable {
		return
	}
	c.all(func(m *classicMember) {
		if m.needsSync {
			c.remove(m, out)
		}
	})
	c.prepareRebalance(now, out)
}

// loaded starts the sessions of members that were read from records; a group that is over a limit that was lowered is rebalanced.
func (c *classicGroup) loaded(now time.Time) {
	c.all(func(m *classicMember) { c.expect(now, m, m.session) })
	if n := c.g.cfg.MembersMax; n > 0 && len(c.members) > n {
		var out Output // nobody waits and nobody has joined: nothing can come of it
		c.prepareRebalance(now, &out)
	}
}

// idle says that records hold all of the group.
func (c *classicGroup) idle() bool {
	return c.state == stateEmpty && len(c.members) == 0 && len(c.pending) == 0
}
