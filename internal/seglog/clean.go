package seglog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ottla/internal/batch"
)

// Compaction, as Kafka's LogCleaner does it: of the records of each key the latest stays.
//
//	start            cleaned            uncleanable       active
//	--|-----------------|--------------------|--------------|------
//	   no key twice        dirty: its keys      not yet,
//	                       go into the map      or never
//
// A cleaning reads the dirty part and notes the last offset of each key. Then it goes through all segments up to there,
// in groups that become one segment each, and leaves out records that have a later one of their key, records without a
// value whose delete horizon is over, and batches in which nothing remains and of which nobody needs the header. Offsets
// and timestamps stay; so there are holes between batches and inside of them from then on.
//
// What it may touch is durable, lies in front of the recovery point, and so in front of everything that a recovery checks
// or cuts. Both are written before the first segment is replaced. How a segment is replaced is in clean_swap.go.
//
// Appends and reads go on: the lock that they need is held while one list of segments takes the place of another.

const (
	// cleanGroupSegmentsMax bounds the segments that become one: their files are held open meanwhile.
	cleanGroupSegmentsMax = 64
	// cleanBufferBytes is how much of a segment is read, or written, at once.
	cleanBufferBytes = 1 << 20
	// throttleSlice is how long a cleaning that is throttled takes to see that it has to end.
	throttleSlice = 50 * time.Millisecond
)

// errStale says that the log has dropped a segment that was being cleaned.
var errStale = errors.New("seglog: segment is gone")

// errMapFull ends the walk that fills the map.
var errMapFull = errors.New("seglog: offset map is full")

// ErrMapTooSmall says that not one record fits into the offset map.
var ErrMapTooSmall = errors.New("seglog: offset map is too small")

// Cleanable says what there is to clean of a log.
type Cleanable struct {
	FirstDirty       int64 // where the last cleaning ended
	FirstUncleanable int64 // a segment's base; not below the log start
	CleanBytes       int64 // of the segments below FirstDirty
	DirtyBytes       int64 // of the others below FirstUncleanable
	// Overdue says that a record in the dirty part has waited for longer than max.compaction.lag.ms.
	Overdue bool
}

// Ratio is the share of what could be cleaned that is dirty, 0 to 1.
func (c Cleanable) Ratio() float64 {
	if c.DirtyBytes == 0 {
		return 0
	}
	return float64(c.DirtyBytes) / float64(c.CleanBytes+c.DirtyBytes)
}

// Due says whether it is time, by min.cleanable.dirty.ratio and max.compaction.lag.ms.
func (c Cleanable) Due(cfg *Config) bool {
	return c.DirtyBytes > 0 && (c.Overdue || c.Ratio() > cfg.MinDirtyRatio)
}

// CleanOptions describe one cleaning.
type CleanOptions struct {
	Now time.Time // for lags and delete horizons
	Map *OffsetMap
	// UpTo is an offset at or behind which no segment is touched.
	UpTo int64
	// TombstonesBelow is an offset at or behind which records without a value stay, whatever their horizon.
	TombstonesBelow int64
	// KeepEmpty says whether the header of a producer's batch must stay of which no record does. live says whether a
	// record stays of the batch that begins at an offset. Nil: none must.
	KeepEmpty func(h batch.Header, live func(baseOffset int64) (bool, error)) (bool, error)
	// BeforeSwap is called before a batch that KeepEmpty has given up is gone for good. May be nil.
	BeforeSwap func() error
	// Throttle is told of bytes that are read or written, and returns how long to wait first. May be nil.
	Throttle func(bytes int) time.Duration
}

// CleanStats say what a cleaning did.
type CleanStats struct {
	FirstDirty int64 // where the next one begins
	MapBytes   int64 // read to note keys
	Keys       int64 // noted
	// MapFull says that not all of the dirty part fitted.
	MapFull      bool
	BytesRead    int64 // of segments that were cleaned
	BytesWritten int64 // of new segments
	Kept         int64 // records
	Superseded   int64 // records left out because of a later one
	Tombstones   int64 // records without a value left out
	KeyLess      int64 // records without a key left out
	EmptyBatches int64 // batches kept without a record
	Segments     int64 // replaced
}

// CleanedUpTo is where the last cleaning ended, or the log start if that is later.
func (l *Log) CleanedUpTo() int64 { return max(l.cleaned.Load(), l.start.Load()) }

// Cleanable looks what there is to clean. It reads at most two index entries or headers of each dirty segment.
func (l *Log) Cleanable(now time.Time) (Cleanable, error) {
	if err := l.cleanStopped(); err != nil {
		return Cleanable{}, err
	}
	return l.cleanable(now, math.MaxInt64)
}

func (l *Log) cleanable(now time.Time, upTo int64) (Cleanable, error) {
	cfg := l.config()
	held, ends := l.holdClosed(upTo)
	defer releaseAll(held)
	c := Cleanable{FirstDirty: l.CleanedUpTo()}
	if c.FirstDirty > l.end.Load() {
		c.FirstDirty = l.start.Load()
	}
	c.FirstUncleanable = l.start.Load()
	if len(held) > 0 {
		c.FirstUncleanable = max(c.FirstUncleanable, held[0].base)
	}
	for i, s := range held {
		if ends[i] <= c.FirstDirty {
			c.CleanBytes += s.size
			c.FirstUncleanable = ends[i]
			continue
		}
		young, err := l.tooYoung(s, cfg, now)
		if err != nil || young {
			return c, err
		}
		if !c.Overdue {
			if c.Overdue, err = l.overdue(s, cfg, now); err != nil {
				return c, err
			}
		}
		c.DirtyBytes += s.size
		c.FirstUncleanable = ends[i]
	}
	return c, nil
}

// holdClosed takes references of the segments that are closed, durable, and end at or in front of upTo.
func (l *Log) holdClosed(upTo int64) (held []*segment, ends []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo = min(upTo, l.mu.durable.Offset, l.mu.committed.Offset)
	for i, s := range l.mu.segments[:len(l.mu.segments)-1] {
		end := l.segmentEndLocked(i)
		if end > upTo {
			break
		}
		s.acquireLocked()
		held, ends = append(held, s), append(ends, end)
	}
	return held, ends
}

func releaseAll(segments []*segment) {
	for _, s := range segments {
		s.release()
	}
}

// tooYoung says whether min.compaction.lag.ms keeps a segment from being cleaned.
func (l *Log) tooYoung(s *segment, cfg *Config, now time.Time) (bool, error) {
	if cfg.MinCompactionMillis <= 0 {
		return false, nil
	}
	m, err := l.segmentMax(s)
	return m.Timestamp > now.UnixMilli()-cfg.MinCompactionMillis, err
}

// overdue says whether the first batch of a dirty segment is older than max.compaction.lag.ms.
func (l *Log) overdue(s *segment, cfg *Config, now time.Time) (bool, error) {
	if cfg.MaxCompactionMillis <= 0 || cfg.MaxCompactionMillis == math.MaxInt64 || s.size == 0 {
		return false, nil
	}
	f, err := s.handle(false)
	if err != nil {
		return false, err
	}
	sc := newScanner(f, 0, s.size)
	defer sc.close()
	h, err := sc.next()
	if err != nil {
		return false, err
	}
	return h.MaxTimestamp > 0 && h.MaxTimestamp < now.UnixMilli()-cfg.MaxCompactionMillis, nil
}

// endCleaning makes the cleaning under way end and waits for it. None begins afterwards.
func (l *Log) endCleaning() {
	l.stopClean.Store(true)
	l.cleanMu.Lock()
	defer l.cleanMu.Unlock()
}

func (l *Log) cleanStopped() error {
	if l.stopClean.Load() || l.closed.Load() {
		return fmt.Errorf("%w: clean %s", ErrClosed, l.name)
	}
	return l.store.Offline()
}

// Clean cleans the log once, as far as its dirty part fits into the map. ErrCorrupt says that a batch is damaged: cleaning
// this log again makes no sense until somebody has looked at it. After any other error it can be tried again; what was
// replaced until then stays replaced. One cleaning of a log runs at a time.
func (l *Log) Clean(ctx context.Context, o CleanOptions) (CleanStats, error) {
	l.cleanMu.Lock()
	defer l.cleanMu.Unlock()
	c := &cleaning{l: l, ctx: ctx, o: o, cfg: l.config()}
	err := c.run()
	if errors.Is(err, errStale) {
		err = nil // retention was faster; the next cleaning sees what is left
	}
	if err != nil {
		err = fmt.Errorf("clean %s: %w", l.name, err)
	}
	return c.stats, err
}

// cleaning is one run of Clean.
type cleaning struct {
	l     *Log
	ctx   context.Context
	o     CleanOptions
	cfg   *Config
	stats CleanStats
	sieve sieve
	upper int64 // no segment at or behind it is touched
}

func (c *cleaning) run() error {
	l := c.l
	if err := c.stopped(); err != nil {
		return err
	}
	todo, err := l.cleanable(c.o.Now, c.o.UpTo)
	if err != nil {
		return err
	}
	c.stats.FirstDirty, c.upper = todo.FirstDirty, todo.FirstUncleanable
	if todo.FirstUncleanable <= todo.FirstDirty {
		return nil
	}
	c.o.Map.clear()
	if err := c.fillMap(todo.FirstDirty); err != nil {
		return err
	}
	end := c.o.Map.latest + 1
	if end <= todo.FirstDirty {
		return fmt.Errorf("%w: %d bytes", ErrMapTooSmall, c.o.Map.Bytes())
	}
	c.sieve = newSieve(c.o)
	if err := l.noteCleaning(startFile{recovery: c.upper, holes: c.upper}); err != nil {
		return err
	}
	if err := c.cleanGroups(end); err != nil {
		return err
	}
	c.stats.FirstDirty = end
	return l.noteCleaning(startFile{cleaned: end})
}

// stopped says whether the cleaning has to end.
func (c *cleaning) stopped() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return c.l.cleanStopped()
}

// noteCleaning writes down, durably, what is larger than what the start file has.
func (l *Log) noteCleaning(s startFile) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := l.cleanStopped(); err != nil {
		return err
	}
	s.start, s.recovery = l.startFile, max(s.recovery, l.recoveryPoint)
	if s.recovery == l.recoveryPoint && s.holes <= l.holes && s.cleaned <= l.cleaned.Load() {
		return nil
	}
	return l.writeStart(s)
}

// cleanGroups cleans the segments that begin in front of end, a group at a time.
func (c *cleaning) cleanGroups(end int64) error {
	for from := c.l.Start(); ; {
		group, next, err := c.nextGroup(from, end)
		if err != nil || group == nil {
			return err
		}
		err = c.cleanGroup(group)
		releaseAll(group)
		if err != nil {
			return err
		}
		from = next
	}
}

// nextGroup takes references of the segments that are to become one: the one that holds from, and those behind it as long
// as all together are no larger than a segment may be.
func (c *cleaning) nextGroup(from, end int64) (group []*segment, next int64, err error) {
	if err := c.stopped(); err != nil {
		return nil, 0, err
	}
	l := c.l
	l.mu.Lock()
	i := l.findLocked(from)
	var candidates []*segment
	var ends []int64
	for ; i+1 < len(l.mu.segments) && len(candidates) < cleanGroupSegmentsMax; i++ {
		s := l.mu.segments[i]
		if s.base >= end || l.segmentEndLocked(i) > c.upper {
			break
		}
		s.acquireLocked()
		candidates, ends = append(candidates, s), append(ends, l.segmentEndLocked(i))
	}
	l.mu.Unlock()
	if len(candidates) == 0 {
		return nil, 0, nil
	}
	n := c.groupLen(candidates, ends)
	releaseAll(candidates[n:])
	return candidates[:n], ends[n-1], nil
}

// groupLen is Kafka's groupSegmentsBySize for the first group.
func (c *cleaning) groupLen(segments []*segment, ends []int64) int {
	bytes, entries, times := segments[0].size, c.indexBytes(segments[0], indexSuffix), c.indexBytes(segments[0], timeIndexSuffix)
	n := 1
	for ; n < len(segments); n++ {
		s := segments[n]
		bytes += s.size
		entries += c.indexBytes(s, indexSuffix)
		times += c.indexBytes(s, timeIndexSuffix)
		indexMax := int64(c.cfg.indexEntriesMax()) * offsetEntryBytes
		if bytes > segmentBytesMax(c.cfg) || entries > indexMax || times > indexMax ||
			s.size > 0 && ends[n]-1-segments[0].base > math.MaxInt32 {
			break
		}
	}
	return n
}

// indexBytes is the size of an index file, zero where there is none yet.
func (c *cleaning) indexBytes(s *segment, suffix string) int64 {
	info, err := c.l.store.fs.Stat(s.path(suffix))
	if err != nil {
		return 0
	}
	return info.Size
}
