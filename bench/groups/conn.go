package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	answerBytesMax = 16 << 20
	// stallMax is how long a broker may be silent; a join of the classic protocol may take as long as a rebalance.
	stallMax = 2 * time.Minute
)

// conn is one connection, used by one goroutine. Requests go out in order and so do the answers.
type conn struct {
	c         net.Conn
	in        *bufio.Reader
	out       []byte
	frame     []byte
	body      []byte
	formatter *kmsg.RequestFormatter
	sent      int32
	expected  []kmsg.Response
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, in: bufio.NewReaderSize(c, 4<<10), formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("groups-bench"))}, nil
}

func (c *conn) close() { _ = c.c.Close() }

// send puts a request behind those that are not sent yet.
func (c *conn) send(req kmsg.Request) {
	c.sent++
	c.frame = c.formatter.AppendRequest(c.frame[:0], req, c.sent) // it takes the whole buffer for one frame
	c.out = append(c.out, c.frame...)
	resp := req.ResponseKind()
	c.expected = append(c.expected, resp)
}

func (c *conn) flush() error {
	if err := c.c.SetDeadline(time.Now().Add(stallMax)); err != nil {
		return err
	}
	_, err := c.c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// receive returns the next answer.
func (c *conn) receive() (kmsg.Response, error) {
	if len(c.out) > 0 {
		if err := c.flush(); err != nil {
			return nil, err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return nil, fmt.Errorf("reading from the broker: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > answerBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	if cap(c.body) < int(n) {
		c.body = make([]byte, n)
	}
	c.body = c.body[:n]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return nil, err
	}
	resp := c.expected[0]
	c.expected = c.expected[1:]
	body := c.body[4:]
	if resp.IsFlexible() {
		body = body[1:] // no tags in any header
	}
	return resp, resp.ReadFrom(body)
}

// ask sends one request and returns its answer.
func (c *conn) ask(req kmsg.Request) (kmsg.Response, error) {
	c.send(req)
	return c.receive()
}

func failed(what string, code int16) error {
	if err := kerr.ErrorForCode(code); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// makeTopic makes the topic, and has the broker make what it needs for groups.
func makeTopic(ctx context.Context, o options) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.addr))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	admin := kadm.NewClient(client)
	created, err := admin.CreateTopic(ctx, int32(o.partitions), 1, nil, o.topic)
	if err != nil && created.Err != kerr.TopicAlreadyExists {
		return err
	}
	for range 100 { // a broker that is making __consumer_offsets says so for a while
		found := admin.FindGroupCoordinators(ctx, o.prefix)
		if err = found.Error(); err == nil {
			if _, err = admin.FetchOffsets(ctx, o.prefix); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("no coordinator: %w", err)
}
