package server

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// TestInputIsTheStream: whatever comes in which pieces and is asked for in which, the bytes are those that were sent, also
// where the buffer is full, given back, or not the way that they take.
func TestInputIsTheStream(t *testing.T) {
	stream := make([]byte, 40*readBufferBytes)
	for i := range stream {
		stream[i] = byte(rand.Uint32())
	}
	kinds := map[string]func() (near, far net.Conn){
		"pipe": net.Pipe,
		"socket": func() (near, far net.Conn) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
			if far, err = l.Accept(); err != nil {
				t.Fatal(err)
			}
			return near, far
		},
	}
	for kind, connect := range kinds {
		t.Run(kind, func(t *testing.T) {
			for _, piece := range []int{61, readBufferBytes - 1, readBufferBytes, readBufferBytes + 1, len(stream)} {
				for _, ask := range []int{1, 100, readBufferBytes - 1, readBufferBytes, 3*readBufferBytes + 5} {
					near, far := connect()
					go func() {
						for rest := stream; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
							_, _ = near.Write(rest[:min(piece, len(rest))])
						}
						_ = near.Close()
					}()
					if got, err := taken(far, ask, len(stream)); err != io.EOF || !bytes.Equal(got, stream) {
						t.Errorf("pieces of %d asked for in %d: got %d bytes, %v", piece, ask, len(got), err)
					}
					_, _ = near.Close(), far.Close()
				}
			}
		})
	}
}

// taken reads as many bytes as there are, n at a time, large pieces as large frames are read, and the end after them.
func taken(c net.Conn, n, total int) (all []byte, err error) {
	var in input
	in.init(c, &buffers{})
	for len(all) < total {
		n = min(n, total-len(all))
		b, err := in.peek(min(n, 8)) // of a large frame, some bytes are in the buffer
		if err == nil && n <= readBufferBytes {
			b, err = in.peek(n)
			all = append(all, b...)
			in.discard(len(b))
		} else if err == nil {
			large := make([]byte, n)
			err = in.readFull(large)
			all = append(all, large...)
		}
		if err != nil {
			return all, err
		}
	}
	_, err = in.peek(1)
	return all, err
}
