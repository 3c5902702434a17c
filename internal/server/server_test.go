package server

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		return waitFunc(func(ctx context.Context) (wire.Response, error) {
			if r.CorrelationID == 1 { // as an append that waits for its fsync
				timer := time.NewTimer(3 * time.Second)
				<-timer.C
				return answer(r), ctx.Err()
			}
			<-r.Session.Draining // as a long poll
			return answer(r), ctx.Err()
		})
	}
	bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
		idle, c := f.pipes.dial(t), f.pipes.dial(t)
		c.send(cluster(), cluster())
		half := c.frame(cluster())
		_, _ = c.Write(half[:7])
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		done := make(chan error)
		go func() { done <- f.Shutdown(ctx) }()
		idle.expectClosed()
		c.expect(1)
		c.expect(2)
		c.expectClosed()
		if err := <-done; err != nil || since(begin) != 3*time.Second {
			t.Errorf("got %v after %s", err, since(begin))
		}
		f.expectOpen(t, 0)
		if _, err := f.pipes.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is still open: %v", err)
		}
	})
}

func TestShutdownCutsOffAtItsDeadline(t *testing.T) {
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		return later{gate: make(chan struct{})}
	}
	bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
		for range 3 {
			f.pipes.dial(t).send(cluster())
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		err := f.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 connections") || since(begin) != 10*time.Second {
			t.Errorf("got %v after %s", err, since(begin))
		}
		f.expectOpen(t, 0)
	})
}

func TestShutdownDoesNotWaitForAHandlerThatHangs(t *testing.T) {
	release := make(chan struct{})
	handler := func(context.Context, *wire.Request) wire.Reply { <-release; return wire.Ready(nil) }
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		f := start(t, script(handler), Options{})
		f.pipes.dial(t).send(cluster())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := f.Shutdown(ctx); err == nil || since(begin) != time.Second+cutOffGrace {
			t.Errorf("got %v after %s", err, since(begin))
		}
		close(release)
	})
}

func TestShutdownWakesReadersThatWaitForMemory(t *testing.T) {
	release := make(chan struct{})
	handler := func(_ context.Context, r *wire.Request) wire.Reply { <-release; return wire.Ready(answer(r)) }
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		f := start(t, script(handler), Options{InFlightBytesMax: 100 << 10})
		var clients []*client
		for range 3 {
			c := f.pipes.dial(t)
			clients = append(clients, c)
			go func() { _, _ = c.Write(c.frame(produce(60 << 10))) }()
			synctest.Wait()
		}
		time.AfterFunc(time.Second, func() { close(release) })
		go clients[0].expect(1)
		if err := f.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if used := f.smallFrames.Used(); used != 0 {
			t.Errorf("%d bytes are still accounted for", used)
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	bubble(t, echo, Options{ConnectionsMax: 5, ConnectionsPerIPMax: 2}, func(t *testing.T, f *fixture) {
		a, _ := f.pipes.dial(t, "10.0.0.1"), f.pipes.dial(t, "10.0.0.1")
		f.pipes.dial(t, "10.0.0.1").expectClosed()
		f.pipes.dial(t, "::ffff:10.0.0.1").expectClosed()
		f.pipes.dial(t, "10.0.0.2")
		f.pipes.dial(t, "2001:db8::1")
		f.pipes.dial(t, "2001:db8::2")
		f.pipes.dial(t, "10.0.0.3").expectClosed()
		synctest.Wait()
		f.expectOpen(t, 5)
		wantMetric(t, "per IP", f.metrics.ConnectionsRejectedPerIP, 2)
		wantMetric(t, "total", f.metrics.ConnectionsRejectedTotal, 1)
		wantMetric(t, "accepted", f.metrics.ConnectionsAccepted, 5)
		if n := strings.Count(f.logs.text(), "connection refused"); n != 1 {
			t.Errorf("%d lines in the log, want 1: %s", n, f.logs.text())
		}
		// A place that is free again can be taken.
		_ = a.Close()
		synctest.Wait()
		b := f.pipes.dial(t, "10.0.0.1")
		b.send(cluster())
		b.expect(1)
	})
}

// failing is a listener whose accepts fail a few times, as they do without free file descriptors.
type failing struct {
	*pipes
	left atomic.Int32
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return l.pipes.Accept()
}

func TestAcceptGoesOnAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failing{pipes: newPipes()}
		l.left.Store(12)
		f := start(t, script(echo), Options{Listeners: []Listener{{Name: "failing", Bound: l}}})
		c := l.dial(t)
		c.send(cluster())
		c.expect(1)
		wantMetric(t, "accept errors", f.metrics.AcceptErrors, 12)
		if n := strings.Count(f.logs.text(), "too many open files"); n != 1 {
			t.Errorf("%d lines in the log, want 1", n)
		}
	})
}

func TestStartBindsAllOrNothing(t *testing.T) {
	first := newPipes()
	_, err := Start(Options{
		Handler: script(echo), Metrics: metrics.New().Server,
		Listeners: []Listener{{Name: "a", Bound: first}, {Name: "b", Addr: "127.0.0.1:nonsense"}},
	})
	if err == nil || !strings.Contains(err.Error(), "listener b") {
		t.Fatalf("got %v", err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("the first listener is still open")
	}
}

// TestOrderOverTCP pipelines over real sockets, with replies that complete in any order and answers of any
// size.
func TestOrderOverTCP(t *testing.T) {
	const clients, requests = 8, 2000
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		gate := make(chan struct{})
		if rand.IntN(3) == 0 {
			close(gate)
		} else {
			go func() {
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				close(gate)
			}()
		}
		if rand.IntN(4) == 0 {
			return later{Response: &pieces{response: answer(r), bytes: rand.IntN(100 << 10)}, gate: gate}
		}
		return later{Response: answer(r), gate: gate}
	}
	f := start(t, script(handler), overTCP())
	var wg sync.WaitGroup
	for range clients {
		c := f.dialTCP(t)
		wg.Go(func() {
			go func() {
				for range requests {
					request := cluster()
					if rand.IntN(10) == 0 {
						request = produce(rand.IntN(20 << 10))
					}
					if _, err := c.Write(c.frame(request)); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			for i := range int32(requests) {
				if n, _, err := c.receive(); err != nil || n != i+1 {
					t.Errorf("got answer %d, %v, want %d", n, err, i+1)
					return
				}
			}
		})
	}
	wg.Wait()
	wantMetric(t, "in-flight bytes", f.metrics.InFlightBytes, 0)
}

// TestFloodOfConnections: far more connections than allowed come at once; those within the limit are served.
func TestFloodOfConnections(t *testing.T) {
	const allowed, attempts = 20, 400
	options := overTCP()
	options.ConnectionsMax = allowed
	f := start(t, script(echo), options)
	var served, refused atomic.Int32
	var wg, tried sync.WaitGroup
	tried.Add(attempts)
	for range attempts {
		wg.Go(func() {
			defer tried.Wait() // whoever is served stays
			defer tried.Done()
			nc, err := net.Dial("tcp", f.Addrs()[0].String())
			if err != nil { // refused as early as that
				refused.Add(1)
				return
			}
			c := newClient(t, nc)
			_, _ = c.Write(c.frame(cluster()))
			if _, _, err := c.receive(); err == nil {
				served.Add(1)
			} else {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if served.Load() != allowed || refused.Load() != attempts-allowed {
		t.Errorf("%d were served, %d refused", served.Load(), refused.Load())
	}
	wantMetric(t, "refused", f.metrics.ConnectionsRejectedTotal, attempts-allowed)
}

// TestHalfOpenAttempts: connections that never ask anything, come one after the other and leave nothing behind.
func TestHalfOpenAttempts(t *testing.T) {
	attempts := 100_000
	if testing.Short() {
		attempts = 2_000
	}
	const standing = 50 // connections open at any time
	f := start(t, script(echo), overTCP())
	whole := (&client{}).frame(produce(5000))
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	var open []net.Conn
	var early uint64
	for i := range attempts {
		c, err := net.Dial("tcp", f.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: the ports would run out before we are through
		_, _ = c.Write(whole[:i%len(whole)])
		if open = append(open, c); len(open) > standing {
			_ = open[0].Close()
			open = open[1:]
		}
		if i == attempts/10 {
			early = heap()
		}
	}
	if late := heap(); late > early+4<<20 {
		t.Errorf("%d attempts took %d bytes, %d took %d", attempts/10, early, attempts, late)
	}
	for _, c := range open {
		_ = c.Close()
	}
	c := f.dialTCP(t)
	c.send(cluster())
	c.expect(1)
	_ = c.Close()
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	f.expectOpen(t, 0)
	wantMetric(t, "accepted", f.metrics.ConnectionsAccepted, float64(attempts+1))
	wantMetric(t, "in-flight bytes", f.metrics.InFlightBytes, 0)
}

// FuzzConnection throws a stream of bytes at a connection: whatever it is, the server answers or closes, and
// goes on serving others.
func FuzzConnection(f *testing.F) {
	c := &client{}
	f.Add(append(c.frame(cluster()), c.frame(produce(10))...))
	f.Add(append(c.frame(produce(9000)), "GET / HTTP/1.1"...))
	f.Add([]byte{0, 0, 0, 1, 0})
	s := start(f, script(echo), Options{ConnectionsMax: 100})
	f.Fuzz(func(t *testing.T, stream []byte) {
		c := s.pipes.dial(t)
		go func() {
			_, _ = c.Write(stream)
			_ = c.Close()
		}()
		_, _ = io.Copy(io.Discard, c)
		other := s.pipes.dial(t)
		other.send(cluster())
		other.expect(1)
		_ = other.Close()
	})
}
