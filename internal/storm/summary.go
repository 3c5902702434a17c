package storm

import (
	"time"

	"ottla/internal/measure"
)

// SchemaVersion is the version of Summary as JSON. It rises when a field changes its meaning or goes; new ones do not raise it.
const SchemaVersion = 1

// Why a storm ended.
const (
	EndedProducers   = "producers"   // Options.MaxProducers
	EndedBytes       = "bytes"       // Options.MaxBytes
	EndedSeconds     = "seconds"     // Options.MaxDuration
	EndedInterrupted = "interrupted" // the context ended
	EndedStalled     = "stalled"     // no answers for Options.Stall
	EndedGone        = "gone"        // connections were closed or refused
	EndedFailed      = "failed"      // something else, see Summary.Error
	EndedRetried     = "retried"     // Options.Retry: there was no storm
)

// Summary is what came out of a storm.
type Summary struct {
	Schema    int    `json:"schema"` // SchemaVersion
	ClusterID string `json:"cluster_id"`
	Brokers   int    `json:"brokers"` // in the cluster
	// Ended says why it ended (EndedProducers ...), Error in words what went wrong.
	Ended   string  `json:"ended"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"` // of the load, without preparation and clean-up
	// Started is when the load began: second 0 of the curves. Zero if it did not.
	Started time.Time `json:"started,omitzero"`
	// Loads has one element, or two with Options.AB: the control load first.
	Loads []Load `json:"loads"`
	// Probe is what a steady producer saw meanwhile.
	Probe *Latency `json:"probe,omitempty"`
	Retry *Retry   `json:"retry,omitempty"`
	// Processes are brokers on this machine, as the kernel saw them.
	Processes []Process `json:"processes,omitempty"`
	// Series are curves over the storm's seconds.
	Series []Series `json:"series"`
	// Left are topics that still exist: they were to be kept, or could not be deleted.
	Left []string `json:"left,omitempty"`
	// Notes are things that could not be done or seen, and why.
	Notes []string `json:"notes,omitempty"`
}

// Load is one load on one topic.
type Load struct {
	Mode       Mode   `json:"mode"`
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	// Pushes of which everything is acknowledged. Each is by a producer of its own, except in a control load.
	Pushes          int64   `json:"pushes"`
	PushesPerSecond float64 `json:"pushes_per_second"`
	Producers       int64   `json:"producers"`
	// Entries are acknowledged pairs of a producer and a partition: what a broker has to remember.
	Entries int64 `json:"entries"`
	Batches int64 `json:"batches"` // acknowledged
	Bytes   int64 `json:"bytes"`   // of Produce requests
	// Errors are failed requests and connections by cause: "3 UNKNOWN_TOPIC_OR_PARTITION", "connection refused".
	Errors map[string]int64 `json:"errors,omitempty"`
	// Latency of a push, from the producer's beginning until all its batches are acknowledged.
	Latency Latency `json:"latency"`
	// InitProducerIDVersion and ProduceVersion are the negotiated versions of these requests.
	InitProducerIDVersion int16 `json:"init_producer_id_version"`
	ProduceVersion        int16 `json:"produce_version"`
}

// Latency sums up many durations, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func latencyOf(h *measure.Histogram) Latency {
	return Latency{h.Count, milliseconds(h.Quantile(0.50)), milliseconds(h.Quantile(0.99)), milliseconds(h.Max)}
}

// Retry says how the batches of a sample were answered when they were sent again.
type Retry struct {
	Producers  int   `json:"producers"`
	Exact      int64 `json:"exact"`      // error 0 and the original offset
	Duplicated int64 `json:"duplicated"` // error 0 and another offset: stored a second time
	// Refused counts by error code, for example "45 OUT_OF_ORDER_SEQUENCE_NUMBER".
	Refused map[string]int64 `json:"refused,omitempty"`
	Latency Latency          `json:"latency"`
	Seconds float64          `json:"seconds"`
}

// AllExact says whether every retry was recognised.
func (r *Retry) AllExact() bool { return r.Duplicated == 0 && len(r.Refused) == 0 }

// Process is a broker's process on this machine.
type Process struct {
	PID        int     `json:"pid"`
	Name       string  `json:"name"`
	CPUSeconds float64 `json:"cpu_seconds"` // during the load
	RSSBefore  int64   `json:"rss_bytes_before"`
	RSSAfter   int64   `json:"rss_bytes_after"`
}

// Series is a curve.
type Series struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Points are pairs: seconds since the load began, value. At most seriesPointsMax: of the older ones every second is dropped when there are more.
	Points [][2]float64 `json:"points"`
}

// seriesPointsMax bounds a curve.
const seriesPointsMax = 1200

func (s *Series) add(seconds, value float64) {
	if len(s.Points) >= seriesPointsMax {
		for i := range len(s.Points) / 2 {
			s.Points[i] = s.Points[2*i]
		}
		s.Points = s.Points[:len(s.Points)/2]
	}
	s.Points = append(s.Points, [2]float64{seconds, value})
}

// Progress is how far a storm is.
type Progress struct {
	Seconds   float64
	Phase     string // "preparing", "storm", "retry", "cleaning up"
	Producers int64  // of the storm, without the control load
	Entries   int64
	Rate      float64 // producers a second since the last report
	Errors    map[string]int64
	// RSSBytes and CPUPercent of the brokers on this machine, together; 0: not known.
	RSSBytes   int64
	CPUPercent float64
	// Silent is for how long nothing was answered although something is outstanding.
	Silent time.Duration
}
