package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

// script is a handler made of a function.
type script func(ctx context.Context, r *wire.Request) wire.Reply

func (script) APIs() []wire.API {
	return []wire.API{{Key: 0, Min: 3, Max: 12}, {Key: 1, Min: 4, Max: 17}, {Key: 3, Max: 12}, {Key: 18, Max: 4}, {Key: 60, Max: 1}}
}

func (s script) Handle(ctx context.Context, r *wire.Request) wire.Reply { return s(ctx, r) }

// answer is the empty answer to a request.
func answer(r *wire.Request) wire.Response {
	if r.Unsupported {
		return kmsg.NewPtrApiVersionsResponse()
	}
	return r.Body.ResponseKind()
}

// echo answers everything at once.
func echo(_ context.Context, r *wire.Request) wire.Reply { return wire.Ready(answer(r)) }

// later is a reply that waits for a channel.
type later struct {
	wire.Response
	err  error
	gate <-chan struct{}
}

func (l later) Wait(ctx context.Context) (wire.Response, error) {
	select {
	case <-l.gate:
		return l.Response, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l later) Done() bool {
	select {
	case <-l.gate:
		return true
	default:
		return false
	}
}

// pipes is a listener whose connections are pipes, so that time is virtual in a synctest bubble.
type pipes struct {
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{backlog: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.backlog:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// from is a connection that claims an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// dial connects a client from an address, 127.0.0.1 unless given.
func (p *pipes) dial(t testing.TB, ip ...string) *client {
	t.Helper()
	near, far := net.Pipe()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if len(ip) > 0 {
		addr.IP = net.ParseIP(ip[0])
	}
	p.backlog <- from{far, addr}
	return newClient(t, near)
}

// client speaks the protocol by hand.
type client struct {
	net.Conn
	t    testing.TB
	next int32
}

func newClient(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { _ = c.Close() })
	return &client{Conn: c, t: t}
}

// frame is one request; correlation ids count from 1.
func (c *client) frame(r kmsg.Request) []byte {
	c.next++
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, r, c.next)
}

func cluster() kmsg.Request { return kmsg.NewPtrDescribeClusterRequest() }

// request of a chosen size, more or less.
func produce(bytes int) kmsg.Request {
	p := kmsg.NewPtrProduceRequest()
	p.SetVersion(9)
	p.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, bytes)}}}}
	return p
}

func (c *client) send(requests ...kmsg.Request) {
	c.t.Helper()
	var out []byte
	for _, r := range requests {
		out = append(out, c.frame(r)...)
	}
	if _, err := c.Write(out); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one answer.
func (c *client) receive() (correlationID int32, body []byte, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head)-4)
	_, err = io.ReadFull(c, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

func (c *client) expect(correlationID int32) []byte {
	c.t.Helper()
	got, body, err := c.receive()
	if err != nil || got != correlationID {
		c.t.Fatalf("got answer %d, %v, want %d", got, err, correlationID)
	}
	return body
}

func (c *client) expectClosed() {
	c.t.Helper()
	if n, _, err := c.receive(); err == nil {
		c.t.Fatalf("got answer %d, want the connection closed", n)
	} else if errors.Is(err, context.DeadlineExceeded) {
		c.t.Fatal("the connection is still open")
	}
}

// logs gathers the log.
type logs struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

type fixture struct {
	*Server
	pipes   *pipes
	metrics *metrics.Server
	logs    *logs
}

// start runs a server on pipes, or on options.Listeners if given. It stops with the test.
func start(t testing.TB, handler wire.Handler, options Options) *fixture {
	t.Helper()
	f := &fixture{pipes: newPipes(), metrics: metrics.New().Server, logs: &logs{}}
	options.Handler = handler
	options.Metrics = f.metrics
	options.Logger = slog.New(slog.NewTextHandler(f.logs, nil))
	if options.Listeners == nil {
		options.Listeners = []Listener{{Name: "pipes", Bound: f.pipes}}
	}
	var err error
	if f.Server, err = Start(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = f.Shutdown(ctx)
	})
	return f
}

func overTCP() Options { return Options{Listeners: []Listener{{Name: "tcp", Addr: "127.0.0.1:0"}}} }

func (f *fixture) dialTCP(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", f.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c)
}

// bubble runs a test in virtual time, with a server on pipes.
func bubble(t *testing.T, handler script, options Options, test func(t *testing.T, f *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, start(t, handler, options))
	})
}

func value(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		return -1
	}
	if out.Counter != nil {
		return out.Counter.GetValue()
	}
	return out.Gauge.GetValue()
}

func (f *fixture) expectOpen(t testing.TB, want int) {
	t.Helper()
	f.Server.mu.Lock()
	defer f.Server.mu.Unlock()
	if got := len(f.Server.mu.connections); got != want {
		t.Errorf("%d connections are open, want %d", got, want)
	}
	if want == 0 && len(f.Server.mu.perIP) != 0 {
		t.Errorf("%d addresses are still counted", len(f.Server.mu.perIP))
	}
}

func wantMetric(t testing.TB, name string, m prometheus.Metric, want float64) {
	t.Helper()
	if got := value(m); got != want {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

func since(start time.Time) time.Duration { return time.Since(start).Round(time.Second) }
