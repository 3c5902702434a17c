package collect

import (
	"errors"
	"sync"

	"ottla/internal/investigate/evidence"
)

var (
	errBytes    = errors.New("the budget of bytes is used up")
	errRequests = errors.New("the budget of requests is used up")
)

// budget is what a scan may still read and ask. A request reserves the most that its answer can be before it is sent; what was
// read is charged when it has been read, so an answer may exceed its reservation by what the caller guessed too low.
type budget struct {
	bytesMax, requestsMax int64
	mu                    struct {
		sync.Mutex
		bytes, requests int64 // used
		reservedBytes   int64
		reserved        int64 // requests
		exhausted       bool
	}
}

// reserve asks for room for one request and an answer of most bytes. Each reservation that is granted is given back once.
func (b *budget) reserve(most int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.requests+b.mu.reserved+1 > b.requestsMax:
		b.mu.exhausted = true
		return errRequests
	case b.mu.bytes+b.mu.reservedBytes+most > b.bytesMax:
		b.mu.exhausted = true
		return errBytes
	}
	b.mu.reserved++
	b.mu.reservedBytes += most
	return nil
}

func (b *budget) giveBack(most int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.reserved--
	b.mu.reservedBytes -= most
}

// charge counts what went over the network.
func (b *budget) charge(bytes, requests int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.bytes += bytes
	b.mu.requests += requests
}

// left is how many bytes may still be read.
func (b *budget) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, b.bytesMax-b.mu.bytes-b.mu.reservedBytes)
}

func (b *budget) used() evidence.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	return evidence.Budget{BytesMax: b.bytesMax, RequestsMax: b.requestsMax, Bytes: b.mu.bytes, Requests: b.mu.requests, Exhausted: b.mu.exhausted}
}
