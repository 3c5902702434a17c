package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// GetTelemetrySubscriptions, version 0 (KIP-714).
//
// Every client gets the default subscription, which asks for no metrics, and asks again after
// the push interval. Who asks sooner is answered THROTTLING_QUOTA_EXCEEDED, unless its last push
// named a subscription or a codec that was not right. What is remembered of clients is bounded:
// see telemetry. Kafka serves this only where a plug-in takes the metrics.

func (b *Broker) handleGetTelemetrySubscriptions(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := req.ResponseKind().(*kmsg.GetTelemetrySubscriptionsResponse)
	id, code := b.telemetry.subscribe(time.Now(), req.ClientInstanceID)
	if resp.ErrorCode = code; code != codeNone {
		return wire.Ready(resp)
	}
	resp.ClientInstanceID, resp.SubscriptionID = id, subscriptionOf(id)
	resp.AcceptedCompressionTypes = telemetryCodecs
	resp.PushIntervalMillis = int32(telemetryInterval.Milliseconds())
	resp.TelemetryMaxBytes = b.o.Limits.TelemetryBytesMax
	resp.DeltaTemporality = true
	return wire.Ready(resp)
}
