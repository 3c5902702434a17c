// Package disk is the filesystem seam: every durable byte of the product goes through FS.
//
// It owns three implementations: the operating system (OS), a crashable file system in memory (Mem) that knows what a
// power loss may take back, and a wrapper that fails at a chosen operation (NewFaulty). It must not know what the files
// hold, who writes them, or when they are synced: it only makes the difference between written and durable explicit.
//
// Rules that hold for every implementation and that callers may rely on:
//   - Written bytes are visible to every handle at once, durable only after Sync of a handle of that file, or SyncFS.
//   - A created, renamed or removed name is durable only after SyncDir of its parent, or SyncFS. Sync of a new file does
//     not make its name durable.
//   - An open handle survives the removal or renaming of its name.
//   - Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, syscall.ENOSPC and so on.
package disk

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"
)

var (
	// ErrLocked says that another process, or another handle of this one, holds the lock file.
	ErrLocked = errors.New("disk: locked by another process")
	// ErrTooLarge says that a file is larger than its reader was prepared to hold in memory.
	ErrTooLarge = errors.New("disk: file too large")
	// ErrNotOpened says that SyncDir has tried nothing: no handle of the directory could be had. Any other error of it is
	// final.
	ErrNotOpened = errors.New("disk: not opened")
)

// FS is a file system. Names use the separator of the operating system; all methods are safe for concurrent use.
type FS interface {
	// Open opens an existing file for reading only.
	Open(name string) (File, error)
	// OpenReadWrite opens a file and keeps its bytes; with create, a missing one is made.
	OpenReadWrite(name string, create bool) (File, error)
	// Create opens a file for reading and writing and empties it.
	Create(name string) (File, error)
	// Remove unlinks a file or an empty directory.
	Remove(name string) error
	// RemoveAll unlinks a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename moves a name atomically, replacing a file that is in the way.
	Rename(oldName, newName string) error
	// MkdirAll makes a directory and its missing parents.
	MkdirAll(dir string) error
	// List returns the sorted names in a directory.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// SyncDir makes the creates, renames and removes in dir durable.
	SyncDir(dir string) error
	// KeepForSyncFS has SyncFS of dir need no new handle from now on.
	KeepForSyncFS(dir string) error
	// SyncFS makes every written byte and every name of the file system that holds dir durable.
	SyncFS(dir string) error
	// Lock takes an exclusive lock on a file, made if missing; ErrLocked if somebody holds it. Close releases it.
	Lock(name string) (io.Closer, error)
	// FreeBytes says how much may still be written to the file system that holds dir.
	FreeBytes(dir string) (int64, error)
	// FreeFiles says how many files and directories may still be made there; math.MaxInt64 where nothing but bytes limits them.
	FreeFiles(dir string) (int64, error)
}

// Info is what Stat knows of a name.
type Info struct {
	// Size of the file in bytes.
	Size int64
	// Dir is set for directories.
	Dir bool
	// ModTime is the time of the last change of the content.
	ModTime time.Time
}

// File is an open file. WriteAt and ReadAt may run concurrently with each other and with Sync; Sync covers every write
// that returned before it was called.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the size; a larger one reads as zeros.
	Truncate(size int64) error
	// Sync makes content and size durable (fdatasync). After an error nothing may be assumed, not even after a retry.
	Sync() error
	// Size returns the current size in bytes.
	Size() (int64, error)
}

// Writebacker is a File that can begin to write to the disk what Sync will later have to wait for.
type Writebacker interface {
	// StartWriteback asks for the first length bytes and does not wait; nothing is durable by it.
	StartWriteback(length int64) error
}

// Reserver is a File that may be given room ahead of what is written to it.
type Reserver interface {
	// Reserve takes room for length bytes from the given offset on. The size stays what it is, nothing becomes readable, and
	// Truncate gives back what is behind its size. Errors satisfy errors.Is with errors.ErrUnsupported where the file system
	// cannot, with syscall.ENOSPC where it is full.
	Reserve(from, length int64) error
}

// DirectAlignment is what addresses, offsets and lengths of direct writes are multiples of, in bytes.
const DirectAlignment = 4096

// DirectOpener is an FS that may write past the page cache.
type DirectOpener interface {
	// OpenDirect opens a file that exists for writes that are durable when they return, if their blocks were written before:
	// see DirectAlignment. Errors satisfy errors.Is with errors.ErrUnsupported, or syscall.EINVAL as that of the first
	// write, where the file system cannot.
	OpenDirect(name string) (File, error)
}

// NoHandleLeft says of the error of an open that the process, or the system, has too many files open: closing one helps.
func NoHandleLeft(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// tempSuffix marks files that WriteFileAtomic had not finished; whoever finds one may remove it.
const tempSuffix = ".tmp"

// WriteFileAtomic replaces a file durably: afterwards, and after any crash in between, name holds either its old content
// or all of data. Two writers of one name must be kept apart by the caller.
func WriteFileAtomic(fs FS, name string, data []byte) error {
	tmp := name + tempSuffix
	if err := writeFileSynced(fs, tmp, data); err != nil {
		// Best effort: the leftover is harmless, the next writer empties it.
		_ = fs.Remove(tmp)
		return err
	}
	if err := fs.Rename(tmp, name); err != nil {
		_ = fs.Remove(tmp)
		return err
	}
	return fs.SyncDir(filepath.Dir(name))
}

func writeFileSynced(fs FS, name string, data []byte) error {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// ReadFile returns the content of a file of at most bytesMax bytes, ErrTooLarge for a larger one.
func ReadFile(fs FS, name string, bytesMax int64) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > bytesMax {
		return nil, fmt.Errorf("%w: %s has %d bytes, limit %d", ErrTooLarge, name, size, bytesMax)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}
