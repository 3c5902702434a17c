package broker

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coordinator"
	"ottla/internal/group"
	"ottla/internal/wire"
)

// operationsGroup are all that Kafka has for a group (AclEntry.supportedOperations).
const operationsGroup int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// clientOf says who sent a request, for the description of a member.
func clientOf(r *wire.Request) group.Client {
	c := group.Client{ID: r.ClientID}
	if r.Session != nil && r.Session.RemoteAddr.IsValid() {
		c.Host = "/" + javaAddress(r.Session.RemoteAddr.Addr())
	}
	return c
}

// javaAddress writes an address as java.net.InetAddress does: eight groups without leading
// zeros for IPv6, none of them left out.
func javaAddress(a netip.Addr) string {
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	b := a.As16()
	groups := make([]string, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		groups = append(groups, strconv.FormatUint(uint64(b[i])<<8|uint64(b[i+1]), 16))
	}
	return strings.Join(groups, ":")
}

// coordinated is an answer that the coordinator makes.
type coordinated struct{ future *coordinator.Future }

// Wait returns the answer when what it says is durable.
func (c coordinated) Wait(ctx context.Context) (wire.Response, error) {
	resp, err := c.future.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Done implements wire.Poller.
func (c coordinated) Done() bool { return c.future.Done() }

// parked is an answer that waits for other members, for minutes if need be. A server that stops does not wait for them.
type parked struct {
	coordinated
	draining <-chan struct{} // nil: never
	// drained is the answer of a server that stops; the client finds its coordinator again and tries once more.
	drained func() kmsg.Response
}

// Wait returns the answer, or what there is to say when the server stops.
func (p parked) Wait(ctx context.Context) (wire.Response, error) {
	if p.draining == nil || p.Done() {
		return p.coordinated.Wait(ctx)
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.draining:
			cancel()
		case <-bounded.Done():
		}
	}()
	resp, err := p.coordinated.Wait(bounded)
	if err != nil && ctx.Err() == nil {
		return p.drained(), nil
	}
	return resp, err
}

// parked makes the reply to a call that may wait for other members.
func (b *Broker) parked(r *wire.Request, groupID string, drained func() kmsg.Response) wire.Reply {
	p := parked{coordinated: coordinated{b.o.Groups.Group(r.Body, groupID, clientOf(r))}, drained: drained}
	if r.Session != nil {
		p.draining = r.Session.Draining
	}
	return p
}

// allowance is a part of the memory for answers that grows while an answer is built. It never
// waits: who holds a part must not wait for more. The zero value of a nil session takes nothing.
type allowance struct {
	budget *wire.Budget
	bytes  int64
}

func newAllowance(s *wire.Session) *allowance {
	if s == nil {
		return &allowance{}
	}
	return &allowance{budget: s.Responses}
}

// take asks for n bytes more.
func (a *allowance) take(n int64) bool {
	if !a.budget.TryAcquire(n) {
		return false
	}
	a.bytes += n
	return true
}

// release gives everything back.
func (a *allowance) release() {
	a.budget.Release(a.bytes)
	a.bytes = 0
}

// accounted is an answer whose memory is accounted for until it is sent.
type accounted struct {
	wire.Response
	held *allowance
}

// Release implements wire.Releaser.
func (a accounted) Release() { a.held.release() }

// What parts of an answer cost in memory, in bytes, beside the bytes of their strings.
const (
	memberAnswerBytes    = 256
	partitionAnswerBytes = 64
	groupAnswerBytes     = 256
)

func textBytes(s *string) int64 {
	if s == nil {
		return 0
	}
	return int64(len(*s))
}
