// Package null owns a server that speaks just enough of Kafka's protocol for librdkafka's and the Java client's
// perf tools and stores nothing: it answers each Produce with success as soon as its frame is read, and each Fetch with the
// same prepared batch. What a client reaches against it is the client's own limit. It must not know Ottla's packages of the
// request path, so that their cost is not in it.
package null

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
)

// Limits, in bytes unless said otherwise. A connection that goes beyond one is closed.
const (
	// maxFrame is the largest Produce request: Kafka's default of socket.request.max.bytes.
	maxFrame = 100 << 20
	// maxControlFrame is the largest request of any other kind; these are held in memory.
	maxControlFrame = 1 << 20
	// maxAnswer is the largest answer to a Produce, and with it the partitions that one may have.
	maxAnswer = 16 << 20
	// maxFetch are the records in an answer to a Fetch.
	maxFetch = 64 << 20
	// maxPartitions are the partitions of a topic, and of an answer to Metadata.
	maxPartitions = 20_000
	// maxTopics are the topics that are remembered by name. More are not known.
	maxTopics = 4096
	// maxConnections are the connections at a time.
	maxConnections = 4096
	// readBuffer is what is read at once, writeBuffer what is gathered of small answers.
	readBuffer  = 128 << 10
	writeBuffer = 32 << 10
)

// Options of the server.
type Options struct {
	Partitions  int // of a topic that nobody created; at least 1
	RecordBytes int // the value of a fetched record; 0 is 1,024
}

// Serve answers on the listener until the context ends, which is no error; it closes the listener and all
// connections. A topic that nobody created has the given number of partitions; fetched records have 1 KiB.
func Serve(ctx context.Context, listener net.Listener, partitions int) error {
	return ServeWith(ctx, listener, Options{Partitions: partitions})
}

// ServeWith is Serve with more to choose.
func ServeWith(ctx context.Context, listener net.Listener, o Options) error {
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	if o.RecordBytes <= 0 {
		o.RecordBytes = 1 << 10
	}
	s := &server{host: host, port: int32(number), batch: prepare(o.RecordBytes), topics: newTopics(max(o.Partitions, 1))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { listener.Close() })
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		c, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			cancel()
			return fmt.Errorf("null server: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		running.Go(func() {
			s.serve(ctx, c)
			<-slots
		})
	}
}

// server is what the connections share.
type server struct {
	host   string
	port   int32
	batch  []byte
	topics *topics
}

// conn is one connection, of one goroutine.
type conn struct {
	*server
	net  net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	out  []byte // the answer that is being built
	body []byte // the request that is held in memory
	blob []byte // copies of the batch, whose offsets are rewritten for each fetch; made by the first
	next int64  // the offset given to the next batch
}

var errTooLarge = errors.New("a request is beyond the limits of the null server")

// serve answers one connection until it ends. How it ends is the client's business: it sees that it is closed.
func (s *server) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	k := &conn{server: s, net: c, r: bufio.NewReaderSize(c, readBuffer), w: bufio.NewWriterSize(c, writeBuffer)}
	for {
		if k.r.Buffered() == 0 && k.w.Flush() != nil {
			return
		}
		if err := k.request(); err != nil {
			return
		}
	}
}

// request reads and answers one request.
func (k *conn) request() error {
	head, err := k.r.Peek(12)
	if err != nil {
		return err
	}
	size := int32(binary.BigEndian.Uint32(head))
	key, version := int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))
	correlation := binary.BigEndian.Uint32(head[8:])
	if size < 8 || size > maxFrame {
		return errTooLarge
	}
	if _, err := k.r.Discard(12); err != nil {
		return err
	}
	k.out = append(k.out[:0], 0, 0, 0, 0)
	k.out = binary.BigEndian.AppendUint32(k.out, correlation)
	if key == keyProduce {
		return k.produce(int(size)-8, version)
	}
	if size > maxControlFrame {
		return errTooLarge
	}
	if cap(k.body) < int(size)-8 {
		k.body = make([]byte, size-8)
	}
	k.body = k.body[:size-8]
	if _, err := io.ReadFull(k.r, k.body); err != nil {
		return err
	}
	return k.control(key, version)
}

// send writes the answer, behind which more bytes of it follow.
func (k *conn) send(more int) error {
	binary.BigEndian.PutUint32(k.out, uint32(len(k.out)-4+more))
	_, err := k.w.Write(k.out)
	return err
}
