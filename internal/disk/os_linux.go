package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

const errWouldBlock = unix.EWOULDBLOCK

// syncData retries EINTR alone: it means that nothing was done. Any other error is final, the kernel has marked the
// pages clean.
func syncData(f *os.File) error {
	return control(f, unix.Fdatasync)
}

func syncFS(d *os.File) error {
	return control(d, unix.Syncfs)
}

// OpenDirect implements DirectOpener.
func (*osFS) OpenDirect(name string) (File, error) {
	return openOS(name, os.O_RDWR|unix.O_DIRECT|unix.O_DSYNC)
}

// Reserve implements Reserver.
func (f osFile) Reserve(from, length int64) error {
	return control(f.File, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, from, length) })
}

// StartWriteback implements Writebacker.
func (f osFile) StartWriteback(length int64) error {
	return control(f.File, func(fd int) error { return unix.SyncFileRange(fd, 0, length, unix.SYNC_FILE_RANGE_WRITE) })
}
