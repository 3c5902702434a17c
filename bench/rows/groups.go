package rows

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/bench/bed"
	"ottla/bench/results"
)

// Groups is what a coordinator of consumer groups bears.
func Groups() Section {
	return Section{
		Section: results.Section{
			Name: "groups", Title: "Consumer groups", Row: "load",
			About: "`bench/groups` over 16 connections, group.initial.rebalance.delay.ms=0: offsets committed by 500 groups without members, 32 requests in flight a connection; and groups that are used once: " +
				"join, sync, commit, leave. Both brokers run, one at a time has work; Ottla answers after its fsync, Kafka without one.",
			Metrics: []results.Metric{
				metric("rate", "done", "1/s", results.Higher),
				metric("cpu", "broker CPU each", "µs", results.Lower),
				metric("rss", "RSS after this and what came before", "MiB", results.Lower),
			},
			Chart: results.Chart{Kind: "bars", Metric: []string{"rate"}},
		},
		Measure: measureGroups,
	}
}

// groupLoads are the rows, with how many things each is at full scale: some seconds of work for both brokers.
var groupLoads = []struct {
	title string
	n     int64
	args  []string
}{
	{"offsets committed, one in a request", 100_000, []string{"-mode", "commit", "-groups", "500"}},
	{"offsets committed, 100 in a request", 1_000_000, []string{"-mode", "commit", "-groups", "500", "-partitions", "100", "-topic", "groups-wide"}},
	{"single-use groups", 4_000, []string{"-mode", "storm"}},
}

var groupConfig = map[string]string{"group.initial.rebalance.delay.ms": "0"}

// groupsMax bounds one load: each takes some seconds.
const groupsMax = 5 * time.Minute

// groupsTool runs the load generator for groups.
type groupsTool struct{ bin string }

func buildGroups(ctx context.Context, b *bed.Bed) (groupsTool, error) {
	t := groupsTool{filepath.Join(b.Work, "groups")}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", t.bin, "ottla/bench/groups").CombinedOutput()
	if err != nil {
		return t, fmt.Errorf("build bench/groups: %w: %s", err, out)
	}
	return t, nil
}

// groupsDone is what bench/groups prints of a load.
type groupsDone struct{ rate, cpuMicros, rssMiB float64 }

var groupsLine = regexp.MustCompile(`(?s)\d+ [^\n]+s in [0-9.]+ s: (\d+)/s\n.*broker: [0-9.]+ s of CPU, ([0-9.]+) us a [^;]*; RSS \d+ MiB before, (\d+) MiB after`)

func (t groupsTool) run(ctx context.Context, k *bed.Broker, n int64, args ...string) (d groupsDone, err error) {
	ctx, cancel := context.WithTimeout(ctx, groupsMax)
	defer cancel()
	all := append([]string{"-addr", k.Addr, "-broker-pid", strconv.Itoa(k.PID), "-n", strconv.FormatInt(n, 10)}, args...)
	out, err := exec.CommandContext(ctx, t.bin, all...).CombinedOutput()
	if err != nil {
		return d, fmt.Errorf("bench/groups: %w: %.300s", err, out)
	}
	return readGroups(string(out))
}

func readGroups(out string) (d groupsDone, err error) {
	found := groupsLine.FindStringSubmatch(out)
	if found == nil {
		return d, fmt.Errorf("bench/groups says %.300q", out)
	}
	for i, to := range []*float64{&d.rate, &d.cpuMicros, &d.rssMiB} {
		if *to, err = strconv.ParseFloat(found[i+1], 64); err != nil {
			return d, err
		}
	}
	return d, nil
}

func measureGroups(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	t := &stormTable{"groups", b, p, record}
	tool, err := buildGroups(ctx, b)
	if err != nil {
		return err
	}
	brokers, err := t.startBoth(ctx, bed.Options{Config: groupConfig})
	if err != nil {
		return err
	}
	defer stopAll(brokers)
	for round := range p.Rounds + 1 {
		for _, l := range groupLoads {
			for _, k := range inTurn(round, brokers...) {
				if err := b.Settle(ctx); err != nil { // what the other one has left to write
					return err
				}
				args := append([]string{"-prefix", fmt.Sprintf("round-%d", round)}, l.args...)
				d, err := tool.run(ctx, k, p.scaled(l.n, 1000), args...)
				if err != nil {
					t.fail(l.title, k.Kind, round, 0, err)
					continue
				}
				record(results.Sample{Section: t.section, Row: l.title, Broker: k.Kind, Round: round, Values: map[string]float64{"rate": d.rate, "cpu": d.cpuMicros, "rss": d.rssMiB}})
			}
		}
	}
	return ctx.Err()
}

// GroupOffsets is what becomes of committed offsets.
func GroupOffsets() Section {
	return Section{
		Section: results.Section{
			Name: "group-offsets", Title: "Committed offsets after a restart", Row: "restart",
			About: "10,000 groups have committed 100 partitions each, and 100 groups an offset of its own for each of 100 partitions; after a restart these 10,000 offsets are fetched. Time from the start of the process until it answers, " +
				"and until all of the 10,000 have been fetched.",
			Metrics: []results.Metric{
				metric("exact", "as committed", "", results.Fact),
				metric("answers", "answers", "s", results.Lower),
				metric("fetched", "fetched", "s", results.Lower),
				metric("rss", "RSS", "MiB", results.Lower),
				metric("disk", "disk", "MiB", results.Lower),
			},
		},
		Measure: measureGroupOffsets,
	}
}

const (
	offsetsTotal  = 1_000_000
	offsetsGroups = 100 // of which each offset is compared
	offsetsEach   = 100
	offsetsTopic  = "groups-wide"
	restartClean  = "clean"
	restartKilled = "kill -9"
	// fetchWithin bounds how long a coordinator may load its offsets.
	fetchWithin = time.Minute
)

func measureGroupOffsets(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	t := &stormTable{"group-offsets", b, p, record}
	tool, err := buildGroups(ctx, b)
	if err != nil {
		return err
	}
	var errs []error
	for _, kind := range []results.Broker{results.Kafka, results.Ottla} {
		if err := t.groupOffsets(ctx, tool, kind); err != nil {
			t.fail(restartClean, kind, 1, 0, err)
			errs = append(errs, err)
		}
	}
	if len(errs) == 2 {
		return errors.Join(errs...)
	}
	return ctx.Err()
}

func (t *stormTable) groupOffsets(ctx context.Context, tool groupsTool, kind results.Broker) error {
	k, err := t.bed.Start(ctx, kind, bed.Options{Config: groupConfig})
	if err != nil {
		return err
	}
	defer func() { remove(k) }()
	total := t.plan.scaled(offsetsTotal, 100*offsetsEach)
	if _, err := tool.run(ctx, k, total, "-mode", "commit", "-groups", strconv.FormatInt(total/offsetsEach, 10), "-partitions", strconv.Itoa(offsetsEach), "-topic", offsetsTopic); err != nil {
		return err
	}
	for base, row := range []string{restartClean, restartKilled} {
		if err := withAdmin(k.Addr, func(a *kadm.Client) error { return commitOffsets(ctx, a, int64(base)*1e9) }); err != nil {
			return err
		}
		end := k.Kill
		if row == restartClean {
			end = func() error { _, err := k.Stop(); return err }
		}
		if err := end(); err != nil {
			return err
		}
		disk, _ := diskBytes(k)
		o := k.Opts
		o.Data = k.Data
		n, err := t.bed.Start(ctx, kind, o)
		if err != nil {
			return err
		}
		k = n
		exact, seconds, err := fetchCommitted(ctx, k, int64(base)*1e9)
		if err != nil {
			return err
		}
		values := map[string]float64{"exact": float64(exact), "answers": k.ReadyAfter.Seconds(), "fetched": seconds, "disk": float64(disk) / mebibyte}
		if rss, err := k.RSS(); err == nil {
			values["rss"] = float64(rss) / mebibyte
		}
		t.record(results.Sample{
			Section: t.section, Row: row, Broker: kind, Round: 1, Values: values,
			Texts: map[string]string{"exact": rounded(exact) + " of " + rounded(offsetsGroups*offsetsEach)},
		})
	}
	return nil
}

func withAdmin(addr string, fn func(*kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(kadm.NewClient(client))
}

func exactGroup(g int) string { return fmt.Sprintf("exact-%d", g) }

// exactOffset is the offset of a partition of a group; base differs from one restart to the next.
func exactOffset(base int64, g, p int) int64 { return base + int64(g)*1_000_003 + int64(p)*7 }

func commitOffsets(ctx context.Context, a *kadm.Client, base int64) error {
	for g := range offsetsGroups {
		offsets := kadm.Offsets{}
		for p := range offsetsEach {
			offsets.AddOffset(offsetsTopic, int32(p), exactOffset(base, g, p), -1)
		}
		if err := a.CommitAllOffsets(ctx, exactGroup(g), offsets); err != nil {
			return fmt.Errorf("commit of group %s: %w", exactGroup(g), err)
		}
	}
	return nil
}

// fetchCommitted asks until the coordinator has loaded its offsets, and counts those that are as they were committed.
func fetchCommitted(ctx context.Context, k *bed.Broker, base int64) (exact int64, seconds float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	began := time.Now()
	err = withAdmin(k.Addr, func(a *kadm.Client) error {
		for g := range offsetsGroups {
			found, err := fetchOffsets(ctx, a, exactGroup(g))
			if err != nil {
				return err
			}
			for p := range offsetsEach {
				if at, ok := found.Lookup(offsetsTopic, int32(p)); ok && at.At == exactOffset(base, g, p) {
					exact++
				}
			}
		}
		return nil
	})
	return exact, (k.ReadyAfter + time.Since(began)).Seconds(), err
}

// fetchOffsets fetches the offsets of a group, again while its coordinator is not ready.
func fetchOffsets(ctx context.Context, a *kadm.Client, group string) (kadm.OffsetResponses, error) {
	ticker := time.NewTicker(writableEvery)
	defer ticker.Stop()
	for {
		found, err := a.FetchOffsets(ctx, group)
		if err == nil {
			err = found.Error()
		}
		if err == nil || !kerr.IsRetriable(err) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
