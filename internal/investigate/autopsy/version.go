package autopsy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// metadataLevels says which Kafka a finalized metadata.version needs at least (MetadataVersion): the first level of each.
var metadataLevels = []struct {
	level   int16
	version string
}{{1, "3.0"}, {2, "3.1"}, {3, "3.2"}, {4, "3.3"}, {8, "3.4"}, {9, "3.5"}, {12, "3.6"}, {15, "3.7"}, {20, "3.8"}, {21, "3.9"}, {22, "4.0"}, {26, "4.1"}}

var majorMinor = regexp.MustCompile(`^(\d{1,2})\.(\d{1,2})`)

// versionNumber orders versions: 3.5 is 305. 0 if it is none.
func versionNumber(v string) int {
	m := majorMinor.FindStringSubmatch(v)
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major*100 + minor
}

// narrowed is what several sources say together.
type narrowed struct {
	Version
	hows []string
}

func (n *narrowed) atLeast(v, how string) {
	if versionNumber(v) > versionNumber(n.Least) {
		n.Least = v
		n.because(how)
	}
}

func (n *narrowed) atMost(v, how string) {
	if n.Most == "" || versionNumber(v) < versionNumber(n.Most) {
		n.Most = v
		n.because(how)
	}
}

func (n *narrowed) because(how string) {
	if !slices.Contains(n.hows, how) {
		n.hows = append(n.hows, how)
	}
}

// versionOf tells which Kafka wrote the evidence.
func versionOf(e *Evidence) Version {
	if v := majorMinor.FindString(e.Given.Version); v != "" {
		return Version{v, v, "given"}
	}
	for i := len(e.Logs) - 1; i >= 0; i-- {
		if v := majorMinor.FindString(e.Logs[i].Version); v != "" {
			return Version{v, v, fmt.Sprintf("%s says Kafka version %s", e.Logs[i].Path, e.Logs[i].Version)}
		}
	}
	n := &narrowed{}
	if len(e.Ottla) > 0 && len(e.Histograms) == 0 {
		return Version{}
	}
	for i := range e.Histograms {
		n.classes(e.Histograms[i].Classes)
	}
	if e.Metadata != nil {
		for _, l := range metadataLevels {
			if e.Metadata.Level >= l.level {
				n.atLeast(l.version, fmt.Sprintf("metadata.version is %d", e.Metadata.Level))
			}
		}
	}
	for _, l := range e.Logs {
		if len(l.Partitions) > 0 {
			n.atLeast("3.0", "the log counts producers when it writes a snapshot")
		}
	}
	if n.Most != "" && versionNumber(n.Most) < versionNumber(n.Least) {
		n.Most = "" // of several brokers
	}
	n.How = strings.Join(n.hows, "; ")
	return n.Version
}

// classes reads the version off the names of classes: the producers' moved twice, and others came and went with them.
func (n *narrowed) classes(c map[string]Count) {
	if _, ok := c[classEntryJava]; ok {
		n.atLeast("3.5", "its class is "+classEntryJava)
	}
	if e, ok := c[classEntryLog]; ok {
		n.atLeast("1.1", "its class is "+classEntryLog)
		n.atMost("3.4", "its class is "+classEntryLog)
		// KAFKA-7190 in 2.4 gave an entry a time of its own, 8 bytes; a node of a map shows how wide pointers are.
		if node := c["java.util.HashMap$Node"]; e.Objects > 0 && node.Objects > 0 && node.Bytes/node.Objects == 32 {
			if e.Bytes/e.Objects == 40 {
				n.atMost("2.3", "an entry has no time of its own (40 bytes)")
			} else {
				n.atLeast("2.4", "an entry has a time of its own (48 bytes)")
			}
		}
		if _, ok := c["kafka.log.Log"]; ok {
			n.atMost("3.0", "a partition's log is of class kafka.log.Log")
		}
		if _, ok := c["kafka.log.UnifiedLog"]; ok {
			n.atLeast("3.1", "a partition's log is of class kafka.log.UnifiedLog")
			if _, ok := c["kafka.log.ProducerStateManagerConfig"]; ok {
				n.atLeast("3.4", "there is a kafka.log.ProducerStateManagerConfig")
			} else {
				n.atMost("3.3", "there is no kafka.log.ProducerStateManagerConfig")
			}
		}
	}
	if _, ok := c[classEntry011]; ok {
		n.atLeast("0.11", "its class is "+classEntry011)
		n.atMost("1.0", "its class is "+classEntry011)
	}
}

// clusterOf puts what is known of the broker into the form that the ladder of state lives reads.
func clusterOf(e *Evidence, v Version) (*evidence.Cluster, []evidence.Broker, evidence.Given) {
	c := &evidence.Cluster{Controller: -1, Vendor: evidence.VendorKafka, VersionLeast: v.Least, VersionMost: v.Most, VersionWhy: v.How, TransactionVersion: -1}
	configs := map[string]evidence.Value{}
	for _, l := range e.Logs {
		for k, val := range l.Configs {
			configs[k] = evidence.Value{Value: val, Source: l.Path}
		}
	}
	if e.Metadata != nil {
		for k, val := range e.Metadata.Configs {
			configs[k] = evidence.Value{Value: val, Source: "metadata log"}
		}
	}
	if len(e.Ottla) > 0 && len(e.Histograms) == 0 {
		c.Vendor = evidence.VendorOttla
	}
	given := evidence.Given{HeapBytes: e.Given.HeapBytes}
	if v.Least == v.Most {
		given.Version = v.Least
	}
	return c, []evidence.Broker{{Answered: true, Configs: configs}}, given
}

// lifeOf is how long an entry lived on that broker.
func lifeOf(e *Evidence, v Version) diagnose.StateLife {
	return diagnose.LifeOf(clusterOf(e, v))
}
