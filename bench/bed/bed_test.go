package bed

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestHasTopic(t *testing.T) {
	data := t.TempDir()
	for _, name := range []string{"gone-0x", "going-11.0123abcd-delete", "here-0", "meta.properties"} {
		if err := os.Mkdir(filepath.Join(data, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"gone": false, "going": true, "here": true, "her": false, "meta": false} {
		if got, err := hasTopic(data, name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := hasTopic(filepath.Join(data, "nowhere"), "here"); err == nil {
		t.Error("a directory that is not there has no topic, and that is no error")
	}
}

func TestChildrenEndWithTheBed(t *testing.T) {
	c := newChildren()
	p, err := c.start(exec.Command("cat", "/dev/zero"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("it has ended by itself")
	}
	c.close()
	if p.alive() {
		t.Error("it is still there")
	}
	if _, err := c.start(exec.Command("true")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a start after the end: %v", err)
	}
	c.close()
}

func TestGrandchildrenEndToo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := newChildren()
	defer c.close()
	cmd := exec.Command("sh", "-c", "sleep 600 & echo; wait")
	cmd.Stdout = w
	p, err := c.start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the pipe ends with the last that has it
		t.Errorf("the child's own child is still there: %v", err)
	}
}

func TestToolEndsWithItsContext(t *testing.T) {
	c := newChildren()
	defer c.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := exec.Command("sleep", "600")
	if err := c.run(ctx, cmd); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if cmd.ProcessState == nil || cmd.ProcessState.Success() {
		t.Errorf("it was not killed: %v", cmd.ProcessState)
	}
}
