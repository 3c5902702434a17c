package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// The kinds of remedies, in the order of doing.
const (
	kindFree     = "free memory"
	kindThrottle = "throttle"
	kindRepair   = "repair the client"
	kindPrevent  = "prevent"
	kindUseless  = "does not help"
)

// Limits of what remedies name.
const (
	remedyTopicsMax     = 5   // suspect topics that commands name
	remedyPartitionsMax = 200 // partitions in one list of offsets
	worthTreating       = 0.05
)

// remedies are what to do about a verdict, in the order of doing: they read its level, life, horsemen, suspects and heap.
// A healthy cluster needs none. What is right depends on vendor and version; what people try first and must not is said last.
func remedies(s *evidence.Scan, v *Verdict) []Remedy {
	if v.Level == Healthy {
		return nil
	}
	t := newTreatment(s, v)
	var out []Remedy
	if t.leaking || t.churning || t.immortal {
		out = append(out, t.free()...)
		out = append(out, t.throttle()...)
		out = append(out, t.repair()...)
	}
	if t.leaking || t.churning || t.immortal || v.Level == Armed || v.Level == Storm {
		out = append(out, t.prevent()...)
	}
	if t.leaking || t.churning || t.immortal {
		out = append(out, t.useless()...)
	}
	return out
}

// treatment is what all remedies of one verdict share.
type treatment struct {
	s        *evidence.Scan
	v        *Verdict
	life     life
	versions releases
	place    place
	topics   []*Topic // the suspects that are worth treating
	future   []string // topics with records dated in the future

	leaking, churning, immortal bool

	bootstrap string // quoted, with its flag
	login     string // " --command-config FILE", or nothing
}

func newTreatment(s *evidence.Scan, v *Verdict) *treatment {
	t := &treatment{
		s: s, v: v, life: lifeOf(&s.Cluster, s.Brokers, s.Given), versions: releasesOf(&s.Cluster, s.Given), place: placeOf(s.Brokers),
		leaking: present(v, "H1"), churning: present(v, "H4b"), immortal: present(v, "H5"),
	}
	for i := range v.Suspects {
		c := &v.Suspects[i]
		if len(t.topics) < remedyTopicsMax && (i == 0 || c.Explains >= worthTreating || c.HeapShare >= worthTreating) {
			t.topics = append(t.topics, c)
		}
	}
	t.future = futureTopics(s)
	servers := strings.Join(s.Bootstrap, ",")
	if servers == "" {
		servers = "HOST:9092"
	}
	t.bootstrap = "--bootstrap-server" + value(servers)
	if s.Given.ClientConfig != "" {
		t.login = " --command-config" + value(s.Given.ClientConfig)
	}
	return t
}

func present(v *Verdict, id string) bool {
	for i := range v.Horsemen {
		if v.Horsemen[i].ID == id {
			return v.Horsemen[i].Status == Found || v.Horsemen[i].Status == Half
		}
	}
	return false
}

func futureTopics(s *evidence.Scan) []string {
	var out []string
	add := func(topic string, n int64) {
		if n > 0 && len(out) < remedyTopicsMax && !slices.Contains(out, topic) {
			out = append(out, topic)
		}
	}
	for i := range s.Sets {
		add(s.Sets[i].Topic, s.Sets[i].Future)
	}
	for i := range s.Tails {
		add(s.Tails[i].Topic, s.Tails[i].Future-s.Tails[i].LogAppendTime)
	}
	return out
}

// tool is a call of one of Kafka's scripts on this cluster.
func (t *treatment) tool(script, arguments string) string {
	return script + " " + t.bootstrap + t.login + " " + arguments
}

// ottla is a call of this program on this cluster.
func (t *treatment) ottla(arguments string) string {
	command := "ottla investigate"
	if len(t.s.Bootstrap) > 0 {
		command += " -b" + value(strings.Join(t.s.Bootstrap, ","))
	}
	if t.s.Given.ClientConfig != "" {
		command += " --config" + value(t.s.Given.ClientConfig)
	}
	return strings.TrimSpace(command + " " + arguments)
}

func (t *treatment) kafka() bool {
	switch t.s.Cluster.Vendor {
	case evidence.VendorRedpanda, evidence.VendorOttla, evidence.VendorWarpStream, evidence.VendorKfake:
		return false
	}
	return true
}

// names lists the topics that are treated.
func (t *treatment) names() string {
	var out []string
	for _, c := range t.topics {
		out = append(out, c.Name)
	}
	if len(out) == 0 {
		return "the topic"
	}
	return strings.Join(out, ", ")
}

// prevent is what keeps it from coming back unseen.
func (t *treatment) prevent() []Remedy {
	out := []Remedy{{
		ID: "R4-alerts", Kind: kindPrevent, Title: "hear of the next leak in its first hour, not at the next crash: alert rules, a dashboard, births as a metric",
		Command: strings.Replace(t.ottla(""), "ottla investigate", "ottla investigate watch", 1),
		Why:     "InitProducerId per Produce above 0.05 fits every cluster: a healthy one has about 0 " + t.rules(),
		Check:   "deploy/test.sh proves that the rules fire on a leak and keep quiet on a rolling restart",
	}, {
		ID: "R4-gate", Kind: kindPrevent, Title: "let the build of an application fail when its test run leaks producers",
		Command: "gate.sh TEST-CLUSTER:9092 THE-INTEGRATION-TEST",
		Why:     "deploy/ci-gate/gate.sh counts the producers that a test run makes; steps for GitHub Actions and GitLab lie beside it",
		Check:   "exit code 0; 1 or 2 when each test record makes a producer",
	}}
	if !t.immortal || !t.kafka() {
		return out
	}
	for _, topic := range t.future {
		out = append(out, t.refuseFuture(topic))
	}
	return out
}

func (t *treatment) rules() string {
	switch t.s.Cluster.Vendor {
	case evidence.VendorRedpanda:
		return "(deploy/prometheus/redpanda.rules.yml)"
	case evidence.VendorOttla:
		return "(deploy/prometheus/ottla.rules.yml)"
	}
	return "(deploy/prometheus/kafka.rules.yml)"
}

func (t *treatment) refuseFuture(topic string) Remedy {
	key, risk := "message.timestamp.after.max.ms", "records dated more than an hour ahead are refused: their writer gets INVALID_TIMESTAMP"
	if unknown := !t.versions.least.known() && !t.versions.most.known(); unknown || t.versions.someBelow(3, 6) {
		key, risk = "message.timestamp.type", "the broker's time replaces the one that applications gave; consumers see another date"
	}
	setting := key + "=3600000"
	if key == "message.timestamp.type" {
		setting = key + "=LogAppendTime"
	}
	return Remedy{
		ID: "R4-future", Kind: kindPrevent, Title: fmt.Sprintf("take no more records from the future in %s", topic),
		Command: t.tool("kafka-configs.sh", "--alter --entity-type topics --entity-name"+value(topic)+" --add-config "+setting),
		Risk:    risk,
		Undo:    t.tool("kafka-configs.sh", "--alter --entity-type topics --entity-name"+value(topic)+" --delete-config "+key),
		Check:   "H5 stays as it is until the old entries are gone, and does not grow",
		Why:     "an entry's age is the broker's clock minus the record's timestamp: dated ahead, it does not age",
	}
}

// useless is what people try first, with the reason why it does not work on this version.
func (t *treatment) useless() []Remedy {
	var out []Remedy
	add := func(id, title, why string) {
		out = append(out, Remedy{ID: id, Kind: kindUseless, Title: title, Why: why})
	}
	stay := phrase.SpanInWords(t.life.Seconds + checkInterval.Seconds())
	if !t.kafka() {
		if t.s.Cluster.Vendor == evidence.VendorRedpanda {
			add("R0-trim", "deleting records or lowering retention", "entries go by their own time and number, not with the data")
		}
		return out
	}
	if !t.life.TrimmingHelps {
		add("R0-trim", "deleting records or lowering retention", "since Kafka 2.4 an entry stays until it has been idle for "+t.life.Key+" (KAFKA-7190), whatever becomes of its records")
	}
	add("R0-restart", "restarting brokers, or deleting their .snapshot files", "entries are written to snapshots and read again at the start; without a snapshot the log is replayed, which also revives those that had expired")
	if h := t.v.Worst; h != nil && h.HeapMax > 0 && h.UntilFull > 0 {
		add("R0-heap", "more heap", fmt.Sprintf("it moves the date: broker %d is full in %s, with twice the heap in %s", h.Broker, phrase.SpanInWords(h.UntilFull), phrase.SpanInWords(t.withTwiceTheHeap(h))))
	} else {
		add("R0-heap", "more heap", "it moves the date; the leak fills that too, and a larger heap makes the pauses longer")
	}
	add("R0-move", "moving partitions to other brokers", "a new replica replays the whole log and revives every producer in it, also those that had expired, for up to 10 minutes")
	if t.leaking || t.churning {
		target, now, least := t.expiration()
		wait := "shorten " + t.life.Key + " as well, or wait"
		if target >= now {
			wait = "wait for that"
			add("R0-expiration", "a shorter "+t.life.Key, fmt.Sprintf("it is already %s; below %s a batch that is sent again may be stored twice", phrase.SpanInWords(now.Seconds()), phrase.SpanInWords(least.Seconds())))
		}
		add("R0-client", "repairing the client and waiting for the memory at once", fmt.Sprintf("it ends the growth; what is there stays for %s after its last write: %s", stay, wait))
	}
	return out
}

// withTwiceTheHeap is when twice the heap is full.
func (t *treatment) withTwiceTheHeap(h *Heap) float64 {
	if h.PerSecond <= 0 || h.EntryBytes <= 0 {
		return 2 * h.UntilFull
	}
	return h.UntilFull + 0.9*h.HeapMax/(h.EntryBytes*h.PerSecond)
}
