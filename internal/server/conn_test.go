package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/metrics"
	"ottla/internal/wire"
)

func TestRequestAndAnswer(t *testing.T) {
	var seen []*wire.Request
	record := func(ctx context.Context, r *wire.Request) wire.Reply {
		seen = append(seen, r)
		return echo(ctx, r)
	}
	bubble(t, record, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t, "::ffff:10.1.2.3")
		c.send(cluster())
		c.expect(1)
		c.send(cluster())
		c.expect(2)
		r := seen[1]
		if r.Key != 60 || r.ClientID != "test" || r.CorrelationID != 2 || r.Received.IsZero() ||
			r.Session.Listener != "pipes" || r.Session.RemoteAddr.String() != "10.1.2.3:1" || r.Session.ID == 0 ||
			r.Session.Draining == nil || r.Session.Responses == nil {
			t.Errorf("got %+v of %+v", r, r.Session)
		}
		if seen[0].Session != r.Session {
			t.Error("two sessions for one connection")
		}
		wantMetric(t, "requests", f.metrics.API(60).Requests, 2)
		wantMetric(t, "connections", f.metrics.ConnectionsCurrent, 1)
		_ = c.Close()
		synctest.Wait()
		f.expectOpen(t, 0)
		wantMetric(t, "connections", f.metrics.ConnectionsCurrent, 0)
	})
}

func TestAnswersKeepTheOrderOfRequests(t *testing.T) {
	gates := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		return later{Response: answer(r), gate: gates[r.CorrelationID-1]}
	}
	synctest.Test(t, func(t *testing.T) {
		for i := range gates {
			gates[i] = make(chan struct{})
		}
		f := start(t, script(handler), Options{})
		c := f.pipes.dial(t)
		c.send(cluster(), cluster(), cluster(), cluster())
		got := make(chan int32)
		go func() {
			for range gates {
				n, _, _ := c.receive()
				got <- n
			}
		}()
		for _, open := range []int{3, 1, 2} {
			close(gates[open])
			synctest.Wait()
			select {
			case n := <-got:
				t.Fatalf("answer %d came before the first", n)
			default:
			}
		}
		close(gates[0])
		for want := int32(1); want <= 4; want++ {
			if n := <-got; n != want {
				t.Errorf("got answer %d, want %d", n, want)
			}
		}
	})
}

func TestNoAnswerAndCloseReplies(t *testing.T) {
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		switch r.CorrelationID {
		case 2:
			return wire.Ready(nil)
		case 4:
			return wire.Close()
		}
		return wire.Ready(answer(r))
	}
	bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		c.send(cluster(), cluster(), cluster(), cluster(), cluster())
		c.expect(1)
		c.expect(3)
		c.expectClosed()
		synctest.Wait()
		f.expectOpen(t, 0)
		if text := f.logs.text(); text != "" {
			t.Errorf("a wanted end is logged: %s", text)
		}
	})
}

func TestHandlerErrorClosesAndIsLogged(t *testing.T) {
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		gate := make(chan struct{})
		close(gate)
		return later{err: errors.New("the sky fell"), gate: gate}
	}
	bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		c.send(cluster())
		c.expectClosed()
		synctest.Wait()
		if !strings.Contains(f.logs.text(), "the sky fell") {
			t.Errorf("log: %s", f.logs.text())
		}
		wantMetric(t, "errors", f.metrics.API(60).Errors, 1)
	})
}

// badly panics where it is told to.
type badly struct {
	wire.Response
	where string
}

func (b badly) Wait(context.Context) (wire.Response, error) {
	b.maybe("wait")
	return b, nil
}

func (b badly) Done() bool { b.maybe("done"); return true }

func (b badly) AppendTo(dst []byte) []byte { b.maybe("append"); return b.Response.AppendTo(dst) }

func (b badly) Release() { b.maybe("release") }

func (b badly) maybe(where string) {
	if b.where == where {
		panic("told to panic in " + where)
	}
}

func TestPanicsEndOneConnection(t *testing.T) {
	for _, where := range []string{"handle", "nil reply", "wait", "done", "append", "release"} {
		t.Run(where, func(t *testing.T) {
			// The first answer waits until the second request is queued: else it may be sent by itself, and nobody asks whether the
			// second is done.
			var queued chan struct{}
			handler := func(_ context.Context, r *wire.Request) wire.Reply {
				if r.Key != 3 {
					return waitFunc(func(context.Context) (wire.Response, error) { <-queued; return answer(r), nil })
				}
				switch where {
				case "handle":
					panic("told to panic")
				case "nil reply":
					return nil
				}
				return badly{answer(r), where}
			}
			bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
				queued = make(chan struct{}) // of the bubble
				other, c := f.pipes.dial(t), f.pipes.dial(t)
				metadata := kmsg.NewPtrMetadataRequest()
				go c.send(cluster(), metadata)
				synctest.Wait()
				close(queued)
				for {
					if _, _, err := c.receive(); err != nil {
						break
					}
				}
				synctest.Wait()
				f.expectOpen(t, 1)
				wantMetric(t, "panics", f.metrics.Panics, 1)
				if !strings.Contains(f.logs.text(), "stack=") {
					t.Errorf("log: %s", f.logs.text())
				}
				other.send(cluster())
				other.expect(1)
			})
		})
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	bubble(t, echo, Options{IdleMax: 10 * time.Minute}, func(t *testing.T, f *fixture) {
		begin := time.Now()
		c := f.pipes.dial(t)
		for range 5 {
			time.AfterFunc(9*time.Minute, func() { c.send(cluster()) })
			if c.next == 0 {
				c.send(cluster())
				c.expect(1)
			}
			c.expect(c.next + 1)
		}
		if got := since(begin); got != 45*time.Minute {
			t.Fatalf("five requests took %s", got)
		}
		c.expectClosed()
		if got := since(begin); got != 55*time.Minute {
			t.Errorf("closed after %s of silence, want 10m", got-45*time.Minute)
		}
	})
}

func TestSilenceBeforeTheFirstRequestIsShort(t *testing.T) {
	bubble(t, echo, Options{IdleMax: 10 * time.Minute}, func(t *testing.T, f *fixture) {
		begin := time.Now()
		f.pipes.dial(t).expectClosed()
		if got := since(begin); got != firstRequestMax {
			t.Errorf("closed after %s, want %s", got, firstRequestMax)
		}
	})
}

func TestWaitingForAnAnswerIsNotIdle(t *testing.T) {
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		gate := make(chan struct{})
		time.AfterFunc(time.Hour, func() { close(gate) })
		return later{Response: answer(r), gate: gate}
	}
	bubble(t, handler, Options{IdleMax: time.Minute}, func(t *testing.T, f *fixture) {
		begin := time.Now()
		c := f.pipes.dial(t)
		c.send(cluster())
		c.expect(1)
		if got := since(begin); got != time.Hour {
			t.Errorf("answered after %s", got)
		}
		c.expectClosed()
		if got := since(begin) - time.Hour; got < time.Minute || got > 2*time.Minute {
			t.Errorf("closed after %s of silence, want 1m", got)
		}
	})
}

func TestStartedRequestsMustEnd(t *testing.T) {
	whole := (&client{}).frame(produce(100))
	large := (&client{}).frame(produce(100 << 10))
	for name, c := range map[string]struct {
		frame []byte
		step  int
	}{
		"size, a byte at a time": {whole[:3], 1},
		"head":                   {whole[:6], 6},
		"small":                  {whole[:len(whole)-1], 20},
		"large, never sent":      {large[:20], 20},
		"large, dripping":        {large[:5000], 1000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, echo, Options{IdleMax: 10 * time.Minute}, func(t *testing.T, f *fixture) {
				cl := f.pipes.dial(t)
				cl.send(cluster())
				cl.expect(1)
				begin := time.Now()
				rest := c.frame
				var step func()
				step = func() { // one piece every 3 seconds
					if len(rest) > 0 {
						n := min(c.step, len(rest))
						_, _ = cl.Write(rest[:n])
						rest = rest[n:]
						time.AfterFunc(3*time.Second, step)
					}
				}
				go step()
				cl.expectClosed()
				if got := since(begin); got > transferTimeout(len(large))+time.Second {
					t.Errorf("closed after %s", got)
				}
				synctest.Wait()
				f.expectOpen(t, 0)
				wantMetric(t, "in-flight bytes", f.metrics.InFlightBytes, 0)
				if !strings.Contains(f.logs.text(), "slow_request") {
					t.Errorf("log: %s", f.logs.text())
				}
			})
		})
	}
}

// TestDeadlineOfOneFrameDoesNotEndTheNext: a frame that took long must not leave its deadline to the next.
func TestDeadlineOfOneFrameDoesNotEndTheNext(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		const slow = 20 * time.Second
		for i := range int32(6) {
			frame := c.frame(produce(8000))
			_, _ = c.Write(frame[:100])
			timer := time.NewTimer(slow)
			<-timer.C
			next := c.frame(cluster())
			// The end of the slow frame and the start of the next arrive together.
			_, _ = c.Write(append(frame[100:], next[:10]...))
			c.expect(2*i + 1)
			timer.Reset(slow)
			<-timer.C
			_, _ = c.Write(next[10:])
			c.expect(2*i + 2)
		}
	})
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		begin := time.Now()
		c := f.pipes.dial(t)
		c.send(cluster())
		// Not even a reader that waits notices: it is the writer's deadline that ends it.
		synctest.Wait()
		f.expectOpen(t, 1)
		timer := time.NewTimer(2 * transferMax)
		<-timer.C
		f.expectOpen(t, 0)
		if !strings.Contains(f.logs.text(), "does not read") {
			t.Errorf("after %s, log: %s", since(begin), f.logs.text())
		}
	})
}

func TestLongPollEndsWhenTheClientLeaves(t *testing.T) {
	var ended atomic.Int32
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		return waitFunc(func(ctx context.Context) (wire.Response, error) {
			<-ctx.Done()
			ended.Add(1)
			return nil, ctx.Err()
		})
	}
	bubble(t, handler, Options{}, func(t *testing.T, f *fixture) {
		c := f.pipes.dial(t)
		c.send(cluster(), cluster(), cluster())
		synctest.Wait()
		if ended.Load() != 0 {
			t.Fatal("ended before the client left")
		}
		_ = c.Close()
		synctest.Wait()
		// Every reply is waited for, also those behind the first.
		if ended.Load() != 3 {
			t.Errorf("%d replies ended, want 3", ended.Load())
		}
		f.expectOpen(t, 0)
		wantMetric(t, "errors", f.metrics.API(60).Errors, 0)
	})
}

type waitFunc func(context.Context) (wire.Response, error)

func (w waitFunc) Wait(ctx context.Context) (wire.Response, error) { return w(ctx) }

func TestReadingStopsWhenTooManyWait(t *testing.T) {
	var handled atomic.Int32
	gate := make(chan struct{})
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		handled.Add(1)
		return later{Response: answer(r), gate: gate}
	}
	synctest.Test(t, func(t *testing.T) {
		gate = make(chan struct{})
		f := start(t, script(handler), Options{InFlightRequestsMax: 5})
		c := f.pipes.dial(t)
		go c.send(slices.Repeat([]kmsg.Request{cluster()}, 1000)...)
		synctest.Wait()
		// One at the writer, five in the queue, one at the reader.
		if n := handled.Load(); n != 7 {
			t.Errorf("%d requests were handled, want 7", n)
		}
		close(gate)
		for i := range int32(1000) {
			c.expect(i + 1)
		}
	})
}

// TestReadingStopsWhenDecodedRequestsWait: requests that are small on the wire and large in memory do not
// pile up behind a long poll.
func TestReadingStopsWhenDecodedRequestsWait(t *testing.T) {
	var handled atomic.Int32
	gate := make(chan struct{})
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		handled.Add(1)
		return later{Response: answer(r), gate: gate}
	}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(12)
	metadata.Topics = make([]kmsg.MetadataRequestTopic, 900) // 115 KB decoded
	numbers := kmsg.NewPtrFetchRequest()
	numbers.SetVersion(12)
	numbers.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: make([]int32, 30_000)}}
	for _, c := range []struct {
		name    string
		request kmsg.Request
		bytes   int64
	}{
		{"elements", metadata, 900 * 144},
		{"numbers", numbers, 144 + 1 + 30_000*4},
	} {
		t.Run(c.name, func(t *testing.T) {
			handled.Store(0)
			synctest.Test(t, func(t *testing.T) {
				gate = make(chan struct{})
				f := start(t, script(handler), Options{})
				client := f.pipes.dial(t)
				go client.send(slices.Repeat([]kmsg.Request{c.request}, 20)...)
				synctest.Wait()
				if n := handled.Load(); n != 1 {
					t.Errorf("%d requests were handled, want 1", n)
				}
				if used := f.decoded.Used(); used != c.bytes+requestBytes {
					t.Errorf("%d bytes are accounted for, want %d", used, c.bytes+requestBytes)
				}
				close(gate)
				for i := range int32(20) {
					client.expect(i + 1)
				}
				synctest.Wait()
				if used := f.decoded.Used(); used != 0 {
					t.Errorf("%d bytes are left", used)
				}
			})
		})
	}
}

func TestLargeFramesWaitForMemory(t *testing.T) {
	enter, leave := make(chan int32), make(chan struct{})
	handler := func(_ context.Context, r *wire.Request) wire.Reply {
		enter <- r.CorrelationID
		<-leave
		return wire.Ready(answer(r))
	}
	synctest.Test(t, func(t *testing.T) {
		enter, leave = make(chan int32), make(chan struct{})
		f := start(t, script(handler), Options{InFlightBytesMax: 400 << 10})
		// 100 KiB fits twice into the line of small frames; 300 KiB goes alone.
		var clients []*client
		for _, size := range []int{100 << 10, 99 << 10, 300 << 10, 1 << 10} {
			c := f.pipes.dial(t)
			clients = append(clients, c)
			go c.send(produce(size))
			synctest.Wait()
		}
		entered := func() (n int) {
			for {
				synctest.Wait()
				select {
				case <-enter:
					n++
				default:
					return n
				}
			}
		}
		if n := entered(); n != 3 { // the tiny one needs no memory of its own
			t.Fatalf("%d requests are handled, want 3", n)
		}
		wantMetric(t, "in-flight bytes", f.metrics.InFlightBytes, float64(f.smallFrames.Used()))
		for range 3 {
			leave <- struct{}{}
		}
		if n := entered(); n != 1 {
			t.Fatalf("%d more requests are handled, want the large one", n)
		}
		leave <- struct{}{}
		for _, c := range clients {
			c.expect(1)
		}
		synctest.Wait()
		if used := f.smallFrames.Used(); used != 0 {
			t.Errorf("%d bytes are still accounted for", used)
		}
	})
}

func TestBadFramesCloseTheConnection(t *testing.T) {
	good := (&client{}).frame(cluster())
	edit := func(at int, b ...byte) string {
		out := slices.Clone(good)
		copy(out[at:], b)
		return string(out)
	}
	for name, garbage := range map[string]string{
		"HTTP":                  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"TLS":                   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"negative size":         "\xff\xff\xff\xff",
		"zero":                  "\x00\x00\x00\x00",
		"tiny size":             "\x00\x00\x00\x09\x00\x00\x00\x00",
		"size above all limits": "\x7f\xff\xff\xff",
		"above the API's limit": "\x00\x02\x00\x00\x00\x12\x00\x03",
		"unknown API":           edit(4, 0, 99),
		"API not served":        edit(4, 0, 2),
		"version not served":    edit(6, 0, 9),
		"client id too long":    edit(12, 0x7f, 0xff),
		"tags without end":      "\x00\x00\x00\x10\x00\x3c\x00\x00\x00\x00\x00\x01\xff\xff\x00\x01\xff\xff\xff\x0f",
		"body too short":        "\x00\x00\x00\x0b\x00\x3c\x00\x00\x00\x00\x00\x01\xff\xff\x00",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
				c := f.pipes.dial(t)
				c.send(cluster())
				c.expect(1)
				go func() { _, _ = io.WriteString(c, garbage) }()
				c.expectClosed()
				synctest.Wait()
				f.expectOpen(t, 0)
				if !strings.Contains(f.logs.text(), metrics.CloseBadFrame.String()) {
					t.Errorf("log: %s", f.logs.text())
				}
			})
		})
	}
}

func TestComplaintsAreRare(t *testing.T) {
	bubble(t, echo, Options{}, func(t *testing.T, f *fixture) {
		provoke := func(n int) {
			for range n {
				c := f.pipes.dial(t)
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
				c.expectClosed()
			}
		}
		provoke(50)
		timer := time.NewTimer(quietLogPeriod)
		<-timer.C
		provoke(1)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(f.logs.text()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], "omitted=49") {
			t.Errorf("%d lines: %s", len(lines), lines)
		}
	})
}
