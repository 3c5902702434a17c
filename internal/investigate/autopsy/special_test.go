//go:build unix

package autopsy

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What is no file is left alone, and a link that was named is followed.
func TestSpecialFiles(t *testing.T) {
	dir := fixtures(t)
	root := filepath.Join(dir, "4.3.1")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	if e := readAll(t, link); len(e.Partitions) != 2 {
		t.Errorf("%d partitions behind a link", len(e.Partitions))
	}
	for _, name := range []string{"catalog.log", "ottla-cold-format", "server.index"} {
		if err := syscall.Mkfifo(filepath.Join(root, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if e := readAll(t, root); len(e.Partitions) != 2 || len(e.Ottla) != 0 {
		t.Errorf("%d partitions beside named pipes, %v", len(e.Partitions), e.Ottla)
	}
	if at := indexed(filepath.Join(root, "server.log"), 100); at != 0 {
		t.Errorf("no index, but position %d", at)
	}
}
