package coordinator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Future is an answer that may not be there yet. Wait is called at most once.
type Future struct {
	done     chan struct{}
	response kmsg.Response // set before done is closed
	// drop forgets the call behind it; nil when nothing has to be told.
	drop func()
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newFuture() *Future { return &Future{done: make(chan struct{})} }

// ready is a future that is done.
func ready(r kmsg.Response) *Future { return &Future{done: closed, response: r} }

func (f *Future) resolve(r kmsg.Response) {
	f.response = r
	close(f.done)
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
	if f.drop != nil {
		f.drop()
	}
	return nil, ctx.Err()
}
