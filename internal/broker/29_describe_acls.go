package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeAcls, versions 1 to 3 (KIP-140, KIP-290).
//
// There is no authorizer: SECURITY_DISABLED, in Kafka's words (AclApis), so that kafka-acls
// says so. What the filter says is not looked at.

func (b *Broker) handleDescribeACLs(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.DescribeACLsResponse)
	why := "No Authorizer is configured on the broker"
	resp.ErrorCode, resp.ErrorMessage = codeSecurityDisabled, &why
	return wire.Ready(resp)
}
