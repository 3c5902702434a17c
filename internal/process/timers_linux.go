package process

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// relaxTimers says whether the slack is as large as it should be. With exec it replaces the process image to have it so, and returns
// where that cannot be done.
func relaxTimers(exec bool) bool {
	runtime.LockOSThread() // the slack is of a thread, and exec keeps that of the one that calls it
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= int(timerSlack) {
		return err == nil
	}
	path, err := os.Executable()
	if !exec || err != nil || !isThisProgram(path) {
		return false
	}
	// Exec gives the new image the limit of open files that this one was started with, and so this one, if it fails.
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return false
	}
	_ = unix.Exec(path, os.Args, append(os.Environ(), execMark+"=1"))
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
	return false
}

// isThisProgram says whether the file of that name is still the one that runs: it may have been replaced, by half an upgrade perhaps.
func isThisProgram(path string) bool {
	var named, running unix.Stat_t
	return unix.Stat(path, &named) == nil && unix.Stat("/proc/self/exe", &running) == nil && named.Dev == running.Dev && named.Ino == running.Ino
}
