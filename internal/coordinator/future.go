package coordinator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// Future is an answer that may not be there yet. Wait is called at most once.
type Future struct {
	done     chan struct{}
	response kmsg.Response // set before done is closed
	// refuse makes the answer if the request comes to nothing; nil gives a nil response.
	refuse func(code int16) kmsg.Response
	code   int16 // with which it failed; set before done is closed

	// Of a call that may be parked in a group:
	shard *shard
	group string
	call  group.Call
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newFuture(refuse func(code int16) kmsg.Response) *Future {
	return &Future{done: make(chan struct{}), refuse: refuse}
}

// ready is a future that is done.
func ready(r kmsg.Response) *Future { return &Future{done: closed, response: r} }

// resolve gives the answer, once.
func (f *Future) resolve(r kmsg.Response) {
	f.response = r
	close(f.done)
}

func (f *Future) fail(code int16) {
	f.code = code
	if f.refuse == nil {
		f.resolve(nil)
		return
	}
	f.resolve(f.refuse(code))
}

// Done says whether Wait would return at once.
func (f *Future) Done() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// Wait returns the answer. When ctx ends first, because the connection is gone, the call is dropped and the error is ctx's.
func (f *Future) Wait(ctx context.Context) (kmsg.Response, error) {
	select {
	case <-f.done:
		return f.response, nil
	case <-ctx.Done():
	}
	if f.shard != nil {
		f.shard.drop(f)
	}
	return nil, ctx.Err()
}
