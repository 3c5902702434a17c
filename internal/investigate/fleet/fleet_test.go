package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// world answers in place of clusters. Their names are their bootstrap addresses.
type world struct {
	ask    map[string]func(ctx context.Context, o collect.Options) (*evidence.Scan, error)
	asked  atomic.Int64
	busy   atomic.Int64
	busier atomic.Int64
}

func (w *world) scan(ctx context.Context, o collect.Options) (*evidence.Scan, error) {
	w.asked.Add(1)
	n := w.busy.Add(1)
	defer w.busy.Add(-1)
	for {
		most := w.busier.Load()
		if n <= most || w.busier.CompareAndSwap(most, n) {
			break
		}
	}
	name, _, _ := strings.Cut(o.Bootstrap[0], ":")
	if ask := w.ask[name]; ask != nil {
		return ask(ctx, o)
	}
	return counted(o, 5), nil
}

func (w *world) options() Options {
	return Options{Tool: "ottla test", Ask: w.scan}
}

// counted is a sweep of a cluster with one broker whose next id is pid.
func counted(_ collect.Options, pid int64) *evidence.Scan {
	now := time.Now().UTC()
	return &evidence.Scan{
		Schema: evidence.SchemaVersion, Started: now, Ended: now, Cluster: evidence.Cluster{ID: "id", Vendor: evidence.VendorKafka, VersionLeast: "4.3"},
		Brokers: []evidence.Broker{{ID: 1, Answered: true}}, Counter: []evidence.CounterProbe{{At: now, Broker: 1, PID: pid}},
		Sources: []evidence.Source{{Name: evidence.SourceCounter, State: evidence.Seen}, {Name: evidence.SourceTails, State: evidence.Skipped}, {Name: evidence.SourceOffsets, State: evidence.Skipped}},
		Budget:  evidence.Budget{Requests: 3, Bytes: 100},
	}
}

func list(level int, names ...string) *Config {
	c := &Config{Concurrency: 4}
	for _, name := range names {
		c.Clusters = append(c.Clusters, Cluster{Name: name, Bootstrap: []string{name}, Level: level, Timeout: time.Minute, BytesMax: DefaultBytesMax})
	}
	return c
}

func row(t *testing.T, r *Report, name string) Row {
	t.Helper()
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Name == name })
	if i < 0 {
		t.Fatalf("no row %q in %+v", name, r.Rows)
	}
	return r.Rows[i]
}

// TestDeadClustersDelayNobody: one hangs and does not even listen to its context. The others are asked by the other workers, and
// behind it, once its time is over.
func TestDeadClustersDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("c%03d", i))
		}
		released := make(chan struct{})
		w := &world{ask: map[string]func(context.Context, collect.Options) (*evidence.Scan, error){
			"c000": func(context.Context, collect.Options) (*evidence.Scan, error) {
				<-released
				return nil, errors.New("late")
			},
			"c001": func(ctx context.Context, _ collect.Options) (*evidence.Scan, error) {
				<-ctx.Done()
				return nil, &collect.ErrConnect{Cause: ctx.Err()}
			},
		}}
		begun := time.Now()
		r := Run(t.Context(), list(LevelSweep, names...), w.options())
		if took := time.Since(begun); took > time.Minute+overrunMax {
			t.Errorf("took %s", took)
		}
		close(released)
		if n := r.Levels[Unreachable]; n != 2 || r.Levels[diagnose.Healthy] != 98 || r.Exit != exitUnreachable {
			t.Errorf("levels %v, exit %d", r.Levels, r.Exit)
		}
		if n := w.busier.Load(); n > 4 {
			t.Errorf("%d at once, want at most 4", n)
		}
		if why := row(t, r, "c000").Why; why != errOverrun.Error() {
			t.Errorf("why: %q", why)
		}
	})
}

func TestSweepsMakeBirthsPerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pids := map[string]int64{"calm": 2_000_000, "busy": 2_000_000, "ottla": 2_000_000, "anew": 2_000_000, "young": 17}
		w := &world{ask: map[string]func(context.Context, collect.Options) (*evidence.Scan, error){}}
		for name := range pids {
			w.ask[name] = func(_ context.Context, o collect.Options) (*evidence.Scan, error) { return counted(o, pids[name]), nil }
		}
		w.ask["mute"] = func(_ context.Context, o collect.Options) (*evidence.Scan, error) {
			s := counted(o, -1)
			s.Counter[0].Error = "denied"
			s.Sources[0] = evidence.Source{Name: evidence.SourceCounter, State: evidence.Denied, Why: "1 denied", Permission: "IDEMPOTENT_WRITE on Cluster"}
			return s, nil
		}
		w.ask["random"] = func(_ context.Context, o collect.Options) (*evidence.Scan, error) {
			s := counted(o, 7)
			s.Cluster.Vendor = evidence.VendorKfake
			return s, nil
		}
		w.ask["ottla"] = func(_ context.Context, o collect.Options) (*evidence.Scan, error) {
			s := counted(o, pids["ottla"])
			s.Cluster.Vendor = evidence.VendorOttla
			return s, nil
		}
		c := list(LevelSweep, "ottla", "calm", "busy", "anew", "young", "mute", "random")
		state, err := OpenState(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		o := w.options()
		o.State, o.Baseline = state, true
		first := Run(t.Context(), c, o)
		if first.Levels[diagnose.Healthy] != 1 || first.Levels[diagnose.Inconclusive] != 6 || first.Exit != 3 {
			t.Errorf("first run: %v, exit %d: %+v", first.Levels, first.Exit, first.Rows)
		}
		if first.Changes[ChangeNew] != 7 {
			t.Errorf("first run: changes %v", first.Changes)
		}
		if r := row(t, first, "mute"); !strings.Contains(r.Why, "IDEMPOTENT_WRITE") {
			t.Errorf("mute: %+v", r)
		}
		pass(24 * time.Hour)
		pids["calm"], pids["busy"], pids["ottla"], pids["anew"] = 2_000_501, 2_500_001, 2_500_001, 12_345
		second := Run(t.Context(), c, o)
		if r := row(t, second, "calm"); r.Level != diagnose.Healthy || math.Round(r.BirthsPerSecond*secondsPerDay) != 500 || r.UntilFull != Never || r.Change != ChangeKnown {
			t.Errorf("calm: %+v", r)
		}
		if r := row(t, second, "busy"); r.Level != diagnose.Armed || math.Round(r.BirthsPerSecond*secondsPerDay) != 500_000 || r.Change != ChangeKnown {
			t.Errorf("busy: %+v", r)
		}
		if r := row(t, second, "ottla"); r.Level != diagnose.Healthy || r.UntilFull != Never || !strings.Contains(r.Sentence, "500000 new producers a day") || !strings.Contains(r.Why, "memory does not grow") || r.suspicious() {
			t.Errorf("ottla: %+v", r)
		}
		if r := row(t, second, "anew"); r.Level != diagnose.Inconclusive || !strings.Contains(r.Why, "made anew") {
			t.Errorf("anew: %+v", r)
		}
		if second.Exit != 1 || second.ExitFor("storm") != 0 || second.ExitFor("never") != 0 {
			t.Errorf("exit %d", second.Exit)
		}
	})
}

func TestEscalation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pid, calm := int64(1_000_000), int64(5)
		w := &world{ask: map[string]func(context.Context, collect.Options) (*evidence.Scan, error){"calm": func(_ context.Context, o collect.Options) (*evidence.Scan, error) { return counted(o, calm), nil }, "busy": func(_ context.Context, o collect.Options) (*evidence.Scan, error) {
			if o.CounterOnly {
				return counted(o, pid), nil
			}
			return storming(pid, 4<<30), nil
		}}}
		o := w.options()
		o.State, _ = OpenState(t.TempDir())
		o.Escalate = true
		Run(t.Context(), list(LevelSweep, "busy", "calm"), o)
		pass(24 * time.Hour)
		pid += 10 * 86_400
		calm++
		w.asked.Store(0)
		r := Run(t.Context(), list(LevelSweep, "busy", "calm"), o)
		if got := row(t, r, "busy"); !got.Escalated || got.Level != diagnose.Storm || got.Asked != LevelFull || got.TopTopic != "leak" || got.UntilFull < 0 {
			t.Errorf("busy: %+v", got)
		}
		if got := row(t, r, "calm"); got.Escalated || got.Level != diagnose.Healthy {
			t.Errorf("calm: %+v", got)
		}
		if n := w.asked.Load(); n != 3 {
			t.Errorf("%d scans, want 3", n)
		}
		if r.Rows[0].Name != "busy" || r.Exit != 2 || !strings.Contains(r.Sentence, "first to run out of memory is busy") {
			t.Errorf("report: %d, %q", r.Exit, r.Sentence)
		}
	})
}

// TestResume: a run that was stopped goes on where it was; clusters that did not answer are asked again.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		w := &world{ask: map[string]func(context.Context, collect.Options) (*evidence.Scan, error){
			"dead": func(context.Context, collect.Options) (*evidence.Scan, error) {
				return nil, &collect.ErrConnect{Cause: errors.New("refused")}
			},
			"last": func(_ context.Context, o collect.Options) (*evidence.Scan, error) {
				stop()
				return counted(o, 9), nil
			},
		}}
		c := list(LevelSweep, "a", "dead", "b", "last", "never asked")
		c.Concurrency = 1
		o := w.options()
		o.State, _ = OpenState(t.TempDir())
		o.ResumeWithin = time.Hour
		r := Run(ctx, c, o)
		if got := row(t, r, "never asked"); got.Level != diagnose.Inconclusive || w.asked.Load() != 4 {
			t.Errorf("stopped: %+v, %d asked", got, w.asked.Load())
		}
		delete(w.ask, "last")
		w.asked.Store(0)
		pass(10 * time.Minute)
		r = Run(t.Context(), c, o)
		if n := w.asked.Load(); n != 3 { // dead, last, never asked
			t.Errorf("%d asked, want 3", n)
		}
		if got := row(t, r, "a"); !got.Resumed || got.Level != diagnose.Healthy {
			t.Errorf("a: %+v", got)
		}
		if got := row(t, r, "last"); got.Resumed {
			t.Errorf("what was cut short is no result: %+v", got)
		}
		full := LevelFull // a sweep does not stand for a full scan
		o.Level = &full
		w.asked.Store(0)
		if Run(t.Context(), c, o); w.asked.Load() != 5 {
			t.Errorf("%d asked, want 5", w.asked.Load())
		}
	})
}

func TestStateSurvivesDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := &world{}
		o := w.options()
		o.State, _ = OpenState(dir)
		o.Baseline = true
		name := "../a b/ü"
		Run(t.Context(), list(LevelSweep, name), o)
		files, _ := filepath.Glob(filepath.Join(dir, "*", "*.json"))
		if len(files) != 1 || filepath.Base(filepath.Dir(files[0])) != "%2E.%2Fa%20b%2F%C3%BC" {
			t.Fatalf("files: %v", files)
		}
		for _, damaged := range []string{"", "{", "[]", `{"schema":99}`, strings.Repeat("x", recordBytesMax+1)} {
			if err := os.WriteFile(files[0], []byte(damaged), 0o644); err != nil {
				t.Fatal(err)
			}
			r := Run(t.Context(), list(LevelSweep, name), o)
			if got := row(t, r, name); got.Level != diagnose.Healthy || got.Change != ChangeNew || len(r.Notes) != 1 {
				t.Errorf("%.20q: %+v, notes %v", damaged, got, r.Notes)
			}
		}
		for range RecordDaysMax + 5 {
			pass(24 * time.Hour)
			Run(t.Context(), list(LevelSweep, name), o)
		}
		if days, err := o.State.days(name); err != nil || len(days) != RecordDaysMax {
			t.Errorf("%d days are kept, %v", len(days), err)
		}
	})
}

func TestFirstAndLast(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var probes []evidence.CounterProbe
	for i := range 10 {
		probes = append(probes, evidence.CounterProbe{At: at.Add(time.Duration(10-i) * time.Second), Broker: int32(i % 3), PID: int64(100 - i)})
	}
	probes = append(probes, evidence.CounterProbe{At: at, Broker: 9, PID: -1, Error: "denied"})
	got := firstAndLast(probes)
	if len(got) != 6 || !slices.IsSortedFunc(got, func(a, b evidence.CounterProbe) int { return a.At.Compare(b.At) }) {
		t.Errorf("got %+v", got)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"schema":1,"cluster":"a","probes":[{"broker":1,"pid":5}],"row":{"name":"a"}}`))
	f.Add([]byte(`{"schema":1,"probes":[{"broker":1,"pid":9223372036854775807},{"broker":1,"pid":-5}],"id_model":"global"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeRecord(text)
		if err != nil {
			return
		}
		s := counted(collect.Options{}, 5)
		row := newRow("a", nil)
		row.sweep(s, r, DefaultBirthsPerDay)
		row.compare(&r.Row)
		if row.Level == "" || math.IsNaN(row.BirthsPerSecond) || math.IsInf(row.BirthsPerSecond, 0) {
			t.Fatalf("%+v", row)
		}
	})
}

// pass lets time go by, in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }
