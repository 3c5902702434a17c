package coordinator

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
)

func TestBareGroupsForget(t *testing.T) {
	var b bareGroups
	if b.take("") || b.take("a") {
		t.Error("an empty list knows a group")
	}
	b.add("a")
	if !b.take("a") || b.take("a") {
		t.Error("a group is remembered until it is taken")
	}
	b.add(strings.Repeat("x", bareNameBytesMax+1))
	for i := range 10 * bareGroupsMax {
		b.add(fmt.Sprint(i))
	}
	known := 0
	for i := range 10 * bareGroupsMax {
		if b.take(fmt.Sprint(i)) {
			known++
		}
	}
	if b != (bareGroups{}) || known == 0 || known > bareGroupsMax {
		t.Errorf("%d names of %d", known, bareGroupsMax)
	}
}

// TestBareGroups: a group is remembered as one that has offsets alone until it gets a member, and not after that.
func TestBareGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mustOpen(t, disk.NewMem(), worldOptions{partitions: 1})
		s := w.c.all()[0]
		remembered := func(want bool) {
			t.Helper()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := *s.mu.bare.slot("a") == "a"; got != want || s.mu.groups["a"] != nil {
				t.Errorf("remembered: %v, in memory: %v", got, s.mu.groups["a"] != nil)
			}
		}
		for i := int64(1); i <= 3; i++ {
			mustCommit(t, w, simple("a", "t0", 0, i))
			remembered(true)
		}
		member, generation, code := w.join("a")
		if code != 0 {
			t.Fatal(code)
		}
		as := simple("a", "t0", 0, 4)
		as.member, as.generation = member, generation
		mustCommit(t, w, as)
		if code := w.leave("a", member); code != 0 {
			t.Fatal(code)
		}
		remembered(false)
		mustCommit(t, w, simple("a", "t0", 0, 5))
		remembered(false)
		if _, next, code := w.join("a"); code != 0 || next <= generation {
			t.Errorf("generation %d after %d, code %d", next, generation, code)
		}
		wantOffset(t, w, "a", "t0", 0, 5)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	})
}
