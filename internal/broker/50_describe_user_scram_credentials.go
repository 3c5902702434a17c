package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeUserScramCredentials, version 0 (KIP-554).
//
// There are no credentials: the list of all is empty, a user who is named has none. The user of
// the empty name is refused like one who has none, a user who is named twice DUPLICATE_RESOURCE
// (ScramImage.describe).

func (b *Broker) handleDescribeUserScramCredentials(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	resp.ErrorMessage = new(string)
	names := make([]string, len(req.Users))
	count := make(map[string]int, len(req.Users))
	for i := range req.Users {
		names[i] = req.Users[i].Name
		count[names[i]]++
	}
	for _, name := range distinct(names) {
		x := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		x.User, x.ErrorCode = name, codeResourceNotFound
		why := "Attempt to describe a user credential that does not exist: " + name
		if count[name] > 1 {
			x.ErrorCode, why = codeDuplicateResource, "Cannot describe SCRAM credentials for the same user twice in a single request: "+name
		}
		x.ErrorMessage = &why
		resp.Results = append(resp.Results, x)
	}
	return wire.Ready(resp)
}
