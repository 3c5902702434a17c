package pidstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"ottla/internal/coldstate"
	"ottla/internal/metrics"
	"ottla/internal/producer"
)

var (
	// ErrRetryLookup asks the caller of Check to look up again.
	ErrRetryLookup = errors.New("look the producer up again")
	// ErrColdRead says that an entry could not be read, so that nothing is known of
	// the producer. It must never be taken for "unknown".
	ErrColdRead = errors.New("producer entry not readable")
	// ErrNotLoaded says that the partition's entries have not been recovered yet.
	ErrNotLoaded = errors.New("producer state not loaded")
	// ErrDropped says that the partition was deleted.
	ErrDropped = errors.New("producer state dropped")
	// ErrClosed says that the store is closing.
	ErrClosed = errors.New("producer store closed")
	// ErrInvalidPID says that a number is no producer id.
	ErrInvalidPID = errors.New("invalid producer id")
	// ErrTrimTimeout says that the log did not become durable up to where it was to
	// be trimmed.
	ErrTrimTimeout = errors.New("producer checkpoint did not reach the new log start in time")
)

// metaAge is the name under which the broker age is kept: 4 bytes, big endian, seconds.
const metaAge = "producer-age"

// Options say what a store is made of.
type Options struct {
	Cold             *coldstate.Store
	MemoryBytes      int64 // hot and overlay together, as Split divides a budget
	ExpirationMillis int64 // idle time after which an entry without data is forgotten
	IDs              *IDs
	SyncLog          func(num uint64) // ask for an fsync of a partition's log; must not block
	Metrics          *metrics.Producers
	Logger           *slog.Logger
}

// Store keeps the producer entries of all partitions. See the package comment.
type Store struct {
	o                 Options
	cold              *coldstate.Store
	ids               *IDs
	metrics           *metrics.Producers
	logger            *slog.Logger
	expirationSeconds uint32
	layout            layout
	seed              maphash.Seed

	slab    *slab
	shards  []shard
	hot     atomic.Int64 // entries
	overlay atomic.Int64 // entries
	age     atomic.Uint32
	forgot  atomic.Int64

	// parts only grows; a dropped partition leaves nil. Readers may see an old slice
	// and so a dropped partition a little longer, which does no harm.
	parts     atomic.Pointer[[]atomic.Pointer[Partition]]
	partsUsed int // guarded by adding
	adding    sync.Mutex

	applier *applier
	keeper  *keeper

	queue struct { // partitions that the applier is to look at
		sync.Mutex
		head, tail *Partition
	}
	pending struct { // partitions with queued appends
		sync.Mutex
		head *Partition
	}
	foreign struct {
		sync.Mutex
		generation uint64 // foreign ids that left memory
	}
	sweep sweepState
	fatal struct {
		sync.Mutex
		err error
		ch  chan struct{} // closed with the first error, or when the store closes
	}
	describing sync.Mutex // one at a time bounds their memory
	closing    atomic.Bool
}

// Open starts a store on an open cold store.
func Open(o Options) (*Store, error) {
	s := &Store{
		o: o, cold: o.Cold, ids: o.IDs, metrics: o.Metrics, logger: o.Logger,
		seed:              maphash.MakeSeed(),
		expirationSeconds: uint32(min((max(o.ExpirationMillis, 0)+999)/1000, math.MaxUint32)),
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	age, err := s.storedAge()
	if err != nil {
		return nil, err
	}
	s.ids.raiseAge(age)
	s.age.Store(s.ids.age.Load())

	overlayBytes := min(o.MemoryBytes/2, overlayBytesMax)
	s.layout = newLayout(o.MemoryBytes-overlayBytes, overlayBytes)
	s.shards = make([]shard, s.layout.shards)
	for i := range s.shards {
		s.shards[i].init(s.layout)
	}
	s.parts.Store(new([]atomic.Pointer[Partition]))
	s.fatal.ch = make(chan struct{})
	s.keeper = newKeeper(s)
	s.slab = newSlab(s.layout.units, s.keeper.nudge)
	s.applier = newApplier(s)
	s.metrics.MemoryHotBytes.Set(float64(s.layout.hotBytes()))
	s.metrics.MemoryOverlayBytes.Set(float64(s.layout.overlayBytes()))
	s.applier.start()
	s.keeper.start()
	return s, nil
}

func (s *Store) storedAge() (uint32, error) {
	val, found, err := s.cold.Meta(metaAge)
	if err != nil || !found {
		return 0, err
	}
	if len(val) != 4 {
		return 0, fmt.Errorf("%s: got %d bytes, want 4", metaAge, len(val))
	}
	return binary.BigEndian.Uint32(val), nil
}

// Close writes everything that is durable in the log, flushes the cold store and
// stops. The log must have made its final pass. The cold store stays open.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	s.slab.fail(ErrClosed)
	s.keeper.stop()
	err := s.applier.do(s.applier.writeLazy)
	s.applier.stop()
	s.fatal.Lock()
	if s.fatal.err == nil {
		s.fatal.err = ErrClosed
		close(s.fatal.ch)
	}
	s.fatal.Unlock()
	s.ids.Close()
	if err != nil {
		return err
	}
	return s.cold.Flush()
}

// SetOffline makes every look-up, present and future, fail with err: the log or the
// cold store can take no more. The first error stays.
func (s *Store) SetOffline(err error) {
	s.fatal.Lock()
	if s.fatal.err == nil {
		s.fatal.err = err
		close(s.fatal.ch)
	}
	s.fatal.Unlock()
	s.slab.fail(err)
}

// failed returns the error that took the store offline.
func (s *Store) failed() error {
	s.fatal.Lock()
	defer s.fatal.Unlock()
	return s.fatal.err
}

// AddPartition makes a partition known. It reads nothing. createdPID is an id such
// that everything issued before the partition was made lies below it.
func (s *Store) AddPartition(num uint64, createdPID int64) *Partition {
	p := &Partition{s: s, num: num, createdPID: createdPID}
	p.coldMax.Store(math.MaxInt64) // nothing is new before Load
	s.adding.Lock()
	defer s.adding.Unlock()
	parts := *s.parts.Load()
	if s.partsUsed == len(parts) {
		grown := make([]atomic.Pointer[Partition], max(2*len(parts), 64))
		for i := range parts {
			grown[i].Store(parts[i].Load())
		}
		parts = grown
		s.parts.Store(&parts)
	}
	p.index = uint32(s.partsUsed)
	s.partsUsed++
	parts[p.index].Store(p)
	return p
}

func (s *Store) removePartition(p *Partition) {
	s.adding.Lock()
	defer s.adding.Unlock()
	(*s.parts.Load())[p.index].Store(nil)
}

// partition returns the partition at an index; nil if it was dropped.
func (s *Store) partition(index uint32) *Partition { return (*s.parts.Load())[index].Load() }

func (s *Store) hash(part uint32, pid int64) uint64 {
	return maphash.Comparable(s.seed, struct {
		pid  int64
		part uint32
	}{pid, part})
}

// shard picks by the high bits; buckets are picked by the low ones.
func (s *Store) shard(hash uint64) *shard { return &s.shards[hash>>58&uint64(len(s.shards)-1)] }

// left is called under the shard's lock before an entry that the cold store holds
// leaves memory.
func (s *Store) left(part uint32, pid int64) {
	if p := s.partition(part); p != nil {
		p.left(pid)
	}
}

// left makes isNew false for an id, for ever.
func (p *Partition) left(pid int64) {
	if pid < p.s.ids.Limit() {
		raise(&p.coldMax, pid)
		return
	}
	p.s.foreign.Lock()
	defer p.s.foreign.Unlock()
	p.s.foreign.generation++
	if pid < p.foreignMin.Load() {
		p.foreignMin.Store(pid)
	}
}

func raise(a *atomic.Int64, v int64) {
	for {
		old := a.Load()
		if v <= old || a.CompareAndSwap(old, v) {
			return
		}
	}
}

// passForeign moves foreignMin above the limit when the ids of ours have grown past
// it; else every new id above a foreign one would cost a read for ever.
func (p *Partition) passForeign(pid int64) error {
	if pid < p.foreignMin.Load() || pid >= p.s.ids.Limit() {
		return nil
	}
	p.s.foreign.Lock()
	generation := p.s.foreign.generation
	p.s.foreign.Unlock()
	coldMax, foreignMin, err := p.seek(p.s.ids.Limit())
	if err != nil {
		return err
	}
	p.s.foreign.Lock()
	defer p.s.foreign.Unlock()
	if p.s.foreign.generation == generation {
		raise(&p.coldMax, coldMax)
		p.foreignMin.Store(foreignMin)
	}
	return nil
}

// seek returns the highest key in the cold store below limit and the lowest from it.
func (p *Partition) seek(limit int64) (coldMax, foreignMin int64, err error) {
	coldMax, found, err := p.s.cold.MaxKey(p.num, limit-1)
	if err != nil {
		return 0, 0, fmt.Errorf("partition %d: %w: %w", p.num, ErrColdRead, err)
	}
	if !found {
		coldMax = -1
	}
	foreignMin = noForeign
	_, _, err = p.s.cold.Scan(p.num, limit, 1, func(key int64, _ []byte) error {
		foreignMin = key
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("partition %d: %w: %w", p.num, ErrColdRead, err)
	}
	return coldMax, foreignMin, nil
}

// DropOrphans forgets the partitions that the cold store knows and nobody else, and
// returns how many there were. live is first called when all numbers have been read: it
// may answer by what is known at that moment.
func (s *Store) DropOrphans(live func(num uint64) bool) (int, error) {
	var orphans []uint64
	err := s.cold.Partitions(func(num uint64) error {
		orphans = append(orphans, num)
		return nil
	})
	if err != nil {
		return 0, err
	}
	orphans = slices.DeleteFunc(orphans, live)
	for chunk := range slices.Chunk(orphans, s.applier.chunk) {
		err := s.applier.do(func(b *coldstate.Batch) error {
			for _, num := range chunk {
				b.DeletePartition(num)
			}
			return s.applier.commitBatch(b)
		})
		if err != nil {
			return 0, err
		}
	}
	return len(orphans), nil
}

// Stats are the numbers of a store at one moment.
type Stats struct {
	HotEntries, HotEntriesMax           int64 // at most so many, all of one batch
	OverlayEntries                      int64
	AppendsInFlight, AppendsInFlightMax int64
	HotBytes, OverlayBytes              int64 // allocated
	Forgotten                           int64
	AgeSeconds                          uint32
	CheckpointAgeSeconds                int64 // since the cold store was flushed, if it lags
}

// Stats returns the numbers of the store.
func (s *Store) Stats() Stats {
	return Stats{
		HotEntries:           s.hot.Load(),
		HotEntriesMax:        int64(s.layout.shards) * int64(s.layout.hotSets) * cellsPerSet,
		OverlayEntries:       s.overlay.Load(),
		AppendsInFlight:      s.slab.used.Load(),
		AppendsInFlightMax:   int64(s.layout.units),
		HotBytes:             s.layout.hotBytes(),
		OverlayBytes:         s.layout.overlayBytes(),
		Forgotten:            s.forgot.Load(),
		AgeSeconds:           s.Age(),
		CheckpointAgeSeconds: int64(s.keeper.lag().Seconds()),
	}
}

// Age returns the broker age in seconds: the time this data directory has been
// served, never moved by the clock of the machine.
func (s *Store) Age() uint32 { return s.age.Load() }

func isDuplicate(err error) bool { return errors.Is(err, producer.ErrDuplicateSequence) }
