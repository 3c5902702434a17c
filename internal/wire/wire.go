// Package wire owns what the message codec (kmsg) leaves out of Kafka's protocol: frames and their limits
// per API, request and response headers, a check of every body before it is decoded, and the types
// between the network and a handler: Session, Request, Reply.
//
// It must not know what an API means: no handler, no topic, no error code. It does no I/O and starts no
// goroutine.
//
// # Who may keep what
//
// The byte slices inside Request.Body (record batches, above all) alias the frame, so that a produce
// request is not copied. A frame is valid until Handler.Handle returns and not longer: a handler copies or
// uses up what it needs by then, and its Reply never refers to the frame. Strings of the body and the
// Request itself are copies and may be kept.
package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Session is what is known of one connection. One goroutine at a time, the connection's reader, calls
// Handle with it: fields that a handler sets (the client's software) are read and written only inside
// Handle.
type Session struct {
	ID         uint64 // unique in the process
	RemoteAddr netip.AddrPort
	Listener   string // the name of the listener that accepted it

	ClientSoftwareName    string // as ApiVersions told, empty before
	ClientSoftwareVersion string

	// Draining is closed when the server stops: a long poll answers at once with what it has. Nil means never.
	Draining <-chan struct{}
	// Responses bounds the memory of answers being built or sent on all connections together. A reply that
	// is about to build a big answer acquires its size and gives it back in its response's Release. Nil in
	// tests that do not care.
	Responses *Budget

	clientID string // of the last request
}

// Request is one decoded request.
type Request struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // empty when the client sent null
	// Body is nil when Unsupported.
	Body kmsg.Request
	// Unsupported marks an ApiVersions request of a version that is not served. It is the only request of
	// such a version that reaches a handler: the answer is version 0 of the response, which tells the ranges.
	Unsupported bool
	Session     *Session
	Received    time.Time // when its last byte was there
}

// Response is an answer whose version is set already; every kmsg.Response is one.
type Response interface {
	AppendTo(dst []byte) []byte
	Key() int16
	IsFlexible() bool
}

// SegmentedResponse is a Response that can also give its body as a list of buffers, so that big payloads
// are not copied: AppendBuffers appends the same bytes as AppendTo, in pieces. The pieces must stay
// untouched until they are sent, see Releaser.
type SegmentedResponse interface {
	Response
	AppendBuffers(dst net.Buffers) net.Buffers
}

// Releaser is a Response that holds something, a pooled buffer or a share of a Budget. Release is called
// exactly once, when the answer was sent or will never be.
type Releaser interface{ Release() }

// Reply is the second phase of a request: Handle has put the request in its place among the others, Wait
// may wait (for a disk, for data, for time). The server calls Wait exactly once for every reply, in the
// order of the requests, also when the connection is dead already; ctx has ended then, and Wait must return
// soon.
type Reply interface {
	// Wait returns the answer. A nil Response with a nil error means that the client expects none; any
	// error closes the connection, ErrCloseConnection and the context's own without a complaint in the log.
	Wait(ctx context.Context) (Response, error)
}

// Poller is a Reply that can tell whether Wait would return at once. The server sends what it has
// gathered before it waits for a reply that is not Done, and for every reply that is not a Poller: so Poller is
// what lets many answers leave in one packet.
type Poller interface{ Done() bool }

// ErrCloseConnection is returned by Reply.Wait to end the connection without an answer.
var ErrCloseConnection = errors.New("wire: close the connection")

type ready struct{ response Response }

func (r ready) Wait(context.Context) (Response, error) { return r.response, nil }

func (ready) Done() bool { return true }

// Ready is the reply whose answer is there already; a nil Response means that the client expects none.
func Ready(r Response) Reply { return ready{r} }

type closing struct{}

func (closing) Wait(context.Context) (Response, error) { return nil, ErrCloseConnection }

func (closing) Done() bool { return true }

// Close is the reply that ends the connection after the answers before it are sent.
func Close() Reply { return closing{} }

// API is one API that a handler serves.
type API struct {
	Key      int16
	Min, Max int16 // versions
	// FrameBytesMax is the largest frame it accepts; 0 means DefaultFrameBytesMax.
	FrameBytesMax int32
}

// Handler serves requests. Handle is called for one request of a connection at a time, in the order of
// arrival, and never waits for a disk or for another client: that is what the Reply is for.
type Handler interface {
	APIs() []API
	Handle(ctx context.Context, r *Request) Reply
}
