// Package metrics owns every counter, gauge and histogram of the process and the page that shows them.
//
// One group per package that counts something, each in a file of its own, resolved once when the
// process starts: a hot path never looks a label up. Label values come from fixed tables, never from
// what a client sent, so the number of series is bounded by the code. The package must not know what
// the numbers mean to the rest of the broker, and imports nothing of ours.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace starts the name of every series of ours.
const namespace = "ottla"

// Metrics is everything the process counts. Every group is always present, so callers never check for nil.
type Metrics struct {
	Server     *Server
	Log        *Log
	Cleaner    *Cleaner
	Cold       *Cold
	Producers  *Producers
	Partitions *Partitions
	Groups     *Groups

	registry *prometheus.Registry
}

// New makes a set of metrics with a registry of its own: two brokers in one test process do not collide.
func New() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	factory := promauto.With(registry)
	return &Metrics{
		Server:     newServer(factory),
		Log:        NewLog(registry),
		Cleaner:    newCleaner(factory),
		Cold:       newCold(factory),
		Producers:  newProducers(factory),
		Partitions: newPartitions(factory),
		Groups:     newGroups(factory),
		registry:   registry,
	}
}

// Handler serves all metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesInFlightMax})
}

// Registry gives access to the series themselves, for tests and for gauges computed when they are read.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// scrapesInFlightMax bounds what a stuck or hostile scraper can make the process build at once.
const scrapesInFlightMax = 4

// latencyBuckets are the bounds, in seconds, of every latency histogram: 100 us (a page-cache append) to
// 10 s (a client's request timeout is 30 s), few enough that one histogram per API keeps the page small.
var latencyBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 2, 10}

func counterOpts(subsystem, name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
}

func gaugeOpts(subsystem, name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
}

func latencyOpts(subsystem, name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: latencyBuckets,
	}
}
