package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

func TestDeleteGroups(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		mustJoin(t, w, "member")
		mustCommit(t, w, simple("stays", "t0", 0, 1))
		for i := range int32(2500) { // more than one batch of tombstones
			w.startCommit(simple("gone", "t0", i, 1))
		}
		w.startCommit(simple("gone", "t1", 0, 1)) // not applied yet
		ids := []string{"member", "gone", "none", "gone", "", "former"}
		former, _ := mustJoin(t, w, "former")
		w.leave("former", former)
		out, err := w.c.DeleteGroups(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int16{kerr.NonEmptyGroup.Code, 0, kerr.GroupIDNotFound.Code, kerr.GroupIDNotFound.Code, kerr.GroupIDNotFound.Code, 0} {
			if out[i].Group != ids[i] || out[i].ErrorCode != want {
				t.Errorf("%q: %+v, want %d", ids[i], out[i], want)
			}
		}
		for range 2 {
			wantOffset(t, w, "gone", "t0", 17, -1)
			wantOffset(t, w, "gone", "t1", 0, -1)
			wantOffset(t, w, "stays", "t0", 0, 1)
			if got := w.listed(t); len(got) != 2 || got["member"] == "" || got["stays"] == "" {
				t.Errorf("listed: %v", got)
			}
			*w = *w.reopened(t)
		}
		if code := w.commit(simple("gone", "t0", 0, 7)); code != 0 {
			t.Errorf("the name may be used again: %d", code)
		}
		wantOffset(t, w, "gone", "t0", 17, -1)
	})
}

func deleteRequest(id string, topics ...string) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = id
	for _, name := range topics {
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = name
		rt.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 1}}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func TestDeleteOffsets(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		member, generation := mustJoin(t, w, "g") // subscribed to t0
		for i, topic := range []string{"t0", "t1"} {
			m := simple("g", topic, 0, int64(i))
			m.member, m.generation = member, generation
			mustCommit(t, w, m)
		}
		r, err := w.c.DeleteOffsets(t.Context(), deleteRequest("g", "t0", "t1"))
		if err != nil || r.ErrorCode != 0 || len(r.Topics) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		for i, want := range []int16{kerr.GroupSubscribedToTopic.Code, 0} {
			for _, p := range r.Topics[i].Partitions {
				if p.ErrorCode != want {
					t.Errorf("%s: %+v, want %d", r.Topics[i].Topic, p, want)
				}
			}
		}
		wantOffset(t, w, "g", "t0", 0, 0)
		wantOffset(t, w, "g", "t1", 0, -1)
		if r, _ := w.c.DeleteOffsets(t.Context(), deleteRequest("none", "t0")); r.ErrorCode != kerr.GroupIDNotFound.Code {
			t.Errorf("unknown group: %+v", r)
		}
		if r, _ := w.c.DeleteOffsets(t.Context(), deleteRequest("", "t0")); r.ErrorCode != kerr.InvalidGroupID.Code {
			t.Errorf("no group: %+v", r)
		}
		f, _ := w.startCommit(simple("h", "t0", 0, 5)) // still on its way
		if r, err := w.c.DeleteOffsets(t.Context(), deleteRequest("h", "t0")); err != nil || r.ErrorCode != 0 || !f.Done() {
			t.Errorf("%+v %v", r, err)
		}
		wantOffset(t, w, "h", "t0", 0, -1)
		*w = *w.reopened(t)
		wantOffset(t, w, "h", "t0", 0, -1)
		wantOffset(t, w, "g", "t1", 0, -1)
	})
}

// TestOffsetsExpire: offsets go when their group has been empty, or they have not been renewed, for the retention; what members
// consume stays; an empty group goes with its last offset.
func TestOffsetsExpire(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		member, generation := mustJoin(t, w, "member")
		for _, topic := range []string{"t0", "t1"} {
			m := simple("member", topic, 0, 1)
			m.member, m.generation = member, generation
			mustCommit(t, w, m)
		}
		former, generation2 := mustJoin(t, w, "former")
		m := simple("former", "t0", 0, 2)
		m.member, m.generation = former, generation2
		mustCommit(t, w, m)
		own := simple("own", "t0", 0, 3)
		own.version, own.retention = 4, (3 * retention).Milliseconds()
		mustCommit(t, w, own)
		soon := simple("own", "t0", 1, 3)
		soon.version, soon.retention = 4, time.Minute.Milliseconds()
		mustCommit(t, w, soon)
		for i := range int32(1100) {
			w.startCommit(simple("many", "t0", i, 4))
		}
		mustCommit(t, w, simple("simple", "t0", 0, 5))
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		live := func(d time.Duration) { // former stays for a while
			for end := time.Now().Add(d); time.Now().Before(end); {
				<-ticker.C
				w.heartbeat("member", member, generation)
				if former != "" {
					w.heartbeat("former", former, generation2)
				}
			}
			synctest.Wait()
		}
		live(30 * time.Minute)
		if code := w.leave("former", former); code != 0 {
			t.Fatal(code)
		}
		former = ""
		mustCommit(t, w, simple("simple", "t0", 0, 6)) // renewed
		wantOffset(t, w, "own", "t0", 1, -1)
		live(45 * time.Minute) // 1:15 since the start
		wantOffset(t, w, "member", "t0", 0, 1)
		wantOffset(t, w, "member", "t1", 0, -1) // nobody consumes it
		wantOffset(t, w, "former", "t0", 0, 2)  // empty for 45 minutes
		wantOffset(t, w, "own", "t0", 0, 3)
		wantOffset(t, w, "many", "t0", 700, -1)
		wantOffset(t, w, "simple", "t0", 0, 6)
		live(30 * time.Minute) // 1:45
		if got := fmt.Sprint(w.listed(t)); got != "map[member:Stable classic own:Empty classic]" {
			t.Errorf("listed: %s", got)
		}
		*w = *w.reopened(t)
		live(2 * time.Hour)
		if got := fmt.Sprint(w.listed(t)); got != "map[member:Stable classic]" {
			t.Errorf("listed at the end: %s", got)
		}
		if w.leave("member", member) != 0 {
			t.Error("leave")
		}
		pauseFor(2 * retention)
		if got := w.listed(t); len(got) != 0 {
			t.Errorf("listed when all is over: %v", got)
		}
		wantNothingLive(t, w)
	})
}

// TestTopicDeleted: its offsets go, those of a later topic of the same name stay.
func TestTopicDeleted(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		old, later := topicID("old"), topicID("later")
		put := func(id string, topic [16]byte, offset int64) {
			m := simple(id, "t0", 0, offset)
			m.id = topic
			mustCommit(t, w, m)
		}
		w.names.set("t0", old)
		for i := range 30 {
			put(fmt.Sprintf("g%d", i), old, 1)
		}
		put("unknown", [16]byte{}, 1)
		mustCommit(t, w, simple("g3", "t1", 0, 1))
		w.deleteTopicNamed("t0", old)
		w.names.set("t0", later)
		put("g5", later, 2)
		synctest.Wait()
		pauseFor(time.Second)
		put("unknown2", [16]byte{}, 3)
		for i := range 30 {
			want := int64(-1)
			if i == 5 {
				want = 2
			}
			wantOffset(t, w, fmt.Sprintf("g%d", i), "t0", 0, want)
		}
		wantOffset(t, w, "unknown", "t0", 0, -1)
		wantOffset(t, w, "unknown2", "t0", 0, 3)
		wantOffset(t, w, "g3", "t1", 0, 1)
		wantNothingLive(t, w)
	})
}

func TestListFilters(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		mustJoin(t, w, "stable")
		mustCommit(t, w, simple("empty", "t0", 0, 1))
		for i, x := range []struct {
			states, types []string
			want          string
		}{
			{nil, nil, "[empty stable]"},
			{[]string{" STABLE "}, nil, "[stable]"},
			{[]string{"empty", "dead"}, []string{"Classic"}, "[empty]"},
			{nil, []string{"consumer"}, "[]"},
			{[]string{"nothing"}, nil, "[]"},
		} {
			got := map[string]bool{}
			if err := w.c.List(t.Context(), x.states, x.types, func(l group.Listing) error { got[l.ID] = true; return nil }); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, id := range []string{"empty", "stable"} {
				if got[id] {
					ids = append(ids, id)
				}
			}
			if s := fmt.Sprint(ids); s != x.want || len(got) != len(ids) {
				t.Errorf("%d: %v, want %s", i, got, x.want)
			}
		}
		if err := w.c.List(t.Context(), nil, nil, func(group.Listing) error { return errStop }); err != errStop {
			t.Errorf("the callback's error: %v", err)
		}
	})
}

var errStop = fmt.Errorf("stop")

// TestTopicDeletedDuringCommits: what is on its way to the cold store when its topic is deleted goes too, also where it replaces what
// is there; and a commit that found its topic before the deletion and comes after the sweep is refused.
func TestTopicDeletedDuringCommits(t *testing.T) {
	inWorld(t, worldOptions{partitions: 1}, func(t *testing.T, w *world) {
		const groups = 200
		id := func(i int) string { return fmt.Sprintf("g%d", i) }
		start := func(i int, topic string) {
			m := simple(id(i), topic, 0, 5)
			m.id = topicID(topic)
			w.startCommit(m)
		}
		for i := range groups / 2 {
			start(i, "t0")
		}
		synctest.Wait()
		for i := range groups {
			start(i, "t0")
			start(i, "t1")
		}
		w.deleteTopicNamed("t0", topicID("t0"))
		pauseFor(2 * sweepAgain)
		for version, code := range map[int16]int16{9: kerr.UnknownTopicOrPartition.Code, 10: kerr.UnknownTopicID.Code} {
			late := simple(id(0), "t0", 0, 7)
			late.id, late.version = topicID("t0"), version
			if got := w.commit(late); got != code {
				t.Errorf("version %d after the deletion: code %d, want %d", version, got, code)
			}
		}
		w.names.set("t0", topicID("again"))
		for i := range groups {
			late := simple(id(i), "t0", 0, 8)
			if late.id = topicID("t0"); w.commit(late) == 0 {
				t.Errorf("%s: committed for a topic that another one has followed", id(i))
			}
			wantOffset(t, w, id(i), "t0", 0, -1)
			wantOffset(t, w, id(i), "t1", 0, 5)
		}
	})
}
