// Package diagnose turns evidence into a verdict: pure rules, one file per question. It owns the thresholds, the
// heap arithmetic, the ladder of state lives by version, the fit of the producer-id clock and the remedies.
//
// It must not do I/O, read a clock, or know how evidence was collected or how the verdict is printed. The same scan gives the same verdict, always.
// Every finding names the evidence it rests on and its source; every number carries how it was got.
package diagnose

import (
	"time"

	"ottla/internal/investigate/evidence"
)

// VerdictSchema is the version of the verdict's JSON form (docs/investigate-schema.json).
const VerdictSchema = 1

// Level is the verdict in one word; its exit codes are those of `ottla investigate`.
type Level string

// The levels and the exit codes that stand for them.
const (
	Healthy      Level = "healthy"      // 0
	Armed        Level = "armed"        // 1: some of what it takes is there, or it is small
	Storm        Level = "storm"        // 2: horsemen 1 and 2 found, and heap share > 25 % or out of memory within 7 days
	Inconclusive Level = "inconclusive" // 3: too little could be seen to say
)

// Exit is the exit code that stands for the level.
func (l Level) Exit() int {
	switch l {
	case Healthy:
		return 0
	case Armed:
		return 1
	case Storm:
		return 2
	}
	return 3
}

// Status is what is known of one horseman.
type Status string

// The states of a horseman.
const (
	Found      Status = "FOUND"
	Half       Status = "ARMED"
	Absent     Status = "ABSENT"
	NotChecked Status = "NOT CHECKED"
)

// Confidence counts independent sources.
type Confidence string

// The confidences: two or more sources, one of them direct; one direct; indirect ones only.
const (
	Confirmed Confidence = "CONFIRMED"
	Likely    Confidence = "LIKELY"
	Possible  Confidence = "POSSIBLE"
)

// Horseman is one cause: H1 recreated producer, H2 idempotence on, H3 long life, H4 no stable id, H4b churn of transactional ids,
// H5 immortal producers.
type Horseman struct {
	ID         string     `json:"id"`   // "H1"; `ottla investigate explain H1` has a page on it
	Name       string     `json:"name"` // "recreated producer"
	Status     Status     `json:"status"`
	Confidence Confidence `json:"confidence,omitempty"` // only with FOUND and ARMED
	Sentence   string     `json:"sentence"`             // what was seen, with its numbers
	Why        string     `json:"why,omitempty"`        // why it was not checked, or what would make it surer
	Evidence   []Number   `json:"evidence,omitempty"`
}

// Number is one number of the ledger: what, how much, how it was got and how sure it is.
type Number struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit,omitempty"`  // "/min", "bytes", "s", "share", "ids"
	Error  float64 `json:"error,omitempty"` // plus or minus, in the same unit
	Source string  `json:"source"`          // an evidence.Source* name, "given" or "computed"
	How    string  `json:"how,omitempty"`   // the formula or the request
}

// Births is the rate at which the cluster makes producer ids.
type Births struct {
	Known     bool    `json:"known"`
	PerSecond float64 `json:"per_second"`
	Error     float64 `json:"error"` // plus or minus, per second
	Source    string  `json:"source"`
	How       string  `json:"how"`
	// Ever is about how many producers the cluster ever made; -1 if the ids do not tell.
	Ever int64 `json:"ever"`
}

// Onset is when the leak began, by the producer-id clock.
type Onset struct {
	Known bool      `json:"known"`
	At    time.Time `json:"at"`
	// Earliest and Latest are the ends of its error: the points on both sides of the kink. Of a young leak that is not dated, Earliest is the
	// first record of its largest topic, and Latest is zero.
	Earliest time.Time `json:"earliest"`
	Latest   time.Time `json:"latest"`
	// Before and After are births per second on both sides.
	Before    float64  `json:"before_per_second"`
	After     float64  `json:"after_per_second"`
	PIDError  int64    `json:"pid_error"` // of each point: 2000 x brokers where ids come in blocks
	Why       string   `json:"why,omitempty"`
	NewTopics []string `json:"new_topics,omitempty"` // whose first record is younger than Earliest, oldest first
	// Curve is the running maximum that was fitted: for the chart.
	Curve []evidence.ClockPoint `json:"curve,omitempty"`
}

// Topic is one topic's part in the leak, the largest first.
type Topic struct {
	Name            string  `json:"name"`
	Partitions      int     `json:"partitions"`
	Replicas        int     `json:"replicas"`
	Sampled         int     `json:"partitions_sampled"`
	Batches         int64   `json:"batches"`
	Producers       int64   `json:"producers"` // distinct ids in the sample
	Newborn         int64   `json:"newborn"`   // of them
	NewbornShare    float64 `json:"newborn_share"`
	IdempotentShare float64 `json:"idempotent_share"` // of data batches
	BatchesMedian   float64 `json:"batches_per_producer_median"`
	LifeMedian      float64 `json:"life_median_seconds"` // at least: a tail cuts lives short
	BirthsPerSecond float64 `json:"births_per_second"`   // of ids first seen in this topic
	// EntriesPerSecond counts a producer once for each partition it writes to; a broker pays by entry.
	EntriesPerSecond float64   `json:"entries_per_second"`
	Explains         float64   `json:"explains_share"` // of the cluster's births
	Live             int64     `json:"live_entries"`   // now, all partitions, one replica; -1 if not known
	LiveBound        int64     `json:"live_entries_bound"`
	LiveSource       string    `json:"live_source,omitempty"`
	HeapShare        float64   `json:"heap_share"` // of all leaked entries' bytes
	PIDLeast         int64     `json:"pid_least"`
	PIDMost          int64     `json:"pid_most"`
	Lives            [9]int64  `json:"lives"` // producers by length of life, classes as evidence.AgeLimits
	Who              []Suspect `json:"who,omitempty"`
}

// Suspect is an application that may be the leak, and what speaks for it.
type Suspect struct {
	What       string     `json:"what"` // "principal", "client id", "transactional id", "header keys", "schema", "client library"
	Name       string     `json:"name"`
	Confidence Confidence `json:"confidence"`
	Source     string     `json:"source"`
	Why        string     `json:"why"`
}

// StateLife is how long a producer's entry lives on this version, and by which rule.
type StateLife struct {
	Seconds float64 `json:"seconds"`
	Key     string  `json:"key"`     // the configuration key that sets it
	Dynamic bool    `json:"dynamic"` // whether that key can be changed without a restart
	Rule    string  `json:"rule"`    // in words
	Source  string  `json:"source"`
	// TrimmingHelps: below 2.4, deleting records frees their producers.
	TrimmingHelps bool `json:"trimming_helps"`
	// Bounded is set where the broker's memory does not grow with entries (Ottla), or it bounds by forgetting (Redpanda).
	Bounded string `json:"bounded,omitempty"`
}

// Heap is the memory of one broker: now, on the plateau, and when it is full.
type Heap struct {
	Broker       int32   `json:"broker"`
	EntryBytes   float64 `json:"entry_bytes"`
	Entries      int64   `json:"entries"`                    // now
	EntriesBound bool    `json:"entries_is_bound,omitempty"` // an upper bound only
	Bytes        float64 `json:"bytes"`
	PerSecond    float64 `json:"entries_per_second"`
	Plateau      float64 `json:"plateau_bytes"`
	HeapMax      float64 `json:"heap_max_bytes"` // 0: not known, see Sizes
	Share        float64 `json:"plateau_share"`  // of HeapMax; 0 if that is not known
	// UntilFull is the time to out-of-memory, in seconds; -1: never, the plateau fits.
	UntilFull float64 `json:"seconds_until_full"`
	Source    string  `json:"source"`
	// Sizes answers for the usual heap sizes where HeapMax is not known.
	Sizes []HeapSize `json:"sizes,omitempty"`
	// BombBytes is what a replay of the longest-retained suspect partition puts on a new replica's heap at once.
	BombBytes float64 `json:"bomb_bytes,omitempty"`
	BombTopic string  `json:"bomb_topic,omitempty"`
}

// HeapSize is one row of the table for heaps of an unknown size.
type HeapSize struct {
	HeapMax   float64 `json:"heap_max_bytes"`
	Share     float64 `json:"plateau_share"`
	UntilFull float64 `json:"seconds_until_full"`
}

// Other is a line of the differential diagnosis: another cause that looks alike from outside.
type Other struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Why    string `json:"why"`
}

// Remedy is one thing to do, right for the version that was seen.
type Remedy struct {
	ID      string `json:"id"`   // "R1-expiration"
	Kind    string `json:"kind"` // "free memory", "throttle", "repair the client", "prevent", "does not help"
	Title   string `json:"title"`
	Command string `json:"command,omitempty"` // to paste, with this cluster's names in it
	Risk    string `json:"risk,omitempty"`
	Undo    string `json:"undo,omitempty"`
	Check   string `json:"check,omitempty"` // how to see that it worked
	Why     string `json:"why,omitempty"`
}

// Blind is what could not be seen, and what would allow it.
type Blind struct {
	Source     string         `json:"source"`
	State      evidence.State `json:"state"`
	Why        string         `json:"why"`
	Permission string         `json:"permission,omitempty"`
	Matters    string         `json:"matters"` // what the verdict lacks without it
}

// Verdict is what follows from a scan.
type Verdict struct {
	Schema   int       `json:"schema"`
	Tool     string    `json:"tool"`
	At       time.Time `json:"at"` // the scan's end
	Level    Level     `json:"level"`
	Exit     int       `json:"exit"`
	Sentence string    `json:"sentence"`          // the verdict as one sentence; everything else is its reasons
	Details  []string  `json:"details,omitempty"` // at most three further sentences

	Cluster    evidence.Cluster `json:"cluster"`
	Bootstrap  []string         `json:"bootstrap"`
	Version    string           `json:"version"` // as taken for the rules: "3.5 to 3.6", "4.3 (given)"
	Brokers    int              `json:"brokers"`
	Topics     int              `json:"topics"`
	Partitions int              `json:"partitions"`

	Horsemen  []Horseman `json:"horsemen"`
	Births    Births     `json:"births"`
	Onset     Onset      `json:"onset"`
	Life      StateLife  `json:"state_life"`
	Suspects  []Topic    `json:"suspects,omitempty"` // topics with newborn producers, largest first, at most SuspectsMax
	Explained float64    `json:"explained_share"`    // of the births, by Suspects; -1 if births are not known otherwise than by these topics
	Heap      []Heap     `json:"heap,omitempty"`     // by broker, fullest first
	Worst     *Heap      `json:"worst,omitempty"`    // Heap[0]
	Others    []Other    `json:"differential,omitempty"`
	Remedies  []Remedy   `json:"remedies,omitempty"`
	Blind     []Blind    `json:"blind,omitempty"`
	Ledger    []Number   `json:"ledger"`
}

// SuspectsMax is the longest list of suspect topics in a verdict.
const SuspectsMax = 20

// Diagnose gives the verdict on one scan. It does not change the scan.
func Diagnose(s *evidence.Scan) *Verdict { return examine(s).verdict() }

// LifeOf is how long an entry lives on this cluster, for collectors that have to ask for offsets at now minus that life.
func LifeOf(c *evidence.Cluster, brokers []evidence.Broker, given evidence.Given) StateLife {
	return lifeOf(c, brokers, given).StateLife
}

// RefineClock says at which times (ms since 1970) the producer-id clock should be read once more to narrow the onset,
// at most most of them; none if there is no kink to narrow. points are in the order of their times.
func RefineClock(points []evidence.ClockPoint, brokers int, most int) []int64 {
	return refineClock(points, brokers, most)
}

// SuspectTopics names the topics that a scan's first round of tails points to, worst first, at most most: where the second
// round and the costly sources should look.
func SuspectTopics(s *evidence.Scan, most int) []string { return suspectTopics(s, most) }

// EntryBytes is what one (partition, producer) entry with batches remembered batches costs on a broker's heap, in bytes.
// version is Kafka's ("3.6", empty: the newest); heap of 32 GiB and more has no compressed object pointers.
func EntryBytes(version string, batches float64, heapMax int64, compactHeaders bool) float64 {
	return entryBytes(parseRelease(version), batches, heapMax, compactHeaders)
}

// Fix is the verdict on a remedy that was applied between two scans.
type Fix struct {
	Schema   int    `json:"schema"`
	Sentence string `json:"sentence"`
	// Stopped: births are back to what a healthy cluster has. Falling: live entries decay as predicted.
	Stopped bool `json:"births_stopped"`
	Falling bool `json:"entries_falling"`
	Exit    int  `json:"exit"` // 0: the fix works; 1: not yet to be seen; 2: it does not; 3: cannot tell
	// Points are the live entries, in the order of the scans.
	Points []FixPoint `json:"points"`
	Done   time.Time  `json:"done"` // when the last leaked entry is gone, if it goes on so
}

// FixPoint is one reading of the live entries and what was predicted for it.
type FixPoint struct {
	At        time.Time `json:"at"`
	Entries   int64     `json:"entries"`
	Predicted int64     `json:"predicted"`
	Births    float64   `json:"births_per_second"`
	Source    string    `json:"source"`
}

// VerifyFix compares scans of the same cluster in the order of their times: the first before the remedy, the rest after it. It
// wants at least two.
func VerifyFix(scans []*evidence.Scan) *Fix { return verifyFix(scans) }
