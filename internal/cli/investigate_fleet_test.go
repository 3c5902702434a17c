package cli

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ottla/internal/investigate/fleet"
)

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silent is an address where connections are taken and nothing is ever said.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String() // the kernel takes them
}

func writeText(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFleetCommand(t *testing.T) {
	dir := t.TempDir()
	list := writeText(t, filepath.Join(dir, "fleet.yaml"),
		"defaults: {interval: 1s, timeout: 20s}\nclusters:\n  - {name: alive, bootstrap: '"+fakeCluster(t)+"', labels: {team: example}}\n  - {name: dead, bootstrap: '"+nobody(t)+"'}\n"+
			"  - {name: deaf, timeout: 2s, bootstrap: '"+silent(t)+"'}\n")
	page, ticket, scans, state := filepath.Join(dir, "f.html"), filepath.Join(dir, "f.md"), filepath.Join(dir, "scans"), filepath.Join(dir, "state")

	code, out, problems := command(t, nil, "investigate", list, "--state", state, "--baseline", "--record", scans, "--html", page, "--markdown="+ticket)
	if code != exitNoConnection && code != 3 || !strings.Contains(out, "dead") || !strings.Contains(out, "unreachable") || !strings.Contains(out, "kfake") {
		t.Errorf("exit %d\n%s%s", code, out, problems)
	}
	for _, path := range []string{page, ticket} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "team=example") && path == page || !strings.Contains(string(text), "alive") {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
	}
	// Ids of this cluster are random, so a sweep tells nothing, and --escalate makes it a full scan.
	code, out, _ = command(t, nil, "investigate", "fleet", list, "--level", "0", "--state", state, "--baseline", "--escalate", "-o", "json", "--fail-on", "armed")
	var report fleet.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || report.Clusters != 3 || report.Schema != fleet.ReportSchema {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	for _, row := range report.Rows {
		if row.Name == "alive" && (!row.Escalated || row.Change == fleet.ChangeNew) || row.Name != "alive" && (row.Level != fleet.Unreachable || row.Why == "") {
			t.Errorf("row %+v", row)
		}
	}
	code, out, problems = command(t, nil, "investigate", "fleet", "--replay", scans, "--markdown")
	if code == exitUsage64 || !strings.Contains(out, "| alive |") || strings.Contains(out, "dead") {
		t.Errorf("replay: exit %d\n%s%s", code, out, problems)
	}
	// The list may stand behind flags that take a value.
	if code, _, problems = command(t, nil, "investigate", "--concurrency", "2", list, "--level=0", "--fail-on=never"); code != exitOK {
		t.Errorf("exit %d: %s", code, problems)
	}
}

func TestFleetUsage(t *testing.T) {
	dir := t.TempDir()
	good := writeText(t, filepath.Join(dir, "good.yaml"), "clusters: [{name: a, bootstrap: 'b:1'}]")
	bad := writeText(t, filepath.Join(dir, "bad.yml"), "clusters:\n  - {name: a, bootstrap: 'b:1', hepa: 6g}")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"fleet"}, "which clusters?"},
		{[]string{filepath.Join(dir, "missing.yaml")}, "no such file"},
		{[]string{bad}, `line 2: unknown key "hepa"`},
		{[]string{good, good}, "one list of clusters"},
		{[]string{good, "--baseline"}, "need --state"},
		{[]string{good, "--resume-within", "1h"}, "need --state"},
		{[]string{good, "--level", "2"}, "--level: 0 or 1"},
		{[]string{good, "--level", "-1"}, "--level: 0 or 1"},
		{[]string{good, "--fail-on", "rain"}, "--fail-on"},
		{[]string{good, "--output", "xml"}, "--output"},
		{[]string{good, "-o", "json", "--markdown"}, "two answers"},
		{[]string{good, "--concurrency", "1000"}, "--concurrency"},
		{[]string{good, "--births-per-day", "0"}, "above 0"},
		{[]string{good, "--nonsense"}, "unknown flag"},
		{[]string{good, "--replay", dir, "--record", dir}, "asks no cluster"},
		{[]string{"fleet", "--replay", t.TempDir()}, "no recorded scans"},
		{[]string{good, "--state", good}, "--state"},
		{[]string{"watch", "x"}, "takes no arguments"},
		{[]string{"watch", "--every", "1ms"}, "at least a second"},
		{[]string{"watch", "--topics", "21"}, "0 to 20 topics"},
		{[]string{"watch", "--heap", "6x"}, "--heap"},
		{[]string{"watch", "--max-bytes", "64x"}, "a size is a number"},
		{[]string{"watch", "--listen", "nowhere"}, "--listen"},
		{[]string{"watch", "--skip", "sun"}, "no source is called"},
	} {
		code, out, problems := command(t, nil, append([]string{"investigate"}, test.args...)...)
		if code != exitUsage64 || !strings.Contains(problems, test.want) || out != "" {
			t.Errorf("%v: exit %d, %q%q, want %q", test.args, code, out, problems, test.want)
		}
	}
}

func TestWatchOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ottla.prom")
	cluster := fakeCluster(t)
	code, out, problems := command(t, nil, "investigate", "watch", "-b", cluster, "--once", "--interval", "1s", "--max-bytes", "64m", "--cluster", "north", "-q")
	if code != exitOK || !strings.Contains(out, `ottla_investigate_up{cluster="north"} 1`) || problems != "" {
		t.Errorf("exit %d\n%s%s", code, out, problems)
	}
	code, out, _ = command(t, nil, "investigate", "watch", "-b", nobody(t), "--once", "--textfile", file, "--cluster", "north")
	text, err := os.ReadFile(file)
	if code != exitNoConnection || out != "" || err != nil || !strings.Contains(string(text), `ottla_investigate_level{cluster="north"} 3`) {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, text)
	}
}

// TestWatchServesUntilASignal: the address is printed, metrics are served, SIGTERM ends it with exit code 0.
func TestWatchServesUntilASignal(t *testing.T) {
	signals := make(chan os.Signal, 1)
	read, write := io.Pipe()
	code := make(chan int, 1)
	go func() {
		defer write.Close()
		code <- Run(context.Background(), Env{
			Args:   []string{"investigate", "watch", "-b", fakeCluster(t), "--listen", "127.0.0.1:0", "--cluster", "north", "--interval", "1s"},
			Stdout: io.Discard, Stderr: write, Signals: signals,
		})
	}()
	seen := make([]byte, 4096)
	n, err := read.Read(seen)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	_, url, found := strings.Cut(strings.TrimSpace(string(seen[:n])), "metrics on ")
	if !found {
		t.Fatalf("no address: %s", seen[:n])
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), `ottla_investigate_up{cluster="north"}`) {
		t.Errorf("%s", body)
	}
	signals <- syscall.SIGTERM
	if got := <-code; got != exitOK {
		t.Errorf("exit %d", got)
	}
}
