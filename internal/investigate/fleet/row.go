package fleet

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// ReportSchema is the version of the report's JSON form (docs/fleet.md). It rises when a field changes its meaning or goes away.
const ReportSchema = 1

// Unreachable is the level of a cluster of which no broker answered. The other levels are diagnose's.
const Unreachable diagnose.Level = "unreachable"

// Values of Row.UntilFull that are no time.
const (
	Never   = -1.0
	Unknown = -2.0
)

// heapAssumed is the heap by which the verdict judges a broker whose size nothing told.
const heapAssumed = 6 << 30

// Row is one cluster's line.
type Row struct {
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	At        time.Time         `json:"at"`
	Level     diagnose.Level    `json:"level"`
	Sentence  string            `json:"sentence,omitempty"`
	Why       string            `json:"why,omitempty"` // it is inconclusive, unreachable, or healthy in spite of births
	Asked     int               `json:"asked_level"`   // LevelSweep or LevelFull
	Escalated bool              `json:"escalated,omitempty"`
	Resumed   bool              `json:"resumed,omitempty"` // by an earlier run, not asked again

	ClusterID string          `json:"cluster_id,omitempty"`
	Vendor    evidence.Vendor `json:"vendor,omitempty"`
	Version   string          `json:"version,omitempty"`
	Brokers   int             `json:"brokers"`

	BirthsKnown     bool    `json:"births_known"`
	BirthsPerSecond float64 `json:"births_per_second"`
	BirthsError     float64 `json:"births_error_per_second"`
	BirthsSeconds   float64 `json:"births_over_seconds,omitempty"` // the time between the readings of a sweep
	Ever            int64   `json:"producers_ever"`                // about; -1: not known

	TopTopic    string  `json:"top_topic,omitempty"`
	TopExplains float64 `json:"top_topic_explains_share,omitempty"`
	// HeapShare is the plateau's share of the fullest broker's heap; -1: not known. UntilFull is seconds to out-of-memory there;
	// Never, Unknown. HeapAssumed: nothing told the heap's size, both are for 6 GiB.
	HeapShare   float64 `json:"heap_share"`
	UntilFull   float64 `json:"seconds_until_full"`
	HeapAssumed bool    `json:"heap_assumed,omitempty"`

	Change   string  `json:"change,omitempty"` // since the last run: new, worse, better, same, lost, back, now known
	Was      string  `json:"was,omitempty"`    // what it was then, in words
	Seconds  float64 `json:"seconds"`          // that asking took
	Bytes    int64   `json:"bytes"`
	Requests int64   `json:"requests"`

	counterTellsNothing bool // ids are random, or nobody knows
}

func newRow(name string, labels map[string]string) Row {
	return Row{Name: name, Labels: labels, Ever: -1, HeapShare: -1, UntilFull: Unknown}
}

// answered: something was learned, so it is worth remembering as done.
func (r *Row) answered() bool { return r.Level != Unreachable && r.Level != "" }

// ofScan puts in what every scan tells.
func (r *Row) ofScan(s *evidence.Scan) {
	r.At, r.ClusterID, r.Vendor, r.Brokers = s.Ended, s.Cluster.ID, s.Cluster.Vendor, len(s.Brokers)
	r.Bytes, r.Requests = r.Bytes+s.Budget.Bytes, r.Requests+s.Budget.Requests
	if !s.Started.IsZero() && s.Ended.After(s.Started) {
		r.Seconds += s.Ended.Sub(s.Started).Seconds()
	}
}

// ofVerdict puts in what a full scan's verdict says.
func (r *Row) ofVerdict(v *diagnose.Verdict) {
	r.Level, r.Sentence, r.Version, r.Asked = v.Level, v.Sentence, v.Version, LevelFull
	if v.Births.Known {
		r.BirthsKnown, r.BirthsPerSecond, r.BirthsError, r.BirthsSeconds = true, v.Births.PerSecond, v.Births.Error, 0
	}
	r.Ever = v.Births.Ever
	if len(v.Suspects) > 0 {
		r.TopTopic, r.TopExplains = v.Suspects[0].Name, math.Max(v.Suspects[0].Explains, 0)
	}
	if v.Level == diagnose.Inconclusive {
		r.Why = blindness(v)
	}
	if v.Worst == nil || v.Level == diagnose.Inconclusive {
		return
	}
	h := v.Worst
	r.HeapShare, r.UntilFull = h.Share, h.UntilFull
	if h.HeapMax > 0 || v.Life.Bounded != "" && len(h.Sizes) == 0 {
		return
	}
	r.HeapShare, r.UntilFull = -1, Unknown
	for _, row := range h.Sizes {
		if row.HeapMax == heapAssumed {
			r.HeapShare, r.UntilFull, r.HeapAssumed = row.Share, row.UntilFull, true
		}
	}
}

// blindness is what kept a verdict from being one, in few words.
func blindness(v *diagnose.Verdict) string {
	var out []string
	for _, b := range v.Blind {
		if b.State == evidence.Skipped && len(v.Blind) > 2 {
			continue
		}
		why := b.Source + ": " + string(b.State)
		if b.Permission != "" {
			why += " (" + b.Permission + ")"
		} else if b.Why != "" {
			why += " (" + b.Why + ")"
		}
		if out = append(out, why); len(out) == 3 {
			break
		}
	}
	if len(out) == 0 {
		return v.Sentence
	}
	return strings.Join(out, "; ")
}

// urgency is the group of rows that a row stands in: what runs full, what is a storm, what nobody knows, the rest.
func (r *Row) urgency() int {
	switch {
	case r.UntilFull >= 0:
		return 0
	case r.Level == diagnose.Storm:
		return 1
	case r.Level == diagnose.Inconclusive, r.Level == Unreachable, r.UntilFull == Unknown && r.Level != diagnose.Healthy:
		return 2
	}
	return 3
}

// severity orders levels for the exit code and for what got worse: storm, armed, inconclusive, unreachable, healthy.
func severity(l diagnose.Level) int {
	switch l {
	case diagnose.Healthy:
		return 0
	case Unreachable:
		return 1
	case diagnose.Armed:
		return 3
	case diagnose.Storm:
		return 4
	}
	return 2
}

// exitUnreachable is the exit code of a cluster that did not answer.
const exitUnreachable = 4

func exitOf(l diagnose.Level) int {
	if l == Unreachable {
		return exitUnreachable
	}
	return l.Exit()
}

// sortRows puts the most urgent first: by time to out-of-memory, never last.
func sortRows(rows []Row) {
	slices.SortStableFunc(rows, func(a, b Row) int {
		if c := cmp.Compare(a.urgency(), b.urgency()); c != 0 {
			return c
		}
		if a.urgency() == 0 && a.UntilFull != b.UntilFull {
			return cmp.Compare(a.UntilFull, b.UntilFull)
		}
		return cmp.Or(cmp.Compare(severity(b.Level), severity(a.Level)), cmp.Compare(b.HeapShare, a.HeapShare),
			cmp.Compare(b.BirthsPerSecond, a.BirthsPerSecond), strings.Compare(a.Name, b.Name))
	})
}

// The values of Row.Change.
const (
	ChangeNew    = "new"
	ChangeWorse  = "worse"
	ChangeBetter = "better"
	ChangeSame   = "same"
	ChangeLost   = "lost"      // answered the last time
	ChangeBack   = "back"      // did not answer the last time
	ChangeKnown  = "now known" // was inconclusive the last time: nobody knows whether it changed
)

const (
	// untilShorter and birthsFactor are what counts as a change within one level. Below birthsNoise a second (one a minute) rates are noise.
	untilShorter = 0.8
	birthsFactor = 2.0
	birthsNoise  = 1.0 / 60
)

// compare says what changed since the last run; was is nil if there was none.
func (r *Row) compare(was *Row) {
	if was == nil {
		r.Change = ChangeNew
		return
	}
	r.Was = string(was.Level)
	switch was, is := was.Level == Unreachable, r.Level == Unreachable; {
	case is && !was:
		r.Change = ChangeLost
		return
	case was && !is:
		r.Change = ChangeBack
		return
	}
	if was.Level == diagnose.Inconclusive && r.Level != diagnose.Inconclusive {
		r.Change = ChangeKnown
		return
	}
	worse := func(a, b *Row) bool { // b than a
		if sa, sb := severity(a.Level), severity(b.Level); sa != sb {
			return sb > sa
		}
		if (a.UntilFull >= 0) != (b.UntilFull >= 0) {
			return b.UntilFull >= 0
		}
		if b.UntilFull >= 0 && b.UntilFull < untilShorter*a.UntilFull {
			// Time that merely passed makes nothing worse.
			return a.UntilFull-b.UntilFull > 1.2*math.Abs(b.At.Sub(a.At).Seconds())
		}
		return a.BirthsKnown && b.BirthsKnown && a.Asked == b.Asked && b.BirthsPerSecond > math.Max(birthsFactor*a.BirthsPerSecond, birthsNoise)
	}
	switch {
	case worse(was, r):
		r.Change = ChangeWorse
	case worse(r, was):
		r.Change = ChangeBetter
	default:
		r.Change = ChangeSame
	}
}
