package storm

import (
	"context"
	"errors"
	"maps"
	"net"
	"time"

	"ottla/internal/measure"
)

// The phases of a run, in this order.
const (
	PhasePreparing = "preparing"
	PhaseStorm     = "storm"
	PhaseRetry     = "retry"
	PhaseCleaning  = "cleaning up"
)

// progressEvery is how often the watch looks.
const progressEvery = time.Second

// errStalled is why connections are closed to a broker that answers nothing.
var errStalled = errors.New("no answers")

// watch looks at the loads while they run: curves, progress, and whether the broker still answers.
type watch struct {
	r         *run
	progress  func(Progress)
	started   time.Time
	pids      []int
	before    []measure.Process
	last      look
	answered  time.Time // when the last answer had come
	pushes    []Series  // by load
	entries   []Series
	rss       Series
	described []Series // what the brokers know, by load
}

// look is what was seen the last time.
type look struct {
	at      time.Time
	pushes  int64
	answers int64
	begun   int64
	cpu     time.Duration
}

func newWatch(r *run, progress func(Progress)) *watch {
	w := &watch{r: r, progress: progress, rss: Series{Name: "broker memory", Unit: "bytes"}}
	for _, l := range r.loads {
		w.pushes = append(w.pushes, Series{Name: string(l.mode) + " pushes", Unit: "pushes"})
		w.entries = append(w.entries, Series{Name: string(l.mode) + " entries", Unit: "entries"})
	}
	w.pids = findProcesses(r)
	return w
}

// findProcesses finds the brokers that run on this machine.
func findProcesses(r *run) []int {
	if r.o.BrokerPID != 0 {
		return []int{r.o.BrokerPID}
	}
	var out []int
	for _, b := range r.c.brokers {
		host, port, err := net.SplitHostPort(b.addr)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			continue
		}
		if pid, err := measure.Listener(port); err == nil && pid != 0 {
			out = append(out, pid)
		}
	}
	return out
}

// start begins watching. The function that it returns ends that, and writes what was seen into the summary.
func (w *watch) start(ctx context.Context, cancel context.CancelCauseFunc, now time.Time) func() {
	w.started, w.answered = now, now
	for i := range w.r.loads {
		w.pushes[i].add(0, 0)
		w.entries[i].add(0, 0)
	}
	w.last = look{at: now, answers: w.r.c.answers.Load()}
	for _, pid := range w.pids {
		p, err := measure.ReadProcess(pid)
		if err != nil {
			w.r.summary.Notes = append(w.r.summary.Notes, "the broker's memory and CPU are not known: "+err.Error())
			w.pids = nil
			break
		}
		w.before = append(w.before, p)
		w.last.cpu += p.CPU
	}
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	describing := w.describe(ctx)
	go func() {
		defer close(done)
		ticker := time.NewTicker(min(progressEvery, max(w.r.o.Stall/4, time.Millisecond)))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				if w.silent(now) >= w.r.o.Stall {
					cancel(errStalled)
				}
				if now.Sub(w.last.at) >= progressEvery*9/10 {
					w.progress(w.look(now))
				}
			}
		}
	}()
	return func() {
		end()
		<-done
		describing()
		w.look(time.Now()) // the last points of the curves
		w.report()
	}
}

// silent says for how long nothing was answered although something was asked: is outstanding, or has failed without an answer.
func (w *watch) silent(now time.Time) time.Duration {
	outstanding, begun := int64(0), int64(0)
	for _, l := range w.r.loads {
		ended := l.ended.Load() // read first: it never passes begun
		began := l.begun.Load()
		outstanding += began - ended
		begun += began
	}
	idle := outstanding == 0 && begun == w.last.begun
	w.last.begun = begun
	if answers := w.r.c.answers.Load(); answers != w.last.answers || idle {
		w.last.answers, w.answered = answers, now
	}
	return now.Sub(w.answered)
}

// look adds to the curves and returns what is to be shown.
func (w *watch) look(now time.Time) Progress {
	p := Progress{Phase: PhaseStorm, Seconds: now.Sub(w.started).Seconds(), Silent: now.Sub(w.answered)}
	for i, l := range w.r.loads {
		pushes, entries := l.done.Load(), l.entries.Load()
		w.pushes[i].add(p.Seconds, float64(pushes))
		w.entries[i].add(p.Seconds, float64(entries))
		if l != w.r.main {
			continue
		}
		p.Producers, p.Entries, p.Errors = l.producers.Load(), entries, l.errors()
		if since := now.Sub(w.last.at).Seconds(); since > 0 {
			p.Rate = float64(pushes-w.last.pushes) / since
		}
		w.last.pushes = pushes
	}
	cpu := time.Duration(0)
	for _, pid := range w.pids {
		if process, err := measure.ReadProcess(pid); err == nil {
			p.RSSBytes += process.RSSBytes
			cpu += process.CPU
		}
	}
	if p.RSSBytes > 0 {
		w.rss.add(p.Seconds, float64(p.RSSBytes))
		if since := now.Sub(w.last.at); since > 0 {
			p.CPUPercent = 100 * float64(cpu-w.last.cpu) / float64(since)
		}
	}
	w.last.at, w.last.cpu = now, cpu
	return p
}

func (w *watch) report() {
	s := w.r.summary
	s.Series = append(s.Series, w.pushes...)
	s.Series = append(s.Series, w.entries...)
	for _, d := range w.described {
		if len(d.Points) > 0 {
			s.Series = append(s.Series, d)
		}
	}
	if len(w.rss.Points) > 0 {
		s.Series = append(s.Series, w.rss)
	}
	for i, pid := range w.pids {
		after, err := measure.ReadProcess(pid)
		if err != nil {
			continue
		}
		s.Processes = append(s.Processes, Process{
			PID: pid, Name: after.Name, CPUSeconds: (after.CPU - w.before[i].CPU).Seconds(), RSSBefore: w.before[i].RSSBytes, RSSAfter: after.RSSBytes,
		})
	}
}

const (
	// describeEvery is the pause between two questions for the live producers.
	describeEvery = time.Second
	// describedMax is up to how many entries they are asked for: an answer has about 37 bytes for each, and is made under the partition's lock.
	describedMax = 250_000
)

// describe asks the brokers, with AB, how many producers they know of each topic. The function that it returns waits for the end.
func (w *watch) describe(ctx context.Context) func() {
	if !w.r.o.AB {
		return func() {}
	}
	for _, l := range w.r.loads {
		w.described = append(w.described, Series{Name: string(l.mode) + " producers known to the broker", Unit: "producers"})
	}
	done := make(chan string, 1)
	go func() { done <- w.describeLoop(ctx) }()
	return func() {
		if note := <-done; note != "" {
			w.r.summary.Notes = append(w.r.summary.Notes, note)
		}
	}
}

func (w *watch) describeLoop(ctx context.Context) (note string) {
	ticker := time.NewTicker(describeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-ticker.C:
		}
		for i, l := range w.r.loads {
			if l.entries.Load() > describedMax {
				return "DescribeProducers is no longer asked above 250,000 entries: its answers would be a load of their own"
			}
			known, err := w.r.c.knownProducers(ctx, l.topic)
			if ctx.Err() != nil {
				return ""
			}
			if err != nil {
				return "the brokers' own count of producers (DescribeProducers) is not to be had: " + err.Error()
			}
			w.described[i].add(time.Since(w.started).Seconds(), float64(known))
		}
	}
}

// knownProducers counts the (partition, producer) pairs that the leaders remember.
func (c *cluster) knownProducers(ctx context.Context, t *topic) (int, error) {
	all, err := c.admin.DescribeProducers(ctx, t.set())
	if err != nil {
		return 0, err
	}
	count := 0
	for described := range maps.Values(all) {
		for _, p := range described.Partitions {
			if p.Err != nil {
				return 0, p.Err
			}
			count += len(p.ActiveProducers)
		}
	}
	return count, nil
}
