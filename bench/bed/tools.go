package bed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Java runs a class of Apache Kafka's with a heap of 512 MiB, as Kafka's scripts do. A tool that fails is an outcome, not
// an error; the errors are those of starting it and of the context, which ends it.
func (b *Bed) Java(ctx context.Context, class string, args ...string) (Tool, error) {
	return b.tool(ctx, "java", append([]string{"-Xmx512m", "-cp", filepath.Join(b.KafkaLibs, "*"), class}, args...))
}

// Rdkafka runs rdkafka_performance; outcome and errors as with Java.
func (b *Bed) Rdkafka(ctx context.Context, args ...string) (Tool, error) {
	return b.tool(ctx, b.RdkafkaBin, args)
}

// Ottla runs a command of the binary under test, such as storm; outcome and errors as with Java.
func (b *Bed) Ottla(ctx context.Context, args ...string) (Tool, error) {
	return b.tool(ctx, b.OttlaBin, args)
}

// Go runs the go command in the module's root, with further lines of environment; temporary files are the bed's. Outcome
// and errors as with Java.
func (b *Bed) Go(ctx context.Context, environment []string, args ...string) (Tool, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = b.root, slices.Concat(os.Environ(), []string{"TMPDIR=" + b.Work}, environment)
	return b.outcome(ctx, cmd)
}

func (b *Bed) tool(ctx context.Context, name string, args []string) (Tool, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = b.Work
	return b.outcome(ctx, cmd)
}

func (b *Bed) outcome(ctx context.Context, cmd *exec.Cmd) (Tool, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := b.children.run(ctx, cmd); err != nil {
		return Tool{Stdout: out.String(), Stderr: errs.String(), Took: time.Since(began), Exit: -1}, err
	}
	return Tool{out.String(), errs.String(), time.Since(began), cmd.ProcessState.ExitCode()}, nil
}

// Err is nil if the tool ended well, and else what it said last.
func (t Tool) Err() error {
	if t.Exit == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %s", t.Exit, tail(t.Stdout+"\n"+t.Stderr))
}
