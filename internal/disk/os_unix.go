//go:build unix

package disk

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// control calls fn with the file's descriptor, again as long as it is interrupted.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = retryInterrupted(func() error { return fn(int(fd)) }) }); err != nil {
		return err
	}
	return inner
}

func retryInterrupted(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncDirHandle(d *os.File) error { return d.Sync() }

func lockHandle(f *os.File) error {
	return control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
}

func statfs(dir string) (st unix.Statfs_t, err error) {
	if err := retryInterrupted(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return st, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st, nil
}

func space(dir string) (free, total int64, err error) {
	st, err := statfs(dir)
	if err != nil {
		return 0, 0, err
	}
	bytes := func(blocks uint64) int64 { return int64(min(blocks*uint64(st.Bsize), math.MaxInt64)) }
	return bytes(uint64(st.Bavail)), bytes(uint64(st.Blocks)), nil
}

// freeFiles: a file system that makes inodes as it needs them says that it has none at all, as btrfs does.
func freeFiles(dir string) (int64, error) {
	st, err := statfs(dir)
	if err != nil {
		return 0, err
	}
	if st.Files == 0 {
		return math.MaxInt64, nil
	}
	return int64(min(uint64(st.Ffree), math.MaxInt64)), nil
}

// OpenFiles is how many files this process may have open at a time; Go raises the limit to the most that is allowed when it starts.
func OpenFiles() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Cur, math.MaxInt32)), nil
}
