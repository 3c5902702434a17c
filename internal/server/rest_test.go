package server

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/wire"
)

// only is the connection of a server that has one.
func (f *fixture) only(t *testing.T) *conn {
	t.Helper()
	f.Server.mu.Lock()
	defer f.Server.mu.Unlock()
	for c := range f.Server.mu.connections {
		if len(f.Server.mu.connections) == 1 {
			return c
		}
	}
	t.Fatalf("%d connections", len(f.Server.mu.connections))
	return nil
}

// running is the writer that runs, nil if there is none.
func (c *conn) running() *writer {
	c.answers.Lock()
	defer c.answers.Unlock()
	return c.answers.writer
}

func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// ask sends n requests, one after the answer to the other.
func (c *client) ask(n int) {
	c.t.Helper()
	for range n {
		c.send(cluster())
		c.expect(c.next)
	}
	synctest.Wait()
}

func TestConnectionAtRestHasNoWriter(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		for i := range busyRequests - 1 {
			c.ask(1)
			if f.only(t).running() != nil {
				t.Fatalf("a writer waits after request %d", i+1)
			}
		}
		c.ask(1)
		busy := f.only(t).running()
		if busy == nil {
			t.Fatal("no writer stays with a busy connection")
		}
		for range 20 { // far longer than quietAfter in all
			pass(quietAfter / 2)
			c.ask(1)
			if f.only(t).running() != busy {
				t.Fatal("the writer of a busy connection has changed")
			}
		}
		pass(quietAfter)
		if f.only(t).running() != nil {
			t.Errorf("a writer waits after %s of silence", quietAfter)
		}
		c.ask(busyRequests - 1)
		if f.only(t).running() != nil {
			t.Error("what was asked before the silence counts")
		}
	})
}

// TestQuietConnectionWaitsForItsAnswers: answers that take longer than quietAfter come, in order, and then the writer ends.
func TestQuietConnectionWaitsForItsAnswers(t *testing.T) {
	var gate chan struct{}
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		if r.CorrelationID <= busyRequests {
			return wire.Ready(answer(r))
		}
		return later{Response: answer(r), gate: gate}
	}
	// With room for one in the queue there is none for the word that the connection has become quiet.
	for _, inFlight := range []int{1, InFlightRequestsMaxDefault} {
		synctest.Test(t, func(t *testing.T) {
			gate = make(chan struct{})
			f := start(t, script(handler), Options{InFlightRequestsMax: inFlight})
			c := f.pipes.dial(t)
			c.ask(busyRequests)
			c.send(cluster(), cluster())
			pass(3 * quietAfter)
			if f.only(t).running() == nil {
				t.Error("nobody waits for the replies")
			}
			c.send(cluster())
			synctest.Wait()
			close(gate)
			for i := range int32(3) {
				c.expect(busyRequests + 1 + i)
			}
			synctest.Wait()
			if f.only(t).running() != nil {
				t.Error("a writer waits for nothing")
			}
			c.ask(2)
		})
	}
}

func TestBusyConnectionsAreClosedWhenIdle(t *testing.T) {
	for _, idle := range []time.Duration{quietAfter / 2, 10 * time.Minute} {
		bubble(t, echo, Options{IdleMax: idle}, func(t *testing.T, f *fixture) {
			c := f.pipes.dial(t)
			c.ask(10 * busyRequests)
			begin := time.Now()
			c.expectClosed()
			if got := time.Since(begin); got != idle {
				t.Errorf("closed after %s of silence, want %s", got, idle)
			}
		})
	}
}

// TestFramesInHalvesOverTCP cuts a frame at each of its bytes: whether the server waits with the first half in its buffer or
// with none, the request is the same. The connection is at rest first, and then busy.
func TestFramesInHalvesOverTCP(t *testing.T) {
	f := start(t, script(echo), overTCP())
	for cut := range len((&client{}).frame(produce(50))) {
		c := f.dialTCP(t)
		for range 2 * busyRequests {
			before, frame := c.frame(cluster()), c.frame(produce(50))
			_, _ = c.Write(append(before, frame[:cut]...))
			c.expect(c.next - 1) // so the first half has been read, or is about to be
			_, _ = c.Write(frame[cut:])
			c.expect(c.next)
		}
		_ = c.Close()
	}
}

// TestShutdownOfConnectionsAtRest: over sockets, where no buffer is held, connections that never asked, rest, are busy, or
// are in the middle of a frame, end at once and without a complaint.
func TestShutdownOfConnectionsAtRest(t *testing.T) {
	f := start(t, script(echo), overTCP())
	var clients []*client
	for _, requests := range []int{0, 1, busyRequests - 1, busyRequests, 3 * busyRequests} {
		for _, half := range []int{0, 9} {
			c := f.dialTCP(t)
			for range requests {
				c.send(cluster())
				c.expect(c.next)
			}
			_, _ = c.Write(c.frame(cluster())[:half])
			clients = append(clients, c)
		}
	}
	f.awaitOpen(t, len(clients))
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	f.expectOpen(t, 0)
	for _, c := range clients {
		if _, _, err := c.receive(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want the connection closed", err)
		}
	}
	if text := f.logs.text(); text != "" {
		t.Errorf("log: %s", text)
	}
}

// awaitOpen dials until so many connections and the one that asks are accepted: they are in the order of their arrival.
func (f *fixture) awaitOpen(t *testing.T, n int) {
	t.Helper()
	c := f.dialTCP(t)
	c.send(cluster())
	c.expect(1)
	f.expectOpen(t, n+1)
}

// BenchmarkOneAtATime is a request and its answer over loopback, client and server together, on a busy connection.
func BenchmarkOneAtATime(b *testing.B) {
	f := start(b, script(echo), overTCP())
	c := f.dialTCP(b)
	frame := c.frame(produce(150))
	buf := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewConnection is a client that comes, asks twice, as for ApiVersions and Metadata, and leaves.
func BenchmarkNewConnection(b *testing.B) {
	f := start(b, script(echo), overTCP())
	b.ReportAllocs()
	for b.Loop() {
		c := f.dialTCP(b)
		_ = c.Conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT
		for range 2 {
			c.send(cluster())
			c.expect(c.next)
		}
		_ = c.Close()
	}
}
