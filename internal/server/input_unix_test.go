//go:build unix

package server

import (
	"errors"
	"io"
	"syscall"
	"testing"
)

// TestNoBufferWhileWaiting: the runtime waits after an attempt that says false, and only then.
func TestNoBufferWhileWaiting(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := pair[0], pair[1]
	defer func() { _ = syscall.Close(far) }()
	if err := syscall.SetNonblock(far, true); err != nil {
		t.Fatal(err)
	}
	in := input{pool: &buffers{}}
	attempt := func(when string, ready bool, buffered int, holds bool) {
		t.Helper()
		if got := in.tryRead(uintptr(far)); got != ready || in.buffered() != buffered || (in.buffer != nil) != holds {
			t.Errorf("%s: ready %v, %d bytes buffered, a buffer held: %v", when, got, in.buffered(), in.buffer != nil)
		}
	}
	write := func(n int) {
		t.Helper()
		if _, err := syscall.Write(near, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	attempt("new", false, 0, false)
	write(7)
	attempt("half a frame", true, 7, true)
	attempt("waiting for the other half", false, 7, true)
	write(13)
	attempt("the other half", true, 20, true)
	in.discard(15)
	attempt("between two frames, with a part of the second", false, 5, true)
	in.discard(5)
	attempt("silence", false, 0, false)
	write(3)
	attempt("a third frame", true, 3, true)
	in.discard(3)
	if err := syscall.Close(near); err != nil {
		t.Fatal(err)
	}
	attempt("the end", true, 0, false)
	if !errors.Is(in.err, io.EOF) {
		t.Errorf("the end is %v", in.err)
	}
}
