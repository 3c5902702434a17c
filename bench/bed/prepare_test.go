package bed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRemoveLeft: what a run has left that was killed goes, what runs stays.
func TestRemoveLeft(t *testing.T) {
	runs := t.TempDir()
	ended := exec.Command("go", "version")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(runs, fmt.Sprintf(runName+"-1", ended.Process.Pid))
	mine := filepath.Join(runs, fmt.Sprintf(runName+"-2", os.Getpid()))
	other := filepath.Join(runs, "libs")
	for _, dir := range []string{dead, mine, other} {
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeLeft(runs)
	for dir, stays := range map[string]bool{dead: false, mine: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
