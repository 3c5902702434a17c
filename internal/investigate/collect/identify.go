package collect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// release is one of Kafka's and the API by which it is told from the one before. Marks are APIs that clients see on
// brokers of both kinds, with ZooKeeper and with KRaft, except where zookeeper says otherwise.
type release struct {
	name      string
	key       kmsg.Key
	version   int16
	zookeeper bool // brokers with KRaft do not show this mark
}

// releases are Kafka's since the first with idempotent producers, oldest first.
var releases = []release{
	{"0.11", kmsg.InitProducerID, 0, false},
	{"1.0", kmsg.Metadata, 5, false},
	{"1.1", kmsg.DescribeConfigs, 1, false},
	{"2.0", kmsg.Metadata, 6, false},
	{"2.1", kmsg.Metadata, 7, false},
	{"2.2", kmsg.ListOffsets, 5, false},
	{"2.3", kmsg.IncrementalAlterConfigs, 0, false},
	{"2.4", kmsg.Metadata, 9, false},
	{"2.5", kmsg.OffsetFetch, 7, false},
	{"2.6", kmsg.DescribeConfigs, 3, false},
	{"2.7", kmsg.Fetch, 12, false},
	{"2.8", kmsg.DescribeConfigs, 4, false},
	{"3.0", kmsg.ListOffsets, 7, false},
	{"3.1", kmsg.Metadata, 12, false},
	{"3.2", kmsg.JoinGroup, 9, false},
	{"3.3", kmsg.DescribeLogDirs, 4, false},
	{"3.4", kmsg.LeaderAndISR, 7, true},
	{"3.5", kmsg.Fetch, 15, false},
	{"3.6", kmsg.AddPartitionsToTxn, 4, false},
	{"3.7", kmsg.Fetch, 16, false},
	{"3.8", kmsg.InitProducerID, 5, false},
	{"3.9", kmsg.Fetch, 17, false},
	{"4.0", kmsg.Metadata, 13, false},
	{"4.1", kmsg.Produce, 13, false},
	{"4.2", kmsg.OffsetCommit, 10, false},
	{"4.3", kmsg.DescribeLogDirs, 5, false},
}

// expirationRelease is the first whose brokers have the key producer.id.expiration.ms (KIP-854).
const expirationRelease = "3.4"

func (r release) in(apis map[int16]int16) bool {
	v, ok := apis[int16(r.key)]
	return ok && v >= r.version
}

// versionRange is what one broker's APIs say: indexes into releases, -1 if it is older than all of them. odd names a mark that is
// missing below one that is there, which no Kafka has.
type versionRange struct {
	least, most int
	met         int // the highest mark that is there
	odd         string
}

// rangeOf holds the marks against one broker's APIs. Of implementations that are not Kafka, APIs that are not there at all tell nothing
// about their age: foreign.
func rangeOf(apis map[int16]int16, foreign bool) versionRange {
	out := versionRange{least: -1, most: -1, met: -1}
	_, zookeeper := apis[int16(kmsg.LeaderAndISR)]
	tells := func(r release) bool {
		_, there := apis[int16(r.key)]
		return there || !foreign && (!r.zookeeper || zookeeper)
	}
	missing := -1
	for i, r := range releases {
		switch {
		case r.in(apis):
			if missing >= 0 && out.odd == "" {
				m := releases[missing]
				out.odd = fmt.Sprintf("%s version %d of Kafka %s, but not %s version %d of Kafka %s",
					r.key.Name(), r.version, r.name, m.key.Name(), m.version, m.name)
			}
			if missing < 0 {
				out.least = i
			}
			out.most, out.met = i, i
		case !tells(r):
			if out.most == i-1 {
				out.most = i
			}
		case missing < 0:
			missing = i
		}
	}
	return out
}

// identify says which implementation and which version the brokers are, from what the scan has by now. It may be called again when
// more is known.
func identify(scan *evidence.Scan) {
	c := &scan.Cluster
	apis := map[int16]int16{}
	for i := range scan.Brokers {
		for k, v := range scan.Brokers[i].APIs {
			apis[k] = max(apis[k], v)
		}
	}
	if len(apis) == 0 {
		return
	}
	c.Vendor, c.VendorWhy = vendorOf(scan, apis, rangeOfAll(scan, false).odd)
	nameVersion(scan, rangeOfAll(scan, c.Vendor != evidence.VendorKafka))
}

// rangeOfAll spans the ranges of all brokers that said what they offer.
func rangeOfAll(scan *evidence.Scan, foreign bool) versionRange {
	all := versionRange{least: len(releases), most: -1, met: -1}
	for i := range scan.Brokers {
		b := &scan.Brokers[i]
		if b.APIs == nil {
			continue
		}
		r := rangeOf(b.APIs, foreign)
		all.least, all.most, all.met = min(all.least, r.least), max(all.most, r.most), max(all.met, r.met)
		if all.odd == "" {
			all.odd = r.odd
		}
	}
	return all
}

// nameVersion puts the range into words. Whether brokers know the key of KIP-854 is surer than what APIs tell around it.
func nameVersion(scan *evidence.Scan, r versionRange) {
	c := &scan.Cluster
	c.VersionLeast, c.VersionMost = "", ""
	if r.met < 0 {
		c.VersionMost, c.VersionWhy = "0.10", "no InitProducerId"
		return
	}
	shown := releases[r.met]
	why := fmt.Sprintf("offers %s version %d", shown.key.Name(), shown.version)
	if r.most+1 < len(releases) {
		next := releases[r.most+1]
		why += fmt.Sprintf(", not %s version %d of Kafka %s", next.key.Name(), next.version, next.name)
	}
	border := slices.IndexFunc(releases, func(r release) bool { return r.name == expirationRelease })
	if known, asked := knowsExpiration(scan); asked && c.Vendor == evidence.VendorKafka {
		switch {
		case known && r.least < border && r.most >= border:
			r.least = border
			why += "; knows producer.id.expiration.ms"
		case !known && r.most >= border && r.least < border:
			r.most = border - 1
			why += "; does not know producer.id.expiration.ms"
		}
	}
	if r.least >= 0 {
		c.VersionLeast = releases[r.least].name
	}
	if r.most < len(releases)-1 {
		c.VersionMost = releases[r.most].name
	}
	switch {
	case r.odd != "":
		why += "; offers " + r.odd
	case r.least < r.most-1:
		why += "; the brokers are of different versions"
	}
	c.VersionWhy = why
}

// knowsExpiration says whether the brokers that told their configuration know the key of KIP-854.
func knowsExpiration(scan *evidence.Scan) (known, asked bool) {
	for i := range scan.Brokers {
		if configs := scan.Brokers[i].Configs; len(configs) > 0 {
			asked = true
			if _, ok := configs[keyExpiration]; ok {
				return true, true
			}
		}
	}
	return false, asked
}

// vendorOf names the implementation and the observation that tells. Every Apache Kafka since 2.2 offers ElectLeaders,
// AlterReplicaLogDirs and transactions, whatever is switched on; since 4.0 all have DescribeQuorum and delegation tokens.
func vendorOf(scan *evidence.Scan, apis map[int16]int16, odd string) (evidence.Vendor, string) {
	id := scan.Cluster.ID
	offers := func(k kmsg.Key) bool { _, ok := apis[int16(k)]; return ok }
	if v, why := vendorByName(scan); v != "" {
		return v, why
	}
	for k := range apis {
		if k >= automqLeast && k <= automqMost {
			return evidence.VendorAutoMQ, fmt.Sprintf("offers API %d, which AutoMQ added", k)
		}
	}
	switch {
	case offers(kmsg.DescribeProducers) && offers(kmsg.ListTransactions) && !offers(kmsg.AddPartitionsToTxn):
		return evidence.VendorOttla, "describes producers but has no transactions"
	case offers(kmsg.AddPartitionsToTxn) && !offers(kmsg.ElectLeaders) && !offers(kmsg.AlterReplicaLogDirs) &&
		offers(kmsg.IncrementalAlterConfigs) && offers(kmsg.DescribeLogDirs):
		return evidence.VendorRedpanda, "has transactions but neither ElectLeaders nor AlterReplicaLogDirs"
	case id == "kfake":
		return evidence.VendorKfake, "the cluster id is kfake"
	case offers(kmsg.IncrementalAlterConfigs) && (!offers(kmsg.AlterReplicaLogDirs) || !offers(kmsg.ElectLeaders) || !offers(kmsg.AddPartitionsToTxn)),
		apis[int16(kmsg.Metadata)] >= metadataKRaft && (!offers(kmsg.DescribeQuorum) || !offers(kmsg.CreateDelegationToken)):
		return evidence.VendorUnknown, "lacks APIs that every Apache Kafka of its age offers"
	case odd != "":
		return evidence.VendorUnknown, "offers " + odd
	}
	return evidence.VendorKafka, "offers all that Apache Kafka of its age does, and nothing that others added"
}

// metadataKRaft is the version of Metadata that came with Kafka 4.0, of which all brokers have KRaft.
const metadataKRaft = 13

// AutoMQ's own APIs, in its fork of Kafka's protocol.
const (
	automqLeast = 500
	automqMost  = 699
)

// vendorByName looks at names that only one vendor gives: cluster ids and configuration keys.
func vendorByName(scan *evidence.Scan) (evidence.Vendor, string) {
	switch id := scan.Cluster.ID; {
	case strings.HasPrefix(id, "redpanda."):
		return evidence.VendorRedpanda, "the cluster id begins with redpanda."
	case strings.HasPrefix(id, "vci_"):
		return evidence.VendorWarpStream, "the cluster id begins with vci_, as WarpStream's virtual clusters do"
	}
	for i := range scan.Brokers {
		b := &scan.Brokers[i]
		if strings.HasSuffix(b.Host, ".warpstream.com") {
			return evidence.VendorWarpStream, "its brokers are in warpstream.com"
		}
		for key := range b.Configs {
			if v := vendorOfKey(key); v != "" {
				return v, "brokers have the configuration key " + key
			}
		}
	}
	for i := range scan.Topics {
		for key := range scan.Topics[i].Configs {
			if v := vendorOfKey(key); v != "" {
				return v, "topics have the configuration key " + key
			}
		}
	}
	return "", ""
}

func vendorOfKey(key string) evidence.Vendor {
	switch {
	case key == keyOttla:
		return evidence.VendorOttla
	case key == keyAutoMQ, strings.HasPrefix(key, "automq."):
		return evidence.VendorAutoMQ
	case strings.HasPrefix(key, "redpanda."):
		return evidence.VendorRedpanda
	case strings.HasPrefix(key, "warpstream."):
		return evidence.VendorWarpStream
	}
	return ""
}
