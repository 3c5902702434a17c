//go:build unix

package server

import "syscall"

// readsWithoutWaiting: sockets are in non-blocking mode, a read that finds nothing says so.
const readsWithoutWaiting = true

// tryRead is called by the runtime with a socket that may be readable. False means that it is to be called again when
// the socket is: what is waited with then is no buffer, unless it has part of a frame in it.
func (in *input) tryRead(fd uintptr) bool {
	room := in.room()
	for {
		n, err := syscall.Read(int(fd), room)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			in.giveBack()
			return false
		}
		in.err = in.took(n, err)
		return true
	}
}
