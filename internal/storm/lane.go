package storm

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerBytesMax bounds one answer; that to a request for 200,000 partitions has about 6 MB.
	answerBytesMax = 64 << 20
	// Buffers of a connection that lives for long, and of one that does not.
	longReadBytes  = 256 << 10
	shortReadBytes = 4 << 10
	// slotsCompact is from where on the answered part of the queue is dropped.
	slotsCompact = 4096
)

// lane is one connection, used by one goroutine: requests are gathered in out and sent when there is nothing left to read.
type lane struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
	// answers counts what came on all lanes, for the watch over a silent broker.
	answers *atomic.Int64
	closed  func()

	correlation int32
	answered    int32
	// slots says who waits for each answer. The answers come in the order of the requests.
	slots []int32
	head  int
}

func newLane(conn net.Conn, readBytes int, answers *atomic.Int64) *lane {
	return &lane{conn: conn, in: bufio.NewReaderSize(conn, readBytes), answers: answers}
}

func (l *lane) close() {
	_ = l.conn.Close()
	if l.closed != nil {
		l.closed()
		l.closed = nil
	}
}

// expect notes that slot waits for the next answer, and returns the number to send.
func (l *lane) expect(slot int32) int32 {
	l.slots = append(l.slots, slot)
	l.correlation++
	return l.correlation
}

func (l *lane) waiting() int { return len(l.slots) - l.head }

// errNotYet: nothing came until the time given to receive.
var errNotYet = errors.New("no answer yet")

// receive returns the next answer, valid until the next call, and who waits for it. With a time it gives up then, with errNotYet,
// and can be called again. Without, only closing the connection ends the wait: see watch.
func (l *lane) receive(until time.Time) (body []byte, slot int32, err error) {
	if l.in.Buffered() == 0 {
		if err := l.flush(); err != nil {
			return nil, 0, err
		}
	}
	if err := l.await(until); err != nil {
		return nil, 0, err
	}
	var size [4]byte
	if _, err := io.ReadFull(l.in, size[:]); err != nil {
		return nil, 0, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > answerBytesMax {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d are expected", errAnswer, n, answerBytesMax)
	}
	if err := l.readBody(int(n)); err != nil {
		return nil, 0, err
	}
	slot = l.slots[l.head]
	l.head++
	if l.head == len(l.slots) || l.head > slotsCompact {
		l.slots = l.slots[:copy(l.slots, l.slots[l.head:])]
		l.head = 0
	}
	l.answered++
	if l.answers != nil {
		l.answers.Add(1)
	}
	return l.body, slot, nil
}

// await returns when an answer begins to arrive.
func (l *lane) await(until time.Time) error {
	if until.IsZero() || l.in.Buffered() > 0 {
		return nil
	}
	if err := l.conn.SetReadDeadline(until); err != nil {
		return err
	}
	_, err := l.in.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errNotYet
	}
	return cmp.Or(l.conn.SetReadDeadline(time.Time{}), err)
}

// bodyStep bounds what is allocated ahead of the bytes that arrived.
const bodyStep = 1 << 20

func (l *lane) readBody(n int) error {
	l.body = l.body[:0]
	for len(l.body) < n {
		have := len(l.body)
		want := min(n, have+bodyStep)
		if cap(l.body) < want {
			grown := make([]byte, want, want+want/2)
			copy(grown, l.body)
			l.body = grown
		}
		l.body = l.body[:want]
		if _, err := io.ReadFull(l.in, l.body[have:]); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what was gathered.
func (l *lane) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// matches checks that the answer just received is for the request whose turn it is.
func (l *lane) matches(correlation int32) error {
	if correlation != l.answered {
		return fmt.Errorf("%w: answer %d came when %d was expected", errAnswer, correlation, l.answered)
	}
	return nil
}

// call sends one request that has no prepared frame and waits for its answer. Nothing else may be outstanding.
func (l *lane) call(request kmsg.Request) (kmsg.Response, error) {
	l.out = formatter.AppendRequest(l.out, request, l.expect(0))
	body, _, err := l.receive(time.Time{})
	if err != nil {
		return nil, err
	}
	c := cursor{b: body}
	correlation := c.int32()
	if request.IsFlexible() && request.Key() != int16(kmsg.ApiVersions) {
		c.tags()
	}
	if c.bad {
		return nil, fmt.Errorf("%w: %s", errAnswer, kmsg.NameForKey(request.Key()))
	}
	if err := l.matches(correlation); err != nil {
		return nil, err
	}
	response := request.ResponseKind()
	if err := response.ReadFrom(c.b); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errAnswer, kmsg.NameForKey(request.Key()), err)
	}
	return response, nil
}

// initID asks for a producer id over a lane with nothing outstanding.
func (l *lane) initID(version int16, frame []byte) (code int16, pid int64, epoch int16, err error) {
	l.out = appendInit(l.out, frame, l.expect(0))
	body, _, err := l.receive(time.Time{})
	if err != nil {
		return 0, 0, 0, err
	}
	correlation, code, pid, epoch, err := parseInit(version, body)
	if err != nil {
		return 0, 0, 0, err
	}
	return code, pid, epoch, l.matches(correlation)
}

// authenticate runs a SASL exchange as KIP-43 and KIP-152 describe it.
func (l *lane) authenticate(ctx context.Context, o *Options, addr string) error {
	if len(o.SASL) == 0 {
		return nil
	}
	mechanism := o.SASL[0]
	handshake := kmsg.NewPtrSASLHandshakeRequest()
	handshake.Version = 1
	handshake.Mechanism = mechanism.Name()
	answer, err := l.call(handshake)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(answer.(*kmsg.SASLHandshakeResponse).ErrorCode); err != nil {
		return fmt.Errorf("SASL %s: %w", mechanism.Name(), err)
	}
	session, message, err := mechanism.Authenticate(ctx, addr)
	for done := false; err == nil && !done; {
		if message == nil {
			message = []byte{}
		}
		request := kmsg.NewPtrSASLAuthenticateRequest()
		request.Version = 0
		request.SASLAuthBytes = message
		if answer, err = l.call(request); err != nil {
			break
		}
		r := answer.(*kmsg.SASLAuthenticateResponse)
		if err = kerr.ErrorForCode(r.ErrorCode); err != nil {
			break
		}
		if done, message, err = session.Challenge(r.SASLAuthBytes); done && len(message) > 0 && err == nil {
			done = false // one more message, whose answer the mechanism does not look at
			request.SASLAuthBytes = message
			_, err = l.call(request)
			break
		}
	}
	if err != nil {
		return fmt.Errorf("SASL %s: %w", mechanism.Name(), err)
	}
	return nil
}

// codeName is an error code as it is shown: number and name.
func codeName(code int16) string {
	if e := kerr.TypedErrorForCode(code); e != nil {
		return fmt.Sprintf("%d %s", code, e.Message)
	}
	return fmt.Sprint(code)
}
