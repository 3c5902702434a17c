package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// cluster answers scans. births go on at a rate.
type cluster struct {
	began     time.Time
	perMinute int64
	burned    int64

	mu struct {
		sync.Mutex
		away          bool
		full, counter int
	}
}

func (c *cluster) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.away = away
}

// asked is how often, fully and for the counter alone.
func (c *cluster) asked() (full, counter int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.full, c.mu.counter
}

// isAway counts the question, too.
func (c *cluster) isAway(o collect.Options) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.CounterOnly {
		c.mu.counter++
	} else {
		c.mu.full++
	}
	return c.mu.away
}

func (c *cluster) ask(_ context.Context, o collect.Options) (*evidence.Scan, error) {
	if c.isAway(o) {
		return nil, &collect.ErrConnect{Cause: errors.New("refused")}
	}
	s := &evidence.Scan{
		Schema: evidence.SchemaVersion, Started: time.Now(), Cluster: evidence.Cluster{Vendor: evidence.VendorRedpanda, VersionLeast: "3.0"},
		Brokers: []evidence.Broker{{ID: 1, Answered: true}},
		Sources: []evidence.Source{{Name: evidence.SourceCounter, State: evidence.Seen}, {Name: evidence.SourceACLs, State: evidence.Denied}},
		Budget:  evidence.Budget{Bytes: 1000},
	}
	if !o.CounterOnly {
		s.Cluster.IDs = evidence.IDsGlobal
	}
	pid := int64(time.Since(c.began).Minutes()*float64(c.perMinute)) + c.burned
	c.burned++
	s.Counter = []evidence.CounterProbe{{At: time.Now(), Broker: 1, PID: pid}}
	s.Ended = time.Now()
	return s, nil
}

// value is one series' value; labels as in name{cluster="c",...}.
func value(t *testing.T, w *Watch, series string) (string, bool) {
	t.Helper()
	var out bytes.Buffer
	if err := w.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if v, found := strings.CutPrefix(strings.TrimSpace(line), series+" "); found {
			return v, true
		}
	}
	return "", false
}

func want(t *testing.T, w *Watch, series, expected string) {
	t.Helper()
	if got, _ := value(t, w, series); got != expected {
		t.Errorf("%s is %q, want %q", series, got, expected)
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{began: time.Now(), perMinute: 30}
		var log bytes.Buffer
		after := 0
		w, err := New(Options{Cluster: "c", Ask: c.ask, Log: &log, After: func() error { after++; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }

		pass(time.Hour + time.Second) // scans at 0, 10, ... 60 min; the counter in between
		full, counter := c.asked()
		if full != 7 || counter != 54 || after != 61 {
			t.Errorf("%d full scans, %d readings, %d times after", full, counter, after)
		}
		want(t, w, `ottla_investigate_pid_births_total{cluster="c"}`, "1800")
		want(t, w, `ottla_investigate_births_per_second{cluster="c"}`, "0.5")
		want(t, w, `ottla_investigate_up{cluster="c"}`, "1")
		want(t, w, `ottla_investigate_scan_bytes_total{cluster="c"}`, "61000")
		want(t, w, `ottla_investigate_source_state{cluster="c",source="acls",state="denied"}`, "1")
		want(t, w, `ottla_investigate_source_state{cluster="c",source="acls",state="seen"}`, "0")
		last, _ := value(t, w, `ottla_investigate_last_scan_timestamp_seconds{cluster="c"}`)

		c.setAway(true)
		pass(time.Hour)
		want(t, w, `ottla_investigate_up{cluster="c"}`, "0")
		want(t, w, `ottla_investigate_level{cluster="c"}`, "3")
		want(t, w, `ottla_investigate_last_scan_timestamp_seconds{cluster="c"}`, last)
		want(t, w, `ottla_investigate_scans_total{cluster="c",kind="counter",result="failed"}`, "60")
		if _, shown := value(t, w, `ottla_investigate_births_per_second{cluster="c"}`); shown {
			t.Error("a rate while the cluster is away")
		}
		if n := strings.Count(log.String(), "does not answer"); n != 1 {
			t.Errorf("said %d times that the cluster is away:\n%s", n, log.String())
		}

		c.setAway(false)
		full, _ = c.asked()
		pass(time.Minute)
		if now, _ := c.asked(); now != full+1 {
			t.Errorf("%d full scans after the cluster came back, want one at once", now-full)
		}
		want(t, w, `ottla_investigate_up{cluster="c"}`, "1")
		want(t, w, `ottla_investigate_pid_births_total{cluster="c"}`, "3630")
		stop()
		<-ended
	})
}

// TestSlowScansLeaveAPause: scans of an hour, asked for every ten minutes.
func TestSlowScansLeaveAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{began: time.Now()}
		var pauses []time.Duration
		var last time.Time
		w, err := New(Options{Cluster: "c", Ask: func(ctx context.Context, o collect.Options) (*evidence.Scan, error) {
			if !last.IsZero() {
				pauses = append(pauses, time.Since(last))
			}
			<-time.After(time.Hour)
			last = time.Now()
			return c.ask(ctx, o)
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Hour)
		defer stop()
		w.Run(ctx)
		if len(pauses) < 5 || slices.Min(pauses) < DefaultCounterEvery {
			t.Errorf("pauses: %v", pauses)
		}
	})
}

// TestBirthsFromBeforeAnOutage are not taken for today's: the leak ended while the cluster was away.
func TestBirthsFromBeforeAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{began: time.Now(), perMinute: 60_000}
		var judged *evidence.Scan
		w, err := New(Options{Cluster: "c", Ask: func(ctx context.Context, o collect.Options) (*evidence.Scan, error) {
			s, err := c.ask(ctx, o)
			judged = s
			return s, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		pass := func(d time.Duration) { <-time.After(d) }
		for range 5 {
			_ = w.counter(t.Context())
			pass(time.Minute)
		}
		c.setAway(true)
		_ = w.counter(t.Context())
		c.setAway(false)
		c.burned, c.perMinute = 300_000, 0
		_ = w.counter(t.Context())
		pass(time.Minute)
		if err := w.full(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, w, `ottla_investigate_births_per_second{cluster="c"}`, "0")
		if n := len(judged.Counter); n != 2 || judged.Counter[0].PID < 300_000 {
			t.Errorf("judged by %d readings, some from before the outage: %+v", n, judged.Counter)
		}
	})
}

// TestWatchEndsInTheMiddleOfAScan: what was cut short changes nothing.
func TestWatchEndsInTheMiddleOfAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		w, err := New(Options{Cluster: "c", Ask: func(ctx context.Context, _ collect.Options) (*evidence.Scan, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		go func() { <-time.After(time.Minute); stop() }()
		w.Run(ctx)
		want(t, w, `ottla_investigate_scans_total{cluster="c",kind="full",result="failed"}`, "0")
	})
}

func TestOnce(t *testing.T) {
	c := &cluster{began: time.Now()}
	w, err := New(Options{Scan: collect.Options{Bootstrap: []string{"kafka.example.com:9092"}}, Ask: c.ask})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, w, `ottla_investigate_up{cluster="kafka.example.com:9092"}`, "1")
	if _, shown := value(t, w, `ottla_investigate_pid_births_total{cluster="kafka.example.com:9092"}`); shown {
		t.Error("a count over time of a single scan")
	}
	path := filepath.Join(t.TempDir(), "ottla.prom")
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	var page bytes.Buffer
	if err != nil || w.WriteText(&page) != nil || page.String() != string(text) {
		t.Errorf("the file and the page differ: %v\n%s", err, text)
	}
	c.setAway(true)
	if err := w.Once(t.Context()); err == nil {
		t.Error("a cluster that is away, and no error")
	}
	want(t, w, `ottla_investigate_level{cluster="kafka.example.com:9092"}`, "3")
}

func TestNewRefuses(t *testing.T) {
	ask := (&cluster{}).ask
	for _, o := range []Options{{Ask: ask, Every: time.Millisecond}, {Ask: ask, CounterEvery: -1}, {Ask: ask, Topics: TopicsMax + 1}, {Ask: ask, Topics: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestServe(t *testing.T) {
	c := &cluster{began: time.Now()}
	w, err := New(Options{Cluster: "c\n\"x", Ask: c.ask})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Serve(ctx, l) }()
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, MetricUp+`{cluster="c\n\"x"} 0`) || strings.Contains(body, MetricLevel) {
		t.Errorf("before the first scan: %d %s", code, body)
	}
	c.setAway(true)
	_ = w.Once(t.Context())
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, MetricLevel+`{cluster="c\n\"x"} 3`) {
		t.Errorf("after a scan that failed: %d %s", code, body)
	}
	if code, _ := get("/else"); code != 404 {
		t.Errorf("/else: %d", code)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// TestShownVerdict: what a verdict says becomes series, names are the documented ones, and promtool's linter has nothing to say.
func TestShownVerdict(t *testing.T) {
	w, err := New(Options{Cluster: "c", Ask: (&cluster{}).ask})
	if err != nil {
		t.Fatal(err)
	}
	v := &diagnose.Verdict{
		Level: diagnose.Storm, Exit: 2, Explained: 0.9,
		Births: diagnose.Births{Known: true, PerSecond: 38},
		Heap: []diagnose.Heap{
			{Broker: 1, Entries: 1000, Bytes: 264_000, Plateau: 5e8, HeapMax: 4 << 30, UntilFull: 3600},
			{Broker: 2, Plateau: 5e8, UntilFull: -1, Sizes: []diagnose.HeapSize{{HeapMax: 1 << 30, UntilFull: 60}, {HeapMax: 6 << 30, UntilFull: 7200}}},
			{Broker: 3, HeapMax: 4 << 30, UntilFull: -1},
		},
		Suspects: []diagnose.Topic{{Name: "payments", NewbornShare: 0.99, Explains: 0.9}},
	}
	scan := &evidence.Scan{Ended: time.Unix(1_800_000_000, 500e6), Metrics: []evidence.BrokerMetrics{
		{URL: "a", Values: map[string]float64{evidence.MetricInits: 10, evidence.MetricProduces: 100}},
		{URL: "b", Values: map[string]float64{evidence.MetricInits: 10}},
	}}
	w.show(scan, v, -1, 12*time.Second)
	for series, expected := range map[string]string{
		`level{cluster="c"}`: "2", `births_per_second{cluster="c"}`: "38", `scan_duration_seconds{cluster="c"}`: "12",
		`last_scan_timestamp_seconds{cluster="c"}`:    "1.8000000005e+09",
		`newborn_ratio{cluster="c",topic="payments"}`: "0.99", `explained_ratio{cluster="c",topic="payments"}`: "0.9",
		`time_to_oom_seconds{broker="1",cluster="c"}`: "3600", `time_to_oom_seconds{broker="2",cluster="c"}`: "7200", `time_to_oom_seconds{broker="3",cluster="c"}`: "+Inf",
		`heap_max_bytes{broker="2",cluster="c",known="false"}`: "6.442450944e+09", `heap_max_bytes{broker="1",cluster="c",known="true"}`: "4.294967296e+09",
		`state_heap_bytes{broker="1",cluster="c"}`: "264000", `plateau_heap_bytes{broker="1",cluster="c"}`: "5e+08", `live_entries{broker="1",cluster="c"}`: "1000",
		`init_producer_id_per_produce{cluster="c"}`: "0.1",
	} {
		want(t, w, "ottla_investigate_"+series, expected)
	}
	scan.Metrics[0].Values = map[string]float64{evidence.MetricInits: 60, evidence.MetricProduces: 200}
	w.show(scan, v, 5, time.Second)
	want(t, w, `ottla_investigate_init_producer_id_per_produce{cluster="c"}`, "0.5")
	want(t, w, `ottla_investigate_births_per_second{cluster="c"}`, "5")
	scan.Metrics = nil
	w.show(scan, v, 5, time.Second)
	if _, shown := value(t, w, `ottla_investigate_init_producer_id_per_produce{cluster="c"}`); shown {
		t.Error("a ratio that nothing told")
	}
	page, err := os.ReadFile("../../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := w.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for _, f := range families {
		if name := strings.TrimPrefix(f.GetName(), "ottla_investigate_"); !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/fleet.md has no word on %s", name)
		}
	}
}

func TestTopicsKeepTheirSeries(t *testing.T) {
	suspects := func(pairs ...any) *diagnose.Verdict {
		v := &diagnose.Verdict{Explained: 1}
		for i := 0; i < len(pairs); i += 2 {
			v.Suspects = append(v.Suspects, diagnose.Topic{Name: pairs[i].(string), NewbornShare: 1, Explains: pairs[i+1].(float64)})
		}
		return v
	}
	names := func(list []topicState) string {
		var out []string
		for _, t := range list {
			out = append(out, fmt.Sprintf("%s:%g", t.name, t.explained))
		}
		return strings.Join(out, " ")
	}
	var list []topicState
	for i, step := range []struct {
		v    *diagnose.Verdict
		want string
	}{
		{suspects("a", 0.5, "b", 0.3, "c", 0.1), "a:0.5 b:0.3"},
		{suspects("c", 0.5, "a", 0.4, "b", 0.3), "a:0.4 b:0.3"},
		{suspects("c", 0.8, "a", 0.1, "b", 0.05), "a:0.1 c:0.8"},
		{suspects("a", 0.1), "a:0.1 c:0"},
		{suspects("a", 0.1, "d", 0.01), "a:0.1 d:0.01"},
	} {
		if list = nextTopics(list, step.v, 2); names(list) != step.want {
			t.Errorf("step %d: %s, want %s", i, names(list), step.want)
		}
	}
	for range idleScansMax {
		list = nextTopics(list, suspects(), 2)
	}
	if names(list) != "a:0 d:0" {
		t.Errorf("idle: %s", names(list))
	}
	if list = nextTopics(list, suspects(), 2); len(list) != 0 {
		t.Errorf("forgotten too late: %s", names(list))
	}
	unknown := suspects("a", 0.5)
	unknown.Explained = -1
	if list = nextTopics(nil, unknown, 2); names(list) != "a:-1" {
		t.Errorf("births not known: %s", names(list))
	}
	if list = nextTopics(nil, unknown, 0); len(list) != 0 {
		t.Errorf("no topics were wanted: %s", names(list))
	}
}

// TestMemoryIsBounded: a month of a large cluster's readings leaves no more than the named limit.
func TestMemoryIsBounded(t *testing.T) {
	w, err := New(Options{Cluster: "c", Ask: (&cluster{}).ask})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_800_000_000, 0)
	for minute := range 30 * 24 * 60 / 10 {
		s := &evidence.Scan{Cluster: evidence.Cluster{IDs: evidence.IDsInBlocks}}
		for b := range int32(50) {
			s.Counter = append(s.Counter, evidence.CounterProbe{At: at.Add(time.Duration(minute) * time.Minute), Broker: b, PID: int64(b)*1e9 + int64(minute)})
		}
		w.count(s)
	}
	if len(w.probes) > probesMax || len(w.births.brokers) != 50 || cap(w.probes) > 4*probesMax {
		t.Errorf("%d readings (room for %d), %d brokers", len(w.probes), cap(w.probes), len(w.births.brokers))
	}
	runtime.KeepAlive(w)
}
