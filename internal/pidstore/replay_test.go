package pidstore

import (
	"errors"
	"testing"

	"ottla/internal/coldstate"
	"ottla/internal/producer"
)

// TestRecoveryInVain: a recovery writes what it folds, the log's tail is lost after
// that, and the next recovery finds the window as it was before, all five of it.
func TestRecoveryInVain(t *testing.T) {
	w := newWorld(t, 1<<18, 1)
	l := w.logs[0]
	pid := w.newPID()
	for i := range int32(5) {
		w.want(l, pid, 0, i, 1, "appended at "+string('0'+rune(i)))
	}
	w.commit(l)
	w.settle()
	w.must(w.s.keeper.flush())
	for i := int32(5); i < 8; i++ {
		w.want(l, pid, 0, i, 1, "appended at "+string('0'+rune(i)))
	}
	lost := append([]record(nil), l.records...)

	// Killed; the recovery folds all eight and writes them; then the power goes.
	mem := w.mem.KillClone()
	w.must(w.s.Close())
	w.must(w.cold.Close())
	w.mem = mem
	w.open()
	l.p = w.s.AddPartition(l.num, l.created)
	c, found, err := l.p.Load()
	w.must(err)
	if !found || c.Offset != 5 {
		t.Fatalf("checkpoint %+v, found %v, want offset 5", c, found)
	}
	for _, r := range lost[5:] {
		w.must(l.p.Replay(r.pid, r.in, r.stored))
	}
	w.must(l.p.spill(l.p.mu.replay, nil))
	w.must(w.cold.Flush())
	mem = w.mem.CrashClone(0, 1)
	w.must(w.s.Close())
	w.must(w.cold.Close())
	w.mem = mem
	l.cut(6)
	w.open()
	w.load(l)

	for i := int32(1); i < 6; i++ {
		w.want(l, pid, 0, i, 1, "duplicate of "+string('0'+rune(i)))
	}
	w.want(l, pid, 0, 0, 1, "46")
	w.want(l, pid, 0, 6, 1, "appended at 6")
	_, _, err = w.cold.Scan(l.num, -1<<63, 10, func(key int64, _ []byte) error {
		if key < 0 {
			t.Errorf("key %d is left from the recovery", key)
		}
		return nil
	})
	w.must(err)
}

// TestReplayIsBounded: memory does not depend on the number of producers, and an
// interrupted rebuild is finished by the next one.
func TestReplayIsBounded(t *testing.T) {
	w := newWorld(t, 1<<18, 1)
	l := w.logs[0]
	first := w.newPID()
	for i := range 3000 {
		pid := first + int64(i*7919%3000)
		for seq := range int32(2) {
			in := producer.Incoming{BaseSequence: seq, LastSequence: seq}
			l.records = append(l.records, record{pid, in, producer.Stored{BaseSequence: seq, LastSequence: seq, BaseOffset: l.end, LastOffset: l.end}})
			l.end++
		}
	}
	w.restart(storeLost, 1) // the log is lost too: cut to what is durable
	if len(l.records) != 0 {
		t.Fatal("the log was to be empty")
	}
	w.newPID()
	for i := range 3000 {
		pid := first + int64(i*7919%3000)
		in := producer.Incoming{}
		l.records = append(l.records, record{pid, in, producer.Stored{BaseOffset: l.end, LastOffset: l.end}})
		l.end++
	}
	l.durable = l.end
	w.must(l.p.Drop())
	l.num++
	l.p = w.s.AddPartition(l.num, l.created)
	_, _, err := l.p.Load()
	w.must(err)
	for _, r := range l.records[:2000] {
		w.must(l.p.Replay(r.pid, r.in, r.stored))
	}
	if n, most := len(l.p.mu.replay.folds), batchChunk(w.cold)/2; n > most {
		t.Fatalf("%d entries in memory, want at most %d", n, most)
	}
	w.restart(kill, 1)
	for i, r := range l.records {
		if i%97 == 0 {
			w.want(l, r.pid, 0, 0, 1, formatAnswer("duplicate of", r.stored.BaseOffset))
		}
	}
	if problems, err := w.auditLog(l); err != nil || len(problems) > 0 {
		t.Fatalf("audit: %v %v", problems, err)
	}
}

// TestLogShorterThanStore: the log was damaged below the checkpoint.
func TestLogShorterThanStore(t *testing.T) {
	w := newWorld(t, 1<<18, 1)
	l := w.logs[0]
	a, b := w.newPID(), w.newPID()
	w.want(l, a, 0, 0, 1, "appended at 0")
	w.want(l, a, 0, 1, 1, "appended at 1")
	w.want(l, b, 0, 0, 1, "appended at 2")
	w.commit(l)
	w.settle()
	w.must(w.s.keeper.flush())
	l.cut(1)
	w.restart(kill, 1)
	w.want(l, a, 0, 0, 1, "duplicate of 0")
	w.want(l, b, 0, 0, 1, "appended at 1")
	w.want(l, a, 0, 1, 1, "appended at 2")
}

func TestLoadOrder(t *testing.T) {
	w := newWorld(t, tinyBytes, 1)
	p := w.s.AddPartition(77, 0)
	if _, err := p.Lookup(t.Context(), 5); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("Lookup: %v, want ErrNotLoaded", err)
	}
	if err := p.Replay(5, producer.Incoming{}, producer.Stored{}); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("Replay: %v, want ErrNotLoaded", err)
	}
	if err := p.ReplayDone(coldstate.Checkpoint{}); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("ReplayDone: %v, want ErrNotLoaded", err)
	}
	if err := p.BeforeTrim(1); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("BeforeTrim: %v, want ErrNotLoaded", err)
	}
	p.Durable(coldstate.Checkpoint{Offset: 5})
	if _, _, err := w.logs[0].p.Load(); !errors.Is(err, ErrLoaded) {
		t.Errorf("Load: %v, want ErrLoaded", err)
	}
	for _, pid := range []int64{-1, 1<<63 - 1} {
		if _, err := w.logs[0].p.Lookup(t.Context(), pid); !errors.Is(err, ErrInvalidPID) {
			t.Errorf("Lookup of %d: %v, want ErrInvalidPID", pid, err)
		}
	}
}

// TestReplayIgnoresWhatHasNoSequence: such batches are not ours to recognise, and
// must not keep a partition from loading.
func TestReplayIgnoresWhatHasNoSequence(t *testing.T) {
	w := newWorld(t, tinyBytes, 0)
	l := &logFile{num: 1}
	for _, in := range []producer.Incoming{{Epoch: -1}, {BaseSequence: -1, LastSequence: -1}} {
		l.records = append(l.records, record{5, in, producer.Stored{BaseOffset: l.end, LastOffset: l.end}})
		l.end++
	}
	w.load(l)
	w.want(l, 5, 0, 0, 1, "appended at 2")
}
