package coordinator

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// ticksMax is how many groups of a shard are handled before its lock is given up once.
	ticksMax = 64
	// tickAgain is when a group is looked at again that still has a deadline in the past after it was handled.
	tickAgain = time.Millisecond
	// alarmIdle is how long nothing is looked at when no group has a deadline.
	alarmIdle = time.Hour
)

// alarm is the one goroutine behind all deadlines of all groups. Each shard has a heap of its groups' deadlines; here is the
// earliest of all.
type alarm struct {
	c    *Coordinator
	rung chan struct{}
	mu   struct {
		sync.Mutex
		next time.Time
	}
}

func newAlarm(c *Coordinator) *alarm {
	a := &alarm{c: c, rung: make(chan struct{}, 1)}
	a.mu.next = time.Now().Add(alarmIdle)
	return a
}

// at has the shards looked at by t.
func (a *alarm) at(t time.Time) {
	a.mu.Lock()
	earlier := t.Before(a.mu.next)
	if earlier {
		a.mu.next = t
	}
	a.mu.Unlock()
	if earlier {
		a.ring()
	}
}

// ring has the goroutine look at what there is to do.
func (a *alarm) ring() {
	select {
	case a.rung <- struct{}{}:
	default:
	}
}

func (a *alarm) run() {
	timer := time.NewTimer(alarmIdle)
	defer timer.Stop()
	for {
		a.mu.Lock()
		next := a.mu.next
		a.mu.Unlock()
		timer.Reset(time.Until(next))
		select {
		case <-a.c.ctx.Done():
			return
		case <-a.rung:
		case <-timer.C:
		}
		if a.c.offline.Load() { // for good
			a.c.abandonAll(codeNotAvailable)
			<-a.c.ctx.Done()
			return
		}
		if a.c.shards.check.Swap(false) {
			a.c.checkPartitions()
		}
		a.tick()
	}
}

// tick handles all groups that are due and sets the alarm to the earliest deadline that is left.
func (a *alarm) tick() {
	now := time.Now()
	a.mu.Lock()
	due := !a.mu.next.After(now)
	if due {
		a.mu.next = now.Add(alarmIdle)
	}
	a.mu.Unlock()
	if !due {
		return
	}
	for _, s := range a.c.everySeen() {
		if next, some := s.tick(now); some {
			a.at(next)
		}
	}
}

// tick handles the groups of a shard whose deadline is over, and returns the earliest deadline that is left.
func (s *shard) tick(now time.Time) (next time.Time, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lost, _ := s.checkPartitionLocked(); lost {
		return time.Time{}, false
	}
	for n := 0; len(s.mu.due) > 0; n++ {
		l := s.mu.due[0]
		if l.due.After(now) {
			return l.due, true
		}
		if n > 0 && n%ticksMax == 0 {
			s.mu.Unlock()
			s.mu.Lock()
			continue
		}
		s.unplanLocked(l)
		// Deadlines move on without the heap being told: most of what comes up here has time yet.
		if d, some := l.g.Deadline(); some && !d.After(now) {
			l.g.Tick(now, s.c.o.Topics(), &s.mu.out)
			s.settleLocked(l, now)
			if d, some := l.g.Deadline(); some && !d.After(now) && l.heapAt > 0 {
				l.due = now.Add(tickAgain)
				heap.Fix(&s.mu.due, l.heapAt-1)
			}
			continue
		}
		s.planLocked(l)
	}
	return time.Time{}, false
}

// planLocked sees to it that the group is looked at by its deadline. A deadline that has moved on is left as it is in the heap.
func (s *shard) planLocked(l *live) {
	d, some := l.g.Deadline()
	switch {
	case !some || l.broken:
		return
	case l.heapAt == 0:
		l.due = d
		heap.Push(&s.mu.due, l)
	case d.Before(l.due):
		l.due = d
		heap.Fix(&s.mu.due, l.heapAt-1)
	default:
		return
	}
	if s.mu.due[0] == l {
		s.c.alarm.at(d)
	}
}

func (s *shard) unplanLocked(l *live) {
	if l.heapAt > 0 {
		heap.Remove(&s.mu.due, l.heapAt-1)
	}
}

// deadlines is a heap of groups by deadline.
type deadlines []*live

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due.Before(d[j].due) }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heapAt, d[j].heapAt = i+1, j+1
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	l := x.(*live)
	*d = append(*d, l)
	l.heapAt = len(*d)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	l := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	l.heapAt = 0
	return l
}
