package coordinator

import (
	"testing"
	"testing/synctest"

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
