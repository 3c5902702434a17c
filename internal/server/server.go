package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"ottla/internal/metrics"
	"ottla/internal/wire"
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
	ConnectionsPerIPMax int
	IdleMax             time.Duration // connections.max.idle.ms
	InFlightBytesMax    int64         // frames being read or handled, on all connections together
	InFlightRequestsMax int           // requests of one connection that wait for their answer
	ResponseBytesMax    int64         // answers being built or sent, see wire.Session.Responses
	FrameBytesMax       int32         // socket.request.max.bytes

	Metrics *metrics.Server
	Logger  *slog.Logger
}

// Server is a running set of listeners and connections.
type Server struct{}

// Start binds all listeners and serves them. Either all listeners are bound or none is.
func Start(o Options) (*Server, error) { return nil, errors.New("server: not built yet") }

// Addrs are the bound addresses in the order of Options.Listeners.
func (s *Server) Addrs() []net.Addr { return nil }

// Shutdown stops accepting and reading, lets the requests in flight be answered, and closes everything.
// When ctx ends first the rest is cut off, and the error says so.
func (s *Server) Shutdown(ctx context.Context) error { return nil }
