package broker

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Incremental fetch sessions (KIP-227; Kafka's FetchSession.scala). A session
// remembers the partitions a client fetches, so that the client names only what
// changed and the answer holds only what is new.

const (
	sessionInvalidID    int32 = 0
	sessionInitialEpoch int32 = 0
	sessionFinalEpoch   int32 = -1
	// sessionEvictionAge is how long a session is safe from one that wants its slot
	// (ServerConfigs.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS).
	sessionEvictionAge = 120 * time.Second
	// sessionPartitionsMax bounds the partitions that all sessions remember, about
	// 200 bytes each. Kafka bounds only the sessions. Who finds no room fetches
	// without a session, which every client does when told so.
	sessionPartitionsMax = 500_000
)

// nextSessionEpoch follows FetchMetadata.nextEpoch: 0 only starts a session.
func nextSessionEpoch(epoch int32) int32 {
	switch {
	case epoch < 0:
		return sessionFinalEpoch
	case epoch == math.MaxInt32:
		return 1
	}
	return epoch + 1
}

// fetchKey names a partition within a session: by id or by name, never both.
type fetchKey struct {
	id    [16]byte
	topic string
	index int32
}

// sessionPart is a partition that a session remembers, an element of its list.
type sessionPart struct {
	key          fetchKey
	want         fetchWant
	resolvedName string // the topic's name when it was last found by id
	highWater    int64  // as last answered; -1 so that it will be answered
	logStart     int64
	prev, next   *sessionPart
}

// fetchSession is one session. Its order is the order of answering; a partition that
// gave records goes to the end, so that every partition gets its turn however small
// the answers are.
type fetchSession struct {
	id      int32
	usesIDs bool
	created time.Time

	mu struct {
		sync.Mutex
		epoch int32 // of the next request
		parts map[fetchKey]*sessionPart
		list  sessionPart // sentinel of the ring
	}

	// Guarded by the cache's lock.
	lastUsed time.Time
	size     int // as counted in the cache's total
}

func newFetchSession(usesIDs bool, now time.Time, size int) *fetchSession {
	s := &fetchSession{usesIDs: usesIDs, created: now, lastUsed: now}
	s.mu.epoch = nextSessionEpoch(sessionInitialEpoch)
	s.mu.parts = make(map[fetchKey]*sessionPart, size)
	s.mu.list.prev, s.mu.list.next = &s.mu.list, &s.mu.list
	return s
}

func (s *fetchSession) pushLocked(p *sessionPart) {
	last := s.mu.list.prev
	p.prev, p.next = last, &s.mu.list
	last.next, s.mu.list.prev = p, p
}

func (p *sessionPart) unlink() {
	p.prev.next, p.next.prev = p.next, p.prev
	p.prev, p.next = nil, nil
}

// putLocked remembers a partition or what is now wanted of it.
func (s *fetchSession) putLocked(key fetchKey, want fetchWant) *sessionPart {
	p := s.mu.parts[key]
	if p == nil {
		p = &sessionPart{key: key, highWater: -1, logStart: -1}
		s.mu.parts[key] = p
		s.pushLocked(p)
	}
	p.want = want
	return p
}

func (s *fetchSession) forgetLocked(key fetchKey) {
	if p := s.mu.parts[key]; p != nil {
		delete(s.mu.parts, key)
		p.unlink()
	}
}

// sessionCache holds all sessions. Lock order: the cache's, then a session's.
type sessionCache struct {
	slotsMax, partsMax int

	mu struct {
		sync.Mutex
		sessions map[int32]*fetchSession
		parts    int // of all sessions together
	}
}

func newSessionCache(slotsMax, partsMax int) *sessionCache {
	c := &sessionCache{slotsMax: slotsMax, partsMax: partsMax}
	c.mu.sessions = make(map[int32]*fetchSession)
	return c
}

// create gives the session a slot and an id, which is sessionInvalidID when there is
// no room for it.
func (c *sessionCache) create(s *fetchSession, size int, now time.Time) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.sessions) >= c.slotsMax && !c.evictLocked(size, now) {
		return sessionInvalidID
	}
	if size > c.partsMax-c.mu.parts && (!c.evictLocked(size, now) || size > c.partsMax-c.mu.parts) {
		return sessionInvalidID
	}
	for {
		s.id = rand.Int32N(math.MaxInt32-1) + 1
		if _, taken := c.mu.sessions[s.id]; !taken {
			break
		}
	}
	s.size = size
	c.mu.parts += size
	c.mu.sessions[s.id] = s
	return s.id
}

// evictLocked makes room for a session of size partitions: the longest unused one
// goes if it is stale, else the smallest that is not new and not larger
// (FetchSessionCacheShard.tryEvict). Followers, which Kafka prefers, do not exist here.
func (c *sessionCache) evictLocked(size int, now time.Time) bool {
	var stale, small *fetchSession
	for _, s := range c.mu.sessions {
		if stale == nil || s.lastUsed.Before(stale.lastUsed) {
			stale = s
		}
		if now.Sub(s.created) > sessionEvictionAge && (small == nil || s.size < small.size) {
			small = s
		}
	}
	switch {
	case stale == nil:
		return false
	case now.Sub(stale.lastUsed) > sessionEvictionAge:
		c.removeLocked(stale)
		return true
	case small == nil || small.size > size:
		return false
	}
	c.removeLocked(small)
	return true
}

func (c *sessionCache) removeLocked(s *fetchSession) {
	if c.mu.sessions[s.id] == s {
		delete(c.mu.sessions, s.id)
		c.mu.parts -= s.size
	}
}

func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.mu.sessions[id]; s != nil {
		c.removeLocked(s)
	}
}

func (c *sessionCache) get(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.sessions[id]
}

// touch notes that s was used and how large it is now. A session that no longer fits
// is dropped, and touch says false.
func (c *sessionCache) touch(s *fetchSession, size int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.sessions[s.id] != s {
		return true // removed meanwhile: this request still ends well, as in Kafka
	}
	if size-s.size > c.partsMax-c.mu.parts {
		c.removeLocked(s)
		return false
	}
	c.mu.parts += size - s.size
	s.size, s.lastUsed = size, now
	return true
}

// sessionKind says what a request is within the protocol of sessions.
type sessionKind uint8

const (
	sessionNone        sessionKind = iota // answered in full, nothing remembered
	sessionFull                           // answered in full, and a session made of it
	sessionIncremental                    // answered with what changed
)

// sessionUse is how one request uses sessions.
type sessionUse struct {
	kind    sessionKind
	code    int16 // the request is refused
	session *fetchSession
	epoch   int32 // the session's after this request; another one means that it was used again
}

// open decides what a request is, and brings the session it names up to date
// (FetchManager.newContext). It appends what is to be fetched to parts.
func (c *sessionCache) open(req *kmsg.FetchRequest, parts []fetchPart, now time.Time) (sessionUse, []fetchPart) {
	if req.SessionEpoch == sessionInitialEpoch || req.SessionEpoch == sessionFinalEpoch {
		if req.SessionID != sessionInvalidID {
			c.remove(req.SessionID) // a full request ends the session it names
		}
		kind := sessionFull
		if req.SessionEpoch == sessionFinalEpoch {
			kind = sessionNone
		}
		return sessionUse{kind: kind}, appendRequested(parts, req)
	}
	s := c.get(req.SessionID)
	if s == nil {
		return sessionUse{code: codeFetchSessionIDNotFound}, parts
	}
	use, parts, size := s.use(req, parts)
	switch {
	case use.code != codeNone:
		return use, parts
	case size == 0:
		c.remove(s.id)
	case !c.touch(s, size, now):
		return sessionUse{code: codeFetchSessionIDNotFound}, parts[:0]
	}
	return use, parts
}

// use brings the session up to date with a request and appends its partitions.
func (s *fetchSession) use(req *kmsg.FetchRequest, parts []fetchPart) (sessionUse, []fetchPart, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch byID := req.Version >= fetchTopicIDMin; {
	case s.mu.epoch != req.SessionEpoch:
		return sessionUse{code: codeInvalidFetchSessionEpoch}, parts, 0
	case s.usesIDs != byID:
		return sessionUse{code: codeFetchSessionTopicID}, parts, 0
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			s.putLocked(fetchKey{id: t.TopicID, topic: t.Topic, index: p.Partition}, wantOf(p))
		}
	}
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, index := range t.Partitions {
			s.forgetLocked(fetchKey{id: t.TopicID, topic: t.Topic, index: index})
		}
	}
	if len(s.mu.parts) == 0 {
		return sessionUse{kind: sessionNone}, appendRequested(parts, req), 0
	}
	s.mu.epoch = nextSessionEpoch(s.mu.epoch)
	for p := s.mu.list.next; p != &s.mu.list; p = p.next {
		parts = append(parts, fetchPart{key: p.key, want: p.want, resolvedName: p.resolvedName})
	}
	return sessionUse{kind: sessionIncremental, session: s, epoch: s.mu.epoch}, parts, len(s.mu.parts)
}

// appendRequested appends the partitions that the request itself names.
func appendRequested(parts []fetchPart, req *kmsg.FetchRequest) []fetchPart {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			parts = append(parts, fetchPart{key: fetchKey{id: t.TopicID, topic: t.Topic, index: p.Partition}, want: wantOf(p)})
		}
	}
	return parts
}

// close settles the session after the partitions were read. It returns the session
// id to answer with, and drops from the answer what the client knows already.
func (c *sessionCache) close(use sessionUse, parts []fetchPart, usesIDs bool, now time.Time) (id int32, code int16) {
	switch use.kind {
	case sessionFull:
		return c.createFrom(parts, usesIDs, now), codeNone
	case sessionIncremental:
		if !use.session.settle(use.epoch, parts) {
			return use.session.id, codeInvalidFetchSessionEpoch
		}
		return use.session.id, codeNone
	}
	return sessionInvalidID, use.code
}

// createFrom makes a session of a full request. A request that names nothing known
// makes none: unknown topics alone get no memory here.
func (c *sessionCache) createFrom(parts []fetchPart, usesIDs bool, now time.Time) int32 {
	known := false
	for i := range parts {
		known = known || parts[i].p != nil
	}
	if !known {
		return sessionInvalidID
	}
	s := newFetchSession(usesIDs, now, len(parts))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range parts {
		p := &parts[i]
		remembered := s.putLocked(p.key, p.want)
		remembered.highWater, remembered.logStart = p.highWater, p.logStart
		remembered.resolvedName = p.resolvedName
	}
	return c.create(s, len(s.mu.parts), now)
}

// settle remembers what is answered and omits what did not change. It says false if
// the session was used again meanwhile.
func (s *fetchSession) settle(epoch int32, parts []fetchPart) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.epoch != epoch {
		return false
	}
	for i := range parts {
		p := &parts[i]
		remembered := s.mu.parts[p.key]
		if remembered == nil {
			continue
		}
		remembered.resolvedName = p.resolvedName
		p.omit = !remembered.mustAnswer(p)
		if len(p.data) > 0 {
			remembered.unlink()
			s.pushLocked(remembered)
		}
	}
	return true
}

// mustAnswer is CachedPartition.maybeUpdateResponseData.
func (p *sessionPart) mustAnswer(r *fetchPart) bool {
	must := len(r.data) > 0 || p.highWater != r.highWater || p.logStart != r.logStart || r.diverges
	p.highWater, p.logStart = r.highWater, r.logStart
	if r.code != codeNone {
		p.highWater = -1 // so that the partition is answered when the error is gone
		must = true
	}
	return must
}
