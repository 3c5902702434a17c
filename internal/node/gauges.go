package node

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// scraped wraps the metrics page so that numbers which nobody has reason to keep current are brought up to date when somebody looks.
func (n *Node) scraped(page http.Handler) http.Handler {
	logSize := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ottla_log_size_bytes", Help: "Bytes of all segments of all partitions that are loaded.",
	})
	n.metrics.Registry().MustRegister(logSize)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.refreshProducers()
		logSize.Set(float64(n.refreshPartitions(r.Context())))
		page.ServeHTTP(w, r)
	})
}

func (n *Node) refreshProducers() {
	stats, m := n.producers.Stats(), n.metrics
	m.Producers.EntriesHot.Set(float64(stats.HotEntries))
	m.Producers.EntriesOverlay.Set(float64(stats.OverlayEntries))
	m.Producers.CheckpointAgeSeconds.Set(float64(stats.CheckpointAgeSeconds))
	if entries, err := n.cold.EntriesEstimate(); err == nil {
		m.Producers.EntriesCold.Set(float64(entries))
	}
	m.Cold.MemoryBytes.Set(float64(n.cold.MemoryInUse().Total()))
	m.Cold.DiskBytes.Set(float64(n.cold.DiskBytes()))
}

// refreshPartitions counts topics and partitions, and returns the size of what is loaded.
func (n *Node) refreshPartitions(ctx context.Context) (bytes int64) {
	topics, partitions := n.catalog.Topics(), 0
	for _, t := range topics {
		partitions += len(t.Partitions)
		for _, p := range t.Partitions {
			if !p.Loaded() {
				continue
			}
			if size, err := p.SizeBytes(ctx); err == nil {
				bytes += size
			}
		}
	}
	n.metrics.Partitions.Topics.Set(float64(len(topics)))
	n.metrics.Partitions.Count.Set(float64(partitions))
	return bytes
}
