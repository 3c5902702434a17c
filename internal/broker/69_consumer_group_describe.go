package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ConsumerGroupDescribe, versions 0 and 1 (KIP-848, KIP-1099).
//
// Groups of the consumer protocol; others are answered GROUP_ID_NOT_FOUND, with words that say
// what they are, the empty name INVALID_GROUP_ID. Version 1 tells of each member which protocol
// it speaks. Operations (KIP-430) are all there are.
//
// An answer takes no more memory than there is for answers: a group that does not fit is
// answered COORDINATOR_LOAD_IN_PROGRESS.

func (b *Broker) handleConsumerGroupDescribe(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ConsumerGroupDescribeRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) {
		resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		held := newAllowance(r.Session)
		for i, name := range req.Groups {
			if err := context.Cause(ctx); err != nil {
				held.release()
				return nil, err
			}
			if name == "" {
				resp.Groups = append(resp.Groups, consumerGroupRefused(name, codeInvalidGroupID))
				continue
			}
			for _, g := range b.o.Groups.DescribeConsumer(ctx, req.Groups[i:i+1]) {
				if !held.take(consumerGroupBytes(&g)) {
					g = consumerGroupRefused(g.Group, codeCoordinatorLoadInProgress)
				}
				g.AuthorizedOperations = operationsNotAsked
				if req.IncludeAuthorizedOperations && g.ErrorCode == codeNone {
					g.AuthorizedOperations = operationsGroup
				}
				resp.Groups = append(resp.Groups, g)
			}
		}
		return accounted{resp, held}, nil
	})
}

func consumerGroupRefused(name string, code int16) kmsg.ConsumerGroupDescribeResponseGroup {
	g := kmsg.NewConsumerGroupDescribeResponseGroup()
	g.Group, g.ErrorCode = name, code
	return g
}

// consumerGroupBytes is about what the description of a group takes in memory.
func consumerGroupBytes(g *kmsg.ConsumerGroupDescribeResponseGroup) int64 {
	n := int64(groupAnswerBytes)
	for i := range g.Members {
		m := &g.Members[i]
		n += memberAnswerBytes + int64(len(m.MemberID)+len(m.ClientID)+len(m.ClientHost)) + textBytes(m.SubscribedTopicRegex)
		for _, name := range m.SubscribedTopics {
			n += int64(len(name)) + partitionAnswerBytes
		}
		for _, a := range [][]kmsg.AssignmentTopicPartition{m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions} {
			for j := range a {
				n += partitionAnswerBytes + int64(len(a[j].Topic)) + 4*int64(len(a[j].Partitions))
			}
		}
	}
	return n
}
