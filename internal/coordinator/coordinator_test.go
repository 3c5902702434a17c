package coordinator

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

func TestCommitAndFetch(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for i := range 20 {
			id := fmt.Sprintf("g%d", i)
			mustCommit(t, w, simple(id, "t0", 0, 10))
			mustCommit(t, w, simple(id, "t0", 3, 11))
			mustCommit(t, w, simple(id, "t1", 0, 12))
			mustCommit(t, w, simple(id, "t0", 0, int64(100+i)))
		}
		wantNothingLive(t, w)
		for range 2 {
			for i := range 20 {
				id := fmt.Sprintf("g%d", i)
				wantOffset(t, w, id, "t0", 0, int64(100+i))
				wantOffset(t, w, id, "t0", 3, 11)
				wantOffset(t, w, id, "t1", 0, 12)
				wantOffset(t, w, id, "t1", 1, -1)
			}
			wantOffset(t, w, "none", "t0", 0, -1)
			*w = *w.reopened(t)
		}
		if got := w.listed(t); len(got) != 20 || got["g7"] != "Empty classic" {
			t.Errorf("listed: %v", got)
		}
	})
}

func TestFetchAll(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		req := kmsg.NewOffsetFetchRequestGroup()
		req.Group = "g"
		r, err := w.c.FetchOffsets(t.Context(), &req, false, plenty)
		if err != nil || r.ErrorCode != 0 || len(r.Topics) != 0 {
			t.Fatalf("of nothing: %+v %v", r, err)
		}
		for i := range int32(1200) {
			m := simple("g", fmt.Sprintf("t%d", i%2), i, int64(i))
			m.metadata = "m"
			w.startCommit(m)
		}
		mustCommit(t, w, simple("gg", "t0", 1, 1))
		r, err = w.c.FetchOffsets(t.Context(), &req, true, plenty)
		if err != nil || len(r.Topics) != 2 || len(r.Topics[0].Partitions) != 600 || len(r.Topics[1].Partitions) != 600 {
			t.Fatalf("%d topics, %v", len(r.Topics), err)
		}
		p := r.Topics[1].Partitions[599]
		if r.Topics[1].Topic != "t1" || p.Partition != 1199 || p.Offset != 1199 || p.LeaderEpoch != 7 || *p.Metadata != "m" {
			t.Errorf("last: %+v", p)
		}
	})
}

// TestCommitChecks are the rules of OffsetMetadataManager.
func TestCommitChecks(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		with := func(m commit, change func(m *commit)) commit { change(&m); return m }
		one := simple("g", "t0", 0, 1)
		for i, x := range []struct {
			m    commit
			code *kerr.Error
		}{
			{with(one, func(m *commit) { m.generation = 0 }), kerr.GroupIDNotFound},
			{with(one, func(m *commit) { m.generation, m.version = 0, 8 }), kerr.IllegalGeneration},
			{with(one, func(m *commit) { m.metadata = strings.Repeat("x", 4097) }), kerr.OffsetMetadataTooLarge},
			{with(one, func(m *commit) { m.metadata = strings.Repeat("\u00e9", 4096) }), nil},
			{with(one, func(m *commit) { m.metadata = strings.Repeat("\U0001f600", 2049) }), kerr.OffsetMetadataTooLarge},
			{one, nil},
			{with(one, func(m *commit) { m.generation, m.member = 3, "m" }), kerr.UnknownMemberID}, // the group exists: it has offsets
			{with(one, func(m *commit) { m.group = "" }), nil},
			{with(one, func(m *commit) { m.group = strings.Repeat("g", 1<<15) }), kerr.InvalidGroupID},
		} {
			want := int16(0)
			if x.code != nil {
				want = x.code.Code
			}
			if got := w.commit(x.m); got != want {
				t.Errorf("%d: code %d, want %d", i, got, want)
			}
		}
		wantOffset(t, w, "g", "t0", 0, 1)
		wantNothingLive(t, w)
	})
}

// TestTopicIDs: an offset of a topic that was deleted since is none of the new one's.
func TestTopicIDs(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		m := simple("g", "t0", 0, 5)
		m.id = topicID("t0")
		mustCommit(t, w, m)
		mustCommit(t, w, simple("g", "t1", 0, 6)) // without an id
		for _, x := range []struct {
			topic string
			id    [16]byte
			want  int64
		}{
			{"t0", topicID("t0"), 5}, {"t0", [16]byte{}, 5}, {"t0", topicID("other"), -1}, {"t1", topicID("t1"), 6},
		} {
			req := kmsg.NewOffsetFetchRequestGroup()
			req.Group = "g"
			rt := kmsg.NewOffsetFetchRequestGroupTopic()
			rt.Topic, rt.TopicID, rt.Partitions = x.topic, x.id, []int32{0}
			req.Topics = append(req.Topics, rt)
			r, err := w.c.FetchOffsets(t.Context(), &req, false, plenty)
			if err != nil || r.Topics[0].Partitions[0].Offset != x.want || r.Topics[0].TopicID != x.id {
				t.Errorf("%s %x: %+v %v", x.topic, x.id, r, err)
			}
		}
	})
}

func TestClassicMemberAndRestart(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		member, generation := mustJoin(t, w, "g")
		m := simple("g", "t0", 0, 5)
		if code := w.commit(m); code != kerr.UnknownMemberID.Code {
			t.Errorf("commit from outside a group with members: %d", code)
		}
		m.member, m.generation = member, generation
		mustCommit(t, w, m)
		if got := w.listed(t); got["g"] != "Stable classic" || len(got) != 1 {
			t.Errorf("listed: %v", got)
		}
		*w = *w.reopened(t)
		if got := w.listed(t); got["g"] != "Stable classic" || len(got) != 1 {
			t.Errorf("listed after a restart: %v", got)
		}
		if code := w.heartbeat("g", member, generation); code != 0 {
			t.Errorf("heartbeat after a restart: %d", code)
		}
		m.offset = 6
		mustCommit(t, w, m)
		if d := w.c.Describe(t.Context(), []string{"g", "none"}); d[0].State != "Stable" || len(d[0].Members) != 1 || d[1].State != "Dead" {
			t.Errorf("described: %+v", d)
		}
		if code := w.leave("g", member); code != 0 {
			t.Errorf("leave: %d", code)
		}
		wantNothingLive(t, w)
		if got := w.listed(t); got["g"] != "Empty classic" || len(got) != 1 {
			t.Errorf("listed after the last member left: %v", got)
		}
		wantOffset(t, w, "g", "t0", 0, 6)
		*w = *w.reopened(t)
		wantNothingLive(t, w)
	})
}

// TestSessionEnds: a member that is silent is given up, before a restart and after it.
func TestSessionEnds(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for range 2 {
			member, generation := mustJoin(t, w, "g")
			for range 4 {
				pauseFor(5 * time.Second)
				if code := w.heartbeat("g", member, generation); code != 0 {
					t.Fatalf("heartbeat: %d", code)
				}
			}
			*w = *w.reopened(t)
			pauseFor(9 * time.Second)
			if got := w.listed(t); got["g"] != "Stable classic" {
				t.Errorf("before the session ends: %v", got)
			}
			pauseFor(2 * time.Second)
			if got := w.listed(t); got["g"] != "Empty classic" {
				t.Errorf("after the session has ended: %v", got)
			}
			wantNothingLive(t, w)
		}
	})
}

// consumerBeat is a heartbeat of a member of the consumer protocol, its first one with epoch 0.
func (w *world) consumerBeat(id, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatResponse {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, id, member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 10_000, []string{"t0"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](w, id, req)
}

// TestConfigOfOneGroup: what one group is told counts from its next heartbeat on, and after a restart; other groups do not notice.
func TestConfigOfOneGroup(t *testing.T) {
	var told atomic.Pointer[group.Config]
	told.Store(config)
	configOf := func(id string) *group.Config {
		if id == "told" {
			return told.Load()
		}
		return config
	}
	inWorld(t, worldOptions{configOf: configOf}, func(t *testing.T, w *world) {
		expect := func(id string, epoch int32, interval time.Duration) int32 {
			t.Helper()
			r := w.consumerBeat(id, "m", epoch)
			if r.ErrorCode != 0 || r.HeartbeatIntervalMillis != int32(interval.Milliseconds()) {
				t.Fatalf("%s: code %d, every %d ms", id, r.ErrorCode, r.HeartbeatIntervalMillis)
			}
			return r.MemberEpoch
		}
		states := func(want map[string]string) {
			t.Helper()
			if got := w.listed(t); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		epoch, other := expect("told", 0, 5*time.Second), expect("other", 0, 5*time.Second)
		next := *config
		next.ConsumerSessionTimeout, next.ConsumerHeartbeatInterval = 20*time.Second, 3*time.Second
		told.Store(&next)
		pauseFor(30 * time.Second) // the session that began before
		epoch, other = expect("told", epoch, 3*time.Second), expect("other", other, 5*time.Second)
		pauseFor(21 * time.Second)
		states(map[string]string{"told": "Empty consumer", "other": "Stable consumer"})
		pauseFor(25 * time.Second)
		states(map[string]string{"told": "Empty consumer", "other": "Empty consumer"})

		expect("told", 0, 3*time.Second)
		expect("other", 0, 5*time.Second)
		*w = *w.reopened(t)
		pauseFor(19 * time.Second)
		states(map[string]string{"told": "Stable consumer", "other": "Stable consumer"})
		pauseFor(2 * time.Second)
		states(map[string]string{"told": "Empty consumer", "other": "Stable consumer"})
		pauseFor(25 * time.Second)
		wantNothingLive(t, w)
	})
}

// pauseFor lets the time of the bubble go on.
func pauseFor(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// TestDroppedCall: the connection of a member that waits for others is cut.
func TestDroppedCall(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		r := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := w.c.Group(joinRequest("g", r.MemberID), "g", group.Client{})
		if f.Done() {
			t.Error("a join of a new group is done at once")
		}
		if _, err := f.Wait(ctx); err == nil {
			t.Error("the wait did not end with its context")
		}
		if n := w.c.usage.parked.Load(); n != 0 {
			t.Errorf("%d calls are parked", n)
		}
		pauseFor(2 * time.Minute) // its session ends
		wantNothingLive(t, w)
	})
}

// TestCloseAnswersWaiting: a stop leaves nobody waiting.
func TestCloseAnswersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustOpen(t, newMem(), worldOptions{})
		r := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", ""))
		parked := w.c.Group(joinRequest("g", r.MemberID), "g", group.Client{})
		committing, resp := w.startCommit(simple("h", "t0", 0, 1))
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if !parked.Done() || !committing.Done() {
			t.Fatal("somebody still waits")
		}
		answer, _ := parked.Wait(t.Context())
		if code := answer.(*kmsg.JoinGroupResponse).ErrorCode; code != codeNotAvailable {
			t.Errorf("the join got %d", code)
		}
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Errorf("the commit got %d", code)
		}
		if code := w.heartbeat("g", "m", 1); code != codeNotAvailable {
			t.Errorf("a heartbeat after the end got %d", code)
		}
	})
}

func TestLimits(t *testing.T) {
	o := worldOptions{limits: Limits{LiveGroupsMax: 2, LiveMembersMax: 1, ParkedCallsMax: 2}}
	synctest.Test(t, func(t *testing.T) {
		w := mustOpen(t, slowDisk{newMem()}, o) // so that a group stays in memory while the next is asked for
		member, generation := mustJoin(t, w, "a")
		if r := ask[*kmsg.JoinGroupResponse](w, "b", joinRequest("b", "")); r.ErrorCode != kerr.GroupMaxSizeReached.Code {
			t.Errorf("a member too much got %d", r.ErrorCode)
		}
		first, _ := w.startCommit(simple("b", "t0", 0, 1))
		second, resp := w.startCommit(simple("c", "t0", 0, 1))
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != codeNotAvailable || !second.Done() {
			t.Errorf("a group too much got %d", code)
		}
		if code := w.commit(simple("b", "t0", 0, 2)); code != 0 || !first.Done() {
			t.Errorf("the group in memory got %d", code)
		}
		mustCommit(t, w, simple("c", "t0", 0, 1)) // room again
		if code := w.leave("a", member); code != 0 {
			t.Error(code)
		}
		if code := w.heartbeat("a", member, generation); code != kerr.UnknownMemberID.Code {
			t.Errorf("heartbeat of a member that left: %d", code)
		}
		wantNothingLive(t, w)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStorm: groups that are used once leave nothing in memory.
func TestStorm(t *testing.T) {
	inWorld(t, worldOptions{memory: 4 << 20}, func(t *testing.T, w *world) {
		for i := range 200 {
			id := fmt.Sprintf("once-%d", i)
			member, generation := mustJoin(t, w, id)
			m := simple(id, "t0", 0, int64(i))
			m.member, m.generation = member, generation
			mustCommit(t, w, m)
			if code := w.leave(id, member); code != 0 {
				t.Fatal(code)
			}
		}
		wantNothingLive(t, w)
		for _, s := range w.c.all() {
			if len(s.mu.groups)+len(s.mu.calls)+len(s.mu.due) > 0 {
				t.Errorf("shard %d keeps %d groups, %d calls, %d deadlines", s.index, len(s.mu.groups), len(s.mu.calls), len(s.mu.due))
			}
		}
		if got := w.listed(t); len(got) != 200 {
			t.Errorf("%d groups are listed", len(got))
		}
	})
}

// TestRefusedAppend: what the log does not take is not answered as done, and the group goes on from what the log has.
func TestRefusedAppend(t *testing.T) {
	inWorld(t, worldOptions{maxBytes: 600}, func(t *testing.T, w *world) {
		member, generation := mustJoin(t, w, "g")
		m := simple("g", "t0", 0, 1)
		m.member, m.generation, m.metadata = member, generation, strings.Repeat("x", 1000)
		if code := w.commit(m); code != kerr.UnknownServerError.Code {
			t.Errorf("a commit that is too large: %d", code)
		}
		if code := w.heartbeat("g", member, generation); code != 0 {
			t.Errorf("the group is gone for it: %d", code)
		}
		// A second member, whose metadata makes the group's record too large.
		r := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", ""))
		req := joinRequest("g", r.MemberID)
		req.Protocols[0].Metadata = append(req.Protocols[0].Metadata, make([]byte, 1000)...)
		second := w.c.Group(req, "g", group.Client{})
		again := joinRequest("g", member)
		first := ask[*kmsg.JoinGroupResponse](w, "g", again)
		if _, err := second.Wait(t.Context()); err != nil || first.ErrorCode != 0 {
			t.Fatal(first.ErrorCode, err)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, "g", member, first.Generation
		sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		if s := ask[*kmsg.SyncGroupResponse](w, "g", sync); s.ErrorCode == 0 {
			t.Error("a generation that the log did not take is answered as good")
		}
		synctest.Wait()
		if code := w.heartbeat("g", member, generation); code != 0 {
			t.Errorf("the generation that the log has: %d", code)
		}
	})
}

// TestTopicMadeAnew: __consumer_offsets is deleted and made again.
func TestTopicMadeAnew(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		mustJoin(t, w, "g")
		mustCommit(t, w, simple("h", "t0", 0, 9))
		for _, p := range w.parts {
			if err := p.Delete(); err != nil {
				t.Fatal(err)
			}
		}
		w.newPartitions(10)
		for range 3 { // found out, loaded
			w.heartbeat("g", "m", 1)
			w.fetch("h", "t0", 0)
			synctest.Wait()
		}
		w.c.loads.all()
		synctest.Wait()
		wantOffset(t, w, "h", "t0", 0, -1)
		if got := w.listed(t); len(got) != 0 {
			t.Errorf("listed: %v", got)
		}
		mustCommit(t, w, simple("h", "t0", 0, 1))
		wantOffset(t, w, "h", "t0", 0, 1)
	})
}

// TestNewTopic: there is no group before __consumer_offsets is made, and then at once.
func TestNewTopic(t *testing.T) {
	inWorld(t, worldOptions{noTopic: true}, func(t *testing.T, w *world) {
		if w.c.PartitionFor("g") != -1 || len(w.listed(t)) != 0 {
			t.Error("groups are somewhere")
		}
		if code := w.commit(simple("g", "t0", 0, 1)); code != kerr.NotCoordinator.Code {
			t.Errorf("commit without a topic: %d", code)
		}
		if _, code := w.fetch("g", "t0", 0); code != kerr.NotCoordinator.Code {
			t.Errorf("fetch without a topic: %d", code)
		}
		if err := w.c.EnsureTopic(); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, w, simple("g", "t0", 0, 1))
		wantOffset(t, w, "g", "t0", 0, 1)
		w.deleteTopic(t)
		if code := w.commit(simple("g", "t0", 0, 1)); code != kerr.NotCoordinator.Code {
			t.Errorf("commit after the topic was deleted: %d", code)
		}
		if w.c.PartitionFor("g") != -1 {
			t.Error("groups are still somewhere")
		}
		if err := w.c.EnsureTopic(); err != nil {
			t.Fatal(err)
		}
		wantOffset(t, w, "g", "t0", 0, -1)
	})
}

// TestLargeRecord: a record far larger than the memory of the cold store goes through it, and comes back.
func TestLargeRecord(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		for i := range 3 {
			id := fmt.Sprintf("g%d", i)
			req := joinRequest(id, ask[*kmsg.JoinGroupResponse](w, id, joinRequest(id, "")).MemberID)
			req.Protocols[0].Metadata = append(req.Protocols[0].Metadata, make([]byte, 700_000)...)
			r := ask[*kmsg.JoinGroupResponse](w, id, req)
			sync := kmsg.NewPtrSyncGroupRequest()
			sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, id, r.MemberID, r.Generation
			sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
			if s := ask[*kmsg.SyncGroupResponse](w, id, sync); s.ErrorCode != 0 {
				t.Fatal(s.ErrorCode)
			}
			mustCommit(t, w, commit{group: id, member: r.MemberID, generation: r.Generation, version: 9, topic: "t0", offset: 5, retention: -1})
			*w = *w.reopened(t)
			if code := w.heartbeat(id, r.MemberID, r.Generation); code != 0 {
				t.Errorf("after a restart: %d", code)
			}
			wantOffset(t, w, id, "t0", 0, 5)
		}
	})
}

// TestTopicGone: who waits in a group gets an answer when the topic is deleted, whoever finds that out, and nothing stays in memory.
func TestTopicGone(t *testing.T) {
	for name, notice := range map[string]func(t *testing.T, w *world){
		"a request to another shard": func(t *testing.T, w *world) {
			other := 0
			for shardOf(fmt.Sprint(other), 3) == shardOf("g", 3) {
				other++
			}
			if code := w.heartbeat(fmt.Sprint(other), "m", 1); code != kerr.NotCoordinator.Code {
				t.Errorf("other shard: code %d", code)
			}
		},
		"the broker": func(_ *testing.T, w *world) { w.c.TopicDeleted(Topic, topicID(Topic)) },
		"a deadline": func(*testing.T, *world) { pauseFor(10 * time.Second) }, // the session
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldOptions{partitions: 3}, func(t *testing.T, w *world) {
				mustJoin(t, w, "g")
				id := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", "")).MemberID
				f := w.c.Group(joinRequest("g", id), "g", group.Client{})
				synctest.Wait()
				if f.Done() {
					t.Fatal("it does not wait for the first member")
				}
				w.deleteTopic(t)
				notice(t, w)
				synctest.Wait()
				if !f.Done() {
					t.Fatal("no answer")
				}
				r, err := f.Wait(t.Context())
				if err != nil || r.(*kmsg.JoinGroupResponse).ErrorCode != kerr.NotCoordinator.Code {
					t.Errorf("%+v %v", r, err)
				}
				wantNothingLive(t, w)
			})
		})
	}
}
