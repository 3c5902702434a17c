package collect

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"ottla/internal/investigate/evidence"
)

func apisOf(v *kversion.Versions) map[int16]int16 {
	out := map[int16]int16{}
	v.EachMaxKeyVersion(func(k, max int16) { out[k] = max })
	return out
}

// TestEachRelease holds the marks against the client's own tables of what each release offers, with ZooKeeper and without.
func TestEachRelease(t *testing.T) {
	for _, r := range releases {
		v := kversion.FromString("v" + r.name + ".0")
		if v == nil {
			t.Fatalf("no table for %s", r.name)
		}
		apis := apisOf(v)
		major := r.name[0]
		scan := &evidence.Scan{Brokers: []evidence.Broker{{APIs: apis}}}
		if major < '4' {
			identify(scan)
			if scan.Cluster.VersionLeast != r.name || scan.Cluster.VersionMost != r.name {
				t.Errorf("%s with ZooKeeper: %s to %s (%s)", r.name, scan.Cluster.VersionLeast, scan.Cluster.VersionMost, scan.Cluster.VersionWhy)
			}
			for _, k := range []kmsg.Key{kmsg.LeaderAndISR, kmsg.StopReplica, kmsg.UpdateMetadata, kmsg.ControlledShutdown} {
				delete(apis, int16(k))
			}
		}
		if major < '3' {
			continue
		}
		identify(scan)
		least, most := scan.Cluster.VersionLeast, scan.Cluster.VersionMost
		switch r.name {
		case "3.3", "3.4": // with KRaft they look alike; the key of KIP-854 tells
			if least != "3.3" || most != "3.4" {
				t.Errorf("%s with KRaft: %s to %s", r.name, least, most)
			}
			scan.Cluster.Vendor = evidence.VendorKafka
			scan.Brokers[0].Configs = map[string]evidence.Value{"log.retention.hours": {Value: "168"}}
			if r.name == "3.4" {
				scan.Brokers[0].Configs[keyExpiration] = evidence.Value{Value: "86400000"}
			}
			identify(scan)
			if scan.Cluster.VersionLeast != r.name || scan.Cluster.VersionMost != r.name {
				t.Errorf("%s with KRaft and configuration: %s to %s (%s)", r.name, scan.Cluster.VersionLeast, scan.Cluster.VersionMost, scan.Cluster.VersionWhy)
			}
		case releases[len(releases)-1].name:
			if least != r.name || most != "" {
				t.Errorf("%s: %s to %q", r.name, least, most)
			}
		default:
			if least != r.name || most != r.name {
				t.Errorf("%s with KRaft: %s to %s", r.name, least, most)
			}
		}
	}
}

func TestVendors(t *testing.T) {
	// As of Redpanda 24 and 25: transactions and quotas, but no elections, log directories' moves or tokens.
	redpanda := map[int16]int16{0: 7, 1: 13, 2: 4, 3: 8, 8: 8, 9: 8, 10: 4, 11: 6, 12: 4, 13: 4, 14: 4, 15: 5, 16: 4, 17: 1, 18: 3, 19: 6, 20: 6, 21: 2, 22: 4, 23: 4, 24: 3,
		25: 3, 26: 3, 28: 3, 29: 3, 30: 3, 31: 3, 32: 4, 33: 2, 35: 4, 36: 2, 37: 3, 42: 2, 44: 1, 45: 0, 46: 0, 47: 0, 48: 1, 49: 1, 61: 0, 65: 0, 66: 0}
	kafka := apisOf(kversion.V3_9_0())
	with := func(apis map[int16]int16, more ...int16) map[int16]int16 {
		out := map[int16]int16{}
		for k, v := range apis {
			out[k] = v
		}
		for _, k := range more {
			out[k] = 0
		}
		return out
	}
	without := func(apis map[int16]int16, less ...int16) map[int16]int16 {
		out := with(apis)
		for _, k := range less {
			delete(out, k)
		}
		return out
	}
	value := map[string]evidence.Value{"x": {}}
	for _, c := range []struct {
		name string
		scan evidence.Scan
		want evidence.Vendor
		why  string
	}{
		{"Kafka", evidence.Scan{Brokers: []evidence.Broker{{APIs: kafka}}}, evidence.VendorKafka, "Apache Kafka"},
		{"Redpanda by its APIs", evidence.Scan{Brokers: []evidence.Broker{{APIs: redpanda}}}, evidence.VendorRedpanda, "ElectLeaders"},
		{"Redpanda by its id", evidence.Scan{Cluster: evidence.Cluster{ID: "redpanda.1234"}, Brokers: []evidence.Broker{{APIs: kafka}}}, evidence.VendorRedpanda, "cluster id"},
		{"Redpanda by a topic's keys", evidence.Scan{Brokers: []evidence.Broker{{APIs: kafka}}, Topics: []evidence.Topic{{Configs: value}, {Configs: map[string]evidence.Value{"redpanda.remote.read": {}}}}},
			evidence.VendorRedpanda, "redpanda.remote.read"},
		{"AutoMQ by its APIs", evidence.Scan{Brokers: []evidence.Broker{{APIs: with(kafka, 501)}}}, evidence.VendorAutoMQ, "501"},
		{"WarpStream", evidence.Scan{Cluster: evidence.Cluster{ID: "vci_0a1b"}, Brokers: []evidence.Broker{{APIs: kafka}}}, evidence.VendorWarpStream, "vci_"},
		{"Ottla by its APIs", evidence.Scan{Brokers: []evidence.Broker{{APIs: without(apisOf(kversion.V4_3_0()), 24, 25, 26, 27, 28)}}}, evidence.VendorOttla, "transactions"},
		{"Ottla by its key", evidence.Scan{Brokers: []evidence.Broker{{APIs: kafka, Configs: map[string]evidence.Value{keyOttla: {}}}}}, evidence.VendorOttla, keyOttla},
		{"kfake", evidence.Scan{Cluster: evidence.Cluster{ID: "kfake"}, Brokers: []evidence.Broker{{APIs: kafka}}}, evidence.VendorKfake, "kfake"},
		{"a gap", evidence.Scan{Brokers: []evidence.Broker{{APIs: func() map[int16]int16 { m := with(kafka); m[3] = 8; return m }()}}}, evidence.VendorUnknown, "not Metadata"},
		{"less than Kafka has", evidence.Scan{Brokers: []evidence.Broker{{APIs: without(kafka, 34)}}}, evidence.VendorUnknown, "lacks"},
	} {
		identify(&c.scan)
		if got := c.scan.Cluster; got.Vendor != c.want || !strings.Contains(got.VendorWhy, c.why) {
			t.Errorf("%s: %s (%s)", c.name, got.Vendor, got.VendorWhy)
		}
	}
}

// TestMixedVersions: in the middle of an upgrade the range spans both.
func TestMixedVersions(t *testing.T) {
	scan := &evidence.Scan{Brokers: []evidence.Broker{{APIs: apisOf(kversion.V2_8_0())}, {}, {APIs: apisOf(kversion.V3_6_0())}}}
	identify(scan)
	if c := scan.Cluster; c.VersionLeast != "2.8" || c.VersionMost != "3.6" || !strings.Contains(c.VersionWhy, "different") {
		t.Errorf("%s to %s (%s)", c.VersionLeast, c.VersionMost, c.VersionWhy)
	}
	scan = &evidence.Scan{Brokers: []evidence.Broker{{APIs: map[int16]int16{0: 2, 1: 3, 3: 2, 18: 0}}}}
	identify(scan)
	if c := scan.Cluster; c.VersionLeast != "" || c.VersionMost != "0.10" {
		t.Errorf("%s to %s (%s)", c.VersionLeast, c.VersionMost, c.VersionWhy)
	}
}

// TestVersionOfOthers: APIs that another implementation has not at all tell nothing about its age.
func TestVersionOfOthers(t *testing.T) {
	apis := apisOf(kversion.V4_3_0())
	for _, k := range []int16{24, 25, 26, 27, 28} {
		delete(apis, k)
	}
	scan := &evidence.Scan{Brokers: []evidence.Broker{{APIs: apis}}}
	identify(scan)
	if c := scan.Cluster; c.Vendor != evidence.VendorOttla || c.VersionLeast != "4.3" || c.VersionMost != "" {
		t.Errorf("%s %s to %q (%s)", c.Vendor, c.VersionLeast, c.VersionMost, c.VersionWhy)
	}
}

func TestIDModel(t *testing.T) {
	for _, c := range []struct {
		name   string
		vendor evidence.Vendor
		probes [][2]int64 // broker, id
		want   evidence.IDModel
	}{
		{"blocks", evidence.VendorKafka, [][2]int64{{1, 5}, {1, 6}, {1, 7}, {1, 8}, {1, 9}, {2, 1000}, {2, 1001}, {2, 1002}, {2, 1003}, {2, 1004}, {1, 10}}, evidence.IDsInBlocks},
		{"blocks, first broker behind", evidence.VendorKafka, [][2]int64{{1, 5005}, {1, 5006}, {2, 1000}, {2, 1001}, {1, 5007}}, evidence.IDsInBlocks},
		{"blocks in a storm", evidence.VendorKafka, [][2]int64{{1, 5}, {1, 300}, {1, 999}, {1, 2003}, {1, 2500}, {2, 1000}, {2, 1400}, {2, 3010}, {2, 3300}, {2, 3700}, {1, 4100}}, evidence.IDsInBlocks},
		{"one counter", evidence.VendorRedpanda, [][2]int64{{1, 5}, {1, 6}, {1, 7}, {1, 8}, {1, 9}, {2, 10}, {2, 11}, {2, 12}, {2, 13}, {2, 14}, {1, 15}}, evidence.IDsGlobal},
		{"one counter in a storm", evidence.VendorUnknown, [][2]int64{{1, 5}, {1, 1006}, {1, 2007}, {1, 3008}, {1, 4009}, {2, 5010}, {2, 6011}, {2, 7012}, {2, 8013}, {2, 9014}, {1, 10015}}, evidence.IDsGlobal},
		{"random", evidence.VendorKfake, [][2]int64{{1, 5}, {1, 7_000_000_000_000}, {2, 8}, {2, 3}}, evidence.IDsRandom},
		{"falling", evidence.VendorUnknown, [][2]int64{{1, 5}, {1, 4}}, evidence.IDsRandom},
		{"one broker", evidence.VendorKafka, [][2]int64{{1, 5}, {1, 6}, {1, 7}}, evidence.IDsInBlocks},
		{"one broker of Redpanda", evidence.VendorRedpanda, [][2]int64{{1, 5}, {1, 6}, {1, 7}}, evidence.IDsGlobal},
		{"one id", evidence.VendorKafka, [][2]int64{{1, 5}}, evidence.IDsUnknown},
		{"none", evidence.VendorKafka, [][2]int64{{1, -1}, {2, -1}}, evidence.IDsUnknown},
	} {
		var probes []evidence.CounterProbe
		for _, p := range c.probes {
			probes = append(probes, evidence.CounterProbe{Broker: int32(p[0]), PID: p[1], Calibration: true})
		}
		got, why := idModel(c.vendor, probes)
		if got != c.want || why == "" {
			t.Errorf("%s: %q (%s), want %q", c.name, got, why, c.want)
		}
	}
}
