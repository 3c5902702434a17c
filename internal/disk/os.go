package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

const (
	fileMode = 0o640
	dirMode  = 0o750
)

// OS returns the file system of the operating system.
func OS() FS { return &osFS{} }

type osFS struct {
	// mu guards the handles that SyncFS keeps open. Linux reports a write-back error once per handle opened before it: a
	// handle made for each call could miss an error that another process's sync has already been told.
	mu struct {
		sync.Mutex
		syncHandles map[string]*os.File
	}
}

type osFile struct{ *os.File }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (*osFS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (*osFS) OpenReadWrite(name string, create bool) (File, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	return openOS(name, flag)
}

func (*osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (*osFS) Remove(name string) error             { return os.Remove(name) }
func (*osFS) RemoveAll(name string) error          { return os.RemoveAll(name) }
func (*osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }
func (*osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, dirMode) }

func (*osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (*osFS) Stat(name string) (Info, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: fi.Size(), Dir: fi.IsDir(), ModTime: fi.ModTime()}, nil
}

func (*osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotOpened, err)
	}
	if err := syncDirHandle(d); err != nil {
		_ = d.Close()
		return err
	}
	return d.Close()
}

func (o *osFS) KeepForSyncFS(dir string) error {
	_, err := o.syncHandle(dir)
	return err
}

func (o *osFS) SyncFS(dir string) error {
	d, err := o.syncHandle(dir)
	if err != nil {
		return err
	}
	if err := syncFS(d); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

// syncHandle returns the handle of dir, which stays open as long as the process.
func (o *osFS) syncHandle(dir string) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.mu.syncHandles[dir]; d != nil {
		return d, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if o.mu.syncHandles == nil {
		o.mu.syncHandles = make(map[string]*os.File)
	}
	o.mu.syncHandles[dir] = d
	return d, nil
}

func (*osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := lockHandle(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errWouldBlock) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, name)
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	// The lock lives as long as the handle: closing it, or the end of the process, releases it.
	return f, nil
}

func (*osFS) FreeBytes(dir string) (int64, error) {
	free, _, err := space(dir)
	return free, err
}

func (*osFS) FreeFiles(dir string) (int64, error) { return freeFiles(dir) }

// TotalBytes is the size of the file system that holds dir. Only a real one has any, so it is not part of FS.
func (*osFS) TotalBytes(dir string) (int64, error) {
	_, total, err := space(dir)
	return total, err
}

func (f osFile) Sync() error {
	if err := syncData(f.File); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
