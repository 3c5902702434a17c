package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// ApiVersions, versions 0 to 4.
//
// A version that is not served is answered with version 0 of the response, error
// UNSUPPORTED_VERSION and the ranges, so that the client can ask again (KIP-511; Kafka
// gives the range of ApiVersions alone, which is all that clients look at). From version
// 3 the client tells its software, whose name and version must match Kafka's pattern,
// else INVALID_REQUEST (ApiVersionsRequest.isValid).
//
// Features (KIP-584): none are supported and none finalized, so the lists are empty and the
// epoch of the finalized ones is -1, "not known". Clients read that as level 0 of
// transaction.version, group.version and the others, which is true.
// Version 4 exists so that the lowest level of a supported feature may be 0
// (KAFKA-17011). There is no ZooKeeper to migrate from.

const (
	keyAPIVersions         int16 = 18
	apiVersionsSoftwareMin       = 3
)

func (b *Broker) handleApiVersions(_ context.Context, r *wire.Request) wire.Reply {
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.Unsupported {
		resp.ErrorCode = codeUnsupportedVersion
		resp.ApiKeys = b.apiKeys()
		return wire.Ready(resp)
	}
	req := r.Body.(*kmsg.ApiVersionsRequest)
	resp.Version = req.Version
	if r.Version >= apiVersionsSoftwareMin {
		if !softwareNameValid(req.ClientSoftwareName) || !softwareNameValid(req.ClientSoftwareVersion) {
			resp.ErrorCode = codeInvalidRequest
			return wire.Ready(resp)
		}
		if r.Session != nil {
			r.Session.ClientSoftwareName = req.ClientSoftwareName
			r.Session.ClientSoftwareVersion = req.ClientSoftwareVersion
		}
	}
	resp.ApiKeys = b.apiKeys()
	return wire.Ready(resp)
}

func (b *Broker) apiKeys() []kmsg.ApiVersionsResponseApiKey {
	keys := make([]kmsg.ApiVersionsResponseApiKey, 0, len(b.apis))
	for _, a := range b.apis {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
		keys = append(keys, k)
	}
	return keys
}

// softwareNameValid matches [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?.
func softwareNameValid(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '.') && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}
