package autopsy

import "time"

// SchemaVersion is the version of Evidence and Report as JSON. It rises when a field changes its meaning or goes away; new
// fields do not raise it.
const SchemaVersion = 1

// Limits of the lists in Evidence, in elements.
const (
	InputsMax     = 200_000 // files looked at
	HistogramsMax = 10_000
	PartitionsMax = 100_000 // partition directories, and partitions of a heap dump
	TopClassesMax = 15      // largest classes kept of a histogram
	BlocksMax     = 100_000 // blocks of producer ids
	PointsMax     = 100_000 // snapshot lines of text logs
	TopicsMax     = 10_000  // topics with a time of creation
	ProblemsMax   = 1_000
)

// Kind is what an input was recognised as.
type Kind string

// The kinds of inputs.
const (
	KindText       Kind = "text"              // histograms and logs, also both in one file
	KindDump       Kind = "heap dump"         // JAVA PROFILE
	KindSnapshot   Kind = "producer snapshot" // of one partition
	KindSegment    Kind = "log segment"
	KindMetadata   Kind = "metadata log" // __cluster_metadata, segments and checkpoints
	KindOttla      Kind = "ottla data directory"
	KindDirectory  Kind = "directory"
	KindAccessory  Kind = "accessory" // index files and checkpoints beside a log: not needed
	KindUnknown    Kind = "unknown"
	KindUnreadable Kind = "unreadable"
)

// Evidence is everything that the inputs said. Times are UTC.
type Evidence struct {
	Schema int       `json:"schema"`
	Tool   string    `json:"tool"`
	At     time.Time `json:"at"` // when the inputs were read
	Given  Given     `json:"given"`

	Inputs        []Input `json:"inputs"` // as named on the command line; files of a directory are counted in it
	InputsLeftOut int64   `json:"inputs_left_out,omitempty"`
	// Problems are damaged, cut and unknown files, each with its path.
	Problems        []Problem `json:"problems,omitempty"`
	ProblemsLeftOut int64     `json:"problems_left_out,omitempty"`

	read int64 // files that were opened and had anything in them

	Histograms []Histogram `json:"histograms,omitempty"`
	Dumps      []Dump      `json:"dumps,omitempty"`
	Partitions []Partition `json:"partitions,omitempty"`
	// OneBatchIDs are the different producer ids that wrote one batch, of all partitions together: one producer that
	// writes once to each of a hundred partitions counts once.
	OneBatchIDs int64     `json:"one_batch_ids"`
	Logs        []TextLog `json:"logs,omitempty"`
	Metadata    *Metadata `json:"metadata,omitempty"`
	Ottla       []string  `json:"ottla,omitempty"` // data directories of Ottla
}

// Given is what the administrator said on the command line.
type Given struct {
	HeapBytes int64  `json:"heap_bytes,omitempty"` // -Xmx; 0 if not said
	Version   string `json:"version,omitempty"`    // Kafka's
}

// Input is one argument of the command line.
type Input struct {
	Path  string         `json:"path"`
	Kind  Kind           `json:"kind"`
	Bytes int64          `json:"bytes"` // on disk
	Gzip  bool           `json:"gzip,omitempty"`
	Files map[Kind]int64 `json:"files,omitempty"` // of a directory: how many of each kind
}

// Problem is something that could not be read, or not all of it.
type Problem struct {
	Path string `json:"path"`
	Text string `json:"text"`
	// Unread: nothing of it was read.
	Unread bool `json:"unread,omitempty"`
}

// NothingRead gives one line for each input if not one of them could be read, and nothing otherwise.
func (e *Evidence) NothingRead() (lines []string) {
	if e.read > 0 {
		return nil
	}
	for _, p := range e.Problems {
		lines = append(lines, p.Path+": "+p.Text)
	}
	for _, in := range e.Inputs {
		if in.Kind == KindDirectory && in.Files[KindUnreadable] == 0 {
			lines = append(lines, in.Path+": no file with anything in it")
		}
	}
	return lines
}

// Count is how many objects of one class there are and the bytes that they take themselves, without what they refer to.
type Count struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// ClassCount is a line of a histogram.
type ClassCount struct {
	Class string `json:"class"`
	Count
}

// Histogram is the objects of one heap by class, from a class histogram or a heap dump.
type Histogram struct {
	Source string    `json:"source"` // path
	Index  int       `json:"index"`  // of the histograms in that file, from 0
	At     time.Time `json:"at"`     // zero: not known
	AtHow  string    `json:"at_how,omitempty"`
	Total  Count     `json:"total"`
	// Classes has the classes that the rules know, by name.
	Classes map[string]Count `json:"classes"`
	// Top has the largest classes by bytes, whatever they are.
	Top []ClassCount `json:"top"`
	// Cut is set if the end is missing: the counts are lower bounds.
	Cut bool `json:"cut,omitempty"`
}

// Partition is what the files of one partition's directory said.
type Partition struct {
	Dir       string `json:"dir"`
	Topic     string `json:"topic,omitempty"` // from the directory's name; empty if it is none of a partition
	Partition int32  `json:"partition"`
	// Snapshots are in the order of their offsets. Those that were only counted have Opened false.
	Snapshots []Snapshot `json:"snapshots,omitempty"`
	Segments  *Segments  `json:"segments,omitempty"`
}

// Snapshot is one producer snapshot file: what the broker remembered of the partition's producers at an offset.
type Snapshot struct {
	Path    string    `json:"path"`
	Offset  int64     `json:"offset"` // -1 if the name does not say
	ModTime time.Time `json:"mod_time"`
	Entries int64     `json:"entries"`
	Opened  bool      `json:"opened"`
	// Damaged says why the content is not to be believed.
	Damaged string     `json:"damaged,omitempty"`
	Content *Producers `json:"content,omitempty"`
}

// Producers sums up entries of producers: of a snapshot, or a sample of a heap dump's.
type Producers struct {
	Entries int64 `json:"entries"` // that were looked at
	PIDMin  int64 `json:"pid_min"`
	PIDMax  int64 `json:"pid_max"`
	// EpochZero have epoch 0: with a transactional id it would have risen.
	EpochZero int64 `json:"epoch_zero"`
	// OneBatch: the last batch is the first one too (it began at sequence 0, in epoch 0).
	OneBatch int64 `json:"one_batch"`
	// SequenceZero: the last sequence is 0, one record was all they ever wrote.
	SequenceZero int64 `json:"sequence_zero"`
	// Transactional were seen in a transaction or ended by a coordinator.
	Transactional int64 `json:"transactional"`
	OpenTxn       int64 `json:"open_txn"`
	TimeMin       int64 `json:"time_min_ms"` // of the last writes; 0 if there are none
	TimeMax       int64 `json:"time_max_ms"` // not counting those in the future
	// Future are dated more than an hour after the file, FutureMax is the latest of those dates.
	Future    int64 `json:"future"`
	FutureMax int64 `json:"future_max_ms,omitempty"`
	// Ages counts entries by the time from their last write to TimeMax, classes as evidence.AgeLimits.
	Ages [9]int64 `json:"ages"`
}

// Segments is what the batch headers of one partition's segments said. Nothing was decompressed.
type Segments struct {
	Files         int       `json:"files"`      // read, the newest first
	FilesOf       int       `json:"files_of"`   // there are
	Bytes         int64     `json:"bytes"`      // covered by the headers that were read
	BytesOf       int64     `json:"bytes_of"`   // of all of them
	Batches       int64     `json:"batches"`    // data batches
	Idempotent    int64     `json:"idempotent"` // of them
	Transactional int64     `json:"transactional"`
	Control       int64     `json:"control"`
	OldFormat     int64     `json:"old_format,omitempty"` // message sets before 0.11
	Records       int64     `json:"records"`
	TimeMin       int64     `json:"time_min_ms"`
	TimeMax       int64     `json:"time_max_ms"`
	ModTime       time.Time `json:"mod_time"`
	Future        int64     `json:"future"` // batches dated more than an hour after the file
	FutureMax     int64     `json:"future_max_ms,omitempty"`
	// Producers and Newborn count producer ids; where there are more than fit in memory they are extrapolated from a sample
	// of one in Sampled.
	Producers     int64   `json:"producers"`
	Newborn       int64   `json:"newborn"` // began here: sequence 0 in epoch 0, not transactional
	Sampled       int64   `json:"sampled"`
	PIDMin        int64   `json:"pid_min"`
	PIDMax        int64   `json:"pid_max"`
	BatchesMedian float64 `json:"batches_median"` // of the newborn producers
	LifeMedian    float64 `json:"life_median_seconds"`
}

// Point is a number of entries at a time.
type Point struct {
	At      time.Time `json:"at"`
	Entries int64     `json:"entries"`
}

// Block is a block of producer ids that was given to a broker.
type Block struct {
	At     time.Time `json:"at"`
	Broker int32     `json:"broker"`
	Next   int64     `json:"next"` // the first id after the block
}

// LoggedPartition is what text logs said of one partition.
type LoggedPartition struct {
	Name   string `json:"name"` // topic-partition
	Points []Point
}

// TextLog is what one text log said. Its times have no zone and are taken as UTC.
type TextLog struct {
	Path       string             `json:"path"`
	Lines      int64              `json:"lines"`
	First      time.Time          `json:"first"`
	Last       time.Time          `json:"last"`
	Version    string             `json:"version,omitempty"` // the last one that started
	Starts     int64              `json:"starts"`            // of a broker
	Configs    map[string]string  `json:"configs,omitempty"`
	HeapMax    int64              `json:"heap_max_bytes,omitempty"`
	LiveBytes  int64              `json:"live_bytes,omitempty"` // after the last full collection
	FullPauses int64              `json:"full_pauses,omitempty"`
	OutOfMem   int64              `json:"out_of_memory"` // lines with an OutOfMemoryError
	OutFirst   time.Time          `json:"out_of_memory_first"`
	OutKind    string             `json:"out_of_memory_kind,omitempty"`
	Partitions []*LoggedPartition `json:"partitions,omitempty"`
	Blocks     []Block            `json:"blocks,omitempty"`
	LeftOut    int64              `json:"left_out,omitempty"`
}

// Metadata is what the metadata log said.
type Metadata struct {
	Blocks []Block `json:"blocks,omitempty"` // in the order of the log
	// Level is the finalized metadata.version, 0 if not seen.
	Level   int16             `json:"metadata_version,omitempty"`
	Configs map[string]string `json:"configs,omitempty"` // of brokers, those that matter
	Topics  []TopicMade       `json:"topics,omitempty"`
	LeftOut int64             `json:"left_out,omitempty"`
}

// TopicMade is when a topic was created.
type TopicMade struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Dump is what a heap dump said beyond its histogram.
type Dump struct {
	Path   string    `json:"path"`
	At     time.Time `json:"at"` // from its header
	IDSize int       `json:"id_size"`
	Bytes  int64     `json:"bytes"` // read in the first pass, decompressed
	// Cut says how the dump ends too early: counts are lower bounds.
	Cut string `json:"cut,omitempty"`
	// ReferenceBytes is 4 with compressed object pointers, 8 without, 0 if not found out.
	ReferenceBytes int `json:"reference_bytes"`
	// EntryBytes is what one entry takes with all that belongs to it, from the sizes of this heap's objects; 0: not found out.
	EntryBytes float64 `json:"entry_bytes"`
	// FirstBatches are remembered batches that began at sequence 0.
	FirstBatches int64 `json:"first_batches"`
	// IDs are the different producer ids of all entries.
	IDs int64 `json:"ids"`
	// All sums up every entry's own fields; OneBatch of it is a lower bound.
	All Producers `json:"all"`
	// Partitions are those with entries, the largest first; Of is how many partitions the broker has.
	Partitions []DumpPartition `json:"partitions"`
	Of         int64           `json:"of"`
	LeftOut    int64           `json:"left_out,omitempty"`
}

// DumpPartition is one partition in a heap dump.
type DumpPartition struct {
	Topic     string `json:"topic"` // empty if its name is not in the dump
	Partition int32  `json:"partition"`
	Entries   int64  `json:"entries"` // the size of its map
	// Sample are entries picked evenly from the map's table.
	Sample *Producers `json:"sample,omitempty"`
}
