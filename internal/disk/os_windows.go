package disk

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

const errWouldBlock = windows.ERROR_LOCK_VIOLATION

// syncDirHandle does nothing: NTFS journals names, and directories cannot be flushed.
func syncDirHandle(*os.File) error { return nil }

func lockHandle(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
}

func space(dir string) (free, total int64, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var f, t uint64
	if err := windows.GetDiskFreeSpaceEx(p, &f, &t, nil); err != nil {
		return 0, 0, &os.PathError{Op: "freespace", Path: dir, Err: err}
	}
	return int64(min(f, math.MaxInt64)), int64(min(t, math.MaxInt64)), nil
}

func freeFiles(string) (int64, error) { return math.MaxInt64, nil }

// OpenFiles is how many files this process may have open at a time: handles are bounded by memory only.
func OpenFiles() (int, error) { return math.MaxInt32, nil }
