package collect

import (
	"slices"
	"testing"

	"ottla/internal/investigate/evidence"
)

// An answer may come twice, may be about what nobody asked for, or may not come: each partition asked is answered or in trouble, once.
func TestAskedIsAnsweredOnceOrInTrouble(t *testing.T) {
	work := []stretch{
		{&evidence.Partition{Topic: "b", Index: 1}, 7, 1}, {&evidence.Partition{Topic: "a", Index: 0}, 8, 1},
		{&evidence.Partition{Topic: "b", Index: 0}, 9, 1}, {&evidence.Partition{Topic: "c", Index: 5}, 10, 1},
	}
	a := ask(work, stretch.partition)
	var order []int64
	for _, t := range a.topics {
		for _, w := range t.work {
			order = append(order, w.from)
		}
	}
	if want := []int64{7, 9, 8, 10}; len(a.topics) != 3 || !slices.Equal(order, want) {
		t.Errorf("%d topics, asked in the order %v, want %v", len(a.topics), order, want)
	}
	for _, c := range []struct {
		topic  string
		index  int32
		wanted bool
	}{{"b", 0, true}, {"b", 0, false}, {"b", 2, false}, {"x", 0, false}, {"a", 0, true}, {"c", 5, true}} {
		if w, wanted := a.take(c.topic, c.index); wanted != c.wanted || wanted && (w.part.Topic != c.topic || w.part.Index != c.index) {
			t.Errorf("answer about %s-%d: %+v, %v", c.topic, c.index, w, wanted)
		}
	}
	s := (&session{}).step(&source{})
	a.unanswered(s)
	if line := s.ledger(); line.State != evidence.Failed || len(line.Errors) != 1 || line.Errors[0] != "b-1: "+errNothing.Error() {
		t.Errorf("%+v", line)
	}
}
