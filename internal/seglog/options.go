package seglog

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

var (
	// ErrOffline says that a failed fsync took the data directory offline until the process is restarted.
	ErrOffline = errors.New("seglog: data directory is offline")
	// ErrDiskFull refuses an append: less than Options.FreeBytesMin is free, or the write found no space.
	ErrDiskFull = errors.New("seglog: disk full")
	// ErrIO is a read or write that failed.
	ErrIO = errors.New("seglog: input/output error")
	// ErrOffsetOutOfRange says that the log does not hold the offset.
	ErrOffsetOutOfRange = errors.New("seglog: offset out of range")
	// ErrClosed says that the log or the store is closed, or the log deleted.
	ErrClosed = errors.New("seglog: closed")
	// ErrCorrupt says that a file does not hold what it should.
	ErrCorrupt = errors.New("seglog: corrupt")
	// ErrVersion says that a file has a newer format than this program knows.
	ErrVersion = errors.New("seglog: unknown format version")
	// ErrTopicID says that a directory belongs to another topic of the same name.
	ErrTopicID = errors.New("seglog: directory of another topic")
)

const (
	// FreeBytesMinDefault is the free space below which appends are refused unless Options says otherwise.
	FreeBytesMinDefault = 256 << 20
	// OpenFilesMaxDefault bounds the open segment files of a store unless Options says otherwise.
	OpenFilesMaxDefault = 16384
	// lazyCommitMax is how long an append that nobody waits for stays unpublished, unless flush.ms is set.
	lazyCommitMax = 100 * time.Millisecond
)

// Options describe a data directory.
type Options struct {
	FS  disk.FS
	Dir string
	// OpenFilesMax bounds the segment files kept open; 0 means OpenFilesMaxDefault.
	OpenFilesMax int
	// FreeBytesMin refuses appends with ErrDiskFull while less is free; 0 means FreeBytesMinDefault, negative never.
	FreeBytesMin int64
	// JournalBytes is the largest size of each of the journal's two files; 0 means JournalBytesDefault, negative that no
	// pass writes to it. Below 8 KiB it counts as 8 KiB, above 128 MiB as that.
	JournalBytes int64
	Metrics      *metrics.Log
	Logger       *slog.Logger

	heldTailMax    int           // instead of the constant, in tests; 0: that
	writeAgainWait time.Duration // likewise
}

// Config is how one topic's logs behave, in Kafka's terms. It is immutable once given to a log; logs may share one.
type Config struct {
	SegmentBytes          int64 // segment.bytes
	SegmentMillis         int64 // segment.ms
	SegmentJitterMillis   int64 // segment.jitter.ms
	IndexBytesMax         int64 // segment.index.bytes
	IndexIntervalBytes    int64 // index.interval.bytes
	RetentionBytes        int64 // retention.bytes, -1 for ever
	RetentionMillis       int64 // retention.ms, -1 for ever
	FlushMessages         int64 // flush.messages: 1 (or less) fsyncs before anything is committed
	FlushMillis           int64 // flush.ms
	FileDeleteDelayMillis int64 // file.delete.delay.ms
	LogAppendTime         bool  // message.timestamp.type; the caller has patched the batches already

	Compact               bool    // cleanup.policy contains compact
	Delete                bool    // cleanup.policy contains delete; where it does not, retention is -1 and DeleteRecords is refused above
	DeleteRetentionMillis int64   // delete.retention.ms
	MinCompactionMillis   int64   // min.compaction.lag.ms
	MaxCompactionMillis   int64   // max.compaction.lag.ms
	MinDirtyRatio         float64 // min.cleanable.dirty.ratio
}

// DefaultConfig returns Kafka's defaults, with an fsync before every commit.
func DefaultConfig() *Config {
	return &Config{
		SegmentBytes: 1 << 30, SegmentMillis: 7 * 24 * 3600 * 1000, IndexBytesMax: 10 << 20, IndexIntervalBytes: 4096,
		RetentionBytes: -1, RetentionMillis: 7 * 24 * 3600 * 1000, FlushMessages: 1, FlushMillis: math.MaxInt64,
		FileDeleteDelayMillis: 60_000, Delete: true, DeleteRetentionMillis: 24 * 3600 * 1000, MaxCompactionMillis: math.MaxInt64, MinDirtyRatio: 0.5,
	}
}

// pageCache says that written counts as committed: fsync follows every flush.messages records or flush.ms.
func (c *Config) pageCache() bool { return c.FlushMessages > 1 }

// lazyDelay is how long an append that nobody waits for may stay unpublished, and in page-cache mode unsynced.
func (c *Config) lazyDelay() time.Duration {
	switch {
	case c.FlushMillis > 0 && c.FlushMillis <= math.MaxInt64/int64(time.Millisecond):
		return time.Duration(c.FlushMillis) * time.Millisecond
	case c.pageCache():
		return -1
	default:
		return lazyCommitMax
	}
}

// Position is a batch boundary: the next offset, the segment that holds the boundary, and the byte in its file.
// At the end of a segment it may name either that segment's end or the start of the next one.
type Position struct{ Offset, SegmentBase, Position int64 }

// Listener hears of a log's progress. It is called by the committer, with no lock of this package held, in order, and
// must not block.
type Listener interface {
	// Committed says that readers now see everything below the offset.
	Committed(committed int64)
	// Durable says that everything before the position survives a power loss.
	Durable(p Position)
}

// OpenOptions describe the log to open.
type OpenOptions struct {
	Name    string   // directory below Options.Dir: topic-partition
	TopicID [16]byte // compared with partition.metadata, or written to it by the first pass; zero: neither
	Config  *Config
	// Checkpoint is a durable position of an earlier run. Without one, replay starts at the log start.
	Checkpoint    Position
	HasCheckpoint bool
	// Unclean says that the last run may have left a torn tail.
	Unclean bool
	// LeaderEpoch goes into every batch that is appended.
	LeaderEpoch int32
	// Replay sees the header of every batch at or after Checkpoint, in order, before OpenLog returns. May be nil.
	Replay func(batch.Header) error
	// Listener may be nil.
	Listener Listener
	// BeforeTrim is called before the log start moves to newStart, durably, or anything below is unlinked. May be nil.
	BeforeTrim func(newStart int64) error
}

// AppendOptions say how urgent an append is.
type AppendOptions struct {
	// Wait starts a commit pass at once: somebody waits for the ticket (acks=all). Who appends to several logs before he
	// waits leaves it out and calls Ticket.Hurry in the end: a pass that began with his first append would leave the
	// others to the next.
	Wait bool
	// Held says that nobody is answered before the ticket is done (acks=all): until then a kill may take the batch, so that a segment
	// that has no file yet need not be given one at once.
	Held bool
	// Now is the time of the broker, for segment.ms.
	Now time.Time
}

// TimestampOffset is a record's place in time.
type TimestampOffset struct {
	Offset, Timestamp int64
	LeaderEpoch       int32
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base      int64 // first offset it may hold
	End       int64 // first offset of the next one, or the end of the log
	SizeBytes int64
	Active    bool
}

// Ticket is the durability of an append. The zero Ticket is done, without error.
type Ticket struct{ r *round }

// closedChan is what a done ticket without a round waits on.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done closes when the outcome is known.
func (t Ticket) Done() <-chan struct{} {
	if t.r == nil {
		return closedChan
	}
	return t.r.done
}

// Err is the outcome, to be asked after Done: nil, or an error that wraps ErrOffline or ErrClosed.
func (t Ticket) Err() error {
	if t.r == nil {
		return nil
	}
	return t.r.err
}

// Hurry starts the pass that decides about the ticket at once, unless it is under way or over. It may be called at any
// time by any goroutine, and does not wait.
func (t Ticket) Hurry() {
	if t.r == nil || t.r.store == nil {
		return
	}
	s := t.r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.round == t.r {
		s.hurryLocked()
	}
}

// round is everything that one pass of the committer decides about: err is written before done is closed.
type round struct {
	store *Store // nil: decided
	done  chan struct{}
	err   error
}

func newRound(s *Store) *round { return &round{store: s, done: make(chan struct{})} }
