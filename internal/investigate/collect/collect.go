// Package collect asks a live cluster for evidence: one file per source, each optional, all under one budget of bytes and
// requests. It only ever reads, except for the producer ids that the counter burns; it never produces and never
// changes a configuration.
//
// It must not draw conclusions: what a source says goes into the scan as data, and whether to ask a costlier source is
// decided by diagnose.
package collect

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/internal/investigate/evidence"
)

// Options say what a scan may do and how long it may take. The zero value of each limit means its default.
type Options struct {
	Bootstrap []string
	// Client are the options of every connection: addresses, TLS, SASL, the dialer. connection makes them.
	Client []kgo.Opt
	Tool   string // "ottla v1.2.3"; also the client id's ending
	Given  evidence.Given

	BytesMax    int64         // default 256 MiB, read from the network
	RequestsMax int64         // default 20,000
	Timeout     time.Duration // of one request; default 15 s
	TimeMax     time.Duration // of the whole scan; default 5 min
	// Interval is the time between the two rounds of counter and tails; default 20 s.
	Interval time.Duration
	// SetMax is the largest bound by offsets at which DescribeProducers may be asked of a partition: 37 bytes each, no paging, under
	// the partition's lock. Default 250,000 producers.
	SetMax int64
	// Only and Skip name sources: everything not in Only (if any) and everything in Skip is not asked. Metadata always is.
	Only, Skip []string
	// Level 0 asks for the counter alone: one InitProducerId per broker (fleet). 1: everything.
	CounterOnly bool
	Topics      []string // only these; all if empty
	ShowIDs     bool     // do not mask transactional ids and header values
	MetricsURLs []string
	LogFiles    []string // request logs, authorizer logs: matched to producer ids
	// Progress is called from one goroutine at a time, not more often than ten times a second.
	Progress func(Progress)
}

// Progress is how far a scan is.
type Progress struct {
	Source   string // what is being asked
	Done     int    // of Total, partitions or probes of that source
	Total    int
	Bytes    int64
	Requests int64
	BytesMax int64
	Elapsed  time.Duration
}

// Plan is what a scan would do, for --dry-run: no source is asked but ApiVersions and Metadata.
type Plan struct {
	Brokers    int        `json:"brokers"`
	Topics     int        `json:"topics"`
	Partitions int        `json:"partitions"`
	Steps      []PlanStep `json:"steps"`
	BytesMax   int64      `json:"bytes_max"`
}

// PlanStep is one source's part of a plan: the most it would ask.
type PlanStep struct {
	Source      string `json:"source"`
	Requests    int64  `json:"requests"`
	Bytes       int64  `json:"bytes"`
	Permissions string `json:"permissions"`
	What        string `json:"what"`
}

// ErrConnect: no broker answered at all. Its exit code is 4.
type ErrConnect struct{ Cause error }

// Error says which addresses did not answer and why.
func (e *ErrConnect) Error() string { return "cannot connect: " + e.Cause.Error() }

// Unwrap gives the cause.
func (e *ErrConnect) Unwrap() error { return e.Cause }

// Scan asks the cluster. It returns what was seen also when it was cut short by ctx or a limit; the sources say so. Its only error
// is *ErrConnect, or options that make no sense.
func Scan(ctx context.Context, o Options) (*evidence.Scan, error) { return nil, nil }

// PlanFor says what Scan would do.
func PlanFor(ctx context.Context, o Options) (*Plan, error) { return nil, nil }
