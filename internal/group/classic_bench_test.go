package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func benchConfig() *Config {
	return &Config{InitialRebalanceDelay: time.Second, SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour}
}

func benchJoin(version int16, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = version, "g", member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 45_000, 300_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription("t")}, {Name: "rr", Metadata: subscription("t")}}
	return r
}

// BenchmarkClassicJoins is a storm of joins at one group, and the generation they make; the cost of one must not grow with their
// number.
func BenchmarkClassicJoins(b *testing.B) {
	for _, members := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			for range b.N {
				g, out, now := New("g", benchConfig()), Output{}, scriptStart
				for i := range members {
					g.Step(now, Call(i), benchJoin(3, ""), Client{ID: "c"}, nil, &out)
				}
				g.Tick(now.Add(time.Hour), nil, &out)
				if len(out.Replies) != members {
					b.Fatalf("%d replies", len(out.Replies))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/join")
		})
	}
}

// BenchmarkClassicPending is a storm of clients that ask for a member id and never come back.
func BenchmarkClassicPending(b *testing.B) {
	g, now := New("g", benchConfig()), scriptStart
	r := benchJoin(9, "")
	for i := range b.N {
		var out Output
		g.Step(now, Call(i), r, Client{ID: "c"}, nil, &out)
		now = now.Add(time.Millisecond)
	}
	b.ReportMetric(float64(len(g.classic.pending)), "pending")
}

func BenchmarkClassicHeartbeat(b *testing.B) {
	for _, members := range []int{10, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			g, out, now := New("g", benchConfig()), Output{}, scriptStart
			for i := range members {
				g.Step(now, Call(i), benchJoin(3, ""), Client{ID: "c"}, nil, &out)
			}
			g.Tick(now.Add(time.Second), nil, &out)
			var beats []*kmsg.HeartbeatRequest
			for id := range g.classic.members {
				r := kmsg.NewPtrHeartbeatRequest()
				r.Group, r.MemberID, r.Generation = "g", id, g.classic.generation
				beats = append(beats, r)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				out.Replies = out.Replies[:0]
				now = now.Add(time.Microsecond)
				g.Step(now, Call(i), beats[i%members], Client{}, nil, &out)
			}
		})
	}
}
