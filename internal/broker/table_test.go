package broker

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coordinator"
	"ottla/internal/wire"
)

// withGroups is a broker that says it serves groups and must not be asked to.
func withGroups() *Broker { return New(Options{Groups: new(coordinator.Coordinator)}) }

func TestTable(t *testing.T) {
	if n := len(withGroups().APIs()); n != len(apiTable) {
		t.Fatalf("%d APIs are not the table of %d", n, len(apiTable))
	}
	for _, a := range New(Options{}).APIs() {
		for _, row := range apiTable {
			if row.key == a.Key && row.groups {
				t.Errorf("%s is served without a coordinator", row.name)
			}
		}
	}
	last := int16(-1)
	for _, a := range apiTable {
		if a.key <= last {
			t.Errorf("%s: key %d is not ascending", a.name, a.key)
		}
		last = a.key
		req := kmsg.RequestForKey(a.key)
		if req == nil {
			t.Errorf("%s: the codec does not know key %d", a.name, a.key)
			continue
		}
		if a.min < 0 || a.min > a.max || a.max > req.MaxVersion() {
			t.Errorf("%s: versions %d to %d, the codec knows up to %d", a.name, a.min, a.max, req.MaxVersion())
		}
		if a.frameBytesMax <= 0 || a.handle == nil {
			t.Errorf("%s: incomplete row", a.name)
		}
	}
}

// TestHandleRefusesWhatIsNotServed: the server refuses these before; a caller that
// does not must not reach a handler with a body it does not expect.
func TestHandleRefusesWhatIsNotServed(t *testing.T) {
	b := New(Options{})
	for _, r := range []*wire.Request{
		{Key: 4711, Body: kmsg.NewPtrMetadataRequest()},
		{Key: 1, Version: 3, Body: kmsg.NewPtrFetchRequest()},
		{Key: 3, Version: 14, Body: kmsg.NewPtrMetadataRequest()},
		{Key: 3, Version: 1},
		{Key: 3, Version: 99, Unsupported: true},
	} {
		if resp, err := b.Handle(t.Context(), r).Wait(context.Background()); resp != nil || err != wire.ErrCloseConnection {
			t.Errorf("key %d version %d: %v, %v", r.Key, r.Version, resp, err)
		}
	}
}

func TestAPIVersions(t *testing.T) {
	b := withGroups()
	s := &wire.Session{}
	answer := func(r *wire.Request) *kmsg.ApiVersionsResponse {
		t.Helper()
		r.Key, r.Session = 18, s
		resp, err := b.Handle(t.Context(), r).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*kmsg.ApiVersionsResponse)
	}
	resp := answer(&wire.Request{Version: 99, Unsupported: true})
	if resp.Version != 0 || resp.ErrorCode != codeUnsupportedVersion || len(resp.ApiKeys) != len(apiTable) {
		t.Errorf("unsupported version: %+v", resp)
	}
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "kgo", "1.2.3-rc.1"
		resp := answer(&wire.Request{Version: version, Body: req})
		if resp.Version != version || resp.ErrorCode != codeNone || len(resp.ApiKeys) != len(apiTable) {
			t.Errorf("version %d: %+v", version, resp)
		}
		supported, finalized, epoch := 0, 0, int64(-1)
		if version >= 3 {
			finalized, epoch = 1, 0
		}
		if version >= 4 {
			supported = 1
		}
		if len(resp.SupportedFeatures) != supported || len(resp.FinalizedFeatures) != finalized || resp.FinalizedFeaturesEpoch != epoch {
			t.Errorf("version %d: features %+v, %+v of epoch %d", version, resp.SupportedFeatures, resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch)
		}
		for _, f := range resp.FinalizedFeatures { // what kafka-features shows of Apache Kafka 4.3.1
			if f.Name != "group.version" || f.MaxVersionLevel != 1 || f.MinVersionLevel != 1 {
				t.Errorf("got %+v", f)
			}
		}
	}
	if s.ClientSoftwareName != "kgo" || s.ClientSoftwareVersion != "1.2.3-rc.1" {
		t.Errorf("session %+v", s)
	}
	bad := kmsg.NewPtrApiVersionsRequest()
	bad.Version, bad.ClientSoftwareName, bad.ClientSoftwareVersion = 3, "evil\n", "1"
	if resp := answer(&wire.Request{Version: 3, Body: bad}); resp.ErrorCode != codeInvalidRequest || len(resp.ApiKeys) != 0 {
		t.Errorf("invalid software name: %+v", resp)
	}
	if s.ClientSoftwareName != "kgo" {
		t.Error("an invalid name was kept")
	}
}

func TestSoftwareNameValid(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": true, "9": true, "-": false, "a-": false, ".a": false, "a-b.c": true, "apache-kafka-java": true,
		"a b": false, "a/b": false, "ä": false, "a\x00b": false,
	} {
		if softwareNameValid(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
