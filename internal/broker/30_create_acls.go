package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// CreateAcls, versions 1 to 3 (KIP-140, KIP-290): refused, see DescribeAcls.

// noAuthorizer is what Kafka's AclApis says of a change where nothing is restricted.
const noAuthorizer = "No Authorizer is configured."

func (b *Broker) handleCreateACLs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.CreateACLsRequest)
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	why := noAuthorizer
	for range req.Creations {
		x := kmsg.NewCreateACLsResponseResult()
		x.ErrorCode, x.ErrorMessage = codeSecurityDisabled, &why
		resp.Results = append(resp.Results, x)
	}
	return wire.Ready(resp)
}
