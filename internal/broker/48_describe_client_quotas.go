package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeClientQuotas, versions 0 and 1 (KIP-546).
//
// There are no quotas, so a filter that makes sense matches nothing; one that does not is
// refused as ClientQuotaCache.describeClientQuotas does.

// The kinds of entities that quotas are for.
const (
	quotaUser     = "user"
	quotaClientID = "client-id"
	quotaIP       = "ip"
)

func (b *Broker) handleDescribeClientQuotas(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	code, why := quotaFilterRefusal(req.Components)
	resp.ErrorCode, resp.ErrorMessage = code, &why
	if code == codeNone {
		resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // nothing matches; null is for errors
	}
	return wire.Ready(resp)
}

func quotaFilterRefusal(components []kmsg.DescribeClientQuotasRequestComponent) (code int16, why string) {
	seen := map[string]bool{}
	for i := range components {
		c := &components[i]
		switch c.EntityType {
		case quotaUser, quotaClientID, quotaIP:
		case "":
			return codeInvalidRequest, "Invalid empty entity type."
		default:
			return codeUnsupportedVersion, "Unsupported entity type " + c.EntityType
		}
		if seen[c.EntityType] {
			return codeInvalidRequest, fmt.Sprintf("Entity type %s cannot appear more than once in the filter.", c.EntityType)
		}
		seen[c.EntityType] = true
		switch {
		case c.MatchType == kmsg.QuotasMatchTypeExact && c.Match == nil:
			return codeInvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null."
		case c.MatchType == kmsg.QuotasMatchTypeDefault && c.Match != nil:
			return codeInvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."
		case c.MatchType == kmsg.QuotasMatchTypeAny && c.Match != nil:
			return codeInvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."
		case c.MatchType < kmsg.QuotasMatchTypeExact || c.MatchType > kmsg.QuotasMatchTypeAny:
			return codeInvalidRequest, fmt.Sprintf("Unknown match type %d", c.MatchType)
		}
	}
	if seen[quotaIP] && (seen[quotaUser] || seen[quotaClientID]) {
		return codeInvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."
	}
	return codeNone, ""
}
