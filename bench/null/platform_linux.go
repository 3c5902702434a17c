package null

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes what a file holds durable, and of what is known of the file only what is needed to find it.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// writePieces writes pieces one behind the other, in one call unless the kernel takes less.
func writePieces(f *os.File, pieces [][]byte, at int64) error {
	for len(pieces) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), pieces, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("pwritev", err)
		}
		at += int64(n)
		for len(pieces) > 0 && n >= len(pieces[0]) {
			n -= len(pieces[0])
			pieces = pieces[1:]
		}
		if n > 0 {
			pieces[0] = pieces[0][n:]
		}
	}
	return nil
}
