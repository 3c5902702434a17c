package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostileRegex is about the largest program that is let in; it reads all of a long name.
const hostileRegex = "(?:a?){330}a*b"

func longNames(n int) *fakeTopics {
	topics := &fakeTopics{}
	for i := range n {
		topics.set(fmt.Sprintf("%s%06d", strings.Repeat("a", 243), i), 1)
	}
	return topics
}

func regexHeartbeat(member, pattern string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = 1, "g", member, epoch, 1000
	r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	r.SubscribedTopicRegex = &pattern
	return r
}

// beat has a member say a regular expression and returns the error code; what a step may match is checked.
func beat(t *testing.T, g *Group, now time.Time, member, pattern string, topics Topics) int16 {
	t.Helper()
	before, epoch := 0, int32(0)
	if c := g.consumer; c != nil {
		before = c.regexWork
		if now.Sub(c.regexWindow) >= regexRefreshInterval {
			before = 0
		}
		if m := c.members[member]; m != nil {
			epoch = m.epoch
		}
	}
	var out Output
	g.Step(now, 1, regexHeartbeat(member, pattern, epoch), Client{}, topics, &out)
	if c := g.consumer; c != nil {
		const last = regexSizeMax*(250+regexCompileWork) + regexWideMax*regexWideWork // the last match and compilation may go beyond
		if c.regexWork < before || c.regexWork > regexWorkMax+last {
			t.Fatalf("%d worked before, %d after", before, c.regexWork)
		}
		if c.pass != nil && len(c.pass.todo) > len(c.regexes) {
			t.Fatalf("%d of %d expressions to do", len(c.pass.todo), len(c.regexes))
		}
		checkConsumer(t, g)
	}
	return out.Replies[0].Response.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode
}

// TestRegexWorkIsSpread: an expression that takes long is matched a part in each interval, keeps what it stood for meanwhile, and in
// the end has seen all names.
func TestRegexWorkIsSpread(t *testing.T) {
	const topics = 200
	g, now, all := New("g", benchConfig()), scriptStart, longNames(topics)
	all.set("aab", 1)
	steps := 0
	for ; g.consumer == nil || g.consumer.pass != nil; steps++ {
		if steps > 100 {
			t.Fatal("it does not end")
		}
		if code := beat(t, g, now, "m", hostileRegex, all); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		if r := g.consumer.regexes[hostileRegex]; r.resolved != (g.consumer.pass == nil) {
			t.Fatalf("resolved %v after step %d", r.resolved, steps)
		}
		now = now.Add(regexRefreshInterval)
	}
	if got := g.consumer.regexes[hostileRegex].topics; steps < 3 || !slices.Equal(got, []string{"aab"}) {
		t.Fatalf("%d steps, %v", steps, got)
	}
	// Again, because there is one more topic: what it stood for stays until the pass is over, and a heartbeat within an interval adds
	// nothing.
	all.set("ab", 1)
	all.revision++
	for ; steps > 0; steps-- {
		if got := g.consumer.regexes[hostileRegex].topics; !slices.Equal(got, []string{"aab"}) {
			t.Fatalf("%d steps are left, %v", steps, got)
		}
		beat(t, g, now, "m", hostileRegex, all)
		if p := g.consumer.pass; p != nil {
			at := p.next
			beat(t, g, now.Add(regexRefreshInterval-1), "m", hostileRegex, all)
			if p.next != at {
				t.Fatalf("went on from %d to %d", at, p.next)
			}
		}
		now = now.Add(regexRefreshInterval)
	}
	if got := g.consumer.regexes[hostileRegex].topics; g.consumer.pass != nil || !slices.Equal(got, []string{"aab", "ab"}) {
		t.Fatal(got)
	}
}

// TestRegexPassChanges: expressions come and go while a pass is under way; nothing piles up, all that stay are resolved.
func TestRegexPassChanges(t *testing.T) {
	g, now, all := New("g", benchConfig()), scriptStart, longNames(100)
	all.set("b", 1)
	all.set("x", 1)
	beat(t, g, now, "m", hostileRegex, all)
	for i := range 300 {
		beat(t, g, now, "n", fmt.Sprintf("%s{0,%d}|x", "b", i%200+1), all)
	}
	last := "x|y"
	beat(t, g, now, "n", last, all)
	beat(t, g, now, "m", "b|c", all) // the one that was at work goes
	for range 5 {
		now = now.Add(regexRefreshInterval)
		beat(t, g, now, "m", "b|c", all)
	}
	c := g.consumer
	if c.pass != nil || len(c.regexes) != 2 || !slices.Equal(c.regexes[last].topics, []string{"x"}) || !slices.Equal(c.regexes["b|c"].topics, []string{"b"}) {
		t.Fatalf("%+v %v", c.pass, c.regexes)
	}
}

func TestRegexesOfOneGroup(t *testing.T) {
	g, topics := New("g", benchConfig()), longNames(1)
	for i := range regexesMax {
		if code := beat(t, g, scriptStart, fmt.Sprint("m", i), fmt.Sprint("x", i), topics); code != 0 {
			t.Fatal(i, kerr.ErrorForCode(code))
		}
	}
	for pattern, want := range map[string]int16{"y": kerr.InvalidRegularExpression.Code, "x1": 0, "": 0} {
		if code := beat(t, g, scriptStart, "m-"+pattern, pattern, topics); code != want {
			t.Errorf("%q: %v", pattern, kerr.ErrorForCode(code))
		}
	}
}

// TestRegexSizes: what is too large is refused before its program is made, honest lists of topics are not.
func TestRegexSizes(t *testing.T) {
	for pattern, good := range map[string]bool{
		hostileRegex: true,
		strings.Repeat("payments-of-country-|", 40) + "x":   true,
		`(?i)(orders|payments)[-._][\p{L}\d]+(\.v\d{1,3})?`: true,
		"(?:a?){1000}(?:a?){340}b":                          false,
		"(?:(?:a|a.|.a)*x?){200}z":                          false,
		"(?i)" + strings.Repeat("[b-\U0001e000]", 100):      false, // half a second to parse
		"(?i)" + strings.Repeat(`[b-\x{1e000}]`, 70):        false,
		"é" + strings.Repeat("ü", 10):                       true,
		"(?:.*a){600}z":                                     false,
		"(?:" + strings.Repeat("ab", 450) + "){1000}":       false, // a million
		strings.Repeat(`\pL`, 300):                          false,
	} {
		if r, err := compileRegex(pattern); (err == nil) != good {
			t.Errorf("%.40q: %v", pattern, err)
		} else if err == nil && r.size > regexSizeMax {
			t.Errorf("%.40q: %d", pattern, r.size)
		}
	}
}

// TestRegexPrefix: the prefix decides only where the expression would.
func TestRegexPrefix(t *testing.T) {
	names := []string{"", "a", "A", "ab", "aB", "abc", "b", "x-ab", "ab\n", "é", "É"}
	for pattern, prefix := range map[string]string{
		"ab.*": "ab", "(?i)ab": "", "a|ab": "a", "ab?": "a", "^ab$": "", "é": "é", "a*b": "", ".*": "", "(ab)+c?": "ab",
	} {
		r, err := compileRegex(pattern)
		if err != nil || r.prefix != prefix {
			t.Errorf("%q: %q, %v", pattern, r.prefix, err)
		}
		for _, name := range names {
			if r.match(name) != r.re.MatchString(name) || r.work(name) <= 0 {
				t.Errorf("%q at %q", pattern, name)
			}
		}
	}
}

func BenchmarkRegexStep(b *testing.B) {
	for _, pattern := range []string{hostileRegex, "(?:.*a){150}z", "(?:.?.?.?.?){60}z", `[\pL\d]*\pL*z`} {
		b.Run(pattern, func(b *testing.B) {
			topics, now := longNames(1000), scriptStart
			g := New("g", benchConfig())
			for b.Loop() {
				now = now.Add(regexRefreshInterval)
				topics.revision++
				var out Output
				epoch := int32(0)
				if g.consumer != nil {
					epoch = g.consumer.members["m"].epoch
				}
				g.Step(now, 1, regexHeartbeat("m", pattern, epoch), Client{}, topics, &out)
			}
		})
	}
}

func BenchmarkRegexRefused(b *testing.B) {
	for name, pattern := range map[string]string{
		"folded": "(?i)" + strings.Repeat("[b-\U0001e000]", 110), "repeat": "(?:" + strings.Repeat("ab", 450) + "){1000}",
		"deep": strings.Repeat("(", 500) + strings.Repeat(")", 500), "largest": hostileRegex, "classes": strings.Repeat(`\pL`, 300),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				compileRegex(pattern)
			}
		})
	}
}
