package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// members reads lines of "m1 a,b was a:0-2 b:1"; the order is that of the lines.
func assignorMembers(text string, topics *fakeTopics) []assigned {
	var out []assigned
	for line := range strings.Lines(text) {
		line, was, _ := strings.Cut(strings.TrimSpace(line), " was ")
		if line == "" {
			continue
		}
		id, list, _ := strings.Cut(line, " ")
		m := assigned{id: id}
		if instance, static := strings.CutPrefix(id, "static-"); static {
			m.instance = &instance
		}
		for _, name := range split(list, ",") {
			if info, ok := topics.Topic(name); ok {
				m.topics = append(m.topics, topicInfo{info.ID, info.Partitions})
			}
		}
		slices.SortFunc(m.topics, func(a, b topicInfo) int { return compareIDs(a.id, b.id) })
		var old []topicParts
		for _, p := range partitionsOf(was) {
			old = append(old, topicParts{id: p.TopicID, parts: p.Partitions})
		}
		m.target = newAssignment(old)
		out = append(out, m)
	}
	return out
}

func TestAssignors(t *testing.T) {
	topics := &fakeTopics{parts: map[string]int32{"a": 3, "b": 3, "c": 2, "one": 1, "none": 0}}
	for _, c := range []struct{ name, assignor, members, want string }{
		{"nobody subscribes", assignorUniform, "m1 \nm2 ", "[] []"},
		{"all to one", assignorUniform, "m1 a,b", "[a:0-2 b:0-2]"},
		{"even", assignorUniform, "m1 a,b\nm2 a,b", "[a:0-2] [b:0-2]"},
		{"a new member takes as little as it can", assignorUniform, "m1 a,b was a:0-2;b:0-2\nm2 a,b", "[a:0-2] [b:0-2]"},
		{"those who have more keep the extra ones", assignorUniform, "m1 a,c was a:0-1\nm2 a,c was a:2;c:0-1", "[a:0-1] [a:2 c:0-1]"},
		{"more members than partitions", assignorUniform, "m1 one\nm2 one was one:0\nm3 one", "[] [one:0] []"},
		{"a member left", assignorUniform, "m1 a,b was a:0-2\nm3 a,b was b:0", "[a:0-2] [b:0-2]"},
		{"what does not exist, is not subscribed, or is of another is not kept", assignorUniform,
			"m1 a was a:0,7;b:1\nm2 a was a:0-1", "[a:0] [a:1-2]"},
		{"different topics", assignorUniform, "m1 a\nm2 a,b\nm3 b", "[a:0,2] [a:1 b:1] [b:0,2]"},
		{"only one may have b", assignorUniform, "m1 a,b\nm2 a", "[b:0-2] [a:0-2]"},
		{"balanced again by moving", assignorUniform, "m1 a,b was a:0-2;b:0-2\nm2 a", "[b:0-2] [a:0-2]"},
		{"range", assignorRange, "m1 a,b\nm2 a,b", "[a:0-1 b:0-1] [a:2 b:2]"},
		{"range by member id, static members first", assignorRange, "m2 a\nm1 a\nstatic-x a", "[a:2] [a:1] [a:0]"},
		{"range of different topics", assignorRange, "m1 a\nm2 a,c\nm3 c", "[a:0-1] [a:2 c:0] [c:1]"},
		{"range with more members than partitions", assignorRange, "m1 one,a\nm2 one,a", "[a:0-1 one:0] [a:2]"},
		{"no partitions", assignorRange, "m1 none", "[]"},
		{"no partitions", assignorUniform, "m1 none", "[]"},
	} {
		t.Run(c.assignor+"/"+c.name, func(t *testing.T) {
			var got []string
			for _, a := range assign(c.assignor, assignorMembers(c.members, topics)) {
				got = append(got, a.String())
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// TestAssignorProperties looks at random groups over random changes: every partition of a subscribed topic has one owner, who
// subscribes to it; loads are balanced; and no more moves than balance asks for, when all subscribe alike.
func TestAssignorProperties(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		name := []string{assignorUniform, assignorRange}[seed%2]
		alike := seed%3 == 0
		var members []assigned
		topics := randomTopics(r)
		for range 6 {
			members = changeMembers(r, members, topics, alike)
			out := assign(name, members)
			if err := checkAssignment(name, members, out, alike); err != nil {
				t.Fatalf("seed %d, %s: %v", seed, name, err)
			}
			if again := assign(name, members); !slices.EqualFunc(out, again, assignment.equal) {
				t.Fatalf("seed %d, %s: not the same twice", seed, name)
			}
			for i := range members {
				members[i].target = out[i]
			}
			if stable := assign(name, members); !slices.EqualFunc(out, stable, assignment.equal) {
				t.Fatalf("seed %d, %s: moves though nothing changed:\n%v\n%v", seed, name, out, stable)
			}
		}
	}
}

func randomTopics(r *rand.Rand) []topicInfo {
	topics := make([]topicInfo, 1+r.IntN(8))
	for i := range topics {
		topics[i] = topicInfo{idOf(fmt.Sprintf("t%d", i)), int32(r.IntN(20))}
	}
	return topics
}

func changeMembers(r *rand.Rand, members []assigned, topics []topicInfo, alike bool) []assigned {
	members = slices.DeleteFunc(members, func(assigned) bool { return r.IntN(4) == 0 })
	for range 1 + r.IntN(5) {
		members = append(members, assigned{id: fmt.Sprintf("m%04d", r.IntN(10000)), topics: topics})
	}
	slices.SortFunc(members, func(a, b assigned) int { return strings.Compare(a.id, b.id) })
	members = slices.CompactFunc(members, func(a, b assigned) bool { return a.id == b.id })
	for i := range members {
		if !alike && r.IntN(2) == 0 {
			members[i].topics = slices.DeleteFunc(slices.Clone(topics), func(topicInfo) bool { return r.IntN(2) == 0 })
		}
	}
	return members
}

func checkAssignment(name string, members []assigned, out []assignment, alike bool) error {
	owner := map[partitionKey]int{}
	subscribers := map[topicID][]int{}
	info := map[topicID]int32{}
	for i, m := range members {
		for _, t := range m.topics {
			subscribers[t.id] = append(subscribers[t.id], i)
			info[t.id] = t.partitions
		}
	}
	for i, a := range out {
		if !newAssignment(a).equal(a) {
			return fmt.Errorf("%s is not in order: %v", members[i].id, a)
		}
		for _, t := range a {
			for _, p := range t.parts {
				if other, ok := owner[partitionKey{t.id, p}]; ok {
					return fmt.Errorf("%s-%d is of %s and %s", nameOf(t.id), p, members[other].id, members[i].id)
				}
				if !slices.Contains(subscribers[t.id], i) || p < 0 || p >= info[t.id] {
					return fmt.Errorf("%s must not have %s-%d", members[i].id, nameOf(t.id), p)
				}
				owner[partitionKey{t.id, p}] = i
			}
		}
	}
	total := 0
	for _, n := range info {
		total += int(n)
	}
	if len(owner) != total {
		return fmt.Errorf("%d of %d partitions have an owner", len(owner), total)
	}
	if name == assignorRange {
		return checkRange(out, subscribers, info)
	}
	if alike {
		if err := checkMoves(members, out, total); err != nil {
			return err
		}
	}
	return checkBalance(members, out, subscribers)
}

// checkBalance: in no topic is an owner more than one partition ahead of another subscriber.
func checkBalance(members []assigned, out []assignment, subscribers map[topicID][]int) error {
	for i, a := range out {
		for _, t := range a {
			for _, j := range subscribers[t.id] {
				if ahead := a.size() - out[j].size(); ahead > 1 {
					return fmt.Errorf("%s has %d partitions more than %s, and one of %s that it could give", members[i].id, ahead, members[j].id, nameOf(t.id))
				}
			}
		}
	}
	return nil
}

// checkMoves: with equal subscriptions a member loses partitions only down to its share.
func checkMoves(members []assigned, out []assignment, total int) error {
	share := total / len(members)
	for i, m := range members {
		lost := 0
		m.target.each(func(id topicID, p int32) {
			if !out[i].has(id, p) {
				lost++
			}
		})
		if lost > 0 && out[i].size() < share {
			return fmt.Errorf("%s lost %d partitions and has fewer than its share", m.id, lost)
		}
		if gained := out[i].size() - (m.target.size() - lost); lost > 0 && gained > 0 {
			return fmt.Errorf("%s lost %d partitions and gained %d", m.id, lost, gained)
		}
	}
	return nil
}

// checkRange: every member has one contiguous range of a topic, and nobody two more than another.
func checkRange(out []assignment, subscribers map[topicID][]int, info map[topicID]int32) error {
	for id, of := range subscribers {
		least, most := info[id], int32(0)
		for _, i := range of {
			t, _ := out[i].topic(id)
			n := int32(len(t.parts))
			least, most = min(least, n), max(most, n)
			if n > 0 && t.parts[n-1]-t.parts[0] != n-1 {
				return fmt.Errorf("%v is no range", t.parts)
			}
		}
		if most-least > 1 {
			return fmt.Errorf("ranges of %s have %d to %d partitions", nameOf(id), least, most)
		}
	}
	return nil
}

func BenchmarkAssignUniform(b *testing.B) {
	for _, alike := range []bool{true, false} {
		b.Run(fmt.Sprintf("alike=%v", alike), func(b *testing.B) {
			var topics []topicInfo
			for i := range 100 {
				topics = append(topics, topicInfo{idOf(fmt.Sprintf("t%03d", i)), 100})
			}
			members := make([]assigned, 200)
			for i := range members {
				members[i] = assigned{id: fmt.Sprintf("m%03d", i), topics: topics}
				if !alike {
					members[i].topics = topics[i%10*10:][:10]
				}
			}
			for b.Loop() {
				assign(assignorUniform, members)
			}
		})
	}
}
