package broker

import (
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/partition"
)

// The protocol of sessions, apart from partitions and their records.

var sessionStart = time.Unix(1_700_000_000, 0)

func sessionRequest(id, epoch int32, wants ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.SessionID, req.SessionEpoch = 12, id, epoch
	if len(wants) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = "t"
		for _, index := range wants {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, int64(index)*10, 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// startSession opens a session over partitions that are found.
func startSession(t *testing.T, c *sessionCache, now time.Time, wants ...int32) int32 {
	t.Helper()
	use, parts := c.open(sessionRequest(0, 0, wants...), nil, now)
	if use.kind != sessionFull || len(parts) != len(wants) {
		t.Fatalf("full request: kind %d with %d partitions", use.kind, len(parts))
	}
	for i := range parts {
		parts[i].p = new(partition.Partition)
	}
	id, code := c.close(use, parts, false, now)
	if code != codeNone {
		t.Fatalf("full request: code %d", code)
	}
	return id
}

func indexes(parts []fetchPart) (out []int32) {
	for i := range parts {
		if !parts[i].omit {
			out = append(out, parts[i].key.index)
		}
	}
	return out
}

func equalIndexes(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestSessionIncremental(t *testing.T) {
	c := newSessionCache(10, 1000)
	id := startSession(t, c, sessionStart, 1, 2, 3)
	if id == sessionInvalidID {
		t.Fatal("no session")
	}
	// Nothing named: all three are read, none changed, none answered.
	use, parts := c.open(sessionRequest(id, 1), nil, sessionStart)
	if use.code != codeNone || !equalIndexes(indexes(parts), []int32{1, 2, 3}) {
		t.Fatalf("code %d, partitions %v", use.code, indexes(parts))
	}
	if got, code := c.close(use, parts, false, sessionStart); got != id || code != codeNone {
		t.Fatalf("session %d code %d", got, code)
	}
	// The first answer told a high watermark of 0 and so does this one.
	if got := indexes(parts); got != nil {
		t.Fatalf("answered %v though nothing changed", got)
	}
	// Partition 2 has records: it is answered and goes to the end.
	use, parts = c.open(sessionRequest(id, 2), nil, sessionStart)
	parts[1].data, parts[1].highWater = []byte("records"), 5
	c.close(use, parts, false, sessionStart)
	if got := indexes(parts); !equalIndexes(got, []int32{2}) {
		t.Fatalf("answered %v, want 2", got)
	}
	// 1 gets another offset, 4 is new, 3 is forgotten.
	req := sessionRequest(id, 3, 1, 4)
	req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: "t", Partitions: []int32{3}})
	req.Topics[0].Partitions[0].FetchOffset = 99
	use, parts = c.open(req, nil, sessionStart)
	if got := indexes(parts); !equalIndexes(got, []int32{1, 2, 4}) {
		t.Fatalf("partitions %v, want 1 2 4", got)
	}
	if parts[0].want.offset != 99 {
		t.Fatalf("offset %d, want 99", parts[0].want.offset)
	}
	c.close(use, parts, false, sessionStart)
	if got := indexes(parts); !equalIndexes(got, []int32{2, 4}) {
		t.Fatalf("answered %v: 2 because its high watermark is 0 again, 4 because it is new", got)
	}
}

// TestSessionErrorIsAnsweredAgainWhenGone: an error is answered each time, and when it
// is gone the partition is answered once more.
func TestSessionErrorIsAnsweredAgainWhenGone(t *testing.T) {
	c := newSessionCache(10, 1000)
	id := startSession(t, c, sessionStart, 1)
	epoch := int32(1)
	for _, step := range []struct {
		code     int16
		answered bool
	}{{codeNone, false}, {codeUnknownTopicOrPartition, true}, {codeUnknownTopicOrPartition, true}, {codeNone, true}, {codeNone, false}} {
		use, parts := c.open(sessionRequest(id, epoch), nil, sessionStart)
		if parts[0].code = step.code; step.code != codeNone {
			parts[0].highWater, parts[0].logStart = -1, -1
		}
		c.close(use, parts, false, sessionStart)
		if parts[0].omit == step.answered {
			t.Fatalf("epoch %d code %d: answered %v", epoch, step.code, !parts[0].omit)
		}
		epoch++
	}
}

func TestSessionRefusals(t *testing.T) {
	c := newSessionCache(10, 1000)
	id := startSession(t, c, sessionStart, 1, 2)
	if use, _ := c.open(sessionRequest(id+1, 1), nil, sessionStart); use.code != codeFetchSessionIDNotFound {
		t.Errorf("unknown session: %d", use.code)
	}
	if use, _ := c.open(sessionRequest(id, 2), nil, sessionStart); use.code != codeInvalidFetchSessionEpoch {
		t.Errorf("epoch ahead: %d", use.code)
	}
	byID := sessionRequest(id, 1)
	byID.Version = 13
	if use, _ := c.open(byID, nil, sessionStart); use.code != codeFetchSessionTopicID {
		t.Errorf("by id in a session by name: %d", use.code)
	}
	// Used twice before the first answer: the first one is refused at its end.
	first, parts := c.open(sessionRequest(id, 1), nil, sessionStart)
	if _, parts := c.open(sessionRequest(id, 2), nil, sessionStart); len(parts) != 2 {
		t.Fatal("second use refused")
	}
	if got, code := c.close(first, parts, false, sessionStart); got != id || code != codeInvalidFetchSessionEpoch {
		t.Errorf("first use: session %d code %d", got, code)
	}
	// A full request that names the session ends it.
	c.open(sessionRequest(id, sessionFinalEpoch), nil, sessionStart)
	if use, _ := c.open(sessionRequest(id, 3), nil, sessionStart); use.code != codeFetchSessionIDNotFound {
		t.Errorf("ended session: %d", use.code)
	}
}

func TestSessionEndsWithItsLastPartition(t *testing.T) {
	c := newSessionCache(10, 1000)
	id := startSession(t, c, sessionStart, 1)
	req := sessionRequest(id, 1)
	req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: []int32{1}}}
	use, parts := c.open(req, nil, sessionStart)
	if use.kind != sessionNone || use.code != codeNone || len(parts) != 0 {
		t.Fatalf("kind %d code %d partitions %d", use.kind, use.code, len(parts))
	}
	if len(c.mu.sessions) != 0 || c.mu.parts != 0 {
		t.Fatalf("%d sessions, %d partitions left", len(c.mu.sessions), c.mu.parts)
	}
}

func TestSessionOfUnknownTopicsIsNotMade(t *testing.T) {
	c := newSessionCache(10, 1000)
	use, parts := c.open(sessionRequest(0, 0, 1, 2), nil, sessionStart)
	if id, _ := c.close(use, parts, false, sessionStart); id != sessionInvalidID {
		t.Fatal("a session that knows nothing was made")
	}
}

func TestSessionEviction(t *testing.T) {
	c := newSessionCache(2, 1000)
	small := startSession(t, c, sessionStart, 1)
	large := startSession(t, c, sessionStart, 1, 2, 3)
	// Nobody is old: no room, whatever the size.
	if id := startSession(t, c, sessionStart.Add(time.Minute), 1, 2, 3, 4); id != sessionInvalidID {
		t.Fatal("evicted a session that is new")
	}
	// Both in use and old enough: the smaller goes, for one that is not smaller itself.
	later := sessionStart.Add(sessionEvictionAge + time.Second)
	for _, id := range []int32{small, large} {
		use, parts := c.open(sessionRequest(id, 1), nil, later)
		c.close(use, parts, false, later)
	}
	second := startSession(t, c, later, 1, 2)
	if second == sessionInvalidID || c.get(small) != nil || c.get(large) == nil {
		t.Fatal("the smaller session should have gone")
	}
	if id := startSession(t, c, later, 1, 2); id != sessionInvalidID {
		t.Fatal("evicted a larger session, or a new one")
	}
	// Unused for long: goes for anybody.
	if id := startSession(t, c, later.Add(sessionEvictionAge+time.Second), 1); id == sessionInvalidID {
		t.Fatal("a stale session keeps its slot")
	}
}

// TestSessionPartitionsAreBounded: the memory of all sessions has a bound, and who
// passes it goes on without a session.
func TestSessionPartitionsAreBounded(t *testing.T) {
	c := newSessionCache(100, 5)
	first := startSession(t, c, sessionStart, 1, 2, 3)
	if id := startSession(t, c, sessionStart, 1, 2, 3); id != sessionInvalidID {
		t.Fatal("six partitions where five fit")
	}
	startSession(t, c, sessionStart, 1, 2)
	use, parts := c.open(sessionRequest(first, 1, 4), nil, sessionStart)
	if use.code != codeFetchSessionIDNotFound || len(parts) != 0 {
		t.Fatalf("grew past the bound: code %d", use.code)
	}
	if c.mu.parts != 2 || len(c.mu.sessions) != 1 {
		t.Fatalf("%d partitions in %d sessions, want 2 in 1", c.mu.parts, len(c.mu.sessions))
	}
}

func TestNextSessionEpoch(t *testing.T) {
	for epoch, want := range map[int32]int32{-1: -1, 0: 1, 1: 2, math.MaxInt32: 1, math.MinInt32: -1} {
		if got := nextSessionEpoch(epoch); got != want {
			t.Errorf("after %d: %d, want %d", epoch, got, want)
		}
	}
}
