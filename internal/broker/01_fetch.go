package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/partition"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// Fetch, versions 4 to 18.
//
// Topics come by id from version 13 (KIP-516), by name before. Sessions from version
// 7 (KIP-227, 01_fetch_session.go). The broker fills the answer in the order of
// the partitions, up to max_bytes and its own fetch.max.bytes, whole batches only;
// the first batch of the first partition that has any is sent whatever its size, so
// that a consumer always gets on (KIP-74). An answer waits until min_bytes are
// there, an error turns up or max_wait_ms has passed (01_fetch_wait.go). Partitions
// that cannot be found do not end the wait, as in Kafka (KafkaApis
// keeps them apart as "erroneous"): a consumer of a deleted topic would spin otherwise.
//
// Consumers see below the committed end. There are no transactions: the last stable offset
// is the high watermark, and the list of aborted transactions is empty for
// READ_COMMITTED and null else.
//
// A leader epoch other than the one in force is fenced (KIP-320), and a last fetched
// epoch that diverges from the log is answered as in KIP-595. Version 16 and
// later name the current leader (KIP-951).
//
// Skipped: other brokers. A fetch of a replica is answered with NOT_LEADER_OR_FOLLOWER
// for each partition, as Kafka does to a broker that is none of a partition's replicas
// (Partition.getReplica); the preferred read replica is always -1 (KIP-392).

const (
	fetchSessionMin = 7
	fetchZstdMin    = 10 // KIP-110
	fetchFlexibleV  = 12
	fetchTopicIDMin = 13
	fetchStateMin   = 15 // KIP-903
	fetchLeaderMin  = 16 // KIP-951
	// fetchStorageErrorMin is the first version whose clients know KAFKA_STORAGE_ERROR
	// (KafkaApis.maybeDownConvertStorageError).
	fetchStorageErrorMin = 6
	isolationCommitted   = 1
)

// fetchWant is what a request asks of one partition.
type fetchWant struct {
	offset      int64
	bytesMax    int32
	leaderEpoch int32
	lastEpoch   int32
}

func wantOf(p *kmsg.FetchRequestTopicPartition) fetchWant {
	return fetchWant{offset: p.FetchOffset, bytesMax: p.PartitionMaxBytes, leaderEpoch: p.CurrentLeaderEpoch, lastEpoch: p.LastFetchedEpoch}
}

// fetchPart is one partition of one fetch.
type fetchPart struct {
	key  fetchKey
	want fetchWant

	p            *partition.Partition // nil: not found, and code says why
	resolvedName string

	code                int16
	leaderEpoch         int32 // in force; beside an error that names the leader
	highWater, logStart int64
	data                []byte
	diverges            bool
	divergingEpoch      int32
	divergingEnd        int64
	omit                bool // from the answer

	next     int64 // offset behind what was counted
	readable int64 // bytes counted for min_bytes
}

// fetch is one fetch request, its reply and its answer.
type fetch struct {
	b         *Broker
	version   int16
	session   *wire.Session
	committed bool // isolation level
	bytesMin  int64
	bytesMax  int64
	deadline  time.Time
	use       sessionUse
	sessionID int32
	parts     []fetchPart
	failed    bool  // a partition that exists cannot be read
	acquired  int64 // of the budget of answers
}

func (b *Broker) handleFetch(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.FetchRequest)
	now := time.Now()
	bytesMax := min(req.MaxBytes, b.o.Limits.FetchBytesMax)
	f := &fetch{
		b:         b,
		version:   r.Version,
		session:   r.Session,
		committed: req.IsolationLevel == isolationCommitted,
		bytesMax:  int64(bytesMax),
		bytesMin:  int64(min(req.MinBytes, bytesMax)),
		deadline:  now.Add(time.Duration(req.MaxWaitMillis) * time.Millisecond),
	}
	f.use, f.parts = b.sessions.open(req, make([]fetchPart, 0, requestedParts(req)), now)
	replica := req.ReplicaID
	if r.Version >= fetchStateMin {
		replica = req.ReplicaState.ID
	}
	f.resolve(replica)
	return f
}

func requestedParts(req *kmsg.FetchRequest) int {
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	return n
}

// resolve finds the partitions that a fetch names. Those of one topic mostly come
// one after the other: it is looked up once.
func (f *fetch) resolve(replica int32) {
	var t *catalog.Topic
	for i := range f.parts {
		part := &f.parts[i]
		part.highWater, part.logStart = -1, -1
		if i == 0 || part.key.id != f.parts[i-1].key.id || part.key.topic != f.parts[i-1].key.topic {
			t = f.topic(&part.key)
		}
		if t == nil {
			part.code = f.unknownTopic(part)
			continue
		}
		part.resolvedName = t.Name
		p := partitionOf(t, part.key.index)
		switch {
		case p == nil:
			part.code = codeUnknownTopicOrPartition
		case replica >= 0:
			part.code, part.leaderEpoch = codeNotLeaderOrFollower, p.LeaderEpoch()
		default:
			part.p = p
		}
	}
}

func (f *fetch) topic(key *fetchKey) *catalog.Topic {
	if f.version < fetchTopicIDMin {
		return f.b.topicByName(key.topic)
	}
	t, _ := f.b.o.Catalog.TopicByID(key.id)
	return t
}

// unknownTopic tells a topic that nobody knows from one that was known to this
// session: deleted, or created again under the same name.
func (f *fetch) unknownTopic(part *fetchPart) int16 {
	if f.version < fetchTopicIDMin {
		return codeUnknownTopicOrPartition
	}
	if part.resolvedName == "" {
		return codeUnknownTopicID
	}
	if _, again := f.b.o.Catalog.Topic(part.resolvedName); again {
		return codeInconsistentTopicID
	}
	return codeUnknownTopicOrPartition
}

// Wait implements wire.Reply.
func (f *fetch) Wait(ctx context.Context) (wire.Response, error) {
	if f.use.code != codeNone {
		f.parts = nil
		return f, nil
	}
	load := loadBound{parent: ctx}
	defer load.end()
	if err := f.readAll(&load); err != nil {
		return nil, err
	}
	if !f.enough() {
		f.Release()
		f.await(&load)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err := f.readAll(&load); err != nil {
			return nil, err
		}
	}
	f.sessionID, f.use.code = f.b.sessions.close(f.use, f.parts, f.version >= fetchTopicIDMin, time.Now())
	if f.use.code != codeNone {
		f.Release()
		f.parts = nil
	}
	return f, nil
}

// readAll reads what every partition has, up to the limits of the request.
func (f *fetch) readAll(load *loadBound) error {
	left, first := f.bytesMax, true
	for i := range f.parts {
		part := &f.parts[i]
		if part.p == nil {
			continue
		}
		if err := f.read(load, part, left, first); err != nil {
			return err
		}
		if n := int64(len(part.data)); n > 0 {
			first = false
			left = max(left-n, 0)
		}
	}
	return nil
}

// read makes the checks of Kafka's Partition.readRecords, in its order, and reads.
// The error ends the request; what is wrong with the partition goes into part.code.
func (f *fetch) read(load *loadBound, part *fetchPart, left int64, first bool) error {
	part.data, part.readable, part.code, part.diverges = nil, 0, codeNone, false
	part.next = part.want.offset
	if code := checkLeaderEpoch(part.p, part.want.leaderEpoch); code != codeNone {
		f.fail(part, code)
		return nil
	}
	ctx := load.of(part.p)
	s, err := part.p.State(ctx)
	if err != nil {
		f.fail(part, f.b.code("fetch from "+part.p.Dir(), err))
		return nil
	}
	if part.want.lastEpoch >= 0 {
		if done := f.checkDivergence(ctx, part, s); done {
			return nil
		}
	}
	switch {
	case part.want.offset < s.LogStart || part.want.offset > s.End:
		f.fail(part, codeOffsetOutOfRange)
		return nil
	case f.version < fetchZstdMin && part.p.Settings().Rules.CompressionType == "zstd":
		f.fail(part, codeUnsupportedCompression)
		return nil
	}
	part.highWater, part.logStart = s.HighWatermark, s.LogStart
	if part.want.offset >= s.HighWatermark {
		return nil
	}
	return f.readRecords(ctx, part, left, first)
}

// readRecords reads what is known to be there, within the budget of answers.
func (f *fetch) readRecords(ctx context.Context, part *fetchPart, left int64, first bool) error {
	bytesMax := min(int64(max(part.want.bytesMax, 0)), left)
	got, err := f.acquire(ctx, bytesMax, first)
	if err != nil {
		return err
	}
	if got < bytesMax {
		bytesMax = 0 // no memory for it now: the next request gets it
	}
	if bytesMax == 0 && !first {
		part.readable = max(int64(part.want.bytesMax), 1)
		return nil
	}
	r, err := part.p.Read(ctx, fetchBuffer(bytesMax, part.highWater-part.want.offset), part.want.offset, int(bytesMax), first)
	r.Data = fitBuffer(r.Data)
	f.giveBack(bytesMax - int64(len(r.Data)))
	switch {
	case errors.Is(err, seglog.ErrOffsetOutOfRange):
		f.fail(part, codeOffsetOutOfRange) // the start moved meanwhile
	case err != nil:
		f.fail(part, f.b.code("fetch from "+part.p.Dir(), err))
	default:
		part.data, part.highWater, part.logStart = r.Data, r.HighWatermark, r.LogStart
		f.count(part, r.Data, r.HighWatermark)
	}
	return nil
}

// Records of a consumer that catches up come in answers of about a megabyte, one after
// the other. Their buffers are used again, else the garbage collector would run as
// often as the consumer asks.
const (
	keptBufferBytesMin = 256 << 10
	keptBufferBytesMax = 2 << 20
	// backlogMin is the number of offsets from which on a large answer is expected.
	backlogMin = 64
)

var fetchBuffers sync.Pool // of *[]byte

// fetchBuffer returns a kept buffer for an answer that may become large, or nil.
func fetchBuffer(bytesMax, backlog int64) []byte {
	if bytesMax < keptBufferBytesMin || backlog < backlogMin {
		return nil
	}
	if b, ok := fetchBuffers.Get().(*[]byte); ok {
		return *b
	}
	return nil
}

// fitBuffer does not leave a few records in a large buffer.
func fitBuffer(data []byte) []byte {
	if cap(data) < keptBufferBytesMin || len(data) >= cap(data)/4 {
		return data
	}
	out := append([]byte(nil), data...)
	keepBuffer(data)
	return out
}

func keepBuffer(data []byte) {
	if cap(data) >= keptBufferBytesMin && cap(data) <= keptBufferBytesMax {
		empty := data[:0]
		fetchBuffers.Put(&empty)
	}
}

// fail answers a partition with an error, which ends the wait.
func (f *fetch) fail(part *fetchPart, code int16) {
	if code == codeKafkaStorageError && f.version < fetchStorageErrorMin {
		code = codeNotLeaderOrFollower
	}
	f.failed = true
	part.code, part.data, part.highWater, part.logStart = code, nil, -1, -1
	part.leaderEpoch = part.p.LeaderEpoch()
}

// checkDivergence compares the epoch of the client's last record with the log
// (KIP-595). It says true if the partition is answered with that.
func (f *fetch) checkDivergence(ctx context.Context, part *fetchPart, s partition.State) bool {
	epoch, end, err := epochEnd(ctx, part.p, part.want.lastEpoch)
	switch {
	case err != nil:
		f.fail(part, f.b.code("read the epochs of "+part.p.Dir(), err))
	case epoch < 0 || end < 0 || part.want.offset < s.LogStart:
		f.fail(part, codeOffsetOutOfRange)
	case epoch < part.want.lastEpoch || end < part.want.offset:
		f.failed = true
		part.diverges, part.divergingEpoch, part.divergingEnd = true, epoch, end
		part.highWater, part.logStart = s.HighWatermark, s.LogStart
	default:
		return false
	}
	return true
}

// acquire takes n bytes of the memory for answers. Only the first partition of an
// answer waits for it: who waits must not hold any.
func (f *fetch) acquire(ctx context.Context, n int64, first bool) (int64, error) {
	if f.session == nil || f.session.Responses == nil || n <= 0 {
		return n, nil
	}
	if first && f.acquired == 0 {
		if err := f.session.Responses.Acquire(ctx, n); err != nil {
			return 0, err
		}
	} else if !f.session.Responses.TryAcquire(n) {
		return 0, nil
	}
	f.acquired += n
	return n, nil
}

// giveBack returns what was not needed. A first batch larger than what was asked for
// is negative, and taken if it can be had: one batch an answer goes uncounted else.
func (f *fetch) giveBack(n int64) {
	if f.session == nil || f.session.Responses == nil {
		return
	}
	switch {
	case n > 0:
		f.session.Responses.Release(n)
		f.acquired -= n
	case n < 0 && f.session.Responses.TryAcquire(-n):
		f.acquired -= n
	}
}

// Release implements wire.Releaser.
func (f *fetch) Release() {
	for i := range f.parts {
		keepBuffer(f.parts[i].data)
		f.parts[i].data = nil
	}
	f.giveBack(f.acquired)
}
