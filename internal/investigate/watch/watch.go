package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// The defaults of Options.
const (
	DefaultEvery        = 10 * time.Minute
	DefaultCounterEvery = time.Minute
	// TopicsMax bounds Options.Topics: a verdict names no more suspects.
	TopicsMax = diagnose.SuspectsMax
)

const (
	// probesMax is how many readings of the counter are carried from one full scan to the next.
	probesMax = evidence.CounterProbesMax / 2
	// counterTimeMax bounds a reading of the counter.
	counterTimeMax = 30 * time.Second
	// idleScansMax is how many scans in a row a topic keeps its series without being a suspect.
	idleScansMax = 6
)

// Options say what is watched, and how often. Ask and Scan.Bootstrap are wanted, the rest may be zero.
type Options struct {
	Cluster string // the label of all series; default: the first bootstrap address, which is known before the cluster answers
	Scan    collect.Options
	// Ask makes one scan, as collect.Scan does.
	Ask          func(context.Context, collect.Options) (*evidence.Scan, error)
	Every        time.Duration // between the begins of full scans
	CounterEvery time.Duration // between readings of the counter alone
	Topics       int           // most topics with series
	Log          io.Writer     // one line for each change of level and for each failure; nil: none
	// After is called after each scan, when the metrics show it. Its errors are logged.
	After func() error
}

// Watch is one cluster under watch. Run or Once is called once; the metrics may be gathered at any time.
type Watch struct {
	o        Options
	metrics  *Metrics
	registry *prometheus.Registry
	births   *births
	probes   []evidence.CounterProbe // since the last full scan's begin, and its own
	requests map[string]requestTotals
	reading  reading // last state of the count
}

type reading struct {
	at    time.Time
	count float64
}

type requestTotals struct{ inits, produces float64 }

// New checks the options.
func New(o Options) (*Watch, error) {
	if o.Ask == nil {
		panic("BUG: a watch without a way to ask")
	}
	o.Every, o.CounterEvery = cmp.Or(o.Every, DefaultEvery), cmp.Or(o.CounterEvery, DefaultCounterEvery)
	o.Topics = cmp.Or(o.Topics, DefaultTopics)
	if o.Cluster == "" && len(o.Scan.Bootstrap) > 0 {
		o.Cluster = o.Scan.Bootstrap[0]
	}
	if o.Every < time.Second || o.CounterEvery < time.Second || o.Topics < 0 || o.Topics > TopicsMax {
		return nil, fmt.Errorf("scans are at least a second apart, and 0 to %d topics have series", TopicsMax)
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	w := &Watch{o: o, metrics: newMetrics(o.Cluster), registry: prometheus.NewRegistry(), births: newBirths(), requests: map[string]requestTotals{}}
	if err := w.registry.Register(w.metrics); err != nil {
		return nil, err
	}
	return w, nil
}

// Gatherer gives the metrics, and nothing else.
func (w *Watch) Gatherer() prometheus.Gatherer { return w.registry }

// Once makes one full scan. The metrics show it also when it failed. The count of births is left out: it is one over time.
func (w *Watch) Once(ctx context.Context) error {
	w.metrics.update(func(s *shown) { s.once = true })
	err := w.full(ctx)
	w.after()
	return err
}

// Run scans until ctx ends. A cluster that is away is asked for its counter only, until it answers; then a full scan follows at once.
func (w *Watch) Run(ctx context.Context) {
	nextFull := time.Now()
	away := false
	for ctx.Err() == nil {
		now := time.Now()
		if away {
			if away = w.counter(ctx) != nil; !away {
				nextFull = now
			}
		}
		if !away && !now.Before(nextFull) {
			nextFull = now.Add(w.o.Every)
			away = w.full(ctx) != nil
		} else if !away {
			away = w.counter(ctx) != nil
		}
		w.after()
		next := now.Add(w.o.CounterEvery)
		if !away && nextFull.Before(next) {
			next = nextFull
		}
		if end := time.Now(); next.Before(end) { // scans that take longer than they are apart still leave a pause
			next = end.Add(w.o.CounterEvery)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (w *Watch) after() {
	if w.o.After == nil {
		return
	}
	if err := w.o.After(); err != nil {
		w.logf("%v", err)
	}
}

func (w *Watch) logf(format string, args ...any) {
	fmt.Fprintf(w.o.Log, "%s %s: "+format+"\n", append([]any{time.Now().UTC().Format(time.RFC3339), w.o.Cluster}, args...)...)
}

const kindFull, kindCounter = 0, 1

// failed shows that the cluster did not answer. What the last scan saw stays, and its time says how old it is.
func (w *Watch) failed(ctx context.Context, kind int, err error) {
	if ctx.Err() != nil {
		return // the watch ends; nothing is known of the cluster
	}
	w.probes = nil // births from before would be taken for today's when it is back
	wasUp := false
	w.metrics.update(func(s *shown) {
		wasUp = s.up || s.scans == [2][2]int64{}
		s.scans[kind][1]++
		s.up, s.level, s.rate = false, LevelAway, -1
	})
	if wasUp {
		w.logf("does not answer: %v", err)
	}
}

// counter reads the counter alone.
func (w *Watch) counter(ctx context.Context) error {
	o := w.o.Scan
	o.CounterOnly = true
	o.TimeMax = min(cmp.Or(o.TimeMax, counterTimeMax), counterTimeMax)
	scan, err := w.o.Ask(ctx, o)
	if err != nil {
		w.failed(ctx, kindCounter, err)
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	rate := w.count(scan)
	w.metrics.update(func(s *shown) {
		s.scans[kindCounter][0]++
		s.up = true
		s.bytes += scan.Budget.Bytes
		s.births = w.births.shown
		if rate >= 0 {
			s.rate = rate
		}
	})
	return nil
}

// count adds a scan's readings and gives the rate since the last ones; -1 if there is none.
func (w *Watch) count(scan *evidence.Scan) float64 {
	probes := slices.Clone(scan.Counter)
	slices.SortStableFunc(probes, func(a, b evidence.CounterProbe) int { return a.At.Compare(b.At) })
	model := scan.Cluster.IDs // only a full scan finds out; before the first, it is what the vendor is known for
	if model == evidence.IDsUnknown && w.births.model == evidence.IDsUnknown {
		model = diagnose.BirthsByCounter(scan).Model
	}
	w.births.round(model, probes)
	w.probes = append(w.probes, probes...)
	w.probes = slices.Delete(w.probes, 0, max(0, len(w.probes)-probesMax))
	if !w.births.known() || len(probes) == 0 {
		return -1
	}
	was, is := w.reading, reading{probes[len(probes)-1].At, w.births.shown}
	seconds := is.at.Sub(was.at).Seconds()
	if was.at.IsZero() || seconds >= 1 {
		w.reading = is
	}
	if was.at.IsZero() || seconds < 1 {
		return -1
	}
	return max(0, is.count-was.count) / seconds
}

// full makes a full scan and judges it together with the readings since the last one: over minutes the counter is exact where over
// seconds it is not.
func (w *Watch) full(ctx context.Context) error {
	begun := time.Now()
	scan, err := w.o.Ask(ctx, w.o.Scan)
	var connect *collect.ErrConnect
	if err != nil && !errors.As(err, &connect) {
		err = fmt.Errorf("cannot scan: %w", err)
	}
	if err != nil {
		w.failed(ctx, kindFull, err)
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	rate := w.count(scan)
	own := len(scan.Counter)
	scan.Counter = slices.Clone(w.probes)
	w.probes = slices.Clone(w.probes[max(0, len(w.probes)-own):])
	w.show(scan, diagnose.Diagnose(scan), rate, time.Since(begun))
	return nil
}

func (w *Watch) show(scan *evidence.Scan, v *diagnose.Verdict, rate float64, took time.Duration) {
	perProduce := w.perProduce(scan.Metrics)
	var brokers []brokerState
	for i := range v.Heap {
		brokers = append(brokers, stateOf(&v.Heap[i]))
	}
	was, first := 0, false
	w.metrics.update(func(s *shown) {
		was, first = s.level, s.lastScan.IsZero()
		s.scans[kindFull][0]++
		s.up, s.level = true, v.Exit
		s.births, s.rate = w.births.shown, rate
		if rate < 0 && v.Births.Known {
			s.rate = v.Births.PerSecond
		}
		if s.initPerProduce = perProduce; perProduce < 0 {
			s.initPerProduce = -1
		}
		s.lastScan, s.duration, s.bytes = scan.Ended, took, s.bytes+scan.Budget.Bytes
		s.brokers, s.sources = brokers, scan.Sources[:min(len(scan.Sources), evidence.SourcesMax)]
		s.topics = nextTopics(s.topics, v, w.o.Topics)
	})
	if first || was != v.Exit {
		w.logf("%s: %s", v.Level, v.Sentence)
	}
}

// perProduce is InitProducerId requests per Produce request since the last scan, over the endpoints that both saw; at first since the
// brokers' start. -1: not known.
func (w *Watch) perProduce(metrics []evidence.BrokerMetrics) float64 {
	var inits, produces float64
	next := make(map[string]requestTotals, len(metrics))
	for i := range metrics {
		m := &metrics[i]
		i, gaveInits := m.Values[evidence.MetricInits]
		p, gaveProduces := m.Values[evidence.MetricProduces]
		if !gaveInits || !gaveProduces {
			continue
		}
		was := w.requests[m.URL]
		if was.inits > i || was.produces > p { // restarted
			was = requestTotals{}
		}
		next[m.URL] = requestTotals{i, p}
		inits, produces = inits+i-was.inits, produces+p-was.produces
	}
	if len(next) > 0 {
		w.requests = next
	}
	if produces <= 0 {
		return -1
	}
	return inits / produces
}

// nextTopics keeps series as they are as long as it can: a topic that has some keeps them while it is a suspect and for idleScansMax
// scans after that. Where there is no room, a new suspect takes the place of an idle topic, or of one that explains less than half of it.
func nextTopics(old []topicState, v *diagnose.Verdict, most int) []topicState {
	suspects := map[string]*diagnose.Topic{}
	for i := range v.Suspects {
		suspects[v.Suspects[i].Name] = &v.Suspects[i]
	}
	explains := func(t *diagnose.Topic) float64 {
		if v.Explained < 0 {
			return -1
		}
		return max(0, t.Explains)
	}
	var out []topicState
	has := map[string]bool{}
	for _, t := range old {
		if now := suspects[t.name]; now != nil {
			t = topicState{name: t.name, newborn: now.NewbornShare, explained: explains(now)}
		} else {
			t.newborn, t.explained, t.idle = 0, min(t.explained, 0), t.idle+1
		}
		if t.idle <= idleScansMax {
			out = append(out, t)
			has[t.name] = true
		}
	}
	for i := range v.Suspects {
		s := &v.Suspects[i]
		t := topicState{name: s.Name, newborn: s.NewbornShare, explained: explains(s)}
		switch {
		case has[s.Name] || most == 0:
			continue
		case len(out) < most:
			out = append(out, t)
			continue
		}
		weakest := 0
		for j := range out {
			if c := cmp.Or(cmp.Compare(out[weakest].idle, out[j].idle), cmp.Compare(out[j].explained, out[weakest].explained)); c < 0 {
				weakest = j
			}
		}
		if w := &out[weakest]; w.idle > 0 || t.explained > 2*w.explained {
			*w = t
		}
	}
	return out
}
