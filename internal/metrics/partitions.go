package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Partitions counts partitions and how they are brought to life.
type Partitions struct {
	Topics      prometheus.Gauge
	Count       prometheus.Gauge
	Loaded      prometheus.Gauge
	LoadSeconds prometheus.Histogram
	LoadErrors  prometheus.Counter
	Waiters     prometheus.Gauge // fetches that wait for data
}

func newPartitions(f promauto.Factory) *Partitions {
	return &Partitions{
		Topics:      f.NewGauge(gaugeOpts("", "topics", "Topics.")),
		Count:       f.NewGauge(gaugeOpts("", "partitions", "Partitions.")),
		Loaded:      f.NewGauge(gaugeOpts("partition", "loaded", "Partitions that are loaded.")),
		LoadSeconds: f.NewHistogram(latencyOpts("partition", "load_seconds", "Duration of loading a partition.")),
		LoadErrors:  f.NewCounter(counterOpts("partition", "load_errors_total", "Partitions that failed to load.")),
		Waiters:     f.NewGauge(gaugeOpts("partition", "waiters", "Fetches waiting for data.")),
	}
}
