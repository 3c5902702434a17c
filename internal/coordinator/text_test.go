package coordinator

import (
	"strings"
	"testing"
)

// TestEntryText: every entry and record of a store that was used is told in words.
func TestEntryText(t *testing.T) {
	inWorld(t, worldOptions{partitions: 1}, func(t *testing.T, w *world) {
		mustJoin(t, w, "joined")
		m := simple("simple", "t0", 3, 7)
		m.metadata = "note: not readable: at night"
		mustCommit(t, w, m)
		pauseFor(checkAfter) // which notes the retention, and ends the session
		mustJoin(t, w, "joined")
		var all []string
		_, _, err := w.store.ScanBytes(w.parts[0].Num(), nil, nil, 1000, func(key, val []byte) ([]byte, error) {
			text, readable := EntryText(key, val)
			if all = append(all, text); !readable {
				t.Errorf("not readable: %s", text)
			}
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(all, "\n")
		for _, want := range []string{
			`group "joined" classic group of type "consumer" generation `, "1 members, ", `of client "client" at /127.0.0.1 with 10 bytes assigned`,
			`group "simple" topic t0 partition 3 offset 7 leader epoch 7 committed at `, ` metadata "note: not readable: at night"`, `group "joined" may have members`,
			`group "simple" is looked at at `, "a retention of 3600000 ms",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("nothing says %q in\n%s", want, text)
			}
		}
	})
	key := offsetRecordKey("g", "t", 1)
	for _, c := range []struct {
		key, value []byte
		want       string
	}{
		{key, nil, `group "g" topic t partition 1: removed`},
		{key, []byte{9}, `group "g" topic t partition 1: not readable: `},
		{[]byte{0, 5, 0, 1, 'g', 0, 1, 'm'}, []byte{1, 2}, `group "g" member "m": 2 bytes`},
		{[]byte{0, 2, 0, 1, 'g'}, []byte{0}, `group "g" classic group: not readable: `},
		{[]byte{0}, nil, "not readable: "},
		{[]byte{0, 99}, nil, "of a kind that is not known"},
	} {
		if got := RecordText(c.key, c.value); !strings.HasPrefix(got, c.want) {
			t.Errorf("%x: %s, want %s", c.key, got, c.want)
		}
	}
	if text, readable := EntryText(offsetColdKey("g", "t", 1), []byte{9}); readable || !strings.HasPrefix(text, `group "g" topic t partition 1: not readable: `) {
		t.Errorf("readable %t: %s", readable, text)
	}
	for _, key := range [][]byte{nil, {'e'}, {'r', 1}, {'o', 0, 1}, {'g', 0, 1, 'g'}, {'?', 0, 0}} {
		if got, readable := EntryText(key, nil); readable || !strings.Contains(got, "not readable") {
			t.Errorf("%x: readable %t: %s", key, readable, got)
		}
	}
}
