package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

const (
	// overrunMax is how long a scan may go on after its cluster's time is over before it is left alone.
	overrunMax = time.Second
	notesMax   = 100
)

// Options say how a fleet is asked. Ask is wanted, the rest may be zero.
type Options struct {
	Tool string // "ottla v1.2.3"
	// Ask makes one scan, as collect.Scan does.
	Ask func(context.Context, collect.Options) (*evidence.Scan, error)
	Now func() time.Time // default time.Now
	// State is where runs remember; nil: nothing is remembered.
	State *State
	// ResumeWithin: clusters that answered within that time are not asked again. 0: all are asked.
	ResumeWithin time.Duration
	Baseline     bool    // compare with the last run
	Escalate     bool    // a sweep with too many births is followed by a full scan
	BirthsPerDay float64 // that a sweep lets pass; 0: DefaultBirthsPerDay
	Level        *int    // in place of the list's
	Concurrency  int     // in place of the list's; 0: the list's
	// Keep is handed each scan, to record it. Calls come from several goroutines.
	Keep func(cluster string, s *evidence.Scan) error
	// Progress is called after each cluster, from one goroutine at a time.
	Progress func(done, total int, row *Row)
}

func (o *Options) complete() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BirthsPerDay <= 0 {
		o.BirthsPerDay = DefaultBirthsPerDay
	}
}

// run is one run over a fleet.
type run struct {
	o       Options
	started time.Time
	mu      struct {
		sync.Mutex
		done  int
		notes []string
	}
}

func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.notes) < notesMax {
		r.mu.notes = append(r.mu.notes, fmt.Sprintf(format, args...))
	}
}

// Run asks all clusters. When ctx ends, those that were not asked yet are inconclusive; what is in the state directory stays.
func Run(ctx context.Context, c *Config, o Options) *Report {
	o.complete()
	r := &run{o: o, started: o.Now()}
	workers := c.Concurrency
	if o.Concurrency > 0 {
		workers = o.Concurrency
	}
	rows := r.all(len(c.Clusters), workers, func(i int) Row { return r.cluster(ctx, &c.Clusters[i]) })
	return r.report(rows)
}

// Replay judges recorded scans instead of asking. read reads one; at most one is in memory for each processor. c may be nil; it tells
// heaps, versions and labels of the clusters whose names the files have.
func Replay(ctx context.Context, c *Config, files []string, read func(path string) (*evidence.Scan, error), o Options) *Report {
	o.complete()
	r := &run{o: o, started: o.Now()}
	known := map[string]*Cluster{}
	workers := DefaultConcurrency
	if c != nil {
		workers = c.Concurrency
		for i := range c.Clusters {
			known[FileName(c.Clusters[i].Name)] = &c.Clusters[i]
		}
	}
	if o.Concurrency > 0 {
		workers = o.Concurrency
	}
	rows := r.all(len(files), min(workers, runtime.GOMAXPROCS(0)), func(i int) Row {
		name := recordedName(files[i])
		if ctx.Err() != nil {
			return r.stopped(newRow(name, nil))
		}
		return r.recorded(name, known[name], files[i], read)
	})
	return r.report(rows)
}

// all runs f for each index, so many at a time, and puts the rows in their places.
func (r *run) all(n, workers int, f func(i int) Row) []Row {
	rows := make([]Row, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, min(workers, n, ConcurrencyMax)) {
		wg.Go(func() {
			for i := range next {
				rows[i] = f(i)
				r.progress(n, &rows[i])
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return rows
}

func (r *run) progress(total int, row *Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.done++
	if r.o.Progress != nil {
		r.o.Progress(r.mu.done, total, row)
	}
}

func (r *run) stopped(row Row) Row {
	row.inconclusive("not asked: the run was stopped")
	return row
}

// cluster asks one cluster and remembers what it said.
func (r *run) cluster(ctx context.Context, c *Cluster) Row {
	row := newRow(c.Name, c.Labels)
	if ctx.Err() != nil {
		return r.stopped(row)
	}
	known := r.o.State.before(c.Name, r.o.Now())
	for _, note := range known.notes {
		r.note("%s: %s", c.Name, note)
	}
	level := c.Level
	if r.o.Level != nil {
		level = *r.o.Level
	}
	if old := known.last; old != nil && old.Row.answered() && r.o.ResumeWithin > 0 && r.o.Now().Sub(old.At) < r.o.ResumeWithin && old.Row.Asked >= level {
		row = old.Row
		row.Name, row.Labels, row.Resumed = c.Name, c.Labels, true
		return row
	}
	probes, ids := r.ask(ctx, c, level, known.probe, &row)
	if r.o.Baseline {
		var was *Row
		if known.last != nil {
			was = &known.last.Row
		}
		row.compare(was)
	}
	if r.o.State == nil || ctx.Err() != nil { // what was cut short is no day's record
		return row
	}
	if err := r.o.State.save(&Record{Cluster: c.Name, At: r.o.Now().UTC(), IDs: ids, Probes: probes, Row: row}, known.today); err != nil {
		r.note("%s: not remembered: %v", c.Name, err)
	}
	return row
}

// ask fills the row, within the cluster's time in all.
func (r *run) ask(ctx context.Context, c *Cluster, level int, before *Record, row *Row) ([]evidence.CounterProbe, evidence.IDModel) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	row.At = r.o.Now().UTC()
	scan, err := r.scan(limited, c, level)
	if err != nil {
		row.failed(err)
		return nil, evidence.IDsUnknown
	}
	probes, ids := scan.Counter, scan.Cluster.IDs
	if level == LevelFull {
		row.judge(scan)
		return probes, ids
	}
	row.sweep(scan, before, r.o.BirthsPerDay)
	if !r.o.Escalate || !row.suspicious() {
		return probes, ids
	}
	scan, err = r.scan(limited, c, LevelFull)
	if err != nil {
		row.Why = "the full scan that should follow: " + err.Error()
		return probes, ids
	}
	row.Escalated = true
	row.judge(scan)
	return append(slices.Clone(probes), scan.Counter...), scan.Cluster.IDs
}

// judge is for full scans.
func (r *Row) judge(s *evidence.Scan) {
	r.Why = ""
	r.ofScan(s)
	r.ofVerdict(diagnose.Diagnose(s))
}

func (r *Row) failed(err error) {
	var connect *collect.ErrConnect
	switch {
	case errors.As(err, &connect):
		r.Level, r.Why = Unreachable, connect.Cause.Error()
	case errors.Is(err, errOverrun):
		r.Level, r.Why = Unreachable, err.Error()
	default:
		r.inconclusive(err.Error())
	}
}

var errOverrun = errors.New("no answer within the cluster's time")

// scan asks once. One that does not end in time is left alone: it must not hold up the other clusters.
func (r *run) scan(ctx context.Context, c *Cluster, level int) (*evidence.Scan, error) {
	o, err := c.Options(level, r.o.Tool)
	if err != nil {
		return nil, err
	}
	type result struct {
		scan *evidence.Scan
		err  error
	}
	done := make(chan result, 1)
	go func() {
		scan, err := r.o.Ask(ctx, o)
		done <- result{scan, err}
	}()
	var got result
	select {
	case got = <-done:
	case <-ctx.Done():
		timer := time.NewTimer(overrunMax)
		defer timer.Stop()
		select {
		case got = <-done:
		case <-timer.C:
			return nil, errOverrun
		}
	}
	if got.err != nil {
		return nil, got.err
	}
	if r.o.Keep != nil {
		if err := r.o.Keep(c.Name, got.scan); err != nil {
			r.note("%s: not recorded: %v", c.Name, err)
		}
	}
	return got.scan, nil
}

// recorded judges one recorded scan.
func (r *run) recorded(name string, known *Cluster, path string, read func(string) (*evidence.Scan, error)) Row {
	row := newRow(name, nil)
	scan, err := read(path)
	if err != nil {
		row.inconclusive(err.Error())
		return row
	}
	if known != nil {
		row.Name, row.Labels = known.Name, known.Labels
		if known.Given.HeapBytes > 0 {
			scan.Given.HeapBytes = known.Given.HeapBytes
		}
		if known.Given.Version != "" {
			scan.Given.Version = known.Given.Version
		}
		scan.Given.CompactHeaders = scan.Given.CompactHeaders || known.Given.CompactHeaders
	}
	if isSweep(scan) {
		row.sweep(scan, nil, r.o.BirthsPerDay)
	} else {
		row.judge(scan)
	}
	return row
}
