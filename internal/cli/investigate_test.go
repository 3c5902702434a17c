package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// command runs one command line with no environment but what is given.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(context.Background(), Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Environ: environ})
	return code, out.String(), errs.String()
}

func fakeCluster(t *testing.T) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(4, "payments"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// refused wants a usage error that says something, and neither a password nor a word of Go's.
func refused(t *testing.T, line, want string) {
	t.Helper()
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.Trim(args[i], "'")
	}
	code, out, errs := command(t, nil, append([]string{"investigate"}, args...)...)
	if code != exitUsage64 || !strings.Contains(errs, want) {
		t.Errorf("%s: exit %d, %s%s", line, code, out, errs)
	}
	for _, word := range []string{"hunter2", "EOF", "strconv"} {
		if strings.Contains(out+errs, word) {
			t.Errorf("%s: %s%s", line, out, errs)
		}
	}
}

// TestInvestigateSlips: what is easily mistyped, or is empty because a variable is, must not be taken for something else.
func TestInvestigateSlips(t *testing.T) {
	dir := t.TempDir()
	empty, cut := filepath.Join(dir, "empty.json"), filepath.Join(dir, "cut.json")
	for path, text := range map[string]string{empty: "", cut: `{"schema":1,"sources":[{"name":"tails`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"--heap 6", "6g?"},
		{"--heap 6m", "6g?"},
		{"watch --heap 6", "6g?"},
		{"-b ''", "--bootstrap is empty"},
		{"-b ,", "--bootstrap is empty"},
		{"--config ''", "--config is empty"},
		{"watch -b ''", "--bootstrap is empty"},
		{"--dry-run -b ''", "--bootstrap is empty"},
		{"-X brokers=", "brokers is empty"},
		{"-X bootstrap.servers=", "bootstrap.servers is empty"},
		{"-b kafka1.example.com:port", "a port from 1 to 65535"},
		{"-b kafka1.example.com:0", "a port from 1 to 65535"},
		{"--logs " + filepath.Join(dir, "none"), "no such file"},
		{"--logs " + dir, "is a directory"},
		{"--config " + dir, "directory"},
		{"--replay " + empty, "the file is empty"},
		{"--replay " + cut, "the file is cut"},
		{"--max-requests x", "want a number"},
		{"--timeout x", "want a duration"},
	} {
		refused(t, c.args, c.want)
	}
}

func TestInvestigateUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newer := write("newer.json", `{"schema":99,"tool":"ottla v9","sources":[]}`)
	foreign := write("foreign.json", `{"hello":"world"}`)
	text := write("text", "not JSON at all")
	zipped := write("zipped.gz", "\x1f\x8bnot really")
	secret := write("client.properties", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=X required username=\"u\" password=\"hunter2\n")
	for _, c := range []struct {
		args, want string
	}{
		{"--heap much", "--heap"},
		{"--output yaml", "--output"},
		{"--fail-on tuesdays", "--fail-on"},
		{"--only tea-leaves", "no source"},
		{"--skip tea-leaves", "no source"},
		{"--max-bytes 0", "size"},
		{"--max-requests 0", "above 0"},
		{"--no-such-flag", "no-such-flag"},
		{"payments", "no arguments"},
		{"-o json --markdown", "choose one"},
		{"--replay x --record y", "--replay"},
		{"--replay " + filepath.Join(dir, "none"), "no such file"},
		{"--replay " + newer, "newer version"},
		{"--replay " + foreign, "not a recorded scan"},
		{"--replay " + text, "not a recorded scan"},
		{"--replay " + zipped, "zipped"},
		{"--verify-fix " + foreign, "not a recorded scan"},
		{"--config " + filepath.Join(dir, "none"), "--config"},
		{"--config " + secret, "sasl.jaas.config"},
		{"-X tea", "KEY=VALUE"},
		{"-X tea=1", "unknown key"},
		{"-X sasl.mechanism=GSSAPI", "not supported"},
	} {
		refused(t, c.args, c.want)
	}
}

// TestInvestigateInterrupted: the second line says that the scan was cut short, and what it lacks.
func TestInvestigateInterrupted(t *testing.T) {
	for _, form := range []string{outputText, outputJSON} {
		var out, errs bytes.Buffer
		c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(4, "payments"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		signals := make(chan os.Signal, 1)
		c.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
			select {
			case signals <- syscall.SIGINT:
			default:
			}
			return nil, nil, false
		})
		record := filepath.Join(t.TempDir(), "scan.json")
		Run(t.Context(), Env{Args: []string{"investigate", "-b", c.ListenAddrs()[0], "--interval", "1h", "-o", form, "--record", record}, Stdout: &out, Stderr: &errs, Signals: signals})
		second := out.String()
		if form == outputText {
			second = strings.Join(strings.Split(second, "\n")[1:], " ")
		}
		if !strings.Contains(second, "The scan was interrupted after ") || !strings.Contains(second, "Not seen, or not all of it: ") || !strings.Contains(second, evidence.SourceTails) {
			t.Errorf("%s: %s%s", form, &out, &errs)
		}
		if _, again, _ := command(t, nil, "investigate", "--replay", record, "-o", form); again != out.String() {
			t.Errorf("replayed: %s", again)
		}
	}
}

func TestInvestigateCannotConnect(t *testing.T) {
	for _, args := range [][]string{{}, {"--dry-run"}, {"-o", "json"}} {
		code, out, errs := command(t, nil, append([]string{"investigate", "-b", "127.0.0.1:1", "--timeout", "2s"}, args...)...)
		if code != exitNoConnection || out != "" || !strings.Contains(errs, "cannot connect") || !strings.Contains(errs, "127.0.0.1:1") {
			t.Errorf("%v: exit %d, %q %q", args, code, out, errs)
		}
	}
}

// TestRecordAndReplay: a recorded scan gives the verdict of the live one, compressed or not.
func TestRecordAndReplay(t *testing.T) {
	dir, addr := t.TempDir(), fakeCluster(t)
	plain, zipped := filepath.Join(dir, "scan.json"), filepath.Join(dir, "scan.json.gz")
	quick := []string{"--interval", "1ms", "-o", "json", "--heap", "1g"}
	environ := []string{"KAFKA_BOOTSTRAP_SERVERS=" + addr}
	code, live, errs := command(t, environ, append([]string{"investigate", "--record", plain}, quick...)...)
	if live == "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	replayed, again, errs := command(t, nil, append([]string{"investigate", "--replay", plain}, quick...)...)
	if again != live || code != replayed {
		t.Errorf("live: exit %d\n%s\nreplayed: exit %d\n%s%s", code, live, replayed, again, errs)
	}
	var v diagnose.Verdict
	if err := json.Unmarshal([]byte(live), &v); err != nil || v.Exit != code || v.Brokers != 2 || v.Partitions != 4 {
		t.Errorf("%v, %+v", err, v)
	}
	scan, err := readScan(plain)
	if err != nil {
		t.Fatal(err)
	}
	if scan.Given.HeapBytes != 1<<30 || scan.Bootstrap[0] != addr {
		t.Errorf("given %+v, bootstrap %v", scan.Given, scan.Bootstrap)
	}
	if err := writeScan(zipped, scan); err != nil {
		t.Fatal(err)
	}
	if _, unzipped, errs := command(t, nil, append([]string{"investigate", "--replay", zipped}, quick...)...); unzipped != live {
		t.Errorf("from %s: %s%s", zipped, unzipped, errs)
	}
	small, err := os.Open(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, err := decodeScan(small, 100); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("a large scan: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestInvestigateOutputs(t *testing.T) {
	dir, addr := t.TempDir(), fakeCluster(t)
	scan, html, markdown := filepath.Join(dir, "scan.json.gz"), filepath.Join(dir, "report.html"), filepath.Join(dir, "report.md")
	code, out, errs := command(t, []string{"NO_COLOR=1"}, "investigate", "-b", addr, "--interval", "1ms", "--record", scan, "--html", html, "--markdown="+markdown)
	if out == "" || strings.Contains(out, "\x1b[") {
		t.Errorf("exit %d: %q %s", code, out, errs)
	}
	for path, want := range map[string]string{html: "<html", markdown: "#"} {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	if _, out, _ := command(t, nil, "investigate", "--replay", scan, "--markdown"); !strings.Contains(out, "#") {
		t.Errorf("Markdown: %q", out)
	}
	if code, _, errs := command(t, nil, "investigate", "--replay", scan, "--fail-on", "never"); code != exitOK {
		t.Errorf("--fail-on never: exit %d, %s", code, errs)
	}
	if code, _, errs := command(t, nil, "investigate", "--replay", scan, "--html", filepath.Join(dir, "none", "x.html")); code != exitUsage64 || errs == "" {
		t.Errorf("a page that cannot be written: exit %d, %s", code, errs)
	}
	code, out, errs = command(t, nil, "investigate", "--replay", scan, "--verify-fix", scan)
	if code < 0 || code > 3 || !strings.Contains(out, predictedMeans) {
		t.Errorf("--verify-fix: exit %d, %q %s", code, out, errs)
	}
	_, out, _ = command(t, nil, "investigate", "--replay", scan, "--verify-fix", scan, "-o", "json")
	var fix diagnose.Fix
	if err := json.Unmarshal([]byte(out), &fix); err != nil || len(fix.Points) > 0 && fix.Schema == 0 {
		t.Errorf("--verify-fix -o json: %v %q", err, out)
	}
}

// TestUnwritableFilesDoNotCostTheVerdict: what can be known is said before the cluster is asked; a disk that is full by the end of the
// scan costs no more than the file.
func TestUnwritableFilesDoNotCostTheVerdict(t *testing.T) {
	dir, nobody := t.TempDir(), nobody(t)
	none := filepath.Join(dir, "none", "x")
	for _, args := range [][]string{
		{"-b", nobody, "--html", none}, {"-b", nobody, "--markdown=" + none}, {"-b", nobody, "--record", none}, {"-b", nobody, "--html", dir},
		{"fleet", "--replay", dir, "--html", none},
	} {
		if code, out, errs := command(t, nil, append([]string{"investigate"}, args...)...); code != exitUsage64 || out != "" || strings.Contains(errs, "connect") {
			t.Errorf("%v: exit %d, %q %s", args, code, out, errs)
		}
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no device that is always full")
	}
	args := []string{"investigate", "-b", fakeCluster(t), "--interval", "1ms"}
	want, verdict, _ := command(t, nil, args...)
	first, _, _ := strings.Cut(verdict, "\n")
	for failOn, want := range map[string]int{"any": want, "never": exitUsage64} {
		code, out, errs := command(t, nil, append(args, "--html", "/dev/full", "--record", "/dev/full", "--fail-on", failOn)...)
		if code != want || first == "" || !strings.HasPrefix(out, first) || strings.Count(errs, "no space left") != 2 {
			t.Errorf("a full disk, --fail-on %s: exit %d, want %d, %q %s", failOn, code, want, out, errs)
		}
		var said bytes.Buffer
		if code := Run(t.Context(), Env{Args: append(args, "--fail-on", failOn), Stdout: broken{}, Stderr: &said}); code != want {
			t.Errorf("a closed pipe, --fail-on %s: exit %d, want %d, %s", failOn, code, want, &said)
		}
	}
}

// broken is a pipe that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestInvestigateDryRun(t *testing.T) {
	addr := fakeCluster(t)
	code, out, errs := command(t, nil, "investigate", "-X", "brokers="+addr, "--dry-run", "--skip", "counter", "--max-bytes", "64m")
	if code != exitOK || !strings.Contains(out, "Brokers: 2, topics: 1, partitions: 4. At most 64 MiB") || !strings.Contains(out, "DESCRIBE on Topic") || !strings.Contains(out, "switched off") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, errs = command(t, nil, "investigate", "-X", "brokers="+addr, "--dry-run", "-o", "json")
	var plan collect.Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != exitOK || len(plan.Steps) != len(collect.SourceNames()) {
		t.Errorf("exit %d: %v %s%s", code, err, out, errs)
	}
}

func TestFailOn(t *testing.T) {
	levels := []diagnose.Level{diagnose.Healthy, diagnose.Armed, diagnose.Storm, diagnose.Inconclusive}
	for failOn, want := range map[string][4]int{
		"any": {0, 1, 2, 3}, "inconclusive": {0, 1, 2, 3}, "armed": {0, 1, 2, 0}, "storm": {0, 0, 2, 0}, "never": {0, 0, 0, 0},
	} {
		for i, l := range levels {
			if got := failExit(failOn, l); got != want[i] {
				t.Errorf("--fail-on %s, %s: %d, want %d", failOn, l, got, want[i])
			}
		}
	}
}

func FuzzDecodeScan(f *testing.F) {
	f.Add([]byte(`{"schema":1,"tool":"t","sources":[{"name":"counter","state":"seen"}],"partitions":[{"topic":"a"}]}`))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		scan, err := decodeScan(bytes.NewReader(b), 1<<20)
		if err == nil && (scan.Schema < 1 || scan.Schema > evidence.SchemaVersion) {
			t.Errorf("schema %d", scan.Schema)
		}
		if err == nil && diagnose.Diagnose(scan) == nil {
			t.Error("no verdict")
		}
	})
}

func TestDoneWords(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 3, hour, 0, 0, 0, time.UTC) }
	for want, fix := range map[string]diagnose.Fix{
		"": {Points: []diagnose.FixPoint{{At: at(1)}}},
		"If nothing changes, the last leaked entry expires at 2026-11-03T14:00:00Z.": {Done: at(14), Points: []diagnose.FixPoint{{At: at(1)}, {At: at(13)}}},
		"By the prediction, the last leaked entry expired at 2026-11-03T12:00:00Z.":  {Done: at(12), Points: []diagnose.FixPoint{{At: at(1)}, {At: at(13)}}},
	} {
		if got := doneWords(&fix); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
