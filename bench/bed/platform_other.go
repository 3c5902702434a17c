//go:build !linux

package bed

import (
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func datasync(f *os.File) error { return f.Sync() }
