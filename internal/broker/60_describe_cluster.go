package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeCluster, versions 0 to 2 (KIP-700).
//
// Version 1 says which endpoint type the client expects (KIP-919): this is a broker's,
// there are no controllers to talk to. Version 2 can include fenced brokers (KIP-1073);
// there are none.

const (
	endpointBroker     = 1
	endpointController = 2

	codeMismatchedEndpointType  int16 = 114
	codeUnsupportedEndpointType int16 = 115
)

func (b *Broker) handleDescribeCluster(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType, resp.ControllerID = endpointBroker, -1
	if req.Version >= 1 && req.EndpointType != endpointBroker {
		code, message := codeUnsupportedEndpointType, fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == endpointController {
			code = codeMismatchedEndpointType
			message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		}
		resp.ErrorCode, resp.ErrorMessage = code, &message
		return wire.Ready(resp)
	}
	n := b.node(r.Session)
	broker := kmsg.NewDescribeClusterResponseBroker()
	broker.NodeID, broker.Host, broker.Port, broker.Rack = n.id, n.host, n.port, n.rack
	resp.Brokers = append(resp.Brokers, broker)
	resp.ClusterID, resp.ControllerID = b.o.ClusterID, b.o.NodeID
	resp.ClusterAuthorizedOperations = operationsNotAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = operationsCluster
	}
	return wire.Ready(resp)
}
