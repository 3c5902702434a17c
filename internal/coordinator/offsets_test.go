package coordinator

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ledger gives out memory up to a limit, in bytes, and remembers what it gave.
type ledger struct{ limit, given, largest int64 }

func (l *ledger) take(n int64) bool {
	if l.given+n > l.limit {
		return false
	}
	l.given += n
	l.largest = max(l.largest, n)
	return true
}

// answerBytes is what an answer's partitions and their metadata hold.
func answerBytes(g *kmsg.OffsetFetchResponseGroup) (n int64, partitions int) {
	for i := range g.Topics {
		partitions += len(g.Topics[i].Partitions)
		for _, p := range g.Topics[i].Partitions {
			n += OffsetAnswerBytes + 2*int64(len(*p.Metadata))
		}
	}
	return n, partitions
}

// TestFetchAsksForMemory: an answer is asked for while it is built, and is no more than what was given.
func TestFetchAsksForMemory(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		const committed = 1200
		metadata := strings.Repeat("m", 1000)
		for i := range int32(committed) {
			m := simple("g", "t0", i, int64(i))
			m.metadata = metadata
			w.startCommit(m)
		}
		mustCommit(t, w, simple("g", "t1", 0, 1))
		all := kmsg.NewOffsetFetchRequestGroup()
		all.Group = "g"
		some := all
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic = "t0"
		for i := range int32(committed) {
			rt.Partitions = append(rt.Partitions, i)
		}
		some.Topics = append(some.Topics, rt)
		none := all
		rt.Topic, rt.Partitions = "nothing", make([]int32, 100_000)
		none.Topics = []kmsg.OffsetFetchRequestGroupTopic{rt}
		for name, c := range map[string]struct {
			req        kmsg.OffsetFetchRequestGroup
			partitions int
		}{"all": {all, committed + 1}, "some": {some, committed}, "of nothing": {none, 100_000}} {
			plenty := ledger{limit: 1 << 40}
			g, err := w.c.FetchOffsets(t.Context(), &c.req, true, plenty.take)
			held, partitions := answerBytes(&g)
			if err != nil || g.ErrorCode != 0 || partitions != c.partitions {
				t.Fatalf("%s: %d partitions, code %d, %v", name, partitions, g.ErrorCode, err)
			}
			if plenty.given < held || plenty.given > held+2*OffsetTopicAnswerBytes+100 {
				t.Errorf("%s: %d bytes were asked for, the answer takes %d", name, plenty.given, held)
			}
			if plenty.largest > 2*answerPartBytes {
				t.Errorf("%s: %d bytes were asked for at once", name, plenty.largest)
			}
			for _, limit := range []int64{0, plenty.given / 2, plenty.given - 1} {
				scarce := ledger{limit: limit}
				g, err := w.c.FetchOffsets(t.Context(), &c.req, true, scarce.take)
				if err != nil || g.ErrorCode != codeLoading || g.Topics != nil {
					t.Errorf("%s, %d bytes: code %d, %d topics, %v", name, limit, g.ErrorCode, len(g.Topics), err)
				}
			}
		}
	})
}

// TestFetchStopsAtRefusal: nothing is read for an answer that there is no memory for, nor for a client that has left.
func TestFetchStopsAtRefusal(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		mustCommit(t, w, simple("g", "t0", 0, 1))
		req := kmsg.NewOffsetFetchRequestGroup()
		req.Group = "g"
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.Partitions = "t0", make([]int32, 1_000_000)
		req.Topics = append(req.Topics, rt)
		asked := 0
		refuse := func(int64) bool { asked++; return asked < 3 }
		g, err := w.c.FetchOffsets(t.Context(), &req, false, refuse)
		if err != nil || g.ErrorCode != codeLoading || asked != 3 {
			t.Errorf("code %d after %d questions, %v", g.ErrorCode, asked, err)
		}
		gone, cancel := context.WithCancel(t.Context())
		leave := func(int64) bool { asked++; cancel(); return true }
		asked = 0
		if _, err := w.c.FetchOffsets(gone, &req, false, leave); !errors.Is(err, context.Canceled) || asked != 1 {
			t.Errorf("after the client left: %d questions, %v", asked, err)
		}
	})
}
