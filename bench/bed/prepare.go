package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The ports that brokers get: below those that the kernel gives to clients, so that no client takes one of them between
// its choice and its use.
const (
	firstPort = 31000
	lastPort  = 31999
)

// names gives out ports and the numbers of files.
type names struct {
	mu struct {
		sync.Mutex
		port, number int
	}
}

func prepare(ctx context.Context, log io.Writer) (_ *Bed, err error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	if err != nil || root == "." || root == os.DevNull {
		return nil, errors.Join(errors.New("the benchmark is run within Ottla's module"), err)
	}
	b := &Bed{Log: log, root: root, children: newChildren()}
	// Two runs at a time begin at different ports.
	b.names.mu.port = firstPort + os.Getpid()*10%(lastPort-firstPort)
	context.AfterFunc(ctx, b.children.close)
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	// Not in the directory for temporary files: that may be kept in memory.
	cache := filepath.Join(root, "test", "compat", ".cache")
	runs := filepath.Join(cache, "bench")
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return nil, err
	}
	removeLeft(runs)
	if b.Work, err = os.MkdirTemp(runs, fmt.Sprintf(runName+"-", os.Getpid())); err != nil {
		return nil, err
	}
	b.KafkaLibs = filepath.Join(cache, "libs")
	b.RdkafkaBin = filepath.Join(cache, "rdkafka_performance", "rdkafka_performance")
	b.OttlaBin, b.benchBin = filepath.Join(b.Work, "ottla"), filepath.Join(b.Work, "bench")
	version, err := b.output(ctx, "git", "describe", "--tags", "--always", "--dirty")
	if err != nil {
		version = "dev" // not in a clone
	}
	flags := "-s -w -X ottla/internal/cli.Version=" + strings.TrimSpace(version)
	for _, command := range [][]string{
		{"go", "build", "-trimpath", "-ldflags", flags, "-o", b.OttlaBin, "./cmd/ottla"},
		{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.benchBin, "./bench"},
		{"bash", "test/compat/jars.sh"},
		{"bash", "test/compat/librdkafka.sh", "performance"},
	} {
		if _, err := b.output(ctx, command...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// runName is a run's directory, by its process.
const runName = "run-%d"

// removeLeft removes what runs have left that were killed: gigabytes.
func removeLeft(runs string) {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return // the next call says so
	}
	for _, e := range entries {
		var pid int
		if n, _ := fmt.Sscanf(e.Name(), runName, &pid); n == 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(filepath.Join(runs, e.Name()))
		}
	}
}

// output runs a command in the module's root.
func (b *Bed) output(ctx context.Context, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.root, &out, &errs
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "CACHE="+filepath.Join(b.root, "test", "compat", ".cache"))
	if err := b.children.run(ctx, cmd); err != nil {
		return "", err
	}
	if !cmd.ProcessState.Success() {
		return "", fmt.Errorf("%s: %v: %s", strings.Join(command, " "), cmd.ProcessState, tail(errs.String()+out.String()))
	}
	return out.String(), nil
}

// Close ends what is left of the brokers and removes the working directory.
func (b *Bed) Close() error {
	b.children.close()
	if b.Work == "" {
		return nil
	}
	return os.RemoveAll(b.Work)
}

// file names a new file of this run.
func (b *Bed) file(name string) string {
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	b.names.mu.number++
	return filepath.Join(b.Work, fmt.Sprintf("%s-%d", name, b.names.mu.number))
}

// address finds a port that nobody listens on.
func (b *Bed) address() (string, error) {
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	for range lastPort - firstPort + 1 {
		if b.names.mu.port++; b.names.mu.port > lastPort {
			b.names.mu.port = firstPort
		}
		addr := fmt.Sprintf("127.0.0.1:%d", b.names.mu.port)
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free", firstPort, lastPort)
}

// tail is the end of a text, for an error.
func tail(text string) string {
	const lines = 8
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
