package coordinator

import (
	"errors"
	"slices"
	"sync"
	"time"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/group"
	"ottla/internal/metrics"
	"ottla/internal/partition"
)

const (
	// loadReadBytes is how much of a log is read at a time.
	loadReadBytes = 1 << 20
	// scanChunk is how many entries of the cold store are looked at while a lock is held or an iterator open.
	scanChunk = 500
)

// loads is the goroutine that loads shards, one at a time: those first that somebody asks for.
type loads struct {
	c    *Coordinator
	wake chan struct{}
	mu   struct {
		sync.Mutex
		shards  []*shard
		current *shard          // being loaded
		quiet   []chan struct{} // closed when there is nothing left to load
		nums    []uint64        // partitions that are gone, to be removed from the cold store
	}
}

func newLoads(c *Coordinator) *loads { return &loads{c: c, wake: make(chan struct{}, 1)} }

// all has every shard loaded that is not.
func (q *loads) all() {
	for _, s := range q.c.all() {
		s.mu.Lock()
		wanted := s.mu.state == shardUnloaded
		if wanted {
			s.mu.state = shardLoading
		}
		s.mu.Unlock()
		if wanted {
			q.mu.Lock()
			q.mu.shards = append(q.mu.shards, s)
			q.mu.Unlock()
		}
	}
	q.signal()
}

// first has a shard loaded before all others, if it is not being loaded already. Its state is shardLoading.
func (q *loads) first(s *shard) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.shards) > 0 && q.mu.shards[0] == s {
		return
	}
	if i := slices.Index(q.mu.shards, s); i >= 0 {
		q.mu.shards = slices.Delete(q.mu.shards, i, i+1)
	} else if s == q.mu.current {
		return
	}
	q.mu.shards = slices.Insert(q.mu.shards, 0, s)
	q.signal()
}

// dropped has what the cold store holds of a deleted partition removed.
func (q *loads) dropped(num uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.nums = append(q.mu.nums, num)
	q.signal()
}

func (q *loads) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// await returns when nothing is left to load, or the time is over.
func (q *loads) await(max time.Duration) {
	quiet := make(chan struct{})
	q.mu.Lock()
	q.mu.quiet = append(q.mu.quiet, quiet)
	q.mu.Unlock()
	q.signal()
	timer := time.NewTimer(max)
	defer timer.Stop()
	select {
	case <-quiet:
	case <-timer.C:
	case <-q.c.ctx.Done():
	}
}

func (q *loads) run() {
	q.c.dropOrphans()
	for {
		q.mu.Lock()
		var s *shard
		if len(q.mu.shards) > 0 {
			s = q.mu.shards[0]
			q.mu.shards = q.mu.shards[1:]
		}
		q.mu.current = s
		nums := q.mu.nums
		q.mu.nums = nil
		if s == nil {
			for _, quiet := range q.mu.quiet {
				close(quiet)
			}
			q.mu.quiet = nil
		}
		q.mu.Unlock()
		for _, num := range nums {
			q.c.dropPartition(num)
		}
		if s != nil && q.c.ctx.Err() == nil {
			q.c.load(s)
			continue
		}
		select {
		case <-q.c.ctx.Done():
			return
		case <-q.wake:
		}
	}
}

// dropOrphans forgets what the cold store has of partitions that do not exist any more.
func (c *Coordinator) dropOrphans() {
	known := map[uint64]bool{}
	for _, s := range c.all() {
		if p, err := c.o.Partition(s.index); err == nil {
			known[p.Num()] = true
		}
	}
	var orphans []uint64
	err := c.o.Store.Partitions(func(num uint64) error {
		if !known[num] {
			orphans = append(orphans, num)
		}
		return nil
	})
	if err != nil {
		c.log.Warn("groups of a deleted topic were not dropped; the next start tries again", "error", err)
	}
	for _, num := range orphans {
		c.dropPartition(num)
	}
}

func (c *Coordinator) dropPartition(num uint64) {
	b := c.o.Store.NewBatch()
	defer b.Close()
	b.DeletePartition(num)
	if err := b.Commit(); err != nil {
		c.log.Warn("groups of a deleted topic were not dropped; the next start tries again", "error", err)
	}
}

// load brings a shard into use.
func (c *Coordinator) load(s *shard) {
	began := time.Now()
	groups, p, err := c.loadGroups(s.index)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.mu.state = shardUnloaded
		if errors.Is(err, ErrNoTopic) || errors.Is(err, partition.ErrDeleted) || c.ctx.Err() != nil {
			return
		}
		c.o.Metrics.LoadErrors.Inc()
		c.warn("consumer groups could not be loaded; the next request tries again", "partition", s.index, "error", err)
		return
	}
	s.mu.state, s.mu.p = shardActive, p
	now := time.Now()
	for _, g := range groups {
		s.addLocked(g, now)
	}
	c.o.Metrics.Loads.Inc()
	c.o.Metrics.LoadSeconds.Observe(now.Sub(began).Seconds())
	if len(groups) > 0 {
		c.log.Debug("consumer groups loaded", "partition", s.index, "groups", len(groups), "took", now.Sub(began))
	}
}

// loadGroups brings the cold store up to the end of the log and returns the groups that have members.
func (c *Coordinator) loadGroups(index int32) ([]*group.Group, *partition.Partition, error) {
	p, err := c.o.Partition(index)
	if err != nil {
		return nil, nil, err
	}
	if err := p.Load(c.ctx); err != nil {
		return nil, nil, err
	}
	p.SetTombstoneBound(func() int64 { return c.flushedUpTo(p.Num()) })
	r := replay{c: c, p: p, batch: c.o.Store.NewBatch(), dues: c.newDues(), began: time.Now().UnixMilli()}
	defer r.batch.Close()
	if err := r.run(); err != nil {
		return nil, nil, err
	}
	groups, err := c.markedGroups(p.Num())
	return groups, p, err
}

// replay folds the tail of a log behind the checkpoint into the cold store.
type replay struct {
	c     *Coordinator
	p     *partition.Partition
	batch *coldstate.Batch
	dues  dues
	began int64 // milliseconds since 1970
}

func (r *replay) run() error {
	num := r.p.Num()
	check, known, err := r.c.o.Store.Checkpoint(num)
	if err != nil {
		return err
	}
	state, err := r.p.State(r.c.ctx)
	if err != nil {
		return err
	}
	flushed, _, err := r.c.o.Store.FlushedCheckpoint(num)
	if err != nil {
		return err
	}
	offset, ahead := max(check.Offset, state.LogStart), max(check.Offset, flushed.Offset) > state.HighWatermark
	if offset > state.HighWatermark {
		// The disk has lost what it had synced, or an older version did not wait for fsync: the cold store is of another log.
		r.c.log.Warn("the log of consumer groups ends before what is known of it; all of it is read again", "partition", r.p.Dir(),
			"end", state.HighWatermark, "known", check.Offset)
		offset, known = state.LogStart, false
	}
	if err := r.tail(offset, state.HighWatermark, known); err != nil {
		return err
	}
	if ahead {
		// New records take offsets below the checkpoint that a power loss would bring back, and a load would pass over them.
		return r.c.o.Store.Flush()
	}
	return nil
}

// tail folds what the log has from an offset to end, and sets the checkpoint unless it is right.
func (r *replay) tail(offset, end int64, known bool) error {
	var buf []byte
	began := offset
	for offset < end {
		if err := r.c.ctx.Err(); err != nil {
			return err
		}
		result, err := r.p.Read(r.c.ctx, buf[:0], offset, loadReadBytes, true)
		if err != nil {
			return err
		}
		if len(result.Data) == 0 {
			break // compacted away up to the end
		}
		buf = result.Data
		if offset, err = r.fold(result.Data, offset); err != nil {
			return err
		}
	}
	if known && offset == began {
		return nil
	}
	r.batch.SetCheckpoint(r.p.Num(), coldstate.Checkpoint{Offset: offset})
	return r.batch.Commit()
}

// fold applies whole batches and returns the offset behind them.
func (r *replay) fold(data []byte, offset int64) (int64, error) {
	num := r.p.Num()
	for len(data) > 0 {
		b, err := batch.Parse(data)
		if err != nil {
			return offset, err
		}
		data = data[b.Size():]
		h := b.Header()
		offset = h.LastOffset() + 1
		if h.Control() {
			continue
		}
		if err := b.Records(r.record); err != nil {
			return offset, err
		}
		if r.batch.Bytes() >= r.c.o.Store.BatchBytesMax() {
			r.batch.SetCheckpoint(num, coldstate.Checkpoint{Offset: offset})
			if err := r.batch.Commit(); err != nil {
				return offset, err
			}
		}
	}
	return offset, nil
}

func (r *replay) record(rec batch.Record) error {
	num := r.p.Num()
	if r.batch.Bytes() >= r.c.o.Store.BatchBytesMax() {
		if err := r.batch.Commit(); err != nil { // without a checkpoint: see queue.put
			return err
		}
	}
	one := group.Record{Key: rec.Key, Value: rec.Value}
	kind, id, err := putRecord(r.batch, num, one, r.c.o.Metrics)
	if err != nil || kind == group.KindUnknown {
		return nil
	}
	r.dues.put(r.batch, num, one, kind, id, r.began)
	if kind != group.KindOffset && rec.Value != nil {
		// It may have members; whether it has the load finds out.
		r.batch.PutBytes(num, groupPrefix(spaceLive, id), nil)
	}
	return nil
}

// putRecord adds what a record does to the cold store. It returns the kind of the record and its group.
func putRecord(b *coldstate.Batch, num uint64, r group.Record, m *metrics.Groups) (kind group.Kind, id string, err error) {
	key, kind, id, err := coldKey(r.Key)
	if err != nil || key == nil {
		m.BadRecords.Inc()
		return group.KindUnknown, "", err
	}
	if r.Value == nil {
		b.DeleteBytes(num, key)
	} else {
		b.PutBytes(num, key, r.Value)
	}
	return kind, id, nil
}

// markedGroups returns the groups that have members, and removes the marks of those that have none.
func (c *Coordinator) markedGroups(num uint64) (groups []*group.Group, err error) {
	b := c.o.Store.NewBatch()
	defer b.Close()
	var from []byte
	for more := true; more; {
		var ids []string
		from, more, err = c.o.Store.ScanBytes(num, []byte{spaceLive}, from, scanChunk, func(key, _ []byte) ([]byte, error) {
			id, _, err := splitCold(key)
			ids = append(ids, id)
			return nil, err
		})
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			g, _, err := c.readGroup(num, id)
			if err != nil {
				return nil, err
			}
			if g.MembersCount() > 0 {
				groups = append(groups, g)
			} else {
				b.DeleteBytes(num, groupPrefix(spaceLive, id))
			}
		}
		if err := b.Commit(); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// readGroup makes a group from its records. A record that cannot be read is passed over, as at Kafka.
func (c *Coordinator) readGroup(num uint64, id string) (g *group.Group, some bool, err error) {
	g = group.New(id, c.o.Config(id))
	prefix := groupPrefix(spaceGroup, id)
	var from []byte
	for more := true; more; {
		from, more, err = c.o.Store.ScanBytes(num, prefix, from, scanChunk, func(key, val []byte) ([]byte, error) {
			some = true
			record, err := metadataRecordKey(id, key[len(prefix):])
			if err != nil {
				return nil, err
			}
			if err := g.Replay(group.Record{Key: record, Value: slices.Clone(val)}); err != nil {
				c.o.Metrics.BadRecords.Inc()
				c.log.Warn("a record of a consumer group cannot be read and is passed over", "group", id, "error", err)
			}
			return nil, nil
		})
		if err != nil {
			return nil, some, err
		}
	}
	return g, some, nil
}
