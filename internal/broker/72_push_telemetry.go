package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// PushTelemetry, version 0 (KIP-714).
//
// No subscription asks for metrics, so what a client pushes all the same is checked as
// ClientMetricsManager does and then dropped.

func (b *Broker) handlePushTelemetry(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.PushTelemetryRequest)
	resp := req.ResponseKind().(*kmsg.PushTelemetryResponse)
	resp.ErrorCode = b.telemetry.push(time.Now(), req, b.o.Limits.TelemetryBytesMax)
	return wire.Ready(resp)
}
