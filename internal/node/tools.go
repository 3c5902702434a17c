package node

import (
	"ottla/internal/coldstate"
	"ottla/internal/coordinator"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// OpenEntries opens a store of producer entries without a node, for tools that look at a data directory which nobody serves.
func OpenEntries(fs disk.FS, dir string, memoryBytes int64) (*coldstate.Store, error) {
	return coldstate.Open(coldstate.Options{FS: fs, Dir: dir, MemoryBytes: memoryBytes, OnFatal: func(error) {}, Metrics: metrics.New().Cold})
}

// GroupsDir is the name of the store of groups and committed offsets in a data directory, OffsetsTopic the topic it is made from.
const (
	GroupsDir    = groupsDir
	OffsetsTopic = coordinator.Topic
)

// GroupRecordText says in words what a record of OffsetsTopic is.
func GroupRecordText(key, value []byte) string { return coordinator.RecordText(key, value) }

// GroupEntryText says in words what an entry of the store of groups is, and whether it can be read.
func GroupEntryText(key, value []byte) (text string, readable bool) {
	return coordinator.EntryText(key, value)
}
