package rows

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"ottla/bench/bed"
	"ottla/bench/results"
	"ottla/internal/storm"
)

const (
	deathHeap = "256m"
	// deathWidth is how many partitions each producer of the deadly storm writes to.
	deathWidth = 1000
	// deathCleanerBytes is Kafka's log.cleaner.dedupe.buffer.size: of its 128 MiB half the heap would be full from the start.
	deathCleanerBytes = "8388608"
	// deathMax bounds the storm that is to end Kafka.
	deathMax = 90 * time.Second
	// deathStall is the silence that ends a storm, deathProof the time for one more record that is the proof.
	deathStall = 10 * time.Second
	deathProof = 20 * time.Second
	// rebirthMax is how long a broker with a full heap has to come up again.
	rebirthMax = 45 * time.Second
	// deathAssumed is the storm that Ottla gets where Kafka's end was not seen, in producers.
	deathAssumed = 350
	// rebirthProducers are sent to a broker that did come up, to see whether it bears them.
	rebirthProducers = 150
)

const deathTopic = storm.TopicPrefix + "death"

// Death is the end of a broker that remembers producers in its heap, as a table and as curves. Both are of the same storms, which
// are made once, whichever section comes first.
func Death() []Section {
	d := &deaths{}
	return []Section{{
		Section: results.Section{
			Name: "death", Title: "The storm that ends a broker", Row: "storm",
			About: fmt.Sprintf("`ottla storm --mode wide -p %d`: each producer writes one small batch to %s partitions. Kafka has -Xmx%s (and 8 MiB instead of 128 for its log cleaner, which leaves the more for producers), Ottla no limit but its own budget; "+
				"it is dead when it owes answers, gave none for %v, and then takes no record for %v. Then it is killed and started on its data with the same heap, for %v. Ottla gets as many producers, and ten times as many.",
				deathWidth, rounded(deathWidth), deathHeap, deathStall, deathProof, rebirthMax),
			Metrics: []results.Metric{
				metric("end", "end of the storm", "", results.Fact),
				metric("producers", "producers", "", results.Fact),
				metric("entries", "entries", "", results.Fact),
				metric("before", "RSS before", "MiB", results.Lower),
				metric("after", "RSS after", "MiB", results.Lower),
				metric("heap", "heap after", "MiB", results.Lower),
				metric("restart", "start after kill -9", "", results.Fact),
			},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			d.measure(ctx, &stormTable{"death", b, p, record})
			d.table(record)
			return ctx.Err()
		},
	}, {
		Section: results.Section{
			Name: "death-curve", Title: "Memory on the way there", Row: "entries",
			About: "Memory during those storms against (producer, partition) entries, read every second and interpolated; Kafka has -Xmx" + deathHeap +
				", its heap is the JVM's (jstat), garbage included. Ottla's is that of the tenfold storm.",
			Metrics: []results.Metric{metric("rss", "RSS", "MiB", results.Lower), metric("heap", "heap", "MiB", results.Lower)},
			Chart:   results.Chart{Kind: "lines", Metric: []string{"rss", "heap"}, XTitle: "(producer, partition) entries"},
		},
		Measure: func(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
			d.measure(ctx, &stormTable{"death-curve", b, p, record})
			d.curves(record)
			return ctx.Err()
		},
	}}
}

const (
	deathRow     = "the storm"
	deathTenfold = "ten times the storm"
)

// deaths are the storms, once they have been made.
type deaths struct {
	measured             bool
	kafka, same, tenfold fate
}

// fate is what became of a broker, or why that is not known.
type fate struct {
	*storied
	err error
}

func (d *deaths) measure(ctx context.Context, t *stormTable) {
	if d.measured {
		return
	}
	d.measured = true
	d.kafka.storied, d.kafka.err = t.deadly(ctx, results.Kafka, 100_000)
	producers := int64(deathAssumed)
	if d.kafka.err == nil {
		producers = load(d.kafka.summary).Pushes
	}
	d.same.storied, d.same.err = t.deadly(ctx, results.Ottla, producers)
	d.tenfold.storied, d.tenfold.err = t.deadly(ctx, results.Ottla, 10*producers)
}

func (d *deaths) table(record func(results.Sample)) {
	for _, row := range []struct {
		title  string
		broker results.Broker
		fate
	}{{deathRow, results.Kafka, d.kafka}, {deathRow, results.Ottla, d.same}, {deathTenfold, results.Ottla, d.tenfold}} {
		if row.err != nil {
			record(results.Sample{Section: "death", Row: row.title, Broker: row.broker, Round: 1, Note: row.err.Error()})
			continue
		}
		record(row.sample(row.title, row.broker))
	}
}

func (d *deaths) curves(record func(results.Sample)) {
	most := int64(deathAssumed * deathWidth)
	if d.kafka.err == nil {
		most = load(d.kafka.summary).Entries
		for _, s := range d.kafka.curve(results.Kafka, grid(most)) {
			record(s)
		}
	}
	if d.tenfold.err == nil {
		for _, s := range d.tenfold.curve(results.Ottla, append(grid(most), grid(10 * most)[2:]...)) {
			record(s)
		}
	}
}

// grid is nine numbers of entries from 0 to most.
func grid(most int64) []int64 {
	const points = 8
	out := []int64{0}
	for i := int64(1); i <= points; i++ {
		out = append(out, most*i/points)
	}
	return out
}

// storied is what became of a broker in a deadly storm.
type storied struct {
	summary storm.Summary // of all attempts together
	end     string
	restart string
	heap    []reading
}

// reading is a heap at a time, in bytes.
type reading struct {
	at   time.Time
	heap float64
}

// deadly starts a broker, makes the storm, and says what became of it. The errors are those of what has to work before.
func (t *stormTable) deadly(ctx context.Context, kind results.Broker, producers int64) (*storied, error) {
	o := bed.Options{Heap: deathHeap}
	if kind == results.Kafka {
		o.Config = map[string]string{"log.cleaner.dedupe.buffer.size": deathCleanerBytes}
	}
	k, err := t.bed.Start(ctx, kind, o)
	if err != nil {
		return nil, err
	}
	defer func() { remove(k) }()
	d := &storied{}
	stop := d.watchHeap(ctx, k)
	err = t.until(ctx, d, k, producers)
	stop()
	if err != nil {
		return nil, err
	}
	if log, err := os.ReadFile(k.LogFile); err == nil && bytes.Contains(log, []byte("OutOfMemoryError")) {
		d.end += ", OutOfMemoryError"
	}
	if err := k.Kill(); err != nil && k.Alive() {
		return nil, err
	}
	d.restart = t.rebirth(ctx, &k)
	fmt.Fprintf(t.bed.Log, "%s, %s producers: %s; start after kill -9: %s\n", kind, rounded(load(d.summary).Pushes), d.end, d.restart)
	return d, nil
}

// deathStorm are the arguments of the storm.
func deathStorm(producers int64, most time.Duration, further ...string) []string {
	return append([]string{"--mode", "wide", "-p", strconv.Itoa(deathWidth), "-n", strconv.FormatInt(producers, 10), "--record-bytes", "16", "--connections", "4",
		"--topic", deathTopic, "--keep", "--max-seconds", strconv.Itoa(int(most.Seconds())), "--stall", deathStall.String()}, further...)
}

// until makes the storm until all producers are acknowledged or the broker is dead: silent, and silent still when it is asked
// for one more record. One that was only silent for a while gets the rest of the storm.
func (t *stormTable) until(ctx context.Context, d *storied, k *bed.Broker, producers int64) error {
	began, silences, further := time.Now(), 0, []string(nil)
	for {
		left := deathMax - time.Since(began)
		done := d.add(storm.Summary{})
		if left < time.Second || done >= producers {
			break
		}
		s, err := t.storm(ctx, k, deathStorm(producers-done, left, further...)...)
		further = []string{"--reuse-topic"}
		if done = d.add(s); done == 0 {
			return errors.Join(errors.New("the storm did not begin"), err)
		}
		if s.Ended == storm.EndedProducers || s.Ended == storm.EndedSeconds {
			continue
		}
		silences++
		lives, cancel := context.WithTimeout(ctx, deathProof)
		err = writable(lives, k.Addr, deathTopic)
		cancel()
		if err != nil {
			d.end = fmt.Sprintf("no more answers after %.0f s", d.summary.Seconds)
			return ctx.Err()
		}
	}
	d.end = fmt.Sprintf("all acknowledged in %.0f s", d.summary.Seconds)
	if d.add(storm.Summary{}) < producers {
		d.end = fmt.Sprintf("it lives after %.0f s", d.summary.Seconds)
	}
	if silences > 0 {
		d.end += fmt.Sprintf(", silent for %v %d times", deathStall, silences)
	}
	if err := writable(ctx, k.Addr, deathTopic); err != nil {
		d.end += ", then it took no record: " + err.Error()
	} else {
		d.end += ", and it goes on answering"
	}
	return nil
}

// add joins another attempt to what was seen before, and returns how many producers are acknowledged in all.
func (d *storied) add(s storm.Summary) int64 {
	switch {
	case len(s.Loads) == 0:
	case len(d.summary.Loads) == 0:
		d.summary = s
	default:
		sum, more := &d.summary.Loads[0], load(s)
		later := s.Started.Sub(d.summary.Started).Seconds()
		for i := range d.summary.Series {
			for _, other := range s.Series {
				if other.Name != d.summary.Series[i].Name {
					continue
				}
				base := map[string]float64{"entries": float64(sum.Entries), "pushes": float64(sum.Pushes)}[other.Unit]
				for _, p := range other.Points {
					d.summary.Series[i].Points = append(d.summary.Series[i].Points, [2]float64{p[0] + later, p[1] + base})
				}
			}
		}
		sum.Pushes += more.Pushes
		sum.Entries += more.Entries
		for i := range min(len(d.summary.Processes), len(s.Processes)) {
			d.summary.Processes[i].RSSAfter = s.Processes[i].RSSAfter
		}
		d.summary.Seconds = later + s.Seconds
	}
	return load(d.summary).Pushes
}

// rebirth starts a killed broker on its data and says how that went.
func (t *stormTable) rebirth(ctx context.Context, k **bed.Broker) string {
	within, cancel := context.WithTimeout(ctx, rebirthMax)
	defer cancel()
	n, answers, writes, err := t.again(within, *k, deathTopic)
	*k = n
	if within.Err() != nil && err != nil {
		return fmt.Sprintf("not up in %v", rebirthMax)
	}
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		_, why, _ := strings.Cut(first, "does not start: ")
		return strings.TrimRight("does not come up: "+cmp.Or(why, first), ": ")
	}
	text := fmt.Sprintf("answers after %.2f s, writable after %.2f s", answers, writes)
	s, err := t.storm(ctx, n, deathStorm(rebirthProducers, rebirthMax/2, "--reuse-topic")...)
	if err != nil || s.Ended != storm.EndedProducers {
		return text + fmt.Sprintf("; dead again after %d producers", load(s).Pushes)
	}
	return text
}

func (d *storied) sample(row string, kind results.Broker) results.Sample {
	l := load(d.summary)
	out := results.Sample{
		Section: "death", Row: row, Broker: kind, Round: 1,
		Values: map[string]float64{"producers": float64(l.Pushes), "entries": float64(l.Entries)},
		Texts:  map[string]string{"end": d.end, "restart": d.restart, "producers": rounded(l.Pushes), "entries": rounded(l.Entries)},
	}
	for _, p := range d.summary.Processes {
		out.Values["before"], out.Values["after"] = float64(p.RSSBefore)/mebibyte, float64(p.RSSAfter)/mebibyte
	}
	if n := len(d.heap); n > 0 {
		out.Values["heap"] = d.heap[n-1].heap / mebibyte
	}
	return out
}

// curve is the memory at some numbers of entries, as far as the storm went.
func (d *storied) curve(kind results.Broker, at []int64) (out []results.Sample) {
	var entries, rss storm.Series
	for _, s := range d.summary.Series {
		switch {
		case strings.HasSuffix(s.Name, " entries"):
			entries = s
		case s.Unit == "bytes":
			rss = s
		}
	}
	for _, n := range at {
		seconds, ok := reached(entries.Points, float64(n))
		if !ok {
			continue
		}
		values := map[string]float64{}
		if v, ok := valueAt(rss.Points, seconds); ok {
			values["rss"] = v / mebibyte
		}
		if v, ok := valueAt(d.heapPoints(), seconds); ok {
			values["heap"] = v / mebibyte
		}
		out = append(out, results.Sample{Section: "death-curve", Row: rounded(n), Broker: kind, Round: 1, X: float64(n), Values: values})
	}
	return out
}

// heapPoints are the readings on the storm's clock.
func (d *storied) heapPoints() [][2]float64 {
	var out [][2]float64
	for _, r := range d.heap {
		out = append(out, [2]float64{r.at.Sub(d.summary.Started).Seconds(), r.heap})
	}
	return out
}

// reached is when a rising curve came to a value.
func reached(points [][2]float64, value float64) (seconds float64, ok bool) {
	for i, p := range points {
		switch {
		case p[1] < value:
		case i == 0 || p[1] == points[i-1][1]:
			return p[0], true
		default:
			before := points[i-1]
			return before[0] + (p[0]-before[0])*(value-before[1])/(p[1]-before[1]), true
		}
	}
	return 0, false
}

// valueAt is a curve at a time: between two points in proportion, beyond its ends as there.
func valueAt(points [][2]float64, seconds float64) (value float64, ok bool) {
	for i, p := range points {
		switch {
		case p[0] < seconds:
		case i == 0:
			return p[1], true
		default:
			before := points[i-1]
			return before[1] + (p[1]-before[1])*(seconds-before[0])/(p[0]-before[0]), true
		}
	}
	if len(points) == 0 {
		return 0, false
	}
	return points[len(points)-1][1], true
}

// watchHeap reads the heap once a second until the function that it returns is called.
func (d *storied) watchHeap(ctx context.Context, k *bed.Broker) func() {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	if k.Kind == results.Kafka {
		all.Go(func() { d.watchJVM(ctx, k.PID) })
	} else {
		all.Go(func() {
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			for {
				if n, err := heapBytes(ctx, k); err == nil {
					d.heap = append(d.heap, reading{time.Now(), float64(n)})
				}
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// watchJVM has one jstat read the JVM's counters, which works without the JVM's help.
func (d *storied) watchJVM(ctx context.Context, pid int) {
	cmd := exec.CommandContext(ctx, "jstat", "-gc", strconv.Itoa(pid), "1000")
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return // no curve of the heap: the table has no column without it
	}
	var titles []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if titles == nil {
			titles = fields
			continue
		}
		if heap, ok := jstatHeap(titles, fields); ok {
			d.heap = append(d.heap, reading{time.Now(), heap})
		}
	}
	_ = cmd.Wait() // killed
}

// jstatHeap adds up the used parts of a heap: survivors, eden, old.
func jstatHeap(titles, fields []string) (bytes float64, ok bool) {
	for i, title := range titles {
		switch title {
		case "S0U", "S1U", "EU", "OU":
			if i >= len(fields) {
				return 0, false
			}
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil && fields[i] != "-" {
				return 0, false
			}
			bytes += v * 1024
		}
	}
	return bytes, bytes > 0
}
