package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// SaslAuthenticate, versions 0 to 2 (KIP-152, KIP-368): refused, see SaslHandshake. The words
// are Kafka's, to which every connection of a plaintext listener is authenticated.

func (b *Broker) handleSaslAuthenticate(_ context.Context, r *wire.Request) wire.Reply {
	resp := r.Body.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	why := "SaslAuthenticate request received after successful authentication"
	resp.ErrorCode, resp.ErrorMessage = codeIllegalSASLState, &why
	return wire.Ready(resp)
}
