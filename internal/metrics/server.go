package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Server counts what the network layer does.
type Server struct {
	ConnectionsCurrent  prometheus.Gauge
	ConnectionsAccepted prometheus.Counter
	// ConnectionsRejected counts connections closed at once, by the limit they hit.
	ConnectionsRejectedTotal, ConnectionsRejectedPerIP prometheus.Counter
	// ConnectionsClosed counts ends of connections by reason; the reasons are the CloseReason constants.
	closed [closeReasons]prometheus.Counter

	BytesIn, BytesOut prometheus.Counter
	InFlightBytes     prometheus.Gauge
	Panics            prometheus.Counter
	AcceptErrors      prometheus.Counter

	api [apiSlots]API
}

// API counts the requests of one Kafka API.
type API struct {
	Requests prometheus.Counter
	Seconds  prometheus.Observer
	Errors   prometheus.Counter // requests that ended without their answer
}

// CloseReason says why a connection ended; the names are the label values.
type CloseReason uint8

// The reasons, one series each.
const (
	CloseByClient CloseReason = iota
	CloseIdle
	CloseBadFrame
	CloseSlowRequest
	CloseSlowReader
	CloseHandler
	ClosePanic
	CloseShutdown
	CloseNetwork
	closeReasons
)

var closeReasonNames = [closeReasons]string{
	"client", "idle", "bad_frame", "slow_request", "slow_reader", "handler", "panic", "shutdown", "network",
}

// String gives the label value.
func (r CloseReason) String() string { return closeReasonNames[r] }

// Observe counts one answered request.
func (a *API) Observe(d time.Duration) {
	a.Requests.Inc()
	a.Seconds.Observe(d.Seconds())
}

// Closed counts the end of a connection.
func (s *Server) Closed(r CloseReason) { s.closed[r].Inc() }

// API gives the counters of an API key; keys outside Kafka's table share one slot, so a client that
// invents keys cannot make series.
func (s *Server) API(key int16) *API {
	if key < 0 || int(key) >= len(apiNames) || apiNames[key] == "" {
		return &s.api[apiOther]
	}
	return &s.api[key]
}

func newServer(f promauto.Factory) *Server {
	const s = "server"
	rejected := f.NewCounterVec(counterOpts(s, "connections_rejected_total", "Connections closed at once, by limit."), []string{"limit"})
	closed := f.NewCounterVec(counterOpts(s, "connections_closed_total", "Connections ended, by reason."), []string{"reason"})
	m := &Server{
		ConnectionsCurrent:       f.NewGauge(gaugeOpts(s, "connections", "Open connections.")),
		ConnectionsAccepted:      f.NewCounter(counterOpts(s, "connections_accepted_total", "Connections accepted.")),
		ConnectionsRejectedTotal: rejected.WithLabelValues("total"),
		ConnectionsRejectedPerIP: rejected.WithLabelValues("per_ip"),
		BytesIn:                  f.NewCounter(counterOpts(s, "received_bytes_total", "Bytes of requests received.")),
		BytesOut:                 f.NewCounter(counterOpts(s, "sent_bytes_total", "Bytes of responses sent.")),
		InFlightBytes:            f.NewGauge(gaugeOpts(s, "in_flight_bytes", "Bytes of request frames being read or handled; frames of up to 4 KiB, which need no memory of their own, are not counted.")),
		Panics:                   f.NewCounter(counterOpts(s, "panics_total", "Panics caught in request handlers.")),
		AcceptErrors:             f.NewCounter(counterOpts(s, "accept_errors_total", "Failed accepts.")),
	}
	for r := range closeReasons {
		m.closed[r] = closed.WithLabelValues(r.String())
	}
	requests := f.NewCounterVec(counterOpts("", "requests_total", "Requests answered, by API."), []string{"api"})
	failed := f.NewCounterVec(counterOpts("", "request_errors_total", "Requests that ended without their answer, by API."), []string{"api"})
	seconds := f.NewHistogramVec(latencyOpts("", "request_seconds", "Time from a request's last byte to its answer being written, by API."), []string{"api"})
	for slot := range m.api {
		name := apiName(slot)
		if name == "" {
			continue
		}
		m.api[slot] = API{
			Requests: requests.WithLabelValues(name),
			Seconds:  seconds.WithLabelValues(name),
			Errors:   failed.WithLabelValues(name),
		}
	}
	return m
}

// apiOther is the slot of every key that the table does not name.
const (
	apiOther = len(apiNames)
	apiSlots = apiOther + 1
)

func apiName(slot int) string {
	if slot == apiOther {
		return "other"
	}
	return apiNames[slot]
}

// apiNames are the client-facing APIs that get series of their own, at the index of their key: the ones a
// broker of ours serves or may come to serve, not Kafka's inter-broker ones.
var apiNames = [...]string{
	0:  "Produce",
	1:  "Fetch",
	2:  "ListOffsets",
	3:  "Metadata",
	8:  "OffsetCommit",
	9:  "OffsetFetch",
	10: "FindCoordinator",
	18: "ApiVersions",
	19: "CreateTopics",
	20: "DeleteTopics",
	21: "DeleteRecords",
	22: "InitProducerId",
	23: "OffsetForLeaderEpoch",
	32: "DescribeConfigs",
	33: "AlterConfigs",
	35: "DescribeLogDirs",
	37: "CreatePartitions",
	44: "IncrementalAlterConfigs",
	60: "DescribeCluster",
	61: "DescribeProducers",
	74: "ListConfigResources",
	75: "DescribeTopicPartitions",
}
