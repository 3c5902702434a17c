// Package null owns a server that speaks just enough of Kafka's protocol for librdkafka's and the Java client's
// perf tools and stores nothing: it answers each Produce with success as soon as its frame is read, and each Fetch with the
// same prepared batch. What a client reaches against it is the client's own limit. Told to be durable, it answers a Produce
// when the request's bytes are on disk, in the cheapest way there is to get them there: then the disk is in the limit too. It
// must not know Ottla's packages of the request path, so that their cost is not in it.
package null

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	// Store is a file to write each Produce to before it is answered; empty: nothing is stored.
	Store string

	storeBytes int64                // of the file, if that is more than a connection may hold; 0 is storeBytes
	sync       func(*os.File) error // nil is datasync
	begun      func(*committer)     // if it is not nil, called before the first connection
}

// Serve answers on the listener until the context ends, which is no error; it closes the listener and all
// connections. A topic that nobody created has the given number of partitions; fetched records have 1 KiB.
func Serve(ctx context.Context, listener net.Listener, partitions int) error {
	return ServeWith(ctx, listener, Options{Partitions: partitions})
}

// ServeWith is Serve with more to choose.
func ServeWith(ctx context.Context, listener net.Listener, o Options) error {
	s, err := newServer(listener.Addr(), o)
	if err != nil {
		return errors.Join(fmt.Errorf("null server: %w", err), listener.Close())
	}
	if o.Store != "" {
		return s.serveStoring(ctx, listener, o)
	}
	return s.accept(ctx, listener, maxConnections, s.serve)
}

func newServer(at net.Addr, o Options) (*server, error) {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return nil, err
	}
	if o.RecordBytes <= 0 {
		o.RecordBytes = 1 << 10
	}
	return &server{host: host, port: int32(number), batch: prepare(o.RecordBytes), topics: newTopics(max(o.Partitions, 1))}, nil
}

// accept gives each connection to serve, in a goroutine of its own, until the context ends.
func (s *server) accept(ctx context.Context, listener net.Listener, most int, serve func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { listener.Close() })
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, most)
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
			serve(ctx, c)
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
	r    *bufio.Reader // nil where requests are stored
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

// head is the begin of a request.
type head struct {
	size         int // of all behind the size itself
	key, version int16
	correlation  uint32
}

// headBytes are the bytes of a head; sizeBytes of them are the size, which does not count itself.
const (
	headBytes = 12
	sizeBytes = 4
)

// headOf reads a head, and refuses a size that no request has.
func headOf(b []byte) (head, error) {
	h := head{int(int32(binary.BigEndian.Uint32(b))), int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:])), binary.BigEndian.Uint32(b[8:])}
	if h.size < headBytes-sizeBytes || h.size > maxFrame || h.key != keyProduce && h.size > maxControlFrame {
		return h, errTooLarge
	}
	return h, nil
}

// begin begins the answer.
func (k *conn) begin(h head) {
	k.out = binary.BigEndian.AppendUint32(append(k.out[:0], 0, 0, 0, 0), h.correlation)
}

// request reads and answers one request.
func (k *conn) request() error {
	b, err := k.r.Peek(headBytes)
	if err != nil {
		return err
	}
	h, err := headOf(b)
	if err != nil {
		return err
	}
	if _, err := k.r.Discard(headBytes); err != nil {
		return err
	}
	k.begin(h)
	left := h.size - (headBytes - sizeBytes)
	if h.key == keyProduce {
		answered, err := k.produce(&frame{r: k.r, left: left}, h.version)
		if err != nil || !answered {
			return err
		}
		return k.send()
	}
	if cap(k.body) < left {
		k.body = make([]byte, left)
	}
	k.body = k.body[:left]
	if _, err := io.ReadFull(k.r, k.body); err != nil {
		return err
	}
	return k.control(h.key, h.version)
}

// finish writes the size of the answer, behind which more bytes of it follow.
func (k *conn) finish(more int) {
	binary.BigEndian.PutUint32(k.out, uint32(len(k.out)-sizeBytes+more))
}

// send writes the answer.
func (k *conn) send() error {
	k.finish(0)
	_, err := k.w.Write(k.out)
	return err
}
