package process

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// relaxTimers returns only where the slack is large enough already or cannot be had.
func relaxTimers() {
	path, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread() // the slack is of a thread, and exec keeps that of the one that calls it
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= int(timerSlack) {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	_ = unix.Exec(path, os.Args, append(os.Environ(), execMark+"=1"))
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
}
