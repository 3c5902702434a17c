package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Cold counts what the cold store does.
type Cold struct {
	MemoryBytes  prometheus.Gauge // everything it allocates
	DiskBytes    prometheus.Gauge
	Commits      prometheus.Counter
	Reads        prometheus.Counter
	ReadSeconds  prometheus.Histogram
	Flushes      prometheus.Counter
	FlushSeconds prometheus.Histogram
}

func newCold(f promauto.Factory) *Cold {
	const s = "cold"
	return &Cold{
		MemoryBytes:  f.NewGauge(gaugeOpts(s, "memory_bytes", "Memory the cold store holds.")),
		DiskBytes:    f.NewGauge(gaugeOpts(s, "disk_bytes", "Disk the cold store takes.")),
		Commits:      f.NewCounter(counterOpts(s, "commits_total", "Batches applied to the cold store.")),
		Reads:        f.NewCounter(counterOpts(s, "reads_total", "Keys looked up in the cold store.")),
		ReadSeconds:  f.NewHistogram(latencyOpts(s, "read_seconds", "Duration of a look-up in the cold store.")),
		Flushes:      f.NewCounter(counterOpts(s, "flushes_total", "Times the cold store was made durable.")),
		FlushSeconds: f.NewHistogram(latencyOpts(s, "flush_seconds", "Duration of making the cold store durable.")),
	}
}
