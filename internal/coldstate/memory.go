package coldstate

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// MemoryBytesMin is the smallest budget the store can keep within.
const MemoryBytesMin = 300 << 10

const (
	// firstArenaBytes is the size of Pebble's first memtable; each later one has twice the size up to the configured.
	firstArenaBytes = 256 << 10
	// memtableFillPercent leaves room for the estimate of nodes to be wrong.
	memtableFillPercent = 90
	// level0SublevelsMax is how many tables a read may have to look into before commits wait for compaction.
	level0SublevelsMax = 12
	// neverStall keeps Pebble from waiting by itself, where neither Close nor a failure could interrupt it.
	neverStall = 1000

	blockBytes      = 8 << 10
	indexBlockBytes = 8 << 10
	// readerBytes is what an open table takes beside cached blocks.
	readerBytes = 6 << 10
	// tableMetadataBytes is what a table takes while it is not open.
	tableMetadataBytes = 1 << 10
)

// shares is how a budget is split.
type shares struct {
	memtableBytes   int64 // of one; two exist while one is being flushed
	blockCacheBytes int64
	openTables      int
	tableBytes      int64 // target size of the larger tables on disk
	manifestBytes   int64
}

// split divides a budget: half for the two memtables, a quarter for the block cache, the rest for open tables, table metadata
// and compaction, whose buffers grow with the size of the tables.
func split(memoryBytes int64) shares {
	m := max(memoryBytes, MemoryBytesMin)
	return shares{
		memtableBytes:   m / 4 &^ 0xfff,
		blockCacheBytes: m / 4,
		openTables:      int(min(max(m/16/readerBytes, 4), 500)),
		tableBytes:      min(max(m*8, 4<<20), 128<<20),
		manifestBytes:   max(m/4, 64<<10),
	}
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
		L0CompactionThreshold:       2,
		LBaseMaxBytes:               4 * h.tableBytes,
		MaxManifestFileSize:         h.manifestBytes,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		BytesPerSync:                256 << 10,
	}
	o.Experimental.ReadSamplingMultiplier = -1
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = min(max(h.memtableBytes, h.tableBytes/16)<<i, h.tableBytes)
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = blockBytes
		o.Levels[i].IndexBlockSize = indexBlockBytes
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
	// CompactionBytes is for the buffers of a running flush or compaction.
	CompactionBytes int64
}

// Total is the sum.
func (m Memory) Total() int64 {
	return m.MemtableBytes + m.BlockCacheBytes + m.TableBytes + m.CompactionBytes
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
		CompactionBytes: m.Compact.NumInProgress * s.shares.compactionBytes(),
	}
	s.metrics.MemoryBytes.Set(float64(r.Total()))
	return r
}

// compactionBytes is what writing a table takes: index blocks are kept until it is complete.
func (h shares) compactionBytes() int64 { return h.tableBytes/blockBytes*32 + 16*blockBytes }
