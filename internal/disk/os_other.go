//go:build !linux

package disk

import (
	"io/fs"
	"os"
	"path/filepath"
)

func syncData(f *os.File) error { return f.Sync() }

// syncFS has no system call here: every file and directory of the tree is synced one by one.
func syncFS(dir *os.File) error {
	return filepath.WalkDir(dir.Name(), func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return (&osFS{}).SyncDir(name)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			_ = f.Close()
			return err
		}
		return f.Close()
	})
}
