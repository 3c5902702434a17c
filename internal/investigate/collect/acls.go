package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

const (
	aclTopicsMax   = diagnose.SuspectsMax
	aclBrokersMax  = 3       // brokers that are tried, one after the other
	aclAnswerBytes = 1 << 20 // what is reserved for an answer
)

const permissionACLs = "DESCRIBE on Cluster"

var sourceACLs = source{
	name:        evidence.SourceACLs,
	what:        "who may write to the topics under suspicion",
	permissions: permissionACLs,
	run:         runACLs,
	most:        func(*step) (int64, int64) { return aclTopicsMax, aclTopicsMax * aclAnswerBytes / 16 },
}

func runACLs(ctx context.Context, s *step) error {
	topics := diagnose.SuspectTopics(s.scan, aclTopicsMax)
	brokers := s.answering()
	out := &evidence.ACLsSeen{}
	for _, topic := range topics {
		resp, err := s.describeACLs(ctx, brokers[:min(len(brokers), aclBrokersMax)], topic)
		switch {
		case errors.Is(err, kerr.SecurityDisabled): // Kafka's answer without an authorizer
			s.ok()
			out.NoAuthorizer = true
			out.Topics = topics
			s.write(func(scan *evidence.Scan) { scan.ACLs = out })
			return nil
		case err != nil:
			s.trouble(err, permissionACLs)
			if state := classify(err); state == evidence.Denied || state == evidence.Unsupported {
				return nil // the next topic's answer would be the same
			}
			continue
		}
		s.ok()
		out.Topics = append(out.Topics, topic)
		if left := addACLs(out, resp); left > 0 {
			s.leftOut(fmt.Sprintf("%d access rules of %s were not kept", left, topic))
		}
	}
	if len(out.Topics) > 0 {
		slices.SortFunc(out.ACLs, compareACLs)
		out.ACLs = slices.Compact(out.ACLs)
		s.write(func(scan *evidence.Scan) { scan.ACLs = out })
	}
	return nil
}

// describeACLs asks one broker after the other; each knows all rules.
func (s *step) describeACLs(ctx context.Context, brokers []int32, topic string) (resp *kmsg.DescribeACLsResponse, err error) {
	err = errNothing
	for _, broker := range brokers {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName = kmsg.ACLResourceTypeTopic, &topic
		req.ResourcePatternType = kmsg.ACLResourcePatternTypeMatch // literal, prefixed, and the wildcard
		req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		resp, err = req.RequestWith(ctx, s.at(broker, aclAnswerBytes))
		if err == nil {
			return resp, coded(resp.ErrorCode)
		}
	}
	return nil, err
}

// addACLs keeps the rules that let somebody write.
func addACLs(out *evidence.ACLsSeen, resp *kmsg.DescribeACLsResponse) (left int) {
	for i := range resp.Resources {
		r := &resp.Resources[i]
		for j := range r.ACLs {
			a := &r.ACLs[j]
			if a.PermissionType != kmsg.ACLPermissionTypeAllow || a.Operation != kmsg.ACLOperationWrite && a.Operation != kmsg.ACLOperationAll {
				continue
			}
			if len(out.ACLs) >= evidence.ACLsMax {
				left++
				continue
			}
			out.ACLs = append(out.ACLs, evidence.ACL{
				Principal: a.Principal, Host: a.Host, Operation: a.Operation.String(), Permission: a.PermissionType.String(),
				Resource: "topic:" + r.ResourceName, Pattern: strings.ToLower(r.ResourcePatternType.String()),
			})
		}
	}
	return left
}

func compareACLs(a, b evidence.ACL) int {
	return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Host, b.Host))
}
