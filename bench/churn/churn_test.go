package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ottla/internal/config"
	"ottla/internal/disk"
	"ottla/internal/node"
)

func startNode(t *testing.T, fs disk.FS) *node.Node {
	t.Helper()
	c, err := config.Load(config.Input{Set: []string{"listeners=127.0.0.1:0", "http.listener=off", "log.dirs=data", "log.free.disk.min.bytes=0"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Config: c, FS: fs, Killable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

// TestStormAndRetry: every sampled batch is recognised, also after kill -9; and the tool would notice if one were not.
func TestStormAndRetry(t *testing.T) {
	mem := disk.NewMem()
	n := startNode(t, mem)
	file := filepath.Join(t.TempDir(), "sample")
	churn := func(args ...string) (string, error) {
		var out, progress bytes.Buffer
		err := run(context.Background(), append([]string{"-addr", n.Addr(), "-quiet", "-conns", "3", "-sample-file", file}, args...), &out, &progress)
		return out.String() + progress.String(), err
	}
	out, err := churn("-n", "600", "-partitions", "2", "-batches-per-producer", "5", "-sample", "100", "-record-timestamp-offset", "-48h", "-probe", "1ms")
	if err != nil || !strings.Contains(out, "600 producers, 5 batches each") || !strings.Contains(out, "steady producer: ") {
		t.Fatalf("%v\n%s", err, out)
	}
	const all = "500 batches answered with error 0 and their original offset"
	if out, err = churn("-retry"); err != nil || !strings.Contains(out, all) {
		t.Errorf("hot: %v\n%s", err, out)
	}
	killed := mem.KillClone()
	n.Kill()
	n = startNode(t, killed)
	if out, err = churn("-retry", "-retry-rounds", "2"); err != nil || !strings.Contains(out, "1000 batches answered") {
		t.Errorf("after a kill: %v\n%s", err, out)
	}

	// A wrong memory must be noticed: say that the first producer's first offset was another one.
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(string(content), "\n", 3)
	fields := strings.Fields(lines[1])
	fields[4] = "987654"
	lines[1] = strings.Join(fields, " ")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err = churn("-retry"); err == nil || !strings.Contains(out, "WRONG: 1 batches answered with error 0 and another offset") {
		t.Errorf("a moved offset was not noticed: %v\n%s", err, out)
	}
	// So must one that was forgotten: the broker answers another epoch with an error.
	fields[1] = "7"
	fields[4], fields[5] = fields[5], fields[4]
	lines[1] = strings.Join(fields[:5], " ")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err = churn("-retry"); err == nil {
		t.Errorf("a batch that was not recognised was not noticed:\n%s", out)
	}
}

func TestDurationEndsTheStorm(t *testing.T) {
	n := startNode(t, disk.NewMem())
	var out, progress bytes.Buffer
	err := run(context.Background(), []string{"-addr", n.Addr(), "-n", "1000000000", "-duration", "50ms", "-conns", "2"}, &out, &progress)
	if err != nil || !strings.Contains(out.String(), "producers/s") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-batches-per-producer", "6"}, {"-acks", "0"}, {"-retry"}, {"-conns", "0"}, {"extra"}, {"-record-bytes", "-1"}} {
		if err := run(context.Background(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestSampleFileIsChecked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sample")
	for _, content := range []string{"", "no json\n", `{"topic":"a","partitions":1,"producers":1}` + "\n", `{"topic":"a","partitions":1,"producers":1}` + "\n1 0 1 5 7\n",
		`{"topic":"a","partitions":1,"producers":1}` + "\n1 0 0 5\n", `{"topic":"a","partitions":1,"producers":1}` + "\n1 0 0 5 x\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readSample(name); err == nil {
			t.Errorf("%q was accepted", content)
		}
	}
}
