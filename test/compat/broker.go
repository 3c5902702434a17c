package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	startMax = 60 * time.Second
	stopMax  = 30 * time.Second
	logBytes = 4000 // of the broker's log, shown after failures
)

// broker is the process under test; without a command it is somebody else's.
type broker struct {
	name      string
	bootstrap string
	data      string // "" if unknown
	command   []string
	log       string
	cmd       *exec.Cmd
	exited    chan error
}

func newBroker(ctx context.Context, s *suite) (*broker, error) {
	o := s.options
	b := &broker{name: "ottla", data: s.path("data"), log: s.path("broker.log")}
	switch {
	case o.bootstrap != "":
		b.name, b.bootstrap, b.data = o.bootstrap, o.bootstrap, o.data
		return b, b.ready(ctx)
	case o.reference:
		ports, err := freePorts(2)
		if err != nil {
			return b, err
		}
		b.name, b.bootstrap = "Apache Kafka", ports[0]
		if b.command, err = referenceCommand(ctx, s, b.data, ports); err != nil {
			return b, err
		}
	case o.ottla != "":
		ports, err := freePorts(1)
		if err != nil {
			return b, err
		}
		b.bootstrap = ports[0]
		b.command = []string{o.ottla, "serve", "--listen", b.bootstrap, "--data", b.data, "--http", "off"}
	default:
		return b, errors.New("no broker: -ottla, -reference or -bootstrap")
	}
	return b, b.start(ctx)
}

// freePorts finds loopback addresses that nobody listens on now.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// referenceCommand formats a data directory for Apache Kafka and is how to start it.
func referenceCommand(ctx context.Context, s *suite, data string, ports []string) ([]string, error) {
	properties := s.path("server.properties")
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
`, ports[0], ports[1], data)
	if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r, err := s.jvm.tool(ctx, "kafka.tools.StorageTool", "format", "--cluster-id", "Tz1G2yO3T1W4hYzq5fKs9A", "--config", properties)
	if err != nil || r.Exit != 0 {
		return nil, fmt.Errorf("format: %w %s %s", err, r.Stdout, r.Stderr)
	}
	return []string{"java", "-Xmx512m", "-cp", filepath.Join(s.options.cache, "libs", "*"), "kafka.Kafka", properties}, nil
}

// start runs the command and waits until it answers. Only from the main goroutine: the child is killed when the thread
// that started it ends, so that not even kill -9 of the suite leaves a broker behind.
func (b *broker) start(ctx context.Context) error {
	log, err := os.OpenFile(b.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd = exec.Command(b.command[0], b.command[1:]...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := b.cmd, make(chan error, 1)
	b.exited = exited
	go func() { exited <- cmd.Wait() }()
	return b.ready(ctx)
}

// ready waits until the broker answers a request.
func (b *broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.bootstrap), kgo.RequestRetries(0))
		if err != nil {
			return err
		}
		err = client.Ping(ctx)
		client.Close()
		if err == nil {
			return nil
		}
		select {
		case exit := <-b.exited:
			b.cmd = nil
			b.printLog()
			return fmt.Errorf("the broker exited: %v", exit)
		case <-ctx.Done():
			b.printLog()
			return fmt.Errorf("the broker does not answer: %w", err)
		case <-again.C:
		}
	}
}

// kill is kill -9, and returns when the process is gone.
func (b *broker) kill() {
	if b.cmd != nil {
		_ = b.cmd.Process.Kill()
		<-b.exited
		b.cmd = nil
	}
}

// terminate asks it to stop, as a service manager does.
func (b *broker) terminate() error {
	if b.cmd == nil {
		return fmt.Errorf("%w: not our process", errSkip)
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.NewTimer(stopMax)
	defer late.Stop()
	select {
	case err := <-b.exited:
		b.cmd = nil
		if code := (*exec.ExitError)(nil); errors.As(err, &code) && code.ExitCode() == 128+int(syscall.SIGTERM) {
			return nil // as a JVM does
		}
		return err
	case <-late.C:
		return fmt.Errorf("still running after %v", stopMax)
	}
}

func (b *broker) printLog() {
	text, err := os.ReadFile(b.log)
	if err != nil || len(text) == 0 {
		return
	}
	text = text[max(0, len(text)-logBytes):]
	fmt.Printf("--- the broker's log ends:\n%s\n---\n", strings.TrimSpace(string(text)))
}
