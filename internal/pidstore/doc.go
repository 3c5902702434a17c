// Package pidstore keeps every producer entry of a broker, exactly, in bounded memory.
//
// It owns which entries are in memory, what of them may be written to the cold
// store and when, the recovery of entries from the log, forgetting, and the ids
// that this cluster issues. It must not know requests, topics, batches or how the
// log and the cold store keep their bytes.
//
// An entry, the fold of one producer's batches on one partition, is in three places:
//
//	overlay  in use: pinned by an append under way, or changed by an append whose
//	         fold is not in the cold store yet. Holds two folds: "ahead" of everything
//	         appended, by which batches are judged, and "base" of what is durable in
//	         the log, which alone may be written to the cold store.
//	hot      a copy of what the cold store holds, to spare a read. May be dropped.
//	cold     everything that is durable in the log, up to the partition's checkpoint.
//
// The path of an append, and of what it changes:
//
//	Lookup   takes room for one append; pins the entry in the overlay (moving it from
//	         hot, knowing that it is new, or reading it). Outside the partition's lock.
//	Check    judges by the ahead fold.       } under the partition's lock, with the
//	Applied  folds ahead, queues the append. } log's append between them
//	Release  unpins.
//	Durable  says how far the log is durable; puts the partition in the applier's queue.
//	applier  soon, or at once if somebody needs it, pops the partition's durable appends, folds base, writes one entry per
//	         producer, the checkpoint and the age in one cold batch; then unused
//	         entries move to hot.
//
// Invariants:
//
//  1. A key is in at most one of overlay and hot. Both are found under the lock of
//     the key's shard, so a look-up never misses an entry that moves.
//  2. Only the applier's goroutine writes entries of a loaded partition to the cold
//     store; a partition that is being loaded is written by its loader only.
//  3. A checkpoint is written after, or in one batch with, all that lies below it:
//     Durable positions that arrive between the write of an append and its Applied
//     are held back until Applied.
//  4. Entries in the cold store may be ahead of their checkpoint, but only with
//     what is durable in the log, or behind a mark that says how far (see replay.go).
//     Folding a log's tail again on top of them changes nothing.
//  5. An entry leaves memory only after coldMax or foreignMin says so. A producer id
//     of ours above coldMax and below foreignMin that is not in memory is new, with
//     no read. Nobody else is called new without a read, and a read that fails is an
//     error.
//  6. While a node is loading, nobody can append to its key, so whatever the cold
//     store answers in the meantime is the truth.
//
// Locks, in the order in which they may be taken: the caller's partition lock;
// Partition.mu; one of shard.mu, Store.pending.mu, Store.queue.mu, Store.foreign.mu;
// slab.mu; IDs.mu. None is held during I/O or while waiting, but for Partition.mu by
// the loader, which nobody waits for.
//
// Rejected: one table with pinned slots instead of overlay and hot (a small table full
// of pins has no room for the entry that must come in, and a pipelining producer is
// never durable at the end of a pass, so its only committed copy would be the one that
// changes); writing entries from the committer (fsync latency would wait for the
// store's memtables).
package pidstore
