package storm

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/disk"
)

// muteAfter is a way to a broker that falls silent: after so many bytes nothing more arrives.
func muteAfter(limit int64) func(context.Context, string, string) (net.Conn, error) {
	var read atomic.Int64
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &muteConn{conn, &read, limit}, nil
	}
}

type muteConn struct {
	net.Conn
	read  *atomic.Int64
	limit int64
}

func (c *muteConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || c.read.Add(int64(n)) < c.limit {
			return n, err
		}
	}
}

// TestStall: a broker that falls silent ends the storm with what was seen so far, not with a hang; nor does cleaning up hang.
func TestStall(t *testing.T) {
	for _, mode := range []Mode{Fast, Faithful, Wide, Control} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			n := startNode(t, disk.NewMem())
			o := small(n.Addr())
			o.Mode, o.MaxProducers, o.Stall, o.Keep, o.Dial = mode, 1<<40, 200*time.Millisecond, true, muteAfter(50_000)
			s, err := Run(t.Context(), o, nil)
			if !errors.Is(err, ErrStopped) || s.Ended != EndedStalled || s.Loads[0].Pushes == 0 || !strings.Contains(err.Error(), "no answer for 200ms") {
				t.Errorf("%v\n%+v", err, s)
			}
		})
	}
}

// TestStallAfterTheCap: a broker that falls silent is found out also where the storm's time is up before that is certain.
func TestStallAfterTheCap(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	o.MaxProducers, o.MaxDuration, o.Stall, o.Keep, o.Dial = 1<<40, 100*time.Millisecond, 300*time.Millisecond, true, muteAfter(5_000)
	s, err := Run(t.Context(), o, nil)
	if !errors.Is(err, ErrStopped) || s.Ended != EndedStalled {
		t.Errorf("%v\n%+v", err, s)
	}
}

// TestStallOfConnections: a broker that resets every connection is as silent as one that says nothing.
func TestStallOfConnections(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	var dialled atomic.Int64
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialled.Add(1) > 30 {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNRESET}
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	o.Mode, o.MaxProducers, o.Stall, o.Keep = Faithful, 1<<40, 500*time.Millisecond, true
	s, err := Run(t.Context(), o, nil)
	if !errors.Is(err, ErrStopped) || s.Ended != EndedStalled || s.Loads[0].Pushes == 0 || s.Loads[0].Errors["connection reset"] == 0 {
		t.Errorf("%v\n%+v", err, s)
	}
}

// TestConnectionsBreak: one broken connection is not the broker's death; a broker that breaks one after the other bears no more; one that
// did so from the first on has never borne any.
func TestConnectionsBreak(t *testing.T) {
	for _, mode := range []Mode{Fast, Wide, Control} {
		for _, c := range []struct {
			name         string
			after, every int64 // bytes of all connections, until one breaks
			producers    int64
			most         time.Duration
			ended, says  string
			stopped      bool
		}{
			{"once", 30_000, 1 << 40, 5_000, time.Minute, EndedProducers, "", false},
			{"again and again", 30_000, 1, 5_000, time.Minute, EndedGone, "20 connections in a row broke", true},
			{"again and again, few are left", 10_000, 1, 600, time.Minute, EndedGone, "20 connections in a row broke", true},
			{"again and again, until the time is up", 30_000, 1, 5_000, 500 * time.Millisecond, EndedGone, "stopped answering after", true},
		} {
			t.Run(string(mode)+" "+c.name, func(t *testing.T) {
				t.Parallel()
				n := startNode(t, disk.NewMem())
				o := small(n.Addr())
				var read, dialled atomic.Int64
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
					dialled.Add(1)
					return &brokenConn{Conn: conn, read: &read, after: c.after, every: c.every}, err
				}
				o.Mode, o.MaxProducers, o.MaxDuration, o.Keep = mode, c.producers, c.most, true
				s, err := Run(t.Context(), o, nil)
				if errors.Is(err, ErrStopped) != c.stopped || (err == nil) != (c.says == "") || s.Ended != c.ended {
					t.Errorf("%v\n%+v", err, s)
				}
				if c.says != "" && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v does not say %q", err, c.says)
				}
				if got := s.Loads[0].Errors["connection closed"]; c.every > 1 && got != 1 || got == 0 || s.Loads[0].Pushes == 0 {
					t.Errorf("%d connections broke, %d were made: %+v", got, dialled.Load(), s)
				}
			})
		}
	}
}

// TestEveryConnectionBreaks: of a broker that never took what the storm writes nothing is said but that.
func TestEveryConnectionBreaks(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &unwillingConn{Conn: conn}, err
	}
	o.MaxProducers = 1000
	s, err := Run(t.Context(), o, nil)
	if err == nil || errors.Is(err, ErrStopped) || s.Ended != EndedFailed || !strings.Contains(err.Error(), "the broker answers") || len(s.Left) > 0 {
		t.Errorf("%v\n%+v", err, s)
	}
}

// unwillingConn is closed instead of an answer to a Produce request.
type unwillingConn struct {
	net.Conn
	refused atomic.Bool
}

func (c *unwillingConn) Write(b []byte) (int, error) {
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == uint16(kmsg.Produce) {
		c.refused.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *unwillingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.refused.Load() {
		return 0, io.EOF
	}
	return n, err
}

// brokenConn ends a connection when all of them have read so many bytes, and from then on each time when they have read so many more.
type brokenConn struct {
	net.Conn
	read         *atomic.Int64
	after, every int64
}

func (c *brokenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	now := c.read.Add(int64(n))
	if steps := func(at int64) int64 { return max(at-c.after+c.every, 0) / c.every }; steps(now) > steps(now-int64(n)) {
		return 0, io.EOF
	}
	return n, err
}

// TestKilledBroker: a broker that goes away is named so.
func TestKilledBroker(t *testing.T) {
	for _, mode := range []Mode{Fast, Faithful, Wide, Control} {
		n := startNode(t, disk.NewMem())
		o := small(n.Addr())
		o.Mode, o.MaxProducers, o.Keep, o.Rate = mode, 1<<40, true, 200
		s, err := Run(t.Context(), o, func(p Progress) {
			if p.Phase == PhaseStorm {
				n.Kill()
			}
		})
		if !errors.Is(err, ErrStopped) || s.Ended != EndedGone || s.Loads[0].Pushes == 0 {
			t.Errorf("%s: %v\n%+v", mode, err, s)
		}
	}
}
