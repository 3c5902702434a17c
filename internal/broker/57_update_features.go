package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// UpdateFeatures, versions 0 to 2 (KIP-584, KIP-778).
//
// The levels of features are what this broker can do; nobody can change them. An update to the
// level that is in force succeeds, any other fails with FEATURE_UPDATE_FAILED and names the
// first feature that is wrong, as FeatureControlManager.updateFeatures does. All fail if one does.

const (
	upgradeOnly          int8 = 1
	upgradeSafeDowngrade int8 = 2
	upgradeAnyDowngrade  int8 = 3

	updateFeaturesTypeMin    = 1
	updateFeaturesResultsMax = 1
)

func (b *Broker) handleUpdateFeatures(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.UpdateFeaturesRequest)
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if why := b.featureRefusal(req.Version, u); why != "" {
			why = fmt.Sprintf("The update failed for all features since the following feature had an error: Invalid update version %d for feature %s. %s",
				u.MaxVersionLevel, u.Feature, why)
			resp.ErrorCode, resp.ErrorMessage, resp.Results = codeFeatureUpdateFailed, &why, nil
			return wire.Ready(resp)
		}
		x := kmsg.NewUpdateFeaturesResponseResult()
		none := "NONE" // so Kafka
		x.Feature, x.ErrorMessage = u.Feature, &none
		if req.Version <= updateFeaturesResultsMax {
			resp.Results = append(resp.Results, x)
		}
	}
	return wire.Ready(resp)
}

func (b *Broker) featureRefusal(version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdate) string {
	kind := u.UpgradeType
	if version < updateFeaturesTypeMin {
		kind = upgradeOnly
		if u.AllowDowngrade {
			kind = upgradeSafeDowngrade
		}
	}
	f, found := b.feature(u.Feature)
	switch {
	case kind < upgradeOnly || kind > upgradeAnyDowngrade:
		return "The controller does not support the given upgrade type."
	case !found:
		return fmt.Sprintf("Local controller %d does not support this feature.", b.o.NodeID)
	case u.MaxVersionLevel < 0 || u.MaxVersionLevel > f.max:
		return fmt.Sprintf("Local controller %d only supports versions %d-%d", b.o.NodeID, f.min, f.max)
	case u.MaxVersionLevel == f.level:
		return ""
	case kind == upgradeOnly:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	}
	return "This broker cannot do without this feature."
}
