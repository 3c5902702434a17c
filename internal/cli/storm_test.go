package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/datadriven"

	"ottla/internal/disk"
	"ottla/internal/storm"
)

// stormWorld is a broker and a way to storm it.
func stormWorld(t *testing.T) (addr string, ottla func(args ...string) (code int, stdout, stderr string)) {
	w := &world{t: t, fs: disk.NewMem()}
	w.serve(&datadriven.TestData{})
	t.Cleanup(w.kill)
	return w.addr, func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Run(context.Background(), Env{Args: append([]string{"storm", "-b", w.addr}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, FS: w.fs})
		return code, out.String(), errs.String()
	}
}

func TestStormSummary(t *testing.T) {
	_, ottla := stormWorld(t)
	sample := filepath.Join(t.TempDir(), "sample")
	code, out, errs := ottla("-n", "100", "--retry-sample", "10", "--sample-out", sample, "--keep", "--topic", "ottla-storm-a")
	for _, want := range []string{"fast: 100 pushes by 100 producers, 100 entries, 100 batches in ", "latency of a push: p50 ", "retried 10 producers in ", ": 10 exact, 0 duplicated; ", "left: topic ottla-storm-a"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != exitOK || !strings.Contains(errs, storm.PhasePreparing) || !strings.Contains(errs, storm.PhaseRetry) {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	code, out, errs = ottla("--retry", sample, "--require-exact", "--quiet", "-o", "json")
	var s storm.Summary
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Schema != storm.SchemaVersion || s.Retry == nil || s.Retry.Exact != 10 || code != exitOK || errs != "" {
		t.Errorf("exit code %d, %v\n%s%s", code, err, out, errs)
	}

	content, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sample, bytes.ReplaceAll(content, []byte(`"offsets":[`), []byte(`"offsets":[1`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs = ottla("--retry", sample, "--require-exact"); code != exitFailed || !strings.Contains(out, "0 exact, 10 duplicated") || !strings.Contains(errs, "not all retries were recognised") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, out, _ = ottla("--retry", sample); code != exitOK {
		t.Errorf("without --require-exact: exit code %d\n%s", code, out)
	}
}

// TestStormCurves: how many pushes the control load made when the other one was done depends on the machine.
func TestStormCurves(t *testing.T) {
	_, ottla := stormWorld(t)
	code, out, errs := ottla("--ab", "-n", "50", "--rate", "500", "--quiet")
	for _, want := range []string{" pushes by 1 producers, 1 entries, ", "faithful: 50 pushes by 50 producers", "producers that the broker has to remember", "o control entries: 1\n", "* faithful entries: 50\n", "50 |"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != exitOK || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

func TestStormUsage(t *testing.T) {
	_, ottla := stormWorld(t)
	for _, args := range [][]string{{"extra"}, {"-o", "xml"}, {"--topic-config", "x"}, {"--max-seconds", "soon"}, {"--max-seconds", "0"}, {"--mode", "slow"}, {"--topic", "orders"},
		{"-X", "nonsense"}, {"--config", "none"}, {"-b", ""}, {"--config", ""}, {"-b", "127.0.0.1:x"}, {"-n", "x"}, {"--sample-out", "x", "--retry-sample", "1"}} {
		if code, out, errs := ottla(args...); code != exitUsage || !strings.Contains(errs, "--help") || strings.Contains(errs, "strconv") || strings.Contains(errs, "[") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	if code, _, errs := ottla("--cluster-id", "another"); code != exitFailed || !strings.Contains(errs, `named was "another"`) {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if code, _, errs := ottla("--mode", "txn-churn"); code != exitFailed || !strings.Contains(errs, "no transactions") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// TestStormInterrupted: Ctrl-C ends the storm, deletes its topic and prints what was seen.
func TestStormInterrupted(t *testing.T) {
	w := &world{t: t, fs: disk.NewMem()}
	w.serve(&datadriven.TestData{})
	t.Cleanup(w.kill)
	signals := make(chan os.Signal, 2)
	errs := newLineWatch()
	var out bytes.Buffer
	done := make(chan int)
	go func() {
		done <- Run(context.Background(), Env{Args: []string{"storm", "-b", w.addr, "--rate", "50", "-n", "1000000"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: errs, FS: w.fs, Signals: signals})
	}()
	errs.await("producers")
	signals <- syscall.SIGINT
	signals <- syscall.SIGINT // the echo of timeout(1)
	if code := <-done; code != exitFailed || !strings.Contains(out.String(), "(interrupted)") || strings.Contains(out.String(), "left") {
		t.Errorf("exit code %d\n%s", code, &out)
	}
	var list bytes.Buffer
	if code := Run(context.Background(), Env{Args: []string{"topic", "list", "-b", w.addr}, Stdin: strings.NewReader(""), Stdout: &list, Stderr: &list, FS: w.fs}); code != exitOK || strings.Contains(list.String(), storm.TopicPrefix) {
		t.Errorf("exit code %d\n%s", code, &list)
	}
}

// TestStormKillsBroker: exit code 3 says that the broker stopped answering.
func TestStormKillsBroker(t *testing.T) {
	w := &world{t: t, fs: disk.NewMem()}
	w.serve(&datadriven.TestData{})
	t.Cleanup(w.kill)
	errs := newLineWatch()
	var out bytes.Buffer
	done := make(chan int)
	go func() {
		done <- Run(context.Background(), Env{Args: []string{"storm", "-b", w.addr, "--rate", "50", "-n", "1000000", "--keep"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: errs, FS: w.fs})
	}()
	errs.await("producers")
	w.kill()
	if code := <-done; code != exitStopped || !strings.Contains(out.String(), "(the broker breaks or refuses connections)") {
		t.Errorf("exit code %d\n%s", code, &out)
	}
}

func TestClosedWords(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("%w after 3 producers: read tcp: %w", storm.ErrStopped, io.EOF), storm.ErrStopped.Error() + " after 3 producers: read tcp: the connection was closed"},
		{io.ErrUnexpectedEOF, "the connection was closed"},
		{io.ErrShortWrite, io.ErrShortWrite.Error()},
	} {
		if got := closedWords(c.err); got.Error() != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if closedWords(nil) != nil {
		t.Error("an error of nothing")
	}
}

func TestChart(t *testing.T) {
	var out bytes.Buffer
	drawChart(&out, "title", []storm.Series{
		{Name: "low", Unit: "entries", Points: [][2]float64{{0, 0}, {10, 1}}},
		{Name: "high", Unit: "entries", Points: [][2]float64{{0, 0}, {5, 500}, {10, 1000}}},
	})
	lines := strings.Split(out.String(), "\n")
	if len(lines) != chartRows+7 || lines[1] != "title" || !strings.HasPrefix(lines[2], "      1000 |") || !strings.HasSuffix(lines[2], "*") || !strings.HasPrefix(lines[1+chartRows], "         0 |oooo") {
		t.Errorf("%d lines\n%s", len(lines), &out)
	}
	out.Reset()
	drawChart(&out, "nothing", []storm.Series{{Name: "flat", Points: [][2]float64{{0, 0}, {10, 0}}}})
	if out.Len() > 0 {
		t.Errorf("a chart of nothing:\n%s", &out)
	}
}
