package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DeleteAcls, versions 1 to 3 (KIP-140, KIP-290): refused, see DescribeAcls.

func (b *Broker) handleDeleteACLs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DeleteACLsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	why := noAuthorizer
	for range req.Filters {
		x := kmsg.NewDeleteACLsResponseResult()
		x.ErrorCode, x.ErrorMessage = codeSecurityDisabled, &why
		resp.Results = append(resp.Results, x)
	}
	return wire.Ready(resp)
}
