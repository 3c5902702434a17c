package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
	"ottla/internal/wire"
)

// ListGroups, versions 0 to 5 (KIP-518, KIP-848).
//
// All groups, or those whose state (version 4) and type (version 5) are named, whatever the
// case of the letters; a name that nobody knows matches nothing. The answer has no pages, and
// there may be millions of groups: they are encoded one by one, and where the memory for
// answers, or listGroupsBytesMax, does not hold them the whole is answered
// COORDINATOR_LOAD_IN_PROGRESS, because a part of the groups would pass for all of them.

const (
	listGroupsThrottleMin = 1
	listGroupsStateMin    = 4
	listGroupsTypeMin     = 5
	listGroupsFlexibleMin = 3
	// listGroupsBytesMax bounds one answer: about two million groups.
	listGroupsBytesMax = 128 << 20
	// listGroupsStep is how much memory is asked for at a time.
	listGroupsStep = 1 << 20
)

func (b *Broker) handleListGroups(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ListGroupsRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		held := newAllowance(r.Session)
		resp, err := b.listGroups(ctx, req, held)
		if err != nil {
			held.release()
			return nil, err
		}
		return accounted{resp, held}, nil
	})
}

var errTooManyGroups = errors.New("too many groups for the memory that answers have")

func (b *Broker) listGroups(ctx context.Context, req *kmsg.ListGroupsRequest, held *allowance) (wire.Response, error) {
	list := encoder{flexible: req.Version >= listGroupsFlexibleMin}
	n := 0
	err := b.o.Groups.List(ctx, req.StatesFilter, req.TypesFilter, func(g group.Listing) error {
		for int64(len(list.b)) >= held.bytes && held.budget != nil || len(list.b) > listGroupsBytesMax {
			if len(list.b) > listGroupsBytesMax || !held.take(listGroupsStep) {
				return errTooManyGroups
			}
		}
		encodeListing(&list, req.Version, &g)
		n++
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
		resp.ErrorCode = codeCoordinatorLoadInProgress
		if !errors.Is(err, errTooManyGroups) {
			resp.ErrorCode = b.code("list groups", err)
		} else {
			b.log.Warn("the list of groups is too long to be answered", "groups", n, "bytes", len(list.b))
		}
		return resp, nil
	}
	return &listedGroups{version: req.Version, count: n, list: list.b}, nil
}

func encodeListing(e *encoder, version int16, g *group.Listing) {
	e.string(g.ID)
	e.string(g.ProtocolType)
	if version >= listGroupsStateMin {
		e.string(g.State)
	}
	if version >= listGroupsTypeMin {
		e.string(g.Type)
	}
	e.noTags()
}

// listedGroups is an answer whose list is encoded already.
type listedGroups struct {
	version int16
	count   int
	list    []byte
}

// Key implements wire.Response.
func (*listedGroups) Key() int16 { return 16 }

// IsFlexible implements wire.Response.
func (l *listedGroups) IsFlexible() bool { return l.version >= listGroupsFlexibleMin }

// AppendTo implements wire.Response.
func (l *listedGroups) AppendTo(dst []byte) []byte {
	e := encoder{b: dst, flexible: l.IsFlexible()}
	if l.version >= listGroupsThrottleMin {
		e.int32(0)
	}
	e.int16(codeNone)
	e.arrayLen(l.count)
	e.b = append(e.b, l.list...)
	e.noTags()
	return e.b
}
