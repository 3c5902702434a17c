package coordinator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/disk"
	"ottla/internal/group"
)

// history is what was done to one thing, in order, and up to where it was acknowledged. After a crash the thing must be as it was
// after some step that is not before the last one acknowledged.
type history struct {
	states []string // [0] is before everything
	acked  int      // index of the last state that was acknowledged
}

func (h *history) attempt(state string) (ack func()) {
	h.states = append(h.states, state)
	n := len(h.states) - 1
	return func() { h.acked = max(h.acked, n) }
}

func (h *history) allows(state string) bool {
	for _, s := range h.states[h.acked:] {
		if s == state {
			return true
		}
	}
	return false
}

// played is one run of the script below, as far as it came.
type played struct {
	offsets map[string]*history // "group topic partition" -> offset
	groups  map[string]*history // group -> "member generation" while it has one; "" while it does not
	gone    map[string]*history // group -> "exists" or ""
}

func newPlayed() *played {
	return &played{map[string]*history{}, map[string]*history{}, map[string]*history{}}
}

func of(m map[string]*history, key string) *history {
	if m[key] == nil {
		m[key] = &history{states: []string{""}}
	}
	return m[key]
}

// errOver ends a play: the disk has failed.
var errOver = errors.New("the play is over")

// commits sends several commits at once and waits for all.
func (p *played) commits(w *world, list ...commit) error {
	var futures []*Future
	var answers []*kmsg.OffsetCommitResponse
	var acks []func()
	for _, m := range list {
		ack := of(p.offsets, fmt.Sprintf("%s %s %d", m.group, m.topic, m.partition)).attempt(fmt.Sprint(m.offset))
		exists := of(p.gone, m.group).attempt("exists")
		f, resp := w.startCommit(m)
		futures, answers, acks = append(futures, f), append(answers, resp), append(acks, func() { ack(); exists() })
	}
	over := false
	for i, f := range futures {
		if _, err := f.Wait(context.Background()); err != nil {
			return err
		}
		if answers[i].Topics[0].Partitions[0].ErrorCode != 0 {
			over = true
			continue
		}
		acks[i]()
	}
	if over {
		return errOver
	}
	return nil
}

func (p *played) join(w *world, id string) (member string, generation int32, err error) {
	of(p.gone, id).attempt("exists")
	member, generation, code := w.join(id)
	if code != 0 {
		// The generation may be in the log; its member never learned of it, so that only its name counts.
		of(p.groups, id).attempt("?")
		return "", 0, errOver
	}
	of(p.groups, id).attempt(fmt.Sprintf("%s %d", member, generation))()
	of(p.gone, id).attempt("exists")()
	return member, generation, nil
}

func (p *played) leave(w *world, id, member string) error {
	ack := of(p.groups, id).attempt("")
	if w.leave(id, member) != 0 {
		return errOver
	}
	ack()
	return nil
}

func (p *played) deleteGroup(w *world, id string) error {
	var acks []func()
	for key, h := range p.offsets {
		var name string
		if fmt.Sscan(key, &name); name == id {
			acks = append(acks, h.attempt(""))
		}
	}
	acks = append(acks, of(p.gone, id).attempt(""))
	out, err := w.c.DeleteGroups(context.Background(), []string{id})
	if err != nil || out[0].ErrorCode != 0 {
		return errOver
	}
	for _, ack := range acks {
		ack()
	}
	return nil
}

func (p *played) deleteOffset(w *world, id, topic string) error {
	ack := of(p.offsets, fmt.Sprintf("%s %s 0", id, topic)).attempt("")
	of(p.gone, id).attempt("") // it was its only offset
	r, err := w.c.DeleteOffsets(context.Background(), deleteRequest(id, topic))
	if err != nil || r.ErrorCode != 0 {
		return errOver
	}
	ack()
	return nil
}

// expire lets all offsets of groups without members expire.
func (p *played) expire(w *world) error {
	attempts := map[string]func(){}
	for key, h := range p.offsets {
		attempts[key] = h.attempt("")
	}
	for _, h := range p.gone {
		h.attempt("")
	}
	pauseFor(retention + checkAfter)
	if w.c.offline.Load() {
		return errOver
	}
	for key, ack := range attempts {
		var id, topic string
		var partition int32
		fmt.Sscan(key, &id, &topic, &partition)
		if offset, code := w.fetch(id, topic, partition); code == 0 && offset == -1 {
			ack()
		}
	}
	return nil
}

// script plays through everything that writes, with a clean restart in the middle.
func (p *played) script(fs disk.FS) error {
	w, err := openWorld(fs, worldOptions{partitions: 2})
	if err != nil {
		return errOver
	}
	synctest.Wait()
	first := func() error {
		if err := p.commits(w, simple("a", "t0", 0, 1), simple("b", "t0", 0, 1), simple("a", "t0", 0, 2), simple("c", "t1", 1, 1)); err != nil {
			return err
		}
		member, generation, err := p.join(w, "m")
		if err != nil {
			return err
		}
		as := simple("m", "t0", 0, 5)
		as.member, as.generation = member, generation
		if err := p.commits(w, as, simple("d", "t0", 0, 1), simple("d", "t0", 1, 1)); err != nil {
			return err
		}
		if err := w.store.Flush(); err != nil {
			return errOver
		}
		if err := p.deleteGroup(w, "d"); err != nil {
			return err
		}
		return p.commits(w, simple("a", "t0", 0, 3), simple("b", "t0", 0, 2), simple("a", "t0", 0, 4))
	}
	err = first()
	if closeErr := w.close(); err != nil || closeErr != nil {
		return errOver
	}
	if w, err = openWorld(fs, w.o); err != nil {
		return errOver
	}
	synctest.Wait()
	second := func() error {
		if err := p.commits(w, simple("a", "t0", 0, 5), simple("e", "t0", 0, 1), simple("d", "t0", 0, 9)); err != nil {
			return err
		}
		if err := p.deleteOffset(w, "e", "t0"); err != nil {
			return err
		}
		member, _, err := p.join(w, "n")
		if err != nil {
			return err
		}
		if err := p.leave(w, "n", member); err != nil {
			return err
		}
		of(p.groups, "m").attempt("") // its session ends
		if err := p.expire(w); err != nil {
			return err
		}
		if _, _, err := p.join(w, "o"); err != nil {
			return err
		}
		return p.commits(w, simple("a", "t0", 0, 6), simple("f", "t0", 0, 1))
	}
	err = second()
	if closeErr := w.close(); err != nil || closeErr != nil {
		return errOver
	}
	return nil
}

// verify opens what is left and compares it with what was acknowledged.
func (p *played) verify(fs *disk.Mem) error {
	w, err := openWorld(fs, worldOptions{partitions: 2, unclean: true})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	synctest.Wait()
	err = p.compare(w)
	return errors.Join(err, w.close())
}

func (p *played) compare(w *world) error {
	for key, h := range p.offsets {
		var id, topic string
		var partition int32
		fmt.Sscan(key, &id, &topic, &partition)
		offset, code := w.fetch(id, topic, partition)
		state := fmt.Sprint(offset)
		if offset == -1 {
			state = ""
		}
		if code != 0 || !h.allows(state) {
			return fmt.Errorf("offset of %s is %q (code %d), of %q acknowledged up to %d", key, state, code, h.states, h.acked)
		}
	}
	listed := map[string]bool{}
	if err := w.c.List(context.Background(), nil, nil, func(l group.Listing) error {
		if listed[l.ID] {
			return fmt.Errorf("group %s is listed twice", l.ID)
		}
		listed[l.ID] = true
		return nil
	}); err != nil {
		return err
	}
	for id, h := range p.gone {
		state := ""
		if listed[id] {
			state = "exists"
		}
		if !h.allows(state) {
			return fmt.Errorf("group %s: %q, of %q acknowledged up to %d", id, state, h.states, h.acked)
		}
	}
	for id, h := range p.groups {
		if state := h.states[h.acked]; state != "" && h.acked == len(h.states)-1 {
			var member string
			var generation int32
			fmt.Sscan(state, &member, &generation)
			if code := w.heartbeat(id, member, generation); code != 0 {
				return fmt.Errorf("group %s: member %s of generation %d got %d", id, member, generation, code)
			}
		}
	}
	return nil
}

// afterwards are the disks that a crash may leave; of each there is one without the cold store.
func afterwards(mem *disk.Mem, k int64) map[string]*disk.Mem {
	out := map[string]*disk.Mem{}
	for name, fs := range map[string]func() *disk.Mem{
		"kill": mem.KillClone, "nothing unsynced": func() *disk.Mem { return mem.CrashClone(0, k) },
		"half of the unsynced": func() *disk.Mem { return mem.CrashClone(0.5, k) },
	} {
		out[name] = fs()
		lost := fs()
		if err := lost.RemoveAll(storeDir); err != nil {
			panic(err)
		}
		out[name+", cold store lost"] = lost
	}
	return out
}

func stride() int64 {
	if testing.Short() {
		return 11
	}
	return 1
}

// TestCrashAtEveryOperation crashes the disk at operation 0, 3, 6 ... until a run is untouched.
func TestCrashAtEveryOperation(t *testing.T) { crashes(t, disk.FaultCrash) }

// TestFailAtEveryOperation fails one operation, and kills the process at the end.
func TestFailAtEveryOperation(t *testing.T) { crashes(t, disk.FaultError) }

func crashes(t *testing.T, kind disk.FaultKind) {
	runs := 0
	for k := int64(0); ; k += stride() {
		untouched := false
		synctest.Test(t, func(t *testing.T) {
			mem, p := disk.NewMem(), newPlayed()
			f := disk.NewFaults(disk.Fault{At: k, Kind: kind})
			err := p.script(disk.NewFaulty(mem, f))
			untouched = f.Fired() == 0
			if untouched && err != nil {
				t.Fatalf("an untouched run: %v", err)
			}
			for name, fs := range afterwards(mem, k) {
				if err := p.verify(fs); err != nil {
					t.Fatalf("fault at %d, %s: %v", k, name, err)
				}
			}
		})
		if runs++; untouched || t.Failed() {
			break
		}
	}
	t.Logf("%d runs", runs)
	if runs < 10 && !t.Failed() {
		t.Fatalf("untouched after only %d runs", runs)
	}
}

// TestCanary: a coordinator that answers before the log is durable is found out by the check above.
func TestCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, p := disk.NewMem(), newPlayed()
		w := mustOpen(t, mem, worldOptions{partitions: 2})
		if err := p.commits(w, simple("a", "t0", 0, 1)); err != nil {
			t.Fatal(err)
		}
		of(p.offsets, "a t0 0").attempt("2")() // acknowledged, and not in the log
		left := mem.CrashClone(0, 1)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if p.verify(left) == nil {
			t.Error("a lost commit was not noticed")
		}
		if p.groups["a"] = (&history{states: []string{"", "x 1"}, acked: 1}); p.verify(mem.KillClone()) == nil {
			t.Error("a lost generation was not noticed")
		}
	})
}

// TestLogEndsBeforeCheckpoint: a disk that loses what the log had leaves a cold store that knows more. New records take the lost
// offsets; a second crash must not have them passed over because of the old checkpoint.
func TestLogEndsBeforeCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem()
		w := mustOpen(t, mem, worldOptions{partitions: 1, lazy: true})
		for i := int64(1); i <= 10; i++ {
			mustCommit(t, w, simple("a", "t0", 0, i))
		}
		if err := w.store.Flush(); err != nil {
			t.Fatal(err)
		}
		first := mem.CrashClone(0, 1)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w = mustOpen(t, first, worldOptions{partitions: 1, unclean: true})
		if flushed := w.c.flushedUpTo(w.parts[0].Num()); flushed != 0 {
			t.Errorf("the checkpoint is still %d, the log is empty", flushed)
		}
		wantOffset(t, w, "a", "t0", 0, 10)
		for i := int64(11); i <= 13; i++ {
			mustCommit(t, w, simple("a", "t0", 0, i))
		}
		mustCommit(t, w, simple("b", "t0", 0, 77))
		second := first.CrashClone(0, 1)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w = mustOpen(t, second, worldOptions{partitions: 1, unclean: true})
		wantOffset(t, w, "a", "t0", 0, 13)
		wantOffset(t, w, "b", "t0", 0, 77)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	})
}
