package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// ListConfigResources, versions 0 and 1 (KIP-714, KIP-1142).
//
// Version 0 asks for client metrics subscriptions, of which there are none. From
// version 1 the types are named; no type means all. A type that nobody knows is
// answered UNSUPPORTED_VERSION, as in Kafka. Of groups those are listed that were told
// something.

var configResourceTypes = []catalog.ResourceType{
	catalog.ResourceTopic, catalog.ResourceBroker, catalog.ResourceBrokerLogger, catalog.ResourceClientMetrics, catalog.ResourceGroup,
}

func (b *Broker) handleListConfigResources(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if req.Version == 0 {
		return wire.Ready(resp)
	}
	known := make(map[catalog.ResourceType]bool, len(configResourceTypes))
	for _, t := range configResourceTypes {
		known[t] = true
	}
	types := make([]catalog.ResourceType, 0, len(configResourceTypes))
	for _, t := range req.ResourceTypes {
		if !known[catalog.ResourceType(t)] {
			resp.ErrorCode = codeUnsupportedVersion
			return wire.Ready(resp)
		}
		types = append(types, catalog.ResourceType(t))
	}
	if len(types) == 0 {
		types = configResourceTypes
	}
	for _, res := range b.o.Catalog.ConfigResources(types...) {
		x := kmsg.NewListConfigResourcesResponseConfigResource()
		x.Name, x.Type = res.Name, int8(res.Type)
		resp.ConfigResources = append(resp.ConfigResources, x)
	}
	return wire.Ready(resp)
}
