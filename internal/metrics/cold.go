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
		Compactions:  f.NewCounter(counterOpts(s, "compactions_total", "Compactions of the cold store.")),
		CompactionWaits: f.NewCounter(counterOpts(s, "compaction_waits_total",
			"Times a batch waited because the cold store had too much to compact.")),
		Entries: f.NewGauge(gaugeOpts(s, "entries", "Entries in the cold store's tables, about.")),
	}
}
