//go:build !unix

package server

// readsWithoutWaiting: a read of a socket waits here, so it is called with a buffer, which an idle connection keeps.
const readsWithoutWaiting = false

func (in *input) tryRead(uintptr) bool { panic("BUG: server: not on this system") }
