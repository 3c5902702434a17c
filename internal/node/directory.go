package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"ottla/internal/catalog"
	"ottla/internal/disk"
)

// Names in the data directory that belong to no other package.
const (
	lockName     = ".lock"
	cleanName    = ".ottla-clean"
	producersDir = "producers"
)

// CleanMarker is the name of the file that a clean stop leaves behind.
const CleanMarker = cleanName

// ProducersDir is the name of the directory of the cold store.
const ProducersDir = producersDir

// LockName is the name of the file that a running process has locked.
const LockName = lockName

// cleanContent is the whole marker: its format version, for people to read.
const cleanContent = "ottla clean stop, format 1\n"

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("data directory is in use")

// directory is a locked data directory.
type directory struct {
	fs    disk.FS
	dir   string
	lock  io.Closer
	clean bool // the last run stopped cleanly, or there was none
}

// openDirectory makes and locks a data directory. It returns what it has even with an error, to be unlocked.
func openDirectory(fsys disk.FS, dir string) (*directory, error) {
	d := &directory{fs: fsys, dir: dir}
	if err := fsys.MkdirAll(dir); err != nil {
		return d, fmt.Errorf("cannot make the data directory %s: %w (another one: --data DIR)", dir, err)
	}
	var err error
	d.lock, err = fsys.Lock(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, disk.ErrLocked):
		return d, fmt.Errorf("%w: %s belongs to another running process; stop that one, or choose another directory with --data DIR", ErrInUse, dir)
	case err != nil:
		return d, fmt.Errorf("cannot lock the data directory %s: %w", dir, err)
	}
	return d, nil
}

// begin learns how the last run ended, and takes its marker away durably before anything is written.
func (d *directory) begin() error {
	marker := filepath.Join(d.dir, cleanName)
	content, err := disk.ReadFile(d.fs, marker, int64(len(cleanContent)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.clean, err = d.isNew()
		return err
	case errors.Is(err, disk.ErrTooLarge) || err == nil && string(content) != cleanContent:
		return fmt.Errorf("%s is not a marker of this version: a newer one may have written the directory", marker)
	case err != nil:
		return err
	}
	if err := d.fs.Remove(marker); err != nil {
		return err
	}
	if err := d.fs.SyncDir(d.dir); err != nil {
		return err
	}
	d.clean = true
	return nil
}

// isNew says that nobody has run on the directory yet, whatever else is in it: that is for the catalog to judge.
func (d *directory) isNew() (bool, error) {
	_, err := d.fs.Stat(filepath.Join(d.dir, catalog.JournalName))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// finish marks a clean stop. Everything else is durable by now.
func (d *directory) finish() error {
	return disk.WriteFileAtomic(d.fs, filepath.Join(d.dir, cleanName), []byte(cleanContent))
}

func (d *directory) unlock() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}
