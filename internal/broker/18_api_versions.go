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
// Features (KIP-584): what features.go lists. Clients read the absence of another one as level
// 0, which is true of transaction.version, share.version and streams.version. Levels never
// change while the broker runs, so their epoch is 0.
// Version 4 exists so that the lowest level of a supported feature may be 0: before it such a
// feature is left out of those supported (KAFKA-17011). There is no ZooKeeper to migrate from.

const (
	keyAPIVersions          int16 = 18
	apiVersionsSoftwareMin        = 3
	apiVersionsLevelZeroMin       = 4
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
	b.addFeatures(resp)
	return wire.Ready(resp)
}

// addFeatures tells the features, in versions that can.
func (b *Broker) addFeatures(resp *kmsg.ApiVersionsResponse) {
	if resp.Version < apiVersionsSoftwareMin {
		return
	}
	for _, f := range b.features() {
		if f.min > 0 || resp.Version >= apiVersionsLevelZeroMin {
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MinVersion, s.MaxVersion = f.name, f.min, f.max
			resp.SupportedFeatures = append(resp.SupportedFeatures, s)
		}
		l := kmsg.NewApiVersionsResponseFinalizedFeature()
		l.Name, l.MinVersionLevel, l.MaxVersionLevel = f.name, f.level, f.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, l)
		resp.FinalizedFeaturesEpoch = 0
	}
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
