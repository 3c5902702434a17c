package server

import (
	"io"
	"net"
	"syscall"
)

// input is what has arrived on a connection and was not handled yet. It is of the connection's reader.
//
// Invariant: who waits for the first byte of a frame, or for the rest of a large one, holds no buffer, as long as
// the connection is a socket: the kernel keeps what arrives.
type input struct {
	nc      net.Conn
	pool    *buffers
	raw     syscall.RawConn    // nil: not a socket, or one that cannot be asked without waiting; read is then called with a buffer
	attempt func(uintptr) bool // in.tryRead, made once

	buffer     *[]byte // nil: nothing is there
	start, end int     // what of the buffer is not handled yet
	err        error   // of the last attempt
}

func (in *input) init(nc net.Conn, pool *buffers) {
	in.nc, in.pool = nc, pool
	if s, ok := nc.(syscall.Conn); ok && readsWithoutWaiting {
		if raw, err := s.SyscallConn(); err == nil {
			in.raw, in.attempt = raw, in.tryRead
		}
	}
}

func (in *input) buffered() int { return in.end - in.start }

// fill waits for bytes, at least one, within the read deadline. There must be room: fewer than readBufferBytes are
// buffered. With an error nothing was added, and nothing is lost.
func (in *input) fill() error {
	if in.raw == nil {
		n, err := in.nc.Read(in.room())
		return in.took(n, err)
	}
	// The first attempt is made at once; then the runtime waits for readability, and the next is made.
	if err := in.raw.Read(in.attempt); err != nil {
		return err
	}
	return in.err
}

// room is where the next bytes go, in a buffer that is taken if there is none.
func (in *input) room() []byte {
	if in.buffer == nil {
		in.buffer = in.pool.get(readBufferBytes)
	}
	if in.start > 0 {
		in.end = copy(*in.buffer, (*in.buffer)[in.start:in.end])
		in.start = 0
	}
	return (*in.buffer)[in.end:readBufferBytes]
}

// took ends an attempt: n bytes are in the room, or there is an error.
func (in *input) took(n int, err error) error {
	if n > 0 {
		in.end += n
		return nil // an error comes again
	}
	in.giveBack()
	if err == nil {
		err = io.EOF
	}
	return err
}

// giveBack returns a buffer that has nothing in it.
func (in *input) giveBack() {
	if in.buffer != nil && in.start == in.end {
		in.pool.put(in.buffer)
		in.buffer, in.start, in.end = nil, 0, 0
	}
}

// peek waits until n bytes are there, at most readBufferBytes, and returns them. They stay, and are valid until the
// next call of another method than buffered.
func (in *input) peek(n int) ([]byte, error) {
	for in.buffered() < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	return (*in.buffer)[in.start : in.start+n], nil
}

// discard drops n bytes that are there.
func (in *input) discard(n int) { in.start += n }

// readFull moves the next bytes into p and waits for those that are not there.
func (in *input) readFull(p []byte) error {
	n := 0
	if in.buffer != nil {
		n = copy(p, (*in.buffer)[in.start:in.end])
		in.discard(n)
		in.giveBack()
	}
	_, err := io.ReadFull(in.nc, p[n:])
	return err
}
