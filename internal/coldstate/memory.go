package coldstate

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

const (
	// MemoryBytesMin is the smallest budget that the store can keep within; a smaller one counts as this.
	MemoryBytesMin = fixedBytes + 192<<10
	// fixedBytes is what Pebble takes whatever its options: writers of manifest and log, the commit pipeline, compressors,
	// iterators and block builders of a flush and a compaction at the same time, which is the peak. Measured at the smallest
	// budget; the average is some 250 KiB less.
	fixedBytes = 704 << 10
)

const (
	// firstArenaBytes is the size of Pebble's first memtable; each later one has twice the size up to the configured.
	firstArenaBytes = 256 << 10
	// arenaReserveBytes is what an empty memtable takes, and some room for the estimate of nodes to be wrong.
	arenaReserveBytes = 4 << 10
	// level0SublevelsMax is how deep it may get before commits wait for the compaction.
	level0SublevelsMax = 16
	// neverStall keeps Pebble from waiting by itself, where neither Close nor a failure could interrupt it.
	neverStall = 1000

	// readerBytes is what an open table takes beside cached blocks.
	readerBytes = 4 << 10
	// tableMetadataBytes is what a table takes while it is not open.
	tableMetadataBytes = 1 << 10
	tableBytesMax      = 64 << 20
	// smallBytes is what a budget beyond fixedBytes has to be for the larger index blocks.
	smallBytes = 2 << 20
)

// shares is how a budget is split.
type shares struct {
	memtableBytes   int64 // of one; two exist while one is being flushed
	blockCacheBytes int64
	openTables      int
	// baseTableBytes is the size of tables in the highest level below 0. Keys ascend within a partition, so a
	// compaction of level 0 rewrites the last table of each partition: small ones make that cheap.
	baseTableBytes int64
	// blockBytes is what a look-up that memory does not answer reads, unpacks and, without cgo, leaves to the garbage collector.
	blockBytes int
	// indexBlockBytes is the size of the lower of two levels of index blocks; a table writer allocates 16 of them at once.
	indexBlockBytes int
	manifestBytes   int64
	// level0Sublevels is how deep level 0 gets before it is compacted: fewer mean cheaper look-ups, more mean that the tail
	// of each partition in the level below is rewritten less often.
	level0Sublevels int
}

// split divides what is left of a budget after fixedBytes: half for the two memtables, a quarter for the block cache, the
// rest for open tables, the metadata of all tables, and what compactions take beyond the fixed part.
func split(memoryBytes int64) shares {
	m := max(memoryBytes, MemoryBytesMin) - fixedBytes
	h := shares{
		memtableBytes:   m / 4 &^ 0xfff,
		blockCacheBytes: m / 4,
		openTables:      int(min(max(m/16/readerBytes, 4), 500)),
		baseTableBytes:  min(max(m/8, 256<<10), 4<<20),
		blockBytes:      4 << 10,
		indexBlockBytes: 8 << 10,
		manifestBytes:   max(m/4, 64<<10),
		level0Sublevels: 6,
	}
	if m < smallBytes {
		// Index builders and buffers are a good part of so small a budget; so is a flush, so that they are many.
		h.indexBlockBytes, h.level0Sublevels = 2<<10, 8
	}
	return h
}

// pebbleOptions returns the options that keep Pebble within the shares. The caller unreferences Cache and FileCache.
func (h shares) pebbleOptions() *pebble.Options {
	// Pebble takes the memtables out of the cache's capacity.
	cache := pebble.NewCache(h.blockCacheBytes + 2*h.memtableBytes)
	o := &pebble.Options{
		Cache:                       cache,
		FileCache:                   pebble.NewFileCache(1, h.openTables),
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                uint64(h.memtableBytes),
		MemTableStopWritesThreshold: neverStall,
		L0StopWritesThreshold:       neverStall,
		L0CompactionThreshold:       2 * h.level0Sublevels, // Pebble counts a sublevel twice
		LBaseMaxBytes:               32 * h.baseTableBytes,
		MaxManifestFileSize:         h.manifestBytes,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		BytesPerSync:                256 << 10,
	}
	o.Experimental.ReadSamplingMultiplier = -1
	// Values never go into blocks of their own, so that no table writer holds a buffer for them.
	o.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	size := h.baseTableBytes
	o.TargetFileSizes[0] = size
	for i := 1; i < len(o.TargetFileSizes); i++ {
		// Lower levels have larger tables, so that their number, and with it their metadata, stays small.
		o.TargetFileSizes[i] = size
		size = min(4*size, tableBytesMax)
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = h.blockBytes
		o.Levels[i].IndexBlockSize = h.indexBlockBytes
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return o
}

// Memory is what the store holds.
type Memory struct {
	MemtableBytes   int64
	BlockCacheBytes int64
	// TableBytes is for open tables and the metadata of all.
	TableBytes int64
	// FixedBytes is for the rest, buffers of a running flush and compaction included.
	FixedBytes int64
}

// Total is the sum.
func (m Memory) Total() int64 {
	return m.MemtableBytes + m.BlockCacheBytes + m.TableBytes + m.FixedBytes
}

// MemoryInUse returns what the store holds now.
func (s *Store) MemoryInUse() Memory {
	if s.enter() != nil {
		return Memory{}
	}
	defer s.leave()
	m := s.db.Metrics()
	tables := int64(0)
	for i := range m.Levels {
		tables += m.Levels[i].TablesCount
	}
	r := Memory{
		MemtableBytes:   int64(m.MemTable.Size + m.MemTable.ZombieSize),
		BlockCacheBytes: m.BlockCache.Size,
		TableBytes:      m.FileCache.TableCount*readerBytes + tables*tableMetadataBytes,
		FixedBytes:      fixedBytes,
	}
	s.metrics.MemoryBytes.Set(float64(r.Total()))
	return r
}
