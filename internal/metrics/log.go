package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Log counts what the segmented logs and their committer do.
type Log struct {
	AppendedBytes   prometheus.Counter
	AppendedBatches prometheus.Counter
	ReadBytes       prometheus.Counter
	SizeBytes       prometheus.Gauge // all segments of all logs
	Segments        prometheus.Gauge
	SegmentsDeleted prometheus.Counter
	OpenFiles       prometheus.Gauge
	Fsyncs          prometheus.Counter // fdatasync and syncfs calls of the committer
	FsyncSeconds    prometheus.Histogram
	FsyncErrors     prometheus.Counter
	WriteErrors     prometheus.Counter
	Offline         prometheus.Gauge // 1 after a failed fsync
}

func newLog(f promauto.Factory) *Log {
	const s = "log"
	return &Log{
		AppendedBytes:   f.NewCounter(counterOpts(s, "appended_bytes_total", "Bytes of record batches appended.")),
		AppendedBatches: f.NewCounter(counterOpts(s, "appended_batches_total", "Record batches appended.")),
		ReadBytes:       f.NewCounter(counterOpts(s, "read_bytes_total", "Bytes of record batches read for consumers.")),
		SizeBytes:       f.NewGauge(gaugeOpts(s, "size_bytes", "Size of all log segments.")),
		Segments:        f.NewGauge(gaugeOpts(s, "segments", "Log segments.")),
		SegmentsDeleted: f.NewCounter(counterOpts(s, "segments_deleted_total", "Log segments removed by retention and deletes.")),
		OpenFiles:       f.NewGauge(gaugeOpts(s, "open_files", "Segment files held open.")),
		Fsyncs:          f.NewCounter(counterOpts(s, "fsyncs_total", "fdatasync and syncfs calls.")),
		FsyncSeconds:    f.NewHistogram(latencyOpts(s, "fsync_seconds", "Duration of one pass of the committer over the disk.")),
		FsyncErrors:     f.NewCounter(counterOpts(s, "fsync_errors_total", "Failed fsyncs; the data directory is offline after the first.")),
		WriteErrors:     f.NewCounter(counterOpts(s, "write_errors_total", "Appends whose write failed and was taken back.")),
		Offline:         f.NewGauge(gaugeOpts(s, "offline", "1 when the data directory is offline.")),
	}
}
