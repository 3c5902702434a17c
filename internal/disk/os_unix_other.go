//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

const errWouldBlock = unix.EWOULDBLOCK
