package server

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// readBufferBytes is what a connection takes for reading while bytes are there. A frame that fits is handled in place.
	readBufferBytes = 4 << 10
	// largeFrameBytes divides the two lines in which frames wait for memory.
	largeFrameBytes = 1 << 20

	// decodedBytesMax bounds the decoded form of large requests that wait for their answer.
	decodedBytesMax = 64 << 20
	// decodedBytesLarge is where a decoded request starts to count against decodedBytesMax.
	decodedBytesLarge = 16 << 10
	// connectionDecodedBytesMax bounds the decoded requests of one connection that wait for their answer; one
	// larger request is handled when nothing else waits.
	connectionDecodedBytesMax = 128 << 10
	// requestBytes is what every request that waits for its answer counts as, over its elements.
	requestBytes = 512

	// quietSoon is how long there must be no request before a connection rests, see conn: long enough for a client that
	// asks, produces and leaves, and so short that of many that come at once and stay few are awake at a time. From the
	// busyRequests-th request on it is quietAfter.
	quietSoon    = 20 * time.Millisecond
	busyRequests = 8
	quietAfter   = time.Second

	// firstRequestMax bounds how long a connection may stay silent before its first request.
	firstRequestMax = time.Minute
	// transferMax and transferBytesPerSecond bound how long a frame may take from its first byte to its
	// last, and how long a client may take to read an answer: a start, and a rate for the large ones.
	transferMax            = 30 * time.Second
	transferBytesPerSecond = 256 << 10
)

// transferTimeout is how long n bytes may take in either direction.
func transferTimeout(n int) time.Duration {
	return transferMax + time.Duration(n)*time.Second/transferBytesPerSecond
}

// quietLogPeriod is the distance between two lines of one kind.
const quietLogPeriod = 10 * time.Second

// quietLog writes at most one line per quietLogPeriod, so that clients cannot fill a disk with our
// complaints about them. The next line says how many were left out.
type quietLog struct {
	mu struct {
		sync.Mutex
		last    time.Time
		omitted int
	}
}

func (q *quietLog) warn(l *slog.Logger, message string, args ...any) {
	now := time.Now()
	q.mu.Lock()
	if !q.mu.last.IsZero() && now.Sub(q.mu.last) < quietLogPeriod {
		q.mu.omitted++
		q.mu.Unlock()
		return
	}
	omitted := q.mu.omitted
	q.mu.last, q.mu.omitted = now, 0
	q.mu.Unlock()
	if omitted > 0 {
		args = append(args, "omitted", omitted)
	}
	l.Warn(message, args...)
}
