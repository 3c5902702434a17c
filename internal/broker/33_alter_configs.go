package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// AlterConfigs, versions 0 to 2.
//
// Replaces the whole configuration of a resource: keys that are not named go back to
// their defaults. Deprecated by IncrementalAlterConfigs (KIP-339), still spoken by old
// clients. The rules are ConfigAdminManager.preprocess and
// ConfigurationControlManager.legacyAlterConfigs; what a value of a topic, broker or group
// may be, those of ControllerConfigurationValidator.

func (b *Broker) handleAlterConfigs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.alterConfigs(req), nil })
}

func (b *Broker) alterConfigs(req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	changes := make([]catalog.ResourceChange, len(req.Resources))
	for i := range req.Resources {
		rr := &req.Resources[i]
		changes[i] = catalog.ResourceChange{Type: catalog.ResourceType(rr.ResourceType), Name: rr.ResourceName}
		for _, c := range rr.Configs {
			changes[i].Changes = append(changes[i].Changes, catalog.ConfigChange{Name: c.Name, Op: catalog.OpSet, Value: c.Value})
		}
	}
	for i, err := range b.o.Catalog.AlterConfigs(changes, req.ValidateOnly) {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		out.ErrorCode = b.code("alter configs of "+out.ResourceName, err)
		out.ErrorMessage = clientMessage(out.ErrorCode, err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}
