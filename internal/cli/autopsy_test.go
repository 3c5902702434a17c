package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/internal/disk"
)

const (
	stormHistogram = `   1:  5000000  240000000  org.apache.kafka.storage.internals.log.ProducerStateEntry
   2:  5000000  200000000  org.apache.kafka.storage.internals.log.BatchMetadata
   3:  5000100  160003200  java.util.HashMap$Node (java.base@17)
Total  40000000  1900000000
`
	armedHistogram   = "1: 5000000 240000000 kafka.log.ProducerStateEntry\n2: 25000000 1000000000 kafka.log.BatchMetadata\nTotal 90000000 3900000000\n"
	healthyHistogram = "1: 1000 8000 [B\n2: 12 576 kafka.log.ProducerStateEntry\n3: 60 2400 kafka.log.BatchMetadata\nTotal 5000 900000000\n"
)

func runAutopsy(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(context.Background(), Env{Args: append([]string{"autopsy"}, args...), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, FS: disk.NewMem()})
	return code, out.String(), errs.String()
}

func TestAutopsyExitCodes(t *testing.T) {
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		says  string
	}{
		{stormHistogram, []string{"--heap", "2g", "-"}, 2, "STORM"},
		{armedHistogram, []string{"--heap", "4g", "-"}, 1, "ARMED"},
		{healthyHistogram, []string{"--heap", "4g", "-"}, 0, "HEALTHY"},
		{"nothing here\n", []string{"-"}, 3, "INCONCLUSIVE"},
		{stormHistogram, []string{"--heap", "2g", "--fail-on", "never", "-"}, 0, "STORM"},
		{armedHistogram, []string{"--heap", "4g", "--fail-on", "storm", "-"}, 0, "ARMED"},
		{armedHistogram, []string{"--heap", "4g", "--fail-on", "armed", "-"}, 1, "ARMED"},
		{stormHistogram, []string{"--heap", "2g", "--fail-on", "storm", "-"}, 2, "STORM"},
		{"nothing here\n", []string{"--fail-on", "armed", "-"}, 0, "INCONCLUSIVE"},
		{"nothing here\n", []string{"--fail-on", "inconclusive", "-"}, 3, "INCONCLUSIVE"},
	} {
		code, out, errs := runAutopsy(t, c.stdin, c.args...)
		if code != c.code || !strings.HasPrefix(out, c.says) || errs != "" {
			t.Errorf("%v: exit %d, %q, %q", c.args, code, out[:min(len(out), 100)], errs)
		}
	}
}

func TestAutopsyUsage(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Skip(err)
	}
	for _, args := range [][]string{
		{}, {"--no-such-flag", "-"}, {"--heap", "lots", "-"}, {"--heap", "6", "-"}, {"--fail-on", "x", "-"}, {"-o", "yaml", "-"}, {"--color", "blue", "-"},
		{"-o", "json", "--markdown", "-"}, {filepath.Join(t.TempDir(), "none")}, {loop}, {"--width", "x", "-"},
	} {
		if code, out, errs := runAutopsy(t, stormHistogram, args...); code != 64 || out != "" || !strings.HasPrefix(errs, "ottla: ") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestAutopsyUnread: what cannot be read is no verdict on a cluster.
func TestAutopsyUnread(t *testing.T) {
	dir := t.TempDir()
	empty, cut := filepath.Join(dir, "empty.txt"), filepath.Join(dir, "cut.gz")
	for path, text := range map[string]string{empty: "", cut: "\x1f\x8b\x08"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{empty, cut}, {"-", empty, cut}, {dir, empty}} {
		code, out, errs := runAutopsy(t, "", args...)
		if code != exitUsage64 || out != "" || !strings.Contains(errs, "ottla: "+empty+": it is empty\n") || !strings.Contains(errs, "ottla: "+cut+": the compressed file is cut\n") || strings.Contains(errs, "--help") {
			t.Errorf("%v: exit %d, %q, %q", args, code, out, errs)
		}
	}
	if code, _, errs := runAutopsy(t, "", t.TempDir()); code != exitUsage64 || !strings.Contains(errs, "no file with anything in it") {
		t.Errorf("exit %d, %q", code, errs)
	}
	code, out, errs := runAutopsy(t, stormHistogram, "--heap", "2g", "--width", "1000", "-", empty)
	lines := strings.Split(out, "\n")
	if code != 2 || errs != "" || !strings.Contains(lines[1], "Not read: "+empty+": it is empty.") {
		t.Errorf("exit %d, %q, %q", code, lines, errs)
	}
	if _, out, _ = runAutopsy(t, stormHistogram, "--width", "1000", "-", empty, cut); !strings.Contains(strings.Split(out, "\n")[1], "2 inputs were not read") {
		t.Errorf("%q", out)
	}
}

func TestAutopsyForms(t *testing.T) {
	_, out, _ := runAutopsy(t, stormHistogram, "--heap", "2g", "-o", "json", "-")
	var r struct {
		Schema   int
		Exit     int
		Sentence string
		Heap     struct{ Entries int64 }
		Evidence struct{ Schema int }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Schema != 1 || r.Exit != 2 || r.Heap.Entries != 5_000_000 || r.Evidence.Schema != 1 {
		t.Errorf("%v: %+v", err, r)
	}
	if _, out, _ = runAutopsy(t, stormHistogram, "--markdown", "-"); !strings.HasPrefix(out, "## Autopsy") || !strings.Contains(out, "| H1 recreated producer |") {
		t.Errorf("%q", out[:200])
	}
	if _, out, _ = runAutopsy(t, stormHistogram, "--color", "always", "-"); !strings.Contains(out, "\x1b[") {
		t.Error("no colour")
	}
	if _, out, _ = runAutopsy(t, stormHistogram, "-v", "-"); strings.Contains(out, "\x1b[") || !strings.Contains(out, "Every number and its source") {
		t.Error("colour, or no ledger")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "h.txt"), []byte(stormHistogram), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runAutopsy(t, "", "--heap", "2g", dir); code != 2 || !strings.Contains(out, "h.txt") {
		t.Errorf("exit %d, %q", code, out)
	}
}
