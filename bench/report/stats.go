package report

import (
	"cmp"
	"math"
	"slices"

	"ottla/bench/results"
)

// brokers is the order of columns, bars and lines.
var brokers = []results.Broker{results.Kafka, results.Ottla, results.Null, results.NullDisk}

var brokerNames = map[results.Broker]string{results.Kafka: "Kafka", results.Ottla: "Ottla", results.Null: "Null", results.NullDisk: "Null, fsync"}

// spread is what the counted rounds of one cell gave.
type spread struct {
	n                int
	median, min, max float64
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	s := spread{n: len(v), min: v[0], max: v[len(v)-1], median: v[len(v)/2]}
	if len(v)%2 == 0 {
		s.median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return s
}

// cell is one metric of one row and broker.
type cell struct {
	spread
	values []float64
	rounds int      // that gave a value
	texts  []string // different ones, in the order of the rounds
}

func (c *cell) empty() bool { return c == nil || c.n == 0 && len(c.texts) == 0 }

// number tells whether the cell has a median.
func (c *cell) number() bool { return c != nil && c.n > 0 }

// row is one row of a section.
type row struct {
	name    string
	x       float64 // of its first counted sample
	cells   map[string]map[results.Broker]*cell
	samples map[results.Broker][]results.Sample // of counted rounds
	rounds  int                                 // counted ones, of any broker, failed or not
	series  bool                                // a broker has several X in one round
}

func (r *row) at(metric string, b results.Broker) *cell { return r.cells[metric][b] }

// failed is how many counted rounds of a broker gave nothing but a note.
func (r *row) failed(b results.Broker) (n int) {
	for _, s := range r.samples[b] {
		n += btoi(s.Note != "" && len(s.Values) == 0 && len(s.Texts) == 0)
	}
	return n
}

// note is what samples said in words, once for all rounds that said it.
type note struct {
	row    string
	broker results.Broker
	text   string
	rounds []int
}

// view is a section with its samples put in order.
type view struct {
	results.Section
	rows       []*row
	notes      []note
	warmed     bool                    // there was a warm-up round
	first      map[results.Broker]bool // which broker began, where a round of a row has both
	ended      []string                // why the section was not measured to its end
	notNumbers int                     // values that were NaN or beyond valueMost, left out
}

func viewOf(s results.Section, samples []results.Sample) *view {
	v := &view{Section: s, first: map[results.Broker]bool{}}
	byName := map[string]*row{}
	type rounds struct {
		row   string
		round int
	}
	began := map[rounds]results.Broker{}
	for _, sample := range samples {
		if sample.Section != s.Name {
			continue
		}
		if sample.Row == "" && sample.Broker == "" {
			v.ended = append(v.ended, sample.Note)
			continue
		}
		r := byName[sample.Row]
		if r == nil {
			r = &row{name: sample.Row, cells: map[string]map[results.Broker]*cell{}, samples: map[results.Broker][]results.Sample{}}
			byName[sample.Row] = r
			v.rows = append(v.rows, r)
		}
		v.addNote(sample)
		v.warmed = v.warmed || sample.Round == 0
		if sample.Round > 0 {
			if at := (rounds{sample.Row, sample.Round}); !sample.Broker.Limit() && began[at] == "" {
				began[at] = sample.Broker
			} else if !sample.Broker.Limit() && began[at] != sample.Broker {
				v.first[began[at]] = true
			}
			if len(r.samples) == 0 {
				r.x = sample.X
			}
			r.samples[sample.Broker] = append(r.samples[sample.Broker], sample)
		}
	}
	for _, r := range v.rows {
		v.fill(r)
	}
	return v
}

func (v *view) addNote(s results.Sample) {
	if s.Note == "" {
		return
	}
	for i := range v.notes {
		if n := &v.notes[i]; n.row == s.Row && n.broker == s.Broker && n.text == s.Note {
			if !slices.Contains(n.rounds, s.Round) {
				n.rounds = append(n.rounds, s.Round)
			}
			return
		}
	}
	v.notes = append(v.notes, note{s.Row, s.Broker, s.Note, []int{s.Round}})
}

// fill makes the row's cells. Of a broker that was sampled along X within a round, the cell has the sample with the greatest
// X of each round that has the metric: where it ended.
func (v *view) fill(r *row) {
	rounds := map[int]bool{}
	for _, samples := range r.samples {
		for _, s := range samples {
			rounds[s.Round] = true
		}
	}
	r.rounds = len(rounds)
	for b, samples := range r.samples {
		byRound := map[int][]results.Sample{}
		for _, s := range samples {
			byRound[s.Round] = append(byRound[s.Round], s)
		}
		for _, of := range byRound {
			r.series = r.series || slices.ContainsFunc(of, func(s results.Sample) bool { return s.X != of[0].X })
		}
		for _, m := range v.Metrics {
			c := &cell{}
			for _, round := range sortedKeys(byRound) {
				v.take(c, m.Name, byRound[round])
			}
			c.spread = spreadOf(c.values)
			if r.cells[m.Name] == nil {
				r.cells[m.Name] = map[results.Broker]*cell{}
			}
			r.cells[m.Name][b] = c
		}
	}
}

// take adds one round to a cell.
func (v *view) take(c *cell, metric string, samples []results.Sample) {
	ordered := slices.Clone(samples)
	slices.SortStableFunc(ordered, func(a, b results.Sample) int { return cmp.Compare(a.X, b.X) })
	taken := false
	for i := len(ordered) - 1; i >= 0; i-- {
		s := ordered[i]
		if t := s.Texts[metric]; t != "" && !slices.Contains(c.texts, t) {
			c.texts = append(c.texts, t)
		}
		value, has := s.Values[metric]
		if !has {
			continue
		}
		if !finite(value) {
			v.notNumbers++
			continue
		}
		// Several samples of one X in a round are repeats and all count.
		if !taken || s.X == ordered[len(ordered)-1].X {
			c.values = append(c.values, value)
			c.rounds += btoi(!taken)
			taken = true
		}
	}
}

// valueMost is more than anything measured, and leaves room for the arithmetic of a scale.
const valueMost = 1e300

func finite(f float64) bool { return math.Abs(f) <= valueMost } // false for NaN

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// has tells whether any row has a value, or a text, of the metric and broker.
func (v *view) has(metric string, b results.Broker) bool {
	return slices.ContainsFunc(v.rows, func(r *row) bool { return !r.at(metric, b).empty() })
}

// hasNumber tells whether any row has a number of the metric and broker.
func (v *view) hasNumber(metric string, b results.Broker) bool {
	return slices.ContainsFunc(v.rows, func(r *row) bool { return r.at(metric, b).number() })
}

// measured tells whether the section has anything of Kafka's or Ottla's that counts.
func (v *view) measured() bool {
	return slices.ContainsFunc(v.Metrics, func(m results.Metric) bool { return v.has(m.Name, results.Kafka) || v.has(m.Name, results.Ottla) })
}

// nullPasses is the share of the null server's value at which the client itself is the limit: what comes that close passes,
// whatever the ratio to Kafka is. Where Kafka is faster than the null server, that is no limit.
const nullPasses = 0.95

// How near to the null server with fsync a row is counted as being at the limit of the disk: at least that share of what is to be
// high, at most that of what is to be low. It is a remark and no goal.
const (
	nullDiskNear  = 0.95
	nullDiskAbove = 1.05
)

// verdict compares one metric of one row.
type verdict struct {
	row           *row
	kafka, ottla  *cell
	compared      bool    // both have a value; otherwise only ottla and kafka are set
	ratio         float64 // Ottla's median / Kafka's
	lost          bool    // Ottla is worse than Kafka
	short         bool    // the goal is not reached
	overlap       bool    // the ranges of the rounds touch, so the order of the two is not sure
	ofNull        float64 // Ottla's median / the null server's, 0 where there is none
	ofNullDisk    float64 // the same of the null server with fsync
	atDisk        bool    // the limit of client and disk, as that one has it
	atLimit       bool    // of the client, as the null server has it
	savedByNull   bool    // short of its ratio, but at the client's limit
	missingOttla  bool
	growth, kafkG float64 // of Flat: times the first row
}

func (v *view) judge(m results.Metric, r *row) verdict {
	out := verdict{row: r, kafka: r.at(m.Name, results.Kafka), ottla: r.at(m.Name, results.Ottla)}
	if m.Better == results.Flat {
		return v.judgeFlat(m, out)
	}
	if null := r.at(m.Name, results.Null); null.number() && null.median > 0 && out.ottla.number() {
		out.ofNull = out.ottla.median / null.median
	}
	if disk := r.at(m.Name, results.NullDisk); m.Better != results.Fact && disk.number() && disk.median > 0 && out.ottla.number() {
		out.ofNullDisk = out.ottla.median / disk.median
		out.atDisk = m.Better == results.Higher && out.ofNullDisk >= nullDiskNear || m.Better == results.Lower && out.ofNullDisk <= nullDiskAbove
	}
	if m.Better == results.Fact || !out.kafka.number() {
		return out
	}
	if !out.ottla.number() {
		out.missingOttla = v.owesOttla(m, r)
		return out
	}
	k, o := out.kafka.median, out.ottla.median
	if k == 0 && o == 0 {
		out.ratio = 1
	} else {
		out.ratio = o / k // an infinity where Kafka's is 0
	}
	out.compared = true
	out.overlap = out.kafka.min <= out.ottla.max && out.ottla.min <= out.kafka.max
	if m.Better == results.Higher {
		out.lost, out.short = o < k, m.Reach > 0 && out.ratio < m.Reach
		out.atLimit = out.ofNull >= nullPasses && k <= r.at(m.Name, results.Null).median
		if out.short && out.atLimit {
			out.short, out.savedByNull = false, true
		}
		return out
	}
	out.lost, out.short = o > k, m.Reach > 0 && out.ratio > m.Reach
	return out
}

// owesOttla tells a value of Ottla's that is missing from a metric that only Kafka has, such as a Java heap: Ottla has the
// metric elsewhere, or nothing at all in the row.
func (v *view) owesOttla(m results.Metric, r *row) bool {
	if v.has(m.Name, results.Ottla) {
		return true
	}
	return !slices.ContainsFunc(v.Metrics, func(m results.Metric) bool { return !r.at(m.Name, results.Ottla).empty() })
}

// closelyWon tells that Ottla is better than Kafka, but not in all rounds.
func (d verdict) closelyWon() bool { return d.compared && !d.lost && d.overlap && d.ratio != 1 }

// judgeFlat compares a row with the first row of the same broker.
func (v *view) judgeFlat(m results.Metric, out verdict) verdict {
	times := func(b results.Broker) float64 {
		for _, r := range v.rows {
			if first := r.at(m.Name, b); first != nil && first.n > 0 {
				if c := out.row.at(m.Name, b); c != nil && c.n > 0 && first.median > 0 {
					return c.median / first.median
				}
				return 0
			}
		}
		return 0
	}
	out.growth, out.kafkG = times(results.Ottla), times(results.Kafka)
	out.missingOttla = out.growth == 0 && out.kafkG > 0 && v.owesOttla(m, out.row)
	out.compared, out.ratio = out.growth > 0, out.growth
	out.short = out.compared && m.Reach > 0 && out.growth > m.Reach
	return out
}

// verdicts are those of all rows that have something of the metric.
func (v *view) verdicts(m results.Metric) (out []verdict) {
	for _, r := range v.rows {
		if slices.ContainsFunc(brokers, func(b results.Broker) bool { return !r.at(m.Name, b).empty() }) {
			out = append(out, v.judge(m, r))
		}
	}
	return out
}
