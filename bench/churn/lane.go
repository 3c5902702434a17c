package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	answerBytesMax = 1 << 20
	// stallMax is how long a broker may be silent while answers are outstanding.
	stallMax = 60 * time.Second
)

// lane is one pipelined connection, used by one goroutine: requests are gathered in out and sent when there is nothing left to
// read.
type lane struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte

	correlation int32
	answered    int32
	// slots says who waits for each answer. The answers come in the order of the requests.
	slots []int32
	head  int
}

func dialLane(addr string) (*lane, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &lane{conn: conn, in: bufio.NewReaderSize(conn, 256<<10)}, nil
}

func (l *lane) close() { _ = l.conn.Close() }

// expect notes that slot waits for the next answer, and returns the number to send.
func (l *lane) expect(slot int32) int32 {
	l.slots = append(l.slots, slot)
	l.correlation++
	return l.correlation
}

func (l *lane) waiting() bool { return l.head < len(l.slots) }

// receive returns the next answer, valid until the next call, and who waits for it.
func (l *lane) receive() (body []byte, slot int32, err error) {
	if l.in.Buffered() == 0 {
		if err := l.flush(); err != nil {
			return nil, 0, err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(l.in, size[:]); err != nil {
		return nil, 0, fmt.Errorf("reading from the broker: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > answerBytesMax {
		return nil, 0, fmt.Errorf("an answer of %d bytes, at most %d are expected", n, answerBytesMax)
	}
	if cap(l.body) < int(n) {
		l.body = make([]byte, n, 2*n)
	}
	l.body = l.body[:n]
	if _, err := io.ReadFull(l.in, l.body); err != nil {
		return nil, 0, fmt.Errorf("reading from the broker: %w", err)
	}
	slot = l.slots[l.head]
	l.head++
	if l.head == len(l.slots) || l.head > 4096 {
		l.slots = l.slots[:copy(l.slots, l.slots[l.head:])]
		l.head = 0
	}
	l.answered++
	return l.body, slot, nil
}

// flush sends what was gathered. The deadline is renewed only here: once for many answers.
func (l *lane) flush() error {
	if err := l.conn.SetDeadline(time.Now().Add(stallMax)); err != nil {
		return err
	}
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	if err != nil {
		return fmt.Errorf("writing to the broker: %w", err)
	}
	return nil
}

// matches checks that the answer just received is for the request whose turn it is.
func (l *lane) matches(correlation int32) error {
	if correlation != l.answered {
		return fmt.Errorf("answer %d came when %d was expected", correlation, l.answered)
	}
	return nil
}

// codeLoading is COORDINATOR_LOAD_IN_PROGRESS.
const codeLoading = 14

const (
	warmUpMax   = 30 * time.Second
	warmUpPause = 100 * time.Millisecond
)

// producerID asks for one producer id and waits for a broker that is still starting.
func (l *lane) producerID(ctx context.Context) (pid int64, epoch int16, err error) {
	ctx, cancel := context.WithTimeout(ctx, warmUpMax)
	defer cancel()
	for {
		l.out = appendInit(l.out, initFrame(), l.expect(0))
		body, _, err := l.receive()
		if err != nil {
			return 0, 0, err
		}
		_, code, pid, epoch, err := parseInit(body)
		if err != nil || code == 0 {
			return pid, epoch, err
		}
		if code != codeLoading || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("InitProducerId was answered with error %s", codeName(code))
		}
		select {
		case <-time.After(warmUpPause):
		case <-ctx.Done():
		}
	}
}

// warmUp returns when the broker gives out producer ids.
func warmUp(ctx context.Context, o options) error {
	l, err := dialLane(o.addr)
	if err != nil {
		return err
	}
	defer l.close()
	_, _, err = l.producerID(ctx)
	return err
}

func codeName(code int16) string {
	if err := kerr.ErrorForCode(code); err != nil {
		return fmt.Sprintf("%d %v", code, err)
	}
	return fmt.Sprint(code)
}
