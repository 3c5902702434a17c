package metrics

import "github.com/prometheus/client_golang/prometheus"

// Log holds the counters of the segmented log, one set per data directory.
type Log struct {
	Appends            prometheus.Counter   // batches written
	AppendedBytes      prometheus.Counter   // bytes of batches written
	AppendErrors       prometheus.Counter   // appends that failed and left no trace
	ReadBytes          prometheus.Counter   // bytes of batches read
	Rolls              prometheus.Counter   // new active segments
	SegmentsDeleted    prometheus.Counter   // segments dropped by retention or DeleteRecords
	Passes             prometheus.Counter   // passes of the committer
	Fsyncs             prometheus.Counter   // fdatasync and syncfs calls of the committer
	JournalRecords     prometheus.Counter   // passes that were made durable by the journal
	JournalBytes       prometheus.Counter   // bytes of these records, padding included
	JournalCheckpoints prometheus.Counter   // generations of the journal whose segments were synced
	FsyncSeconds       prometheus.Histogram // how long the sync of one pass took
	DirtyLogs          prometheus.Histogram // logs that shared one pass
	OpenFiles          prometheus.Gauge     // segment files held open
	FreeBytes          prometheus.Gauge     // free space of the data directory, as last looked up
	Offline            prometheus.Gauge     // 1 after a failed fsync
	RecoveredBytes     prometheus.Counter   // tail bytes scanned, rewritten and fsynced at unclean starts
	TruncatedBytes     prometheus.Counter   // torn tail bytes cut at unclean starts
	MissingOffsets     prometheus.Counter   // offsets below a durable checkpoint that were not found on disk
	IndexRebuilds      prometheus.Counter   // segment indexes rebuilt from the log
	IndexWriteErrors   prometheus.Counter   // failed writes of derived index files
	BackgroundErrors   prometheus.Counter   // failed unlinks and other background work, retried later
	PendingDeleteDirs  prometheus.Gauge     // deleted partitions whose files are not unlinked yet
}

// NewLog makes the metrics of the segmented log and registers them.
func NewLog(reg prometheus.Registerer) *Log {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "ottla_log_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ottla_log_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ottla_log_" + name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	return &Log{
		Appends:            counter("appends_total", "Record batches written."),
		AppendedBytes:      counter("appended_bytes_total", "Bytes of record batches written."),
		AppendErrors:       counter("append_errors_total", "Appends that failed and left no trace."),
		ReadBytes:          counter("read_bytes_total", "Bytes of record batches read."),
		Rolls:              counter("rolls_total", "New active segments."),
		SegmentsDeleted:    counter("segments_deleted_total", "Segments dropped by retention or DeleteRecords."),
		Passes:             counter("commit_passes_total", "Passes of the committer."),
		Fsyncs:             counter("fsyncs_total", "fdatasync and syncfs calls of the committer."),
		JournalRecords:     counter("journal_records_total", "Commit passes that were made durable by a record of the journal."),
		JournalBytes:       counter("journal_bytes_total", "Bytes written to the journal, padding included."),
		JournalCheckpoints: counter("journal_checkpoints_total", "Generations of the journal whose segments were synced by themselves."),
		FsyncSeconds:       histogram("fsync_seconds", "Duration of the sync of one commit pass.", prometheus.ExponentialBuckets(0.0001, 2, 16)),
		DirtyLogs:          histogram("commit_pass_logs", "Logs that shared one commit pass.", prometheus.ExponentialBuckets(1, 4, 8)),
		OpenFiles:          gauge("open_files", "Segment files held open."),
		FreeBytes:          gauge("free_bytes", "Free space of the data directory."),
		Offline:            gauge("offline", "1 when a failed fsync took the data directory offline."),
		RecoveredBytes:     counter("recovered_bytes_total", "Tail bytes scanned, rewritten and fsynced at unclean starts."),
		TruncatedBytes:     counter("truncated_bytes_total", "Torn tail bytes cut at unclean starts."),
		MissingOffsets:     counter("missing_offsets_total", "Offsets below a durable checkpoint that were not found on disk."),
		IndexRebuilds:      counter("index_rebuilds_total", "Segment indexes rebuilt from the log."),
		IndexWriteErrors:   counter("index_write_errors_total", "Failed writes of derived index files."),
		BackgroundErrors:   counter("background_errors_total", "Failed unlinks and other background work, retried later."),
		PendingDeleteDirs:  gauge("pending_delete_directories", "Deleted partitions whose files are not unlinked yet."),
	}
}
