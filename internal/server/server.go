package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

// Defaults of the limits in Options.
const (
	ConnectionsMaxDefault      = 10_000
	IdleMaxDefault             = 10 * time.Minute
	InFlightBytesMaxDefault    = 128 << 20
	InFlightRequestsMaxDefault = 256
	ResponseBytesMaxDefault    = 256 << 20
	FrameBytesMaxDefault       = 100 << 20
)

// Listener is an address to listen on.
type Listener struct {
	Name string
	Addr string // HOST:PORT
	// Bound is a listener that is bound already; Addr is ignored then.
	Bound net.Listener
}

// Options configure a Server. A limit that is zero takes its default.
type Options struct {
	Listeners []Listener
	Handler   wire.Handler

	ConnectionsMax      int
	ConnectionsPerIPMax int           // default: no limit of its own
	IdleMax             time.Duration // connections.max.idle.ms
	InFlightBytesMax    int64         // frames being read or handled, on all connections together
	InFlightRequestsMax int           // requests of one connection that wait for their answer
	ResponseBytesMax    int64         // answers being built or sent, see wire.Session.Responses
	FrameBytesMax       int32         // socket.request.max.bytes

	Metrics *metrics.Server
	Logger  *slog.Logger
}

func (o *Options) setDefaults() {
	if o.ConnectionsMax <= 0 {
		o.ConnectionsMax = ConnectionsMaxDefault
	}
	if o.ConnectionsPerIPMax <= 0 {
		o.ConnectionsPerIPMax = math.MaxInt
	}
	if o.IdleMax <= 0 {
		o.IdleMax = IdleMaxDefault
	}
	if o.InFlightBytesMax <= 0 {
		o.InFlightBytesMax = InFlightBytesMaxDefault
	}
	if o.InFlightRequestsMax <= 0 {
		o.InFlightRequestsMax = InFlightRequestsMaxDefault
	}
	if o.ResponseBytesMax <= 0 {
		o.ResponseBytesMax = ResponseBytesMaxDefault
	}
	if o.FrameBytesMax <= 0 {
		o.FrameBytesMax = FrameBytesMaxDefault
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Server is a running set of listeners and connections.
//
// What bounds its memory, whatever clients do: the number of connections; for each connection one read
// buffer, one frame, one answer, and connectionDecodedBytesMax of requests that wait for their answer; on all
// connections together InFlightBytesMax of frames that do not fit a read buffer, decodedBytesMax of large
// decoded requests, and ResponseBytesMax of answers, as far as handlers account for them.
type Server struct {
	options   Options
	decoder   *wire.Decoder
	listeners []net.Listener
	buffers   buffers
	writers   sync.Pool // *writer that have ended

	// Frames wait for memory in two lines, so that a few huge ones, which take long to arrive, cannot
	// stop the small ones.
	smallFrames, largeFrames *wire.Budget
	decoded                  *wire.Budget
	responses                *wire.Budget

	rejections, acceptFailures, complaints quietLog

	// ctx ends when whatever still runs is cut off, drainCtx already when the server begins to stop.
	ctx      context.Context
	cancel   context.CancelFunc
	drainCtx context.Context
	drain    context.CancelFunc

	started  time.Time // what connections count their time from
	sessions atomic.Uint64
	running  sync.WaitGroup // accept loops and connections
	mu       struct {
		sync.Mutex
		draining    bool
		connections map[*conn]struct{}
		perIP       map[netip.Addr]int
	}
}

// Start binds all listeners and serves them. Either all listeners are bound or none is.
func Start(o Options) (*Server, error) {
	o.setDefaults()
	decoder, err := wire.NewDecoder(o.Handler.APIs(), o.FrameBytesMax)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:     o,
		decoder:     decoder,
		started:     time.Now(),
		smallFrames: wire.NewBudget(o.InFlightBytesMax / 2),
		largeFrames: wire.NewBudget(o.InFlightBytesMax / 2),
		decoded:     wire.NewBudget(decodedBytesMax),
		responses:   wire.NewBudget(o.ResponseBytesMax),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.drainCtx, s.drain = context.WithCancel(s.ctx)
	s.mu.connections = map[*conn]struct{}{}
	s.mu.perIP = map[netip.Addr]int{}
	for _, l := range o.Listeners {
		bound, err := bind(l)
		if err != nil {
			s.closeListeners()
			s.cancel()
			return nil, err
		}
		s.listeners = append(s.listeners, bound)
	}
	for i, l := range s.listeners {
		s.running.Go(func() { s.accept(l, o.Listeners[i].Name) })
	}
	return s, nil
}

func bind(l Listener) (net.Listener, error) {
	if l.Bound != nil {
		return l.Bound, nil
	}
	// A peer that vanished without a word is noticed within two minutes, long before connections.max.idle.ms.
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4,
	}}
	bound, err := config.Listen(context.Background(), "tcp", l.Addr)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return bound, nil
}

// Addrs are the bound addresses in the order of Options.Listeners.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Shutdown stops accepting and reading, lets the requests in flight be answered, and closes everything.
// When ctx ends first the rest is cut off, and the error says so. Nothing of the server runs when it returns,
// unless a handler ignores the end of its context for longer than cutOffGrace.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.mu.draining = true // no connection is added from here on
	open := make([]*conn, 0, len(s.mu.connections))
	for c := range s.mu.connections {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.closeListeners()
	s.drain()
	for _, c := range open {
		c.stopReading()
	}

	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	cut := 0
	for _, c := range open {
		if c.end(metrics.CloseShutdown) {
			cut++
		}
	}
	s.cancel()
	grace := time.NewTimer(cutOffGrace)
	defer grace.Stop()
	select {
	case <-done:
		return fmt.Errorf("server: %d connections with requests in flight were cut off: %w", cut, context.Cause(ctx))
	case <-grace.C:
		return fmt.Errorf("server: requests did not end %s after their connections were cut off: %w", cutOffGrace, context.Cause(ctx))
	}
}

// cutOffGrace is how long Shutdown waits for handlers whose context has ended.
const cutOffGrace = 5 * time.Second

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close() // nothing is lost when a listener does not close cleanly
	}
}

// The pause after a failed accept doubles from the first to the second. Accepts fail when files run out, and
// go on failing until connections close.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

func (s *Server) accept(l net.Listener, name string) {
	pause := acceptPauseMin
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			s.admit(nc, name)
		case errors.Is(err, net.ErrClosed) || s.drainCtx.Err() != nil:
			return
		default:
			s.options.Metrics.AcceptErrors.Inc()
			s.acceptFailures.warn(s.options.Logger, "cannot accept connections", "listener", name, "error", err)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-s.drainCtx.Done():
				timer.Stop()
				return
			}
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

// admit starts a connection or, beyond a limit, closes it at once: that costs nothing lasting, not even a
// socket in TIME_WAIT.
func (s *Server) admit(nc net.Conn, listener string) {
	m := s.options.Metrics
	c := newConn(s, nc, listener)
	over := s.register(c)
	switch over {
	case "":
		return
	case overTotal:
		m.ConnectionsRejectedTotal.Inc()
	case overPerIP:
		m.ConnectionsRejectedPerIP.Inc()
	}
	c.cancel()
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
	if over != overDraining {
		s.rejections.warn(s.options.Logger, "connection refused: too many", "limit", over, "from", c.session.RemoteAddr)
	}
}

// Why a connection is not admitted.
const (
	overTotal    = "total"
	overPerIP    = "per address"
	overDraining = "draining"
)

// register counts a connection and starts it, or says which limit is in the way. Both under one lock, so
// that Shutdown knows every connection that runs.
func (s *Server) register(c *conn) (over string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip := c.session.RemoteAddr.Addr()
	switch {
	case s.mu.draining:
		return overDraining
	case len(s.mu.connections) >= s.options.ConnectionsMax:
		return overTotal
	case s.mu.perIP[ip] >= s.options.ConnectionsPerIPMax:
		return overPerIP
	}
	s.mu.connections[c] = struct{}{}
	s.mu.perIP[ip]++
	s.running.Add(1)
	go c.serve()
	return ""
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.connections, c)
	ip := c.session.RemoteAddr.Addr()
	if s.mu.perIP[ip]--; s.mu.perIP[ip] == 0 {
		delete(s.mu.perIP, ip)
	}
}
