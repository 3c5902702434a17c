package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
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

// atRest says whether all goroutines that wait for frames do it in rest, which is below no handler's stack.
func atRest() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Contains(stacks, []byte("server.(*conn).rest(")) && !bytes.Contains(stacks, []byte("server.(*conn).proceed("))
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

func TestConnectionAtRestHoldsNothing(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		for i := range busyRequests - 1 {
			c.ask(i + 1)
			if f.only(t).running() == nil || atRest() {
				t.Fatalf("it rests at once after request %d", i+1)
			}
			pass(quietSoon)
			if f.only(t).running() != nil || !atRest() {
				t.Fatalf("after request %d: a writer waits: %v; the reader is at rest: %v", i+1, f.only(t).running() != nil, atRest())
			}
		}
		c.ask(busyRequests)
		busy := f.only(t).running()
		if busy == nil || atRest() {
			t.Fatalf("a busy connection has lost its writer: %v; its reader: %v", busy == nil, atRest())
		}
		for range 20 { // far longer than quietAfter in all
			pass(quietAfter / 2)
			c.ask(1)
			if f.only(t).running() != busy || atRest() {
				t.Fatal("a busy connection has another writer, or its reader another stack")
			}
		}
		pass(quietAfter)
		if f.only(t).running() != nil || !atRest() {
			t.Errorf("after %s of silence: a writer waits: %v; the reader is at rest: %v", quietAfter, f.only(t).running() != nil, atRest())
		}
		c.ask(busyRequests - 1)
		pass(quietSoon)
		if f.only(t).running() != nil {
			t.Error("what was asked before the silence counts")
		}
	})
}

// TestWriterEndsOnlyWithNothingToDo: also a reply that is announced and not in the queue yet, and a word in the queue that
// the next connection would get, keep it.
func TestWriterEndsOnlyWithNothingToDo(t *testing.T) {
	for _, c := range []struct {
		name    string
		busy    bool
		waiting int32
		queued  int
		ends    bool
	}{
		{"nothing", false, 0, 0, true},
		{"busy", true, 0, 0, false},
		{"announced", false, 1, 0, false},
		{"queued", false, 1, 1, false},
		{"a word", false, 0, 1, false},
	} {
		co := &conn{server: &Server{options: Options{InFlightRequestsMax: 1}}}
		w := co.server.writer(co)
		co.answers.writer, co.answers.busy = w, c.busy
		co.waiting.Store(c.waiting)
		for range c.queued {
			w.queue <- nil
		}
		if ends := w.ends(); ends != c.ends || (co.running() == nil) != c.ends {
			t.Errorf("%s: ends %v, the connection knows it: %v", c.name, ends, co.running() != nil)
		}
	}
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
			pass(quietAfter)
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
