package bed

import (
	"os"
	"syscall"
)

// childAttributes put a child in a process group of its own, so that Ctrl-C reaches it only through Close, and end it
// with the thread that started it, should this process be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup ends a child and its own children.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended already

func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
