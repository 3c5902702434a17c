package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	installMax      = 20 * time.Minute
	installsAtOnce  = 2
	driverLineMax   = 1 << 20
	stderrBytesKept = 2000
)

// driver is the program of one client, in one of the group protocols it knows: see clients/README.md.
type driver struct {
	client   string
	language string
	dir      string
	version  string
	protocol string // $GROUP_PROTOCOL, "" if the client knows one only
	cannot   map[string]string
	slow     string // why its installation takes minutes
	late     string // why it commits records of partitions that it has given up already
}

func (d *driver) name() string {
	if d.protocol == "" {
		return d.client
	}
	return d.client + " (" + d.protocol + ")"
}

func (d *driver) subject() subject {
	return subject{Group: "clients", Client: d.name(), Version: d.version}
}

// findDrivers lists the drivers under root whose client matches only.
func findDrivers(root string, only *regexp.Regexp) ([]*driver, error) {
	files, err := filepath.Glob(filepath.Join(root, "*", "*", "driver"))
	if err != nil {
		return nil, err
	}
	var out []*driver
	for _, file := range files {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue // a package of that name
		}
		d := driver{client: filepath.Base(dir), language: filepath.Base(filepath.Dir(dir)), dir: dir, cannot: map[string]string{}}
		if only != nil && !only.MatchString(d.client) {
			continue
		}
		for _, line := range fileLines(filepath.Join(dir, "cannot")) {
			command, reason, _ := strings.Cut(line, ":")
			d.cannot[strings.TrimSpace(command)] = strings.TrimSpace(reason)
		}
		d.late = strings.Join(fileLines(filepath.Join(dir, "late-commits")), " ")
		d.slow = strings.Join(fileLines(filepath.Join(dir, "slow")), " ")
		protocols := fileLines(filepath.Join(dir, "protocols"))
		if len(protocols) == 0 {
			protocols = []string{""}
		}
		for _, p := range protocols {
			one := d
			one.protocol = p
			out = append(out, &one)
		}
	}
	return out, nil
}

// fileLines are the lines of a small file that say something; none if there is no file.
func fileLines(name string) (out []string) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// quick leaves out what is slow to install, unless it is wanted or has been installed before.
func (s *suite) quick(ctx context.Context, all []*driver) (out []*driver) {
	for _, d := range all {
		_, err := os.Stat(filepath.Join(s.options.cache, "clients", d.client))
		if d.slow == "" || s.options.slow || err == nil {
			out = append(out, d)
			continue
		}
		s.check(about(ctx, d.subject()), d.name()+": quick run", func(context.Context) error { return fmt.Errorf("%w: %s", errSkip, d.slow) })
	}
	return out
}

// installAll installs the clients, and is the drivers that are there then.
func (s *suite) installAll(ctx context.Context, all []*driver) []*driver {
	byDir := map[string][]*driver{}
	var dirs []string
	for _, d := range all {
		if byDir[d.dir] == nil {
			dirs = append(dirs, d.dir)
		}
		byDir[d.dir] = append(byDir[d.dir], d)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, installsAtOnce)
	there := make([]bool, len(dirs))
	for i, dir := range dirs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			same := byDir[dir]
			who := same[0].subject()
			there[i] = s.check(about(ctx, who), same[0].client+": install", func(context.Context) error {
				version, err := s.install(ctx, dir)
				for _, d := range same {
					d.version = version
				}
				return err
			})
		})
	}
	wg.Wait()
	var out []*driver
	for i, dir := range dirs {
		if there[i] {
			out = append(out, byDir[dir]...)
		}
	}
	return out
}

func (s *suite) install(ctx context.Context, dir string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, installMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "install.sh"))
	cmd.Env = s.driverEnv("")
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, tail(stderr.String()))
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	version, found := strings.CutPrefix(lines[len(lines)-1], "version: ")
	if !found || version == "" {
		return "", fmt.Errorf("install.sh tells no version: %.200q", stdout.String())
	}
	return version, nil
}

func (s *suite) driverEnv(protocol string) []string {
	env := append(os.Environ(), "BOOTSTRAP="+s.bootstrap(), "CACHE="+filepath.Join(s.options.cache, "clients"))
	if protocol != "" {
		env = append(env, "GROUP_PROTOCOL="+protocol)
	}
	return env
}

func (s *suite) bootstrap() string {
	if s.broker == nil {
		return ""
	}
	return s.broker.bootstrap
}

func tail(text string) string {
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-stderrBytesKept):]
}

// process is a running driver.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr tailBuffer
	exited chan struct{}
	err    error // after exited
	asked  bool  // to stop, or killed: by the one goroutine that plays the act
}

// tailBuffer keeps the end of what is written.
type tailBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.text = b.text[max(0, len(b.text)-stderrBytesKept):]
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.text))
}

// start runs a command of the driver; each line that it prints goes to line, in order, from one goroutine.
func (s *suite) start(d *driver, name string, line func(string), args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(filepath.Join(d.dir, "driver"), args...), exited: make(chan struct{})}
	p.cmd.Env = s.driverEnv(d.protocol)
	p.cmd.Dir = s.dir
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	// A group of its own, so that kill reaches what a shell script started.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, driverLineMax)
		for lines.Scan() {
			line(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	p.asked = true
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// end waits for the process, and kills it when ctx ends.
func (p *process) end(ctx context.Context) error {
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s still ran: %w: %s", p.name, context.Cause(ctx), p.stderr.String())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, p.stderr.String())
	}
	return nil
}

// terminate sends SIGTERM and waits for a clean end.
func (p *process) terminate(ctx context.Context) error {
	p.asked = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.end(ctx)
}
