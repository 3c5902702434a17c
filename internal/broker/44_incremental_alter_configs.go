package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// IncrementalAlterConfigs, versions 0 and 1 (KIP-339).
//
// Sets, deletes, appends to and subtracts from the keys that are named and leaves the
// others. The rules are ConfigAdminManager.preprocess and
// ConfigurationControlManager.incrementalAlterConfigs. Unlike Kafka, which keeps
// unknown broker keys for plugins, a key that nobody knows is refused, and so is a
// change of a read-only one.
//
// A group may be told things before it exists, and keeps them when it is deleted. Unlike
// Kafka's, the number of groups that were told something is bounded.

func (b *Broker) handleIncrementalAlterConfigs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.incrementalAlterConfigs(req), nil })
}

func (b *Broker) incrementalAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	changes := make([]catalog.ResourceChange, len(req.Resources))
	for i := range req.Resources {
		rr := &req.Resources[i]
		changes[i] = catalog.ResourceChange{Type: catalog.ResourceType(rr.ResourceType), Name: rr.ResourceName}
		for _, c := range rr.Configs {
			changes[i].Changes = append(changes[i].Changes,
				catalog.ConfigChange{Name: c.Name, Op: catalog.AlterOp(c.Op), Value: c.Value})
		}
	}
	for i, err := range b.o.Catalog.IncrementalAlterConfigs(changes, req.ValidateOnly) {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		out.ErrorCode = b.code("alter configs of "+out.ResourceName, err)
		out.ErrorMessage = clientMessage(out.ErrorCode, err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}
