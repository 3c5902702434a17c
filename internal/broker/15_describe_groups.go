package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeGroups, versions 0 to 6 (KIP-345, KIP-430, KIP-1043).
//
// Groups of the classic protocol, the empty name too. One that does not exist is "Dead"
// before version 6, later GROUP_ID_NOT_FOUND, and so is one of the consumer protocol, which
// ConsumerGroupDescribe describes. Operations (KIP-430) are all there are.
//
// An answer takes no more memory than there is for answers: a group that does not fit is
// answered COORDINATOR_LOAD_IN_PROGRESS.

const (
	describeGroupsOperationsMin = 3
	describeGroupsNotFoundMin   = 6
)

func (b *Broker) handleDescribeGroups(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
		held := newAllowance(r.Session)
		for i := range req.Groups {
			if err := context.Cause(ctx); err != nil {
				held.release()
				return nil, err
			}
			for _, g := range b.o.Groups.Describe(ctx, req.Groups[i:i+1]) {
				resp.Groups = append(resp.Groups, describedGroup(req, g, held))
			}
		}
		return accounted{resp, held}, nil
	})
}

// describedGroup fits the description of a group to the version, and to what memory there is.
func describedGroup(req *kmsg.DescribeGroupsRequest, g kmsg.DescribeGroupsResponseGroup, held *allowance) kmsg.DescribeGroupsResponseGroup {
	if !held.take(describedGroupBytes(&g)) {
		name := g.Group
		g = kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode = name, codeCoordinatorLoadInProgress
		return g
	}
	if g.ErrorCode == codeGroupIDNotFound && req.Version < describeGroupsNotFoundMin {
		g.ErrorCode, g.ErrorMessage = codeNone, nil
	}
	if g.ErrorCode == codeNone && req.IncludeAuthorizedOperations && req.Version >= describeGroupsOperationsMin {
		g.AuthorizedOperations = operationsGroup
	}
	return g
}

// describedGroupBytes is about what the description of a group takes in memory.
func describedGroupBytes(g *kmsg.DescribeGroupsResponseGroup) int64 {
	n := int64(groupAnswerBytes)
	for i := range g.Members {
		m := &g.Members[i]
		n += memberAnswerBytes + int64(len(m.MemberID)+len(m.ClientID)+len(m.ClientHost)+len(m.ProtocolMetadata)+len(m.MemberAssignment))
	}
	return n
}
