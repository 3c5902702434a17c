package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/internal/disk"
	"ottla/internal/seglog"
)

// compactTopic makes a topic and fills two segments of it with records of a few keys.
func compactTopic(t *testing.T, n *Node, name string) {
	t.Helper()
	configs := map[string]*string{}
	for k, v := range map[string]string{"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0"} {
		configs[k] = &v
	}
	if r, err := kadm.NewClient(client(t, n)).CreateTopic(t.Context(), 1, -1, configs, name); err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
	c := client(t, n, kgo.DefaultProduceTopic(name), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := strings.Repeat("v", 20_000)
	for i := range 120 {
		r := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i%7), Value: []byte(value)}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// noCleaning makes the node's own cleaner wait for longer than any test runs; the tests drive one.
const noCleaning = "log.cleaner.backoff.ms=86400000"

// TestCleanerPicks: the dirtiest log is cleaned first, none is cleaned twice, and what was done is counted.
func TestCleanerPicks(t *testing.T) {
	n := start(t, disk.NewMem(), noCleaning)
	createTopic(t, n, "plain", 1)
	compactTopic(t, n, "a")
	compactTopic(t, n, "b")
	c := n.newCleaner()
	seen := map[string]bool{}
	for {
		p := c.pick(t.Context())
		if p == nil {
			break
		}
		if seen[p.Topic()] {
			t.Fatalf("%s is to be cleaned twice", p.Topic())
		}
		seen[p.Topic()] = true
		c.clean(t.Context(), p, seglog.NewOffsetMap(0))
	}
	if !seen["a"] || !seen["b"] || len(seen) != 2 {
		t.Errorf("cleaned %v", seen)
	}
	_, page := get(t, n, "/metrics")
	for _, want := range []string{"ottla_cleaner_runs_total 2", "ottla_cleaner_max_dirty_ratio 0", "ottla_cleaner_errors_total 0"} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the metrics lack %q", want)
		}
	}
	stop(t, n)
}

// TestCleanerLeavesDamageAlone: a damaged log is tried once; the others are cleaned.
func TestCleanerLeavesDamageAlone(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem, noCleaning)
	compactTopic(t, n, "bad")
	compactTopic(t, n, "good")
	f, err := mem.OpenReadWrite(filepath.Join("data", "bad-0", "00000000000000000000.log"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 500); err != nil {
		t.Fatal(err)
	}
	c := n.newCleaner()
	for p := c.pick(t.Context()); p != nil; p = c.pick(t.Context()) {
		c.clean(t.Context(), p, seglog.NewOffsetMap(0))
	}
	_, page := get(t, n, "/metrics")
	for _, want := range []string{"ottla_cleaner_runs_total 1", "ottla_cleaner_uncleanable_partitions 1", "ottla_cleaner_errors_total 1"} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the metrics lack %q", want)
		}
	}
	n.Kill()
}

// TestCleanerRests: what failed for a reason that passes is left alone until the next look is due.
func TestCleanerRests(t *testing.T) {
	n := start(t, disk.NewMem(), noCleaning)
	compactTopic(t, n, "a")
	c := n.newCleaner()
	n.faults.Add(disk.Fault{Kind: disk.FaultNoSpace, Ops: disk.OpCreate, Path: ".cleaned"})
	p := c.pick(t.Context())
	c.clean(t.Context(), p, seglog.NewOffsetMap(0))
	if again := c.pick(t.Context()); again != nil {
		t.Error("tried again at once")
	}
	c.mu.resting[p] = time.Now()
	if again := c.pick(t.Context()); again != p {
		t.Error("never tried again")
	}
	c.clean(t.Context(), p, seglog.NewOffsetMap(0))
	if todo, due, err := p.Cleanable(t.Context(), time.Now()); err != nil || due {
		t.Errorf("%+v, %v", todo, err)
	}
	stop(t, n)
}

// TestCleanerThrottle: bytes are paid for in time, at the rate of all threads together.
func TestCleanerThrottle(t *testing.T) {
	synctest.Test(t, testThrottle) // its clock stands still
}

func testThrottle(t *testing.T) {
	rate := 1000.0
	c := &cleaner{rate: func() float64 { return rate }}
	if wait := c.throttle(500); wait != 0 {
		t.Errorf("the first bytes wait for %v", wait)
	}
	if wait := c.throttle(1000); wait != 500*time.Millisecond {
		t.Errorf("waits for %v, want 500 ms", wait)
	}
	if wait := c.throttle(0); wait != 1500*time.Millisecond {
		t.Errorf("waits for %v, want 1.5 s", wait)
	}
	rate = 1e300
	if wait := c.throttle(1 << 30); wait != 0 {
		t.Errorf("waits for %v without a limit", wait)
	}
}

// TestCleanLoopEnds: the cleaners end with the node, and do not begin where they are switched off.
func TestCleanLoopEnds(t *testing.T) {
	n := start(t, disk.NewMem(), "log.cleaner.enable=false")
	n.cleanLoop(context.Background())
	stop(t, n)
}

// TestCleanerIsToldAnew: rate and backoff can be changed while the node runs; what is not in range is refused, and so are threads and
// memory, which are those of the start.
func TestCleanerIsToldAnew(t *testing.T) {
	n := start(t, disk.NewMem(), noCleaning)
	admin := kadm.NewClient(client(t, n))
	alter := func(key string, op kadm.IncrementalOp, value string) error {
		t.Helper()
		r, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, 1)
		if err != nil || len(r) != 1 {
			t.Fatal(err, r)
		}
		return r[0].Err
	}
	c := n.newCleaner()
	if c.backoff() != 24*time.Hour || c.rate() < maxPacedRate {
		t.Errorf("at first %v, %v", c.backoff(), c.rate())
	}
	for key, value := range map[string]string{cleanerRate: "5e6", cleanerBackoff: "2000"} {
		if err := alter(key, kadm.SetConfig, value); err != nil {
			t.Fatal(err)
		}
	}
	if c.backoff() != 2*time.Second || c.rate() != 5e6 {
		t.Errorf("told %v, %v", c.backoff(), c.rate())
	}
	for _, x := range [][2]string{{cleanerRate, "-1"}, {cleanerRate, "NaN"}, {cleanerRate, "Inf"}, {cleanerBackoff, "0"}, {cleanerBackoff, "x"}, {"log.cleaner.threads", "2"}} {
		if err := alter(x[0], kadm.SetConfig, x[1]); err == nil {
			t.Errorf("%s=%s is taken", x[0], x[1])
		}
	}
	if err := alter(cleanerRate, kadm.DeleteConfig, ""); err != nil || c.rate() < maxPacedRate || c.backoff() != 2*time.Second {
		t.Errorf("taken back: %v, %v, %v", err, c.backoff(), c.rate())
	}
}
