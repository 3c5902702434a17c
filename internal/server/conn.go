package server

import (
	"bufio"
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

// conn is one connection: a reader, which is the goroutine of serve, and a writer, started with the first
// request. The reader hands every request to the handler in the order of arrival and queues the reply; the
// writer waits for the replies in that order and sends the answers.
//
// Invariants:
//   - the reader keeps reading while the writer waits, up to the bounds, and so notices a client that left:
//     it ends ctx, and with it a long poll;
//   - the reader never gives up on sending to the queue, and the writer takes from it until it is closed,
//     dead connection or not: so every reply is waited for exactly once;
//   - the writer waits for no budget that a reader holds.
type conn struct {
	server  *Server
	nc      net.Conn
	session wire.Session
	ctx     context.Context // of Handle and Wait; ends with the connection
	cancel  context.CancelFunc

	queue      chan *inFlight // made with the first request
	writerDone sync.WaitGroup
	decoded    *wire.Budget // of this connection's replies that wait
	waiting    atomic.Int32 // replies not yet answered
	active     atomic.Int64 // when the last request came or the last answer went, in Unix nanoseconds

	reason atomic.Int32 // metrics.CloseReason + 1 once the connection has ended

	deadline struct {
		sync.Mutex
		stopped bool // no deadline may be set any more: the reader is to return
	}
	armed    armed // of the reader
	requests int   // of the reader
}

// armed says what the read deadline in force is for.
type armed uint8

const (
	armedNothing armed = iota
	armedSilence       // between frames
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

// serve is the life of a connection.
func (c *conn) serve() {
	m := c.server.options.Metrics
	m.ConnectionsAccepted.Inc()
	m.ConnectionsCurrent.Inc()
	reason, err := c.read()
	if err != nil {
		c.server.complaints.warn(c.server.options.Logger, "connection closed",
			"reason", reason.String(), "from", c.session.RemoteAddr, "listener", c.session.Listener, "error", err)
	}
	// Only when the server stops is answered what was asked before. In every other case nobody would notice
	// any more that the client has left, and a long poll could keep the connection for as long as it likes.
	if reason != metrics.CloseShutdown {
		c.end(reason)
	}
	if c.queue != nil {
		close(c.queue)
		c.writerDone.Wait()
	}
	c.end(reason)
	c.server.unregister(c)
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

// read serves requests until the connection is to end. The error is for the log; silent ends have none.
func (c *conn) read() (metrics.CloseReason, error) {
	r := bufio.NewReaderSize(c.nc, readBufferBytes)
	for {
		if c.server.drainCtx.Err() != nil {
			return metrics.CloseShutdown, nil
		}
		if err := c.awaitFrame(r); err != nil {
			return c.silentEnd(err)
		}
		err := c.readRequest(r)
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

// awaitFrame returns when the first byte of a frame is there. No timer is touched for a request: the
// deadline stays where it was set until it fires, and only then is looked how long the connection was silent.
func (c *conn) awaitFrame(r *bufio.Reader) error {
	for r.Buffered() == 0 {
		if c.armed != armedSilence {
			if err := c.setReadDeadline(time.Now().Add(c.idleMax())); err != nil {
				return err
			}
			c.armed = armedSilence
		}
		_, err := r.Peek(1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.server.drainCtx.Err() != nil {
			return err
		}
		now := time.Now()
		silentSince := c.server.started.Add(time.Duration(c.active.Load()))
		if c.waiting.Load() > 0 {
			silentSince = now // it waits for us
		}
		if now.Sub(silentSince) >= c.idleMax() {
			return err
		}
		if err := c.setReadDeadline(silentSince.Add(c.idleMax())); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) idleMax() time.Duration {
	if c.requests == 0 {
		return min(firstRequestMax, c.server.options.IdleMax)
	}
	return c.server.options.IdleMax
}

// readRequest reads the frame whose first byte is there, and handles it.
func (c *conn) readRequest(r *bufio.Reader) error {
	if c.armed == armedFrame {
		c.armed = armedNothing // that was for the frame before
	}
	size, err := c.frameSize(r)
	if err != nil {
		return err
	}
	total := wire.SizeBytes + size
	if total <= r.Size() {
		if err := c.need(r, total, total); err != nil {
			return err
		}
		frame, err := r.Peek(total)
		if err != nil {
			return err
		}
		if err := c.handle(frame[wire.SizeBytes:]); err != nil {
			return err
		}
		_, err = r.Discard(total)
		return err
	}
	return c.readLargeRequest(r, size)
}

// readLargeRequest reads a frame that does not fit the read buffer, once there is memory for it. While
// there is none the connection is not read: that is the back-pressure.
func (c *conn) readLargeRequest(r *bufio.Reader, size int) error {
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
	if _, err := r.Discard(wire.SizeBytes); err != nil {
		return err
	}
	frame := c.server.buffers.get(size)
	defer c.server.buffers.put(frame)
	if _, err := io.ReadFull(r, *frame); err != nil {
		return err
	}
	return c.handle(*frame)
}

// frameSize reads the first bytes of a frame, and checks them as soon as they can be.
func (c *conn) frameSize(r *bufio.Reader) (int, error) {
	if err := c.need(r, wire.SizeBytes, wire.SizeBytes); err != nil {
		return 0, err
	}
	head, err := r.Peek(wire.SizeBytes)
	if err != nil {
		return 0, err
	}
	size, err := c.server.decoder.CheckSize(head)
	if err != nil {
		return 0, err
	}
	if err := c.need(r, wire.HeadBytes, wire.SizeBytes+size); err != nil {
		return 0, err
	}
	head, err = r.Peek(wire.HeadBytes)
	if err != nil {
		return 0, err
	}
	return c.server.decoder.CheckHead(head)
}

// need puts a deadline on a frame that is not there yet. Most are, and cost no deadline.
func (c *conn) need(r *bufio.Reader, bytes, ofFrame int) error {
	if r.Buffered() >= bytes || c.armed == armedFrame {
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
	c.requests++
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
	if c.queue == nil {
		c.queue = make(chan *inFlight, s.options.InFlightRequestsMax)
		c.writerDone.Go(func() { (&writer{conn: c}).run() })
	}
	c.waiting.Add(1)
	c.queue <- f
	return nil
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
