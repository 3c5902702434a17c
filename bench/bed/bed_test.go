package bed

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
