package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Cold counts what the cold store does.
type Cold struct {
	// MemoryBytes and DiskBytes are as of the last flush.
	MemoryBytes  prometheus.Gauge
	DiskBytes    prometheus.Gauge
	Commits      prometheus.Counter
	Reads        prometheus.Counter
	ReadSeconds  prometheus.Histogram
	Flushes      prometheus.Counter
	FlushSeconds prometheus.Histogram
	Compactions  prometheus.Counter
	// CompactionWaits counts how often a commit had to wait for a compaction.
	CompactionWaits prometheus.Counter
	// Entries is an estimate, brought up to date by whoever asks the store for it.
	Entries prometheus.Gauge
}

func newCold(f promauto.Factory) *Cold { return newColdNamed(f, "cold", "the cold store") }

// newColdNamed makes the metrics of one cold store: each has a subsystem s of its own.
func newColdNamed(f promauto.Factory, s, store string) *Cold {
	return &Cold{
		MemoryBytes:  f.NewGauge(gaugeOpts(s, "memory_bytes", "Memory that "+store+" holds.")),
		DiskBytes:    f.NewGauge(gaugeOpts(s, "disk_bytes", "Disk that "+store+" takes.")),
		Commits:      f.NewCounter(counterOpts(s, "commits_total", "Batches applied to "+store+".")),
		Reads:        f.NewCounter(counterOpts(s, "reads_total", "Keys looked up in "+store+".")),
		ReadSeconds:  f.NewHistogram(latencyOpts(s, "read_seconds", "Duration of a look-up in "+store+".")),
		Flushes:      f.NewCounter(counterOpts(s, "flushes_total", "Times "+store+" was made durable.")),
		FlushSeconds: f.NewHistogram(latencyOpts(s, "flush_seconds", "Duration of making "+store+" durable.")),
		Compactions:  f.NewCounter(counterOpts(s, "compactions_total", "Compactions of "+store+".")),
		CompactionWaits: f.NewCounter(counterOpts(s, "compaction_waits_total",
			"Times a batch waited because "+store+" had too much to compact.")),
		Entries: f.NewGauge(gaugeOpts(s, "entries", "Entries in the tables of "+store+", about.")),
	}
}
