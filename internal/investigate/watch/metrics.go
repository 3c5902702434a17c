package watch

import (
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// The names of the metrics. All carry the label cluster. Alert rules and dashboards rest on them: they are not renamed.
const (
	MetricPIDBirths         = "ottla_investigate_pid_births_total"             // counter; since the watch began, own probes left out
	MetricBirthsPerSecond   = "ottla_investigate_births_per_second"            // gauge; absent while not known
	MetricNewbornRatio      = "ottla_investigate_newborn_ratio"                // gauge by topic, 0 to 1
	MetricExplainedRatio    = "ottla_investigate_explained_ratio"              // gauge by topic, 0 to 1: part of the cluster's births
	MetricStateHeapBytes    = "ottla_investigate_state_heap_bytes"             // gauge by broker
	MetricPlateauHeapBytes  = "ottla_investigate_plateau_heap_bytes"           // gauge by broker
	MetricHeapMaxBytes      = "ottla_investigate_heap_max_bytes"               // gauge by broker and known ("true"; "false": taken to be 6 GiB)
	MetricTimeToOOM         = "ottla_investigate_time_to_oom_seconds"          // gauge by broker; +Inf: never
	MetricLiveEntries       = "ottla_investigate_live_entries"                 // gauge by broker
	MetricLevel             = "ottla_investigate_level"                        // gauge: 0 healthy, 1 armed, 2 storm, 3 inconclusive or away; absent until the first scan ended
	MetricUp                = "ottla_investigate_up"                           // gauge: 1 if the last attempt reached the cluster
	MetricLastScanTimestamp = "ottla_investigate_last_scan_timestamp_seconds"  // gauge; of the last full scan that was answered; 0: none yet
	MetricScanDuration      = "ottla_investigate_scan_duration_seconds"        // gauge; of that scan
	MetricScanBytes         = "ottla_investigate_scan_bytes_total"             // counter; read from the network by all scans
	MetricScans             = "ottla_investigate_scans_total"                  // counter by kind (full, counter) and result (answered, failed)
	MetricSourceState       = "ottla_investigate_source_state"                 // gauge by source and state: 1 for the state that it is in
	MetricInitPerProduce    = "ottla_investigate_init_producer_id_per_produce" // gauge; absent while not known; a healthy cluster is near 0
	labelCluster            = "cluster"
	labelTopic, labelBroker = "topic", "broker"
)

// DefaultTopics is how many topics have series, unless said otherwise.
const DefaultTopics = 20

// LevelAway is what MetricLevel shows while the cluster does not answer: the same as inconclusive.
const LevelAway = 3

var sourceStates = []evidence.State{evidence.Seen, evidence.Partly, evidence.Denied, evidence.Unsupported, evidence.Failed, evidence.Skipped}

// descs are the descriptions of all series.
type descs struct {
	births, perSecond, newborn, explained, state, plateau, heapMax, untilFull, live, level, up *prometheus.Desc
	lastScan, duration, bytes, scans, source, initPerProduce                                   *prometheus.Desc
}

func newDescs() *descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{labelCluster}, labels...), nil)
	}
	return &descs{
		births:         d(MetricPIDBirths, "Producer ids handed out since the watch began, its own probes left out."),
		perSecond:      d(MetricBirthsPerSecond, "Producer ids handed out per second, by the last readings of the counter or the last scan."),
		newborn:        d(MetricNewbornRatio, "Share of newborn producers among the sampled producers of a topic.", labelTopic),
		explained:      d(MetricExplainedRatio, "Share of the cluster's producer births that a topic explains.", labelTopic),
		state:          d(MetricStateHeapBytes, "Heap that producer entries take on a broker now.", labelBroker),
		plateau:        d(MetricPlateauHeapBytes, "Heap that producer entries will take on a broker if births go on as they are.", labelBroker),
		heapMax:        d(MetricHeapMaxBytes, "Largest heap of a broker. known=\"false\": nothing told it, and 6 GiB is assumed.", labelBroker, "known"),
		untilFull:      d(MetricTimeToOOM, "Seconds until a broker's heap is full of producer entries; +Inf: never.", labelBroker),
		live:           d(MetricLiveEntries, "Producer entries that a broker holds, one for each producer and partition.", labelBroker),
		level:          d(MetricLevel, "Verdict: 0 healthy, 1 armed, 2 storm, 3 inconclusive or not reachable."),
		up:             d(MetricUp, "1 if the cluster answered the last time it was asked."),
		lastScan:       d(MetricLastScanTimestamp, "When the last full scan ended, in seconds since 1970; 0: there was none yet."),
		duration:       d(MetricScanDuration, "How long the last full scan took."),
		bytes:          d(MetricScanBytes, "Bytes that scans have read from the cluster."),
		scans:          d(MetricScans, "Scans by kind (full, counter) and result (answered, failed).", "kind", "result"),
		source:         d(MetricSourceState, "1 for the state that a source of evidence was in at the last full scan.", "source", "state"),
		initPerProduce: d(MetricInitPerProduce, "InitProducerId requests per Produce request, where brokers' metrics tell. Healthy is near 0; above 0.05 producers are recreated."),
	}
}

// Metrics is what the watch knows, as a Prometheus collector. It is safe for concurrent use. A gather sees one consistent state.
type Metrics struct {
	descs *descs
	mu    struct {
		sync.Mutex
		state shown
	}
}

// shown is everything that a gather shows.
type shown struct {
	cluster        string
	once           bool // a single scan: there is no count over time
	births         float64
	rate           float64 // per second; below 0: not known
	initPerProduce float64 // below 0: not known
	level          int
	up             bool
	lastScan       time.Time
	duration       time.Duration
	bytes          int64
	scans          [2][2]int64 // full, counter; answered, failed
	brokers        []brokerState
	topics         []topicState
	sources        []evidence.Source
}

type brokerState struct {
	broker                             int32
	entries                            int64
	bytes, plateau, heapMax, untilFull float64
	heapKnown                          bool
}

type topicState struct {
	name               string
	newborn, explained float64
	idle               int // scans in a row in which it was no suspect
}

func newMetrics(cluster string) *Metrics {
	m := &Metrics{descs: newDescs()}
	m.mu.state = shown{cluster: cluster, rate: -1, initPerProduce: -1, level: LevelAway}
	return m
}

// update changes what the next gather shows. Slices in it are replaced, never written into.
func (m *Metrics) update(f func(s *shown)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.mu.state)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	s := m.mu.state
	m.mu.Unlock()
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, t, v, append([]string{s.cluster}, labels...)...)
	}
	d := m.descs
	if !s.once {
		send(d.births, prometheus.CounterValue, s.births)
	}
	if s.rate >= 0 {
		send(d.perSecond, prometheus.GaugeValue, s.rate)
	}
	if s.initPerProduce >= 0 {
		send(d.initPerProduce, prometheus.GaugeValue, s.initPerProduce)
	}
	if s.scans != [2][2]int64{} { // before, nobody knows: 3 would be an alert at every start
		send(d.level, prometheus.GaugeValue, float64(s.level))
	}
	up := 0.0
	if s.up {
		up = 1
	}
	send(d.up, prometheus.GaugeValue, up)
	last := 0.0
	if !s.lastScan.IsZero() {
		last = float64(s.lastScan.UnixMilli()) / 1000
		send(d.duration, prometheus.GaugeValue, s.duration.Seconds())
	}
	send(d.lastScan, prometheus.GaugeValue, last)
	send(d.bytes, prometheus.CounterValue, float64(s.bytes))
	for i, kind := range []string{"full", "counter"} {
		for j, result := range []string{"answered", "failed"} {
			send(d.scans, prometheus.CounterValue, float64(s.scans[i][j]), kind, result)
		}
	}
	for _, b := range s.brokers {
		b.collect(d, send)
	}
	for _, t := range s.topics {
		send(d.newborn, prometheus.GaugeValue, t.newborn, t.name)
		if t.explained >= 0 {
			send(d.explained, prometheus.GaugeValue, t.explained, t.name)
		}
	}
	for i := range s.sources {
		for _, state := range sourceStates {
			v := 0.0
			if s.sources[i].State == state {
				v = 1
			}
			send(d.source, prometheus.GaugeValue, v, s.sources[i].Name, string(state))
		}
	}
}

func (b *brokerState) collect(d *descs, send func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	id := strconv.Itoa(int(b.broker))
	send(d.state, prometheus.GaugeValue, b.bytes, id)
	send(d.plateau, prometheus.GaugeValue, b.plateau, id)
	send(d.heapMax, prometheus.GaugeValue, b.heapMax, id, strconv.FormatBool(b.heapKnown))
	send(d.live, prometheus.GaugeValue, float64(b.entries), id)
	send(d.untilFull, prometheus.GaugeValue, b.untilFull, id)
}

// stateOf shows one broker's heap. Where nothing told its size, the row for heapAssumed counts.
func stateOf(h *diagnose.Heap) brokerState {
	b := brokerState{broker: h.Broker, entries: h.Entries, bytes: h.Bytes, plateau: h.Plateau, heapMax: h.HeapMax, heapKnown: h.HeapMax > 0, untilFull: h.UntilFull}
	if !b.heapKnown {
		b.heapMax, b.untilFull = heapAssumed, -1
		for _, size := range h.Sizes {
			if size.HeapMax == heapAssumed {
				b.untilFull = size.UntilFull
			}
		}
	}
	if b.untilFull < 0 {
		b.untilFull = math.Inf(1)
	}
	return b
}

// heapAssumed is the heap by which the verdict judges a broker whose size nothing told: what guides to running Kafka recommend.
const heapAssumed = 6 << 30
