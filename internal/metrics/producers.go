package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Producers counts what the store of idempotent producers does.
type Producers struct {
	EntriesHot           prometheus.Gauge
	EntriesOverlay       prometheus.Gauge
	EntriesCold          prometheus.Gauge // an estimate: the store does not count its keys
	Forgotten            prometheus.Counter
	LookupHot            prometheus.Counter
	LookupNew            prometheus.Counter // known to be new without a read
	LookupColdHit        prometheus.Counter
	LookupColdMiss       prometheus.Counter
	Duplicates           prometheus.Counter
	CheckpointAgeSeconds prometheus.Gauge
	MemoryHotBytes       prometheus.Gauge
	MemoryOverlayBytes   prometheus.Gauge
	MemoryBudgetBytes    prometheus.Gauge
	IDsIssued            prometheus.Counter
	StateLostOffsets     prometheus.Counter
}

func newProducers(f promauto.Factory) *Producers {
	const s = "producer"
	entries := f.NewGaugeVec(gaugeOpts(s, "entries", "Producer entries by where they are."), []string{"place"})
	memory := f.NewGaugeVec(gaugeOpts(s, "memory_bytes", "Memory of producer state by share."), []string{"share"})
	lookups := f.NewCounterVec(counterOpts(s, "lookups_total", "Look-ups of producer entries by outcome."), []string{"outcome"})
	return &Producers{
		EntriesHot:           entries.WithLabelValues("hot"),
		EntriesOverlay:       entries.WithLabelValues("overlay"),
		EntriesCold:          entries.WithLabelValues("cold"),
		Forgotten:            f.NewCounter(counterOpts(s, "forgotten_total", "Producer entries forgotten after they expired.")),
		LookupHot:            lookups.WithLabelValues("hot"),
		LookupNew:            lookups.WithLabelValues("new"),
		LookupColdHit:        lookups.WithLabelValues("cold_hit"),
		LookupColdMiss:       lookups.WithLabelValues("cold_miss"),
		Duplicates:           f.NewCounter(counterOpts(s, "duplicates_total", "Batches recognised as already appended.")),
		CheckpointAgeSeconds: f.NewGauge(gaugeOpts(s, "checkpoint_age_seconds", "Age of the oldest producer checkpoint that lags its log.")),
		MemoryHotBytes:       memory.WithLabelValues("hot"),
		MemoryOverlayBytes:   memory.WithLabelValues("overlay"),
		MemoryBudgetBytes:    f.NewGauge(gaugeOpts(s, "memory_budget_bytes", "Configured bound of all producer state in memory.")),
		IDsIssued:            f.NewCounter(counterOpts(s, "ids_issued_total", "Producer ids handed out.")),
		StateLostOffsets: f.NewCounter(counterOpts(s, "state_lost_offsets_total",
			"Offsets whose batches neither the log nor the store of producers holds: their retries are not recognised.")),
	}
}
