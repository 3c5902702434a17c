package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Cleaner counts what compaction does.
type Cleaner struct {
	Runs              prometheus.Counter   // cleanings of one log that ended well
	Errors            prometheus.Counter   // cleanings that failed
	BytesRead         prometheus.Counter   // of segments, the reading for their keys included
	BytesWritten      prometheus.Counter   // of new segments
	RecordsRemoved    prometheus.Counter   // superseded, tombstones, and those without a key
	Seconds           prometheus.Histogram // duration of one cleaning
	MaxDirtyRatio     prometheus.Gauge     // of the log that needs it most, 0 to 1, at the last look
	Uncleanable       prometheus.Gauge     // partitions that are not cleaned any more because of damage
	LastLookSeconds   prometheus.Gauge     // when the cleaner last looked for something to do, Unix time
	BufferUtilization prometheus.Gauge     // of the buffer for keys, in the last cleaning, 0 to 1
}

func newCleaner(f promauto.Factory) *Cleaner {
	return &Cleaner{
		Runs:           f.NewCounter(counterOpts("cleaner", "runs_total", "Logs compacted.")),
		Errors:         f.NewCounter(counterOpts("cleaner", "errors_total", "Compactions that failed.")),
		BytesRead:      f.NewCounter(counterOpts("cleaner", "read_bytes_total", "Bytes that compaction has read.")),
		BytesWritten:   f.NewCounter(counterOpts("cleaner", "written_bytes_total", "Bytes that compaction has written.")),
		RecordsRemoved: f.NewCounter(counterOpts("cleaner", "removed_records_total", "Records that compaction has removed.")),
		Seconds: f.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: "cleaner", Name: "seconds",
			Help: "Duration of compacting one log.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 12)}),
		MaxDirtyRatio:     f.NewGauge(gaugeOpts("cleaner", "max_dirty_ratio", "Largest dirty ratio of a compacted log.")),
		Uncleanable:       f.NewGauge(gaugeOpts("cleaner", "uncleanable_partitions", "Partitions that cannot be compacted because of damage.")),
		LastLookSeconds:   f.NewGauge(gaugeOpts("cleaner", "last_look_timestamp_seconds", "When the cleaner last looked for something to do.")),
		BufferUtilization: f.NewGauge(gaugeOpts("cleaner", "buffer_utilization_ratio", "Use of the buffer for keys in the last compaction.")),
	}
}
