package group

import "time"

// deadlines are the clocks of one member; the zero time is a clock that does not run.
type deadlines struct {
	session   time.Time
	rebalance time.Time // by then it must have left rebalanceEpoch
	join      time.Time // classic member: by then it must have joined again
	sync      time.Time // classic member: by then it must have fetched its assignment

	rebalanceEpoch int32

	// at is the moment the heap knows for this member: never later than the earliest clock. index is its place, less than zero: none.
	at    time.Time
	index int
}

// earliest is the earliest clock that runs.
func (d *deadlines) earliest() (at time.Time) {
	for _, t := range [...]time.Time{d.session, d.rebalance, d.join, d.sync} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// timerHeap has the members by their next deadline. A heartbeat moves a session further away and leaves the heap as it is: it finds
// out when the old moment comes, once per session timeout. So a heartbeat costs O(1), and a tick O(log members) for each member due.
type timerHeap []*consumerMember

// touch must follow every change of a member's clocks.
func (h *timerHeap) touch(m *consumerMember) {
	at := m.earliest()
	switch {
	case at.IsZero():
		h.remove(m)
	case !h.holds(m):
		m.at, m.index = at, len(*h)
		*h = append(*h, m)
		h.up(m.index)
	case at.Before(m.at):
		m.at = at
		h.up(m.index)
	}
}

func (h timerHeap) holds(m *consumerMember) bool { return m.index < len(h) && h[m.index] == m }

func (h *timerHeap) remove(m *consumerMember) {
	if !h.holds(m) {
		return
	}
	i, last := m.index, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// due takes out of the heap whose deadline has come, and returns nil when there is none.
func (h *timerHeap) due(now time.Time) *consumerMember {
	for len(*h) > 0 && !(*h)[0].at.After(now) {
		m := (*h)[0]
		if at := m.earliest(); at.After(now) {
			m.at = at
			h.down(0)
			continue
		}
		h.remove(m)
		return m
	}
	return nil
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].at.Before(h[parent].at) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timerHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].at.Before(h[least].at) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (c *consumerGroup) deadline() (time.Time, bool) {
	if len(c.timers) == 0 {
		return time.Time{}, false
	}
	return c.timers[0].at, true
}

func (c *consumerGroup) startSession(m *consumerMember, now time.Time, timeout time.Duration) {
	m.session = now.Add(timeout)
	c.timers.touch(m)
}
