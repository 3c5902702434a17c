package autopsy

import (
	"time"

	"ottla/internal/investigate/diagnose"
)

// SuspectsMax is how many partitions a report names.
const SuspectsMax = 20

// Report is what follows from the evidence.
type Report struct {
	Schema   int            `json:"schema"`
	Tool     string         `json:"tool"`
	At       time.Time      `json:"at"`
	Level    diagnose.Level `json:"level"`
	Exit     int            `json:"exit"`
	Sentence string         `json:"sentence"` // the verdict; everything else is its reasons
	Details  []string       `json:"details,omitempty"`

	Version    Version             `json:"version"`
	Heap       Heap                `json:"heap"`
	Births     Births              `json:"births"`
	Suspects   []Suspect           `json:"suspects,omitempty"` // the largest first, at most SuspectsMax
	SuspectsOf int                 `json:"suspects_of"`        // partitions with entries
	Horsemen   []diagnose.Horseman `json:"horsemen"`
	Life       diagnose.StateLife  `json:"state_life"`
	// Others are the other things that fill a broker's heap, with what was seen of them, the largest first.
	Others    []Other           `json:"differential,omitempty"`
	NewTopics []TopicMade       `json:"new_topics,omitempty"` // created since the onset
	Remedies  []diagnose.Remedy `json:"remedies,omitempty"`
	Blind     []diagnose.Blind  `json:"blind,omitempty"`
	Ledger    []diagnose.Number `json:"ledger"`
	Evidence  *Evidence         `json:"evidence"`
}

// Version is which Kafka it was, as far as its remains tell.
type Version struct {
	Least string `json:"least,omitempty"` // "3.5"
	Most  string `json:"most,omitempty"`  // empty: no upper bound
	How   string `json:"how,omitempty"`
}

// Text is the version for people.
func (v Version) Text() string {
	switch {
	case v.Least == "" && v.Most == "":
		return "of a version that its remains do not tell"
	case v.Least == v.Most:
		return v.Least
	case v.Most == "":
		return v.Least + " or later"
	case v.Least == "":
		return v.Most + " or earlier"
	}
	return v.Least + " to " + v.Most
}

// Heap is the broker's heap and the entries' part in it. Bytes throughout.
type Heap struct {
	Max        int64   `json:"max_bytes"` // -Xmx; 0: not known
	MaxSource  string  `json:"max_source,omitempty"`
	Used       int64   `json:"used_bytes"` // by all objects; 0: not known
	UsedSource string  `json:"used_source,omitempty"`
	Entries    int64   `json:"entries"` // -1: not known
	Source     string  `json:"entries_source,omitempty"`
	LowerBound bool    `json:"entries_lower_bound,omitempty"`
	EntryBytes float64 `json:"entry_bytes"`
	EntryHow   string  `json:"entry_bytes_how,omitempty"`
	Bytes      float64 `json:"bytes"` // Entries x EntryBytes
	Share      float64 `json:"share"` // of ShareOf
	ShareOf    string  `json:"share_of,omitempty"`
	// BatchesPerEntry is how many batches the broker remembers of a producer, at most 5; -1: not known.
	BatchesPerEntry float64 `json:"batches_per_entry"`
	// PerSecond is how fast entries became more; Known says whether that could be told.
	Known     bool    `json:"growth_known"`
	PerSecond float64 `json:"growth_per_second"`
	GrowthHow string  `json:"growth_how,omitempty"`
	// projectable is over which time growth was seen, in ms.
	projectable int64
	// UntilFull is from the last look at the heap to out-of-memory, in seconds; -1: never or not known. FullAt is that moment.
	UntilFull float64             `json:"seconds_until_full"`
	FullAt    time.Time           `json:"full_at"`
	Sizes     []diagnose.HeapSize `json:"sizes,omitempty"` // where Max is not known: the share of the usual sizes
	// Died is set by an OutOfMemoryError in a log.
	Died    bool      `json:"died,omitempty"`
	DiedAt  time.Time `json:"died_at"`
	DiedHow string    `json:"died_how,omitempty"`
}

// Births is how fast new producers were made.
type Births struct {
	Known     bool    `json:"known"`
	PerSecond float64 `json:"per_second"`
	How       string  `json:"how,omitempty"`
	// Ever is about how many producers the cluster ever made; -1 if nothing tells.
	Ever int64 `json:"ever"`
	// Onset is when the rate rose, and from what to what; zero if it did not or the history is not there.
	Onset  time.Time `json:"onset"`
	Before float64   `json:"before_per_second"`
	After  float64   `json:"after_per_second"`
}

// Suspect is one partition and its part in the leak.
type Suspect struct {
	Name         string    `json:"name"` // topic-partition, or its directory
	Topic        string    `json:"topic,omitempty"`
	Partition    int32     `json:"partition"`
	Entries      int64     `json:"entries"`
	Source       string    `json:"source"`
	LowerBound   bool      `json:"lower_bound,omitempty"`
	Share        float64   `json:"share"` // of all entries
	Bytes        float64   `json:"bytes"`
	PIDMin       int64     `json:"pid_min"` // -1: not known
	PIDMax       int64     `json:"pid_max"`
	PIDHow       string    `json:"pid_how,omitempty"`
	SingleUse    float64   `json:"single_use_share"` // -1: not known
	SingleOf     int64     `json:"single_use_of"`
	SingleHow    string    `json:"single_use_how,omitempty"`
	PerSecond    float64   `json:"births_per_second"` // -1: not known
	PerSecondHow string    `json:"births_how,omitempty"`
	First        time.Time `json:"first"` // of the last writes of its producers
	Last         time.Time `json:"last"`
}

// Other is another cause and what the heap says of it.
type Other struct {
	ID      string          `json:"id"`
	Name    string          `json:"name"`
	Objects int64           `json:"objects"`
	Bytes   float64         `json:"bytes_estimate"` // with all that belongs to them
	Share   float64         `json:"share"`          // of the heap's used bytes
	Status  diagnose.Status `json:"status"`
	Means   string          `json:"means,omitempty"`
	Next    string          `json:"next,omitempty"`
}
