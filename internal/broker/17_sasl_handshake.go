package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// SaslHandshake, versions 0 and 1 (KIP-43, KIP-152).
//
// No listener authenticates: ILLEGAL_SASL_STATE and no mechanisms, as Kafka answers on a
// plaintext listener. A client that was told to authenticate says so then, and does not wait
// for a broker that it never finds.

func (b *Broker) handleSaslHandshake(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.SASLHandshakeResponse)
	resp.ErrorCode = codeIllegalSASLState
	return wire.Ready(resp)
}
