package server

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

const (
	// flushBytes is how much is gathered before it is sent although more is ready.
	flushBytes = 64 << 10
	// copyBytesMax is the largest body in segments that is copied to go out with its neighbours.
	copyBytesMax = 16 << 10
	// answerBytes is the capacity an output buffer starts with.
	answerBytes = 8 << 10
)

// writer sends the answers of one connection, in the order of the requests. It gathers them while the next one is there
// already, so that many leave in one packet, and holds a buffer only while it has something to send. One that has ended
// serves another connection later.
type writer struct {
	conn     *conn
	queue    chan *inFlight // nil in it: look whether the connection is busy
	out      *[]byte        // gathered, nil between bursts
	segments net.Buffers    // scratch: the body that follows out
	vector   net.Buffers    // scratch: what writev gets and consumes
}

// writer returns one for a connection, to be run.
func (s *Server) writer(c *conn) *writer {
	w, ok := s.writers.Get().(*writer)
	if !ok {
		w = &writer{queue: make(chan *inFlight, s.options.InFlightRequestsMax)}
	}
	w.conn = c
	return w
}

// run takes replies until none waits and the connection is not busy, also after the connection has ended.
func (w *writer) run() {
	for f := w.next(); f != nil; f = w.next() {
		w.answer(f)
	}
	c := w.conn
	w.conn = nil
	c.server.writers.Put(w)
	c.writerDone.Done()
}

// next returns the reply to wait for, or nil when the writer has ended: everything is sent, and the connection knows it no more.
func (w *writer) next() *inFlight {
	for {
		var f *inFlight
		select {
		case f = <-w.queue:
		default:
			w.flush()
			w.putBuffer()
			if w.ends() {
				return nil
			}
			f = <-w.queue
		}
		if f != nil {
			return f
		}
	}
}

// ends ends the writer if there is nothing to stay for. Requests and nils come under the same lock, so none is left behind.
func (w *writer) ends() bool {
	c := w.conn
	c.answers.Lock()
	defer c.answers.Unlock()
	if c.answers.busy || c.waiting.Load() > 0 || len(w.queue) > 0 {
		return false
	}
	c.answers.writer = nil
	return true
}

// answer waits for one reply and gathers its answer.
func (w *writer) answer(f *inFlight) {
	c := w.conn
	if w.out != nil {
		done, err := w.done(f)
		if !done {
			w.flush()
		}
		if err != nil {
			c.end(metrics.ClosePanic)
		}
	}
	response, err := w.wait(f)
	if response != nil {
		err = errors.Join(err, w.encode(f, response))
	}
	c.release(f)
	now := time.Now()
	c.active.Store(int64(now.Sub(c.server.started)))
	c.waiting.Add(-1)
	if err != nil {
		w.fail(f, err)
		return
	}
	c.server.options.Metrics.API(f.request.Key).Observe(now.Sub(f.request.Received))
}

// fail ends the connection after the answers before this one are sent: whoever reads them knows where it
// broke off.
func (w *writer) fail(f *inFlight, err error) {
	c := w.conn
	w.flush()
	reason := metrics.CloseHandler
	if errors.Is(err, errPanic) {
		reason = metrics.ClosePanic
	}
	if !c.end(reason) {
		return // it had ended before, the error follows from that
	}
	if reason == metrics.ClosePanic {
		return
	}
	c.server.options.Metrics.API(f.request.Key).Errors.Inc()
	if !errors.Is(err, wire.ErrCloseConnection) && !errors.Is(err, context.Canceled) {
		c.server.complaints.warn(c.server.options.Logger, "connection closed: a request failed", "api", f.request.Key,
			"version", f.request.Version, "from", c.session.RemoteAddr, "error", err)
	}
}

// guard is deferred around every call of a handler's code: a panic ends the connection, not the process.
func (w *writer) guard(f *inFlight, err *error) {
	if p := recover(); p != nil {
		w.conn.panicked(&f.request, p)
		*err = errPanic
	}
}

// done reports whether the reply is there.
func (w *writer) done(f *inFlight) (done bool, err error) {
	defer w.guard(f, &err)
	p, ok := f.reply.(wire.Poller)
	return ok && p.Done(), nil
}

func (w *writer) wait(f *inFlight) (response wire.Response, err error) {
	defer w.guard(f, &err)
	return f.reply.Wait(w.conn.ctx)
}

// encode gathers an answer; a large body in segments is sent at once, uncopied. The response is released
// when its bytes are copied or gone.
func (w *writer) encode(f *inFlight, response wire.Response) (err error) {
	defer w.guard(f, &err)
	if r, ok := response.(wire.Releaser); ok {
		defer r.Release()
	}
	if w.conn.ended() {
		return nil
	}
	if w.out == nil {
		w.out = w.conn.server.buffers.get(answerBytes)
		*w.out = (*w.out)[:0]
	}
	segmented, ok := response.(wire.SegmentedResponse)
	if !ok {
		*w.out, err = wire.AppendResponse(*w.out, f.request.CorrelationID, response)
		if len(*w.out) >= flushBytes {
			w.flush()
		}
		return err
	}
	*w.out, w.segments, err = wire.AppendSegmented(*w.out, w.segments[:0], f.request.CorrelationID, segmented)
	if err != nil {
		return err
	}
	total := 0
	for _, s := range w.segments {
		total += len(s)
	}
	if total <= copyBytesMax {
		for _, s := range w.segments {
			*w.out = append(*w.out, s...)
		}
		clear(w.segments)
		w.segments = w.segments[:0]
	}
	if len(w.segments) > 0 || len(*w.out) >= flushBytes {
		w.flush()
	}
	return nil
}

// flush sends what is gathered: out, and the segments after it.
func (w *writer) flush() {
	if w.out == nil || len(*w.out) == 0 {
		return
	}
	c := w.conn
	total := len(*w.out)
	for _, s := range w.segments {
		total += len(s)
	}
	n, err := w.send(total)
	c.server.options.Metrics.BytesOut.Add(float64(n))
	clear(w.segments)
	w.segments = w.segments[:0]
	*w.out = (*w.out)[:0]
	if cap(*w.out) > 2*flushBytes {
		w.putBuffer()
	}
	if err == nil {
		return
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(metrics.CloseNetwork)
		return
	}
	if c.end(metrics.CloseSlowReader) {
		c.server.complaints.warn(c.server.options.Logger, "connection closed: the client does not read its answers",
			"from", c.session.RemoteAddr, "error", err)
	}
}

func (w *writer) send(total int) (int64, error) {
	c := w.conn
	if c.ended() {
		return 0, nil
	}
	// The deadline is moved only when it would come too early, and then further than needed.
	now, timeout := time.Now(), transferTimeout(total)
	if c.writeDeadline.Before(now.Add(timeout)) {
		c.writeDeadline = now.Add(timeout + timeout/4)
		if err := c.nc.SetWriteDeadline(c.writeDeadline); err != nil {
			return 0, err
		}
	}
	if len(w.segments) == 0 {
		n, err := c.nc.Write(*w.out)
		return int64(n), err
	}
	w.vector = append(append(w.vector[:0], *w.out), w.segments...)
	vector := w.vector // WriteTo consumes it
	n, err := vector.WriteTo(c.nc)
	clear(w.vector)
	return n, err
}

func (w *writer) putBuffer() {
	if w.out != nil {
		w.conn.server.buffers.put(w.out)
		w.out = nil
	}
}
