package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// AlterClientQuotas, versions 0 and 1 (KIP-546).
//
// Nothing is throttled yet, and a quota that is stored and not kept would be a lie: every
// change is refused, with UNSUPPORTED_VERSION and words that say why. What is no quota at all is
// refused first, as ClientQuotaControlManager does. Taking away what nobody has set succeeds.

func (b *Broker) handleAlterClientQuotas(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.AlterClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	for i := range req.Entries {
		out := kmsg.NewAlterClientQuotasResponseEntry()
		for _, e := range req.Entries[i].Entity {
			x := kmsg.NewAlterClientQuotasResponseEntryEntity()
			x.Type, x.Name = e.Type, e.Name
			out.Entity = append(out.Entity, x)
		}
		if code, why := quotaRefusal(&req.Entries[i]); code != codeNone {
			out.ErrorCode, out.ErrorMessage = code, &why
		}
		resp.Entries = append(resp.Entries, out)
	}
	return wire.Ready(resp)
}

// quotaKeys are the quotas that an entity may have in Kafka 4.3 (QuotaConfig).
var (
	quotaKeysUser = map[string]bool{"producer_byte_rate": true, "consumer_byte_rate": true, "request_percentage": true, "controller_mutation_rate": true}
	quotaKeysIP   = map[string]bool{"connection_creation_rate": true}
)

func quotaRefusal(e *kmsg.AlterClientQuotasRequestEntry) (code int16, why string) {
	keys, why := quotaKeysOf(e.Entity)
	if why != "" {
		return codeInvalidRequest, why
	}
	set := false
	for _, op := range e.Ops {
		switch {
		case op.Remove:
			continue
		case !keys[op.Key]:
			return codeInvalidRequest, "Invalid configuration key " + op.Key
		case !(op.Value > 0):
			return codeInvalidRequest, "Quota " + op.Key + " must be greater than 0"
		}
		set = true
	}
	if set {
		return codeUnsupportedVersion, "This broker does not enforce client quotas yet."
	}
	return codeNone, ""
}

// quotaKeysOf returns the quotas that an entity may have, or why it is none.
func quotaKeysOf(entity []kmsg.AlterClientQuotasRequestEntryEntity) (keys map[string]bool, why string) {
	if len(entity) == 0 {
		return nil, "Invalid empty client quota entity"
	}
	seen := map[string]bool{}
	for _, e := range entity {
		switch {
		case seen[e.Type]:
			return nil, "Invalid client quota entity, duplicate entity entry " + e.Type
		case e.Type != quotaUser && e.Type != quotaClientID && e.Type != quotaIP:
			return nil, "Unhandled client quota entity type: " + e.Type
		case e.Name != nil && *e.Name == "":
			return nil, "Empty " + e.Type + " not supported"
		}
		seen[e.Type] = true
	}
	if !seen[quotaIP] {
		return quotaKeysUser, ""
	}
	if len(seen) > 1 {
		return nil, "Invalid quota entity combination, IP entity should not be combined with User or ClientId"
	}
	return quotaKeysIP, ""
}
