package coordinator

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// joinWith is a JoinGroup with so many bytes of metadata.
func joinWith(id, member string, metadataBytes int) *kmsg.JoinGroupRequest {
	r := joinRequest(id, member)
	r.Protocols[0].Metadata = make([]byte, metadataBytes)
	return r
}

func syncWith(id, member string, generation int32, assignmentBytes int) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 5, id, member, generation
	r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = member, make([]byte, assignmentBytes)
	r.GroupAssignment = append(r.GroupAssignment, a)
	return r
}

// TestMemberBytes: what members of all groups hold together has an end; who is in and says no more than before goes on.
func TestMemberBytes(t *testing.T) {
	inWorld(t, worldOptions{limits: Limits{MemberBytesMax: 10_000}}, func(t *testing.T, w *world) {
		check := func(what string, got, want int16) {
			t.Helper()
			if got != want {
				t.Errorf("%s: code %d, want %d", what, got, want)
			}
			if held := w.c.usage.memberBytes.Load(); held > 10_000 || held < 0 {
				t.Errorf("%s: %d bytes are held", what, held)
			}
		}
		join := func(id, member string, bytes int) *kmsg.JoinGroupResponse {
			return ask[*kmsg.JoinGroupResponse](w, id, joinWith(id, member, bytes))
		}
		full := kerr.GroupMaxSizeReached.Code
		check("more than all may hold", join("a", "", 10_001).ErrorCode, full)
		a := join("a", join("a", "", 4000).MemberID, 4000)
		check("the first", a.ErrorCode, 0)
		check("its assignment", ask[*kmsg.SyncGroupResponse](w, "a", syncWith("a", a.MemberID, a.Generation, 2000)).ErrorCode, 0)
		if held := w.c.usage.memberBytes.Load(); held < 6000 || held > 6200 {
			t.Errorf("%d bytes are held, want 6000 and some names", held)
		}
		check("of another group", join("b", "", 4000).ErrorCode, full)
		heartbeat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		heartbeat.Version, heartbeat.Group, heartbeat.MemberID, heartbeat.RebalanceTimeoutMillis = 1, "c", "m", 1000
		heartbeat.SubscribedTopicNames, heartbeat.Topics = []string{string(make([]byte, 4000))}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		check("of the other protocol", ask[*kmsg.ConsumerGroupHeartbeatResponse](w, "c", heartbeat).ErrorCode, full)

		again := join("a", a.MemberID, 4000)
		check("the leader again", again.ErrorCode, 0)
		check("a larger assignment", ask[*kmsg.SyncGroupResponse](w, "a", syncWith("a", a.MemberID, again.Generation, 6000)).ErrorCode, codeNotAvailable)
		check("one as large", ask[*kmsg.SyncGroupResponse](w, "a", syncWith("a", a.MemberID, again.Generation, 2000)).ErrorCode, 0)
		check("it says more", join("a", a.MemberID, 9000).ErrorCode, full)
		check("it says less", join("a", a.MemberID, 100).ErrorCode, 0)
		check("now there is room", join("b", "", 4000).ErrorCode, kerr.MemberIDRequired.Code)
		check("it leaves", w.leave("a", a.MemberID), 0)
		pauseFor(retention)
		wantNothingLive(t, w)
	})
}

// TestParkedCallsAreLight: a call that waits keeps no metadata or assignments beside what the group counts.
func TestParkedCallsAreLight(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		first := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", "")).MemberID
		second := ask[*kmsg.JoinGroupResponse](w, "g", joinRequest("g", "")).MemberID
		joins := []*kmsg.JoinGroupRequest{joinWith("g", first, 1000), joinWith("g", second, 1000)}
		var futures []*Future
		for _, j := range joins {
			futures = append(futures, w.c.Group(j, "g", group.Client{}))
			if futures[0].Done() || j.Protocols != nil {
				t.Errorf("done %t, %d protocols are kept", futures[0].Done(), len(j.Protocols))
			}
		}
		var generation int32
		var follower string
		for i, f := range futures {
			r, err := f.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			j := r.(*kmsg.JoinGroupResponse)
			if generation = j.Generation; j.LeaderID != j.MemberID {
				follower = joins[i].MemberID
			}
		}
		sync := syncWith("g", follower, generation, 1000)
		f := w.c.Group(sync, "g", group.Client{})
		synctest.Wait()
		if f.Done() || sync.GroupAssignment != nil {
			t.Errorf("done %t, %d assignments are kept", f.Done(), len(sync.GroupAssignment))
		}
	})
}

// beat is a heartbeat of the consumer protocol; a field of no bytes is null.
func (w *world) beat(id, member string, epoch int32, nameBytes, rackBytes int) *kmsg.ConsumerGroupHeartbeatResponse {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = 1, id, member, epoch, 1000
	if epoch == 0 {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if nameBytes > 0 {
		r.SubscribedTopicNames = []string{strings.Repeat("n", nameBytes)}
	}
	if rackBytes > 0 {
		r.RackID = kmsg.StringPtr(strings.Repeat("r", rackBytes))
	}
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](w, id, r)
}

// TestMemberBytesFieldByField: a member cannot pass the limit by saying one thing after the other, of which each is no more than all it
// has said before.
func TestMemberBytesFieldByField(t *testing.T) {
	inWorld(t, worldOptions{limits: Limits{MemberBytesMax: 10_000}}, func(t *testing.T, w *world) {
		check := func(what string, got, want int16) {
			t.Helper()
			if held := w.c.usage.memberBytes.Load(); got != want || held > 10_000 {
				t.Errorf("%s: code %d, want %d; %d bytes are held", what, got, want, held)
			}
		}
		full := kerr.GroupMaxSizeReached.Code
		a := w.beat("g", "a", 0, 4500, 0)
		check("names", a.ErrorCode, 0)
		check("of another member", w.beat("g", "b", 0, 4500, 0).ErrorCode, 0)
		check("a rack", w.beat("g", "a", a.MemberEpoch, 0, 4500).ErrorCode, full)
		check("the same names", w.beat("g", "a", a.MemberEpoch, 4500, 0).ErrorCode, 0)

		check("it leaves", w.beat("g", "a", -1, 0, 0).ErrorCode, 0)
		join := func(id, member string, bytes int) *kmsg.JoinGroupResponse {
			r := joinRequest(id, member)
			r.SessionTimeoutMillis = 45_000
			meta := kmsg.NewConsumerMemberMetadata()
			meta.Topics = []string{strings.Repeat("n", bytes)}
			r.Protocols[0].Metadata = meta.AppendTo(nil)
			return ask[*kmsg.JoinGroupResponse](w, id, r)
		}
		old := join("g", "", 500)
		for i, bytes := range []int{500, 1000, 2000, 4000, 8000} {
			want := int16(0)
			if bytes > 2000 {
				want = full
			}
			check(fmt.Sprintf("join %d by the other protocol", i), join("g", old.MemberID, bytes).ErrorCode, want)
		}
		check("the same again", join("g", old.MemberID, 2000).ErrorCode, 0)
	})
}

// TestMemberBytesAddUp, whatever happens to groups.
func TestMemberBytesAddUp(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		rng := rand.New(rand.NewSource(3))
		ids := map[string][]string{}
		for i := range 2000 {
			id := fmt.Sprintf("g%d", rng.Intn(5))
			switch rng.Intn(7) {
			case 0:
				w.c.Group(joinWith(id, "", rng.Intn(300)), id, group.Client{ID: fmt.Sprint(rng.Intn(1000))})
			case 1:
				w.beat(id, fmt.Sprint(rng.Intn(5)), 0, 2, rng.Intn(100))
			case 2:
				if r := ask[*kmsg.JoinGroupResponse](w, id, joinRequest(id, "")); r.MemberID != "" {
					ids[id] = append(ids[id], r.MemberID)
					w.c.Group(joinRequest(id, r.MemberID), id, group.Client{})
				}
			case 3, 4:
				if known := ids[id]; len(known) > 0 {
					w.leave(id, known[rng.Intn(len(known))])
				}
			case 5:
				pauseFor(time.Duration(rng.Intn(20)) * time.Second)
			case 6:
				w.commit(simple(id, "t0", 0, 1))
			}
			if i%500 == 499 {
				*w = *w.reopened(t)
			}
			w.wantBytesAddUp(t)
		}
		pauseFor(3 * retention)
		wantNothingLive(t, w)
	})
}

// wantBytesAddUp compares what is counted with what the groups have.
func (w *world) wantBytesAddUp(t *testing.T) {
	t.Helper()
	synctest.Wait()
	sum := int64(0)
	for _, s := range w.c.all() {
		s.mu.Lock()
		for _, l := range s.mu.groups {
			sum += l.g.Bytes()
		}
		s.mu.Unlock()
	}
	if counted := w.c.usage.memberBytes.Load(); counted != sum {
		t.Fatalf("%d bytes are counted, members hold %d", counted, sum)
	}
}
