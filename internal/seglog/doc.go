// Package seglog is the segmented log: record batches in Kafka's on-disk format, one directory a partition, and one
// committer per data directory that owns every fsync of data.
//
// A Store is a data directory, a Log one partition in it. A Log keeps these offsets, in this order:
//
//	start <= durable <= committed <= end
//
// end moves with write(2), durable with fsync, committed is what readers see. Where fsync is on (flush.messages = 1)
// committed is durable; where it is off (flush.messages > 1) committed is end, and durable follows.
//
// Files of a log, all but the last in Kafka's formats:
//
//	00000000000000000000.log        batches; named by the first offset it may hold
//	00000000000000000000.index      (relative offset of the last record, position) of some batches, 8 bytes each
//	00000000000000000000.timeindex  (largest timestamp so far, relative offset), 12 bytes each
//	leader-epoch-checkpoint         text: version, count, then "epoch first-offset" lines
//	partition.metadata              text: version, topic id
//	log-start-offset                text: ours, with version and CRC; where the log starts, and the recovery point
//
// Recovery starts from a Position that the caller kept (a Checkpoint), or at the recovery point, whichever is later:
// what lies before is durable and trusted. Behind it, after an unclean stop, every batch is checked, what is torn is
// cut, and the rest is written again in place and fsynced before any of it is published. Indexes are derived: they are
// rebuilt where they are missing or disagree with the log.
//
// The package knows nothing of producers, topics or requests. It must not: the caller learns of batches through Replay
// and Listener only.
//
// Reading order: options.go, log.go, append.go, commit.go (the proof), read.go, index.go, recover.go, trim.go, check.go.
package seglog
