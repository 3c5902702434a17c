package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/internal/config"
	"ottla/internal/disk"
	"ottla/internal/node"
)

// TestScripts runs testdata/*: conversations with the command line, all in one process, against a broker on a disk in memory.
//
//	serve [key=value...]   starts a broker on data directory "data"
//	stop, kill             ends it cleanly, or as kill -9 would
//	ottla ARG...           runs a command; the block's input is its stdin, $B is the broker's address
//	member GROUP TOPIC     a consumer joins a group; left: all of them leave
//	damage FILE            overwrites the middle of a file; damage FILE at=N, cut=N, remove
//
// Ids, addresses and times are replaced by their names.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := &world{t: t, fs: disk.NewMem()}
		t.Cleanup(w.kill)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.t = t
			return w.command(d)
		})
	})
}

type world struct {
	t    *testing.T
	fs   *disk.Mem
	node *node.Node
	addr string

	members []*kgo.Client // of groups, see member
}

func (w *world) command(d *datadriven.TestData) string {
	switch d.Cmd {
	case "serve":
		return w.serve(d)
	case "stop":
		if err := w.node.Stop(context.Background()); err != nil {
			d.Fatalf(w.t, "%v", err)
		}
		w.node = nil
		return ""
	case "kill":
		w.kill()
		return ""
	case "ottla":
		return w.run(d)
	case "damage":
		return w.damage(d)
	case "member":
		return w.member(d)
	case "left":
		return w.left()
	case "ls":
		names, err := w.fs.List(d.CmdArgs[0].Key)
		if err != nil {
			return err.Error() + "\n"
		}
		return strings.Join(names, "\n") + "\n"
	}
	d.Fatalf(w.t, "unknown command %s", d.Cmd)
	return ""
}

func (w *world) serve(d *datadriven.TestData) string {
	set := []string{"listeners=127.0.0.1:0", "http.listener=off", "log.dirs=data", "log.free.disk.min.bytes=0", "producer.state.memory.bytes=2097152"}
	for _, a := range d.CmdArgs {
		set = append(set, a.Key+"="+strings.Join(a.Vals, ","))
	}
	c, err := config.Load(config.Input{Set: set})
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	if w.node, err = node.Start(context.Background(), node.Options{Config: c, FS: w.fs, Killable: true}); err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	w.addr = w.node.Addr()
	return ""
}

// kill leaves the disk as the process left it.
func (w *world) kill() {
	if w.node == nil {
		return
	}
	left := w.fs.KillClone()
	w.node.Kill()
	w.fs, w.node = left, nil
}

// run takes the command line from the text after the command, so that arguments keep their quotes and commas.
func (w *world) run(d *datadriven.TestData) string {
	input, stdin, _ := strings.Cut(d.Input, "\n")
	line := input
	var out, errs bytes.Buffer
	code := Run(context.Background(), Env{
		Args: splitArgs(strings.ReplaceAll(line, "$B", w.addr)), Stdin: strings.NewReader(stdin),
		Stdout: &out, Stderr: &errs, FS: w.fs,
	})
	text := out.String()
	if errs.Len() > 0 {
		text += "-- stderr\n" + errs.String()
	}
	if code != 0 {
		text += fmt.Sprintf("-- exit code %d\n", code)
	}
	return w.anonymous(text)
}

var anonymous = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{22}==`), "<id>"},
	{regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`), "<id>"},
	{regexp.MustCompile(`"timestamp_ms":\d+`), `"timestamp_ms":<ms>`},
	{regexp.MustCompile(`producer \d{9,}`), "producer <pid>"},
	{regexp.MustCompile(`created-pid=\d+|pids=\[\d+,\d+\)`), "<pids>"},
	// Where a record begins depends on the ids before it: they begin at random, and small ones take less room.
	{regexp.MustCompile(`(?m)^\d+( revision=\d+ step topic-)`), "<at>$1"},
	{regexp.MustCompile(`(committed at|looked at at) \d+`), "$1 <ms>"},
	{regexp.MustCompile(`last seen: \d+`), "last seen: <age>"},
	{regexp.MustCompile(`(CreateTime|baseTimestamp|maxTimestamp|timestamp)(:? )\d+`), "$1$2<ms>"},
	{regexp.MustCompile(`(producerId:? )\d+`), "$1<pid>"},
	{regexp.MustCompile(`((?:crc|CRC):? )\w+`), "$1<crc>"},
	{regexp.MustCompile(`checksum [0-9a-f]+, stored [0-9a-f]+`), "checksum <crc>, stored <crc>"},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func (w *world) anonymous(text string) string {
	if w.addr != "" {
		text = strings.ReplaceAll(text, w.addr, "<addr>")
	}
	for _, a := range anonymous {
		text = a.pattern.ReplaceAllString(text, a.name)
	}
	return text
}

// splitArgs splits at blanks outside of single quotes.
func splitArgs(line string) []string {
	var args []string
	quoted := false
	for _, field := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	}) {
		args = append(args, strings.ReplaceAll(field, "'", ""))
	}
	return args
}

// damage changes a file behind the broker's back.
func (w *world) damage(d *datadriven.TestData) string {
	var name string
	at, cut := int64(-1), int64(-1)
	d.ScanArgs(w.t, "file", &name)
	d.MaybeScanArgs(w.t, "at", &at)
	d.MaybeScanArgs(w.t, "cut", &cut)
	if d.HasArg("remove") {
		if err := w.fs.RemoveAll(name); err != nil {
			d.Fatalf(w.t, "%v", err)
		}
		return ""
	}
	f, err := w.fs.OpenReadWrite(name, false)
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	defer f.Close()
	if at >= 0 {
		_, err = f.WriteAt([]byte{0xde, 0xad, 0xbe, 0xef}, at)
	} else {
		err = f.Truncate(cut)
	}
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	return ""
}

// TestServe runs the whole command: flags, banner, a client, SIGTERM.
func TestServe(t *testing.T) {
	signals := make(chan os.Signal, 1)
	stdout := newLineWatch()
	var stderr bytes.Buffer
	dir := filepath.Join(t.TempDir(), "data")
	done := make(chan int, 1)
	go func() {
		done <- Run(context.Background(), Env{
			Args:  []string{"--listen", "127.0.0.1:0", "--http", "off", "--data", dir, "--set", "num.partitions=2", "--log-format", "text"},
			Stdin: strings.NewReader(""), Stdout: stdout, Stderr: &stderr, FS: disk.OS(), Signals: signals,
		})
	}()
	line := stdout.await("listening")
	addr := strings.Fields(line)[1]
	var out, errs bytes.Buffer
	if code := Run(context.Background(), Env{Args: []string{"topic", "create", "a", "-b", addr, "-o", "json"}, Stdout: &out, Stderr: &errs}); code != 0 || !strings.Contains(out.String(), `"partitions": 2`) {
		t.Errorf("exit code %d\n%s%s", code, &out, &errs)
	}
	signals <- syscall.SIGTERM
	if code := <-done; code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, &stderr)
	}
	for _, want := range []string{"msg=ready", "msg=stopping reason=terminated", "msg=stopped"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, node.CleanMarker)); err != nil {
		t.Errorf("the stop was not clean: %v", err)
	}
}

// TestSecondSignalEndsAtOnce: a stop that waits for a client ends with the second signal, and says that it was not clean.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	signals := make(chan os.Signal) // each send waits for its receiver
	stdout := newLineWatch()
	stderr := newLineWatch() // the stop that was given up still writes to it
	done := make(chan int, 1)
	mem := disk.NewMem()
	go func() {
		done <- Run(context.Background(), Env{
			Args:   []string{"serve", "--listen", "127.0.0.1:0", "--http", "off", "--data", "data", "--set", "shutdown.deadline.ms=3600000", "--set", "log.free.disk.min.bytes=0"},
			Stdout: stdout, Stderr: stderr, FS: blockSync{mem, make(chan struct{})}, Signals: signals,
		})
	}()
	stdout.await("listening")
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM // the echo of a supervisor
	signals <- syscall.SIGINT
	if code := <-done; code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	stderr.await("while stopping")
}

// blockSync is a disk whose stop never ends: making the whole file system durable waits for ever.
type blockSync struct {
	disk.FS
	never chan struct{}
}

func (b blockSync) SyncFS(dir string) error {
	<-b.never
	return b.FS.SyncFS(dir)
}

func TestServeRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args    []string
		environ []string
		want    string
	}{
		"unknown key":  {args: []string{"--set", "num.partitons=1"}, want: "did you mean num.partitions?"},
		"bad value":    {args: []string{"serve", "--set", "num.partitions=0"}, want: "allowed: whole numbers from 1 to 100000"},
		"environment":  {environ: []string{"OTTLA_NODE_ID=-1"}, want: "OTTLA_NODE_ID"},
		"file":         {args: []string{"--config", file}, want: file + ":1"},
		"file by env":  {environ: []string{config.EnvConfigFile + "=" + file}, want: file + ":1"},
		"no file":      {args: []string{"--config", file + ".missing"}, want: "no such file"},
		"port":         {args: []string{"--listen", taken.Addr().String(), "--http", "off"}, want: taken.Addr().String()},
		"unknown flag": {args: []string{"serve", "--lisen", "x"}, want: "unknown flag: --lisen"},
		"log level":    {args: []string{"--log-level", "loud"}, want: "debug, info, warn, error"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Run(context.Background(), Env{Args: c.args, Environ: c.environ, Stdout: &out, Stderr: &errs, FS: disk.NewMem()})
			if code == 0 || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit code %d, stderr %q, want %q in it", code, &errs, c.want)
			}
		})
	}
}

// A configuration is checked without a data directory, a port or a file being touched: the filesystem is nil.
func TestCheckConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=3\nzookeeper.connect=zk.example:2181\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Run(context.Background(), Env{Args: append(args, "--check-config"), Stdout: &out, Stderr: &errs})
		return code, out.String(), errs.String()
	}
	code, out, errs := run("serve", "--config", file, "--set", "log.retention.hours=1")
	for _, want := range []string{"num.partitions=3  (file)", "(--set)", "ignored, no meaning here: zookeeper.connect", "the configuration is right: 2 keys set"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, %q; want %q in it; stderr %q", code, out, want, errs)
		}
	}
	code, out, errs = run("serve", "--set", "listeners=PLAINTEXT://:9092,CONTROLLER://:9093", "--set", "controller.listener.names=controller")
	if code != 0 || strings.Count(out, "warning: ") != 2 || !strings.Contains(out, "warning: listener CONTROLLER://:9093 is not served") {
		t.Errorf("exit code %d, %q, stderr %q", code, out, errs)
	}
	if code, _, errs := run("serve", "--set", "num.partitions=0"); code == 0 || !strings.Contains(errs, "allowed: whole numbers from 1 to 100000") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}

// lineWatch is an output in which a line can be waited for.
type lineWatch struct {
	mu struct {
		sync.Mutex
		text    strings.Builder
		changed chan struct{}
	}
}

func newLineWatch() *lineWatch {
	w := &lineWatch{}
	w.mu.changed = make(chan struct{})
	return w
}

func (w *lineWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
	return w.mu.text.Write(p)
}

func (w *lineWatch) await(word string) string {
	for {
		w.mu.Lock()
		text, changed := w.mu.text.String(), w.mu.changed
		w.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.Contains(line, word) {
				return line
			}
		}
		<-changed
	}
}

var _ io.Writer = (*lineWatch)(nil)
