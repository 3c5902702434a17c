package node

import (
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// OpenEntries opens a store of producer entries without a node, for tools that look at a data directory which nobody serves.
func OpenEntries(fs disk.FS, dir string, memoryBytes int64) (*coldstate.Store, error) {
	return coldstate.Open(coldstate.Options{FS: fs, Dir: dir, MemoryBytes: memoryBytes, OnFatal: func(error) {}, Metrics: metrics.New().Cold})
}
