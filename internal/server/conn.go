package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

// conn is one connection: a reader and, while there are replies, a writer. The reader hands every request to the handler
// in the order of arrival and queues the reply; the writer waits for the replies in that order and sends the answers.
//
// A connection at rest is a goroutine that waits for the first byte of a frame on a stack that is as small as it was made,
// and no buffer, queue or writer. What a request needs is taken when it comes and kept until there was none for quietSoon,
// or, from the busyRequests-th on, for quietAfter: so busy connections neither start goroutines nor make stacks grow, nor do
// those that ask a few things and leave.
//
// Invariants:
//   - the reader keeps reading while the writer waits, up to the bounds, and so notices a client that left:
//     it ends ctx, and with it a long poll;
//   - the reader never gives up on sending a request to the queue, and the writer takes from it until none waits, dead
//     connection or not: so every reply is waited for exactly once;
//   - a writer ends only after everything before is sent, so the next one cannot overtake it;
//   - the writer waits for no budget that a reader holds.
type conn struct {
	server  *Server
	nc      net.Conn
	session wire.Session
	ctx     context.Context // of Handle and Wait; ends with the connection
	cancel  context.CancelFunc

	answers struct {
		sync.Mutex
		writer *writer // nil: none runs
		busy   bool    // the connection does not rest: the writer stays although nothing waits
	}
	writerDone    sync.WaitGroup
	writeDeadline time.Time    // in force; of the writer
	decoded       *wire.Budget // of this connection's replies that wait
	waiting       atomic.Int32 // replies not yet answered; is raised under the lock of answers
	active        atomic.Int64 // when the last request came or the last answer went, in nanoseconds since the start of the server

	reason atomic.Int32 // metrics.CloseReason + 1 once the connection has ended

	deadline struct {
		sync.Mutex
		stopped bool // no deadline may be set any more: the reader is to return
	}
	// Of the reader:
	input   input
	armed   armed
	asked   bool // there was a request
	resting bool // it has nothing that it does not need
	streak  int  // requests since it rested, up to busyRequests
}

// armed says what the read deadline in force is for.
type armed uint8

const (
	armedNothing armed = iota
	armedSilence       // between frames
	armedQuiet         // between frames of a connection that does not rest
	armedFrame         // the frame being read
)

// inFlight is a request between its arrival and its answer.
type inFlight struct {
	request wire.Request
	reply   wire.Reply
	decoded int64 // what it holds of the budgets for decoded requests
}

func newConn(s *Server, nc net.Conn, listener string) *conn {
	c := &conn{server: s, nc: nc, decoded: wire.NewBudget(connectionDecodedBytesMax)}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.input.init(nc, &s.buffers)
	c.active.Store(int64(time.Since(s.started)))
	c.session = wire.Session{
		ID:         s.sessions.Add(1),
		RemoteAddr: remoteAddr(nc),
		Listener:   listener,
		Draining:   s.drainCtx.Done(),
		Responses:  s.responses,
	}
	return c
}

func remoteAddr(nc net.Conn) netip.AddrPort {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	a := tcp.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// serve begins the life of a connection, which is spent on one goroutine after the other.
func (c *conn) serve() {
	m := c.server.options.Metrics
	m.ConnectionsAccepted.Inc()
	m.ConnectionsCurrent.Inc()
	c.proceed(nil)
}

// rest waits for the next frame and goes on. It is a goroutine's first function, and calls little before it waits, since
// the stack of a goroutine that was made larger stays so: 2 KiB are enough here, a handler takes 4 to 16.
func (c *conn) rest() { c.proceed(c.input.fill()) }

// proceed serves requests until the connection rests or ends; waited is what rest got.
func (c *conn) proceed(waited error) {
	reason, err := c.read(waited)
	if err == errRest {
		go c.rest()
		return
	}
	defer c.server.running.Done()
	if err != nil {
		c.server.complaints.warn(c.server.options.Logger, "connection closed",
			"reason", reason.String(), "from", c.session.RemoteAddr, "listener", c.session.Listener, "error", err)
	}
	// Only when the server stops is answered what was asked before. In every other case nobody would notice
	// any more that the client has left, and a long poll could keep the connection for as long as it likes.
	if reason != metrics.CloseShutdown {
		c.end(reason)
	}
	c.becomeQuiet()
	c.writerDone.Wait()
	c.end(reason)
	c.server.unregister(c)
	m := c.server.options.Metrics
	m.Closed(metrics.CloseReason(c.reason.Load() - 1))
	m.ConnectionsCurrent.Dec()
}

// end closes the connection for good; both loops notice. It reports whether it was open before: the first
// reason is the one that counts.
func (c *conn) end(reason metrics.CloseReason) bool {
	if !c.reason.CompareAndSwap(0, int32(reason)+1) {
		return false
	}
	c.cancel()
	_ = c.nc.Close() // whatever it says, nobody could do anything about it
	return true
}

func (c *conn) ended() bool { return c.reason.Load() != 0 }

// stopReading makes the reader return before the next request.
func (c *conn) stopReading() {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.deadline.stopped = true
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

func (c *conn) setReadDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.deadline.stopped {
		return os.ErrDeadlineExceeded
	}
	return c.nc.SetReadDeadline(t)
}

// errRest is returned by read when the next frame is to be waited for in rest.
var errRest = errors.New("server: the connection rests")

// read serves requests until the connection is to rest or to end. The error is for the log; silent ends have none.
func (c *conn) read(waited error) (metrics.CloseReason, error) {
	for {
		if c.server.drainCtx.Err() != nil {
			return metrics.CloseShutdown, nil
		}
		if err := c.awaitFrame(waited); err == errRest {
			return 0, err
		} else if err != nil {
			return c.silentEnd(err)
		}
		waited = nil
		err := c.readRequest()
		switch {
		case err == nil:
		case c.server.drainCtx.Err() != nil:
			return metrics.CloseShutdown, nil
		case errors.Is(err, errPanic):
			return metrics.ClosePanic, nil // told in full already
		case errors.Is(err, os.ErrDeadlineExceeded):
			return metrics.CloseSlowRequest, fmt.Errorf("a request took too long to arrive: %w", err)
		case errors.Is(err, wire.ErrFrameSize) || errors.Is(err, wire.ErrUnknownAPI) ||
			errors.Is(err, wire.ErrUnsupportedVersion) || errors.Is(err, wire.ErrMalformed):
			return metrics.CloseBadFrame, err
		default:
			return metrics.CloseByClient, nil // it left in the middle of a frame
		}
	}
}

// silentEnd names the reason why no further frame started.
func (c *conn) silentEnd(err error) (metrics.CloseReason, error) {
	switch {
	case c.server.drainCtx.Err() != nil:
		return metrics.CloseShutdown, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return metrics.CloseIdle, nil
	case errors.Is(err, io.EOF):
		return metrics.CloseByClient, nil
	}
	return metrics.CloseNetwork, nil
}

// awaitFrame returns when the first byte of a frame is there, or with errRest when rest is to wait for it. No timer is
// touched for a request: the deadline stays where it was set until it fires, and only then is looked how long the
// connection was silent. The error is that of a wait before.
func (c *conn) awaitFrame(err error) error {
	for {
		if err != nil {
			if err = c.silence(err); err != nil {
				return err
			}
		}
		if c.input.buffered() > 0 {
			return nil
		}
		armed, silent := armedQuiet, c.quietMax()
		if c.resting || !c.asked {
			armed, silent = armedSilence, c.idleMax()
		}
		if c.armed != armed {
			if err := c.setReadDeadline(time.Now().Add(silent)); err != nil {
				return err
			}
			c.armed = armed
		}
		if c.resting {
			return errRest
		}
		err = c.input.fill()
	}
}

// silence judges the error that ended a wait. Nil: it was a deadline, and another one is in force.
func (c *conn) silence(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.server.drainCtx.Err() != nil {
		return err
	}
	now := time.Now()
	active := c.server.started.Add(time.Duration(c.active.Load()))
	until := active.Add(c.quietMax())
	if c.armed != armedQuiet || !until.After(now) {
		c.becomeQuiet()
		c.armed = armedSilence
		if c.waiting.Load() > 0 {
			active = now // it waits for us
		}
		if until = active.Add(c.idleMax()); !until.After(now) {
			return err
		}
	}
	return c.setReadDeadline(until)
}

func (c *conn) idleMax() time.Duration {
	if !c.asked {
		return min(firstRequestMax, c.server.options.IdleMax)
	}
	return c.server.options.IdleMax
}

func (c *conn) quietMax() time.Duration {
	if c.streak < busyRequests {
		return min(quietSoon, c.server.options.IdleMax)
	}
	return min(quietAfter, c.server.options.IdleMax)
}

// readRequest reads the frame whose first byte is there, and handles it.
func (c *conn) readRequest() error {
	if c.armed == armedFrame {
		c.armed = armedNothing // that was for the frame before
	}
	size, err := c.frameSize()
	if err != nil {
		return err
	}
	total := wire.SizeBytes + size
	if total <= readBufferBytes {
		if err := c.need(total, total); err != nil {
			return err
		}
		frame, err := c.input.peek(total)
		if err != nil {
			return err
		}
		if err := c.handle(frame[wire.SizeBytes:]); err != nil {
			return err
		}
		c.input.discard(total)
		return nil
	}
	return c.readLargeRequest(size)
}

// readLargeRequest reads a frame that does not fit the read buffer, once there is memory for it. While
// there is none the connection is not read: that is the back-pressure.
func (c *conn) readLargeRequest(size int) error {
	budget := c.server.smallFrames
	if size > largeFrameBytes {
		budget = c.server.largeFrames
	}
	if err := budget.Acquire(c.server.drainCtx, int64(size)); err != nil {
		return err
	}
	defer budget.Release(int64(size))
	inFlightBytes := c.server.options.Metrics.InFlightBytes
	inFlightBytes.Add(float64(size))
	defer inFlightBytes.Sub(float64(size))

	if err := c.armTransfer(size); err != nil {
		return err
	}
	c.input.discard(wire.SizeBytes)
	frame := c.server.buffers.get(size)
	defer c.server.buffers.put(frame)
	if err := c.input.readFull(*frame); err != nil {
		return err
	}
	return c.handle(*frame)
}

// frameSize reads the first bytes of a frame, and checks them as soon as they can be.
func (c *conn) frameSize() (int, error) {
	if err := c.need(wire.SizeBytes, wire.SizeBytes); err != nil {
		return 0, err
	}
	head, err := c.input.peek(wire.SizeBytes)
	if err != nil {
		return 0, err
	}
	size, err := c.server.decoder.CheckSize(head)
	if err != nil {
		return 0, err
	}
	if err := c.need(wire.HeadBytes, wire.SizeBytes+size); err != nil {
		return 0, err
	}
	head, err = c.input.peek(wire.HeadBytes)
	if err != nil {
		return 0, err
	}
	return c.server.decoder.CheckHead(head)
}

// need puts a deadline on a frame that is not there yet. Most are, and cost no deadline.
func (c *conn) need(bytes, ofFrame int) error {
	if c.input.buffered() >= bytes || c.armed == armedFrame {
		return nil
	}
	return c.armTransfer(min(ofFrame, readBufferBytes))
}

func (c *conn) armTransfer(bytes int) error {
	c.armed = armedFrame
	return c.setReadDeadline(time.Now().Add(transferTimeout(bytes)))
}

var errPanic = errors.New("server: the handler panicked")

// handle decodes a frame, hands it to the handler, and queues the reply. It does not keep the frame.
func (c *conn) handle(frame []byte) error {
	s := c.server
	f := &inFlight{request: wire.Request{Session: &c.session, Received: time.Now()}}
	body, decoded, err := s.decoder.Header(frame, &f.request)
	if err != nil {
		return err
	}
	c.asked = true
	c.active.Store(int64(f.request.Received.Sub(s.started)))
	s.options.Metrics.BytesIn.Add(float64(wire.SizeBytes + len(frame)))
	if err := c.acquire(f, decoded+requestBytes); err != nil {
		return err
	}
	if err := s.decoder.Body(body, &f.request); err != nil {
		c.release(f)
		return err
	}
	if f.reply, err = c.callHandler(&f.request); err != nil {
		c.release(f)
		return err
	}
	c.enqueue(f)
	return nil
}

// enqueue hands a reply to the writer, which is started if none runs.
func (c *conn) enqueue(f *inFlight) {
	c.streak, c.resting = min(c.streak+1, busyRequests), false
	c.answers.Lock()
	c.answers.busy = true
	w := c.answers.writer
	if w == nil {
		w = c.server.writer(c)
		c.answers.writer = w
		c.writerDone.Add(1)
		go w.run()
	}
	c.waiting.Add(1) // so w does not end
	c.answers.Unlock()
	w.queue <- f
}

// becomeQuiet lets the writer end as soon as nothing waits for it.
func (c *conn) becomeQuiet() {
	c.streak, c.resting = 0, c.asked // before the first request the stack is as good as new
	c.answers.Lock()
	defer c.answers.Unlock()
	c.answers.busy = false
	if c.answers.writer != nil {
		select {
		case c.answers.writer.queue <- nil: // if it waits there, it looks again
		default: // it has enough to do, and looks after that
		}
	}
}

func (c *conn) acquire(f *inFlight, bytes int64) error {
	if err := c.decoded.Acquire(c.server.drainCtx, bytes); err != nil {
		return err
	}
	if bytes >= decodedBytesLarge {
		if err := c.server.decoded.Acquire(c.server.drainCtx, bytes); err != nil {
			c.decoded.Release(bytes)
			return err
		}
	}
	f.decoded = bytes
	return nil
}

func (c *conn) release(f *inFlight) {
	c.decoded.Release(f.decoded)
	if f.decoded >= decodedBytesLarge {
		c.server.decoded.Release(f.decoded)
	}
}

// callHandler keeps a panic from reaching the other connections.
func (c *conn) callHandler(r *wire.Request) (reply wire.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(r, p)
			err = errPanic
		}
	}()
	reply = c.server.options.Handler.Handle(c.ctx, r)
	if reply == nil {
		panic("BUG: the handler returned no reply")
	}
	return reply, nil
}

func (c *conn) panicked(r *wire.Request, p any) {
	m := c.server.options.Metrics
	m.Panics.Inc()
	m.API(r.Key).Errors.Inc()
	c.server.options.Logger.Error("panic in a request handler", "panic", p, "api", r.Key, "version", r.Version,
		"client", r.ClientID, "from", c.session.RemoteAddr, "stack", string(debug.Stack()))
}
