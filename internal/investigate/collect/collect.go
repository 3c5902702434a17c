// Package collect asks a live cluster for evidence: one file per source, each optional, all under one budget of bytes and
// requests. It only ever reads, except for the producer ids that the counter burns; it never produces and never
// changes a configuration.
//
// It must not draw conclusions: what a source says goes into the scan as data, and whether to ask a costlier source is
// decided by diagnose.
package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla/internal/investigate/evidence"
)

// Options say what a scan may do and how long it may take. The zero value of each limit means its default.
type Options struct {
	Bootstrap []string
	// Client are the options of every connection: addresses, TLS, SASL, the dialer. connection makes them.
	Client []kgo.Opt
	Tool   string // "ottla v1.2.3"; also the client software's name and version
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
	// Only and Skip name sources: everything not in Only (if any) and everything in Skip is not asked. ApiVersions and Metadata always are.
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

// The defaults of Options.
const (
	DefaultBytesMax    = 256 << 20
	DefaultRequestsMax = 20_000
	DefaultTimeout     = 15 * time.Second
	DefaultTimeMax     = 5 * time.Minute
	DefaultInterval    = 20 * time.Second
	DefaultSetMax      = 250_000
)

// ClientID is the client id of all requests, so that an administrator can tell them apart and throttle them.
const ClientID = "ottla-investigate"

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

// ErrConnect: no broker answered at all. Its exit code is 4.
type ErrConnect struct{ Cause error }

// Error says which addresses did not answer and why.
func (e *ErrConnect) Error() string { return "cannot connect: " + e.Cause.Error() }

// Unwrap gives the cause.
func (e *ErrConnect) Unwrap() error { return e.Cause }

// source is one kind of evidence: one file, and one line in sources.
type source struct {
	name string // an evidence.Source* constant
	// what it asks, and the permissions that it takes: for the plan and the help.
	what        string
	permissions string
	// always: it is asked whatever Only and Skip say, because everything else rests on it. level0: it is part of a sweep of a
	// fleet. twice: it is run again, Interval after the end of its first run, with step.round 1.
	always, level0, twice bool
	// run asks and writes what it hears into the scan, through its step. A returned error is the same as step.trouble(err, "").
	run func(ctx context.Context, s *step) error
	// most is the most that run would ask in all its rounds, for the plan; the scan has brokers, topics and partitions
	// by then, but no offsets. nil: it asks the cluster nothing.
	most func(s *step) (requests, bytes int64)
}

// sources are all kinds of evidence in the order in which they are asked, cheapest first. The second rounds come after
// all first ones.
var sources = []source{
	sourceAPIVersions,
	sourceMetadata,
	sourceConfigs,
	sourceOffsets,
	sourceCounter,
	sourceTails,
	sourceClock,
	sourceSets,
	sourceTransactions,
	sourceACLs,
	sourceFingerprint,
	sourceMetrics,
	sourceLogs,
}

// SourceNames are the names of all sources, for --only and --skip.
func SourceNames() []string {
	var out []string
	for _, src := range sources {
		out = append(out, src.name)
	}
	return out
}

// Scan asks the cluster. It returns what was seen also when it was cut short by ctx or a limit; the sources say so. Its only error
// is *ErrConnect, or options that make no sense.
func Scan(ctx context.Context, o Options) (*evidence.Scan, error) {
	ctx, s, end, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	scan := s.scan
	lines := map[string]*step{}
	for i := range sources {
		step := s.step(&sources[i])
		lines[sources[i].name] = step
		step.runRound(ctx, 0)
		if i == 0 && !s.anybody() {
			return nil, &ErrConnect{s.unreachable()}
		}
	}
	s.readAgain(ctx, lines)
	for i := range sources {
		scan.Sources = append(scan.Sources, lines[sources[i].name].ledger())
	}
	scan.Interrupted = errors.Is(context.Cause(ctx), context.Canceled)
	scan.Budget = s.budget.used()
	scan.Ended = s.now().UTC()
	return scan, nil
}

// readAgain runs the second rounds, after what became of the topics was asked.
func (s *session) readAgain(ctx context.Context, lines map[string]*step) {
	renewed := false
	for i := range sources {
		step := lines[sources[i].name]
		switch {
		case !sources[i].twice || !step.again():
		case s.waitShown(ctx, step.ended.Add(s.o.Interval)):
			if topics := lines[evidence.SourceMetadata]; !renewed && topics.again() {
				renewed = true
				topics.runRound(ctx, 1)
			}
			step.runRound(ctx, 1)
		default:
			step.leftOut("there was no second reading: " + plain(context.Cause(ctx)))
		}
	}
}

// begin connects, with defaults where options say nothing. The context that it returns also ends with the time for the whole scan; end
// gives everything back.
func begin(ctx context.Context, o Options) (limited context.Context, s *session, end func(), err error) {
	if err := o.complete(); err != nil {
		return nil, nil, nil, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.TimeMax, errTimeMax)
	if s, err = open(limited, o); err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return limited, s, func() { s.close(); cancel() }, nil
}

// complete puts defaults where nothing is said, and refuses what makes no sense.
func (o *Options) complete() error {
	o.BytesMax = orDefault(o.BytesMax, DefaultBytesMax)
	o.RequestsMax = orDefault(o.RequestsMax, DefaultRequestsMax)
	o.Timeout = orDefault(o.Timeout, DefaultTimeout)
	o.TimeMax = orDefault(o.TimeMax, DefaultTimeMax)
	o.Interval = orDefault(o.Interval, DefaultInterval)
	o.SetMax = orDefault(o.SetMax, DefaultSetMax)
	if o.BytesMax < 0 || o.RequestsMax < 0 || o.Timeout < 0 || o.TimeMax < 0 || o.Interval < 0 || o.SetMax < 0 {
		return errors.New("limits of a scan must not be negative")
	}
	for _, list := range [][]string{o.Only, o.Skip} {
		for _, name := range list {
			if !isSource(name) {
				return fmt.Errorf("no source is called %q: there are %v", name, SourceNames())
			}
		}
	}
	return nil
}

func orDefault[T int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

func isSource(name string) bool {
	for _, src := range sources {
		if src.name == name {
			return true
		}
	}
	return false
}
