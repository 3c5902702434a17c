package server

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// pieces is an answer with a payload in segments.
type pieces struct {
	response wire.Response
	bytes    int
	released atomic.Int32
	payload  []byte
}

func (p *pieces) Key() int16       { return p.response.Key() }
func (p *pieces) IsFlexible() bool { return p.response.IsFlexible() }
func (p *pieces) Release()         { p.released.Add(1); clear(p.payload) }
func (p *pieces) AppendTo(dst []byte) []byte {
	panic("BUG: the server must ask for the segments")
}

func (p *pieces) AppendBuffers(dst net.Buffers) net.Buffers {
	p.payload = bytes.Repeat([]byte("x"), p.bytes)
	return append(dst, p.payload[:p.bytes/3], p.payload[p.bytes/3:])
}

// counting counts the writes and can tell how many bytes came in the largest.
type counting struct {
	net.Conn
	mu     sync.Mutex
	writes []int
}

func (c *counting) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(b))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func dialCounting(t testing.TB, p *pipes) (*client, *counting) {
	near, far := net.Pipe()
	counted := &counting{Conn: far}
	p.backlog <- counted
	return newClient(t, near), counted
}

func TestReadyAnswersLeaveTogether(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		c, counted := dialCounting(t, f.pipes)
		const n = 100
		go c.send(slices.Repeat([]kmsg.Request{cluster()}, n)...)
		for i := range int32(n) {
			c.expect(i + 1)
		}
		// How many are ready at once is up to the scheduler; one write for each would be none together.
		if got := len(counted.writes); got > n/2 {
			t.Errorf("%d answers took %d writes", n, got)
		}
	})
}

// TestAnswersDoNotWaitForTheNext: an answer is sent before the server waits for the next one, whether the
// next reply can tell that it is not done or not.
func TestAnswersDoNotWaitForTheNext(t *testing.T) {
	for name, reply := range map[string]wire.Reply{
		"poller": later{gate: make(chan struct{})},
		"not":    waitFunc(func(ctx context.Context) (wire.Response, error) { <-ctx.Done(); return nil, ctx.Err() }),
	} {
		t.Run(name, func(t *testing.T) {
			handler := func(_ context.Context, r *wire.Request) wire.Reply {
				if r.CorrelationID < 3 {
					return wire.Ready(answer(r))
				}
				return reply
			}
			bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
				c := f.pipes.dial(t)
				c.send(cluster(), cluster(), cluster(), cluster())
				c.expect(1)
				c.expect(2)
			})
		})
	}
}

func TestSegmentsAreSentUncopiedAndReleasedOnce(t *testing.T) {
	for _, size := range []int{0, 100, copyBytesMax, copyBytesMax + 1, 1 << 20} {
		answers := make(chan *pieces, 3)
		handler := func(_ context.Context, r *wire.Request) wire.Reply {
			if r.CorrelationID != 2 {
				return wire.Ready(answer(r))
			}
			p := &pieces{response: answer(r), bytes: size}
			answers <- p
			return wire.Ready(p)
		}
		bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
			c, counted := dialCounting(t, f.pipes)
			go c.send(cluster(), cluster(), cluster())
			c.expect(1)
			body := c.expect(2) // starts with the tags of the header
			if !bytes.Equal(body[1:], bytes.Repeat([]byte("x"), size)) {
				t.Errorf("size %d: got %d bytes", size, len(body)-1)
			}
			c.expect(3)
			synctest.Wait()
			if p := <-answers; p.released.Load() != 1 {
				t.Errorf("size %d: released %d times", size, p.released.Load())
			}
			if size > copyBytesMax && !slices.Contains(counted.writes, size-size/3) {
				t.Errorf("size %d was copied: writes %v", size, counted.writes)
			}
		})
	}
}

func TestResponsesAreReleasedOnDeadConnections(t *testing.T) {
	answers := make(chan *pieces, 3)
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		p := &pieces{response: answer(r), bytes: 1 << 20}
		answers <- p
		return waitFunc(func(ctx context.Context) (wire.Response, error) { <-ctx.Done(); return p, nil })
	}
	synctest.Test(t, func(t *testing.T) {
		answers = make(chan *pieces, 3)
		f := start(t, script(handler), Options{})
		c := f.pipes.dial(t)
		c.send(cluster(), cluster(), cluster())
		synctest.Wait()
		_ = c.Close()
		synctest.Wait()
		for range 3 {
			if p := <-answers; p.released.Load() != 1 || p.payload != nil {
				t.Errorf("released %d times, built %d bytes", p.released.Load(), len(p.payload))
			}
		}
	})
}

func TestBuffersKeepNoGiants(t *testing.T) {
	var p buffers
	for _, n := range []int{0, 1, 8 << 10, 8<<10 + 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		for range 3 {
			b := p.get(n)
			if len(*b) != n {
				t.Fatalf("asked for %d bytes, got %d", n, len(*b))
			}
			if n > 1<<bufferBitsMax && cap(*b) != n {
				t.Errorf("%d bytes came from a pool", n)
			}
			p.put(b)
		}
	}
	// Whatever capacity goes in, nothing too short comes out.
	for n := 1; n < 4<<20; n = n*3/2 + 1 {
		grown := make([]byte, 0, n)
		p.put(&grown)
	}
	for range 1000 {
		for n := 1; n <= 1<<20; n *= 2 {
			if b := p.get(n); len(*b) != n || cap(*b) > 1<<bufferBitsMax {
				t.Fatalf("asked for %d bytes, got %d of %d", n, len(*b), cap(*b))
			}
		}
	}
}

// BenchmarkPipelined is the cost of this layer for small requests, pipelined over 16 connections: client and
// server together, over loopback.
func BenchmarkPipelined(b *testing.B) {
	const connections, batch = 16, 32
	f := start(b, script(echo), overTCP())
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range connections {
		c := f.dialTCP(b)
		wg.Go(func() {
			var out []byte
			for range batch {
				out = append(out, c.frame(produce(150))...)
			}
			buf := make([]byte, 64<<10)
			one := 0
			for left.Add(-batch) > -batch {
				if _, err := c.Write(out); err != nil {
					b.Error(err)
					return
				}
				if one == 0 { // the first round tells how long an answer is
					c.expect(1)
					one = 8 + len(c.expect(2))
					for i := int32(3); i <= batch; i++ {
						c.expect(i)
					}
					continue
				}
				for got := 0; got < one*batch; {
					n, err := c.Read(buf)
					if err != nil {
						b.Error(err)
						return
					}
					got += n
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkIdleConnection tells what a connection that has been served and is silent costs in memory, the
// client's end (a socket without a buffer) included.
func BenchmarkIdleConnection(b *testing.B) {
	const connections = 2000
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC() // the pools let go in the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	f := start(b, script(echo), overTCP())
	for b.Loop() {
		before := inUse()
		var open []*client
		for range connections {
			c := f.dialTCP(b)
			c.send(produce(150))
			c.expect(1)
			open = append(open, c)
		}
		b.ReportMetric(float64(inUse()-before)/connections, "bytes/connection")
		for _, c := range open {
			_ = c.Close()
		}
	}
}
