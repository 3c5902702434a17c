package diagnose

import (
	"strings"
	"testing"

	"ottla/internal/investigate/evidence"
)

func TestLadder(t *testing.T) {
	type configs map[string]string
	for _, c := range []struct {
		name          string
		vendor        evidence.Vendor
		least, most   string
		given         string
		configs       configs
		seconds       float64
		key           string
		dynamic, trim bool
		bounded       bool
	}{
		{"0.11", evidence.VendorKafka, "0.11", "0.11", "", nil, 7 * 86400, keyTransactionalExpiration, false, true, false},
		{"2.3", evidence.VendorKafka, "2.3", "2.3", "", configs{keyTransactionalExpiration: "3600000"}, 3600, keyTransactionalExpiration, false, true, false},
		{"2.3 or 2.4", evidence.VendorKafka, "2.3", "2.4", "", nil, 7 * 86400, keyTransactionalExpiration, false, false, false},
		{"2.4", evidence.VendorKafka, "2.4", "2.5", "", nil, 7 * 86400, keyTransactionalExpiration, false, false, false},
		{"3.3", evidence.VendorKafka, "3.3", "3.3", "", configs{keyTransactionalExpiration: "604800000"}, 7 * 86400, keyTransactionalExpiration, false, false, false},
		{"3.3 to 3.5, configs name the newer key", evidence.VendorKafka, "3.3", "3.5", "", configs{keyTransactionalExpiration: "604800000", keyProducerExpiration: "7200000"}, 7200, keyProducerExpiration, true, false, false},
		{"3.3 to 3.5, configs do not", evidence.VendorKafka, "3.3", "3.5", "", configs{keyTransactionalExpiration: "604800000"}, 7 * 86400, keyTransactionalExpiration, false, false, false},
		{"3.3 to 3.5, no configs", evidence.VendorKafka, "3.3", "3.5", "", nil, 86400, keyProducerExpiration, true, false, false},
		{"3.4", evidence.VendorKafka, "3.4", "3.4", "", nil, 86400, keyProducerExpiration, true, false, false},
		{"4.3", evidence.VendorKafka, "4.3", "", "", configs{keyProducerExpiration: "600000"}, 600, keyProducerExpiration, true, false, false},
		{"given 2.8 overrides", evidence.VendorKafka, "3.6", "3.6", "2.8.2", nil, 7 * 86400, keyTransactionalExpiration, false, false, false},
		{"nothing known", evidence.VendorUnknown, "", "", "", nil, 86400, keyProducerExpiration, true, false, false},
		{"nothing known but configs", evidence.VendorUnknown, "", "", "", configs{keyTransactionalExpiration: "1000"}, 1, keyTransactionalExpiration, false, false, false},
		{"nonsense", evidence.VendorKafka, "x.y", "-3", "", configs{keyProducerExpiration: "NaN"}, 86400, keyProducerExpiration, true, false, false},
		{"automq", evidence.VendorAutoMQ, "3.9", "3.9", "", nil, 86400, keyProducerExpiration, true, false, false},
		{"ottla", evidence.VendorOttla, "3.9", "", "", nil, 86400, keyProducerExpiration, true, false, true},
		{"redpanda", evidence.VendorRedpanda, "", "", "", configs{keyRedpandaProducers: "100000"}, 7 * 86400, keyRedpandaExpiration, true, false, true},
		{"redpanda without a limit", evidence.VendorRedpanda, "", "", "", configs{keyRedpandaProducers: "18446744073709551615"}, 7 * 86400, keyRedpandaExpiration, true, false, false},
		{"warpstream", evidence.VendorWarpStream, "", "", "", nil, 86400, keyProducerExpiration, false, false, false},
	} {
		brokers := []evidence.Broker{{ID: 1}, {ID: 2, Configs: map[string]evidence.Value{}}}
		for key, value := range c.configs {
			brokers[1].Configs[key] = evidence.Value{Value: value, Source: "static"}
		}
		l := LifeOf(&evidence.Cluster{Vendor: c.vendor, VersionLeast: c.least, VersionMost: c.most}, brokers, evidence.Given{Version: c.given})
		if l.Seconds != c.seconds || l.Key != c.key || l.Dynamic != c.dynamic || l.TrimmingHelps != c.trim || (l.Bounded != "") != c.bounded || l.Rule == "" || l.Source == "" {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}

func TestReleases(t *testing.T) {
	for text, want := range map[string]release{
		"3.6.2": {3, 6}, "v4.0": {4, 0}, "2.8-SNAPSHOT": {2, 8}, "3": {3, 0}, "": {}, "x": {}, "99999999999999999999.1": {}, "3.99999999": {3, 0}, " 4.3.1-rc0": {4, 3},
	} {
		if got := parseRelease(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	if got := (releases{least: release{3, 5}, most: release{2, 0}}).String(); got != "3.5 to 2.0" {
		t.Error(got)
	}
	if r := releasesOf(&evidence.Cluster{VersionLeast: "3.5", VersionMost: "2.0"}, evidence.Given{}); r.taken() != (release{3, 5}) {
		t.Errorf("a range upside down: %v", r)
	}
}

// TestRetentionBoundsLifeBelow24: there entries go with the data.
func TestRetentionBoundsLifeBelow24(t *testing.T) {
	for version, want := range map[string]float64{"2.3": 3600, "2.4": 7 * 86400} {
		l := lifeOf(&evidence.Cluster{Vendor: evidence.VendorKafka}, nil, evidence.Given{Version: version})
		topic := evidence.Topic{Configs: map[string]evidence.Value{"retention.ms": {Value: "3600000"}, "cleanup.policy": {Value: "delete"}}}
		if got := l.of(&topic); got != want {
			t.Errorf("%s: %v s, want %v", version, got, want)
		}
		topic.Configs["cleanup.policy"] = evidence.Value{Value: "compact"}
		if got := l.of(&topic); got != 7*86400 {
			t.Errorf("%s, compacted: %v s", version, got)
		}
	}
}

// TestLifeSaysWhatWasNotRead: a default is no fact.
func TestLifeSaysWhatWasNotRead(t *testing.T) {
	const said = "by default 1 day (the configuration was not read)"
	c := &evidence.Cluster{Vendor: evidence.VendorKafka, VersionLeast: "4.3"}
	if l := LifeOf(c, nil, evidence.Given{}); !strings.Contains(l.Rule, said) {
		t.Errorf("not read: %s", l.Rule)
	}
	read := []evidence.Broker{{Configs: map[string]evidence.Value{keyProducerExpiration: {Value: "86400000"}}}}
	if l := LifeOf(c, read, evidence.Given{}); strings.Contains(l.Rule, "not read") {
		t.Errorf("read: %s", l.Rule)
	}
	if l := LifeOf(&evidence.Cluster{Vendor: evidence.VendorRedpanda}, nil, evidence.Given{}); !strings.Contains(l.Rule, "by default 7 days (the configuration was not read)") {
		t.Errorf("redpanda: %s", l.Rule)
	}
}
