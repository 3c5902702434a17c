package null

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Limits of a server that stores. A connection that goes beyond one is closed, unless it is said that it waits.
const (
	// maxStoredFrame is the largest Produce request in bytes: clients send a megabyte, as they come.
	maxStoredFrame = 2 << 20
	// chunkTurn is the byte of a chunk from which on no request begins: each lies in one piece, and none is ever copied.
	chunkTurn = 4 << 20
	// chunkBytes is the size of a chunk.
	chunkBytes = chunkTurn + maxStoredFrame
	// chunks are those of a connection. While both hold requests that are not durable, the connection is not read: it waits.
	chunks = 2
	// maxStoring are the connections at a time: with their chunks 768 MiB, if all are full.
	maxStoring = 64
	// maxUnsent are the bytes of answers that a client has not taken, beyond what the socket holds.
	maxUnsent = maxAnswer
)

// serveStoring answers each Produce when it is durable. That the disk failed is an error, and closes all connections.
func (s *server) serveStoring(ctx context.Context, listener net.Listener, o Options) error {
	const least = chunks * chunkBytes // what one connection may hand over at once
	r, err := newRing(o.Store, max(cmp.Or(o.storeBytes, storeBytes), least))
	if err != nil {
		return errors.Join(fmt.Errorf("null server: %w", err), listener.Close())
	}
	sync := o.sync
	if sync == nil {
		sync = datasync
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newCommitter(r, sync)
	if o.begun != nil {
		o.begun(c)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- c.run(ctx)
		cancel()
	}()
	err = s.accept(ctx, listener, maxStoring, func(ctx context.Context, n net.Conn) { s.serveStored(ctx, c, n) })
	cancel()
	return errors.Join(err, <-ended, r.file.Close())
}

// chunk is memory that a connection is read into, request behind request.
type chunk struct {
	bytes []byte
	held  atomic.Int64 // bytes that are handed over and not durable
}

// storing is a connection whose requests are stored. One goroutine reads it; the committer answers.
type storing struct {
	conn
	committer *committer
	raw       syscall.RawConn
	write     func(fd uintptr) bool // one try to send answering; made once

	// Of the reader: the chunk that is filled, where in it the first request begins that is not whole, where what was read
	// ends, and where the requests begin that are not handed over, with their answers.
	chunks          [chunks]*chunk
	filled          int
	start, end, own int
	ready           []byte

	// Of the committer.
	committing []piece
	answering  []byte
	lags       bool // when it was taken, somebody sent earlier answers
	sent       int

	late   sync.WaitGroup // sends what the socket did not take
	change *sync.Cond     // of the committer's lock
	locked struct {
		pieces  []piece
		answers []byte
		waits   bool   // among those that wait for the committer
		taken   bool   // by the committer
		unsent  []byte // answers that the socket did not take
		behind  bool   // somebody sends them
		blocked bool   // the reader waits for a change
		closed  bool
	}
}

var errClosed = errors.New("the connection is closed")

func (s *server) serveStored(ctx context.Context, c *committer, n net.Conn) {
	defer n.Close()
	raw, err := n.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	k := &storing{conn: conn{server: s, net: n, w: bufio.NewWriterSize(n, writeBuffer)}, committer: c, raw: raw, change: sync.NewCond(&c.mu)}
	k.write = func(fd uintptr) bool {
		k.sent, _ = syscall.Write(int(fd), k.answering)
		return true
	}
	defer k.late.Wait()
	defer context.AfterFunc(ctx, k.close)()
	defer k.close()
	for {
		room, err := k.room()
		if err != nil {
			return
		}
		got, err := n.Read(room)
		if err != nil {
			return
		}
		k.end += got
		if k.requests() != nil {
			return
		}
	}
}

// room is where to read to. As no request begins at chunkTurn or behind it, what is read never has to be moved.
func (k *storing) room() ([]byte, error) {
	if k.start == k.end && k.end > 0 {
		if k.end >= chunkTurn {
			k.filled = (k.filled + 1) % chunks
			k.start, k.end, k.own = 0, 0, 0
		} else if k.chunks[k.filled].held.Load() == 0 { // memory that is in the processor's cache
			k.start, k.end, k.own = 0, 0, 0
		}
	}
	at := k.chunks[k.filled]
	if at == nil {
		at = &chunk{bytes: make([]byte, chunkBytes)}
		k.chunks[k.filled] = at
	}
	if k.end == 0 && at.held.Load() > 0 {
		if err := k.await(func() bool { return at.held.Load() == 0 }); err != nil {
			return nil, err
		}
	}
	until := chunkTurn
	if have := k.end - k.start; have >= headBytes {
		h, err := headOf(at.bytes[k.start:])
		if err != nil {
			return nil, err
		}
		until = max(until, k.start+sizeBytes+h.size)
	} else if have > 0 {
		until = max(until, k.start+headBytes)
	}
	return at.bytes[k.end:until], nil
}

// requests reads all requests that are whole, and hands them over together.
func (k *storing) requests() error {
	at := k.chunks[k.filled]
	for k.end-k.start >= headBytes {
		h, err := headOf(at.bytes[k.start:])
		if err != nil {
			return err
		}
		if h.size > maxStoredFrame-sizeBytes {
			return errTooLarge
		}
		next := k.start + sizeBytes + h.size
		if next > k.end {
			break
		}
		k.begin(h)
		body := at.bytes[k.start+headBytes : next]
		if h.key != keyProduce {
			if err := k.between(h, body); err != nil {
				return err
			}
			k.start, k.own = next, next
			continue
		}
		answered, err := k.produce(&frame{held: body, left: len(body)}, h.version)
		if err != nil {
			return err
		}
		if answered {
			k.finish(0)
			k.ready = append(k.ready, k.out...)
		}
		k.start = next
	}
	k.handOver()
	return nil
}

func (k *storing) handOver() {
	if k.own == k.start {
		return
	}
	at := k.chunks[k.filled]
	k.committer.hand(k, piece{at, at.bytes[k.own:k.start]}, k.ready)
	k.own, k.ready = k.start, k.ready[:0]
}

// between answers a request that is not stored, when all before it is answered: these are rare.
func (k *storing) between(h head, body []byte) error {
	k.handOver()
	l := &k.locked
	if err := k.await(func() bool { return !l.waits && !l.taken && !l.behind }); err != nil {
		return err
	}
	k.body = body
	if err := k.control(h.key, h.version); err != nil {
		return err
	}
	return k.w.Flush()
}

// await waits until a condition holds, which is looked at under the committer's lock.
func (k *storing) await(done func() bool) error {
	k.committer.mu.Lock()
	defer k.committer.mu.Unlock()
	k.locked.blocked = true
	for !done() && !k.locked.closed {
		k.change.Wait()
	}
	k.locked.blocked = false
	if k.locked.closed {
		return errClosed
	}
	return nil
}

// takeLocked is the committer's begin with a connection.
func (k *storing) takeLocked() {
	l := &k.locked
	k.committing, l.pieces = l.pieces, k.committing[:0]
	k.answering, l.answers = l.answers, k.answering[:0]
	l.waits, l.taken, k.lags = false, true, l.behind
}

// committed sends the answers of what is durable now and gives its memory back to the reader.
func (k *storing) committed() {
	rest := k.answering
	if !k.lags {
		rest = rest[k.send():]
	}
	k.committer.mu.Lock()
	defer k.committer.mu.Unlock()
	for _, p := range k.committing {
		p.of.held.Add(-int64(len(p.bytes)))
	}
	clear(k.committing)
	k.locked.taken = false
	if len(rest) > 0 {
		k.laterLocked(rest)
	}
	if k.locked.blocked {
		k.change.Signal()
	}
}

// send sends as much of the answers as the socket takes now: the committer waits for no client. An error is met again, and
// acted on, by who sends the rest.
func (k *storing) send() (sent int) {
	if k.sent = 0; len(k.answering) > 0 {
		_ = k.raw.Write(k.write)
	}
	return max(k.sent, 0)
}

// laterLocked keeps answers for when the client takes them, in their order.
func (k *storing) laterLocked(rest []byte) {
	l := &k.locked
	if l.closed || len(l.unsent)+len(rest) > maxUnsent {
		k.net.Close()
		return
	}
	l.unsent = append(l.unsent, rest...)
	if !l.behind {
		l.behind = true
		k.late.Go(k.catchUp)
	}
}

func (k *storing) catchUp() {
	for {
		k.committer.mu.Lock()
		b := k.locked.unsent
		k.locked.unsent = nil
		if len(b) == 0 {
			k.locked.behind = false
			k.change.Signal()
		}
		k.committer.mu.Unlock()
		if len(b) == 0 {
			return
		}
		if _, err := k.net.Write(b); err != nil {
			k.net.Close()
		}
	}
}

func (k *storing) close() {
	k.net.Close()
	k.committer.mu.Lock()
	defer k.committer.mu.Unlock()
	k.locked.closed = true
	k.change.Signal()
}
